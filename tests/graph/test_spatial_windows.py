"""Transposed convolutions, windows over volumes, and max pools with places, next to plain loops, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.ops.building import add_op
from kigraph.kernels.errors import KigraphError

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Any]
F32 = np.dtype(np.float32)


def _before(n: int, k: int, s: int, same: bool) -> int:
    return max((-(-n // s) - 1) * s + k - n, 0) // 2 if same else 0


def transposed(dy: NDArray, w: NDArray, size: tuple[int, ...], stride: int, same: bool) -> NDArray:
    """Each dy times the filter, added where it came from; any number of axes between batch and channels."""
    spatial = w.shape[:-2]
    pads = [_before(n, k, stride, same) for n, k in zip(size, spatial, strict=True)]
    dx = np.zeros((len(dy), *size, w.shape[-2]))
    for place in np.ndindex(*dy.shape[1:-1]):
        for tap in np.ndindex(*spatial):
            at = tuple(p * stride + t - b for p, t, b in zip(place, tap, pads, strict=True))
            if all(0 <= a < n for a, n in zip(at, size, strict=True)):
                dx[(slice(None), *at)] += dy[(slice(None), *place)].astype(np.float64) @ w[tap].astype(np.float64).T
    return dx


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("same", [True, False])
def test_a_transposed_convolution_whose_size_is_computed(
    graph: Graph, session: Make, rng: np.random.Generator, stride: int, same: bool
) -> None:
    """As Keras writes it: the batch is that of the image, height and width are its own times the stride."""
    dy = rng.normal(size=(2, 3, 4, 5)).astype(F32)
    w = rng.normal(size=(3, 2, 6, 5)).astype(F32)
    image = ops.placeholder("float32", (None, None, None, 5))
    batch, height, width, _ = ops.unstack(ops.shape(image))
    grow = [0, 0] if same else [max(3 - stride, 0), max(2 - stride, 0)]
    sizes = ops.stack([batch, height * stride + grow[0], width * stride + grow[1], 6])
    y = add_op(
        "Conv2DBackpropInput", [sizes, ops.constant(w), image], None, strides=(1, stride, stride, 1),
        padding="SAME" if same else "VALID",
    )  # fmt: skip
    assert y.shape == (None, None, None, 6)
    found = session().run(ops.relu(ops.bias_add(y, np.ones(6, F32))), {image: dy})
    want = transposed(dy, w, (3 * stride + grow[0], 4 * stride + grow[1]), stride, same)
    np.testing.assert_allclose(found, np.maximum(want + 1, 0), rtol=1e-4, atol=1e-4)


def test_a_transposed_convolution_of_height_and_width_alone(
    graph: Graph, session: Make, rng: np.random.Generator
) -> None:
    dy, w = rng.normal(size=(2, 3, 4, 5)).astype(F32), rng.normal(size=(2, 2, 3, 5)).astype(F32)
    image = ops.placeholder("float32", (None, 3, 4, 5))
    y = add_op(
        "Conv2DBackpropInput",
        [ops.constant([6, 8]), ops.constant(w), image],
        None,
        strides=(1, 2, 2, 1),
        padding="SAME",
    )
    assert y.shape == (None, 6, 8, 3)
    np.testing.assert_allclose(session().run(y, {image: dy}), transposed(dy, w, (6, 8), 2, True), rtol=1e-4, atol=1e-4)
    wrong, filters, result = ops.constant([7, 9]), ops.constant(w), ops.constant(dy)
    with pytest.raises(KigraphError, match="contradict"):
        add_op(
            "Conv2DBackpropInput",
            [wrong, filters, result],
            None,
            strides=(1, 2, 2, 1),
            padding="SAME",
        )


def _windows(x: NDArray, window: tuple[int, ...], stride: int, same: bool) -> tuple[list[tuple[int, ...]], Any]:
    size = x.shape[1:-1]
    pads = [_before(n, k, stride, same) for n, k in zip(size, window, strict=True)]
    out = [-(-n // stride) if same else (n - k) // stride + 1 for n, k in zip(size, window, strict=True)]

    def cells(place: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        found = []
        for tap in np.ndindex(*window):
            at = tuple(p * stride + t - b for p, t, b in zip(place, tap, pads, strict=True))
            if all(0 <= a < n for a, n in zip(at, size, strict=True)):
                found.append((tap, at))
        return found

    return list(np.ndindex(*out)), cells


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("same", [True, False])
def test_windows_over_volumes(graph: Graph, session: Make, rng: np.random.Generator, stride: int, same: bool) -> None:
    x = rng.normal(size=(2, 4, 5, 6, 3)).astype(F32)
    w = rng.normal(size=(2, 3, 2, 3, 4)).astype(F32)
    attrs = {"strides": (1, stride, stride, stride, 1), "padding": "SAME" if same else "VALID"}
    volume = ops.placeholder("float32", (None, 4, 5, 6, 3))
    made = {
        "conv": add_op("Conv3D", [volume, ops.constant(w)], None, **attrs),
        "max": add_op("MaxPool3D", [volume], None, ksize=(1, 2, 3, 2, 1), **attrs),
        "mean": add_op("AvgPool3D", [volume], None, ksize=(1, 2, 3, 2, 1), **attrs),
    }
    found = session().run(made, {volume: x})
    places, cells = _windows(x, (2, 3, 2), stride, same)
    for place in places:
        inside = cells(place)
        values = np.array([x[(slice(None), *at)] for _, at in inside], np.float64)
        at = (slice(None), *place)
        np.testing.assert_array_equal(found["max"][at], values.max(0))
        np.testing.assert_allclose(found["mean"][at], values.mean(0), rtol=1e-5, atol=1e-6)
        want = sum(v @ w[tap].astype(np.float64) for v, (tap, _) in zip(values, inside, strict=True))
        np.testing.assert_allclose(found["conv"][at], want, rtol=1e-4, atol=1e-4)
    assert made["conv"].shape == (None, *found["conv"].shape[1:])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_transposed_convolution_of_volumes(
    graph: Graph, session: Make, rng: np.random.Generator, stride: int
) -> None:
    dy, w = rng.normal(size=(2, 2, 3, 2, 4)).astype(F32), rng.normal(size=(2, 3, 2, 5, 4)).astype(F32)
    sizes = ops.placeholder("int32", [5])
    y = add_op(
        "Conv3DBackpropInputV2", [sizes, ops.constant(w), ops.constant(dy)], None,
        strides=(1, stride, stride, stride, 1), padding="SAME",
    )  # fmt: skip
    size = (2 * stride, 3 * stride, 2 * stride)
    assert y.shape == (2, None, None, None, 5)
    np.testing.assert_allclose(
        session().run(y, {sizes: [2, *size, 5]}), transposed(dy, w, size, stride, True), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("by_batch", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_a_max_pool_with_places(
    graph: Graph, session: Make, rng: np.random.Generator, same: bool, by_batch: bool
) -> None:
    x = rng.integers(0, 4, (2, 5, 6, 3)).astype(F32)  # many equal cells: the first one wins
    pool = graph.create_op(
        "MaxPoolWithArgmax", [ops.constant(x)],
        {"ksize": (1, 3, 2, 1), "strides": (1, 2, 2, 1), "padding": "SAME" if same else "VALID",
         "include_batch_in_index": by_batch},
    )  # fmt: skip
    values, found = session().run(list(pool.outputs))
    flat = x.reshape(-1) if by_batch else x.reshape(2, -1)
    places, cells = _windows(x, (3, 2), 2, same)
    for n, place, c in ((n, p, c) for n in range(2) for p in places for c in range(3)):
        inside = [x[n, i, j, c] for _, (i, j) in cells(place)]
        i, j = cells(place)[int(np.argmax(inside))][1]
        index = (i * 6 + j) * 3 + c + (n * x[0].size if by_batch else 0)
        assert found[(n, *place, c)] == index
        assert values[(n, *place, c)] == max(inside) == (flat[index] if by_batch else flat[n, index])


def test_a_max_pool_whose_window_is_fed(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 6, 6, 2)).astype(F32)
    window = ops.placeholder("int32", [4])
    y = add_op("MaxPoolV2", [ops.constant(x), window, ops.constant([1, 2, 2, 1])], None, padding="VALID")
    assert y.shape == (1, None, None, 2)
    found = session().run(y, {window: [1, 2, 2, 1]})
    np.testing.assert_array_equal(found, x.reshape(1, 3, 2, 3, 2, 2).max((2, 4)))


def test_patches_and_dilation(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(2, 5, 6, 3)).astype(F32), rng.normal(size=(3, 2, 3)).astype(F32)
    attrs = {"strides": (1, 1, 1, 1), "rates": (1, 1, 1, 1), "padding": "SAME"}
    patches = add_op("ExtractImagePatches", [ops.constant(x)], None, ksizes=(1, 3, 2, 1), **attrs)
    grown = add_op("Dilation2D", [ops.constant(x), ops.constant(w)], None, **attrs)
    found = session().run([patches, grown])
    places, cells = _windows(x, (3, 2), 1, True)
    for place in places:
        want = np.zeros((2, 3, 2, 3))
        for (u, v), (i, j) in cells(place):
            want[:, u, v] = x[:, i, j]
        at = (slice(None), *place)
        np.testing.assert_array_equal(found[0][at], want.reshape(2, -1))
        best = np.max([x[:, i, j] + w[u, v] for (u, v), (i, j) in cells(place)], 0)
        np.testing.assert_allclose(found[1][at], best, rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "shapes", "attrs", "found"),
    [
        ("Conv3D", [(1, 2, 2, 2, 3), (1, 1, 1, 2, 1)], {"strides": (1, 1, 1, 1, 1), "padding": "SAME"}, "3 channels"),
        ("Conv3D", [(1, 2, 2, 2, 3), (3, 1, 1, 3, 1)], {"strides": (1, 1, 1, 1, 1), "padding": "VALID"}, "does not fit"),
        ("Conv3D", [(1, 2, 2, 2, 3), (1, 1, 1, 3, 1)], {"strides": (2, 1, 1, 1, 1), "padding": "SAME"}, "over batch"),
        ("MaxPool3D", [(1, 2, 2, 2, 3)], {"ksize": (1, 1, 1, 1, 1), "strides": (1, 0, 1, 1, 1), "padding": "SAME"}, "at least 1"),
        ("MaxPool3D", [(1, 2, 2, 2, 3)], {"ksize": (1, 1, 1, 1, 1), "strides": (1,) * 5, "padding": "EXPLICIT"}, "SAME or VALID"),
        ("Dilation2D", [(1, 4, 4, 3), (1, 1, 2)], {"strides": (1,) * 4, "rates": (1,) * 4, "padding": "SAME"}, "the filter 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    graph: Graph, op: str, shapes: list[tuple[int, ...]], attrs: dict[str, Any], found: str
) -> None:
    with pytest.raises(KigraphError, match=found):
        add_op(op, [ops.constant(np.zeros(s, F32)) for s in shapes], None, **attrs)
