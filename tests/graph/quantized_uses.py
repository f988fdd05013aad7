"""A use of every op type of quantised layers: input arrays and attributes, for tests that go through all ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["QUANTIZED_USES"]

NDArray = np.ndarray[Any, Any]
Rng = np.random.Generator
#: Input arrays and attributes from four sizes of at least 1.
Use = Callable[[Sequence[int], Rng], tuple[list[NDArray], Mapping[str, Any]]]
_WINDOW = {"strides": (1, 2, 1, 1), "padding": "SAME", "dilations": (1, 1, 1, 1)}


def _bytes(rng: Rng, *shape: int) -> NDArray:
    return rng.integers(-128, 128, shape).astype(np.int8)


def _epilogue(rng: Rng, channels: int) -> list[NDArray]:
    return [rng.integers(-99, 99, channels).astype(np.int32), rng.uniform(1e-3, 1e-2, channels).astype(np.float32)]


def _conv(d: Sequence[int], rng: Rng) -> tuple[list[NDArray], Mapping[str, Any]]:
    arrays = [_bytes(rng, d[0], d[1] + 2, d[2] + 2, d[3]), _bytes(rng, 3, 3, d[3], d[1])]
    return [*arrays, *_epilogue(rng, d[1])], {**_WINDOW, "x_zero": 7, "y_zero": -3}


def _depthwise(d: Sequence[int], rng: Rng) -> tuple[list[NDArray], Mapping[str, Any]]:
    arrays = [_bytes(rng, d[0], d[1] + 2, d[2] + 2, d[3]), _bytes(rng, 3, 3, d[3], d[1])]
    return [*arrays, *_epilogue(rng, d[1] * d[3])], {**_WINDOW, "out_type": np.dtype(np.int32)}


def _matmul(d: Sequence[int], rng: Rng) -> tuple[list[NDArray], Mapping[str, Any]]:
    arrays = [_bytes(rng, d[0], d[1], d[2]), _bytes(rng, d[2], d[3])]
    return [*arrays, *_epilogue(rng, d[3])], {"out_type": np.dtype(np.float32)}


def _pool(d: Sequence[int], rng: Rng) -> tuple[list[NDArray], Mapping[str, Any]]:
    attrs = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 1, 1), "padding": "SAME", "halves": "away"}
    return [_bytes(rng, d[0], d[1] + 2, d[2] + 2, d[3])], attrs


def _pair(d: Sequence[int], rng: Rng) -> tuple[list[NDArray], Mapping[str, Any]]:
    return [_bytes(rng, d[0], d[1], d[2]), _bytes(rng, d[1], 1)], {"a_zero": 3, "b_zero": -2}


QUANTIZED_USES: Mapping[str, Use] = {
    "KiQuantizedConv2D": _conv,
    "KiQuantizedDepthwiseConv2D": _depthwise,
    "KiQuantizedMatMul": _matmul,
    "KiQuantizedAvgPool": _pool,
    "KiQuantizedAdd": _pair,
    "KiQuantizedMul": _pair,
    "KiQuantize": lambda d, rng: ([rng.standard_normal(d[:3]).astype(np.float32)], {"scale": 0.1}),
    "KiDequantize": lambda d, rng: ([_bytes(rng, *d[:3])], {"scale": 0.1, "zero": -5}),
    "KiRequantize": lambda d, rng: ([_bytes(rng, *d[:3])], {"multiplier": 0.7}),
}
