"""Elementwise ops of quantised tensors: sums, products, and the ways into integers, out of them and to another scale."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf, isfinite

import numpy as np

from ..errors import DTypeError
from ..records import dataclass
from ..tensor import DType, Params, TensorType, dtype_name
from .base import Contract, Tolerance, aligned_items, broadcast_shapes, require_dtype, require_same_dtype

__all__ = [
    "BYTES", "DEQUANTIZE_LINEAR", "EXACT", "F32", "INT8", "QADD", "QMUL", "QUANTIZE_LINEAR", "REQUANTIZE", "DequantizeLinearParams",
    "QAddParams", "QMulParams", "QuantizeLinearParams", "RequantizeParams", "require_finite", "require_range", "require_zero",
]  # fmt: skip

INT8, F32 = np.dtype("int8"), np.dtype("float32")
#: What a quantised tensor holds.
BYTES = frozenset(map(np.dtype, ("int8", "uint8")))
EXACT = Tolerance(0, 0)


def require_finite(op: str, **numbers: float) -> None:
    """DTypeError for a number that float32 does not hold: infinite, NaN or beyond its range."""
    for what, value in numbers.items():
        if not isfinite(_as_float32(value)):
            raise DTypeError(f"{op}: {what} is {value}; expected a finite number that float32 holds")


def _as_float32(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _require_scale(op: str, scale: float) -> None:
    """A scale that is a positive float32."""
    if not 0 < _as_float32(scale) < inf:
        raise DTypeError(f"{op}: the scale is {scale}; expected a positive number that float32 holds")


def require_zero(op: str, what: str, zero: int, dtype: DType) -> None:
    """DTypeError for a zero point that is no number of its type."""
    info = np.iinfo(dtype)
    if not info.min <= zero <= info.max:
        raise DTypeError(f"{op}: {what} is {zero}; expected {info.min} to {info.max}, the range of {dtype_name(dtype)}")


def require_range(op: str, dtype: DType, zero: int, low: int, high: int) -> None:
    """DTypeError unless a result is int8 or uint8, and its zero point and bounds are numbers of that type."""
    require_dtype(op, "the result", dtype, BYTES)
    require_zero(op, "the zero point of the result (y_zero)", zero, dtype)
    info = np.iinfo(dtype)
    if not info.min <= low <= high <= info.max:
        raise DTypeError(
            f"{op}: the result is bounded from low = {low} to high = {high}; expected {info.min} <= low <= high <= {info.max}, "
            f"the range of {dtype_name(dtype)}"
        )


@dataclass(frozen=True, slots=True)
class QAddParams(Params):
    """``a_multiplier``, ``b_multiplier``: scale of the input / scale of the result."""

    a_zero: int = 0
    b_zero: int = 0
    a_multiplier: float = 1.0
    b_multiplier: float = 1.0
    y_zero: int = 0
    low: int = -128
    high: int = 127
    dtype: DType = INT8

    def __post_init__(self) -> None:
        require_finite("quantized_add", a_multiplier=self.a_multiplier, b_multiplier=self.b_multiplier)


@dataclass(frozen=True, slots=True)
class QMulParams(Params):
    """``multiplier``: scale of a * scale of b / scale of the result."""

    a_zero: int = 0
    b_zero: int = 0
    multiplier: float = 1.0
    y_zero: int = 0
    low: int = -128
    high: int = 127
    dtype: DType = INT8

    def __post_init__(self) -> None:
        require_finite("quantized_mul", multiplier=self.multiplier)


def _infer_pair(op: str, inputs: Sequence[TensorType], params: QAddParams | QMulParams) -> tuple[TensorType, ...]:
    dtype = require_same_dtype(op, inputs)
    require_dtype(op, "the inputs", dtype, BYTES)
    require_zero(op, "the zero point of input 0 (a_zero)", params.a_zero, dtype)
    require_zero(op, "the zero point of input 1 (b_zero)", params.b_zero, dtype)
    require_range(op, params.dtype, params.y_zero, params.low, params.high)
    return (TensorType(params.dtype, broadcast_shapes(op, [t.shape for t in inputs])),)


QADD: Contract[QAddParams] = Contract(
    "quantized_add",
    """y = clamp(rint(float32(a - a_zero) * a_multiplier + float32(b - b_zero) * b_multiplier) + y_zero, low, high).

    a and b int8 or uint8, of one type, broadcast; y of type dtype. Each operation is rounded to float32: the products before they are
    added (no fused multiply-add).""",
    partial(_infer_pair, "quantized_add"),
    QAddParams,
    arity=(2, 2),
    flops=lambda inputs, outputs, params: 3 * outputs[0].size,
    tolerance=EXACT,
    hot=False,
    inplace=True,
    by_item=aligned_items,
)

QMUL: Contract[QMulParams] = Contract(
    "quantized_mul",
    """y = clamp(rint(float32((a - a_zero) * (b - b_zero)) * multiplier) + y_zero, low, high).

    a and b int8 or uint8, of one type, broadcast; y of type dtype.""",
    partial(_infer_pair, "quantized_mul"),
    QMulParams,
    arity=(2, 2),
    flops=lambda inputs, outputs, params: 2 * outputs[0].size,
    tolerance=EXACT,
    hot=False,
    inplace=True,
    by_item=aligned_items,
)


@dataclass(frozen=True, slots=True)
class QuantizeLinearParams(Params):
    """``divide``: x / scale, as ONNX; else x * (1 / scale), as TensorFlow Lite."""

    scale: float
    zero: int = 0
    low: int = -128
    high: int = 127
    dtype: DType = INT8
    divide: bool = True

    def __post_init__(self) -> None:
        _require_scale("quantize_linear", self.scale)


@dataclass(frozen=True, slots=True)
class DequantizeLinearParams(Params):
    """The scale and the zero point of the input."""

    scale: float
    zero: int = 0

    def __post_init__(self) -> None:
        _require_scale("dequantize_linear", self.scale)


@dataclass(frozen=True, slots=True)
class RequantizeParams(Params):
    """``multiplier``: scale of x / scale of y."""

    x_zero: int = 0
    y_zero: int = 0
    multiplier: float = 1.0
    low: int = -128
    high: int = 127
    dtype: DType = INT8

    def __post_init__(self) -> None:
        require_finite("requantize", multiplier=self.multiplier)


def _infer_quantize(inputs: Sequence[TensorType], params: QuantizeLinearParams) -> tuple[TensorType, ...]:
    require_dtype("quantize_linear", "the input", inputs[0].dtype, frozenset([F32]))
    require_range("quantize_linear", params.dtype, params.zero, params.low, params.high)
    return (TensorType(params.dtype, inputs[0].shape),)


def _infer_dequantize(inputs: Sequence[TensorType], params: DequantizeLinearParams) -> tuple[TensorType, ...]:
    require_dtype("dequantize_linear", "the input", inputs[0].dtype, BYTES)
    require_zero("dequantize_linear", "the zero point", params.zero, inputs[0].dtype)
    return (TensorType(F32, inputs[0].shape),)


def _infer_requantize(inputs: Sequence[TensorType], params: RequantizeParams) -> tuple[TensorType, ...]:
    require_dtype("requantize", "the input", inputs[0].dtype, BYTES)
    require_zero("requantize", "the zero point of the input (x_zero)", params.x_zero, inputs[0].dtype)
    require_range("requantize", params.dtype, params.y_zero, params.low, params.high)
    return (TensorType(params.dtype, inputs[0].shape),)


QUANTIZE_LINEAR: Contract[QuantizeLinearParams] = Contract(
    "quantize_linear",
    """y = clamp(rint(v) + zero, low, high), v = x / float32(scale) with divide, else x * (1 / float32(scale)), rounded to float32.

    x float32, y int8 or uint8. Halves go to the even number, before zero is added; infinities to a bound, NaN to low.""",
    _infer_quantize,
    QuantizeLinearParams,
    flops=lambda inputs, outputs, params: 2 * outputs[0].size,
    tolerance=EXACT,
    hot=False,
    by_item=aligned_items,
)

DEQUANTIZE_LINEAR: Contract[DequantizeLinearParams] = Contract(
    "dequantize_linear",
    "y = float32(x - zero) * float32(scale). x int8 or uint8, y float32.",
    _infer_dequantize,
    DequantizeLinearParams,
    flops=lambda inputs, outputs, params: 2 * outputs[0].size,
    tolerance=EXACT,
    hot=False,
    by_item=aligned_items,
)

REQUANTIZE: Contract[RequantizeParams] = Contract(
    "requantize",
    "y = clamp(rint(float32(x - x_zero) * float32(multiplier)) + y_zero, low, high). x and y int8 or uint8.",
    _infer_requantize,
    RequantizeParams,
    flops=lambda inputs, outputs, params: 2 * outputs[0].size,
    tolerance=EXACT,
    hot=False,
    inplace=True,
    by_item=aligned_items,
)
