"""Layers of several inputs: sums, products, concatenations."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .building import Building

__all__ = ["MERGES", "tensors"]


def tensors(b: Building, x: Any, least: int = 1) -> list[Tensor]:
    """A list of tensors as inputs."""
    found = list(x) if isinstance(x, (list, tuple)) else [x]
    if len(found) < least or not all(isinstance(t, Tensor) for t in found):
        raise b.error(f"the inputs {brief(x)}", f"{least} tensors or more")
    return found


def _aligned(b: Building, x: Any) -> list[Tensor]:
    """Inputs of lower rank get axes of size 1 after the batch, as Keras does."""
    found = tensors(b, x, 1)
    most = max(len(b.shape(t)) for t in found)
    made = []
    for t in found:
        while len(b.shape(t)) < most:
            t = ops.expand_dims(t, 1)
        made.append(t)
    return made


def _folded(function: Callable[[Any, Any], Tensor]) -> Callable[[Building, Any], Tensor]:
    return lambda b, x: reduce(function, _aligned(b, x))


def _subtract(b: Building, x: Any) -> Tensor:
    found = _aligned(b, x)
    if len(found) != 2:
        raise b.error(f"{len(found)} inputs", "two")
    return ops.subtract(found[0], found[1])


def _average(b: Building, x: Any) -> Tensor:
    found = _aligned(b, x)
    return ops.multiply(reduce(ops.add, found), 1 / len(found)) if len(found) > 1 else found[0]


def _concatenate(b: Building, x: Any) -> Tensor:
    found = tensors(b, x, 1)
    (axis,) = b.axes(b.get("axis", -1), len(b.shape(found[0])))
    return ops.concat(found, axis) if len(found) > 1 else found[0]


def _dot(b: Building, x: Any) -> Tensor:
    """Products summed over one axis of each; the others of the second follow those of the first."""
    found = tensors(b, x, 2)
    if len(found) != 2:
        raise b.error(f"{len(found)} inputs", "two")
    axes = b.get("axes")
    axes = [axes, axes] if type(axes) is int else axes.get("items") if isinstance(axes, dict) else axes
    if not isinstance(axes, list) or len(axes) != 2:
        raise b.error(f"axes {brief(axes)}", "an axis, or two")
    picked = [b.axes(a, len(b.shape(t)))[0] for a, t in zip(axes, found, strict=True)]
    if 0 in picked:
        raise b.error(f"axes {brief(axes)}", "other axes than the batch")
    if b.flag("normalize"):
        found = [_unit(t, a) for t, a in zip(found, picked, strict=True)]
    first, second = found
    ranks = [len(b.shape(t)) for t in found]
    first = ops.transpose(first, [*(i for i in range(ranks[0]) if i != picked[0]), picked[0]])
    second = ops.transpose(second, [0, picked[1], *(i for i in range(1, ranks[1]) if i != picked[1])])
    n = b.fixed(first, -1)[0]
    rows, columns = b.sizes(first)[1:-1], b.sizes(second)[2:]
    batch = b.sizes(first)[0]
    left = b.reshape(first, [batch, _product(rows), n])
    right = b.reshape(second, [batch, n, _product(columns)])
    tail = [*rows, *columns] or [1]
    return b.reshape(ops.matmul(left, right), [batch, *tail])


def _product(sizes: list[Any]) -> Any:
    return reduce(lambda a, c: a * c, sizes, 1)


def _unit(x: Tensor, axis: int) -> Tensor:
    return ops.multiply(x, ops.rsqrt(ops.maximum(ops.reduce_sum(ops.square(x), axis, keepdims=True), 1e-12)))


MERGES: dict[str, Callable[[Building, Any], Tensor]] = {
    "Add": _folded(ops.add),
    "Multiply": _folded(ops.multiply),
    "Maximum": _folded(ops.maximum),
    "Minimum": _folded(ops.minimum),
    "Subtract": _subtract,
    "Average": _average,
    "Concatenate": _concatenate,
    "Dot": _dot,
}
