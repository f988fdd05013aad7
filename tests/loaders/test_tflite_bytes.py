"""Operators of TensorFlow Lite on int8 and uint8 tensors in integers, against 64-bit integers and float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.loaders import load
from tests.loaders.test_tflite import RELU6, SAME, VALID
from tests.loaders.tflite_files import Lite

Write = Callable[..., Path]
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(31)
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
WINDOW = {1: ("i32", 1), 2: ("i32", 1), 3: ("i32", 3), 4: ("i32", 3)}
#: What an operator that has no integer op would leave in the graph.
REALS = {"Cast", "Round", "AddV2", "Sub", "Mul", "Relu", "AvgPool", "Mean", "Conv2D", "KiQuantize", "KiDequantize"}


def whole(kind: str, *shape: int) -> Array:
    return RNG.integers(LIMITS[kind][0], LIMITS[kind][1] + 1, shape).astype(kind)


def run(path: Path, feeds: dict[str, Array], output: str = "y") -> tuple[Array, set[str]]:
    """An output, and the types of operations of the graph."""
    graph = load(path).graph
    assert graph is not None
    return np.asarray(ki.Session(graph, backend="numpy").run(output, feeds)), {o.type for o in graph.operations}


def within(got: Array, exact: Array, kind: str, low: float = -np.inf, high: float = np.inf) -> None:
    """Whole numbers that are the nearest to what float64 gives, up to float32's rounding."""
    limits = LIMITS[kind]
    assert got.dtype == np.dtype(kind)
    bounded = np.clip(exact, max(limits[0], low), min(limits[1], high))
    assert (np.abs(got.astype(np.float64) - bounded) <= 0.5 + 1e-4).all()


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("constant", [False, True])
def test_two_operands_of_different_grids(write: Write, kind: str, op: str, constant: bool) -> None:
    zero = LIMITS[kind][0] + 120
    model, b = Lite(), whole(kind, 1, 3)
    x = model.tensor("x", (2, 4, 3), kind, scale=0.1, zero=zero)
    if constant:
        z = model.constant("z", b, scale=0.03, zero=zero + 9)
    else:
        z = model.tensor("z", (1, 3), kind, scale=0.03, zero=zero + 9)
    y = model.tensor("y", (2, 4, 3), kind, scale=0.17, zero=zero - 3)
    model.op(op, [x, z], [y], {0: RELU6})
    a = whole(kind, 2, 4, 3)
    path = write(model.bytes([x] if constant else [x, z], [y]))
    got, types = run(path, {"x": a} if constant else {"x": a, "z": b})
    p, q = (a.astype(np.float64) - zero) * 0.1, (b.astype(np.float64) - zero - 9) * 0.03
    exact = {"ADD": p + q, "SUB": p - q, "MUL": p * q}[op]
    within(got, exact / 0.17 + zero - 3, kind, zero - 3, zero - 3 + np.rint(6 / 0.17))
    assert not types & REALS


@pytest.mark.parametrize("keep", [True, False])
def test_the_mean_of_an_image(write: Write, keep: bool) -> None:
    model = Lite()
    x = model.tensor("x", (1, 5, 3, 4), "int8", scale=0.1, zero=-7)
    y = model.tensor("y", (1, 1, 1, 4) if keep else (1, 4), "int8", scale=0.06, zero=20)
    axes = model.constant("axes", np.array([1, 2], np.int32))
    model.op("MEAN", [x, axes], [y], {0: ("bool", keep)})
    image = whole("int8", 3, 5, 3, 4)
    got, types = run(write(model.bytes([x], [y])), {"x": image})
    within(got, (image.astype(np.float64) + 7).mean((1, 2), keepdims=keep) * 0.1 / 0.06 + 20, "int8")
    assert not types & REALS


