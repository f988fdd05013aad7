"""bfloat16 in NumPy, which has no such type: float32 arrays whose values are bfloat16 numbers, their 16 bits, and the element
type BFLOAT16 of kernels and plans.

A bfloat16 is the upper half of a float32: 8 bits of exponent, 8 of significand with the hidden one. Rounding is to the
nearest, halves to even; beyond the largest finite number it gives infinity; NaN stays NaN (quiet, with its sign).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .tensor import BFLOAT16

__all__ = ["from_bits", "is_bfloat16", "narrowed", "round_to_bfloat16", "to_bits", "widened"]

Array = np.ndarray[Any, Any]

_UPPER, _HALF, _ONE, _QUIET = (np.uint32(n) for n in (0xFFFF0000, 0x7FFF, 1, 0x00400000))
#: Elements rounded at a time: they stay in the L2 cache. 4 MB take 0.94 ms of CPU time, at once 1.53, in blocks of 4,096 1.75.
_BLOCK = 1 << 16


def round_to_bfloat16(values: Array, out: Array | None = None) -> Array:
    """The nearest bfloat16 numbers, as float32: a new array, or ``out`` (float32, of the same shape; it may be ``values``).

    values: float32 of any shape and strides; other types are a TypeError.
    """
    if values.dtype != np.float32:
        raise TypeError(f"round_to_bfloat16 takes float32, got {values.dtype}")
    if out is None:
        out = np.empty(values.shape, np.float32)
    elif out.dtype != np.float32 or out.shape != values.shape:
        raise TypeError(f"round_to_bfloat16: out is {out.dtype}{out.shape}, expected float32{values.shape}")
    if out is not values:
        np.copyto(out, values)
    if not out.flags.c_contiguous or not out.flags.aligned:
        np.copyto(out, round_to_bfloat16(np.array(out, order="C")))
        return out
    bits, numbers = out.reshape(-1).view(np.uint32), out.reshape(-1)
    carry = np.empty(min(_BLOCK, bits.size), np.uint32)
    for at in range(0, bits.size, _BLOCK):
        part = bits[at : at + _BLOCK]
        add, wrong = carry[: part.size], np.isnan(numbers[at : at + _BLOCK])
        np.right_shift(part, np.uint32(16), out=add)
        np.bitwise_and(add, _ONE, out=add)
        np.add(add, _HALF, out=add)
        if wrong.any():  # a carry could turn NaN into -0
            np.copyto(add, np.uint32(0), where=wrong)
            np.bitwise_or(part, _QUIET, out=part, where=wrong)
        np.add(part, add, out=part)
        np.bitwise_and(part, _UPPER, out=part)
    return out


def to_bits(values: Array) -> Array:
    """The 16 bits of the nearest bfloat16 numbers: uint16 of the same shape, dense."""
    return (round_to_bfloat16(values).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def from_bits(bits: Array) -> Array:
    """The float32 values of bfloat16 numbers given by their 16 bits (uint16), exactly."""
    if bits.dtype != np.uint16:
        raise TypeError(f"from_bits takes uint16, got {bits.dtype}")
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def is_bfloat16(values: Array) -> bool:
    """Whether all values of a float32 array are bfloat16 numbers."""
    return not (np.ascontiguousarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF)).any()


def narrowed(values: Array) -> Array:
    """A new BFLOAT16 array of the nearest numbers of a float32 array of any strides."""
    return to_bits(np.asarray(values, np.float32)).view(BFLOAT16)


def widened(values: Array) -> Array:
    """A new float32 array of the numbers of a BFLOAT16 array of any strides; exact."""
    return from_bits(values.view(np.uint16))
