"""Matrix products: Dense, EinsumDense; Embedding."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .activations import activate
from .building import Building

__all__ = ["DENSE", "contract"]


def _dense(b: Building, x: Tensor) -> Tensor:
    """Along the last axis; the others are rows."""
    b.refuse(lora_rank=None, quantization_config=None)
    units, rank = b.whole("units"), len(b.shape(x))
    if rank < 2:
        raise b.error(f"an input of shape {x.shape}", "two axes or more")
    kernel = b.weight("kernel", b.fixed(x, -1)[0], units)
    before = b.sizes(x)[:-1]
    y = ops.matmul(x if rank == 2 else b.rows(x, b.fixed(x, -1)[0]), kernel)
    if b.flag("use_bias", True):
        y = ops.bias_add(y, b.weight("bias", units))
    y = activate(b, y, b.config.get("activation"))
    return y if rank == 2 else b.reshape(y, [*before, b.fixed(y, -1)[0]])


_EQUATION = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


def _einsum_dense(b: Building, x: Tensor) -> Tensor:
    b.refuse(lora_rank=None, quantization_config=None)
    equation = str(b.config.get("equation")).replace(" ", "")
    match = _EQUATION.fullmatch(equation)
    if match is None:
        raise b.error(f"equation {brief(equation)}", "'ab,bc->ac', or with '...' at one end")
    given, kernel_axes, result = _without_dots(b, match, len(b.shape(x)))
    kernel = b.constant(b.literal("kernel", *[None] * len(kernel_axes)), "kernel")
    y = contract(b, x, kernel, given, kernel_axes, result)
    bias = b.config.get("bias_axes")
    if bias:
        if not isinstance(bias, str) or not set(bias) <= set(result):
            raise b.error(f"bias_axes {brief(bias)}", f"axes of the result, {result!r}")
        sizes = [d if label in bias else 1 for d, label in zip(b.shape(y), result, strict=True)]
        first = next((i for i, label in enumerate(result) if label in bias), len(sizes) - 1)
        shape = [d for d in sizes[first:] if d is not None]
        # Keras makes the bias from its first axis on, with sizes of 1 for the axes that it lacks.
        y = ops.add(y, b.constant(b.literal("bias", *shape), "bias"))
    return activate(b, y, b.config.get("activation"))


def _without_dots(b: Building, match: re.Match[str], rank: int) -> tuple[str, str, str]:
    """The labels of the input, the kernel and the result, with letters for '...'."""
    before, given, after, kernel, first, result, last = match.groups()
    missing = rank - len(given)
    free = list(map(chr, range(0x3B1, 0x3B1 + 24)))[: max(missing, 0)]
    dots = "".join(free)
    bad = bool(before or after) != bool(first or last) or bool(before) != bool(first) or (before and after)
    if missing < 0 or (missing and not (before or after)) or bad or len(set(given)) < len(given):
        raise b.error(f"equation {match[0]!r} for an input of rank {rank}", "one that fits")
    return (dots + given, kernel, dots + result) if before else (given + dots, kernel, result + dots)


def contract(b: Building, x: Tensor, w: Tensor, xs: str, ws: str, out: str) -> Tensor:
    """Sums the products of x and w over the labels that both have and ``out`` lacks, as one matrix product."""
    summed = [c for c in xs if c in ws and c not in out]
    rows, columns = [c for c in xs if c not in summed], [c for c in ws if c not in summed]
    if set(rows) & set(columns) or sorted(rows + columns) != sorted(out) or len(set(ws)) < len(ws):
        raise b.error(f"the equation {xs},{ws}->{out}", "axes that are summed, or kept from one of the two")
    x = _permuted(x, [xs.index(c) for c in [*rows, *summed]])
    w = _permuted(w, [ws.index(c) for c in [*summed, *columns]])
    sizes = b.sizes(x)[: len(rows)]
    last = list(b.fixed(w, *range(len(summed), len(ws))))
    inner = 1
    for n in b.fixed(w, *range(len(summed))):
        inner *= n
    outer = 1
    for n in last:
        outer *= n
    if b.fixed(x, *range(len(rows), len(xs))) != b.fixed(w, *range(len(summed))):
        raise b.error(f"an input of shape {x.shape}", f"the sizes of the kernel, {w.shape}")
    y = ops.matmul(b.rows(x, inner), b.reshape(w, [inner, outer]))
    y = b.reshape(y, [*sizes, *last])
    found = [*rows, *columns]
    return _permuted(y, [found.index(c) for c in out])


def _permuted(x: Tensor, order: Sequence[int]) -> Tensor:
    return x if list(order) == list(range(len(order))) else ops.transpose(x, list(order))


def _embedding(b: Building, x: Tensor) -> Tensor:
    b.refuse(lora_rank=None, quantization_config=None)
    table = b.weight("embeddings", b.whole("input_dim"), b.whole("output_dim"))
    index = x if x.dtype.kind in "iu" and x.dtype.itemsize >= 4 else ops.cast(x, "int32")
    made = ops.gather(table, index)
    if b.flag("mask_zero"):
        b.set_mask(made, ops.not_equal(index, 0))
    return made


DENSE = {"Dense": _dense, "EinsumDense": _einsum_dense, "Embedding": _embedding}
