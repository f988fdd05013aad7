"""What can never run does not keep a file from loading: the error names the node when it is fetched, and feeds go past it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kigraph.graph.draw.html import to_html
from kigraph.graph.errors import GraphError
from kigraph.graph.loaders import load
from kigraph.graph.session import Session
from kigraph.kernels.errors import KigraphError
from tests.loaders.graph_files import Node, node, save

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        ([node("bad", "Neg", "b"), node("b", "Neg", "bad")], "the graph has a cycle: 'b' reads 'bad:0'"),
        ([node("bad", "Neg", "x", "^bad")], "cycle at 'bad'"),
        ([node("bad", "NextIteration", "b"), node("b", "Merge", "bad")], "cycle"),
        ([node("c", "Const", value=np.float32(1)), node("bad", "Relu", "c:1")], "'c:1' is read by 'bad', but 'c' has 1"),
    ],
)  # fmt: skip
def test_the_error_comes_with_the_fetch(tmp_path: Path, nodes: list[Node], found: str) -> None:
    path = save(
        tmp_path / "g.pb",
        node("x", "Placeholder", shape=(4, 3)),
        *nodes,
        node("y", "Neg", "bad"),
        node("z", "Neg", "x"),
    )
    graph = load(path).graph
    assert graph is not None
    assert "bad" in to_html(graph)
    with Session(graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run("z:0", {"x:0": X}), -X)
        np.testing.assert_array_equal(session.run("y:0", {"bad:0": X}), -X)
        for fetch in ("bad:0", "y:0"):
            with pytest.raises(KigraphError, match=found):
                session.run(fetch, {"x:0": X})


@pytest.mark.slow
def test_a_long_cycle(tmp_path: Path) -> None:
    nodes = [node(f"n{i}", "Neg", f"n{(i + 1) % 50_000}") for i in range(50_000)]
    graph = load(save(tmp_path / "g.pb", *nodes)).graph
    assert graph is not None
    with Session(graph, backend="numpy") as session, pytest.raises((GraphError, KigraphError), match="cycle") as error:
        session.run("n0:0")
    assert len(str(error.value)) < 1000
