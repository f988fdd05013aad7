"""Writing frozen GraphDefs: what was written loads again, and has what TensorFlow wants."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError
from kigraph.graph.ir import Literal
from kigraph.graph.loaders import load
from kigraph.graph.loaders.graphdef import Function
from kigraph.graph.writers.graphdef import save_graphdef

FLOAT = np.dtype(np.float32)


def _sample() -> Graph:
    graph = Graph()
    graph.metadata["producer"] = 21
    values = np.random.default_rng(0).standard_normal((2, 3000)).astype(np.float32)
    strings = np.array([b"a", b"\xff", b""], object)
    x = graph.create_op("Placeholder", (), {"dtype": FLOAT, "shape": (None, 2)}, "x").outputs[0]
    w = graph.create_op("Const", (), {"value": Literal.of(values)}, "scope/w").outputs[0]
    s = graph.create_op("Const", (), {"value": Literal.of(strings)}, "s")
    y = graph.create_op("MatMul", [x, w], {"transpose_a": False, "transpose_b": False}, "y", [s]).outputs[0]
    axis = graph.create_op("Const", (), {"value": Literal.of(np.array(1, np.int32))}, "axis").outputs[0]
    graph.create_op("ConcatV2", [y, y, axis], {}, "z")
    extra = {"a": (1, 2), "b": (), "c": 1.5, "d": (True,), "e": None, "f": "text", "g": (FLOAT,), "h": Function("f")}
    graph.create_op("Mystery", [y], extra, "m", num_outputs=3)
    return graph


def test_written_graphs_load_again(tmp_path: Path) -> None:
    graph = _sample()
    save_graphdef(graph, tmp_path / "g.pb")
    assert os.listdir(tmp_path) == ["g.pb"]
    again = load(tmp_path / "g.pb").graph
    assert again is not None
    assert again.metadata["producer"] == 21
    assert [(o.name, o.type) for o in again.operations] == [(o.name, o.type) for o in graph.operations]
    for old, new in zip(graph.operations, again.operations, strict=True):
        assert [t.name for t in new.inputs] == [t.name for t in old.inputs]
        assert [c.name for c in new.control_inputs] == [c.name for c in old.control_inputs]
        for name, value in old.attrs.items():
            if isinstance(value, Literal):
                np.testing.assert_array_equal(new.attrs[name].array(), value.array())
            else:
                assert new.attrs[name] == value, name
    save_graphdef(again, tmp_path / "h.pb")
    assert (tmp_path / "h.pb").read_bytes() == (tmp_path / "g.pb").read_bytes()


def test_type_attributes_that_tensorflow_wants_are_added(tmp_path: Path, tf_proto: SimpleNamespace) -> None:
    save_graphdef(_sample(), tmp_path / "g.pb")
    nodes = {n.name: n for n in tf_proto.GraphDef.FromString((tmp_path / "g.pb").read_bytes()).node}
    assert nodes["y"].attr["T"].type == 1
    assert list(nodes["y"].input) == ["x", "scope/w", "^s"]
    assert {k: v.i or v.type for k, v in nodes["z"].attr.items()} == {"N": 2, "T": 1, "Tidx": 3}
    assert nodes["scope/w"].attr["dtype"].type == 1
    assert nodes["x"].attr["shape"].shape.dim[0].size == -1


def test_what_the_format_cannot_hold(tmp_path: Path) -> None:
    graph = Graph()
    graph.create_op("Mystery", (), {"x": object()}, "m")
    with pytest.raises(GraphError, match="attribute x"):
        save_graphdef(graph, tmp_path / "g.pb")
    assert os.listdir(tmp_path) == []
