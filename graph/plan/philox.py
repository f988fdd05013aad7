"""TensorFlow's random numbers: Philox4x32-10 (Salmon et al. 2011) and the distributions made of it, element by element.

Each counter gives four numbers of 32 bits. A tensor is filled in groups: group i takes counter + i, or, where numbers are
rejected (truncated normal), counters from counter + 256 i on.

Numbers of 32 bits, float32 and what is made of them come from C (kernels/cython/c/philox.c), whose normal numbers have
TensorFlow's bits, as both call libm's float functions. Without that extension NumPy computes them: the same numbers, but that
1 or 2 in a hundred normal ones differ in the last bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.backends import compiled
from ...kernels.records import dataclass
from ...kernels.tensor import TensorType

__all__ = ["RESERVED", "Stream", "integers", "normal", "truncated_normal", "uniform"]

Value = np.ndarray[Any, Any]

#: Counters that TensorFlow sets aside for each element of a tensor.
RESERVED = 256
_MASK = (1 << 32) - 1
_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
#: The key under which the seeds of stateless ops are scrambled (stateless_random_ops.cc).
_SCRAMBLE = 0x3EC8F720 | 0x02461E29 << 32
_SMALLEST = 1e-7
_TRUNCATE = 2.0


@functools.cache
def _compiled() -> Callable[..., None] | None:
    """The C function, unless the package was built without a C compiler."""
    return compiled("fill_philox")


@dataclass(frozen=True, slots=True)
class Stream:
    """A key of 64 bits and a counter of 128."""

    key: int
    counter: int

    @classmethod
    def of_seeds(cls, seed: int, seed2: int) -> Stream:
        return cls(seed & (1 << 64) - 1, (seed2 & (1 << 64) - 1) << 64)

    @classmethod
    def of_seed(cls, seed: Value) -> Stream:
        """The stream of a stateless op's seed of two integers, which is scrambled once."""
        first, second = (int(v) & (1 << 64) - 1 for v in seed.reshape(2))
        mixed = [int(v) for v in cls(_SCRAMBLE, first | second << 64).numbers(1)[0]]
        return cls(mixed[0] | mixed[1] << 32, (mixed[2] | mixed[3] << 32) << 64)

    def skip(self, count: int) -> Stream:
        return Stream(self.key, (self.counter + count) & (1 << 128) - 1)

    def groups(self, offsets: Value) -> Value:
        """The numbers at ``counter + offsets`` (uint64): [offsets, 4] of uint32."""
        made = self.filled("philox_bits", 4 * len(offsets), np.dtype(np.uint32), offsets)
        return self._plain_groups(offsets) if made is None else made.reshape(-1, 4)

    def filled(self, op: str, count: int, dtype: np.dtype[Any], offsets: Value | None = None) -> Value | None:
        """``count`` elements made in C: 'philox_bits' (uint32), 'philox_uniform' or 'philox_normal' (float32). None: there is no C.

        ``offsets`` (uint64): of the groups of four; else they follow each other.
        """
        fill = _compiled()
        if fill is None:
            return None
        y = np.empty(count, dtype)
        if offsets is None:
            fill(op, y, TensorType(y.dtype, y.shape), self.key, self.counter)
        else:
            fill(
                op,
                y,
                TensorType(y.dtype, y.shape),
                self.key,
                self.counter,
                offsets,
                TensorType(offsets.dtype, offsets.shape),
            )
        return y

    def _plain_groups(self, offsets: Value) -> Value:
        low = self.counter & (1 << 64) - 1
        with np.errstate(over="ignore"):
            bottom = offsets.astype(np.uint64) + np.uint64(low)
        carry = (bottom < np.uint64(low)).astype(np.uint64)
        high = self.counter >> 64
        # A carry out of the low half goes into the high one.
        tops = [np.uint64(high), np.uint64((high + 1) & (1 << 64) - 1)]
        top = np.where(carry.astype(bool), tops[1], tops[0])
        c = [bottom & _MASK, bottom >> np.uint64(32), top & np.uint64(_MASK), top >> np.uint64(32)]
        k0, k1 = self.key & _MASK, self.key >> 32
        for _ in range(10):
            first, second = c[0] * np.uint64(_M0), c[2] * np.uint64(_M1)
            c = [
                (second >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), second & np.uint64(_MASK),
                (first >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), first & np.uint64(_MASK),
            ]  # fmt: skip
            k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
        return np.stack(c, axis=-1).astype(np.uint32)

    def numbers(self, groups: int) -> Value:
        made = self.filled("philox_bits", 4 * groups, np.dtype(np.uint32))
        return self.groups(np.arange(groups, dtype=np.uint64)) if made is None else made.reshape(-1, 4)