@pytest.mark.parametrize("padding", [SAME, VALID])
def test_average_pools(write: Write, padding: Any) -> None:
    """Padding does not count; a half goes away from the integer 0."""
    model = Lite()
    x, y = (model.tensor(n, (1, 5, 6, 2), "int8", scale=0.1, zero=3) for n in "xy")
    model.op("AVERAGE_POOL_2D", [x], [y], {0: padding, **WINDOW})
    image = whole("int8", 2, 5, 6, 2)
    got, types = run(write(model.bytes([x], [y])), {"x": image})
    inner = np.ones((2, 5, 6, 2), np.int64)
    sums, counts = (
        np.lib.stride_tricks.sliding_window_view(
            np.pad(v.astype(np.int64), ((0, 0), (1, 1), (1, 1), (0, 0))) if padding == SAME else v.astype(np.int64),
            (3, 3),
            (1, 2),
        ).sum((4, 5))
        for v in (image, inner)
    )
    np.testing.assert_array_equal(got, np.sign(sums) * ((2 * np.abs(sums) + counts) // (2 * counts)))
    assert not types & REALS


@pytest.mark.parametrize(("op", "low", "high"), [("RELU", 0, np.inf), ("RELU6", 0, 6), ("RELU_N1_TO_1", -1, 1)])
def test_activations_alone(write: Write, op: str, low: float, high: float) -> None:
    """The result may have another grid."""
    model = Lite()
    x = model.tensor("x", (1, 256), "uint8", scale=0.1, zero=90)
    y = model.tensor("y", (1, 256), "uint8", scale=0.04, zero=30)
    model.op(op, [x], [y])
    image = np.arange(256, dtype=np.uint8).reshape(1, 256)
    got, types = run(write(model.bytes([x], [y])), {"x": image})
    exact = (image.astype(np.float64) - 90) * 0.1 / 0.04 + 30
    within(got, exact, "uint8", 30 + np.rint(low / 0.04), 30 + np.rint(high / 0.04) if high < 7 else np.inf)
    assert not types & REALS


def test_a_pad_has_the_zero_point_and_a_maximum_its_activation(write: Write) -> None:
    model = Lite()
    x, padded, y = (model.tensor(n, (1, 4, 4, 1), "int8", scale=0.1, zero=-20) for n in ("x", "padded", "y"))
    pads = model.constant("pads", np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32))
    model.op("PAD", [x, pads], [padded])
    model.op("MAX_POOL_2D", [padded], [y], {0: VALID, **WINDOW, 5: RELU6})
    image = whole("int8", 1, 4, 4, 1) // 2
    got, types = run(write(model.bytes([x], [y])), {"x": image})
    given = np.pad(image, ((0, 0), (1, 0), (0, 1), (0, 0)), constant_values=-20)
    largest = np.lib.stride_tricks.sliding_window_view(given, (3, 3), (1, 2)).max((4, 5))
    np.testing.assert_array_equal(got, np.clip(largest, -20, 40))
    assert not types & REALS


def test_from_one_grid_to_another(write: Write) -> None:
    """QUANTIZE of integers; CONCATENATION of parts with grids of their own."""
    model = Lite()
    x = model.tensor("x", (1, 256), "int8", scale=0.1, zero=3)
    q = model.tensor("q", (1, 256), "uint8", scale=0.1, zero=131)
    z = model.tensor("z", (1, 2), "uint8", scale=0.4, zero=7)
    y = model.tensor("y", (1, 258), "uint8", scale=0.2, zero=100)
    model.op("QUANTIZE", [x], [q])
    model.op("CONCATENATION", [q, z], [y], {0: ("i32", 1)})
    image, more = np.arange(-128, 128).astype(np.int8).reshape(1, 256), np.array([[0, 255]], np.uint8)
    path = write(model.bytes([x, z], [q, y]))
    between, types = run(path, {"x": image, "z": more}, "q")
    np.testing.assert_array_equal(between, image.astype(np.int64) + 128)
    got, types = run(path, {"x": image, "z": more})
    exact = np.concatenate([(image.astype(np.float64) - 3) * 0.5, (more.astype(np.float64) - 7) * 2], 1) + 100
    within(got, exact, "uint8")
    assert not types & REALS


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_products_with_scales_for_each_channel(write: Write, kind: str) -> None:
    """Depthwise with a multiplier, then fully connected; uint8 weights around 128."""
    zero = LIMITS[kind][0] + 100
    model, w = Lite(), whole("int8", 1, 3, 3, 6)
    scale = RNG.uniform(0.005, 0.02, 6).astype(np.float32)
    x = model.tensor("x", (1, 5, 4, 3), kind, scale=0.05, zero=zero)
    h = model.tensor("h", (1, 5, 4, 6), kind, scale=0.3, zero=zero)
    model.op(
        "DEPTHWISE_CONV_2D",
        [x, model.constant("w", w, scale=scale, axis=3), -1],
        [h],
        {0: SAME, 1: ("i32", 1), 2: ("i32", 1)},
    )
    v = whole("uint8", 4, 120)
    y = model.tensor("y", (1, 4), kind, scale=9.0, zero=zero)
    bias = model.constant("b", np.array([900, -900, 0, 5], np.int32), scale=0.3 * 0.01)
    model.op("FULLY_CONNECTED", [h, model.constant("v", v, scale=0.01, zero=128), bias], [y], {})
    image = whole(kind, 2, 5, 4, 3)
    path = write(model.bytes([x], [h, y]))
    between, types = run(path, {"x": image}, "h")
    padded = np.pad(image.astype(np.int64) - zero, ((0, 0), (1, 1), (1, 1), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    sums = np.einsum("nhwcij,ijcm->nhwcm", views, w[0].reshape(3, 3, 3, 2).astype(np.int64)).reshape(2, 5, 4, 6)
    steps = np.rint(sums.astype(np.float32) * (np.float32(0.05) * scale / np.float32(0.3)))
    np.testing.assert_array_equal(between, np.clip(steps + zero, *LIMITS[kind]))
    got, types = run(path, {"x": image})
    total = (between.reshape(2, 120).astype(np.int64) - zero) @ (v.astype(np.int64) - 128).T + [900, -900, 0, 5]
    factor = np.float32(0.3) * np.float32(0.01) / np.float32(9)
    np.testing.assert_array_equal(got, np.clip(np.rint(total.astype(np.float32) * factor) + zero, *LIMITS[kind]))
    assert not types & (REALS - {"Reshape"})
    assert {"KiQuantizedDepthwiseConv2D", "KiQuantizedMatMul"} <= types


def test_weights_stay_bytes_and_inner_integers_have_their_names(write: Write) -> None:
    model = Lite()
    x, h, y = (model.tensor(n, (1, 6, 6, 32), "int8", scale=0.1, zero=-1) for n in "xhy")
    w = whole("int8", 32, 3, 3, 32)
    for i, (a, b) in enumerate(((x, h), (h, y))):
        model.op("CONV_2D", [a, model.constant(f"w{i}", w, scale=0.001)], [b], {0: SAME, 1: ("i32", 1), 2: ("i32", 1)})
    path = write(model.bytes([x], [y]))
    graph = load(path).graph
    assert graph is not None
    large = [o.outputs[0] for o in graph.operations if o.type == "Const" and o.attrs["value"].type.size > 1000]
    assert [t.dtype for t in large] == [np.int8, np.int8]
    image = whole("int8", 1, 6, 6, 32)
    inner, last = ki.Session(graph, backend="cython").run(["h", "y"], {"x": image})
    assert (inner.dtype, last.dtype) == (np.int8, np.int8)
    assert "quantized_conv2d" in ki.Session(graph).plan(["y"], {"x": image}).explain()


def test_integers_next_to_operators_in_reals(write: Write) -> None:
    """TANH has no integer op: its input is dequantised, its result is quantised."""
    model = Lite()
    x, h, t, y = (
        model.tensor(n, (1, 8), "int8", scale=s, zero=2)
        for n, s in (("x", 0.05), ("h", 0.05), ("t", 0.01), ("y", 0.02))
    )
    model.op("RELU", [x], [h])
    model.op("TANH", [h], [t])
    model.op("ADD", [t, h], [y], {})
    image = whole("int8", 3, 8)
    got, types = run(write(model.bytes([x], [y])), {"x": image})
    h_ = np.maximum(image.astype(np.float64) - 2, 0) * 0.05
    t_ = np.clip(np.rint(np.tanh(h_) / 0.01), -130, 125) * 0.01
    within(got, (t_ + h_) / 0.02 + 2, "int8")
    assert {"KiDequantize", "KiQuantize", "KiQuantizedAdd", "KiRequantize"} <= types
