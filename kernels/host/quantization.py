"""Quantised numbers, in TensorFlow's order of float32 operations, so that what is rounded is rounded to the same integer.

Sources of the formulas: tensorflow/core/kernels/dequantize_op.cc, quantize_op.cc, quantization_utils.h,
fake_quant_ops_functor.h, quantize_and_dequantize_op.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contracts.quantization import (
    DEQUANTIZE,
    FAKE_QUANT,
    QUANTIZE,
    QUANTIZE_DEQUANTIZE,
    DequantizeParams,
    FakeQuantParams,
    QuantizeDequantizeParams,
    QuantizeParams,
)
from ..errors import KernelError
from ..tensor import Array, DType
from .support import in_blocks, in_lines, numpy_kernel

__all__ = ["KERNELS"]

_F = np.float32


def _along(range_: Array, x: Array, axis: int | None) -> Array:
    """A range as it broadcasts along ``axis``; a scalar if there is none."""
    if axis is None:
        return range_.reshape(())
    shape = [1] * x.ndim
    shape[axis] = -1
    return range_.reshape(shape)


def _away(x: Array) -> Array:
    """The nearest integer; halves go away from 0. Exact: x - trunc(x) is."""
    whole = np.trunc(x)
    rest = (np.abs(x - whole) >= 0.5).astype(x.dtype)
    result: Array = whole + np.copysign(rest, x) if np.ndim(x) else whole + rest * np.copysign(x.dtype.type(1), x)
    return result


def _ends(dtype: DType) -> tuple[Any, Any]:
    info = np.iinfo(dtype)
    return _F(info.min), _F(info.max)


def _dequantize(inputs: Sequence[Array], outputs: Sequence[Array], params: DequantizeParams) -> None:
    x, (y,) = inputs[0], outputs
    low, high = (_along(r, x, params.axis) for r in inputs[1:])
    least, most = _ends(x.dtype)
    if params.mode == "MIN_COMBINED":
        half = _F(0) if x.dtype.kind == "u" else (most - least + _F(1)) / _F(2)
        factor = (high - low) / (most - least)

        def block(part: Array, made: Array) -> None:
            np.copyto(made, part)  # a ufunc that converts its input goes through a buffer
            if half:
                made += half
            made *= factor
            made += low

        if y.dtype != _F:
            y[...] = (x.astype(_F) + half) * factor + low
        elif params.axis is None:
            in_blocks(block, [x], y)
        else:
            block(x, y)
    elif params.mode == "SCALED":
        first = least + _F(params.narrow_range)
        y[...] = x.astype(_F) * (high / most if least == 0 else np.maximum(low / first, high / most))
    else:
        steps = 2.0 ** (8 * x.itemsize)
        scale = ((high - low) / _F(steps - 1.0)).astype(_F)
        start = np.where(high == low, low, _away(low / scale) * scale).astype(_F)
        y[...] = start + (x.astype(np.float64) - float(np.iinfo(x.dtype).min)).astype(_F) * scale


def _quantize(inputs: Sequence[Array], outputs: Sequence[Array], params: QuantizeParams) -> None:
    x, (y, y_low, y_high) = inputs[0], outputs
    low, high = (r.reshape(y_low.shape) for r in inputs[1:])
    if (low > high).any():
        raise KernelError("quantize: a range whose least value is above its greatest one")
    low = np.minimum(_F(0), low)
    width = np.maximum(_F(1), np.maximum(np.abs(inputs[1].reshape(low.shape)), np.abs(high))) * _F(params.minimum)
    high = np.maximum(_F(0), np.maximum(high, low + width))
    least, most = _ends(params.dtype)
    if params.mode == "SCALED":
        least = least + _F(params.narrow_range)
        scale = np.minimum(
            np.where(least * low > 0, least / low, np.finfo(_F).max),
            np.where(most * high > 0, most / high, np.finfo(_F).max),
        ).astype(_F)
        low, high = (least / scale).astype(_F), (most / scale).astype(_F)
    ends = _along(low, x, params.axis), _along(high, x, params.axis)
    if params.mode == "SCALED":
        scale = _along(scale, x, params.axis)
    elif params.mode == "MIN_COMBINED":
        scale = ((most - least) / (ends[1] - ends[0])).astype(_F)
    else:
        steps = _F(2.0 ** (8 * params.dtype.itemsize) - 1.0)
        scale = np.where(ends[0] == ends[1], _F(0), steps / (ends[1] - ends[0])).astype(_F)

    def block(part: Array, made: Array) -> None:
        _to_dtype(_quantized(part, ends, scale, (least, most), params), made)

    if params.axis is None:
        in_blocks(block, [x], y)
    else:
        block(x, y)
    y_low[...], y_high[...] = low, high


def _quantized(
    x: Array, ends: tuple[Array, Array], scale: Array, limits: tuple[Any, Any], params: QuantizeParams
) -> Array:
    """Whole numbers as float32, which may be out of range."""
    least, most = limits
    rounded = np.rint if params.half_to_even else _away
    if params.mode == "MIN_FIRST":
        return _away(x * scale) - (_away(ends[0] * scale).astype(_F) - least)
    cut = np.clip(x, *ends)
    if params.mode == "SCALED":
        return np.maximum(rounded(cut * scale), least)
    cut -= ends[0]
    cut *= scale
    if params.dtype.kind == "i":
        return rounded(cut - (most - least + _F(1)) / _F(2))
    if params.half_to_even:
        return np.rint(cut)
    cut += _F(0.5)
    return np.floor(cut)


def _to_dtype(made: Array, y: Array) -> None:
    """Whole numbers into integers, cut to what these hold; NaN is the least."""
    info = np.iinfo(y.dtype)
    if y.itemsize <= 2:  # whose ends are float32 numbers; np.fmax drops NaN
        np.copyto(y, np.minimum(np.fmax(made, _F(info.min)), _F(info.max)), casting="unsafe")
    else:
        most = np.nextafter(_F(info.max), _F(0))  # 2147483520: the next float32 is 2 ** 31
        y[...] = np.clip(np.where(np.isnan(made), _F(info.min), made), _F(info.min), most)


def _fake_quant(inputs: Sequence[Array], outputs: Sequence[Array], params: FakeQuantParams) -> None:
    x, (y,) = inputs[0], outputs
    low, high = inputs[1:] if params.given is None else (np.asarray(v, _F) for v in params.given)
    if not params.channels:
        low, high = low.reshape(()), high.reshape(())
    least, most = _F(params.narrow_range), _F((1 << params.bits) - 1)
    scale = (high - low) / (most - least)
    zero = least - low / scale
    zero = np.where(zero < least, least, np.where(zero > most, most, _away(np.asarray(zero)))).astype(_F)
    start, end = (least - zero) * scale, (most - zero) * scale
    nothing = (low == 0) & (high == 0)

    def block(part: Array, made: Array) -> None:
        np.clip(part, start, end, out=made)
        made -= start
        made /= scale
        made += _F(0.5)
        np.floor(made, out=made)
        made *= scale
        made += start
        if nothing.any():
            np.copyto(made, _F(0), where=nothing)

    if not params.channels:
        in_blocks(block, [x], y)
    else:
        in_lines(block, x, y)


def _round_trip(inputs: Sequence[Array], outputs: Sequence[Array], params: QuantizeDequantizeParams) -> None:
    x, (y,) = inputs[0], outputs
    kind = x.dtype.type
    if params.given:
        low, high = (_along(r, x, params.axis) for r in inputs[1:])
        if (low > high).any():
            raise KernelError("quantize_dequantize: a range whose least value is above its greatest one")
    else:
        axes = None if params.axis is None else tuple(i for i in range(x.ndim) if i != params.axis % x.ndim)
        low, high = np.amin(x, axis=axes, keepdims=True), np.amax(x, axis=axes, keepdims=True)
    top = 1 << (params.bits - params.signed)
    least, most = kind(params.narrow_range - top if params.signed else 0), kind(top - 1)
    largest = np.finfo(x.dtype).max
    from_low = np.where(least * low > 0, least / low, largest)
    from_high = np.where(most * high > 0, most / high, largest)
    by_low = from_low < from_high
    scale = np.where(by_low, from_low, from_high).astype(x.dtype)
    step = np.where(by_low, low / least if least else kind(0), high / most).astype(x.dtype)
    low, high = np.where(by_low, low, least * step), np.where(by_low, most * step, high)
    if params.given:
        x = np.minimum(np.maximum(x, low.astype(x.dtype)), high.astype(x.dtype))
    scaled = x * scale
    y[...] = (np.rint(scaled) if params.half_to_even else np.floor(scaled + kind(0.5))) * step


KERNELS = (
    numpy_kernel(DEQUANTIZE, "host", _dequantize),
    numpy_kernel(QUANTIZE, "host", _quantize),
    numpy_kernel(FAKE_QUANT, "host", _fake_quant),
    numpy_kernel(QUANTIZE_DEQUANTIZE, "host", _round_trip),
)
