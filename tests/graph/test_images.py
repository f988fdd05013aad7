"""A batch on one thread runs image by image where images are independent; nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.plan import images
from kigraph.graph.plan.images import Images
from kigraph.graph.session import Session

SHAPE = (None, 20, 20, 8)


@pytest.fixture(autouse=True)
def small_images_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_LEAST_FLOPS", 1e4)
    monkeypatch.setattr(images, "_FLOPS_PER_BYTE", 0.0)


def network(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Branches, a concat, pools, a reshape, a dense layer."""
    x = ops.placeholder("float32", SHAPE, name="x")
    w = [rng.standard_normal(s).astype(np.float32) * 0.1 for s in ((3, 3, 8, 12), (1, 1, 8, 7), (19 * 9 * 9, 5))]
    a = ops.relu(ops.conv2d(x, w[0], padding="SAME") + np.float32(0.1))
    y = ops.concat([a, ops.conv2d(x, w[1])], -1)
    y = ops.max_pool(y, 3, 2, name="pool")
    y = ops.matmul(ops.reshape(y, [-1, 19 * 9 * 9]), w[2])
    return x, ops.softmax(y, name="y")


def stages(session: Session, fetch: Any, feeds: Any) -> list[Any]:
    return [stage for _, stage in session.plan(fetch, feeds).compiled()]


