"""Picking, placing, reversing, rolling and running sums in ONNX, and what finds: where, unique, suppression of boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.tensor import is_float
from ..builder import Operation, Tensor
from .onnx_parts import Parts, Size
from .onnx_writer import Writer, data_type

__all__ = ["RULES"]

Rule = Callable[[Writer, Operation], None]
_I64 = np.dtype(np.int64)


def _gather_nd(writer: Writer, op: Operation) -> None:
    p = Parts(writer, op)
    where = p.cast(op.inputs[1], _I64)
    batch = int(op.attrs.get("batch_dims", 0))
    name = writer.emit("GatherND", [writer.get(op.inputs[0]), writer.get(where)], op.name, batch_dims=batch)
    writer.set(op.outputs[0], name)


def _placed(p: Parts, onto: Tensor, where: Tensor, values: Tensor, reduction: str) -> str:
    names = [p.writer.get(t) for t in (onto, p.cast(where, _I64), values)]
    return p.writer.emit("ScatterND", names, p.op.name, reduction=reduction)


def _scatter_nd(writer: Writer, op: Operation) -> None:
    p, (where, values, shape) = Parts(writer, op), op.inputs
    zeros = p("Fill", shape, p.constant(0, values.dtype))
    writer.set(op.outputs[0], _placed(p, zeros, where, values, "add"))


def _tensor_scatter(reduction: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        p, (onto, where, values) = Parts(writer, op), op.inputs
        if op.type == "TensorScatterSub":
            if values.dtype.kind == "u":
                raise p.wrong(f"ONNX has no negative numbers of {values.dtype} to add")
            values = p("Neg", values)
        writer.set(op.outputs[0], _placed(p, onto, where, values, reduction))

    return rule


def _segments(reduction: str) -> Rule:
    """Rows of segments below 0 go into a row more, which is cut off."""

    def rule(writer: Writer, op: Operation) -> None:
        p, (data, ids, _) = Parts(writer, op), op.inputs
        count = int(writer.required(op, 2))
        rest = p.sizes(data)[ids.type.rank or 0 :]
        flat = p("Reshape", p.cast(ids, _I64), p.ints(-1))
        at = p("SelectV2", p("Less", flat, 0), p.constant(count, _I64), flat)
        empty = p("Fill", p.shape([count + 1, *rest]), p.constant(_neutral(reduction, data), data.dtype))
        rows = p.reshape(data, [_all(p, ids), *rest])
        name = _placed(p, empty, p("ExpandDims", at, np.array(1, np.int32)), rows, reduction)
        bounds = [writer.constant(p.ints(v), f"{op.name}.rows") for v in (0, count, 0)]
        writer.set(op.outputs[0], writer.emit("Slice", [name, *bounds], f"{op.name}.kept"))

    return rule


def _all(p: Parts, ids: Tensor) -> Size:
    return ids.type.size if ids.type.known else p("Size", ids, out_type=_I64)


def _neutral(reduction: str, data: Tensor) -> Any:
    if reduction in ("add", "mul"):
        return 0 if reduction == "add" else 1
    limits: Any = np.finfo(data.dtype) if is_float(data.dtype) else np.iinfo(data.dtype)
    return limits.min if reduction == "max" else limits.max


def _one_hot(writer: Writer, op: Operation) -> None:
    """Compared with 0, 1, 2, ...: an index out of range is off everywhere, where ONNX's own op counts from the end."""
    p, (indices, _, on, off) = Parts(writer, op), op.inputs
    depth, rank = int(writer.required(op, 1)), indices.type.rank
    if rank is None:
        raise p.wrong("its indices have no known rank")
    axis = int(op.attrs.get("axis", -1)) % (rank + 1)
    column = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(rank + 1)])
    same = p("Equal", p("ExpandDims", p.cast(indices, _I64), np.array(axis, np.int32)), p.constant(column, _I64))
    p.done(p("SelectV2", same, on, off))


