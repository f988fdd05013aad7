"""The order of assignments in a run, next to a machine that runs one operation after the other."""

from __future__ import annotations

import random

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Operation, Tensor
from kigraph.graph.errors import FetchError
from kigraph.graph.session import Session


def _program(seed: int) -> tuple[Graph, Tensor, list[Tensor]]:
    """Two variables and a chain of reads and assignments, each behind the one before by a control edge."""
    choose = random.Random(seed)
    graph = Graph()
    with graph.as_default():
        variables = [ops.variable(float(i + 1), name=f"v{i}") for i in range(2)]
        made: list[Tensor] = []
        for i in range(12):
            with graph.control_dependencies([made[-1].op] if made else None):
                v = choose.choice(variables)
                value = made[-1] * 0.5 if made and choose.random() < 0.5 else ops.identity(v) + 1.0
                kind = choose.choice([ops.assign, ops.assign_add, ops.assign_sub, None])
                made.append(ops.identity(v * 3.0, name=f"n{i}") if kind is None else kind(v, value, name=f"n{i}"))
    return graph, made[-1], made


def _by_hand(graph: Graph, last: Tensor) -> dict[str, float]:
    """The state after all operations, in the order in which they were made."""
    state = {op.name: float(op.attrs["initial_value"].array()) for op in graph.operations if op.type == "VariableV2"}
    values: dict[Operation, float] = {}

    def read(t: Tensor) -> float:
        at = t
        while at.op.type in ("Identity", "Assign", "AssignAdd", "AssignSub"):
            at = at.op.inputs[0]
        return state[at.op.name] if at.op.type == "VariableV2" else values[t.op]

    for op in graph.operations:
        given = [read(t) for t in op.inputs]
        if op.type == "Const":
            values[op] = float(op.attrs["value"].array())
        elif op.type.startswith("Assign"):
            target = op.inputs[0].op.name
            new = {"Assign": given[1], "AssignAdd": given[0] + given[1], "AssignSub": given[0] - given[1]}[op.type]
            state[target] = values[op] = new
        elif op.type in ("Mul", "AddV2", "Add"):
            values[op] = given[0] * given[1] if op.type == "Mul" else given[0] + given[1]
        elif op.type == "Identity":
            values[op] = given[0]
    del last
    return state


@pytest.mark.parametrize("seed", range(25))
def test_a_chain_of_effects(seed: int) -> None:
    graph, last, _ = _program(seed)
    with Session(graph, backend="numpy") as sess:
        sess.run(last.op)
        found = {name: float(sess.variable_value(name)) for name in ("v0", "v1")}
    assert found == pytest.approx(_by_hand(graph, last), rel=1e-5)


def test_no_order_is_refused_only_where_two_assign() -> None:
    graph = Graph()
    with graph.as_default():
        v, w = ops.variable(1.0, name="v"), ops.variable(1.0, name="w")
        a, b, c = ops.assign(v, 2.0, name="a"), ops.assign(v, 3.0, name="b"), ops.assign(w, 4.0, name="c")
        with graph.control_dependencies([a, c]):
            both = ops.identity(v + w)
    with Session(graph, backend="numpy") as sess:
        assert sess.run(both) == 6
        with pytest.raises(FetchError, match=r"twice in no order \('a' and 'b'\)"):
            sess.run([a, b])
        np.testing.assert_equal([float(sess.variable_value(n)) for n in "vw"], [2, 4])
