"""Quantised layers in ONNX. A scale of 1 stands for a step of the result, so the multipliers of kigraph are the scales of the file.

Results are the same integers, but that halves of a mean go to the even number, and sums are rounded as the runtime does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Operation
from .onnx_windows import dilated_pads_of, image_of, pads_of, sizes_of
from .onnx_writer import Writer, data_type

__all__ = ["RULES"]

Rule = Callable[[Writer, Operation], None]
_F = np.float32


def _one(writer: Writer, value: Any, dtype: Any, name: str) -> str:
    return writer.constant(np.array(value, dtype), name)


def _real(writer: Writer, op: Operation, q: str, index: int, scale: Any, zero: str) -> str:
    dtype = op.inputs[index].dtype
    grid = [_one(writer, scale, _F, f"{op.name}.scale"), _one(writer, op.attrs.get(zero, 0), dtype, f"{op.name}.zero")]
    return writer.emit("DequantizeLinear", [q, *grid], f"{op.name}.real")


def _ends(op: Operation) -> tuple[int, int, Any, int]:
    """Bounds, element type and zero point of the result."""
    pool = op.type == "KiQuantizedAvgPool"
    dtype = op.inputs[0].dtype if pool else np.dtype(op.attrs.get("out_type", np.int8))
    zero = int(op.attrs.get("zero" if op.type == "KiQuantize" else "y_zero", 0))
    return int(op.attrs.get("low", -128)), int(op.attrs.get("high", 127)), dtype, zero


def _integers(writer: Writer, op: Operation, x: str, scale: float = 1.0) -> str:
    """Steps as integers within the bounds."""
    _, _, dtype, zero = _ends(op)
    grid = [_one(writer, scale, _F, f"{op.name}.y_scale"), _one(writer, zero, dtype, f"{op.name}.y_zero")]
    return _bounded(writer, op, writer.emit("QuantizeLinear", [x, *grid], op.name))


def _bounded(writer: Writer, op: Operation, q: str) -> str:
    low, high, dtype, _ = _ends(op)
    if (low, high) == (np.iinfo(dtype).min, np.iinfo(dtype).max):
        return q
    ends = [_one(writer, low, dtype, f"{op.name}.low"), _one(writer, high, dtype, f"{op.name}.high")]
    return writer.emit("Clip", [q, *ends], f"{op.name}.bounded")


def _conv(writer: Writer, op: Operation) -> None:
    w = op.inputs[1]
    dims, depthwise = w.type.dims, op.type == "KiQuantizedDepthwiseConv2D"
    value = writer.required(op, 1)
    if depthwise:
        value = np.ascontiguousarray(value.transpose(2, 3, 0, 1)).reshape(dims[2] * dims[3], 1, dims[0], dims[1])
    else:
        value = np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    attrs = {
        "kernel_shape": dims[:2], "strides": sizes_of(op, "strides"), "dilations": sizes_of(op, "dilations"),
        "group": dims[2] if depthwise else 1, **dilated_pads_of(op),
    }  # fmt: skip
    name = _product(writer, op, image_of(writer, op), writer.constant(value, w.op.name), attrs)
    writer.set(op.outputs[0], name, nchw=True)


def _product(writer: Writer, op: Operation, x: str, w: str, attrs: dict[str, Any]) -> str:
    """A QLinearConv, or the sums as reals where these are the result."""
    _, _, dtype, zero = _ends(op)
    given = _one(writer, op.attrs.get("x_zero", 0), op.inputs[0].dtype, f"{op.name}.x_zero")
    none = _one(writer, 0, np.int8, f"{op.name}.w_zero")
    bias, factor = writer.required(op, 2), writer.required(op, 3).astype(_F)
    if dtype in (np.dtype(np.int8), np.dtype(np.uint8)):
        one = _one(writer, 1, _F, f"{op.name}.one")
        scales = writer.constant(factor, f"{op.name}.scales")
        nones = writer.constant(np.zeros(factor.size, np.int8), f"{op.name}.zeros")
        inputs = [x, one, given, w, scales, nones, one, _one(writer, zero, dtype, f"{op.name}.y_zero")]
        inputs.append(writer.constant(bias, f"{op.name}.bias"))
        return _bounded(writer, op, writer.emit("QLinearConv", inputs, op.name, **attrs))
    column = (1, -1, 1, 1)
    sums = writer.emit("ConvInteger", [x, w, given, none], f"{op.name}.sums", **attrs)
    sums = writer.emit("Add", [sums, writer.constant(bias.reshape(column), f"{op.name}.bias")], f"{op.name}.total")
    if dtype == np.int32:
        return sums
    reals = writer.emit("Cast", [sums], f"{op.name}.float", to=data_type(np.dtype(_F), op.name))
    return writer.emit("Mul", [reals, writer.constant(factor.reshape(column), f"{op.name}.scales")], op.name)


def _matmul(writer: Writer, op: Operation) -> None:
    """A convolution of 1 x 1: ONNX's product of integers has no bias."""
    x, w = op.inputs[:2]
    taken, units = w.type.dims
    column = writer.constant(np.array([-1, taken, 1, 1], np.int64), f"{op.name}.column")
    filters = writer.constant(np.ascontiguousarray(writer.required(op, 1).T).reshape(units, taken, 1, 1), w.op.name)
    flat = writer.emit("Reshape", [writer.get(x), column], f"{op.name}.flat")
    y = _product(writer, op, flat, filters, {"kernel_shape": (1, 1)})
    rank = x.type.rank or 2
    if rank == 2:
        rows = writer.constant(np.array([-1, units], np.int64), f"{op.name}.rows")
    else:
        shape = writer.emit("Shape", [writer.get(x)], f"{op.name}.shape")
        ends = [
            writer.constant(np.array([v], np.int64), f"{op.name}.{n}") for n, v in (("first", 0), ("last", rank - 1))
        ]
        lead = writer.emit("Slice", [shape, *ends], f"{op.name}.lead")
        last = writer.constant(np.array([units], np.int64), f"{op.name}.units")
        rows = writer.emit("Concat", [lead, last], f"{op.name}.rows", axis=0)
    writer.set(op.outputs[0], writer.emit("Reshape", [y, rows], f"{op.name}.result"))