def test_results_are_those_of_the_images_alone(graph: Graph, backend: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = network(rng)
    batch = rng.standard_normal((5, *SHAPE[1:]), np.float32)
    session = Session(graph, backend=backend, threads=1)
    (stage,) = stages(session, y, {x: batch})
    assert isinstance(stage, Images)
    assert stage.count == 5
    together = session.run([y, "pool:0"], {x: batch})
    for n in range(5):
        alone = session.run([y, "pool:0"], {x: batch[n : n + 1]})
        for a, b in zip(together, alone, strict=True):
            assert a[n : n + 1].tobytes() == b.tobytes()
    whole = Session(graph, backend=backend, threads=2).run(y, {x: batch})
    np.testing.assert_allclose(together[0], whole, rtol=1e-5, atol=1e-7)
    if backend != "numpy":  # its matrix product is BLAS, whose bits depend on the number of rows
        assert together[0].tobytes() == whole.tobytes()


def test_memory_is_that_of_one_image_and_explain_says_why(graph: Graph) -> None:
    x, y = network(np.random.default_rng(0))
    feeds = {x: np.zeros((8, *SHAPE[1:]), np.float32)}
    session = Session(graph, backend="numpy", threads=1)
    plan = session.plan(y, feeds)
    assert plan.arena_bytes < 0.3 * Session(graph, backend="numpy", threads=2).plan(y, feeds).arena_bytes
    assert "8 images, one after the other" in plan.explain()


def test_a_profile_counts_the_work_of_all_images(graph: Graph) -> None:
    x, y = network(np.random.default_rng(0))
    feeds = {x: np.zeros((4, *SHAPE[1:]), np.float32)}
    split, whole = (Session(graph, backend="numpy", threads=n).profile(y, feeds, runs=2) for n in (1, 2))
    assert len(split.steps) == len(whole.steps)
    assert [s.flops for s in split.steps] == [s.flops for s in whole.steps]
    assert 0 < split.steps_seconds <= split.seconds
    assert all("4 images" in s.note for s in split.steps)
    ends = [s.start + s.span for s in split.steps]
    assert all(end <= s.start + 1e-9 for end, s in zip(ends[:-1], split.steps[1:], strict=True)), "one after the other"


def test_what_mixes_images_runs_as_a_whole(graph: Graph) -> None:
    x, y = network(np.random.default_rng(0))
    batch = np.random.default_rng(1).standard_normal((4, *SHAPE[1:]), np.float32)
    for fetch in (
        ops.reduce_mean(y),  # over the images
        y - ops.reduce_max(y, [0], keepdims=True),
        ops.reshape(y, [2, 10]),
        ops.softmax(y, axis=0),
        ops.matmul(y, y, transpose_b=True),
        ops.concat([y, y], 0),
        ops.shape(y),
        y + np.arange(20, dtype=np.float32).reshape(4, 5),  # a constant that tells images apart
    ):
        session = Session(graph, backend="numpy", threads=1)
        assert not any(isinstance(s, Images) for s in stages(session, fetch, {x: batch})), fetch
        whole = Session(graph, backend="numpy", threads=2).run(fetch, {x: batch})
        np.testing.assert_allclose(session.run(fetch, {x: batch}), whole, rtol=1e-5, atol=1e-6)


def test_a_shape_that_names_the_number_of_images_keeps_them_together(graph: Graph) -> None:
    x = ops.placeholder("float32", SHAPE, name="x")
    w = np.random.default_rng(0).standard_normal((3, 3, 8, 4)).astype(np.float32)
    y = ops.reshape(ops.conv2d(x, w), [3, 18 * 18 * 4])
    batch = np.random.default_rng(1).standard_normal((3, *SHAPE[1:]), np.float32)
    session = Session(graph, backend="numpy", threads=1)
    (stage,) = stages(session, y, {x: batch})
    assert not isinstance(stage, Images)
    assert session.run(y, {x: batch}).shape == (3, 18 * 18 * 4)


def test_inputs_of_different_lengths_and_single_images_run_as_a_whole(graph: Graph) -> None:
    x, y = network(np.random.default_rng(0))
    bias = ops.placeholder("float32", [None, 5], name="bias")
    session = Session(graph, backend="numpy", threads=1)
    batch = np.zeros((3, *SHAPE[1:]), np.float32)
    assert isinstance(stages(session, y + bias, {x: batch, bias: np.zeros((3, 5), np.float32)})[0], Images)
    assert not isinstance(stages(session, y + bias, {x: batch, bias: np.zeros((1, 5), np.float32)})[0], Images)
    assert not isinstance(stages(session, y, {x: batch[:1]})[0], Images)
    assert not isinstance(stages(session, y, {x: batch[:0]})[0], Images)
    assert session.run(y, {x: batch[:0]}).shape == (0, 5)


def test_little_work_stays_together(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = network(np.random.default_rng(0))
    batch = np.zeros((3, *SHAPE[1:]), np.float32)
    for name, value in (("_LEAST_FLOPS", 1e9), ("_FLOPS_PER_BYTE", 1e6)):
        with monkeypatch.context() as patch:
            patch.setattr(images, name, value)
            session = Session(graph, backend="numpy", threads=1)
            assert not isinstance(stages(session, y, {x: batch})[0], Images)


def test_large_dense_layers_keep_a_batch_together(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for their weights, which a batch reads once."""
    monkeypatch.setattr(images, "_FLOPS_PER_BYTE", 500.0)
    x, y = network(np.random.default_rng(0))
    batch = np.zeros((3, *SHAPE[1:]), np.float32)
    wide = ops.matmul(y, np.ones((5, 60_000), np.float32))
    feeds = {x: batch}
    plan = Session(graph, backend="numpy", threads=1).plan(wide, feeds)
    assert [part.together for part in plan.parts] == [False, True]
    dense = ops.matmul(ops.reduce_mean(ops.relu(x), [1, 2]), np.ones((8, 5), np.float32))
    assert not isinstance(stages(Session(graph, backend="numpy", threads=1), dense, feeds)[0], Images)


def test_variables_are_not_cut(graph: Graph) -> None:
    x = ops.placeholder("float32", SHAPE, name="x")
    w = ops.variable(np.ones((3, 3, 8, 4), np.float32), name="w")
    y = ops.conv2d(x, w)
    session = Session(graph, backend="numpy", threads=1)
    batch = np.ones((3, *SHAPE[1:]), np.float32)
    assert not isinstance(stages(session, y, {x: batch})[0], Images)
    assert session.run(y, {x: batch}).shape == (3, 18, 18, 4)
