"""State dicts with random arrays, in memory, and the layers of PyTorch in NumPy, float64, NCHW."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from kigraph.graph.loaders.weights import TensorInfo, WeightsFile
from kigraph.graph.models import graph_of_weights
from kigraph.graph.session import Session

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
NORM = ("weight", "bias", "running_mean", "running_var")


class Dict:
    """Adds the arrays of layers by name."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.arrays: Arrays = {}

    def add(self, name: str, *shape: int) -> None:
        scale = 1 / np.sqrt(max(np.prod(shape[1:]), 1))
        self.arrays[name] = (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def conv(self, name: str, out: int, taken: int, window: int, bias: bool = False) -> None:
        self.add(f"{name}.weight", out, taken, window, window)
        if bias:
            self.add(f"{name}.bias", out)

    def norm(self, name: str, size: int) -> None:
        for part in NORM:
            self.arrays[f"{name}.{part}"] = (self.rng.random(size) + 0.5).astype(np.float32)
        self.arrays[f"{name}.num_batches_tracked"] = np.array(3, np.int64)

    def layer_norm(self, name: str, size: int) -> None:
        for part in ("weight", "bias"):
            self.arrays[f"{name}.{part}"] = (self.rng.random(size) + 0.5).astype(np.float32)

    def linear(self, name: str, out: int, taken: int) -> None:
        self.add(f"{name}.weight", out, taken)
        self.add(f"{name}.bias", out)

    def image(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)


def file_of(arrays: Mapping[str, Array], family: str = "safetensors") -> WeightsFile:
    """The arrays as a file that was read."""

    def info(name: str, array: Array) -> TensorInfo:
        return TensorInfo(array.dtype, array.shape, str(array.dtype), lambda: array, ("test", name, id(array)))

    return WeightsFile("f", family, MappingProxyType({n: info(n, a) for n, a in arrays.items()}))


def run(arrays: Mapping[str, Array], x: Array) -> Array:
    """What the built network gives for NCHW images."""
    graph = graph_of_weights(file_of(arrays))
    return np.asarray(Session(graph).run("output", {"input": np.ascontiguousarray(x.transpose(0, 2, 3, 1))}))


def distance(got: Array, want: Array) -> float:
    assert got.shape == want.shape
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


class Layers:
    """PyTorch's layers with the arrays of a state dict."""

    def __init__(self, arrays: Mapping[str, Array], eps: float = 1e-5) -> None:
        self.arrays, self.eps = {n: a.astype(np.float64) for n, a in arrays.items()}, eps

    def conv(self, x: Array, name: str, stride: int = 1, pad: int = 0, groups: int = 1) -> Array:
        w = self.arrays[f"{name}.weight"]
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
        parts = [
            np.einsum("bchwij,ocij->bohw", part, kernel)
            for part, kernel in zip(np.split(windows, groups, 1), np.split(w, groups, 0), strict=True)
        ]
        y = np.concatenate(parts, 1)
        return y + self.column(f"{name}.bias") if f"{name}.bias" in self.arrays else y

    def column(self, name: str) -> Array:
        return self.arrays[name][:, None, None]

    def norm(self, x: Array, name: str) -> Array:
        weight, bias, mean, variance = (self.column(f"{name}.{p}") for p in NORM)
        return (x - mean) / np.sqrt(variance + self.eps) * weight + bias

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"]

    def layer_norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * self.arrays[f"{name}.weight"] + self.arrays[f"{name}.bias"]


def max_pool(x: Array, window: int, stride: int, pad: int = 0) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (window, window), (2, 3))
    return np.asarray(windows[:, :, ::stride, ::stride].max((-2, -1)))


def adaptive_mean(x: Array, side: int) -> Array:
    """AdaptiveAvgPool2d by its definition."""
    height, width = x.shape[2:]
    out = np.empty((*x.shape[:2], side, side))
    for i in range(side):
        for j in range(side):
            rows = slice(i * height // side, -(-(i + 1) * height // side))
            columns = slice(j * width // side, -(-(j + 1) * width // side))
            out[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    return out