def _pool(writer: Writer, op: Operation) -> None:
    x = _real(writer, op, image_of(writer, op), 0, op.attrs.get("multiplier", 1.0), "x_zero")
    counted = int(bool(op.attrs.get("count_include_pad", False)))
    y = writer.emit(
        "AveragePool", [x], f"{op.name}.mean", kernel_shape=sizes_of(op, "ksize"), strides=sizes_of(op, "strides"),
        count_include_pad=counted, **pads_of(op),
    )  # fmt: skip
    writer.set(op.outputs[0], _integers(writer, op, y), nchw=True)


def _add(writer: Writer, op: Operation) -> None:
    names = [
        _real(writer, op, writer.get(x), i, op.attrs.get(f"{k}_multiplier", 1.0), f"{k}_zero")
        for i, (k, x) in enumerate(zip("ab", op.inputs, strict=True))
    ]
    writer.set(op.outputs[0], _integers(writer, op, writer.emit("Add", names, f"{op.name}.sum")))


def _mul(writer: Writer, op: Operation) -> None:
    names = [
        _real(writer, op, writer.get(x), i, 1, f"{k}_zero")
        for i, (k, x) in enumerate(zip("ab", op.inputs, strict=True))
    ]
    product = writer.emit("Mul", names, f"{op.name}.product")
    factor = _one(writer, op.attrs.get("multiplier", 1.0), _F, f"{op.name}.multiplier")
    writer.set(op.outputs[0], _integers(writer, op, writer.emit("Mul", [product, factor], f"{op.name}.steps")))


def _quantize(writer: Writer, op: Operation) -> None:
    x, scale = writer.get(op.inputs[0]), float(op.attrs["scale"])
    if not op.attrs.get("divide", True):  # times 1 / scale, as TensorFlow Lite
        x = writer.emit("Mul", [x, _one(writer, _F(1) / _F(scale), _F, f"{op.name}.inverse")], f"{op.name}.steps")
        scale = 1.0
    writer.set(op.outputs[0], _integers(writer, op, x, scale))


def _dequantize(writer: Writer, op: Operation) -> None:
    writer.set(op.outputs[0], _real(writer, op, writer.get(op.inputs[0]), 0, op.attrs["scale"], "zero"))


def _requantize(writer: Writer, op: Operation) -> None:
    x = _real(writer, op, writer.get(op.inputs[0]), 0, op.attrs.get("multiplier", 1.0), "x_zero")
    writer.set(op.outputs[0], _integers(writer, op, x))


RULES: dict[str, Rule] = {
    "KiQuantizedConv2D": _conv, "KiQuantizedDepthwiseConv2D": _conv, "KiQuantizedMatMul": _matmul, "KiQuantizedAvgPool": _pool,
    "KiQuantizedAdd": _add, "KiQuantizedMul": _mul, "KiQuantize": _quantize, "KiDequantize": _dequantize,
    "KiRequantize": _requantize,
}  # fmt: skip
