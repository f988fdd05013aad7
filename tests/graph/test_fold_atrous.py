"""Atrous convolutions: what the pass makes of them, and that it computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ir, ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.passes.fold_atrous import fold_atrous

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Any]
F32 = np.dtype(np.float32)


def atrous(x: Tensor, w: NDArray, rate: int, size: tuple[int, int], same: bool, behind: bool, deep: bool) -> Tensor:
    """As Keras writes a dilated convolution; ``behind``: a bias and ReLU stand before the end."""
    reach = [(k - 1) * rate for k in w.shape[:2]]
    base = [r // 2 if same else 0 for r in reach]
    total = [n + (r if same else 0) for n, r in zip(size, reach, strict=True)]
    more = [-t % rate for t in total]
    pads = [[b, (r - b if same else 0) + m] for b, r, m in zip(base, reach, more, strict=True)]
    y = ops.space_to_batch_nd(x, [rate, rate], pads)
    y = ops.depthwise_conv2d(y, w, 1, "VALID") if deep else ops.conv2d(y, w, 1, "VALID")
    if behind:
        y = ops.relu(ops.bias_add(y, np.full(y.shape[-1] or 0, 0.5, F32)))
    return ops.batch_to_space_nd(y, [rate, rate], [[0, m] for m in more])


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(("rate", "size"), [(2, (9, 12)), (3, (11, 13)), (4, (10, 9))])
def test_it_becomes_a_convolution_with_dilations(
    graph: Graph, session: Make, rng: np.random.Generator, rate: int, size: tuple[int, int], same: bool, behind: bool,
    deep: bool,
) -> None:  # fmt: skip
    x = rng.normal(size=(2, *size, 3)).astype(F32)
    w = rng.normal(size=(3, 2, 3, 2 if deep else 5)).astype(F32)
    image = ops.placeholder("float32", (None, *size, 3))
    y = atrous(image, w, rate, size, same, behind, deep)
    left = {n.op for n in fold_atrous(_only(graph.freeze(), y))}
    assert not left & {"SpaceToBatchND", "BatchToSpaceND"}
    found = session().run(y, {image: x})
    plain = session(skip_passes=["fold_atrous"]).run(y, {image: x})
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-5)
    conv = ops.depthwise_conv2d if deep else ops.conv2d
    direct = conv(image, w, 1, "SAME" if same else "VALID", dilations=rate)
    if behind:
        direct = ops.relu(ops.bias_add(direct, np.full(direct.shape[-1] or 0, 0.5, F32)))
    np.testing.assert_allclose(found, session().run(direct, {image: x}), rtol=1e-5, atol=1e-5)


def _only(frozen: Any, y: Tensor) -> Any:
    """The graph with one output."""
    return ir.Graph({n.name: n for n in frozen}, (y.port,))


def test_what_is_not_the_same_stays(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    """More cropped than padded, another block at the end, strides, a pool between, the middle wanted, too."""
    x, w = ops.constant(rng.normal(size=(1, 8, 8, 2)).astype(F32)), rng.normal(size=(1, 1, 2, 2)).astype(F32)
    none = [[0, 0], [0, 0]]
    there = ops.space_to_batch_nd(x, [2, 2], none)
    same = ops.conv2d(there, w, 1, "VALID")
    middle = ops.conv2d(there, w, 1, "VALID")
    kept = [
        ops.batch_to_space_nd(same, [2, 2], [[1, 0], [0, 0]]),
        ops.batch_to_space_nd(ops.conv2d(there, w, 1, "VALID"), [1, 4], none),
        ops.batch_to_space_nd(ops.conv2d(there, w, 2, "VALID"), [2, 2], none),
        ops.batch_to_space_nd(ops.max_pool(ops.conv2d(there, w, 1, "VALID"), 2, 1), [2, 2], none),
        ops.batch_to_space_nd(middle, [2, 2], none) + ops.reduce_sum(middle),
        ops.batch_to_space_nd(ops.conv2d(there, w, 1, [[1, 1], [1, 1]]), [2, 2], none),
    ]
    frozen = graph.freeze()
    for y in kept:
        assert "BatchToSpaceND" in {n.op for n in fold_atrous(_only(frozen, y))}
    want = session(skip_passes=["fold_atrous"]).run(kept)
    for a, b in zip(session().run(kept), want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_sizes_that_are_computed(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    """Of an image of unknown size the padding follows from its shape; the plan of each size knows it."""
    x, w = rng.normal(size=(1, 7, 10, 3)).astype(F32), rng.normal(size=(3, 3, 3, 4)).astype(F32)
    image = ops.placeholder("float32", (None, None, None, 3))
    height, width = ops.unstack(ops.shape(image))[1:3]
    more = [ops.floormod(-(n + 4), 2) for n in (height, width)]
    pads = ops.stack([ops.stack([2, 2 + m]) for m in more])
    y = ops.space_to_batch_nd(image, [2, 2], pads)
    y = ops.batch_to_space_nd(ops.conv2d(y, w, 1, "VALID"), [2, 2], ops.stack([ops.stack([0, m]) for m in more]))
    made = session()
    direct = ops.conv2d(image, w, 1, "SAME", dilations=2)
    np.testing.assert_allclose(made.run(y, {image: x}), made.run(direct, {image: x}), rtol=1e-5, atol=1e-5)
    assert "BatchToSpace" not in str(made.plan(y, {image: x}).explain())
    fused = ops.relu(ops.bias_add(y, np.full(4, 0.5, F32)))
    found = made.run(fused, {image: x})
    np.testing.assert_allclose(found, np.maximum(made.run(direct, {image: x}) + 0.5, 0), rtol=1e-5, atol=1e-5)
    assert "BiasAdd" not in str(made.plan(fused, {image: x}).explain())
