"""Feeds that are read where they are, and results that are written where they stay: same values, and nobody's memory is touched."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.plan import direct
from kigraph.graph.plan.stage import Stage
from kigraph.graph.session import Session
from kigraph.kernels.errors import KernelError
from kigraph.kernels.tensor import TensorType
from tests.graph import test_aliasing, test_memory

MakeSession = Callable[..., Session]
NDArray = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor is too small for it."""
    monkeypatch.setattr(direct, "LEAST_FEED", 0)
    monkeypatch.setattr(direct, "LEAST_RESULT", 0)


def directs(session: Session, fetches: Any, feeds: Any) -> int:
    stages = [stage for _, stage in session.plan(fetches, feeds).compiled()]
    return sum(len(stage.layout.direct) for stage in stages if isinstance(stage, Stage))


def layers(x: Tensor) -> list[Tensor]:
    """Ops of the families that have kernels of their own, and views of what they give."""
    rng = np.random.default_rng(3)
    w, depth = rng.random((3, 3, 8, 16), np.float32) - 0.5, rng.random((3, 3, 8, 1), np.float32)
    scale = [rng.random(8, np.float32) for _ in range(4)]
    y = ops.relu(x)
    return [
        y, ops.reshape(y, [-1]), ops.conv2d(x, w, padding="SAME"), ops.conv2d(x, w[:1, :1], 2, "VALID"),
        ops.depthwise_conv2d(x, depth, 1, "SAME"), ops.max_pool(x, 2, 2, "SAME"), ops.avg_pool(x, 3, 1, "SAME"),
        ops.softmax(x), ops.reduce_sum(x, [1, 2]), ops.reduce_max(x, [-1]), ops.concat([x, y, x], 3), ops.concat([x, x], 1),
        ops.pad(x, [[0, 0], [1, 2], [0, 1], [3, 0]]), ops.transpose(x, [0, 3, 1, 2]), *ops.split(x, 2, 3), x + x, x * 2.0,
        ops.batch_normalization(x, *scale, 1e-3), ops.matmul(ops.reshape(x, [-1, 8]), ops.reshape(x, [8, -1])), x,
        ops.identity(x), x[:, 1:, :, ::2], ops.cast(x, "float64"), ops.lrn(x), ops.expand_dims(x, 0),
    ]  # fmt: skip


