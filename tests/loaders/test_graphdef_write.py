"""Writing frozen GraphDefs: what was written loads again, and has what TensorFlow wants."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError
from kigraph.graph.ir import Literal
from kigraph.graph.loaders import load
from kigraph.graph.loaders.graphdef import Function
from kigraph.graph.writers.graphdef import save_graphdef
from kigraph.graph.writers.onnx import save_onnx

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


def test_attributes_are_written_as_the_kind_that_tensorflow_states(tmp_path: Path, tf_proto: SimpleNamespace) -> None:
    """bias=1 is a float there, is_training=0 a bool: TensorFlow refuses another kind."""
    with Graph().as_default() as graph:
        x = ops.placeholder("float32", (1, 2, 2, 3), name="x")
        ops.lrn(x, 4, bias=1, alpha=np.int64(2), name="y")
        c = ops.constant(np.ones(3, np.float32))
        graph.create_op("FusedBatchNorm", [x, c, c, c, c], {"epsilon": 1, "is_training": 0}, "n")
    save_graphdef(graph, tmp_path / "g.pb")
    proto = tf_proto.GraphDef.FromString((tmp_path / "g.pb").read_bytes())
    nodes = {n.name: n.attr for n in proto.node}
    kinds = {name: nodes[node][name].WhichOneof("value") for node, name in
             (("y", "bias"), ("y", "alpha"), ("y", "depth_radius"), ("n", "epsilon"), ("n", "is_training"))}  # fmt: skip
    assert kinds == {"bias": "f", "alpha": "f", "depth_radius": "i", "epsilon": "f", "is_training": "b"}


@pytest.mark.parametrize("number", [1e300, 2**200])
def test_numbers_beyond_float32_are_refused(tmp_path: Path, number: float) -> None:
    with Graph().as_default() as graph:
        ops.lrn(ops.placeholder("float32", (1, 2, 2, 3)), alpha=number, name="y")
    with pytest.raises(GraphError, match="LRN 'y': attribute alpha"):
        save_graphdef(graph, tmp_path / "g.pb")
    with pytest.raises(GraphError, match="LRN 'y': attribute alpha"):
        save_onnx(graph, tmp_path / "g.onnx")
    assert os.listdir(tmp_path) == []


def test_what_the_format_cannot_hold(tmp_path: Path) -> None:
    graph = Graph()
    graph.create_op("Mystery", (), {"x": object()}, "m")
    with pytest.raises(GraphError, match="attribute x"):
        save_graphdef(graph, tmp_path / "g.pb")
    assert os.listdir(tmp_path) == []
