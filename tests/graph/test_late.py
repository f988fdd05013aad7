"""A batch whose last layers wait for their weights: the first layers run image by image, the last ones as a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.plan.images import _together
from kigraph.kernels.cython import core

pytestmark = pytest.mark.skipif(not core.BF16_NATIVE, reason="this processor has no bfloat16")


def network(rng: np.random.Generator) -> tuple[ki.Graph, Any, Any, Any]:
    """A convolution on 64x64 pixels, then a large one on 4x4."""
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(np.float32, [None, 64, 64, 8], name="x")
        early = ki.relu(ki.conv2d(x, (rng.standard_normal((3, 3, 8, 192)) / 9).astype(np.float32), 1, "SAME"))
        pooled = ki.max_pool(early, [16, 16], [16, 16], "VALID")
        late = ki.conv2d(pooled, (rng.standard_normal((3, 3, 192, 512)) / 40).astype(np.float32), 1, "SAME")
        answer = ki.softmax(ki.reduce_mean(ki.relu(late), [1, 2]))
    return graph, x, pooled, answer


@pytest.mark.parametrize("fetch_early", [False, True])
def test_a_divided_batch_gives_the_same_bits(fetch_early: bool) -> None:
    rng = np.random.default_rng()
    graph, x, pooled, answer = network(rng)
    images = rng.standard_normal((3, 64, 64, 8)).astype(np.float32)
    wanted = [answer, pooled] if fetch_early else [answer]
    session = ki.Session(graph, backend="cython", threads=1, precision="bf16")
    got = session.run(wanted, {x: images})
    assert len(session.plan(wanted, {x: images}).parts) == 2
    assert len(session.plan(wanted, {x: images[:1]}).parts) == 1
    for n in range(3):
        for whole, one in zip(got, session.run(wanted, {x: images[n : n + 1]}), strict=True):
            np.testing.assert_array_equal(whole[n : n + 1], one)
    both = ki.Session(graph, backend="cython", threads=2, precision="bf16").run(wanted, {x: images})
    for a, b in zip(got, both, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_take_images_side_by_side() -> None:
    """Four images on two threads: the same bits as one by one, and an error of one image is raised."""
    rng = np.random.default_rng()
    graph, x, _, answer = network(rng)
    images = rng.standard_normal((4, 64, 64, 8)).astype(np.float32)
    session = ki.Session(graph, backend="cython", threads=2, precision="bf16")
    got = session.run(answer, {x: images})
    assert "2 at once" in str(session.plan(answer, {x: images}).explain())
    for n in range(4):
        np.testing.assert_array_equal(got[n : n + 1], session.run(answer, {x: images[n : n + 1]}))
    taken: list[int] = []

    def fail() -> None:
        taken.append(1)
        raise MemoryError("no room for an image")

    with pytest.raises(MemoryError, match="no room"):
        _together(fail, 3)
    assert len(taken) == 3


def test_float32_is_not_divided() -> None:
    graph, x, _, answer = network(np.random.default_rng())
    images = np.zeros((3, 64, 64, 8), np.float32)
    session = ki.Session(graph, backend="cython", threads=1, precision="fp32")
    session.run(answer, {x: images})
    assert len(session.plan(answer, {x: images}).parts) == 1
