"""Calls of functions in a graph's library: replaced by the nodes of the functions, within limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.builder import Graph
from kigraph.graph.errors import LoadError, UnsupportedOpError
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.session import Session
from tests.loaders.graph_files import F32, called, function, library, node, save

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
ADD = function("add", {"a": F32, "b": F32}, {"y": "s:z:0"}, node("s", "AddV2", "a", "b", T=F32))
TWICE = function(
    "twice", {"a": F32}, {"y": "more:y:0"}, node("c", "Const", value=np.float32(2)),
    node("m", "Mul", "a", "c:output:0"), node("more", "add", "m:z:0", "a"),
)  # fmt: skip


def graph(path: Path, *nodes: Any, functions: Any, limits: LoadLimits | None = None) -> Graph:
    found = load(save(path / "g.pb", *nodes, functions=functions), limits).graph
    assert found is not None
    return found


def run(graph: Graph, fetch: str, feeds: dict[str, Any]) -> Any:
    with Session(graph, backend="numpy") as session:
        return session.run(fetch, feeds)


def test_a_call_becomes_the_nodes_of_its_function(tmp_path: Path) -> None:
    g = graph(
        tmp_path, node("x", "Placeholder"), node("call", "StatefulPartitionedCall", "x", f=called("twice")),
        node("y", "Neg", "call"), functions=library(ADD, TWICE),
    )  # fmt: skip
    assert [op.name for op in g.operations] == ["x", "call/c", "call/m", "call/more/s", "call/more", "call", "y"]
    np.testing.assert_allclose(run(g, "y:0", {"x:0": X}), -3 * X, rtol=1e-6)
    np.testing.assert_array_equal(run(g, "y:0", {"call:0": X}), -X)
    np.testing.assert_array_equal(run(g, "call/m:0", {"x:0": X}), 2 * X)


def test_an_op_type_may_be_a_function(tmp_path: Path) -> None:
    g = graph(tmp_path, node("x", "Placeholder"), node("x2", "add", "x", "x:0"), functions=library(ADD))
    np.testing.assert_array_equal(run(g, "x2:0", {"x:0": X}), X + X)


def test_outputs_are_found_by_name(tmp_path: Path) -> None:
    best = function(
        "best", {"x": F32}, {"y": "i:y:0"}, node("k", "Const", value=np.int32(2)),
        node("top", "TopKV2", "x", "k:output:0"), node("i", "Cast", "top:indices:0", SrcT=np.dtype("int32"), DstT=F32),
    )  # fmt: skip
    g = graph(
        tmp_path, node("x", "Placeholder"), node("c", "PartitionedCall", "x", f=called("best")), functions=library(best)
    )
    np.testing.assert_array_equal(run(g, "c:0", {"x:0": X}), np.argsort(-X)[:, :2])


def test_attributes_are_bound(tmp_path: Path) -> None:
    from kigraph.graph.formats.tensorflow import AttrValue

    cast = function(
        "to", {"x": "T"}, {"y": "c:y:0"},
        node("c", "Cast", "x", SrcT=AttrValue(placeholder="T"), DstT=AttrValue(placeholder="U")), attrs=("T", "U"),
    )  # fmt: skip
    f64, i32 = np.dtype("float64"), np.dtype("int32")
    g = graph(
        tmp_path, node("x", "Placeholder"), node("a", "PartitionedCall", "x", f=called("to", T=F32, U=f64)),
        node("b", "to", "x", T=F32, U=i32), functions=library(cast),
    )  # fmt: skip
    assert run(g, "a:0", {"x:0": X}).dtype == f64
    assert run(g, "b:0", {"x:0": X}).dtype == i32


def test_what_cannot_be_replaced_says_why_when_it_is_fetched(tmp_path: Path) -> None:
    again = function("again", {"x": F32}, {"y": "c:output:0"}, node("c", "PartitionedCall", "x", f=called("again")))
    bad = function("bad", {"x": F32}, {"y": "n:z:0"}, node("n", "Neg", "nothing"))
    g = graph(
        tmp_path, node("x", "Placeholder"), node("recursive", "PartitionedCall", "x", f=called("again")),
        node("absent", "PartitionedCall", "x", f=called("gone")), node("few", "add", "x"), node("odd", "bad", "x"),
        node("fine", "Neg", "x"), node("past", "Neg", "absent"), functions=library(again, ADD, bad),
    )  # fmt: skip
    np.testing.assert_array_equal(run(g, "fine:0", {"x:0": X}), -X)
    np.testing.assert_array_equal(run(g, "past:0", {"absent:0": X}), -X)
    for name, why in (
        ("recursive", "calls itself"), ("past", "no function 'gone'"), ("few", "2 arguments"), ("odd", "'nothing'"),
    ):  # fmt: skip
        with pytest.raises(UnsupportedOpError, match=why):
            run(g, f"{name}:0", {"x:0": X})


def test_expansion_is_bounded(tmp_path: Path) -> None:
    """Each function calls the next one twice: 2^40 nodes."""
    functions = [
        function(f"f{i}", {"x": F32}, {"y": "b:y:0"}, node("a", f"f{i + 1}", "x"), node("b", f"f{i + 1}", "a:y:0"))
        for i in range(40)
    ]
    functions.append(function("f40", {"x": F32}, {"y": "n:y:0"}, node("n", "Neg", "x")))
    with pytest.raises(LoadError, match="more than 5,000 nodes"):
        graph(
            tmp_path, node("x", "Placeholder"), node("y", "f0", "x"), functions=library(*functions),
            limits=LoadLimits(max_nodes=5000),
        )  # fmt: skip


def test_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="unique names"):
        graph(tmp_path, node("x", "Placeholder"), functions=library(ADD, ADD))
