"""One function per op type: how it is expressed in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Operation
from ..errors import GraphError
from . import onnx_math, onnx_shapes
from .onnx_writer import TO_NCHW, Writer, data_type

__all__ = ["WRITTEN", "write_operation"]

Rule = Callable[[Writer, Operation], None]

_SAME_NAME = {
    "Neg": "Neg", "Abs": "Abs", "Sign": "Sign", "Sqrt": "Sqrt", "Reciprocal": "Reciprocal", "Exp": "Exp", "Log": "Log", "Erf": "Erf",
    "Sin": "Sin", "Cos": "Cos", "Floor": "Floor", "Ceil": "Ceil", "Round": "Round", "Relu": "Relu", "Sigmoid": "Sigmoid",
    "Tanh": "Tanh", "Softplus": "Softplus", "LogicalNot": "Not", "Identity": "Identity", "StopGradient": "Identity",
    "CheckNumerics": "Identity", "PlaceholderWithDefault": "Identity", "Snapshot": "Identity", "PreventGradient": "Identity",
    "Inv": "Reciprocal", "Rint": "Round",
    "Print": "Identity", "GuaranteeConst": "Identity",
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


def _is_nchw(op: Operation) -> bool:
    return bool(op.attrs.get("data_format", "NHWC") == "NCHW")


def _image(writer: Writer, op: Operation) -> str:
    """The first input in NCHW: as it is if the op itself works so."""
    return writer.get(op.inputs[0]) if _is_nchw(op) else writer.get_nchw(op.inputs[0])


def _sizes(op: Operation, name: str, default: tuple[int, ...] = (1, 1, 1, 1)) -> tuple[int, int]:
    """Height and width of an attribute with an entry for each axis."""
    four = op.attrs.get(name, default)
    return tuple(four[2:4]) if _is_nchw(op) else tuple(four[1:3])


def _pads(op: Operation) -> dict[str, Any]:
    padding = op.attrs.get("padding")
    if padding == "EXPLICIT":
        top, bottom, left, right = op.attrs["explicit_paddings"][4 if _is_nchw(op) else 2 :][:4]
        return {"pads": (top, left, bottom, right)}
    return {"auto_pad": "SAME_UPPER"} if padding == "SAME" else {"pads": (0, 0, 0, 0)}


def _conv(writer: Writer, op: Operation) -> None:
    x, w = op.inputs
    dims = w.type.dims
    channels = x.shape[1 if _is_nchw(op) else 3] if x.shape is not None else None
    depthwise = op.type == "DepthwiseConv2dNative"
    # HWIO -> OIHW; depthwise HW(I)(M) -> (I*M) 1 H W, one group per input channel.
    value = writer.literal(w)
    if depthwise:
        flat = (dims[2] * dims[3], 1, dims[0], dims[1])
        if value is None:
            raise GraphError(f"ONNX: DepthwiseConv2dNative '{op.name}' needs constant weights")
        weights = writer.constant(np.ascontiguousarray(value.transpose(2, 3, 0, 1)).reshape(flat), w.op.name)
    elif value is None:
        weights = writer.emit("Transpose", [writer.get(w)], f"{w.op.name}.oihw", perm=(3, 2, 0, 1))
    else:
        weights = writer.constant(np.ascontiguousarray(value.transpose(3, 2, 0, 1)), w.op.name)
    groups = dims[2] if depthwise else channels // dims[2] if channels else 1
    name = writer.emit(
        "Conv", [_image(writer, op), weights], op.name, kernel_shape=dims[:2], strides=_sizes(op, "strides"),
        dilations=_sizes(op, "dilations"), group=groups, **_pads(op),
    )  # fmt: skip
    writer.set(op.outputs[0], name, nchw=not _is_nchw(op))


def _pool(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        extra: dict[str, Any] = (
            {"count_include_pad": int(bool(op.attrs.get("count_include_pad")))} if onnx == "AveragePool" else {}
        )
        name = writer.emit(
            onnx, [_image(writer, op)], op.name, kernel_shape=_sizes(op, "ksize"), strides=_sizes(op, "strides"), **extra,
            **_pads(op),
        )  # fmt: skip
        writer.set(op.outputs[0], name, nchw=not _is_nchw(op))

    return rule


def _bias_add(writer: Writer, op: Operation) -> None:
    x, b = op.inputs
    value = writer.literal(b)
    if _is_nchw(op):
        shape = writer.constant(np.array([-1, *(1,) * ((x.type.rank or 4) - 2)], np.int64), f"{op.name}.channels")
        column = writer.emit("Reshape", [writer.get(b), shape], f"{op.name}.bias")
        writer.set(op.outputs[0], writer.emit("Add", [writer.get(x), column], op.name))
    elif writer.in_nchw(x) and value is not None:
        name = writer.emit("Add", [writer.get_nchw(x), writer.constant(value.reshape(1, -1, 1, 1), b.op.name)], op.name)
        writer.set(op.outputs[0], name, nchw=True)
    else:
        writer.set(op.outputs[0], writer.emit("Add", [writer.get(x), writer.get(b)], op.name))


def _batch_norm(writer: Writer, op: Operation) -> None:
    if op.type == "BatchNormWithGlobalNormalization":
        order, epsilon = (4, 3, 1, 2), float(op.attrs.get("variance_epsilon", 1e-3))
        scaled = bool(op.attrs.get("scale_after_normalization", True))
    else:
        order, epsilon, scaled = (1, 2, 3, 4), float(op.attrs.get("epsilon", 1e-4)), True
        if op.attrs.get("is_training", True):
            raise GraphError(f"ONNX: {op.type} '{op.name}' is in training mode; freeze the graph first")
    gamma = op.inputs[order[0]]
    scale = writer.get(gamma) if scaled else writer.constant(np.ones(gamma.type.dims, gamma.dtype), f"{op.name}.scale")
    names = [scale, *(writer.get(op.inputs[i]) for i in order[1:])]
    name = writer.emit("BatchNormalization", [_image(writer, op), *names], op.name, epsilon=epsilon)
    writer.set(op.outputs[0], name, nchw=not _is_nchw(op))


def _lrn(writer: Writer, op: Operation) -> None:
    """ONNX divides alpha by the number of channels that are summed, so a radius beyond the channels is cut for both."""
    attrs, shape = op.attrs, op.inputs[0].shape
    radius = int(attrs.get("depth_radius", 5))
    if shape is not None and shape[-1] is not None:
        radius = min(radius, max(shape[-1] - 1, 0))
    size = 2 * radius + 1
    if size >= 2**31:
        raise GraphError(f"ONNX: LRN '{op.name}': depth_radius {radius} needs a known number of channels, got {shape}")
    name = writer.emit(
        "LRN", [writer.get_nchw(op.inputs[0])], op.name, size=size, alpha=float(attrs.get("alpha", 1)) * size,
        beta=float(attrs.get("beta", 0.5)), bias=float(attrs.get("bias", 1)),
    )  # fmt: skip
    writer.set(op.outputs[0], name, nchw=True)


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
        name = writer.get(tensor)
        if op.attrs.get(flag):
            rank = tensor.type.rank or 2
            perm = (*range(rank - 2), rank - 1, rank - 2)
            name = writer.emit("Transpose", [name], f"{tensor.name}.t", perm=perm)
        names.append(name)
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
    perm = tuple(int(p) for p in writer.required(op, 1))
    writer.set(op.outputs[0], writer.emit("Transpose", [writer.get(op.inputs[0])], op.name, perm=perm))


def _reduce(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        axes = tuple(int(a) for a in writer.required(op, 1).ravel())
        keep = bool(op.attrs.get("keep_dims", op.attrs.get("keepdims", False)))
        x = op.inputs[0]
        # A mean over height and width directly after convolutions is taken in NCHW; nothing is left to transpose.
        if writer.in_nchw(x) and sorted(a % 4 for a in axes) == [1, 2] and not keep:
            name, axes = writer.get_nchw(x), (2, 3)
        else:
            name = writer.get(x)
        if onnx == "ReduceSum":
            result = writer.emit(
                onnx, [name, writer.constant(np.array(axes, np.int64), f"{op.name}.axes")], op.name, keepdims=int(keep)
            )
        else:
            result = writer.emit(onnx, [name], op.name, axes=axes, keepdims=int(keep))
        writer.set(op.outputs[0], result)

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
    writer.set(op.outputs[0], writer.emit("Cast", [writer.get(op.inputs[0])], op.name, to=to))


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
    names = [writer.get(op.inputs[0])]
    for onnx, bound in (("Max", op.inputs[1]), ("Min", op.inputs[2])):
        names = [writer.emit(onnx, [*names, writer.get(bound)], f"{op.name}.{onnx.lower()}")]
    writer.set(op.outputs[0], names[0])


def _rsqrt(writer: Writer, op: Operation) -> None:
    root = writer.emit("Sqrt", [writer.get(op.inputs[0])], f"{op.name}.sqrt")
    writer.set(op.outputs[0], writer.emit("Reciprocal", [root], op.name))


def _square(writer: Writer, op: Operation) -> None:
    x = writer.get(op.inputs[0])
    writer.set(op.outputs[0], writer.emit("Mul", [x, x], op.name))


def _squared_difference(writer: Writer, op: Operation) -> None:
    d = writer.emit("Sub", [writer.get(t) for t in op.inputs], f"{op.name}.difference")
    writer.set(op.outputs[0], writer.emit("Mul", [d, d], op.name))


def _resize(writer: Writer, op: Operation) -> None:
    """ONNX wants the sizes of all axes: those of batch and channels are taken from the image."""
    mode = "align_corners" if op.attrs.get("align_corners") else "asymmetric"
    if op.attrs.get("half_pixel_centers"):
        mode = "half_pixel"
    x = writer.get_nchw(op.inputs[0])
    size = writer.constant(writer.required(op, 1).astype(np.int64), f"{op.name}.size")
    kept = writer.emit("Shape", [x], f"{op.name}.kept", start=0, end=2)
    sizes = writer.emit("Concat", [kept, size], f"{op.name}.sizes", axis=0)
    name = writer.emit(
        "Resize", [x, "", "", sizes], op.name, mode="linear", coordinate_transformation_mode=mode
    )  # fmt: skip
    writer.set(op.outputs[0], name, nchw=True)


_RULES: dict[str, Rule] = {
    **{op: _unary(onnx) for op, onnx in _SAME_NAME.items()},
    **{op: _binary(onnx) for op, onnx in _BINARY.items()},
    "Conv2D": _conv, "DepthwiseConv2dNative": _conv, "MaxPool": _pool("MaxPool"), "AvgPool": _pool("AveragePool"),
    "BiasAdd": _bias_add, "BatchNormWithGlobalNormalization": _batch_norm, "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm, "FusedBatchNormV3": _batch_norm, "LRN": _lrn, "Concat": _concat, "ConcatV2": _concat,
    "MatMul": _matmul, "BatchMatMul": _matmul, "BatchMatMulV2": _matmul, "BatchMatMulV3": _matmul, "Squeeze": _squeeze,
    "ExpandDims": _expand_dims, "Transpose": _transpose, "Mean": _reduce("ReduceMean"), "Sum": _reduce("ReduceSum"),
    "Max": _reduce("ReduceMax"), "Min": _reduce("ReduceMin"), "Prod": _reduce("ReduceProd"), "Softmax": _softmax("Softmax"), "LogSoftmax": _softmax("LogSoftmax"),
    "ArgMax": _argmax, "Cast": _cast, "Relu6": _relu6, "Rsqrt": _rsqrt, "Square": _square,
    "SquaredDifference": _squared_difference, "ResizeBilinear": _resize, **onnx_math.RULES, **onnx_shapes.RULES,
    "LeakyRelu": _leaky_relu, "AddN": _add_n, "IdentityN": _identity_n, "Einsum": _einsum, "ClipByValue": _clip,

}  # fmt: skip

#: Op types that ONNX files can have.
WRITTEN = frozenset(_RULES) - {"VariableV2"}


def write_operation(writer: Writer, op: Operation) -> None:
    """Adds an op's ONNX nodes; GraphError if it has none, naming op, node and remedy."""
    rule = _RULES.get(op.type)
    if rule is None:
        raise GraphError(f"ONNX: op {op.type} (node '{op.name}') cannot be written; begin the file after it (inputs=)")
    rule(writer, op)
