"""Frozen GraphDefs of graphs that other formats made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError, LoadError
from kigraph.graph.ir import Graph as Frozen
from kigraph.graph.loaders import load
from kigraph.graph.session import Session
from kigraph.graph.signatures import SIGNATURES, Signature
from kigraph.graph.writers.graphdef import save_graphdef
from kigraph.kernels.tensor import STRING


def test_the_name_of_a_program_is_no_version(tmp_path: Path) -> None:
    with Graph().as_default() as graph:
        ops.relu(ops.placeholder("float32", (2,), name="x"), name="y")
    graph.metadata["producer"] = "pytorch 2.0"
    save_graphdef(graph, tmp_path / "g.pb")
    again = load(tmp_path / "g.pb").graph
    assert again is not None
    assert again.metadata["producer"] == 27


def test_types_that_are_not_those_of_input_0(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, 3, 4, 2)).astype(np.float32)
    with Graph().as_default() as graph:
        given = ops.placeholder("float32", x.shape, name="x")
        sizes, w = ops.constant(np.array([1, 6, 8, 3], np.int32)), rng.standard_normal((2, 2, 3, 2)).astype(np.float32)
        attrs = {"strides": (1, 2, 2, 1), "padding": "SAME"}
        y = graph.create_op("Conv2DBackpropInput", [sizes, ops.constant(w), given], attrs, "y").outputs[0]
        low, high = (ops.constant(np.array(v, np.float32)) for v in (-1, 1))
        graph.create_op("FakeQuantWithMinMaxVars", [y, low, high], {}, "z")
    save_graphdef(graph, tmp_path / "g.pb")
    again = load(tmp_path / "g.pb").graph
    assert again is not None
    want = Session(graph, backend="numpy").run("z:0", {"x:0": x})
    np.testing.assert_array_equal(Session(again, backend="numpy").run("z:0", {"x:0": x}), want)


def test_a_branch_that_reads_what_nothing_gives_is_refused_by_name(tmp_path: Path) -> None:
    with Graph().as_default() as inner:
        ops.placeholder("float32", (), name="one")
    frozen = inner.freeze()
    branch = Frozen(frozen.nodes, outputs=(inner.tensor("one:0").port,))
    with Graph().as_default() as graph:
        which = ops.placeholder("bool", (), name="which")
        attrs = {"branches": (branch, branch), "branch_inputs": ((), ())}
        graph.create_op("KiBranch", [which], attrs, "choice")
    with pytest.raises(GraphError, match="'one' in branch_0 of 'choice' is an input that nothing gives"):
        save_graphdef(graph, tmp_path / "g.pb")
    assert not list(tmp_path.iterdir())


def _signed(path: Path, text: bytes) -> Path:
    with Graph().as_default() as graph:
        ops.relu(ops.placeholder("float32", (2,), name="x"), name="y")
        ops.constant(np.array(text, object), STRING, name=SIGNATURES)
    save_graphdef(graph, path)
    return path


def test_signatures_are_kept(tmp_path: Path) -> None:
    """Names that no operation may have, in the order of the file."""
    with Graph().as_default() as graph:
        x, y = (ops.placeholder("float32", (2,), name=n) for n in "ab")
        ops.add(x, y, name="c")
    graph.signatures["serving_default"] = Signature({"second:1": "b:0", "first": "a:0"}, {"sum of both": "c:0"})
    save_graphdef(graph, tmp_path / "g.pb")
    again = load(tmp_path / "g.pb").graph
    assert again is not None
    assert again.signatures == graph.signatures
    assert list(again.signatures["serving_default"].inputs) == ["second:1", "first"]
    got = Session(again).run("sum of both", {"second:1": [1, 2], "first": [3, 4]})
    np.testing.assert_array_equal(got, [4, 6])
    save_graphdef(again, tmp_path / "h.pb")
    assert (tmp_path / "h.pb").read_bytes() == (tmp_path / "g.pb").read_bytes()


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a": 1}', b'{"a": {"inputs": {}, "outputs": {"y": 1}}}',
     b'{"a": {"inputs": {}, "outputs": {"y": "z:0"}}}', b'{"a": {"inputs": {"x": "x:7"}, "outputs": {}}}'],
)  # fmt: skip
def test_damaged_signatures_are_refused(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="kigraph/signatures"):
        load(_signed(tmp_path / "g.pb", text))


def test_a_name_of_two_tensors_is_no_alias(tmp_path: Path) -> None:
    with Graph().as_default() as graph:
        x = ops.placeholder("float32", (2,), name="x")
        ops.relu(x, name="y")
        ops.tanh(x, name="z")
    graph.signatures.update(one=Signature({"in": "x:0"}, {"out": "y:0"}), two=Signature({"in": "x:0"}, {"out": "z:0"}))
    save_graphdef(graph, tmp_path / "g.pb")
    again = load(tmp_path / "g.pb").graph
    assert again is not None
    assert again.aliases == {"in": "x:0"}
    assert again.signatures == graph.signatures
    graph.signatures["serving_default"] = graph.signatures["two"]
    save_graphdef(graph, tmp_path / "g.pb")
    again = load(tmp_path / "g.pb").graph
    assert again is not None
    assert again.aliases == {"in": "x:0", "out": "z:0"}
