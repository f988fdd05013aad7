"""Layers of quantised models in plain NumPy: the definition of their integers.

Products of integers are summed by BLAS in float32, as far as these sums are exact, and in float64 beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..contracts.geometry import WindowGeometry
from ..contracts.quantized import (
    DEQUANTIZE_LINEAR,
    QADD,
    QCONV2D,
    QDEPTHWISE,
    QMATMUL,
    QMUL,
    QPOOL,
    QUANTIZE_LINEAR,
    REQUANTIZE,
    DequantizeLinearParams,
    Halves,
    QAddParams,
    QConv2DParams,
    QMatMulParams,
    QMulParams,
    QPoolParams,
    QuantizeLinearParams,
    RequantizeParams,
)
from ..tensor import Array
from .support import in_blocks, numpy_kernel
from .taps import taps

__all__ = ["KERNELS"]

_F32 = np.float32
#: Products up to 255 * 128 whose sums float32 holds exactly: 2^24 / 32,640, rounded down.
_EXACT_TERMS = 512
#: Bytes of one block of unrolled rows: near the size of an L2 cache, and the bound on scratch memory.
_BLOCK_BYTES = 2 << 20


def _clamped(v: Array, zero: int, low: int, high: int, y: Array) -> None:
    """y = clamp(rint(v) + zero, low, high) for float32 v, which is overwritten. NaN becomes low."""
    np.fmax(v, _F32(low - zero), out=v)  # whole numbers, so the order of clamping and rounding does not matter
    np.fmin(v, _F32(high - zero), out=v)
    np.rint(v, out=v)
    v += _F32(zero)
    y[...] = v


def _finished(acc: Array, multiplier: Array, params: QConv2DParams | QMatMulParams, y: Array) -> None:
    """What becomes of the sums, int32 (..., out)."""
    if params.dtype == np.int32:
        y[...] = acc
        return
    v = acc.astype(_F32) * multiplier
    if params.dtype == _F32:
        y[...] = v
    else:
        _clamped(v, params.y_zero, params.low, params.high, y)


def _steps(x: Array, zero: int) -> Array:
    """x - zero, which float32 holds."""
    steps = x.astype(_F32)
    steps -= _F32(zero)
    return steps


def _sums(a: Array, w: Array, bias: Array) -> Array:
    """bias + a @ w for whole numbers in float32, modulo 2^32 as int32."""
    depth = a.shape[1]
    total = np.zeros((a.shape[0], w.shape[1]))
    for k in range(0, depth, _EXACT_TERMS):
        total += a[:, k : k + _EXACT_TERMS] @ w[k : k + _EXACT_TERMS]
    total += bias
    return total.astype(np.int64).astype(np.int32)


def _conv2d(inputs: Sequence[Array], outputs: Sequence[Array], params: QConv2DParams) -> None:
    (x, w, bias, multiplier), (y,) = inputs, outputs
    if y.size == 0:
        return
    g = WindowGeometry.between(x.shape, y.shape, w.shape, params.windows)
    cin, (oh, ow), (kh, kw) = g.channels, g.out, g.window
    depth = kh * kw * cin
    filters = w.reshape(depth, w.shape[3]).astype(_F32)
    block = min(max(_BLOCK_BYTES // max(ow * depth * 4, 1), 1), oh)
    for image in range(g.images):
        for row in range(0, oh, block):
            rows = min(block, oh - row)
            columns = np.zeros((rows, ow, kh, kw, cin), _F32)  # pixels in the padding are x_zero, no steps from it
            offset = (g.before[0] - row * g.strides[0], g.before[1])
            steps = taps(g.size, (rows, ow), g.window, g.strides, offset, g.dilations)
            for tap in steps if cin else ():
                columns[tap.out_rows, tap.out_columns, tap.u, tap.v] = _steps(
                    x[image, tap.rows, tap.columns], params.x_zero
                )
            acc = _sums(columns.reshape(rows * ow, depth), filters, bias)
            _finished(acc.reshape(rows, ow, w.shape[3]), multiplier, params, y[image, row : row + rows])


def _depthwise(inputs: Sequence[Array], outputs: Sequence[Array], params: QConv2DParams) -> None:
    (x, w, bias, multiplier), (y,) = inputs, outputs
    if y.size == 0:
        return
    g = WindowGeometry.between(x.shape, y.shape, w.shape, params.windows)
    filters = w.astype(np.int32)
    for image in range(g.images):
        acc = np.zeros((*g.out, *w.shape[2:]), np.int32)
        for tap in taps(g.size, g.out, g.window, g.strides, g.before, g.dilations):
            steps = x[image, tap.rows, tap.columns, :, None].astype(np.int32) - params.x_zero
            acc[tap.out_rows, tap.out_columns] += steps * filters[tap.u, tap.v]
        _finished(acc.reshape(y.shape[1:]) + bias, multiplier, params, y[image])


def _matmul(inputs: Sequence[Array], outputs: Sequence[Array], params: QMatMulParams) -> None:
    (x, w, bias, multiplier), (y,) = inputs, outputs
    if y.size == 0:
        return
    rows = _steps(x, params.x_zero).reshape(prod(x.shape[:-1]), x.shape[-1])
    acc = _sums(rows, w.astype(_F32), bias)
    _finished(acc.reshape(y.shape), multiplier, params, y)


def _to_whole(v: Array, halves: Halves, zero: int) -> Array:
    """Means rounded; what is halfway between two integers goes where ``halves`` says."""
    whole = np.rint(v)
    if halves == "even":
        return whole
    up = v + _F32(0.5)
    if halves == "away":
        up = np.where(v - _F32(0.5) + _F32(zero) >= 0, up, v - _F32(0.5))
    return np.where(np.abs(v - whole) == _F32(0.5), up, whole)


def _average_pool(inputs: Sequence[Array], outputs: Sequence[Array], params: QPoolParams) -> None:
    (x,), (y,) = inputs, outputs
    if y.size == 0:
        return
    g = WindowGeometry.between(x.shape, y.shape, params.window, params.windows)
    cells = np.zeros((*y.shape[1:3], 1))
    for tap in taps(g.size, g.out, g.window, g.strides, g.before):
        cells[tap.out_rows, tap.out_columns] += 1
    count = np.asarray(float(prod(params.window)) if params.count_include_pad else cells).astype(_F32)
    for image in range(g.images):
        total = np.zeros(y.shape[1:], np.int32)
        for tap in taps(g.size, g.out, g.window, g.strides, g.before):
            total[tap.out_rows, tap.out_columns] += x[image, tap.rows, tap.columns].astype(np.int32) - params.x_zero
        mean = total.astype(_F32) * _F32(params.multiplier) / count
        whole = _to_whole(mean, params.halves, params.y_zero)
        _clamped(whole, params.y_zero, params.low, params.high, y[image])


def _add(inputs: Sequence[Array], outputs: Sequence[Array], params: QAddParams) -> None:
    def add(a: Array, b: Array, y: Array) -> None:
        v = _steps(a, params.a_zero) * _F32(params.a_multiplier) + _steps(b, params.b_zero) * _F32(params.b_multiplier)
        _clamped(v, params.y_zero, params.low, params.high, y)

    in_blocks(add, inputs, outputs[0])


def _mul(inputs: Sequence[Array], outputs: Sequence[Array], params: QMulParams) -> None:
    def multiply(a: Array, b: Array, y: Array) -> None:
        v = _steps(a, params.a_zero) * _steps(b, params.b_zero) * _F32(params.multiplier)
        _clamped(v, params.y_zero, params.low, params.high, y)

    in_blocks(multiply, inputs, outputs[0])


def _quantize(inputs: Sequence[Array], outputs: Sequence[Array], params: QuantizeLinearParams) -> None:
    scale = _F32(params.scale)

    def quantize(x: Array, y: Array) -> None:
        v = x / scale if params.divide else x * (_F32(1) / scale)
        _clamped(v, params.zero, params.low, params.high, y)

    in_blocks(quantize, inputs, outputs[0])


def _dequantize(inputs: Sequence[Array], outputs: Sequence[Array], params: DequantizeLinearParams) -> None:
    def dequantize(x: Array, y: Array) -> None:
        np.subtract(x, _F32(params.zero), out=y, dtype=_F32)
        y *= _F32(params.scale)

    in_blocks(dequantize, inputs, outputs[0])


def _requantize(inputs: Sequence[Array], outputs: Sequence[Array], params: RequantizeParams) -> None:
    def requantize(x: Array, y: Array) -> None:
        v = _steps(x, params.x_zero) * _F32(params.multiplier)
        _clamped(v, params.y_zero, params.low, params.high, y)

    in_blocks(requantize, inputs, outputs[0])


KERNELS = tuple(
    numpy_kernel(contract, "host", function)
    for contract, function in (
        (QCONV2D, _conv2d),
        (QDEPTHWISE, _depthwise),
        (QMATMUL, _matmul),
        (QPOOL, _average_pool),
        (QADD, _add),
        (QMUL, _mul),
        (QUANTIZE_LINEAR, _quantize),
        (DEQUANTIZE_LINEAR, _dequantize),
        (REQUANTIZE, _requantize),
    )
)
