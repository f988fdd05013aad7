"""Variables: values of a session, read as they were when a run started, stored when it succeeded."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import FeedError, FetchError, GraphError
from kigraph.graph.session import Session
from kigraph.kernels.errors import KernelError, KigraphError, ShapeError

MakeSession = Callable[..., Session]


def test_a_new_session_starts_with_the_initial_values(graph: Graph, session: MakeSession) -> None:
    v = ops.variable([1.0, 2.0], name="v")
    up = ops.assign_add(v, [1.0, 1.0])
    first, second = session(), session()
    assert first.run(v).tolist() == [1, 2]
    assert first.run(up).tolist() == [2, 3]
    assert first.run(up).tolist() == [3, 4]
    assert first.run(v).tolist() == [3, 4]
    assert second.run(v).tolist() == [1, 2]
    assert session().run(v).tolist() == [1, 2]


def test_a_read_sees_what_must_come_before_it(graph: Graph, session: MakeSession) -> None:
    v = ops.variable(1.0)
    new = ops.assign(v, v * 10.0)
    with graph.control_dependencies([new]):
        after = ops.identity(v)
    one = session()
    less = ops.assign_sub(v, 1.0)
    assert one.run([v, new, after]) == [1, 10, 10]
    with pytest.raises(
        FetchError, match=r"cannot assign variable 'Variable' twice in no order \('Assign' and 'AssignSub'\)"
    ):
        one.run([new, less])
    assert one.run(v) == 10
    one = session()
    assert [one.run(new) for _ in range(3)] == [10, 100, 1000]
    assert one.run([v, new]) == [1000, 10000]
    assert one.run(v) == 10000


def test_assigns_run_when_fetched_targeted_or_controlling(graph: Graph, session: MakeSession) -> None:
    v = ops.variable(0, dtype="int32", name="v")
    step = ops.assign_add(v, 1, name="step")
    with graph.control_dependencies([step]):
        x = ops.constant(5, name="x")
        y = ops.identity(x, name="y")
    both = ops.group(step, ops.no_op(), name="both")
    one = session()
    for fetch, count in (
        (v, 0),
        ("step:0", 1),
        (step.op, 1),
        (x, 1),
        (y, 1),
        (both, 1),
        ("both", 1),
        ([x, y, both, step], 1),
    ):
        before = one.variable_value(v)
        one.run(fetch)
        assert one.variable_value("v") - before == count, fetch
    before = one.variable_value(v)
    one.run(y, {y: 3})
    assert one.variable_value(v) == before  # the operations that lead to a feed are not run


def test_a_failed_run_stores_nothing(graph: Graph, session: MakeSession) -> None:
    v, d = ops.variable([1, 2]), ops.placeholder("int32", [2])
    new = ops.assign(v, [7, 8])
    with graph.control_dependencies([new]):
        quotient = ops.floordiv([1, 1], d)
    one = session()
    with pytest.raises(KernelError, match="division by zero"):
        one.run(quotient, {d: [1, 0]})
    assert one.run(v).tolist() == [1, 2]
    one.run(quotient, {d: [1, 1]})
    assert one.run(v).tolist() == [7, 8]


def test_variables_can_be_fed(graph: Graph, session: MakeSession) -> None:
    v = ops.variable([1.0, 2.0])
    twice, up = v * 2.0, ops.assign_add(v, [1.0, 1.0])
    one = session()
    assert one.run([v, twice], {v: [5, 6]})[1].tolist() == [10, 12]
    assert one.run(v).tolist() == [1, 2]
    assert one.run(up, {v: [10, 20]}).tolist() == [11, 21]
    assert one.run(v).tolist() == [11, 21]
    with pytest.raises(FeedError, match=r"shape \(3,\), expected \(2,\)"):
        one.run(twice, {v: [1, 2, 3]})


def test_shapes_and_dtypes_never_change(graph: Graph, session: MakeSession) -> None:
    v, p = ops.variable([1.0, 2.0], name="v"), ops.placeholder("float32")
    for make in (ops.assign, ops.assign_add, ops.assign_sub):
        with pytest.raises(ShapeError, match="contradict"):
            make(v, [1.0, 2.0, 3.0])
        with pytest.raises(ShapeError, match="contradict"):
            make(v, 1.0)
        with pytest.raises(GraphError, match="float32"):
            make(v, ops.constant([1, 2]))
        late = make(v, p, name="late")
        one = session()
        for wrong in (np.ones(3), np.ones((2, 2)), np.float32(1)):
            with pytest.raises(ShapeError, match="'late"):
                one.run(late, {p: wrong})
            assert one.run(v).tolist() == [1, 2]
        one.run(late, {p: [1, 1]})
    with pytest.raises(GraphError, match="the target must be a variable"):
        ops.assign(p, 1.0)


@pytest.mark.parametrize("value", [True, 3, 2.5, [1j], "text", [b"a\0", b"b"], np.zeros((0, 2), np.int8)])
def test_all_dtypes(graph: Graph, value: object) -> None:
    v = ops.variable(value)
    one = Session(graph, backend="numpy")
    np.testing.assert_array_equal(one.run(ops.identity(v)), one.run(ops.constant(value)))
    one.run(ops.assign(v, ops.identity(v)).op)
    np.testing.assert_array_equal(one.run(v), one.run(ops.constant(value)))


def test_what_a_session_gives_out_is_a_copy(graph: Graph, session: MakeSession) -> None:
    v = ops.variable([1.0, 2.0])
    up = ops.assign_add(v, [1.0, 1.0])
    one = session()
    for found in (one.run(v), one.variable_value(v), one.run(up), one.run(ops.identity(up))):
        found[...] = 99
    assert one.run(v).tolist() == [3, 4]
    with pytest.raises(FetchError, match="not a variable"):
        one.variable_value(up)


def test_many_threads_and_one_session(graph: Graph, session: MakeSession) -> None:
    """Each run reads one state: the two variables are always equal, whichever run stored them."""
    a, b = ops.variable(0.0), ops.variable(0.0)
    p = ops.placeholder("float32", [])
    store = ops.group(ops.assign(a, p), ops.assign(b, p))
    one = session()
    one.run(store, {p: 0})
    seen: list[bool] = []
    failures: list[BaseException] = []

    def work(i: int) -> None:
        try:
            for k in range(100):
                if i % 2:
                    one.run(store, {p: 100 * i + k})
                else:
                    x, y = one.run([a, b])
                    seen.append(bool(x == y))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert failures == []
    assert len(seen) == 200
    assert all(seen)


def test_a_variable_without_an_initial_value_says_so(graph: Graph) -> None:
    v = graph.create_op("VariableV2", (), {"dtype": np.dtype(np.float32), "shape": (2,)}, "v").outputs[0]
    one = Session(graph, backend="numpy")
    with pytest.raises(KigraphError, match="variable 'v' has no initial value"):
        one.run(v)
    assert one.run(v * 2.0, {v: [1, 2]}).tolist() == [2, 4]


def test_concurrent_updates_are_not_lost(session: MakeSession) -> None:
    v = ops.variable(np.int32(0))
    more = ops.assign_add(v, np.int32(1))
    one = session()
    threads = [threading.Thread(target=lambda: [one.run(more.op) for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.run(v) == 400