def _backwards(writer: Writer, op: Operation) -> None:
    x = op.inputs[0]
    given = writer.required(op, 1).ravel()
    axes = [int(a) for a in given] if op.type == "ReverseV2" else np.flatnonzero(given).tolist()
    if not axes:
        writer.set(op.outputs[0], writer.emit("Identity", [writer.get(x)], op.name))
        return
    least, one = np.iinfo(np.int64).min + 1, np.ones(len(axes), np.int64)
    bounds = [writer.constant(np.asarray(v, np.int64), f"{op.name}.bounds") for v in (-one, one * least, axes, -one)]
    writer.set(op.outputs[0], writer.emit("Slice", [writer.get(x), *bounds], op.name))


def _backwards_sequence(writer: Writer, op: Operation) -> None:
    """ONNX has the batch and the sequence as the first two axes."""
    p, (x, lengths) = Parts(writer, op), op.inputs
    rank = x.type.rank or 0
    batch, sequence = int(op.attrs.get("batch_dim", 0)) % rank, int(op.attrs["seq_dim"]) % rank
    order = [batch, sequence, *(i for i in range(rank) if i not in (batch, sequence))]
    moved = p.transpose(x, order)
    names = [writer.get(moved), writer.get(p.cast(lengths, _I64))]
    name = writer.emit("ReverseSequence", names, op.name, batch_axis=0, time_axis=1)
    back = tuple(int(i) for i in np.argsort(order))
    if list(back) != list(range(rank)):
        name = writer.emit("Transpose", [name], f"{op.name}.back", perm=back)
    writer.set(op.outputs[0], name)


def _roll(writer: Writer, op: Operation) -> None:
    """One gather for each axis; a cell comes from (its place less the shift) modulo the size."""
    p, x = Parts(writer, op), op.inputs[0]
    sizes = p.sizes(x)
    shifts, axes = (writer.required(op, i).ravel() for i in (1, 2))
    for shift, axis in zip(shifts.tolist(), axes.tolist(), strict=True):
        size = sizes[axis]
        if isinstance(size, int):
            where = p.constant((np.arange(size) - shift) % max(size, 1), _I64)
        else:
            places = p("Range", p.constant(0, _I64), size, p.constant(1, _I64))
            where = p("FloorMod", p("Sub", places, shift), size)
        x = p("GatherV2", x, where, np.array(axis, np.int32))
    p.done(p("Identity", x))


def _cumsum(writer: Writer, op: Operation) -> None:
    axis = writer.constant(writer.required(op, 1).astype(np.int64).reshape(()), f"{op.name}.axis")
    flags: dict[str, Any] = {k: int(bool(op.attrs.get(k, False))) for k in ("exclusive", "reverse")}
    writer.set(op.outputs[0], writer.emit("CumSum", [writer.get(op.inputs[0]), axis], op.name, **flags))


def _triangle(writer: Writer, op: Operation) -> None:
    name = writer.get(op.inputs[0])
    if op.type == "KiTriangle":
        cuts = [(int(op.attrs.get("upper", True)), int(writer.required(op, 1)))]
    else:
        lower, upper = (int(writer.required(op, i)) for i in (1, 2))
        cuts = [(1, -lower)] * (lower >= 0) + [(0, upper)] * (upper >= 0)
    for above, k in cuts:
        diagonal = writer.constant(np.array(k, np.int64), f"{op.name}.diagonal")
        name = writer.emit("Trilu", [name, diagonal], f"{op.name}.part", upper=above)
    writer.set(op.outputs[0], writer.emit("Identity", [name], op.name))


def _unravel(writer: Writer, op: Operation) -> None:
    p, (index, _) = Parts(writer, op), op.inputs
    sizes = [int(d) for d in writer.required(op, 1).ravel()]
    steps = [int(np.prod(sizes[i + 1 :], dtype=np.int64)) for i in range(len(sizes))]
    rows = [p("FloorMod", p("FloorDiv", index, step), size) for step, size in zip(steps, sizes, strict=True)]
    p.done(p("Pack", *rows, axis=0, N=len(rows)))


