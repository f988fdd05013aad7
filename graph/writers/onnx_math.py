"""How arithmetic that ONNX spells otherwise, or lacks, is expressed there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...kernels.tensor import is_float
from ..builder import Operation
from ..errors import GraphError
from .onnx_writer import Writer, data_type

__all__ = ["RULES"]

Rule = Callable[[Writer, Operation], None]


def _not_equal(writer: Writer, op: Operation) -> None:
    same = writer.emit("Equal", [writer.get(t) for t in op.inputs], f"{op.name}.equal")
    writer.set(op.outputs[0], writer.emit("Not", [same], op.name))


def _floor_mod_of(writer: Writer, op: Operation, name: str) -> str:
    """The remainder with the divisor's sign: ONNX's Mod for integers, fmod corrected for floats."""
    x, y = (writer.get(t) for t in op.inputs)
    if not is_float(op.inputs[0].dtype):
        return writer.emit("Mod", [x, y], name)
    zero = writer.constant(np.array(0, op.inputs[0].dtype), f"{op.name}.zero")
    rest = writer.emit("Mod", [x, y], f"{op.name}.fmod", fmod=1)
    signs = [writer.emit("Less", [v, zero], f"{op.name}.negative") for v in (rest, y)]
    differ = writer.emit("Xor", signs, f"{op.name}.differ")
    exact = writer.emit("Equal", [rest, zero], f"{op.name}.exact")
    moved = writer.emit("And", [differ, writer.emit("Not", [exact], f"{op.name}.inexact")], f"{op.name}.moved")
    return writer.emit("Where", [moved, writer.emit("Add", [rest, y], f"{op.name}.sum"), rest], name)


def _floor_mod(writer: Writer, op: Operation) -> None:
    writer.set(op.outputs[0], _floor_mod_of(writer, op, op.name))


def _floor_div(writer: Writer, op: Operation) -> None:
    x, y = (writer.get(t) for t in op.inputs)
    if is_float(op.inputs[0].dtype):
        name = writer.emit("Floor", [writer.emit("Div", [x, y], f"{op.name}.quotient")], op.name)
    else:  # x less its remainder divides exactly, so that rounding towards zero does not matter
        rest = _floor_mod_of(writer, op, f"{op.name}.rest")
        name = writer.emit("Div", [writer.emit("Sub", [x, rest], f"{op.name}.whole"), y], op.name)
    writer.set(op.outputs[0], name)


def _truncate_mod(writer: Writer, op: Operation) -> None:
    writer.set(op.outputs[0], writer.emit("Mod", [writer.get(t) for t in op.inputs], op.name, fmod=1))


def _truncate_div(writer: Writer, op: Operation) -> None:
    """ONNX's Div rounds integers towards zero."""
    name = writer.emit("Div", [writer.get(t) for t in op.inputs], op.name)
    if is_float(op.inputs[0].dtype):
        zero = writer.constant(np.array(0, op.inputs[0].dtype), f"{op.name}.zero")
        negative = writer.emit("Less", [name, zero], f"{op.name}.negative")
        parts = [writer.emit(onnx, [name], f"{op.name}.{onnx.lower()}") for onnx in ("Ceil", "Floor")]
        name = writer.emit("Where", [negative, *parts], f"{op.name}.whole")
    writer.set(op.outputs[0], name)


def _log1p(writer: Writer, op: Operation) -> None:
    """log(u) * x / (u - 1) with u = 1 + x, which keeps the digits of small x (Kahan); x itself where u rounds to 1."""
    x = writer.get(op.inputs[0])
    one = writer.constant(np.array(1, op.inputs[0].dtype), f"{op.name}.one")
    u = writer.emit("Add", [x, one], f"{op.name}.u")
    less = writer.emit("Sub", [u, one], f"{op.name}.less")
    log = writer.emit("Log", [u], f"{op.name}.log")
    ratio = writer.emit("Div", [x, less], f"{op.name}.ratio")
    product = writer.emit("Mul", [log, ratio], f"{op.name}.product")
    plain = writer.emit("Where", [writer.emit("Equal", [u, one], f"{op.name}.small"), x, product], f"{op.name}.either")
    # Of infinity the ratio is NaN, the logarithm is right.
    huge = writer.emit("IsInf", [u], f"{op.name}.huge")
    writer.set(op.outputs[0], writer.emit("Where", [huge, log, plain], op.name))


def _select(writer: Writer, op: Operation) -> None:
    condition, a, b = op.inputs
    name = writer.get(condition)
    if op.type == "Select" and condition.type.rank == 1 and (a.type.rank or 0) > 1:
        axes = writer.constant(np.arange(1, a.type.rank, dtype=np.int64), f"{op.name}.axes")
        name = writer.emit("Unsqueeze", [name, axes], f"{op.name}.rows")
    writer.set(op.outputs[0], writer.emit("Where", [name, writer.get(a), writer.get(b)], op.name))


def _logical_reduce(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        axes = tuple(int(a) for a in writer.required(op, 1).ravel())
        keep = int(bool(op.attrs.get("keep_dims", False)))
        numbers = writer.emit(
            "Cast", [writer.get(op.inputs[0])], f"{op.name}.int32", to=data_type(np.dtype(np.int32), op.name)
        )
        if axes:
            over = writer.constant(np.array(axes, np.int64), f"{op.name}.axes")
            numbers = writer.emit(onnx, [numbers, over], f"{op.name}.reduced", keepdims=keep)
        writer.set(op.outputs[0], writer.emit("Cast", [numbers], op.name, to=data_type(np.dtype(bool), op.name)))

    return rule


def _argmin(writer: Writer, op: Operation) -> None:
    axis = int(writer.required(op, 1))
    name = writer.emit("ArgMin", [writer.get(op.inputs[0])], op.name, axis=axis, keepdims=0)
    if op.outputs[0].dtype != np.int64:
        name = writer.emit("Cast", [name], f"{op.name}.cast", to=data_type(op.outputs[0].dtype, op.name))
    writer.set(op.outputs[0], name)


def _top_k(writer: Writer, op: Operation) -> None:
    k = int(writer.required(op, 1)) if op.type == "TopKV2" else int(op.attrs["k"])
    count = writer.constant(np.array([k], np.int64), f"{op.name}.k")
    values, indices = writer.emit_many(
        "TopK", [writer.get(op.inputs[0]), count], op.name, 2, axis=-1, largest=1, sorted=1
    )
    writer.set(op.outputs[0], values)
    to = data_type(op.outputs[1].dtype, op.name)
    writer.set(op.outputs[1], writer.emit("Cast", [indices], f"{op.name}.indices", to=to))


def _bias_add_v1(writer: Writer, op: Operation) -> None:
    writer.set(op.outputs[0], writer.emit("Add", [writer.get(t) for t in op.inputs], op.name))


def _refused(why: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        raise GraphError(f"ONNX: {op.type} '{op.name}' cannot be written: {why}")

    return rule


RULES: dict[str, Rule] = {
    "NotEqual": _not_equal, "FloorMod": _floor_mod, "FloorDiv": _floor_div, "Mod": _truncate_mod,
    "TruncateMod": _truncate_mod, "TruncateDiv": _truncate_div, "Log1p": _log1p, "Select": _select, "SelectV2": _select,
    "All": _logical_reduce("ReduceMin"), "Any": _logical_reduce("ReduceMax"), "ArgMin": _argmin, "TopK": _top_k,
    "TopKV2": _top_k, "BiasAddV1": _bias_add_v1,
    "VariableV2": _refused("a variable has no fixed value; freeze the graph first"),
}  # fmt: skip
