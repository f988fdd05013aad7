"""exp, sigmoid and tanh of one number, written so that LLVM can vectorise loops over them.

float32: polynomials of Cephes (S. Moshier) with relative error below 2e-7; float64: the C library's functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import DType
from .jit import bits, from_bits, inner

__all__ = ["exp", "sigmoid", "tanh"]

_F = np.float32
_LOG2_E = _F(1.44269504)
# ln 2 in two parts: the product of the first with a whole number below 2 ** 15 is exact.
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
# Adding 1.5 * 2 ** 23 rounds to a whole number and leaves it in the low bits.
_ROUND, _ROUND_BITS = _F(12582912.0), np.int32(0x4B400000)
_LEAST, _MOST = _F(-104.0), _F(89.0)
_ONE, _TWO = _F(1), _F(2)
_P0, _P1, _P2 = _F(1.9875691500e-4), _F(1.3981999507e-3), _F(8.3334519073e-3)
_P3, _P4, _P5 = _F(4.1665795894e-2), _F(1.6666665459e-1), _F(5.0000001201e-1)
_T0, _T1, _T2 = _F(-5.70498872745e-3), _F(2.06390887954e-2), _F(-5.37397155531e-2)
_T3, _T4 = _F(1.33314422036e-1), _F(-3.33332819422e-1)
_SMALL = _F(0.625)
_BIAS, _SHIFT, _HALF = np.int32(127), np.int32(23), np.int32(1)
_SIGN = np.int32(-(2**31))


@inner
def _exp32(x: Any) -> Any:
    """e ** x = 2 ** n * e ** r with |r| <= ln(2) / 2; the power of two in two factors, for results near the limits."""
    x = _LEAST if x < _LEAST else x
    x = _MOST if x > _MOST else x
    rounded = x * _LOG2_E + _ROUND
    whole = rounded - _ROUND
    n = np.int32(bits(rounded) - _ROUND_BITS)
    r = x - whole * _LN2_HIGH
    r = r - whole * _LN2_LOW
    p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    p = p * (r * r) + r + _ONE
    first = np.int32(n >> _HALF)
    second = np.int32(n - first)
    p = p * from_bits(np.int32(np.int32(first + _BIAS) << _SHIFT))
    return p * from_bits(np.int32(np.int32(second + _BIAS) << _SHIFT))


@inner
def _sigmoid32(x: Any) -> Any:
    small = _exp32(-abs(x))  # at most 1: nothing overflows, and small results keep their digits
    return (small if x < _F(0) else _ONE) / (_ONE + small)


@inner
def _tanh32(x: Any) -> Any:
    size = abs(x)
    z = x * x
    small = ((((_T0 * z + _T1) * z + _T2) * z + _T3) * z + _T4) * z * size + size
    large = _ONE - _TWO / (_exp32(size + size) + _ONE)
    result = small if size < _SMALL else large
    return from_bits(np.int32(bits(result) | (bits(x) & _SIGN)))  # -0 too


def _sigmoid64(x: float) -> float:
    small = math.exp(-abs(x))
    return (small if x < 0 else 1.0) / (1.0 + small)


def exp(dtype: DType) -> Callable[..., Any]:
    """e ** x of one number."""
    return _wrap(_exp32) if dtype == np.float32 else lambda x: math.exp(x)


def sigmoid(dtype: DType) -> Callable[..., Any]:
    """1 / (1 + e ** -x) of one number."""
    return _wrap(_sigmoid32) if dtype == np.float32 else _sigmoid64


def tanh(dtype: DType) -> Callable[..., Any]:
    """Hyperbolic tangent of one number."""
    return _wrap(_tanh32) if dtype == np.float32 else lambda x: math.tanh(x)


def _wrap(function: Any) -> Callable[..., Any]:
    return lambda x: function(x)
