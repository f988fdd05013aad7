"""Which runs go image by image as shipped: nothing here sets a threshold."""

from __future__ import annotations

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.plan.images import Images
from kigraph.graph.session import Session


@pytest.mark.parametrize(
    ("size", "dense", "batch", "threads", "by_image"),
    [
        (40, False, 3, 1, [True]),  # 118 million operations per image
        (40, False, 2, 1, [True]),
        (40, False, 1, 1, [False]),
        (40, False, 3, 2, [False]),  # two threads cannot share them evenly
        (40, False, 4, 2, [True]),
        (20, False, 3, 1, [False]),  # 29 million: less than a run of its own is worth
        (36, False, 3, 1, [False]),  # 96 million
        (40, True, 3, 1, [True, False]),  # 2 MiB of weights after it that every image would read
    ],
)
def test_a_batch_whose_images_are_enough_work(
    graph: Graph, seed: int, size: int, dense: bool, batch: int, threads: int, by_image: list[bool]
) -> None:
    rng = np.random.default_rng(seed)
    x = ops.placeholder("float32", [None, size, size, 64])
    y = ops.relu(ops.conv2d(x, rng.standard_normal((3, 3, 64, 64), np.float32) * np.float32(0.05), padding="SAME"))
    y = ops.reduce_mean(y, [1, 2])
    if dense:
        y = ops.matmul(y, rng.standard_normal((64, 8192), np.float32))
    value = rng.standard_normal((batch, size, size, 64), np.float32)
    session = Session(graph, backend="cython", threads=threads)
    found = session.run(y, {x: value})
    stages = [stage for _, stage in session.plan(y, {x: value}).compiled()]
    assert [isinstance(stage, Images) for stage in stages] == by_image
    alone = Session(graph, backend="cython", threads=1)
    for n in range(batch):
        np.testing.assert_allclose(found[n], alone.run(y, {x: value[n : n + 1]})[0], rtol=1e-4, atol=1e-4)