def placed(value: NDArray, offset: int) -> NDArray:
    """The array at an address that is ``offset`` bytes beyond a cache line."""
    buffer = np.zeros(value.nbytes + 128, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    result: NDArray = buffer[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    result[...] = value
    return result


def test_the_same_bits_wherever_a_feed_lies(
    graph: Graph, session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = ops.placeholder("float32", [2, 7, 6, 8])
    fetches = layers(x)
    value = np.random.default_rng(1).standard_normal((2, 7, 6, 8)).astype(np.float32)
    value[1, 2, 3, 4:6] = np.nan, np.inf
    with monkeypatch.context() as patch:
        patch.setattr(direct, "LEAST_FEED", 1 << 60)
        patch.setattr(direct, "LEAST_RESULT", 1 << 60)
        copies = session()
        expected = copies.run(fetches, {x: value})
        assert directs(copies, fetches, {x: value}) == 0
    one = session()
    assert directs(one, fetches, {x: value}) > 10
    frozen = placed(value, 0)
    frozen.flags.writeable = False
    feeds = {
        **{f"{at} bytes": placed(value, at) for at in (0, 4, 16, 60)}, "no multiple of an element": placed(value, 3),
        "read-only": frozen, "Fortran": np.asfortranarray(value), "backwards": value[::-1, ::-1].copy()[::-1, ::-1],
        "every other": np.repeat(value, 2, axis=3)[..., ::2], "a list": value.tolist(),
    }  # fmt: skip
    for name, feed in feeds.items():
        for _ in range(2):
            for got, wanted in zip(one.run(fetches, {x: feed}), expected, strict=True):
                assert got.flags.c_contiguous
                assert got.flags.writeable
                np.testing.assert_array_equal(got, wanted, err_msg=name)
        np.testing.assert_array_equal(np.asarray(feed, np.float32), value)


def test_results_go_on_while_they_are_held(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [50])
    y, one = x + 1.0, session()
    held = []
    for n in range(12):
        result = one.run(y, {x: np.full(50, n, np.float32)})
        held.append((n + 1, result[10:] if n % 2 else memoryview(result)))
        del result
    for n, part in held:
        assert (np.asarray(part) == n).all()
    del held, part
    places = {one.run(y, {x: np.full(50, n, np.float32)}).ctypes.data for n in range(9)}
    assert len(places) <= 2


def test_memory_of_results_is_bounded_and_separate() -> None:
    results = direct.Results(TensorType(np.dtype(np.float32), (3, 5)))
    held = [results.take()[0] for _ in range(6)]
    assert len({a.ctypes.data for a in held}) == 6
    assert all(a.ctypes.data % 64 == 0 for a in held)
    assert len(results._held) == 2
    part = held[-1][1:, 2]
    del held
    again = [results.take()[0] for _ in range(3)]
    assert not any(np.shares_memory(part, a) for a in again)


def test_a_session_holds_no_feed(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [100])
    y, one = ops.square(x), session()
    for _ in range(2):
        value = np.ones(100, np.float32)
        watch = weakref.ref(value)
        assert one.run(y, {x: value})[0] == 1
        del value
        gc.collect()
        assert watch() is None


def test_aliased_and_overlapping_feeds(graph: Graph, session: MakeSession) -> None:
    a, b = ops.placeholder("float32", [8]), ops.placeholder("float32", [8])
    fetches, one = [a + b, ops.negative(a), a, b], session()
    base = np.arange(12, dtype=np.float32)
    for left, right in ((base[:8], base[:8]), (base[:8], base[4:]), (base[4:], base[:8]), (base[:8], base[:8].copy())):
        for got, wanted in zip(one.run(fetches, {a: left, b: right}), (left + right, -left, left, right), strict=True):
            np.testing.assert_array_equal(got, wanted)
            assert not np.shares_memory(got, base)
    np.testing.assert_array_equal(base, np.arange(12))


@pytest.mark.parametrize("name", test_aliasing.FETCHES)
def test_results_share_memory_with_nothing(graph: Graph, session: MakeSession, name: str) -> None:
    test_aliasing.test_results_share_memory_with_nothing(graph, session, name, "all passes")


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), fetched=st.integers(0, 2**16 - 1))
def test_branches_concats_and_views(session: MakeSession, seed: int, fetched: int) -> None:
    with Graph().as_default() as graph:
        feeds: dict[Tensor, NDArray] = {}
        pool = test_memory.random_branches(seed, feeds)
        wanted = [pool[-1], *(t for i, t in enumerate(pool) if fetched >> i % 16 & 1)]
        one = session(graph)
        found = one.run(wanted, feeds)
        truth = [Session(graph, backend="numpy").run(t, feeds) for t in wanted]
        for _ in range(2):
            for f, w in zip(one.run(wanted, feeds), truth, strict=True):
                np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-4)
            test_memory.poison(one.plan(wanted, feeds))
        for f, w in zip(found, truth, strict=True):
            np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-4)


def test_many_addresses_and_a_failure_between(graph: Graph, session: MakeSession) -> None:
    x, at = ops.placeholder("float32", [6]), ops.placeholder("int32", [1])
    y, one = ops.gather(ops.negative(x), at), session()
    values = [np.full(6, n, np.float32) for n in range(direct._KEPT + 9)]
    for _ in range(2):
        for n, value in enumerate(values):
            assert one.run(y, {x: value, at: np.array([n % 6], np.int32)}).tolist() == [-n]
        with pytest.raises(KernelError, match="index 6"):
            one.run(y, {x: values[0], at: np.array([6], np.int32)})


def test_profiles_and_explanations(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [40])
    y, one, value = ops.exp(ops.negative(x)), session(skip_passes=["fuse_chains"]), np.zeros(40, np.float32)
    plan = one.plan(y, {x: value})
    assert "feeds and results that are not copied: 320B" in plan.explain()
    assert one.run(y, {x: value}, profile=True).tolist() == [1] * 40
    assert plan.timeline is not None
    assert len(plan.timeline.steps) == 2
