"""Integer models of TensorFlow Lite against sums of integers: rounding, bounds, scales for each channel, element types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.loaders import load
from tests.loaders.test_tflite import RELU6, SAME, VALID, run, windows
from tests.loaders.tflite_files import Lite

Write = Callable[..., Path]
RNG = np.random.default_rng(11)
INT8 = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def whole(kind: str, *shape: int) -> np.ndarray[Any, Any]:
    low, high = INT8[kind]
    return RNG.integers(low, high + 1, shape).astype(kind)


def rescaled(product: Any, factor: Any, zero: int, kind: str, low: float = -np.inf, high: float = np.inf) -> Any:
    """A sum of products as the runtime rounds and bounds it: half to even, in float32."""
    steps = np.rint(product.astype(np.float32) * np.asarray(factor, np.float32))
    limits = INT8[kind]
    return np.clip(steps, max(limits[0] - zero, low), min(limits[1] - zero, high)).astype(np.int64) + zero


@pytest.mark.parametrize(("kind", "zero"), [("int8", -5), ("uint8", 130), ("int16", 0)])
def test_a_convolution_with_a_scale_for_each_channel(write: Write, kind: str, zero: int) -> None:
    """int8 weights; the bias counts steps of the product; RELU6 is a bound of 6 / 0.07 steps."""
    scale = np.array([0.01, 0.002, 0.03], np.float32)
    model = Lite()
    x = model.tensor("x", (1, 5, 6, 4), kind, scale=0.02, zero=zero)
    w = whole("int8", 3, 3, 3, 4)
    bias = RNG.integers(-2000, 2000, 3).astype(np.int32)
    y = model.tensor("y", (1, 3, 4, 3), kind, scale=0.07, zero=zero)
    weights = model.constant("w", w, scale=scale, zero=0, axis=0)
    biases = model.constant("b", bias, scale=0.02 * scale, zero=0)
    model.op("CONV_2D", [x, weights, biases], [y], {0: VALID, 1: ("i32", 1), 2: ("i32", 1), 3: RELU6})
    image = whole(kind, 2, 5, 6, 4)
    if kind == "int16":
        image //= 8  # sums below 2^24, which float32 holds
    (got,) = run(write(model.bytes([x], [y])), ["y"], {"x": image})
    product = np.einsum("nhwcij,oijc->nhwo", windows(image.astype(np.int64) - zero, 3, 3), w.astype(np.int64)) + bias
    wanted = rescaled(product, np.float32(0.02) * scale / np.float32(0.07), zero, kind, 0, np.rint(6 / 0.07))
    assert got.dtype == np.dtype(kind)
    np.testing.assert_array_equal(got, wanted)


def test_asymmetric_weights(write: Write) -> None:
    """uint8 weights have a zero point of their own, as in models of 2018."""
    model = Lite()
    x = model.tensor("x", (1, 4, 4, 3), "uint8", scale=0.5, zero=128)
    w, bias = whole("uint8", 1, 3, 3, 3), np.array([100, -100, 5], np.int32)
    weights = model.constant("w", w, scale=0.25, zero=121)
    biases = model.constant("b", bias, scale=0.125)
    y = model.tensor("y", (1, 4, 4, 3), "uint8", scale=8.0, zero=100)
    model.op("DEPTHWISE_CONV_2D", [x, weights, biases], [y], {0: SAME, 1: ("i32", 1), 2: ("i32", 1), 3: ("i32", 1)})
    image = whole("uint8", 1, 4, 4, 3)
    (got,) = run(write(model.bytes([x], [y])), ["y"], {"x": image})
    padded = np.pad(image.astype(np.int64) - 128, ((0, 0), (1, 1), (1, 1), (0, 0)))
    product = np.einsum("nhwcij,ijc->nhwc", windows(padded, 3, 3), w[0].astype(np.int64) - 121) + bias
    np.testing.assert_array_equal(got, rescaled(product, 0.125 / 8, 100, "uint8"))


def test_fully_connected_then_reals(write: Write) -> None:
    """A model that takes and gives reals: QUANTIZE first, DEQUANTIZE last."""
    model = Lite()
    x, q = model.tensor("x", (1, 6)), model.tensor("q", (1, 6), "int8", scale=0.05, zero=3)
    w = whole("int8", 4, 6)
    h, y = model.tensor("h", (1, 4), "int8", scale=0.2, zero=-9), model.tensor("y", (1, 4))
    model.op("QUANTIZE", [x], [q])
    model.op("FULLY_CONNECTED", [q, model.constant("w", w, scale=0.01), -1], [h], {})
    model.op("DEQUANTIZE", [h], [y])
    given = (RNG.standard_normal((3, 6)) * 4).astype(np.float32)
    (got,) = run(write(model.bytes([x], [y])), ["y"], {"x": given})
    steps = np.clip(np.rint(given / np.float32(0.05)), -128 - 3, 127 - 3).astype(np.int64)
    wanted = rescaled(steps @ w.T.astype(np.int64), np.float32(0.05) * np.float32(0.01) / np.float32(0.2), -9, "int8")
    np.testing.assert_allclose(got, (wanted + 9) * np.float32(0.2), rtol=1e-6)


def test_average_pools_round_halves_away_from_the_integer_zero(write: Write) -> None:
    model = Lite()
    x, y = (model.tensor(n, (1, 2, 2, 1), "int8", scale=0.1, zero=-1) for n in "xy")
    model.op("AVERAGE_POOL_2D", [x], [y], {0: VALID, 1: ("i32", 1), 2: ("i32", 1), 3: ("i32", 2), 4: ("i32", 1)})
    image = np.array([[3, 4], [-3, -4], [1, 2], [-1, -2]], np.int8).reshape(4, 1, 2, 1)
    path = write(model.bytes([x], [y]))
    (got,) = run(path, ["y"], {"x": np.concatenate([image, image], 1)})
    np.testing.assert_array_equal(got[:, 0, 0, 0], [4, -4, 2, -2])


def test_moved_integers_stay(write: Write) -> None:
    """A maximum, a reshape and a concatenation of one grid are exact; of two grids, one is rescaled."""
    model = Lite()
    x = model.tensor("x", (1, 2, 2, 1), "int8", scale=0.1, zero=7)
    pooled = model.tensor("pooled", (1, 2, 2, 1), "int8", scale=0.1, zero=7)
    flat = model.tensor("flat", (1, 4), "int8", scale=0.1, zero=7)
    coarse = model.constant("coarse", np.array([[10, -10]], np.int8), scale=0.4, zero=0)
    y = model.tensor("y", (1, 6), "int8", scale=0.1, zero=7)
    window = {0: SAME, 1: ("i32", 1), 2: ("i32", 1), 3: ("i32", 1), 4: ("i32", 1)}
    model.op("MAX_POOL_2D", [x], [pooled], window)
    model.op("RESHAPE", [pooled, model.constant("to", np.array([1, 4], np.int32))], [flat])
    model.op("CONCATENATION", [flat, coarse], [y], {0: ("i32", 1)})
    image = np.array([-128, 127, 0, 7], np.int8).reshape(1, 2, 2, 1)
    pooled_value, got = run(write(model.bytes([x], [flat, y])), ["flat", "y"], {"x": image})
    np.testing.assert_array_equal(pooled_value, [[-128, 127, 0, 7]])
    np.testing.assert_array_equal(got, [[-128, 127, 0, 7, 47, -33]])


def test_results_at_the_ends_of_the_range(write: Write) -> None:
    model = Lite()
    x, y = model.tensor("x", (1, 3)), model.tensor("y", (1, 3), "uint8", scale=0.5, zero=10)
    model.op("QUANTIZE", [x], [y])
    path = write(model.bytes([x], [y]))
    (got,) = run(path, ["y"], {"x": np.array([[-1e9, 1e9, 3.2]], np.float32)})
    np.testing.assert_array_equal(got, [[0, 255, 16]])
    graph = load(path).graph
    assert graph is not None
    assert "steps" in graph.metadata["note"]


def test_casts_are_of_the_integers(write: Write) -> None:
    """An image of bytes whose scale is stated for users is cast as bytes."""
    model = Lite()
    x, y = model.tensor("x", (1, 3), "uint8", scale=1 / 255, zero=0), model.tensor("y", (1, 3))
    model.op("CAST", [x], [y], {})
    (got,) = run(write(model.bytes([x], [y])), ["y"], {"x": np.array([[0, 7, 255]], np.uint8)})
    np.testing.assert_array_equal(got, [[0, 7, 255]])


def test_backends_give_the_same_integers(write: Write) -> None:
    model = Lite()
    x, y = (model.tensor(n, (1, 6, 6, 3), "int8", scale=0.1, zero=-1) for n in "xy")
    w = model.constant("w", whole("int8", 3, 3, 3, 3), scale=[0.01, 0.02, 0.005])
    model.op("CONV_2D", [x, w], [y], {0: SAME, 1: ("i32", 1), 2: ("i32", 1)})
    graph = load(write(model.bytes([x], [y]))).graph
    assert graph is not None
    image = whole("int8", 3, 6, 6, 3)
    assert not ki.Session(graph, backend="cython").numerics.winograd
    assert ki.Session(graph, backend="cython", winograd=True).numerics.winograd
    first, second = (ki.Session(graph, backend=b).run("y", {"x": image}) for b in ("numpy", "cython"))
    np.testing.assert_array_equal(second, first)
