"""Seeded weights: arrays by name, and state dicts of the shapes that the builders of kigraph.graph.models.torch ask for.

Convolutions and dense layers have normal weights of variance gain / inputs, norms are near the identity, so that values neither
vanish nor overflow behind a hundred layers.
"""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import Any

import numpy as np

from kigraph.graph.loaders.weights import TensorInfo, WeightsFile

__all__ = ["State", "norm_arrays", "normal"]

Array = np.ndarray[Any, Any]
#: What is added in a residual block counts this much: sums of many blocks stay small.
BRANCH = 0.4


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def normal(name: str, shape: tuple[int, ...], inputs: int, gain: float) -> Array:
    """float32 of variance gain / inputs; the same for the same name and shape."""
    values = _generator(name).standard_normal(shape, dtype=np.float32)
    values *= np.float32(np.sqrt(gain / inputs))
    return values


def norm_arrays(name: str, size: int, scale: float = 1.0) -> list[Array]:
    """Scale, shift, mean and variance of a batch norm, float32 (size,)."""
    rng = _generator(name)
    found = (
        rng.uniform(0.8, 1.2, size) * scale, rng.normal(0, 0.1, size), rng.normal(0, 0.05, size), rng.uniform(0.8, 1.2, size)
    )  # fmt: skip
    return [a.astype(np.float32) for a in found]


class State:
    """A state dict being made. ``network``: part of the seed; ``gain``: variance of a layer's output over its input's."""

    def __init__(self, network: str, gain: float = 2.0) -> None:
        self.network, self.gain = network, gain
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._makers: dict[str, Any] = {}

    def add(self, name: str, shape: tuple[int, ...], make: Any) -> None:
        """An array that ``make()`` gives, float32 of that shape."""
        self.shapes[name], self._makers[name] = shape, make

    def weight(self, name: str, *shape: int, gain: float | None = None) -> None:
        """Weights (outputs, inputs, ...)."""
        seed, inputs = f"{self.network}/{name}", int(np.prod(shape[1:]))
        self.add(name, shape, lambda: normal(seed, shape, inputs, self.gain if gain is None else gain))

    def vector(self, name: str, *shape: int, mean: float = 0.0, deviation: float = 0.1) -> None:
        """Independent normal numbers."""
        seed = f"{self.network}/{name}"
        self.add(name, shape, lambda: _generator(seed).normal(mean, deviation, shape).astype(np.float32))

    def conv(
        self, name: str, out: int, taken: int, window: int = 1, *, bias: bool = False, gain: float | None = None
    ) -> None:
        self.weight(f"{name}.weight", out, taken, window, window, gain=gain)
        if bias:
            self.vector(f"{name}.bias", out)

    def norm(self, name: str, size: int, scale: float = 1.0) -> None:
        """Batch norm."""
        arrays = norm_arrays(f"{self.network}/{name}", size, scale)
        for part, array in zip(("weight", "bias", "running_mean", "running_var"), arrays, strict=True):
            self.add(f"{name}.{part}", (size,), lambda array=array: array)

    def conv_norm(self, conv: str, norm: str, out: int, taken: int, window: int = 1, *, scale: float = 1.0) -> None:
        self.conv(conv, out, taken, window)
        self.norm(norm, out, scale)

    def layer_norm(self, name: str, size: int) -> None:
        self.vector(f"{name}.weight", size, mean=1.0)
        self.vector(f"{name}.bias", size)

    def linear(self, name: str, out: int, taken: int, *, gain: float | None = None) -> None:
        self.weight(f"{name}.weight", out, taken, gain=gain)
        self.vector(f"{name}.bias", out)

    def file(self) -> WeightsFile:
        """As a file that was read; arrays are made when they are read."""
        infos = {
            name: TensorInfo(np.dtype(np.float32), shape, "float32", self._makers[name], ("seeded", self.network, name))
            for name, shape in self.shapes.items()
        }
        return WeightsFile(self.network, "safetensors", MappingProxyType(infos))
