"""Runs that were made before: found by one look-up, with the results and the errors of a first run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import FeedError, FetchError
from kigraph.graph.plan.lru import LRU
from kigraph.graph.session import Session
from kigraph.kernels.errors import OutOfMemoryError

MakeSession = Callable[..., Session]


class Two(NamedTuple):
    a: Any
    b: Any


def known(session: Session) -> int:
    return len(session._runner.calls._calls)


def test_a_call_is_known_by_fetches_feeds_shapes_and_types(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [None], name="x")
    y, z = ops.negative(x, name="y"), ops.square(x)
    one = session()
    a, b = np.array([1, 2], np.float32), np.array([1, 2, 3], np.float32)
    for _ in range(3):
        assert one.run(y, {x: a}).tolist() == [-1, -2]
        assert one.run(y, {x: b}).tolist() == [-1, -2, -3]
        assert one.run("y:0", {"x:0": a}).tolist() == [-1, -2]
        assert [r.tolist() for r in one.run([z, y], {x: a})] == [[1, 4], [-1, -2]]
        assert [r.tolist() for r in one.run([y, z], {x: a})] == [[-1, -2], [1, 4]]
        assert known(one) == 5
        assert [r.tolist() for r in one.run((y, z), {x: a})] == [[-1, -2], [1, 4]]
        assert one.run(Two(y, z), {x: a}).b.tolist() == [1, 4]
        assert one.run({"y": y}, {x: a})["y"].tolist() == [-1, -2]
        assert [r.tolist() for r in one.run([y, y], {x: a})] == [[-1, -2], [-1, -2]]
        assert known(one) == 5
    other = np.array([4, 5], np.float32)
    assert one.run(y, {x: other}).tolist() == [-4, -5]


@pytest.mark.parametrize(
    "value",
    [
        [1, 2], (1.0, 2.0), np.array([1, 2], np.float64), np.array([1, 2], np.int32), np.array([1, 2], ">f4"),
        np.array([1, 0, 2, 0], np.float32)[::2], np.array([2, 1], np.float32)[::-1], np.ma.array([1, 2], dtype=np.float32),
        np.array([[1], [2]], np.float32).T[0], np.frombuffer(b"\0" + np.array([1, 2], np.float32).tobytes(), np.float32, 2, 1),
    ],
    ids=lambda v: f"{type(v).__name__}-{getattr(v, 'dtype', '')}-{getattr(v, 'strides', '')}",
)  # fmt: skip
def test_what_does_not_fit_as_it_is_is_converted_as_before(graph: Graph, session: MakeSession, value: Any) -> None:
    x = ops.placeholder("float32", [2])
    y = ops.negative(x)
    one = session()
    fitting = np.array([3, 4], np.float32)
    for _ in range(2):
        assert one.run(y, {x: fitting}).tolist() == [-3, -4]
        assert one.run(y, {x: value}).tolist() == [-1, -2]


@pytest.mark.parametrize("value", [[1.0], np.ones((1, 2), np.float32), ["a", "b"], None, np.ones(2, complex), object()])
def test_wrong_feeds_say_what_they_said_before(graph: Graph, value: Any) -> None:
    x = ops.placeholder("float32", [2], name="x")
    y = ops.negative(x)
    texts = []
    for warm in (False, True):
        one = Session(graph, backend="numpy")
        if warm:
            one.run(y, {x: np.ones(2, np.float32)})
        with pytest.raises(FeedError) as error:
            one.run(y, {x: value})
        texts.append(str(error.value).split(" object at ")[0])
    assert texts[0] == texts[1]


def test_other_wrong_runs_after_a_known_one(graph: Graph) -> None:
    x = ops.placeholder("float32", [2], name="x")
    y, one, a = ops.negative(x), Session(graph, backend="numpy"), np.ones(2, np.float32)
    one.run(y, {x: a})
    with pytest.raises(FetchError, match="placeholder 'x'"):
        one.run(y)
    with pytest.raises(FeedError, match="twice"):
        one.run(y, {x: a, "x:0": a})
    with pytest.raises(FeedError, match="must be a dict"):
        one.run(y, [a])  # type: ignore[arg-type]
    with pytest.raises(FetchError):
        one.run(1, {x: a})
    one.close()
    with pytest.raises(FetchError, match="closed; make a new one"):
        one.run(y, {x: a})


def test_scalars_constants_and_what_is_fed_are_fetched(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [])
    double, c, one, value = x * 2.0, ops.constant([1.0, 2.0]), session(), np.array(3, np.float32)
    for _ in range(3):
        result = one.run(double, {x: value})
        assert isinstance(result, np.float32)
        assert result == 6
        first, second = one.run([x, c], {x: value})
        assert isinstance(first, np.float32)
        assert (first, second.tolist()) == (3, [1, 2])
        second[:] = 9
        assert one.run(c).tolist() == [1, 2]


def test_variables_and_random_numbers_are_of_their_run(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [2])
    v = ops.variable(np.ones(2, np.float32))
    y, more, drawn = (
        x + v,
        ops.assign_add(v, x),
        graph.create_op("RandomUniform", [ops.constant([4])], {"dtype": np.dtype(np.float32), "seed": 3}).outputs[0],
    )
    one, a = session(), np.array([1, 2], np.float32)
    for n in range(3):
        assert one.run(y, {x: a}).tolist() == [2 + n, 3 + 2 * n]
        assert one.run(more, {x: a}).tolist() == [2 + n, 3 + 2 * n]
    one.set_variables({v.name: [0, 0]})
    assert one.run(y, {x: a}).tolist() == [1, 2]
    assert len({one.run(drawn).tobytes() for _ in range(4)}) == 4


def test_plans_that_go_are_not_kept_by_calls(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_PLAN_CACHE", "3")
    x = ops.placeholder("float32", [None])
    made = [x + float(i) for i in range(12)]
    one, a = Session(graph, backend="numpy"), np.array([0, 1], np.float32)
    for i, y in enumerate(made):
        for _ in range(2):
            assert one.run(y, {x: a}).tolist() == [i, i + 1]
            assert one.run(made[0], {x: a}).tolist() == [0, 1]  # used all the time, so it stays
        plans = {id(plan) for _, plan in one._runner.plans.items()}
        assert len(plans) <= 3
        assert {id(call.plan) for call in one._runner.calls._calls.values()} <= plans
        if i:
            assert one.plan(made[0], {x: a}).used


def test_a_map_spares_what_was_used_elsewhere() -> None:
    used, gone = {"a"}, []
    entries = LRU(3, lambda entry: entry in used, lambda: gone.append(1))
    for name in "abc":
        entries.get(name, lambda name=name: name)
    entries.get("d", lambda: "d")
    assert [key for key, _ in entries.items()] == ["c", "d", "a"]
    used.update("cda")
    entries.get("e", lambda: "e")
    assert [key for key, _ in entries.items()] == ["d", "a", "e"]
    assert len(gone) == 2


def test_no_memory_in_a_known_call_is_reported_as_in_the_first(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.graph.plan.stage import Stage

    x = ops.placeholder("float32", [2])
    y, one, a = ops.negative(x), Session(graph, backend="numpy"), np.ones(2, np.float32)
    one.run(y, {x: a})

    def fail(*args: Any) -> None:
        raise MemoryError("none left")

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "call", fail)
        with pytest.raises(OutOfMemoryError, match="run needs more main memory than can be had: none left"):
            one.run(y, {x: a})
    assert one.run(y, {x: a}).tolist() == [-1, -1]


def test_known_calls_from_several_threads(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [None])
    y, one = ops.square(x) + 1.0, session()
    failed: list[Any] = []

    def work(number: int) -> None:
        value = np.full(4 + number % 3, number, np.float32)
        for _ in range(200):
            result = one.run(y, {x: value})
            if result.shape != value.shape or not (result == number * number + 1).all():
                failed.append((number, result))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_key_in_the_place_of_a_shape_is_no_known_call(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [2], name="x")
    y = ops.negative(x)
    one, a = session(), np.ones(2, np.float32)
    one.run(y, {x: a})
    one.run([y], {x: a})
    masked = np.ma.masked_array([1, 2], mask=[1, 0], dtype=np.float32)  # type: ignore[no-untyped-call]
    for value in ([1, 2], masked):
        with pytest.raises(FeedError):
            one.run(y, {x: value, (2,): 3})
    with pytest.raises((FeedError, FetchError)):
        one.run(list, {1: None, y: None, x: a})
