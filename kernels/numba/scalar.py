"""exp, sigmoid, tanh, elu, selu, erf and erfc of one number, written so that LLVM can vectorise loops over them.

float32: polynomials of Cephes (S. Moshier) with relative error below 2e-7, and for erf those of cython/c/functions.h (erfc:
9.2e-7); float64: the C library's functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import DType
from .jit import bits, from_bits, inner

__all__ = ["elu", "erf", "erfc", "exp", "selu", "sigmoid", "tanh"]

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


_TWO_LOG2_E, _NINE, _BITS_OF_ONE = _F(2.88539008), _F(9.1), np.int32(0x3F800000)


def _tanh_of(x: Any) -> Any:
    """As in cython/c/functions.h: below 0.625 a polynomial, else 1 - 2 / (e ** 2|x| + 1); from 9.1 on it is 1."""
    size = abs(x)
    z = x * x
    small = ((((_T0 * z + _T1) * z + _T2) * z + _T3) * z + _T4) * z * size + size
    c = _NINE if size > _NINE else size
    rounded = c * _TWO_LOG2_E + _ROUND
    whole = rounded - _ROUND
    r = (c + c) - whole * _LN2_HIGH
    r = r - whole * _LN2_LOW
    e = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    e = e * (r * r) + r + _ONE
    # The rounded number's low bits are the power of two; the others leave at the top.
    scale = from_bits(np.int32(np.int32(bits(rounded) << _SHIFT) + _BITS_OF_ONE))
    large = _ONE - _TWO / (e * scale + _ONE)
    result = small if size < _SMALL else large
    return from_bits(np.int32(bits(result) | (bits(x) & _SIGN)))  # -0 too


#: With multiplications and additions in one, where the processor has that: NaN and infinities stay what they are.
_tanh32 = inner(_tanh_of, frozenset(["contract"]))


_ZERO, _FLAT = _F(0), _F(-25.0)


@inner
def _expm1_below32(x: Any) -> Any:
    """e ** x - 1 for x <= 0 (others count as 0) as 2 ** n * (e ** r - 1) + (2 ** n - 1); -1 from -25 down."""
    x = _ZERO if x > _ZERO else x
    x = _FLAT if x < _FLAT else x
    rounded = x * _LOG2_E + _ROUND
    whole = rounded - _ROUND
    n = np.int32(bits(rounded) - _ROUND_BITS)
    r = x - whole * _LN2_HIGH
    r = r - whole * _LN2_LOW
    p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    scale = from_bits(np.int32(np.int32(n + _BIAS) << _SHIFT))
    return scale * (p * (r * r) + r) + (scale - _ONE)


@inner
def _elu32(x: Any) -> Any:
    below = _expm1_below32(x)
    return below if x < _ZERO else x


_SELU_LOW, _SELU = _F(1.75809934), _F(1.05070099)


@inner
def _selu32(x: Any) -> Any:
    below = _SELU_LOW * _expm1_below32(x)
    return below if x < _ZERO else _SELU * x


_S0, _S1, _S2, _S3 = _F(7.88912286e-5), _F(-8.02084227e-4), _F(5.18953545e-3), _F(-2.68544446e-2)
_S4, _S5, _S6 = _F(1.12836002e-1), _F(-3.76126271e-1), _F(1.12837917)


@inner
def _erf_small32(x: Any) -> Any:
    """For |x| <= 1."""
    z = x * x
    return ((((((_S0 * z + _S1) * z + _S2) * z + _S3) * z + _S4) * z + _S5) * z + _S6) * x


_L0, _L1, _L2, _L3 = _F(1.86379264e-4), _F(-2.94765900e-3), _F(2.18380667e-2), _F(-1.03106760e-1)
_L4, _L5, _L6 = _F(-6.38144827e-1), _F(-1.12708919), _F(-3.41522174e-4)
_FOUR = _F(4)


@inner
def _erf32(x: Any) -> Any:
    """Beyond 1: 1 - e ** p, where p is log(erfc(x)); from 4 on it is 1."""
    size = abs(x)
    c = _FOUR if size > _FOUR else size
    p = (((((_L0 * c + _L1) * c + _L2) * c + _L3) * c + _L4) * c + _L5) * c + _L6
    large = _ONE - _exp32(p)
    large = from_bits(np.int32(bits(large) | (bits(x) & _SIGN)))
    small = _erf_small32(x)
    return small if size < _ONE else large


_N0, _N1, _N2 = _F(2.326819970e-2), _F(-1.387039389e-1), _F(3.687424675e-1)
_N3, _N4, _N5 = _F(-5.824733027e-1), _F(6.210004622e-1), _F(-4.944515323e-1)
_N6, _N7, _N8 = _F(3.404879938e-1), _F(-2.741127028e-1), _F(5.638259427e-1)
_R0, _R1, _R2, _R3 = _F(-1.047766400e1), _F(1.297719955e1), _F(-7.495518718), _F(2.921019019)
_R4, _R5, _R6, _R7 = _F(-1.015265279), _F(4.218463358e-1), _F(-2.820767440e-1), _F(5.641895068e-1)
_END, _HEAD = _F(10.5), np.int32(-4096)
_E2, _E3, _E4 = _F(0.5), _F(0.166666667), _F(4.16666667e-2)


@inner
def _erfc32(x: Any) -> Any:
    """Beyond 1: e ** -x ** 2 times a polynomial of 1 / x ** 2; the square is exact in two parts."""
    size = abs(x)
    c = _END if size > _END else size
    head = from_bits(np.int32(bits(c) & _HEAD))
    rest = (c - head) * (c + head)
    e = _exp32(-(head * head)) * (_ONE - rest * (_ONE - rest * (_E2 - rest * (_E3 - rest * _E4))))
    q = _ONE / c
    y = q * q
    near = (((((((_N0 * y + _N1) * y + _N2) * y + _N3) * y + _N4) * y + _N5) * y + _N6) * y + _N7) * y + _N8
    far = ((((((_R0 * y + _R1) * y + _R2) * y + _R3) * y + _R4) * y + _R5) * y + _R6) * y + _R7
    tail = e * q * (near if c < _TWO else far)
    tail = _TWO - tail if x < _ZERO else tail
    middle = _ONE - _erf_small32(x)
    return middle if size < _ONE else tail


def _elu64(x: float) -> float:
    return math.expm1(x) if x < 0 else x


def _selu64(x: float) -> float:
    return 1.7580993408473768 * math.expm1(x) if x < 0 else 1.0507009873554805 * x


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


def elu(dtype: DType) -> Callable[..., Any]:
    """x, or e ** x - 1 below 0."""
    return _wrap(_elu32) if dtype == np.float32 else _elu64


def selu(dtype: DType) -> Callable[..., Any]:
    """1.0507 * x, or 1.7581 * (e ** x - 1) below 0."""
    return _wrap(_selu32) if dtype == np.float32 else _selu64


def erf(dtype: DType) -> Callable[..., Any]:
    """The error function of one number."""
    return _wrap(_erf32) if dtype == np.float32 else lambda x: math.erf(x)


def erfc(dtype: DType) -> Callable[..., Any]:
    """1 - erf(x)"""
    return _wrap(_erfc32) if dtype == np.float32 else lambda x: math.erfc(x)


def _wrap(function: Any) -> Callable[..., Any]:
    return lambda x: function(x)
