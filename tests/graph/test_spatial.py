"""Ops of images and windows next to plain loops in float64, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError
from kigraph.graph.ops.building import add_op
from kigraph.kernels.errors import KigraphError

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Any]
F32 = np.dtype(np.float32)


def space_to_batch(x: NDArray, block: tuple[int, ...], pads: tuple[tuple[int, int], ...]) -> NDArray:
    """Cell by cell, as the op is documented."""
    n, rest = len(x), x.shape[len(block) + 1 :]
    sizes = [(d + sum(p)) // b for d, b, p in zip(x.shape[1:], block, pads, strict=False)]
    y = np.zeros((n * int(np.prod(block)), *sizes, *rest), x.dtype)
    for number, offset in enumerate(product(*map(range, block))):
        for cell in np.ndindex(*sizes):
            at = tuple(c * b + o - p[0] for c, b, o, p in zip(cell, block, offset, pads, strict=True))
            if all(0 <= a < d for a, d in zip(at, x.shape[1:], strict=False)):
                y[(slice(number * n, number * n + n), *cell)] = x[(slice(None), *at)]
    return y


def test_blocks_to_the_batch_and_back(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 7, 3)).astype(F32)
    pads = ((1, 0), (2, 3))
    image = ops.placeholder("float32", (None, None, None, 3))
    there = ops.space_to_batch_nd(image, [2, 3], pads)
    back = ops.batch_to_space_nd(there, [2, 3], pads)
    assert there.shape == (None, None, None, 3)
    found = session().run([there, back], {image: x})
    np.testing.assert_array_equal(found[0], space_to_batch(x, (2, 3), pads))
    np.testing.assert_array_equal(found[1], x)


def test_blocks_that_are_fed(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 4, 6, 2)).astype(F32)
    block, pads = ops.placeholder("int32", [2]), ops.placeholder("int32", [2, 2])
    y = ops.space_to_batch_nd(ops.constant(x), block, pads)
    found = session().run(y, {block: [2, 2], pads: np.zeros((2, 2), np.int32)})
    np.testing.assert_array_equal(found, space_to_batch(x, (2, 2), ((0, 0), (0, 0))))


@pytest.mark.parametrize("form", ["NHWC", "NCHW"])
def test_blocks_to_the_channels_and_back(graph: Graph, session: Make, rng: np.random.Generator, form: str) -> None:
    x = rng.normal(size=(2, 6, 9, 4)).astype(F32)
    given = x if form == "NHWC" else x.transpose(0, 3, 1, 2)
    there = ops.space_to_depth(ops.constant(given), 3, form)
    back = ops.depth_to_space(there, 3, form)
    found = session().run([there, back])
    deep = found[0] if form == "NHWC" else found[0].transpose(0, 2, 3, 1)
    for i, j, u, v in product(range(2), range(3), range(3), range(3)):
        part = slice((u * 3 + v) * 4, (u * 3 + v) * 4 + 4)
        np.testing.assert_array_equal(deep[:, i, j, part], x[:, i * 3 + u, j * 3 + v])
    np.testing.assert_array_equal(found[1], given)


@pytest.mark.parametrize(
    ("op", "shape", "more", "attrs", "found"),
    [
        ("SpaceToBatchND", (1, 5, 4, 1), ([2, 2], [[0, 0], [0, 0]]), {}, "axis 1 has 5 cells .*no multiple of block 2"),
        ("SpaceToBatchND", (1, 4), ([2, 2], [[0, 0], [0, 0]]), {}, "2 blocks need at least 3 axes"),
        ("SpaceToBatchND", (1, 4, 4, 1), ([2, 0], [[0, 0], [0, 0]]), {}, "must be at least 1"),
        ("SpaceToBatchND", (1, 4, 4, 1), ([2, 2], [[0, -1], [0, 1]]), {}, "edges .* at least 0"),
        ("SpaceToBatchND", (1, 4, 4, 1), ([2, 2], [0, 0]), {}, "must be integers of shape"),
        ("BatchToSpaceND", (5, 4, 4, 1), ([2, 2], [[0, 0], [0, 0]]), {}, "a batch of 5 is no multiple"),
        ("BatchToSpaceND", (4, 1, 4, 1), ([2, 2], [[2, 1], [0, 0]]), {}, "fewer than the 3 to crop"),
        ("SpaceToDepth", (1, 5, 4, 1), (), {"block_size": 2}, "height 5 .*no multiple of 2"),
        ("DepthToSpace", (1, 4, 4, 6), (), {"block_size": 2}, "channels 6 .*no multiple of 4"),
        ("SpaceToDepth", (1, 4, 4, 1), (), {"block_size": 0}, "at least 1"),
        ("ResizeArea", (1, 4, 4, 1), ([0, 3],), {}, "at least 1x1"),
        ("ResizeBicubic", (1, 0, 4, 1), ([2, 3],), {}, "at least one pixel"),
        ("ResizeBicubic", (1, 4, 4, 1), ([2, 3],), {"align_corners": True, "half_pixel_centers": True}, "exclude each"),
        ("KiResample", (1, 4), ([2, 3],), {"axes": (0, 5)}, "axes .* are not those of"),
        ("KiResample", (1, 4), ([2, 3],), {"axes": (1, -1)}, "has two rules"),
        ("KiResample", (1, 4), ([-2],), {"axes": (1,)}, "would have -2 cells"),
        ("KiResample", (1, 4), ([2],), {"axes": (1,), "kind": "area"}, "takes coordinates asymmetric"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    graph: Graph, op: str, shape: tuple[int, ...], more: tuple[Any, ...], attrs: dict[str, Any], found: str
) -> None:
    inputs = [ops.constant(np.zeros(shape, F32)), *(ops.constant(m, "int32") for m in more)]
    with pytest.raises(KigraphError, match=found):
        add_op(op, inputs, None, **attrs)


def _cells(size: int, out: int, place: str) -> NDArray:
    at = np.arange(out, dtype=np.float64)
    if place == "align_corners":
        return at * ((size - 1) / (out - 1) if out > 1 else 0)
    return (at + 0.5) * size / out - 0.5 if place == "half_pixel" else at * size / out


def _keys(a: float, d: float) -> float:
    d = abs(d)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def resampled(x: NDArray, axis: int, out: int, kind: str, place: str) -> NDArray:
    """One axis, cell by cell in float64: edges repeated."""
    x = np.moveaxis(x.astype(np.float64), axis, 0)
    y = np.zeros((out, *x.shape[1:]))
    for i, at in enumerate(_cells(len(x), out, place)):
        base = int(np.floor(at))
        for cell in range(base - 1, base + 3):
            weight = max(1 - abs(at - cell), 0) if kind == "linear" else _keys(-0.75, at - cell)
            y[i] += weight * x[min(max(cell, 0), len(x) - 1)]
    return np.moveaxis(y, 0, axis)


@pytest.mark.parametrize("axes", [(1, 2), (2, 3), (0,), (3, 1, 2)])
@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("place", ["half_pixel", "asymmetric", "align_corners"])
def test_general_resampling(
    graph: Graph, session: Make, rng: np.random.Generator, kind: str, place: str, axes: tuple[int, ...]
) -> None:
    """Sizes that are fed; height and width of NHWC go through resize_bilinear."""
    x = rng.normal(size=(3, 5, 7, 4)).astype(F32)
    sizes = [9, 3, 6][: len(axes)]
    given = ops.placeholder("int64", [len(axes)])
    y = add_op("KiResample", [ops.constant(x), given], None, axes=axes, kind=kind, coordinates=place)
    want: NDArray = x
    for axis, size in zip(axes, sizes, strict=True):
        want = resampled(want, axis, size, kind, place)
    np.testing.assert_allclose(session().run(y, {given: sizes}), want, rtol=1e-5, atol=2e-5)


def test_scales_give_the_size_and_keep_the_step(graph: Graph, session: Make) -> None:
    """10 * 0.7 is 7 in float32; the step stays 1 / 0.65, whatever the size was rounded to."""
    x = ops.placeholder("float32", [None, 10])
    y = add_op("KiResample", [x, ops.constant([0.7], "float32")], None, axes=(1,), kind="nearest")
    z = add_op("KiResample", [x, ops.constant([0.65], "float32")], None, axes=(1,), coordinates="asymmetric")
    assert (y.shape, z.shape) == ((None, 7), (None, 6))
    found = session().run(z, {x: np.arange(10, dtype=F32)[None]})
    np.testing.assert_allclose(found[0], np.arange(6) / np.float32(0.65), rtol=1e-5)


def test_area_is_the_mean_of_what_is_covered(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 6, 8, 3)).astype(F32)
    found = session().run(ops.resize_area(ops.constant(x), [3, 2]))
    np.testing.assert_allclose(found, x.reshape(2, 3, 2, 2, 4, 3).mean((2, 4)), rtol=1e-5, atol=1e-6)
    # A row of 3 to 2: each target is one cell and half of the next.
    row = session().run(ops.resize_area(ops.constant(x[:, :1, :3]), [1, 2]))
    want = (x[:, :1, [0, 2]] + 0.5 * x[:, :1, [1, 1]]) / 1.5
    np.testing.assert_allclose(row, want, rtol=1e-5, atol=1e-6)


def test_antialiasing_averages_instead_of_skipping(graph: Graph, session: Make) -> None:
    """Without it targets of an axis that shrinks by 8 see the two zeros in their middle alone."""
    x = ops.constant(np.tile([1, 1, 1, 0, 0, 1, 1, 1], 8).astype(F32)[None])
    plain, smooth = (
        session().run(add_op("KiResample", [x, ops.constant([8])], None, axes=(1,), antialias=a)) for a in (False, True)
    )
    weights = np.maximum(1 - np.abs(np.arange(-7.5, 8)) / 8, 0)
    want = (weights * np.tile([0, 1, 1, 1, 1, 1, 1, 0], 2)).sum() / weights.sum()
    np.testing.assert_array_equal(plain, np.zeros((1, 8), F32))
    np.testing.assert_allclose(smooth[0, 1:-1], want, rtol=1e-5)


def test_nearest_keeps_every_bit_of_any_type(graph: Graph, session: Make) -> None:
    for values in (np.array([[[[2**53 + 1], [-7]]]], np.int64), np.array([[[[255], [1]]]], np.uint8)):
        found = session().run(ops.resize_nearest_neighbor(ops.constant(values), [2, 4]))
        np.testing.assert_array_equal(found, values[:, [0, 0]][:, :, [0, 0, 1, 1]])


def test_crops_of_images(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 7, 3)).astype(F32)
    boxes = np.array([[0, 0, 1, 1], [0.25, 0.5, 0.75, 1.0], [-0.5, 0, 0.5, 1]], F32)
    y = ops.crop_and_resize(ops.constant(x), boxes, [1, 0, 1], [5, 7], extrapolation_value=9.0)
    found = session().run(y)
    np.testing.assert_allclose(found[0], x[1], rtol=1e-6)
    assert (found[2, :2] == 9).all()
    np.testing.assert_allclose(found[2, 2], x[1, 0], rtol=1e-6)
    np.testing.assert_allclose(found[1, 0, -1], x[0, 1, 6], rtol=1e-6)
    with pytest.raises(KigraphError, match="there is no image 2 in a batch of 2"):
        session().run(ops.crop_and_resize(ops.constant(x), boxes, [0, 2, 1], [2, 2]))


def test_weights_without_end_are_refused(graph: Graph, session: Make) -> None:
    """A filter over a huge axis, or a scale near 0, would need more weights than there is memory."""
    x = ops.placeholder("float32", [1, None])
    y = add_op("KiResample", [x, ops.constant([1000])], None, axes=(1,), antialias=True, scales=(1e-300,))
    with pytest.raises((KigraphError, GraphError), match="weights for each of 1,000 cells"):
        session().run(y, {x: np.zeros((1, 4), F32)})


def test_a_network_in_float16(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    """Convolutions, pools, a product and elementwise ops: float16 between them, float32 inside of each."""
    x = rng.normal(size=(2, 9, 8, 3)).astype(np.float16)
    w, d = (rng.normal(size=s).astype(np.float16) for s in ((3, 3, 3, 8), (3, 3, 8, 1)))
    m = rng.normal(size=(8, 5)).astype(np.float16)
    image = ops.placeholder("float16", (None, 9, 8, 3))
    conv = ops.relu(ops.bias_add(ops.conv2d(image, w, 1, "SAME"), np.ones(8, np.float16)))
    deep = ops.depthwise_conv2d(conv, d, 1, "VALID")
    pooled = ops.avg_pool(ops.max_pool(deep, 2, 1), [6, 5], 1)
    y = ops.softmax(ops.matmul(ops.reshape(pooled, [-1, 8]), m))
    found = session().run(y, {image: x})
    assert found.dtype == np.float16
    exact = _network_in_float64(x, w, d, m)
    np.testing.assert_allclose(found, exact, rtol=2e-2, atol=2e-3)


def _network_in_float64(x: NDArray, w: NDArray, d: NDArray, m: NDArray) -> NDArray:
    x, w, d, m = (a.astype(np.float64) for a in (x, w, d, m))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    conv = sum(padded[:, u : u + 9, v : v + 8] @ w[u, v] for u, v in np.ndindex(3, 3))
    conv = np.maximum(conv + 1, 0)
    deep = sum(conv[:, u : u + 7, v : v + 6] * d[u, v, :, 0] for u, v in np.ndindex(3, 3))
    top = np.max([deep[:, u : u + 6, v : v + 5] for u, v in np.ndindex(2, 2)], 0)
    z = top.mean((1, 2)) @ m
    e = np.exp(z - z.max(1, keepdims=True))
    result: NDArray = e / e.sum(1, keepdims=True)
    return result


def test_float16_overflows_to_infinity_without_a_warning(graph: Graph, session: Make) -> None:
    x = ops.placeholder("float16", (1, 2, 2, 1))
    y = ops.conv2d(x, np.full((2, 2, 1, 1), 2, np.float16))
    found = session().run(y, {x: np.full((1, 2, 2, 1), 60000, np.float16)})
    assert np.isposinf(found).all()