def _unit(bits: Value, dtype: np.dtype[Any]) -> Value:
    """[0, 1): random bits as the mantissa of a number from 1 to 2. float64 takes two numbers for each."""
    if dtype == np.float16:
        return (bits & np.uint32(0x3FF) | np.uint32(15 << 10)).astype(np.uint16).view(np.float16) - np.float16(1)
    if dtype == np.float32:
        return (bits & np.uint32(0x7FFFFF) | np.uint32(127 << 23)).view(np.float32) - np.float32(1)
    pairs = bits.reshape(*bits.shape[:-1], -1, 2).astype(np.uint64)
    whole = (pairs[..., 0] & np.uint64(0xFFFFF)) << np.uint64(32) | pairs[..., 1]
    return (whole | np.uint64(1023 << 52)).view(np.float64) - 1.0


def _filled(stream: Stream, count: int, each: int, make: Callable[[Value], Value]) -> Value:
    """``count`` elements, ``each`` of a group."""
    return make(stream.numbers(-(-count // each))).reshape(-1)[:count]


def uniform(stream: Stream, count: int, dtype: np.dtype[Any]) -> Value:
    """float16, float32 or float64 from 0 up to, not including, 1."""
    if dtype == np.float32 and (made := stream.filled("philox_uniform", count, dtype)) is not None:
        return made
    return _filled(stream, count, 2 if dtype == np.float64 else 4, lambda bits: _unit(bits, dtype))


def integers(stream: Stream, count: int, low: int, high: int, dtype: np.dtype[Any]) -> Value:
    """int32 or int64 from low up to, not including, high; the remainder of the random number, as in TensorFlow."""
    wide = dtype.itemsize == 8

    def make(bits: Value) -> Value:
        whole = bits.astype(np.uint64)
        if wide:
            pairs = whole.reshape(-1, 2, 2)
            whole = pairs[..., 0] | pairs[..., 1] << np.uint64(32)
        if high == low:  # all integers of the type
            return whole.astype(dtype)
        with np.errstate(over="ignore"):
            return (whole % np.uint64(high - low) + np.uint64(low & (1 << 64) - 1)).astype(np.uint64).astype(dtype)

    return _filled(stream, count, 2 if wide else 4, make)


def _box_muller(first: Value, second: Value, dtype: np.dtype[Any]) -> Value:
    """Two normal numbers of two uniform ones, along a new last axis."""
    u = np.maximum(first, dtype.type(_SMALLEST))
    wide = (2 * np.pi * second.astype(np.float64)).astype(dtype).astype(np.float64)
    # libm's float functions round nearly always as the double ones do.
    radius = np.sqrt((-2 * np.log(u.astype(np.float64)).astype(dtype)).astype(np.float64)).astype(dtype)
    return np.stack([np.sin(wide).astype(dtype) * radius, np.cos(wide).astype(dtype) * radius], axis=-1)


def normal(stream: Stream, count: int, dtype: np.dtype[Any]) -> Value:
    """float16, float32 or float64, mean 0 and deviation 1."""
    work = np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)
    if work == np.float32 and (made := stream.filled("philox_normal", count, work)) is not None:
        return made.astype(dtype, copy=False)

    def make(bits: Value) -> Value:
        units = _unit(bits, work)
        return _box_muller(units[:, 0::2], units[:, 1::2], work).reshape(len(bits), -1)

    return _filled(stream, count, 2 if work == np.float64 else 4, make).astype(dtype)


def _normals(stream: Stream, offsets: Value, work: np.dtype[Any]) -> Value:
    """The normal numbers of the groups at these offsets, a row for each group."""
    if work == np.float32 and (made := stream.filled("philox_normal", 4 * offsets.size, work, offsets)) is not None:
        return made.reshape(offsets.size, 4)
    units = _unit(stream.groups(offsets), work)
    return _box_muller(units[:, 0::2], units[:, 1::2], work).reshape(offsets.size, -1)


def truncated_normal(stream: Stream, count: int, dtype: np.dtype[Any]) -> Value:
    """As ``normal``, without what is 2 or more away from 0. Each group draws until it is full."""
    work = np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)
    each = 2 if work == np.float64 else 4
    groups = -(-count // each)
    result = np.zeros((groups, each), work)
    have = np.zeros(groups, np.int64)
    left, drawn = np.arange(groups), 0
    skip = RESERVED * each // 4
    while left.size:
        values = _normals(stream, left.astype(np.uint64) * np.uint64(skip) + np.uint64(drawn), work)
        for column in values.T:
            good = (np.abs(column) < _TRUNCATE) & (have[left] < each)
            rows = left[good]
            result[rows, have[rows]] = column[good]
            have[rows] += 1
        drawn += 1
        left = left[have[left] < each]
    return result.reshape(-1)[:count].astype(dtype)
