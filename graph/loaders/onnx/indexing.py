"""Ops on positions: gathers and scatters, one-hot, running sums, triangles, einsum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...builder import Tensor
from .node import Converter, Node
from .shapes import scalar

__all__ = ["CONVERTERS", "positive"]


def positive(n: Node, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Indices along an axis, those below 0 counted from its end."""
    known, size = n.value(indices), n.shape(x)[axis]
    if known is not None and (not known.size or known.min() >= 0):
        return indices
    if known is not None and size is not None:
        return n.const(np.where(known < 0, known + size, known), known.dtype)
    indices = n.cast(indices, "int64")
    length = n.op("Reshape", n.size(x, axis), n.const([], "int64"))
    return n.op("SelectV2", n.op("Less", indices, n.const(0)), n.op("AddV2", indices, length), indices)


def _gather(n: Node) -> Tensor:
    """Indices count from the end if they are negative."""
    x, indices = n.input(0), n.input(1)
    axis = n.axis(n.integer("axis", 0), n.rank(x))
    return n.op("GatherV2", x, positive(n, x, indices, axis), n.const(axis))


def _flat_positions(n: Node, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Where index[i][j] along an axis lies in the flat x, with i, j the position in ``indices``."""
    rank = n.rank(x)
    if n.rank(indices) != rank:
        raise n.wrong(f"indices of {n.rank(indices)} axes for {rank}", "as many")
    index = n.cast(positive(n, x, indices, axis), "int64")
    flat: Tensor | None = None
    for i in range(rank):
        if i == axis:
            position = index
        else:
            length = n.op("Reshape", n.size(index, i), n.const([], "int64"))
            ramp = n.op("Range", n.const(0), length, n.const(1))
            position = n.reshape(ramp, [-1] + [1] * (rank - 1 - i))
        flat = position if flat is None else n.op("AddV2", n.op("Mul", flat, n.size(x, i)), position)
    assert flat is not None
    return flat


def _gather_elements(n: Node) -> Tensor:
    """y[i][j] = x[index[i][j]][j]."""
    x = n.input(0)
    flat = _flat_positions(n, x, n.input(1), n.axis(n.integer("axis", 0), n.rank(x)))
    return n.op("GatherV2", n.reshape(x, [-1]), flat, n.const(0))


def _gather_nd(n: Node) -> Tensor:
    x, indices = n.input(0), n.input(1)
    last, batch = n.shape(indices)[-1], n.integer("batch_dims", 0)
    if last is None or not 1 <= last + batch <= n.rank(x) or not 0 <= batch < n.rank(indices):
        raise n.unsupported(f"{last} indices and {batch} batch axes of {n.type_of(x)}")
    if batch:
        indices = n.cast(indices, "int64")
        below = n.op("Less", indices, n.const(0))
        sizes = n.vector([n.size(x, batch + i) for i in range(last)])
        indices = n.op("SelectV2", below, n.op("AddV2", indices, sizes), indices)
        return n.op("GatherNd", x, indices, batch_dims=batch)
    parts = n.ops("Split", [n.const(-1, "int32"), n.cast(indices, "int64")], last, num_split=last)
    flat: Tensor | None = None
    for i, part in enumerate(parts):
        position = positive(n, x, n.op("Squeeze", part, squeeze_dims=(-1,)), i)
        flat = position if flat is None else n.op("AddV2", n.op("Mul", flat, n.size(x, i)), position)
    assert flat is not None
    rows = n.op("Reshape", x, n.vector([-1, *(n.size(x, i) for i in range(last, n.rank(x)))]))
    return n.op("GatherV2", rows, flat, n.const(0))


#: ONNX's reduction -> op.
_SCATTERS = {
    "none": "TensorScatterUpdate", "add": "TensorScatterAdd", "mul": "KiTensorScatterMul", "max": "TensorScatterMax",
    "min": "TensorScatterMin",
}  # fmt: skip


def _scatter(n: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    reduction = n.text("reduction", "none")
    if reduction not in _SCATTERS:
        raise n.wrong(f"reduction {reduction[:40]!r}", ", ".join(_SCATTERS))
    return n.op(_SCATTERS[reduction], x, indices, updates)


def _scatter_nd(n: Node) -> Tensor:
    x, indices = n.input(0), n.input(1)
    last = n.shape(indices)[-1]
    if last is None or not 0 <= last <= n.rank(x):
        raise n.unsupported("an unknown number of indices")
    known = n.value(indices)
    if known is None or (known.size and known.min() < 0):
        sizes = n.vector([n.size(x, i) for i in range(last)])
        below = n.op("Less", indices, n.const(0))
        indices = n.op("SelectV2", below, n.op("AddV2", indices, sizes), indices)
    return _scatter(n, x, indices, n.input(2))


def _scatter_elements(n: Node) -> Tensor:
    """y[index[i][j]][j] = updates[i][j]."""
    x, updates = n.input(0), n.input(2)
    flat = _flat_positions(n, x, n.input(1), n.axis(n.integer("axis", 0), n.rank(x)))
    where = n.op("ExpandDims", n.reshape(flat, [-1]), n.const(1))
    y = _scatter(n, n.reshape(x, [-1]), where, n.reshape(updates, [-1]))
    return n.op("Reshape", y, n.sizes(x))


def _one_hot(n: Node) -> Tensor:
    """Values are (off, on); indices below 0 count from the end, others beyond the depth give a row of off."""
    indices, values = n.cast(n.input(0), "int64"), n.input(2)
    depth = scalar(n, n.cast(n.input(1), "int64"))
    off, on = (n.op("GatherV2", values, n.const(i), n.const(0)) for i in (0, 1))
    rank, axis = n.rank(indices) + 1, n.integer("axis", -1)
    indices = n.op("SelectV2", n.op("Less", indices, n.const(0)), n.op("AddV2", indices, depth), indices)
    return n.op("OneHot", indices, n.int32(depth, "depth"), on, off, axis=n.axis(axis, rank))


def _running(type: str) -> Converter:
    def convert(n: Node) -> Tensor:
        axis = scalar(n, n.input(1))
        return n.op(type, n.input(0), axis, exclusive=n.flag("exclusive"), reverse=n.flag("reverse"))

    return convert


def _triangle(n: Node) -> Tensor:
    k = n.optional(1)
    return n.op("KiTriangle", n.input(0), n.const(0) if k is None else scalar(n, k), upper=n.flag("upper", True))


def _einsum(n: Node) -> Tensor:
    equation = n.text("equation", "").replace(" ", "")
    if "->" not in equation:  # implicit: the letters that occur once, in alphabetical order
        letters = equation.replace(",", "").replace("...", "")
        single = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
        equation += "->" + ("..." if "..." in equation else "") + single
    return n.op("Einsum", *n.all_inputs, equation=equation)


def _shift(n: Node) -> Tensor:
    direction = n.text("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise n.wrong(f"direction {direction[:40]!r}", "LEFT or RIGHT")
    x, y = n.input(0), n.input(1)
    type = "LeftShift" if direction == "LEFT" else "RightShift"
    dtype, known = n.dtype(x), n.value(y)
    width = 8 * dtype.itemsize
    if known is not None and (not known.size or (known.min() >= 0 and known.max() < width)):
        return n.op(type, x, y)
    # A count of the width or more, or below 0, shifts everything out; of signed numbers to the right, the sign is left.
    valid = n.op("LogicalAnd", n.op("GreaterEqual", y, n.like(y, 0)), n.op("Less", y, n.like(y, width)))
    shifted = n.op(type, x, n.op("SelectV2", valid, y, n.like(y, width - 1)))
    return shifted if dtype.kind == "i" and type == "RightShift" else n.op("SelectV2", valid, shifted, n.like(x, 0))


def _hardmax(n: Node) -> Tensor:
    """1 at the first of the largest, 0 elsewhere; before version 13 over all axes from ``axis`` on."""
    x = n.input(0)
    rank = n.rank(x)
    axis = n.axis(n.integer("axis", 1 if n.version < 13 else -1), rank)
    if n.version < 13 and axis != rank - 1:
        raise n.unsupported("several axes of an early version")
    size = n.op("Reshape", n.size(x, axis), n.const([], "int64"))
    index = n.op("ArgMax", x, n.const(axis), output_type=np.dtype(np.int64))
    return n.op("OneHot", index, n.cast(size, "int32"), n.like(x, 1), n.like(x, 0), axis=axis)


def _eye_like(n: Node) -> Tensor:
    x, k, kind = n.input(0), n.integer("k", 0), n.integer("dtype", 0)
    dtype = n.element_type(kind) if kind else n.dtype(x)
    if n.rank(x) != 2:
        raise n.wrong(f"{n.rank(x)} axes", "a matrix")
    rows, columns = (
        n.op("Range", n.const(0), n.op("Reshape", n.size(x, i), n.const([], "int64")), n.const(1)) for i in (0, 1)
    )
    on = n.op("Equal", n.op("AddV2", n.op("ExpandDims", rows, n.const(1)), n.const(k)), columns)
    return n.op("Cast", on, DstT=dtype)


def _reverse_sequence(n: Node) -> Tensor:
    batch, time = n.integer("batch_axis", 1), n.integer("time_axis", 0)
    return n.op("ReverseSequence", n.input(0), n.input(1), seq_dim=time, batch_dim=batch)


_SAME: Sequence[tuple[str, str]] = (("CumSum", "Cumsum"), ("CumProd", "Cumprod"))

CONVERTERS: Mapping[str, Converter] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "Scatter": _scatter_elements,
    "OneHot": _one_hot,
    **{onnx: _running(type) for onnx, type in _SAME},
    "Trilu": _triangle,
    "Einsum": _einsum,
    "BitShift": _shift,
    "Hardmax": _hardmax,
    "EyeLike": _eye_like,
    "ReverseSequence": _reverse_sequence,
}
