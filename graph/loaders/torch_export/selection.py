"""ATen's sorting, sums along an axis, norms, spreads and logic of bits."""

from __future__ import annotations

import numpy as np

from ... import ops
from ...builder import Tensor
from .call import Call, Converter

__all__ = ["CONVERTERS"]


def _made(type: str, inputs: list[Tensor]) -> Tensor:
    return inputs[0].graph.create_op(type, inputs, {}).outputs[0]


def _last(x: Tensor, axis: int, rank: int) -> Tensor:
    """With the axis and the last one exchanged."""
    if axis == rank - 1:
        return x
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return ops.transpose(x, order)


def _sorted(c: Call, x: Tensor, axis: int, count: int, largest: bool) -> tuple[Tensor, Tensor]:
    if not largest and x.dtype.kind != "f":
        raise c.unsupported("the smallest of whole numbers")
    rank = c.rank(x)
    moved = _last(x, axis, rank)
    values, places = ops.top_k(moved if largest else ops.negative(moved), count)
    values = values if largest else ops.negative(values)
    return _last(values, axis, rank), ops.cast(_last(places, axis, rank), np.int64)


def _topk(c: Call) -> tuple[Tensor, Tensor]:
    x = c.tensor("self")
    if not c.rank(x):
        raise c.unsupported("the largest of a single value")
    return _sorted(c, x, c.axis("dim", x, -1), c.integer("k"), c.flag("largest", True))


def _sort(c: Call) -> tuple[Tensor, Tensor]:
    x = c.tensor("self")
    axis = c.axis("dim", x, -1)
    size = c.dims(x)[axis] if c.rank(x) else None
    if size is None:
        raise c.unsupported("sorting along an axis of unknown size")
    return _sorted(c, x, axis, size, c.flag("descending"))


def _cumsum(c: Call) -> Tensor:
    x = c.tensor("self")
    if x.dtype.kind != "f" or c.has("dtype") or not c.rank(x):
        raise c.unsupported("a running sum of whole numbers, or into another type")
    return ops.cumsum(x, c.axis("dim", x))


def _std(c: Call) -> Tensor:
    x = c.tensor("self")
    axes = list(c.axes("dim", x))
    less = int(c.number("correction", 1.0)) if c.has("correction") else int(c.flag("unbiased", True))
    sizes = [c.dims(x)[a] for a in axes]
    if None in sizes:
        raise c.unsupported("a deviation over an unknown size")
    count = int(np.prod([s or 0 for s in sizes]))
    centred = ops.subtract(x, ops.reduce_mean(x, axes, keepdims=True))
    total = ops.reduce_sum(ops.square(centred), axes, keepdims=c.flag("keepdim"))
    return ops.sqrt(ops.divide(total, np.asarray(float(max(count - less, 0)), x.dtype)))


def _spread_and_mean(c: Call) -> tuple[Tensor, Tensor]:
    spread = _std(c)
    x = c.tensor("self")
    mean = ops.reduce_mean(x, list(c.axes("dim", x)), keepdims=c.flag("keepdim"))
    return (ops.square(spread) if c.target == "var_mean" else spread), mean


def _norm(c: Call) -> Tensor:
    x = c.tensor("self")
    order = c.raw("p" if c.has("p") else "ord", 2)
    if order not in (1, 2) or c.has("dtype") or x.dtype.kind != "f":
        raise c.unsupported(f"the norm {order!r}")
    axes, keep = list(c.axes("dim", x)), c.flag("keepdim")
    if order == 1:
        return ops.reduce_sum(ops.abs(x), axes, keepdims=keep)
    return ops.sqrt(ops.reduce_sum(ops.square(x), axes, keepdims=keep))


def _bits(logic: str) -> Converter:
    """Of bools, the logical op; whole numbers are refused."""

    def convert(c: Call) -> Tensor:
        a, b = c.tensor("self"), c.tensor("other")
        if a.dtype != bool or b.dtype != bool:
            raise c.unsupported("bits of whole numbers")
        return _made("NotEqual" if logic == "xor" else f"Logical{logic}", [a, b])

    return convert


def _gather(c: Call) -> Tensor:
    """Along the last axis of a matrix: one row of indices for each row."""
    x, index = c.tensor("self"), c.tensor("index")
    axis, rank = c.axis("dim", x), c.rank(x)
    if rank != c.rank(index) or rank != 2:
        raise c.unsupported(f"a gather of {rank} axes")
    if c.dims(x)[1 - axis] is None or c.dims(x)[1 - axis] != c.dims(index)[1 - axis]:
        raise c.unsupported("a gather of fewer rows than there are, or of an unknown number")
    made = x.graph.create_op(
        "GatherV2", [_last(x, axis, 2), _last(index, axis, 2), ops.constant(np.int32(1))], {"batch_dims": 1}
    )
    return _last(made.outputs[0], axis, 2)


def _unfold(c: Call) -> Tensor:
    """Windows along an axis, whose elements become the last axis."""
    x = c.tensor("self")
    if not c.rank(x):
        raise c.unsupported("windows of a single value")
    axis, size, step = c.axis("dimension", x), c.integer("size"), c.integer("step")
    length = c.dims(x)[axis]
    if length is None:
        raise c.unsupported("windows along an axis of unknown size")
    if not 0 < size <= length or step < 1:
        raise c.wrong(f"windows of {size} every {step} along {length}")
    starts = np.arange(0, length - size + 1, step, dtype=np.int32)
    c.makes(len(starts) * size)
    places = starts[:, None] + np.arange(size, dtype=np.int32)
    y = x.graph.create_op("GatherV2", [x, ops.constant(places), ops.constant(np.int32(axis))], {}).outputs[0]
    order = [a for a in range(c.rank(y)) if a != axis + 1]
    return ops.transpose(y, [*order, axis + 1])


CONVERTERS: dict[str, Converter] = {
    "topk": _topk, "sort": _sort, "cumsum": _cumsum, "std": _std, "std_mean": _spread_and_mean, "var_mean": _spread_and_mean, "linalg_vector_norm": _norm, "norm": _norm, "gather": _gather, "unfold": _unfold,
    **dict.fromkeys(("__and__", "bitwise_and"), _bits("And")),
    **dict.fromkeys(("__or__", "bitwise_or"), _bits("Or")),
    **dict.fromkeys(("__xor__", "bitwise_xor"), _bits("xor")),
}  # fmt: skip
