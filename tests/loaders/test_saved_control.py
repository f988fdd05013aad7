"""SavedModels with branches and loops whose functions read variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.loaders import load
from tests.loaders import bundle_files as made
from tests.loaders.graph_files import BOOL, F32, I32, called, function, library, node, types
from tests.loaders.saved_files import RNG, handles

TABLE = RNG.standard_normal((5, 3)).astype("f4")
X = RNG.standard_normal((2, 3)).astype("f4")
ROWS = np.array([4, 1], "i4")


@pytest.fixture
def graph(tmp_path: Path) -> ki.Graph:
    """If: rows of the variable or its sum with x; While: adds the variable's first row three times."""
    then = handles(
        function(
            "then", {"x": F32, "w": F32, "i": I32}, {"y": "g:output:0"},
            node("g", "ResourceGather", "w", "i", dtype=F32, Tindices=I32, batch_dims=0, validate_indices=True),
        )
    )  # fmt: skip
    other = handles(
        function(
            "other", {"x": F32, "w": F32, "i": I32}, {"y": "s:z:0"},
            node("r", "ReadVariableOp", "w", dtype=F32), node("a", "Const", value=np.int32([0])),
            node("m", "Sum", "r:value:0", "a:output:0", T=F32, Tidx=I32), node("s", "AddV2", "x", "m:output:0", T=F32),
        )
    )  # fmt: skip
    cond = handles(
        function(
            "cond", {"n": I32, "x": F32, "w": F32}, {"y": "l:z:0"},
            node("three", "Const", value=np.int32(3)), node("l", "Less", "n", "three:output:0", T=I32),
        )
    )  # fmt: skip
    body = function(
        "body", {"n": I32, "x": F32, "w": F32}, {"n_out": "a:z:0", "x_out": "s:z:0", "w_out": "w"},
        node("one", "Const", value=np.int32(1)), node("a", "AddV2", "n", "one:output:0", T=I32),
        node("zero", "Const", value=np.int32(0)),
        node("g", "ResourceGather", "w", "zero:output:0", dtype=F32, Tindices=I32, batch_dims=0, validate_indices=True),
        node("s", "AddV2", "x", "g:output:0", T=F32),
    )  # fmt: skip
    nodes = [
        node("table", "VarHandleOp", dtype=F32, shape=(5, 3), shared_name="table"),
        node("x", "Placeholder", shape=(None, 3)),
        node("p", "Placeholder", dtype=BOOL, shape=()),
        node("i", "Placeholder", dtype=I32, shape=(None,)),
        node(
            "if", "If", "p", "x", "table", "i", then_branch=called("then"), else_branch=called("other"), Tout=types(F32)
        ),
        node("zero", "Const", value=np.int32(0)),
        node("while", "StatelessWhile", "zero", "x", "table", cond=called("cond"), body=called("body")),
    ]
    ends = ({"x": "x:0", "p": "p:0", "i": "i:0"}, {"branch": "if:0", "loop": "while:1"})
    meta = made.meta_graph(nodes, {"serving_default": ends}, library(then, other, cond, handles(body)))
    found = load(made.saved_model(tmp_path / "m", meta, arrays={"table": TABLE})).graph
    assert found is not None
    return found


def test_branches(graph: ki.Graph) -> None:
    session = ki.Session(graph, backend="numpy")
    feeds = {"x": X, "i": ROWS}
    np.testing.assert_array_equal(session.run("branch", {**feeds, "p": np.array(True)}), TABLE[ROWS])
    np.testing.assert_allclose(session.run("branch", {**feeds, "p": np.array(False)}), X + TABLE.sum(0), rtol=1e-5)


def test_loops(graph: ki.Graph) -> None:
    found = ki.Session(graph, backend="numpy").run("loop", {"x": X})
    np.testing.assert_allclose(found, X + 3 * TABLE[0], rtol=1e-5)
