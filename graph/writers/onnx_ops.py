"""One function per op type: how it is expressed in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Operation
from ..errors import GraphError
from ..opdefs.fused import FUSED
from . import (
    onnx_blocks,
    onnx_control,
    onnx_indexing,
    onnx_math,
    onnx_numbers,
    onnx_quantize,
    onnx_quantized,
    onnx_resample,
    onnx_shapes,
    onnx_windows,
)
from .onnx_writer import TO_NCHW, TO_NHWC, Writer, data_type

__all__ = ["WRITTEN", "write_operation"]

Rule = Callable[[Writer, Operation], None]

_SAME_NAME = {
    "Neg": "Neg", "Abs": "Abs", "Sign": "Sign", "Sqrt": "Sqrt", "Reciprocal": "Reciprocal", "Exp": "Exp", "Log": "Log", "Erf": "Erf",
    "Sin": "Sin", "Cos": "Cos", "Floor": "Floor", "Ceil": "Ceil", "Round": "Round", "Relu": "Relu", "Sigmoid": "Sigmoid",
    "Tanh": "Tanh", "Softplus": "Softplus", "LogicalNot": "Not", "Identity": "Identity", "StopGradient": "Identity",
    "CheckNumerics": "Identity", "PlaceholderWithDefault": "Identity", "Snapshot": "Identity", "PreventGradient": "Identity",
    "Inv": "Reciprocal", "Rint": "Round",
    "Print": "Identity", "Copy": "Identity", "CopyHost": "Identity", "DeepCopy": "Identity", "GuaranteeConst": "Identity",
    "EnsureShape": "Identity", "Elu": "Elu", "Selu": "Selu", "Softsign": "Softsign", "Tan": "Tan", "Asin": "Asin", "Acos": "Acos",
    "Atan": "Atan", "Sinh": "Sinh", "Cosh": "Cosh", "Asinh": "Asinh", "Acosh": "Acosh", "Atanh": "Atanh", "IsNan": "IsNaN",
    "IsInf": "IsInf",
}  # fmt: skip
_BINARY = {
    "Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Div": "Div", "Pow": "Pow", "Maximum": "Max",
    "Minimum": "Min", "Equal": "Equal", "Less": "Less", "Greater": "Greater", "LessEqual": "LessOrEqual",
    "GreaterEqual": "GreaterOrEqual", "LogicalAnd": "And", "LogicalOr": "Or",
}  # fmt: skip


def _unary(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        x = op.inputs[0]
        if onnx == "Identity" and writer.hand_on(x, op.outputs[0]):
            return
        nchw = writer.in_nchw(x)
        name = writer.emit(onnx, [writer.get_nchw(x) if nchw else writer.get(x)], op.name)
        writer.set(op.outputs[0], name, nchw=nchw)

    return rule


def _binary(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        """In NCHW if one operand is there and the other is a constant, or 4-D as well."""
        a, b = op.inputs
        nchw = any(writer.in_nchw(t) for t in (a, b)) and all(
            writer.literal(t) is not None or t.type.rank == 4 for t in (a, b)
        )
        names = [_operand(writer, t, op.outputs[0].type.rank or 0) if nchw else writer.get(t) for t in (a, b)]
        writer.set(op.outputs[0], writer.emit(onnx, names, op.name), nchw=nchw)

    return rule


def _operand(writer: Writer, tensor: Any, rank: int) -> str:
    value = writer.literal(tensor)
    if value is None:
        return writer.get_nchw(tensor)
    wide = value.reshape((1,) * (rank - value.ndim) + value.shape)
    return writer.constant(np.ascontiguousarray(wide.transpose(TO_NCHW)), tensor.op.name)


def _concat(writer: Writer, op: Operation) -> None:
    first = op.type == "Concat"
    axis = int(writer.required(op, 0 if first else len(op.inputs) - 1))
    values = op.inputs[1:] if first else op.inputs[:-1]
    rank = op.outputs[0].type.rank or 0
    nchw = rank == 4 and any(writer.in_nchw(t) for t in values)
    names = [writer.get_nchw(t) if nchw else writer.get(t) for t in values]
    name = writer.emit("Concat", names, op.name, axis=TO_NCHW.index(axis % rank) if nchw else axis)
    writer.set(op.outputs[0], name, nchw=nchw)


def _matmul(writer: Writer, op: Operation) -> None:
    flags = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
    names = []
    for tensor, flag in zip(op.inputs, flags, strict=True):
        if not op.attrs.get(flag):
            names.append(writer.get(tensor))
            continue
        rank, value = tensor.type.rank or 2, writer.literal(tensor)
        if value is not None:
            names.append(writer.constant(np.ascontiguousarray(value.swapaxes(-1, -2)), f"{tensor.op.name}.t"))
        else:
            perm = (*range(rank - 2), rank - 1, rank - 2)
            names.append(writer.emit("Transpose", [writer.get(tensor)], f"{tensor.name}.t", perm=perm))
    writer.set(op.outputs[0], writer.emit("MatMul", names, op.name))


def _squeeze(writer: Writer, op: Operation) -> None:
    axes = op.attrs.get("squeeze_dims") or op.attrs.get("axis") or ()
    names = [writer.get(op.inputs[0])]
    if axes:
        names.append(writer.constant(np.array(axes, np.int64), f"{op.name}.axes"))
    writer.set(op.outputs[0], writer.emit("Squeeze", names, op.name))


def _expand_dims(writer: Writer, op: Operation) -> None:
    axes = writer.constant(writer.required(op, 1).astype(np.int64).reshape(1), f"{op.name}.axes")
    writer.set(op.outputs[0], writer.emit("Unsqueeze", [writer.get(op.inputs[0]), axes], op.name))


def _transpose(writer: Writer, op: Operation) -> None:
    """Between NCHW and NHWC no node is needed: the value has a name in both."""
    perm, (x, *_), y = tuple(int(p) for p in writer.required(op, 1)), op.inputs, op.outputs[0]
    if perm == TO_NHWC:
        writer.set(y, writer.get(x), nchw=True)
    elif perm == TO_NCHW:
        writer.set(y, writer.get_nchw(x))
    else:
        writer.set(y, writer.emit("Transpose", [writer.get(x)], op.name, perm=perm))


def _reduce(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        """Over height and width in NCHW if the image is there."""
        axes = tuple(int(a) for a in writer.required(op, 1).ravel())
        keep = bool(op.attrs.get("keep_dims", op.attrs.get("keepdims", False)))
        x = op.inputs[0]
        nchw = writer.in_nchw(x) and (keep or sorted(a % 4 for a in axes) == [1, 2]) and bool(axes)
        if not axes:  # none at all, which ONNX takes for all of them
            writer.set(op.outputs[0], writer.emit("Identity", [writer.get(x)], op.name))
            return
        if nchw:
            name, axes = writer.get_nchw(x), tuple(TO_NCHW.index(a % 4) for a in axes)
        else:
            name = writer.get(x)
        over = writer.constant(np.array(axes, np.int64), f"{op.name}.axes")
        writer.set(op.outputs[0], writer.emit(onnx, [name, over], op.name, keepdims=int(keep)), nchw=nchw and keep)

    return rule


def _softmax(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        name = writer.emit(onnx, [writer.get(op.inputs[0])], op.name, axis=int(op.attrs.get("axis", -1)))
        writer.set(op.outputs[0], name)

    return rule


def _argmax(writer: Writer, op: Operation) -> None:
    axis = int(writer.required(op, 1))
    name = writer.emit("ArgMax", [writer.get(op.inputs[0])], op.name, axis=axis, keepdims=0)
    if op.outputs[0].dtype != np.int64:
        name = writer.emit("Cast", [name], f"{op.name}.cast", to=data_type(op.outputs[0].dtype, op.name))
    writer.set(op.outputs[0], name)


def _cast(writer: Writer, op: Operation) -> None:
    to = data_type(op.outputs[0].dtype, f"the result of '{op.name}'")
    nchw = writer.in_nchw(op.inputs[0])
    name = writer.get_nchw(op.inputs[0]) if nchw else writer.get(op.inputs[0])
    writer.set(op.outputs[0], writer.emit("Cast", [name], op.name, to=to), nchw=nchw)


def _relu6(writer: Writer, op: Operation) -> None:
    x = op.inputs[0]
    nchw = writer.in_nchw(x)
    bounds = [writer.constant(np.array(v, x.dtype), f"{op.name}.bound") for v in (0, 6)]
    name = writer.emit("Clip", [writer.get_nchw(x) if nchw else writer.get(x), *bounds], op.name)
    writer.set(op.outputs[0], name, nchw=nchw)


def _leaky_relu(writer: Writer, op: Operation) -> None:
    x = op.inputs[0]
    nchw = writer.in_nchw(x)
    alpha = float(op.attrs.get("alpha", 0.2))
    name = writer.emit("LeakyRelu", [writer.get_nchw(x) if nchw else writer.get(x)], op.name, alpha=alpha)
    writer.set(op.outputs[0], name, nchw=nchw)


def _add_n(writer: Writer, op: Operation) -> None:
    nchw = all(writer.in_nchw(t) for t in op.inputs)
    names = [writer.get_nchw(t) if nchw else writer.get(t) for t in op.inputs]
    writer.set(op.outputs[0], writer.emit("Sum", names, op.name), nchw=nchw)


def _identity_n(writer: Writer, op: Operation) -> None:
    for x, y in zip(op.inputs, op.outputs, strict=True):
        if not writer.hand_on(x, y):
            writer.set(y, writer.emit("Identity", [writer.get(x)], f"{op.name}.{y.index}"))


def _einsum(writer: Writer, op: Operation) -> None:
    name = writer.emit("Einsum", [writer.get(t) for t in op.inputs], op.name, equation=op.attrs["equation"])
    writer.set(op.outputs[0], name)


def _clip(writer: Writer, op: Operation) -> None:
    x, *bounds = op.inputs
    nchw = writer.in_nchw(x) and all(t.type.rank == 0 for t in bounds)
    name = writer.get_nchw(x) if nchw else writer.get(x)
    for onnx, bound in zip(("Max", "Min"), bounds, strict=True):
        name = writer.emit(onnx, [name, writer.get(bound)], f"{op.name}.{onnx.lower()}")
    writer.set(op.outputs[0], name, nchw=nchw)


def _rsqrt(writer: Writer, op: Operation) -> None:
    nchw = writer.in_nchw(op.inputs[0])
    x = writer.get_nchw(op.inputs[0]) if nchw else writer.get(op.inputs[0])
    root = writer.emit("Sqrt", [x], f"{op.name}.sqrt")
    writer.set(op.outputs[0], writer.emit("Reciprocal", [root], op.name), nchw=nchw)


def _square(writer: Writer, op: Operation) -> None:
    nchw = writer.in_nchw(op.inputs[0])
    x = writer.get_nchw(op.inputs[0]) if nchw else writer.get(op.inputs[0])
    writer.set(op.outputs[0], writer.emit("Mul", [x, x], op.name), nchw=nchw)


def _squared_difference(writer: Writer, op: Operation) -> None:
    d = writer.emit("Sub", [writer.get(t) for t in op.inputs], f"{op.name}.difference")
    writer.set(op.outputs[0], writer.emit("Mul", [d, d], op.name))


_RULES: dict[str, Rule] = {
    **{op: _unary(onnx) for op, onnx in _SAME_NAME.items()},
    **{op: _binary(onnx) for op, onnx in _BINARY.items()},
    "Concat": _concat, "ConcatV2": _concat,
    "MatMul": _matmul, "BatchMatMul": _matmul, "BatchMatMulV2": _matmul, "BatchMatMulV3": _matmul, "Squeeze": _squeeze,
    "ExpandDims": _expand_dims, "Transpose": _transpose, "Mean": _reduce("ReduceMean"), "Sum": _reduce("ReduceSum"),
    "Max": _reduce("ReduceMax"), "Min": _reduce("ReduceMin"), "Prod": _reduce("ReduceProd"), "Softmax": _softmax("Softmax"), "LogSoftmax": _softmax("LogSoftmax"),
    "ArgMax": _argmax, "Cast": _cast, "Relu6": _relu6, "Rsqrt": _rsqrt, "Square": _square,
    "SquaredDifference": _squared_difference, **onnx_math.RULES, **onnx_shapes.RULES,
    "LeakyRelu": _leaky_relu, "AddN": _add_n, "IdentityN": _identity_n, "Einsum": _einsum, "ClipByValue": _clip,
    **onnx_windows.RULES, **onnx_resample.RULES, **onnx_numbers.RULES, **onnx_indexing.RULES, **onnx_blocks.RULES,
    **onnx_quantize.RULES, **onnx_quantized.RULES, **onnx_control.RULES,
}  # fmt: skip

#: Op types that ONNX files can have.
WRITTEN = frozenset([*_RULES, *FUSED, "_FusedBatchNormEx"]) - {"VariableV2"}  # fused ops are taken apart before


def write_operation(writer: Writer, op: Operation) -> None:
    """Adds an op's ONNX nodes; GraphError if it has none, naming op, node and remedy."""
    rule = _RULES.get(op.type)
    if rule is None:
        raise GraphError(f"ONNX: op {op.type} (node '{op.name}') cannot be written; begin the file after it (inputs=)")
    rule(writer, op)
