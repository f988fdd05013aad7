"""Initializers: called with a shape, they add the operations of a variable's first value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .array import eye, ones, zeros
from .building import constant
from .dtypes import as_dtype
from .graph import Tensor
from .math import FUNCTIONS
from .random import random_normal, random_uniform, truncated_normal
from .shapes import TensorShape

__all__ = [
    "Constant", "Identity", "Initializer", "Ones", "RandomNormal", "RandomUniform", "TruncatedNormal", "UniformUnitScaling",
    "VarianceScaling", "Zeros", "glorot_normal_initializer", "glorot_uniform_initializer", "he_normal", "he_uniform",
    "lecun_normal", "lecun_uniform", "xavier_initializer",
]  # fmt: skip


class Initializer:
    """Base class."""

    dtype: Any = "float32"

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not say what it makes")


class Zeros(Initializer):
    """All elements are 0."""

    def __init__(self, dtype: Any = "float32") -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return zeros(shape, dtype or self.dtype)


class Ones(Initializer):
    """All elements are 1."""

    def __init__(self, dtype: Any = "float32") -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return ones(shape, dtype or self.dtype)


class Constant(Initializer):
    """A value, or a list whose last element fills what is left."""

    def __init__(self, value: Any = 0, dtype: Any = "float32", verify_shape: bool = False) -> None:
        self.value, self.dtype, self.verify_shape = value, as_dtype(dtype), verify_shape

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return constant(self.value, dtype or self.dtype, shape, verify_shape=self.verify_shape)


class Identity(Initializer):
    """The identity matrix times ``gain``."""

    def __init__(self, gain: float = 1.0, dtype: Any = "float32") -> None:
        self.gain, self.dtype = gain, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        sizes = TensorShape(shape).as_list()
        if len(sizes) != 2 or None in sizes:
            raise ValueError("Identity matrix initializer can only be used for 2D matrices.")
        matrix = eye(int(sizes[0] or 0), int(sizes[1] or 0), dtype=dtype or self.dtype)
        return matrix if self.gain == 1.0 else FUNCTIONS["multiply"](matrix, self.gain)


class RandomNormal(Initializer):
    """Normal numbers."""

    draw = staticmethod(random_normal)

    def __init__(self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = "float32") -> None:
        self.mean, self.stddev, self.seed, self.dtype = mean, stddev, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return self.draw(shape, self.mean, self.stddev, dtype or self.dtype, seed=self.seed)  # type: ignore[no-any-return]


class TruncatedNormal(RandomNormal):
    """Normal numbers, those beyond two standard deviations drawn anew."""

    draw = staticmethod(truncated_normal)


class RandomUniform(Initializer):
    """Numbers from minval to below maxval."""

    def __init__(self, minval: Any = 0.0, maxval: Any = None, seed: int | None = None, dtype: Any = "float32") -> None:
        self.minval, self.maxval, self.seed, self.dtype = minval, maxval, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return random_uniform(shape, self.minval, self.maxval, dtype or self.dtype, seed=self.seed)


def _fans(shape: Any) -> tuple[float, float]:
    """Inputs and outputs of one unit, by the shape of its weights."""
    sizes = [int(d or 0) for d in TensorShape(shape).as_list()]
    if len(sizes) < 2:
        count = float(sizes[0]) if sizes else 1.0
        return count, count
    field = math.prod(sizes[:-2])
    return float(sizes[-2] * field), float(sizes[-1] * field)


class VarianceScaling(Initializer):
    """Numbers whose variance is scale / n: n the inputs, the outputs or their mean."""

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        if scale <= 0:
            raise ValueError("Argument `scale` must be a positive float. Received: " + str(scale))
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"Argument `mode` should be one of ('fan_in', 'fan_out', 'fan_avg'). Received: {mode}")
        distribution = "truncated_normal" if distribution == "normal" else distribution.lower()
        if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError(f"Argument `distribution` is unknown: {distribution}")
        self.scale, self.mode, self.distribution, self.seed, self.dtype = (
            scale,
            mode,
            distribution,
            seed,
            as_dtype(dtype),
        )

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        fan_in, fan_out = _fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        scale, kind = self.scale / max(1.0, n), dtype or self.dtype
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * scale)
            return random_uniform(shape, -limit, limit, kind, seed=self.seed)
        # The deviation of numbers that are cut off at two standard deviations is less than of those that are not.
        cut = self.distribution == "truncated_normal"
        deviation = math.sqrt(scale) / (0.87962566103423978 if cut else 1.0)
        made = (truncated_normal if cut else random_normal)(shape, 0.0, deviation, kind, seed=self.seed)
        return made  # type: ignore[no-any-return]


class UniformUnitScaling(Initializer):
    """Uniform numbers that keep the scale of what a layer of such weights computes."""

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = "float32") -> None:
        self.factor, self.seed, self.dtype = factor, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        count = max(float(np.prod([d or 0 for d in TensorShape(shape).as_list()[:-1]])), 1.0)
        limit = math.sqrt(3 / count) * self.factor
        return random_uniform(shape, -limit, limit, dtype or self.dtype, seed=self.seed)


def glorot_uniform_initializer(seed: int | None = None, dtype: Any = "float32") -> VarianceScaling:
    return VarianceScaling(1.0, "fan_avg", "uniform", seed, dtype)


def glorot_normal_initializer(seed: int | None = None, dtype: Any = "float32") -> VarianceScaling:
    return VarianceScaling(1.0, "fan_avg", "truncated_normal", seed, dtype)


def he_normal(seed: int | None = None) -> VarianceScaling:
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    return VarianceScaling(2.0, "fan_in", "uniform", seed)


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    return VarianceScaling(1.0, "fan_in", "uniform", seed)


def xavier_initializer(uniform: bool = True, seed: int | None = None, dtype: Any = "float32") -> VarianceScaling:
    """Glorot's initializer, as tf.contrib.layers has it."""
    return (glorot_uniform_initializer if uniform else glorot_normal_initializer)(seed, dtype)
