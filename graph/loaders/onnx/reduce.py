"""Reductions, and the largest and smallest along an axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ....kernels.tensor import is_int
from ...builder import Tensor
from .node import Converter, Node

__all__ = ["CONVERTERS", "flattened", "leading_size"]


def leading_size(n: Node, x: Tensor, axis: int) -> int | Tensor:
    """The product of the sizes before an axis: a number, or a vector of one entry."""
    sizes = n.shape(x)[:axis]
    if None not in sizes:
        return int(np.prod([d for d in sizes if d is not None], dtype=object))
    if axis == 1:
        return n.size(x, 0)
    leading = n.op("StridedSlice", n.sizes(x), n.const([0]), n.const([axis]), n.const([1]))
    return n.op("Prod", leading, n.const([0]), keep_dims=True)


def flattened(n: Node, x: Tensor, axis: int, apply: Callable[[Tensor], Tensor]) -> Tensor:
    """``apply`` to the matrix that has the axes before ``axis`` as rows, in the shape of x again."""
    rank = n.rank(x)
    axis = n.axis(axis, rank) if rank else 0
    if axis == rank - 1:
        return apply(x)
    matrix = n.op("Reshape", x, n.vector([leading_size(n, x, axis), -1]))
    return n.op("Reshape", apply(matrix), n.sizes(x))


def _axes(n: Node, since: int) -> tuple[int, ...] | Tensor | None:
    """The axes: an attribute, from version ``since`` on an input, which may be computed. None: all of them."""
    if n.version >= since and not n.has("axes"):
        axes = n.optional(1)
        if axes is None or n.value(axes) is not None:
            return n.int_list(1, "the axes") or None
        if len(n.shape(axes)) != 1 or not n.shape(axes)[0]:
            raise n.unsupported("a number of axes that is not known")
        return axes
    return n.ints("axes") or None


def _reduced(n: Node, type: str, x: Tensor, axes: tuple[int, ...] | Tensor | None, keep: bool) -> Tensor:
    if axes is None:
        axes = tuple(range(n.rank(x)))
    return n.op(type, x, axes if isinstance(axes, Tensor) else n.const(list(axes)), keep_dims=keep)


def _reduction(
    type: str,
    since: int = 18,
    before: Callable[[Node, Tensor], Tensor] | None = None,
    after: Callable[[Node, Tensor], Tensor] | None = None,
) -> Converter:
    def convert(n: Node) -> Tensor:
        x, axes, keep = n.input(0), _axes(n, since), n.flag("keepdims", True)
        if n.flag("noop_with_empty_axes") and axes is None:
            kept = before(n, x) if before else x
            return after(n, kept) if after else kept
        kind = n.dtype(x)
        if before is not None:
            x = before(n, x)
        if type in ("Max", "Min") and kind.kind == "b":
            return _reduced(n, "Any" if type == "Max" else "All", x, axes, keep)
        if type == "Mean" and is_int(kind):
            raise n.unsupported("a mean of integers")
        y = _reduced(n, type, x, axes, keep)
        return after(n, y) if after else y

    return convert


def _log_sum_exp(n: Node) -> Tensor:
    """With the largest element taken out, so that nothing overflows."""
    x, axes, keep = n.input(0), _axes(n, 18), n.flag("keepdims", True)
    if n.flag("noop_with_empty_axes") and axes is None:
        return x
    largest = _reduced(n, "Max", x, axes, True)
    finite = n.op("Less", n.op("Abs", largest), n.like(x, np.inf))
    shift = n.op("SelectV2", finite, largest, n.like(x, 0))
    total = _reduced(n, "Sum", n.op("Exp", n.op("Sub", x, shift)), axes, keep)
    if not keep:
        shift = n.op("Reshape", shift, n.sizes(total))
    return n.op("AddV2", n.op("Log", total), shift)


def _argument(type: str) -> Converter:
    def convert(n: Node) -> Tensor:
        x, keep = n.input(0), n.flag("keepdims", True)
        axis = n.axis(n.integer("axis", 0), n.rank(x))
        last = n.flag("select_last_index")
        if last:  # the first one from behind
            every, steps = (1 << n.rank(x)) - 1, [-1 if i == axis else 1 for i in range(n.rank(x))]
            ends = n.const([0] * n.rank(x))
            x = n.op("StridedSlice", x, ends, ends, n.const(steps), begin_mask=every, end_mask=every)
        y = n.op(type, x, n.const(axis), output_type=np.dtype(np.int64))
        if last:
            length = n.op("Reshape", n.size(x, axis), n.const([], "int64"))
            y = n.op("Sub", n.op("Sub", length, n.const(1)), y)
        return n.op("ExpandDims", y, n.const(axis)) if keep else y

    return convert


def _top_k(n: Node) -> tuple[Tensor, ...]:
    """k is an attribute before version 10. Other axes than the last come last and go back."""
    x = n.input(0)
    rank = n.rank(x)
    axis = n.axis(n.integer("axis", -1), rank)
    largest = n.flag("largest", True)
    n.ignore("sorted")  # sorted results serve both
    k = n.int32(n.const(n.integer("k", -1)) if n.version < 10 else n.op("Reshape", n.input(1), n.const([])), "k")
    order = [*(i for i in range(rank) if i != axis), axis]
    back = [order.index(i) for i in range(rank)]
    if not largest:
        if not (n.dtype(x).kind == "f" or n.dtype(x).kind == "i"):
            raise n.unsupported("the smallest unsigned numbers")
        flipped = n.op("Sub", n.like(x, -1), x) if is_int(n.dtype(x)) else n.op("Neg", x)
    else:
        flipped = x
    values, indices = n.ops("TopKV2", [n.transpose(flipped, order), k], 2)
    if not largest:
        values = n.op("Sub", n.like(x, -1), values) if is_int(n.dtype(x)) else n.op("Neg", values)
    return n.transpose(values, back), n.cast(n.transpose(indices, back), "int64")


CONVERTERS: Mapping[str, Converter] = {
    "ReduceMean": _reduction("Mean"),
    "ReduceSum": _reduction("Sum", 13),
    "ReduceMax": _reduction("Max"),
    "ReduceMin": _reduction("Min"),
    "ReduceProd": _reduction("Prod"),
    "ReduceL1": _reduction("Sum", before=lambda n, x: n.op("Abs", x)),
    "ReduceL2": _reduction("Sum", before=lambda n, x: n.op("Square", x), after=lambda n, y: n.op("Sqrt", y)),
    "ReduceSumSquare": _reduction("Sum", before=lambda n, x: n.op("Square", x)),
    "ReduceLogSum": _reduction("Sum", after=lambda n, y: n.op("Log", y)),
    "ReduceLogSumExp": _log_sum_exp,
    "ArgMax": _argument("ArgMax"),
    "ArgMin": _argument("ArgMin"),
    "TopK": _top_k,
}