def _inverse_permutation(writer: Writer, op: Operation) -> None:
    p, (given,) = Parts(writer, op), op.inputs
    (count,) = p.sizes(given)
    size = p.constant(count, _I64) if isinstance(count, int) else count
    places = p.cast(p("Range", p.constant(0, _I64), size, p.constant(1, _I64)), given.dtype)
    where = p("ExpandDims", given, np.array(1, np.int32))
    writer.set(op.outputs[0], _placed(p, p("ZerosLike", given), where, places, "none"))


def _where(writer: Writer, op: Operation) -> None:
    found = writer.emit("NonZero", [writer.get(op.inputs[0])], f"{op.name}.found")
    writer.set(op.outputs[0], writer.emit("Transpose", [found], op.name, perm=(1, 0)))


def _unique(writer: Writer, op: Operation) -> None:
    """In the order of the first occurrence: the values, for every element which of them it is, how often each is there."""
    p, x = Parts(writer, op), op.inputs[0]
    if op.type.startswith("UniqueV2") or op.type == "UniqueWithCountsV2":
        axes = writer.required(op, 1).ravel().tolist()
        if x.type.rank != 1 or axes not in ([], [0]):
            raise p.wrong("it is along an axis of several, which ONNX counts otherwise; flatten the input first")
    names = writer.emit_many("Unique", [writer.get(x)], op.name, 4, sorted=0, axis=0)
    for tensor, name in zip(op.outputs, (names[0], names[2], names[3]), strict=False):
        if tensor.index and tensor.dtype != _I64:
            name = writer.emit("Cast", [name], f"{op.name}.cast", to=data_type(tensor.dtype, op.name))
        writer.set(tensor, name)


def _suppression(writer: Writer, op: Operation) -> None:
    """Boxes and scores of one image and one class; the third column of the result is the box."""
    p, (boxes, scores, most, *limits) = Parts(writer, op), op.inputs
    limits = limits or [p.constant(float(op.attrs.get("iou_threshold", 0.5)), np.float32)]
    names = [
        writer.get(p("ExpandDims", p.cast(boxes, np.float32), np.array(0, np.int32))),
        writer.get(p("Reshape", p.cast(scores, np.float32), p.ints(1, 1, -1))),
        *(
            writer.get(p("Reshape", t, p.ints(1)))
            for t in (p.cast(most, _I64), *(p.cast(t, np.float32) for t in limits))
        ),
    ]
    found = writer.emit("NonMaxSuppression", names, f"{op.name}.found")
    column = writer.emit("Gather", [found, writer.constant(np.array(2, np.int64), op.name)], f"{op.name}.boxes", axis=1)
    writer.set(op.outputs[0], writer.emit("Cast", [column], op.name, to=data_type(op.outputs[0].dtype, op.name)))


RULES: dict[str, Rule] = {
    "GatherNd": _gather_nd, "ScatterNd": _scatter_nd, "OneHot": _one_hot, "ReverseV2": _backwards, "Reverse": _backwards,
    "ReverseSequence": _backwards_sequence, "Roll": _roll, "Cumsum": _cumsum, "MatrixBandPart": _triangle, "KiTriangle": _triangle,
    "UnravelIndex": _unravel, "InvertPermutation": _inverse_permutation, "Where": _where,
    "TensorScatterUpdate": _tensor_scatter("none"), "TensorScatterAdd": _tensor_scatter("add"),
    "TensorScatterSub": _tensor_scatter("add"), "TensorScatterMax": _tensor_scatter("max"),
    "TensorScatterMin": _tensor_scatter("min"), "KiTensorScatterMul": _tensor_scatter("mul"),
    "UnsortedSegmentSum": _segments("add"), "UnsortedSegmentProd": _segments("mul"), "UnsortedSegmentMax": _segments("max"),
    "UnsortedSegmentMin": _segments("min"),
    **dict.fromkeys(["Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2"], _unique),
    **dict.fromkeys(["NonMaxSuppression", "NonMaxSuppressionV2", "NonMaxSuppressionV3"], _suppression),
}  # fmt: skip
