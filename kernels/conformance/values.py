"""Generators of input values: (random generator, shape, dtype) -> array."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..bfloat16 import narrowed
from ..tensor import BFLOAT16, STRING, DType, is_int
from .case import Values

__all__ = [
    "above_one",
    "any_bits",
    "bounded",
    "few",
    "indices",
    "large",
    "nonzero",
    "normal",
    "not_finite",
    "only_nan",
    "positive",
    "scaled",
    "shifted",
    "sparse_nan",
    "special",
    "stored",
    "text",
]

NDArray = np.ndarray[Any, Any]
Rng = np.random.Generator
Shape = tuple[int, ...]


def normal(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Normal numbers; integers from -9 (0 if unsigned) to 9; random truth values; short texts."""
    if dtype == STRING:
        return text(rng, shape, dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if is_int(dtype):
        return rng.integers(0 if dtype.kind == "u" else -9, 10, shape).astype(dtype)
    values = np.asarray(rng.standard_normal(shape))
    if dtype.kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return np.asarray(values).astype(dtype)


def scaled(factor: float) -> Values:
    """Normal numbers times a factor; integers as they are."""

    def make(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
        values = normal(rng, shape, dtype)
        return np.asarray(values * dtype.type(factor)) if dtype.kind in "fc" else values

    return make


def shifted(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Normal numbers around 30, where sums of squares cancel digits."""
    return np.asarray(rng.standard_normal(shape) + 30).astype(dtype)


def positive(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Numbers from 0.1 to 4 (integers 1 to 4)."""
    if is_int(dtype):
        return rng.integers(1, 5, shape).astype(dtype)
    return np.asarray(rng.uniform(0.1, 4, shape)).astype(dtype)


def bounded(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Numbers from -0.9 to 0.9; of complex ones, both parts."""
    values = np.asarray(rng.uniform(-0.9, 0.9, shape))
    if dtype.kind == "c":
        values = values + 1j * rng.uniform(-0.9, 0.9, shape)
    return np.asarray(values).astype(dtype)


def above_one(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Numbers from 1.1 to 4."""
    return np.asarray(rng.uniform(1.1, 4, shape)).astype(dtype)


def nonzero(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Normal numbers without zeros, for divisors."""
    values = normal(rng, shape, dtype)
    return np.asarray(np.where(values == 0, dtype.type(3), values))


def sparse_nan(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Normal numbers, about one in 23 a NaN and one in 23 an infinity, at least one NaN."""
    values = normal(rng, shape, dtype)
    if values.size:
        flat = values.reshape(-1)
        count = max(values.size // 23, 1)
        flat[rng.integers(0, values.size, count)] = np.inf
        flat[rng.integers(0, values.size, count)] = -np.inf
        flat[rng.integers(0, values.size, count)] = np.nan
    return values


def only_nan(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Normal numbers, about one in 9 a NaN."""
    values = normal(rng, shape, dtype)
    values[rng.random(shape) < 1 / 9] = np.nan
    return values


def not_finite(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Normal numbers with up to three NaNs or infinities, for weights."""
    values = normal(rng, shape, dtype)
    for value in (np.nan, np.inf, -np.inf):
        if values.size and rng.random() < 0.7:
            values.reshape(-1)[rng.integers(0, values.size)] = value
    return values


def special(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Every kind of IEEE number in random order: NaN, infinities, both zeros, subnormals, the extremes, small ones."""
    info = np.finfo(dtype)
    kinds = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.smallest_subnormal, info.tiny]
    kinds += [info.max, info.min, info.eps, 1.0, -1.0, 0.5, -0.5, 6.0, 6.5, 7.0, -3.25]
    return np.asarray(rng.choice(np.array(kinds, dtype), shape))


def large(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Normal numbers times 1e30 (100 for float16), near overflow when they are summed or multiplied."""
    return np.asarray(normal(rng, shape, dtype) * dtype.type(100 if dtype.itemsize == 2 else 1e30))


def any_bits(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Integers over the whole range of their type, both ends among them."""
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    if values.size >= 2:
        flat = values.reshape(-1)
        flat[rng.permutation(values.size)[:2]] = info.min, info.max
    return np.asarray(values)


def stored(values: Values) -> Values:
    """The same numbers in float32, rounded to bfloat16 where the input is that in memory."""

    def make(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
        made = values(rng, shape, np.dtype(np.float32) if dtype == BFLOAT16 else dtype)
        return narrowed(made) if dtype == BFLOAT16 else made

    return make


def few(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Only three different values, so that many are equal."""
    return rng.integers(0, 3, shape).astype(dtype)


def indices(limit: int) -> Values:
    """Numbers from 0 to limit - 1."""
    return lambda rng, shape, dtype: rng.integers(0, limit, shape).astype(dtype)


def text(rng: Rng, shape: Shape, dtype: DType) -> NDArray:
    """Byte strings of 0 to 5 letters."""
    words = np.empty(shape, object)
    for index in np.ndindex(shape):
        words[index] = rng.integers(97, 123, rng.integers(0, 6)).astype(np.uint8).tobytes()
    return words
