"""How ops that move elements or compute shapes are expressed in ONNX. Indices and sizes are int64 there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Operation, Tensor
from ..errors import GraphError
from .onnx_writer import TO_NCHW, Writer, data_type

__all__ = ["RULES"]

_END = np.iinfo(np.int64).max


def _vector(writer: Writer, tensor: Tensor, name: str) -> str:
    """A scalar or vector of integers as an int64 vector."""
    value = writer.value(tensor)
    if value is not None:
        return writer.constant(value.astype(np.int64).reshape(-1), name)
    found = writer.get(tensor)
    if tensor.dtype != np.int64:
        found = writer.emit("Cast", [found], f"{name}.int64", to=data_type(np.dtype(np.int64), name))
    if tensor.type.rank == 0:
        found = writer.emit("Unsqueeze", [found, writer.constant(np.array([0], np.int64), name)], f"{name}.vector")
    return found


def _in_type(writer: Writer, name: str, op: Operation, index: int = 0) -> str:
    """An int64 result as the type that the op states."""
    dtype = op.outputs[index].dtype
    if dtype == np.int64:
        return name
    return writer.emit("Cast", [name], f"{op.name}.cast", to=data_type(dtype, op.name))


def _shape(writer: Writer, op: Operation) -> None:
    name = writer.emit("Shape", [writer.get(op.inputs[0])], op.name)
    writer.set(op.outputs[0], _in_type(writer, name, op))


def _size(writer: Writer, op: Operation) -> None:
    name = writer.emit("Size", [writer.get(op.inputs[0])], op.name)
    writer.set(op.outputs[0], _in_type(writer, name, op))


def _rank(writer: Writer, op: Operation) -> None:
    shape = writer.emit("Shape", [writer.get(op.inputs[0])], f"{op.name}.shape")
    name = writer.emit("Size", [shape], op.name)
    writer.set(op.outputs[0], _in_type(writer, name, op))


def _pack(writer: Writer, op: Operation) -> None:
    rank = op.outputs[0].type.rank or 0
    axis = int(op.attrs.get("axis", 0))
    at = writer.constant(np.array([axis], np.int64), f"{op.name}.axis")
    parts = [writer.emit("Unsqueeze", [writer.get(t), at], f"{op.name}.part") for t in op.inputs]
    name = writer.emit("Concat", parts, op.name, axis=axis % rank if rank else axis)
    writer.set(op.outputs[0], name)


def _unpack(writer: Writer, op: Operation) -> None:
    axis = int(op.attrs.get("axis", 0))
    count = len(op.outputs)
    parts = writer.emit_many("Split", [writer.get(op.inputs[0])], op.name, count, axis=axis, num_outputs=count)
    at = writer.constant(np.array([axis], np.int64), f"{op.name}.axis")
    for tensor, part in zip(op.outputs, parts, strict=True):
        writer.set(tensor, writer.emit("Squeeze", [part, at], f"{op.name}.item"))


def _split(writer: Writer, op: Operation) -> None:
    """Along the channels, the rows or the columns in NCHW if the image is there."""
    equal = op.type == "Split"
    x, axis = op.inputs[1 if equal else 0], int(writer.required(op, 0 if equal else 2))
    nchw = writer.in_nchw(x)
    inputs, count = [writer.get_nchw(x) if nchw else writer.get(x)], len(op.outputs)
    extra: dict[str, Any] = {"num_outputs": count} if equal else {}
    if not equal:
        sizes = writer.required(op, 1).astype(np.int64)
        if (sizes < 0).any():
            found = [None if t.shape is None else t.shape[axis] for t in op.outputs]
            if None in found:
                raise GraphError(f"ONNX: SplitV '{op.name}': size -1 of an axis of unknown size cannot be written")
            sizes = np.array(found, np.int64)
        inputs.append(writer.constant(sizes, f"{op.name}.sizes"))
    place = TO_NCHW.index(axis % 4) if nchw else axis
    parts = writer.emit_many("Split", inputs, op.name, count, axis=place, **extra)
    for tensor, part in zip(op.outputs, parts, strict=True):
        writer.set(tensor, part, nchw=nchw)


def _slice(writer: Writer, op: Operation) -> None:
    x, begin, size = op.inputs
    sizes = writer.value(size)
    starts = _vector(writer, begin, f"{op.name}.begin")
    known = writer.value(begin)
    if sizes is not None and known is not None:
        ends = np.where(sizes == -1, _END, known.astype(np.int64) + sizes)
        stops = writer.constant(ends.astype(np.int64).reshape(-1), f"{op.name}.end")
    elif sizes is not None and (sizes == -1).all():
        stops = writer.constant(np.full(sizes.shape, _END, np.int64), f"{op.name}.end")
    elif sizes is not None and (sizes == -1).any():
        raise GraphError(
            f"ONNX: Slice '{op.name}': sizes {sizes.tolist()} with a begin that is computed cannot be written"
        )
    else:
        stops = writer.emit("Add", [starts, _vector(writer, size, f"{op.name}.size")], f"{op.name}.end")
    writer.set(op.outputs[0], writer.emit("Slice", [writer.get(x), starts, stops], op.name))


def _strided_slice(writer: Writer, op: Operation) -> None:
    """One Slice, then Squeeze for single indices, then Unsqueeze for new axes."""
    x, begin, end, _ = op.inputs
    steps = writer.required(op, 3).astype(np.int64)
    plan = _Strided(op, len(steps), x.type.rank)
    begins, ends = writer.value(begin), writer.value(end)
    if begins is None or (ends is None and plan.ends_matter):
        _computed_slice(writer, op, plan, steps)
        return
    starts, stops = plan.bounds(begins, ends, steps)
    name = writer.get(x)
    if plan.axes:
        parts = (starts, stops, plan.axes, [steps[i] for i in plan.indices])
        inputs = [writer.constant(np.array(p, np.int64), f"{op.name}.bounds") for p in parts]
        name = writer.emit("Slice", [name, *inputs], op.name)
    _finish(writer, op, plan, name)


def _computed_slice(writer: Writer, op: Operation, plan: _Strided, steps: np.ndarray[Any, Any]) -> None:
    """Bounds that the graph computes: without masks but those that a single index has."""
    if plan.masked or (steps != 1).any() or len(plan.indices) != len(steps):
        raise GraphError(f"ONNX: StridedSlice '{op.name}': computed bounds with masks or strides cannot be written")
    starts = _vector(writer, op.inputs[1], f"{op.name}.begin")
    if len(plan.shrunk) == len(steps) == 1:
        index = writer.emit("Squeeze", [starts, writer.constant(np.array([0], np.int64), op.name)], f"{op.name}.index")
        writer.set(op.outputs[0], writer.emit("Gather", [writer.get(op.inputs[0]), index], op.name, axis=plan.axes[0]))
        return
    if plan.shrunk:
        raise GraphError(f"ONNX: StridedSlice '{op.name}': computed bounds beside single indices cannot be written")
    stops = _vector(writer, op.inputs[2], f"{op.name}.end")
    axes = writer.constant(np.array(plan.axes, np.int64), f"{op.name}.axes")
    _finish(writer, op, plan, writer.emit("Slice", [writer.get(op.inputs[0]), starts, stops, axes], op.name))


def _finish(writer: Writer, op: Operation, plan: _Strided, name: str) -> None:
    if plan.shrunk:
        name = writer.emit(
            "Squeeze", [name, writer.constant(np.array(plan.shrunk, np.int64), op.name)], f"{op.name}.at"
        )
    if plan.added:
        name = writer.emit(
            "Unsqueeze", [name, writer.constant(np.array(plan.added, np.int64), op.name)], f"{op.name}.new"
        )
    writer.set(op.outputs[0], name)


class _Strided:
    """The masks of a StridedSlice, resolved to axes.

    ``indices``: the entries that slice, ``axes``: the axis of each; ``shrunk``: axes that go, ``added``: axes of the result
    that are new.
    """

    def __init__(self, op: Operation, count: int, rank: int | None) -> None:
        masks = {k: int(op.attrs.get(f"{k}_mask", 0)) for k in ("ellipsis", "new_axis", "shrink_axis", "begin", "end")}
        self._masks = masks
        taken = sum(not (masks["ellipsis"] | masks["new_axis"]) >> i & 1 for i in range(count))
        if rank is None and masks["ellipsis"]:
            raise GraphError(f"ONNX: StridedSlice '{op.name}': an ellipsis needs an input of known rank")
        skipped = 0 if rank is None else rank - taken
        self.indices: list[int] = []
        self.axes: list[int] = []
        self.shrunk: list[int] = []
        self.added: list[int] = []
        axis = place = 0
        for i in range(count):
            if masks["ellipsis"] >> i & 1:
                axis, place = axis + skipped, place + skipped
            elif masks["new_axis"] >> i & 1:
                self.added.append(place)
                place += 1
            else:
                self.indices.append(i)
                self.axes.append(axis)
                if masks["shrink_axis"] >> i & 1:
                    self.shrunk.append(axis)
                else:
                    place += 1
                axis += 1
        ranges = [i for i in self.indices if not masks["shrink_axis"] >> i & 1]
        self.ends_matter = any(not masks["end"] >> i & 1 for i in ranges)
        self.masked = any((masks["begin"] | masks["end"]) >> i & 1 for i in ranges)

    def bounds(self, begins: Any, ends: Any, steps: Any) -> tuple[list[int], list[int]]:
        """Starts and ends of a Slice, with the open ones at the far end of int64."""
        starts, stops = [], []
        for i in self.indices:
            step = int(steps[i])
            if self._masks["shrink_axis"] >> i & 1:
                at = int(begins[i])
                starts.append(at)
                stops.append(at + 1 if at != -1 else _END)
                continue
            first, last = (0, _END) if step > 0 else (_END, -_END)
            starts.append(first if self._masks["begin"] >> i & 1 else int(begins[i]))
            open_end = self._masks["end"] >> i & 1
            stops.append(last if open_end else int(ends[i]))
        return starts, stops


def _gather(writer: Writer, op: Operation) -> None:
    if op.attrs.get("batch_dims", 0):
        raise GraphError(
            f"ONNX: {op.type} '{op.name}': batch_dims cannot be written; begin the file after it (inputs=)"
        )
    axis = int(writer.required(op, 2)) if op.type == "GatherV2" else 0
    name = writer.emit("Gather", [writer.get(op.inputs[0]), writer.get(op.inputs[1])], op.name, axis=axis)
    writer.set(op.outputs[0], name)


def _tile(writer: Writer, op: Operation) -> None:
    repeats = _vector(writer, op.inputs[1], f"{op.name}.repeats")
    writer.set(op.outputs[0], writer.emit("Tile", [writer.get(op.inputs[0]), repeats], op.name))


def _fill(writer: Writer, op: Operation) -> None:
    shape = _vector(writer, op.inputs[0], f"{op.name}.shape")
    writer.set(op.outputs[0], writer.emit("Expand", [writer.get(op.inputs[1]), shape], op.name))


def _broadcast_to(writer: Writer, op: Operation) -> None:
    shape = _vector(writer, op.inputs[1], f"{op.name}.shape")
    writer.set(op.outputs[0], writer.emit("Expand", [writer.get(op.inputs[0]), shape], op.name))


def _range(writer: Writer, op: Operation) -> None:
    writer.set(op.outputs[0], writer.emit("Range", [writer.get(t) for t in op.inputs], op.name))


def _reshape(writer: Writer, op: Operation) -> None:
    """ONNX reads 0 as "keep"; allowzero takes it as TensorFlow does, but not beside a -1."""
    known = writer.value(op.inputs[1])
    zero = known is None or 0 in known
    if known is not None and zero and -1 in known:
        dims = op.outputs[0].shape
        if dims is None or None in dims:
            raise GraphError(f"ONNX: Reshape '{op.name}' to {known.tolist()} cannot be written")
        shape = writer.constant(np.array(dims, np.int64), f"{op.name}.shape")
    else:
        shape = _vector(writer, op.inputs[1], f"{op.name}.shape")
    # A computed shape may hold a -1, which allowzero forbids beside a 0 only.
    allow: dict[str, Any] = {"allowzero": 1} if known is not None and zero else {}
    writer.set(op.outputs[0], writer.emit("Reshape", [writer.get(op.inputs[0]), shape], op.name, **allow))


def _pad(mode: str) -> Callable[[Writer, Operation], None]:
    def rule(writer: Writer, op: Operation) -> None:
        """In NCHW if the image is there: padding before a convolution."""
        if op.type == "MirrorPad" and op.attrs.get("mode") not in ("REFLECT", b"REFLECT"):
            raise GraphError(f"ONNX: MirrorPad '{op.name}': mode {op.attrs.get('mode')} does not exist in ONNX")
        pairs = writer.required(op, 1).astype(np.int64)
        nchw = writer.in_nchw(op.inputs[0])
        if nchw:
            pairs = pairs[list(TO_NCHW)]
        x = writer.get_nchw(op.inputs[0]) if nchw else writer.get(op.inputs[0])
        names = [x, writer.constant(np.ascontiguousarray(pairs.T).ravel(), f"{op.name}.pads")]
        if op.type == "PadV2":
            names.append(writer.get(op.inputs[2]))
        writer.set(op.outputs[0], writer.emit("Pad", names, op.name, mode=mode), nchw=nchw)

    return rule


RULES: dict[str, Callable[[Writer, Operation], None]] = {
    "Shape": _shape, "Size": _size, "Rank": _rank, "Pack": _pack, "Unpack": _unpack, "Split": _split, "SplitV": _split,
    "Slice": _slice, "StridedSlice": _strided_slice, "Gather": _gather, "GatherV2": _gather, "Tile": _tile, "Fill": _fill,
    "BroadcastTo": _broadcast_to, "Range": _range, "Reshape": _reshape, "Pad": _pad("constant"), "PadV2": _pad("constant"),
    "MirrorPad": _pad("reflect"),
}  # fmt: skip
