"""Layers of quantised models: convolutions, products, pools and sums of int8 or uint8 tensors, exact in integers.

A tensor of integers q stands for the reals (q - zero) * scale. Kernels get what remains of the scales: a multiplier, the scale of a
sum of products as a number of steps of the result. Requantising is one rounding: y = clamp(rint(float32(sum) * multiplier) + zero,
low, high), with the product in float32 and halves to the even number, as XNNPACK and ONNX Runtime do it. The clamp holds a fused
activation, too. Where a float32 is NaN (an infinite multiplier times 0), the integer is ``low``.

All backends, instruction sets, batches and numbers of threads give the same integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import Dim, DType, Params, TensorType
from .base import Contract, items_of_first, merge_shapes, require_dtype, require_rank, shape_text
from .conv2d import Conv2DParams, Padding, window_output
from .pool2d import Pool2DParams
from .quantized_elements import (
    BYTES,
    DEQUANTIZE_LINEAR,
    EXACT,
    F32,
    INT8,
    QADD,
    QMUL,
    QUANTIZE_LINEAR,
    REQUANTIZE,
    DequantizeLinearParams,
    QAddParams,
    QMulParams,
    QuantizeLinearParams,
    RequantizeParams,
    require_finite,
    require_range,
    require_zero,
)

__all__ = [
    "BYTES", "DEQUANTIZE_LINEAR", "QADD", "QCONV2D", "QDEPTHWISE", "QMATMUL", "QMUL", "QPOOL", "QUANTIZE_LINEAR", "REQUANTIZE",
    "DequantizeLinearParams", "Halves", "QAddParams", "QConv2DParams", "QMatMulParams", "QMulParams", "QPoolParams",
    "QuantizeLinearParams", "RequantizeParams",
]  # fmt: skip

_INT32 = np.dtype("int32")
#: What a sum of products becomes: integers of a scale, the sum itself, or reals.
_RESULTS = BYTES | {_INT32, F32}
#: Where a mean's half goes: to the even number of steps from the zero point, away from the integer 0, or up.
Halves = Literal["even", "away", "up"]


@dataclass(frozen=True, slots=True)
class QConv2DParams(Params):
    """Strides and dilations are (height, width). ``x_zero``, ``y_zero``: zero points. ``low``, ``high``: bounds of the result.

    ``dtype`` int8 or uint8: requantised; int32: the sums; float32: sums times multiplier. The last two ignore y_zero, low, high.
    """

    strides: tuple[int, int] = (1, 1)
    padding: Padding = "VALID"
    dilations: tuple[int, int] = (1, 1)
    x_zero: int = 0
    y_zero: int = 0
    low: int = -128
    high: int = 127
    dtype: DType = INT8

    def __post_init__(self) -> None:
        self.windows  # noqa: B018 - refuses what conv2d refuses

    @property
    def windows(self) -> Conv2DParams:
        """The positions of the windows as conv2d has them (WindowGeometry)."""
        return Conv2DParams(self.strides, self.padding, self.dilations)


@dataclass(frozen=True, slots=True)
class QMatMulParams(Params):
    """As in QConv2DParams."""

    x_zero: int = 0
    y_zero: int = 0
    low: int = -128
    high: int = 127
    dtype: DType = INT8


def _require_product(op: str, inputs: Sequence[TensorType], params: QConv2DParams | QMatMulParams) -> None:
    """The types of x, w, bias and multiplier, and the numbers of the result."""
    x, w, bias, multiplier = inputs
    require_dtype(op, "the input", x.dtype, BYTES)
    require_dtype(op, "the filter" if isinstance(params, QConv2DParams) else "the weights", w.dtype, frozenset([INT8]))
    require_dtype(op, "the bias", bias.dtype, frozenset([_INT32]))
    require_dtype(op, "the multiplier", multiplier.dtype, frozenset([F32]))
    require_dtype(op, "the result", params.dtype, _RESULTS)
    require_zero(op, "the zero point of the input (x_zero)", params.x_zero, x.dtype)
    if params.dtype in BYTES:
        require_range(op, params.dtype, params.y_zero, params.low, params.high)


def _channels(op: str, inputs: Sequence[TensorType], channels: Dim) -> Dim:
    """Output channels, on which bias and multiplier must agree."""
    for what, t in zip(("bias", "multiplier"), inputs[2:4], strict=True):
        (channels,) = merge_shapes(f"{op} {what}", t.shape, (channels,)) or (channels,)
    return channels


def _infer_conv(inputs: Sequence[TensorType], params: QConv2DParams) -> tuple[TensorType, ...]:
    op = "quantized_conv2d"
    _require_product(op, inputs, params)
    n, h, w, cin = require_rank(op, "the input (NHWC)", inputs[0].shape, 4)
    kh, kw, kin, cout = require_rank(op, "the filter (height, width, in, out)", inputs[1].shape, 4)
    if cin is not None and kin is not None and cin != kin:
        raise ShapeError(
            f"{op}: the input has {cin} channels {shape_text(inputs[0].shape)} but the filter takes {kin} "
            f"{shape_text(inputs[1].shape)}"
        )
    oh, ow = window_output(op, (h, w), (kh, kw), params.strides, params.padding, params.dilations)
    return (TensorType(params.dtype, (n, oh, ow, _channels(op, inputs, cout))),)


def _infer_depthwise(inputs: Sequence[TensorType], params: QConv2DParams) -> tuple[TensorType, ...]:
    op = "quantized_depthwise_conv2d"
    _require_product(op, inputs, params)
    n, h, w, cin = require_rank(op, "the input (NHWC)", inputs[0].shape, 4)
    kh, kw, kin, m = require_rank(op, "the filter (height, width, in, multiplier)", inputs[1].shape, 4)
    (channels,) = merge_shapes(f"{op} channels", (cin,), (kin,)) or (None,)
    cout = None if channels is None or m is None else channels * m
    oh, ow = window_output(op, (h, w), (kh, kw), params.strides, params.padding, params.dilations)
    return (TensorType(params.dtype, (n, oh, ow, _channels(op, inputs, cout))),)


def _infer_matmul(inputs: Sequence[TensorType], params: QMatMulParams) -> tuple[TensorType, ...]:
    op = "quantized_matmul"
    _require_product(op, inputs, params)
    x, w = inputs[:2]
    k2, n = require_rank(op, "the weights (in, out)", w.shape, 2)
    n = _channels(op, inputs, n)
    if x.shape is None:
        return (TensorType(params.dtype),)
    if len(x.shape) < 2:
        raise ShapeError(
            f"{op}: the input needs 2 axes or more, got {shape_text(x.shape)}; use expand_dims for a vector"
        )
    k = x.shape[-1]
    if k is not None and k2 is not None and k != k2:
        raise ShapeError(f"{op}: inner sizes differ: {shape_text(x.shape)} has {k}, {shape_text(w.shape)} has {k2}")
    return (TensorType(params.dtype, (*x.shape[:-1], n)),)


_SUM = """acc = bias[o] + {sum}, exact in int32 (beyond, it wraps); where a tap lies in the padding, x counts as x_zero.
    dtype int8, uint8: y = clamp(rint(float32(acc) * multiplier[o]) + y_zero, low, high); int32: y = acc; float32: y = float32(acc) *
    multiplier[o]. Inputs: x int8 or uint8, w int8, bias int32 (out,), multiplier float32 (out,). FLOPs count a multiply-add as two."""

QCONV2D: Contract[QConv2DParams] = Contract(
    "quantized_conv2d",
    "x NHWC, w (height, width, in, out), y NHWC. "
    + _SUM.format(sum="sum over u, v, c of (x[n, i*sh + u*dh - top, j*sw + v*dw - left, c] - x_zero) * w[u, v, c, o]")
    + " Padding, strides, dilations and their limits as in conv2d. Cin = 0 gives what the bias gives.",
    _infer_conv,
    QConv2DParams,
    arity=(4, 4),
    flops=lambda inputs, outputs, params: 2 * outputs[0].size * prod(inputs[1].dims[:3]),
    tolerance=EXACT,
    hot=False,
    by_item=items_of_first,
)

QDEPTHWISE: Contract[QConv2DParams] = Contract(
    "quantized_depthwise_conv2d",
    "x NHWC, w (height, width, in, multiplier m), y NHWC with channel o = c*m + q. "
    + _SUM.format(sum="sum over u, v of (x[n, i*sh + u*dh - top, j*sw + v*dw - left, c] - x_zero) * w[u, v, c, q]")
    + " Padding, strides, dilations and their limits as in conv2d.",
    _infer_depthwise,
    QConv2DParams,
    arity=(4, 4),
    flops=lambda inputs, outputs, params: 2 * outputs[0].size * prod(inputs[1].dims[:2]),
    tolerance=EXACT,
    hot=False,
    by_item=items_of_first,
)

QMATMUL: Contract[QMatMulParams] = Contract(
    "quantized_matmul",
    "x (..., M, K), w (K, N), y (..., M, N). "
    + _SUM.format(sum="sum over k of (x[..., i, k] - x_zero) * w[k, o]")
    + " K = 0 gives what the bias gives.",
    _infer_matmul,
    QMatMulParams,
    arity=(4, 4),
    flops=lambda inputs, outputs, params: 2 * outputs[0].size * inputs[0].dims[-1],
    tolerance=EXACT,
    hot=False,
    by_item=items_of_first,
)


@dataclass(frozen=True, slots=True)
class QPoolParams(Params):
    """Window and strides are (height, width). ``multiplier``: scale of x / scale of y. ``halves``: where a half of a step goes.

    ``count_include_pad``: cells in the padding count in the divisor. ``low``, ``high``: bounds of the result.
    """

    window: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "VALID"
    count_include_pad: bool = False
    x_zero: int = 0
    y_zero: int = 0
    low: int = -128
    high: int = 127
    multiplier: float = 1.0
    halves: Halves = "even"

    def __post_init__(self) -> None:
        self.windows  # noqa: B018 - refuses what avg_pool2d refuses
        require_finite("quantized_average_pool", multiplier=self.multiplier)
        if self.halves not in ("even", "away", "up"):
            raise DTypeError(f"quantized_average_pool: halves is {self.halves!r}; expected 'even', 'away' or 'up'")

    @property
    def windows(self) -> Pool2DParams:
        """The positions of the windows as avg_pool2d has them (WindowGeometry)."""
        return Pool2DParams(self.window, self.strides, self.padding, self.count_include_pad)


def _infer_pool(inputs: Sequence[TensorType], params: QPoolParams) -> tuple[TensorType, ...]:
    op, (x,) = "quantized_average_pool", inputs
    require_dtype(op, "the input", x.dtype, BYTES)
    require_zero(op, "the zero point of the input (x_zero)", params.x_zero, x.dtype)
    require_range(op, x.dtype, params.y_zero, params.low, params.high)
    n, h, w, c = require_rank(op, "the input (NHWC)", x.shape, 4)
    oh, ow = window_output(op, (h, w), params.window, params.strides, params.padding)
    if 0 in (h, w) and 0 not in (oh, ow):
        raise ShapeError(f"{op}: the input {shape_text(x.shape)} has no pixels, so windows are wholly in padding")
    return (TensorType(x.dtype, (n, oh, ow, c)),)


QPOOL: Contract[QPoolParams] = Contract(
    "quantized_average_pool",
    """y[n, i, j, c] = clamp(round(s * multiplier / count) + y_zero, low, high), s = sum of x[n, i*sh - top + u, j*sw - left + v, c] -
    x_zero over the window's cells inside x, exact in int32 (beyond, it wraps).

    NHWC; y has the type of x. float32(s) * float32(multiplier) and its quotient by float32(count) are rounded to float32 each; with
    multiplier 1 a half is thus exact. count: the cells inside x, or with count_include_pad the window's area. A quotient v halfway
    between two integers: halves "even": the even one; "up": the greater; "away": the greater if floor(v) + y_zero >= 0, else the
    smaller, which is away from the integer 0 of y. Every window has a cell inside x. Limits as in max_pool2d.""",
    _infer_pool,
    QPoolParams,
    flops=lambda inputs, outputs, params: outputs[0].size * params.window[0] * params.window[1],
    tolerance=EXACT,
    hot=False,
    by_item=items_of_first,
)
