"""The table of attributes: what TensorFlow says of its ops, and that every op has a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError, UnsupportedOpError
from kigraph.graph.opdefs import OPDEFS
from kigraph.graph.opdefs.attributes import REQUIRED

FACTS: dict[str, dict[str, list[Any]]] = json.loads(
    (Path(__file__).parents[1] / "interop" / "tensorflow_ops.json").read_text()
)
TENSORFLOWS = sorted(op for op in OPDEFS if not op.startswith("Ki"))


def _plain(value: Any) -> Any:
    if isinstance(value, np.dtype):
        return value.name
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("op", TENSORFLOWS)
def test_every_op_has_the_attributes_that_tensorflow_gives_it(op: str) -> None:
    known = {name: a for name, a in OPDEFS[op].attributes.items() if not a.own}
    assert set(known) == set(FACTS[op])
    for name, (kind, *rest) in FACTS[op].items():
        rule = known[name]
        assert rule.kind == kind, name
        if len(rest) == 1 or (len(rest) == 2 and rest[0] is not None):
            assert _plain(rule.default) == rest[0], name
        elif not rest:
            assert rule.default is REQUIRED, name
        if rule.allowed and len(rest) == 2:
            assert {_plain(a) for a in rule.allowed} <= set(rest[1]), name


def test_own_attributes_are_not_tensorflows() -> None:
    for op in TENSORFLOWS:
        assert not {n for n, a in OPDEFS[op].attributes.items() if a.own} & set(FACTS[op])


def test_types_that_repeat_an_input_point_at_one() -> None:
    for op, definition in OPDEFS.items():
        most = definition.arity[1]
        for name, rule in definition.attributes.items():
            assert rule.of is None or rule.kind == "type", (op, name)
            assert rule.of is None or most is None or rule.of < most, (op, name)


def test_building_refuses_what_an_op_does_not_have(graph: Graph) -> None:
    x = ops.constant(np.ones((2, 3), np.float32))
    with pytest.raises(UnsupportedOpError, match=r"attribute alpha = 0\.2 is not known"):
        graph.create_op("Relu", [x], {"alpha": 0.2})
    with pytest.raises(GraphError, match="attribute T is int32, but input 0 is float32"):
        graph.create_op("Relu", [x], {"T": np.dtype(np.int32)})
    graph.create_op("Relu", [x], {"T": np.dtype(np.float32), "_hint": object()})
