"""A batch of float32 whose last layers are dense: images run one by one up to them, unless weights outweigh what is gained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kigraph as ki

pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")


def network(rng: np.random.Generator, *, middle: int = 0) -> tuple[ki.Graph, Any, Any]:
    """A convolution on 64x64 pixels, ``middle`` channels on 8x8 after it, a dense layer of 1.5 MB."""
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(np.float32, [None, 64, 64, 8], name="x")
        pixels = ki.relu(ki.conv2d(x, (rng.standard_normal((3, 3, 8, 192)) / 9).astype(np.float32), 1, "SAME"))
        if middle:
            pixels = ki.max_pool(pixels, [8, 8], [8, 8], "VALID")
            pixels = ki.conv2d(pixels, np.full((3, 3, 192, middle), 1e-3, np.float32), 1, "SAME")
        features = ki.reduce_mean(pixels, [1, 2])
        width = middle or 192
        dense = (rng.standard_normal((width, 2048)) / 14).astype(np.float32)
        answer = ki.softmax(ki.bias_add(ki.matmul(features, dense), np.ones(2048, np.float32)))
    return graph, x, answer


@pytest.mark.parametrize("threads", [1, 2])
def test_divided_before_the_dense_layer(threads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, x, answer = network(rng)
    images = rng.standard_normal((4, 64, 64, 8)).astype(np.float32)
    session = ki.Session(graph, backend="cython", threads=threads)
    got = session.run(answer, {x: images})
    plan = session.plan(answer, {x: images})
    assert [[n.op for n in part.nodes][-1] for part in plan.parts] == ["Mean", "Softmax"], (
        "the mean stays with the image"
    )
    assert ("2 at once" in str(plan.explain())) is (threads == 2)
    for n in range(4):
        np.testing.assert_array_equal(got[n : n + 1], session.run(answer, {x: images[n : n + 1]}))


def test_heavy_weights_are_read_once(seed: int) -> None:
    """8 MB of weights next to 4 MB of activations: an image by itself would read them again."""
    rng = np.random.default_rng(seed)
    graph, x, answer = network(rng, middle=1200)
    session = ki.Session(graph, backend="cython", threads=1)
    images = rng.standard_normal((2, 64, 64, 8)).astype(np.float32)
    session.run(answer, {x: images})
    assert len(session.plan(answer, {x: images}).parts) == 1
