"""Windows over images in ONNX: convolutions, pools, and what follows them. They stay in NCHW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Operation
from ..errors import GraphError
from .onnx_writer import Writer

__all__ = ["RULES"]

Rule = Callable[[Writer, Operation], None]


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
            shape = writer.constant(np.array(flat, np.int64), f"{w.op.name}.shape")
            weights = writer.emit("Transpose", [writer.get(w)], f"{w.op.name}.mhw", perm=(2, 3, 0, 1))
            weights = writer.emit("Reshape", [weights, shape], f"{w.op.name}.oihw")
        else:
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


RULES: dict[str, Rule] = {
    "Conv2D": _conv, "DepthwiseConv2dNative": _conv, "MaxPool": _pool("MaxPool"), "AvgPool": _pool("AveragePool"),
    "BiasAdd": _bias_add, "BatchNormWithGlobalNormalization": _batch_norm, "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm, "FusedBatchNormV3": _batch_norm, "LRN": _lrn,
}  # fmt: skip
