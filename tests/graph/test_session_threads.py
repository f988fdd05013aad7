"""Sessions made by ``with_threads``: variables of their own."""

from __future__ import annotations

import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import FetchError
from kigraph.graph.session import Session


def test_variables_of_a_narrower_session_are_its_own() -> None:
    graph = Graph()
    with graph.as_default():
        v = ops.variable(1.0, name="v")
        step, seen = ops.assign_add(v, 1.0), v * 1.0
    first = Session(graph, backend="numpy")
    assert first.run(step) == 2
    second = first.with_threads(1)
    assert (second.run(seen), second.run(step), second.run(seen)) == (2, 3, 3)
    assert (first.run(seen), first.run(step), first.run(seen)) == (2, 3, 3)
    assert [second.run(step), second.run(seen), first.run(seen)] == [4, 4, 3]
    second.close()
    assert [first.run(step), first.run(seen)] == [4, 4]
    with pytest.raises(FetchError, match="closed"):
        second.run(seen)
