"""Switch and Merge: constants, fed and computed predicates; the dead side never runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Operation, Tensor
from kigraph.graph.errors import FeedError, FetchError, GraphError, UnsupportedOpError
from kigraph.graph.session import Session

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
F = np.float32


def op(type: str, *inputs: Tensor, name: str | None = None, control: Any = None, count: int | None = None) -> Operation:
    graph = inputs[0].graph
    return graph.create_op(type, list(inputs), {}, name, control, count)


def cond(p: Tensor, data: Tensor, then: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]) -> Operation:
    """As tf.cond writes it."""
    switch = op("Switch", data, p)
    return op("Merge", other(switch.outputs[0]), then(switch.outputs[1]), count=2)


def unknown(x: Tensor) -> Tensor:
    return op("Mystery", x).outputs[0]


@pytest.fixture
def x() -> Any:
    with Graph().as_default():
        yield ops.placeholder("float32", (None, 3), name="x")


def test_a_default_decides_unless_it_is_fed(x: Tensor) -> None:
    train = ops.placeholder_with_default(np.array(False), (), name="train")
    y = cond(train, x, unknown, ops.negative)
    ops.identity(y.outputs[0], name="y")
    ops.identity(y.outputs[1], name="which")
    with Session(x.graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run("y:0", {x: X}), -X)
        assert session.run("which:0", {x: X}) == 0
        assert session.run(y.outputs[1], {x: X}).dtype == np.int32
        with pytest.raises(UnsupportedOpError, match="Mystery"):
            session.run("y:0", {x: X, "train:0": True})
        np.testing.assert_array_equal(session.run("y:0", {x: X, "train:0": False}), -X)
        np.testing.assert_array_equal(session.run("y:0", {x: X, "Mystery:0": F(3), "train:0": True}), 3)


@pytest.mark.parametrize("turned", [False, True])
def test_a_fed_predicate_belongs_to_the_key_of_a_plan(x: Tensor, turned: bool) -> None:
    p = ops.placeholder("bool", (), name="p")
    pred = ops.logical_not(ops.identity(p)) if turned else p
    y = cond(pred, x, ops.exp, ops.negative).outputs[0]
    with Session(x.graph, backend="numpy") as session:
        for value in (True, False, True, False):
            want = np.exp(X) if value ^ turned else -X
            np.testing.assert_allclose(session.run(y, {x: X, p: value}), want, rtol=1e-6)
        with pytest.raises(FetchError, match="placeholder 'p'"):
            session.run(y, {x: X})
        with pytest.raises(FeedError):
            session.run(y, {x: X, p: [True, False]})
        with pytest.raises(FetchError, match="depends on the value of 'p:0'"):
            session.optimized(y, [x, p])


def test_constants_on_the_sides_are_live_by_their_control_inputs(x: Tensor) -> None:
    p = ops.placeholder("bool", (), name="p")
    switch = op("Switch", p, p)
    no, yes = (op("Identity", t) for t in switch.outputs)
    graph = x.graph
    with graph.control_dependencies([yes]):
        one = ops.constant(F(1))
    with graph.control_dependencies([no]):
        two = ops.constant(F(2))
    y = op("Merge", two, one).outputs[0]
    with Session(graph, backend="numpy") as session:
        assert session.run(y, {p: True}) == 1
        assert session.run(y, {p: False}) == 2
        with pytest.raises(FetchError, match="not taken"):
            session.run(one, {p: False})
        with pytest.raises(FetchError, match="not taken"):
            session.run(switch.outputs[0], {p: True})


def test_computed_predicates_nested(x: Tensor) -> None:
    total = ops.reduce_sum(x)
    large = ops.greater(total, F(10))
    small = ops.less(total, F(-10))

    def middle(t: Tensor) -> Tensor:
        inner = op("Switch", small, large).outputs[0]
        return cond(inner, t, ops.abs, ops.square).outputs[0]

    y = ops.identity(cond(large, x, ops.exp, middle).outputs[0], name="y")
    with Session(x.graph, backend="numpy") as session:
        for value, want in ((np.full((5, 3), 1, F), np.exp), (np.full((5, 3), -1, F), np.abs), (X, np.square)):
            np.testing.assert_allclose(session.run(y, {x: value}), want(value), rtol=1e-6)
        np.testing.assert_allclose(session.run(y, {x: X, large: True}), np.exp(X), rtol=1e-6)


def test_what_leads_to_a_predicate_is_computed_once(x: Tensor) -> None:
    root = ops.sqrt(x, name="root")
    y = cond(ops.greater(ops.reduce_sum(root), F(0)), root, ops.exp, ops.negative).outputs[0]
    with Session(x.graph, backend="numpy") as session:
        np.testing.assert_allclose(session.run(y, {x: X * X}), np.exp(np.abs(X)), rtol=1e-6)
        plans = [plan for _, plan in session._runner.plans.items()]
        assert sum("Sqrt" in plan.explain() for plan in plans) == 1


def test_variables_that_a_predicate_reads(x: Tensor) -> None:
    v = ops.variable(F(1), name="v")
    y = cond(ops.greater(v, F(0)), x, ops.exp, ops.negative).outputs[0]
    with Session(x.graph, backend="numpy") as session:
        np.testing.assert_allclose(session.run(y, {x: X}), np.exp(X), rtol=1e-6)
        session.set_variables({"v": F(-1)})
        np.testing.assert_array_equal(session.run(y, {x: X}), -X)


@pytest.mark.parametrize("skip", [(), ("resolve_identities",)])
def test_print_hands_its_first_input_on(x: Tensor, skip: tuple[str, ...]) -> None:
    y = ops.negative(op("Print", x, ops.constant(F(1))).outputs[0])
    with Session(x.graph, backend="numpy", skip_passes=skip) as session:
        np.testing.assert_array_equal(session.run(y, {x: X}), -X)


def test_wrong_branches(x: Tensor) -> None:
    with pytest.raises(GraphError, match="takes 2 inputs"):
        op("Switch", x)
    odd = op("Merge", ops.negative(x), ops.exp(x)).outputs[0]
    with Session(x.graph, backend="numpy") as session, pytest.raises(FetchError, match="2 live inputs"):
        session.run(odd, {x: X})


def test_a_long_chain_of_branches_does_not_recurse(x: Tensor) -> None:
    p = ops.placeholder("bool", (), name="p")
    y = x
    for _ in range(400):
        y = cond(p, y, ops.negative, ops.identity).outputs[0]
    with Session(x.graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run(y, {x: X, p: False}), X)
