"""Attributes of a file's nodes: hints are ignored, what is not known is refused by name, and only when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.draw import to_dot, to_html, to_svg
from kigraph.graph.errors import GraphError, UnsupportedOpError
from kigraph.graph.loaders import load
from kigraph.graph.session import Session
from kigraph.graph.writers.graphdef import save_graphdef
from kigraph.kernels.errors import KigraphError

Make = Callable[..., Graph]
F32, F64, I32 = (np.dtype(t) for t in ("float32", "float64", "int32"))
NUMBERS = {F32: 1, F64: 2, I32: 3, np.dtype(np.int64): 9, np.dtype(bool): 10}


def _fill(attr: Any, value: Any) -> None:
    if isinstance(value, bool):
        attr.b = value
    elif isinstance(value, int):
        attr.i = value
    elif isinstance(value, float):
        attr.f = value
    elif isinstance(value, str):
        attr.s = value.encode()
    elif isinstance(value, np.dtype):
        attr.type = NUMBERS[value]
    elif isinstance(value, np.ndarray):
        attr.tensor.dtype, attr.tensor.tensor_content = NUMBERS[value.dtype], value.tobytes()
        for d in value.shape:
            attr.tensor.tensor_shape.dim.add(size=d)
    elif callable(value):
        value(attr)
    else:
        attr.list.i.extend(value)


@pytest.fixture
def make(tf_proto: SimpleNamespace, write: Callable[..., Path]) -> Make:
    """make((name, op, inputs, attrs), ...) -> the loaded graph; x is a float32 placeholder of shape (2, 5, 4, 4)."""

    def build(*nodes: tuple[str, str, list[str], dict[str, Any]], shape: tuple[int, ...] = (2, 5, 4, 4)) -> Graph:
        graph = tf_proto.GraphDef()

        def sizes(attr: Any) -> None:
            for d in shape:
                attr.shape.dim.add(size=d)

        for name, op, inputs, attrs in (("x", "Placeholder", [], {"dtype": F32, "shape": sizes}), *nodes):
            node = graph.node.add(name=name, op=op, input=inputs)
            for key, value in attrs.items():
                _fill(node.attr[key], value)
        graph.versions.producer = 1000
        loaded = load(write(graph.SerializeToString(), "graph.pb")).graph
        assert loaded is not None
        return loaded

    return build


def _negative_shape(attr: Any) -> None:
    for size in (-2, -130, -131, -129):
        attr.list.shape.add().dim.add(size=size)


HINTS: list[Any] = [
    _negative_shape, lambda attr: None, lambda attr: setattr(attr, "placeholder", "T"), 7, "text",
    lambda attr: attr.list.tensor.add(dtype=99), lambda attr: attr.tensor.tensor_shape.dim.add(size=1 << 62),
]  # fmt: skip


@pytest.mark.parametrize("value", HINTS)
def test_hints_are_ignored_whatever_they_hold(make: Make, value: Any) -> None:
    hints = {"_input_shapes": value, "_class": value, "_output_shapes": value, "_XlaCompile": value}
    graph = make(("y", "Neg", ["x"], {"T": F32, **hints}), ("z", "Mystery", ["y"], hints))
    x = np.ones((2, 5, 4, 4), np.float32)
    with Session(graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run("y:0", {"x:0": x}), -x)
    assert "Mystery" in to_svg(graph)


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "found"),
    [
        ("Neg", ["x"], {"T": F32, "slope": 2.0}, "Neg 'y': attribute slope = 2.0 is not known.*Neg has: T"),
        ("Conv2D", ["x", "x"], {"T": F32, "activation": "relu"}, "attribute activation = 'relu'"),
        ("Sum", ["x", "axes"], {"keepdims": True}, "attribute keepdims"),
        ("Squeeze", ["x"], {"axis": [0]}, "attribute axis"),
        ("Softmax", ["x"], {"T": F32, "axis": 1}, r"attribute axis = 1 is not known.*Softmax has: T\."),
        ("LogSoftmax", ["x"], {"axis": 0}, "attribute axis"),
        ("MatMul", ["m", "m"], {"bias": True}, "attribute bias"),
        (
            "AvgPool",
            ["x"],
            {"ksize": [1, 1, 1, 1], "strides": [1, 1, 1, 1], "padding": "SAME", "count_include_pad": True},
            "attribute count_include_pad = True",
        ),
        ("Shape", ["x"], {"out_type": F32}, "out_type = float32 is not supported; possible: int32, int64"),
        ("ArgMax", ["x", "axes"], {"output_type": F64}, "output_type = float64"),
        ("MirrorPad", ["m", "pads"], {"mode": "WRAP"}, "mode = 'WRAP'.*possible: 'REFLECT', 'SYMMETRIC'"),
        ("VariableV2", [], {"dtype": F32, "shape": lambda a: a.shape.dim.add(size=2), "mark": "v"}, "attribute mark = 'v'"),
        ("Const", [], {"dtype": F32, "value": np.ones(2, np.float32), "mark": 1}, "Const has: dtype, value"),
    ],
)  # fmt: skip
def test_what_is_not_known_or_not_served_is_refused_where_it_is_needed(
    make: Make, op: str, inputs: list[str], attrs: dict[str, Any], found: str
) -> None:
    constants = {"axes": np.array([1], np.int32), "m": np.eye(2, dtype=np.float32), "pads": np.ones((2, 2), np.int32)}
    graph = make(
        *((name, "Const", [], {"dtype": value.dtype, "value": value}) for name, value in constants.items()),
        ("y", op, inputs, attrs), ("z", "Identity", ["y"], {}), ("other", "Neg", ["x"], {}),
    )  # fmt: skip
    assert op in to_html(graph)
    assert op in to_dot(graph)
    feed = {"x:0": np.ones((2, 5, 4, 4), np.float32)}
    with Session(graph, backend="numpy") as session:
        for fetch in ("y:0", "z:0"):
            with pytest.raises((UnsupportedOpError, GraphError), match=found):
                session.run(fetch, feed)
        assert session.run("other:0", feed).shape == (2, 5, 4, 4)
        np.testing.assert_array_equal(session.run("z:0", {"y:0": np.float32(3)}), 3)


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "found"),
    [
        ("Neg", ["x"], {"T": I32}, "attribute T is int32, but input 0 is float32"),
        ("Cast", ["x"], {"SrcT": I32, "DstT": F64}, "SrcT is int32"),
        ("Pack", ["x", "x"], {"N": 3}, "attribute N is 3, but it has 2"),
        ("Neg", ["x"], {"T": 1}, "attribute T must be an element type, got 1"),
        ("MatMul", ["x", "x"], {"transpose_a": "false"}, "transpose_a must be True or False, got 'false'"),
        ("Unpack", ["x"], {"num": 2, "axis": 0.5}, "axis must be an integer"),
        ("FusedBatchNorm", ["x"] * 5, {"epsilon": "small"}, "epsilon must be a number"),
    ],
)
def test_what_contradicts_itself_is_the_error_of_a_run(
    make: Make, op: str, inputs: list[str], attrs: dict[str, Any], found: str
) -> None:
    graph = make(("y", op, inputs, attrs))
    with Session(graph, backend="numpy") as session, pytest.raises(KigraphError, match=found):
        session.run("y:0", {"x:0": np.ones((2, 5, 4, 4), np.float32)})


NORM = {"T": F32, "U": F32, "epsilon": 0.001, "data_format": "NCHW", "is_training": False}
CONV = {"T": F32, "strides": [1, 1, 1, 1], "padding": "SAME", "data_format": "NCHW"}
POOL = {"T": F32, "ksize": [1, 1, 2, 2], **CONV}


def test_a_node_that_could_not_be_typed_breaks_no_pass(make: Make) -> None:
    """An op of unknown outputs before one that forwards inputs, has several outputs, or is folded."""
    one = np.ones(5, np.float32)
    graph = make(
        ("one", "Const", [], {"dtype": F32, "value": one}), ("zero", "Const", [], {"dtype": F32, "value": 0 * one}),
        ("axis", "Const", [], {"dtype": I32, "value": np.array(0, np.int32)}),
        ("odd", "Mystery", ["x"], {}),
        ("norm", "FusedBatchNormV3", ["odd", "one", "zero", "zero", "one"], {**NORM, "data_format": "NHWC"}),
        ("split", "Split", ["axis", "odd"], {"num_split": 2, "T": F32}),
        ("y", "Add", ["norm", "odd"], {"T": F32}),
        ("z", "Neg", ["split:1"], {"T": F32}), ("too_far", "Neg", ["split:4"], {"T": F32}),
    )  # fmt: skip
    feed = {"x:0": np.ones((2, 5, 4, 4), np.float32)}
    value = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    with Session(graph, backend="numpy") as session:
        for fetch in ("y:0", "z:0", "norm:0"):
            with pytest.raises(UnsupportedOpError, match="'Mystery'"):
                session.run(fetch, feed)
        y, z = session.run(["y:0", "z:0"], {"odd:0": value})
        np.testing.assert_allclose(y, value / np.sqrt(1.001) + value, rtol=1e-6)
        np.testing.assert_array_equal(z, -value[1:])
        with pytest.raises(GraphError, match=r"Split 'split' has 2 outputs; there is no 'split:4'"):
            session.run("too_far:0", {"odd:0": value})


def test_own_attributes_live_under_own_types_in_files(tmp_path: Path, tf_proto: SimpleNamespace) -> None:
    """TensorFlow has no softmax along an axis; a file must not say that it has."""
    rng = np.random.default_rng(1)
    value = rng.normal(size=(1, 4, 6, 3)).astype(np.float32)
    with Graph().as_default() as graph:
        x = ops.placeholder("float32", (None, 4, 6, 3), name="x")
        ops.softmax(x, name="last")
        ops.softmax(x, axis=1, name="other")
        ops.log_softmax(x, axis=2, name="log")
        ops.avg_pool(x, 3, 1, [[1, 1], [1, 1]], count_include_pad=True, name="counted")
        ops.avg_pool(x, 3, 1, "SAME", name="plain")
        ops.assign(ops.variable(np.float32(3), name="v"), 4.0, name="w")
    save_graphdef(graph, tmp_path / "g.pb")
    written = tf_proto.GraphDef.FromString((tmp_path / "g.pb").read_bytes())
    types = {n.name: n.op for n in written.node}
    assert {k: types[k] for k in ("last", "other", "log", "counted", "plain", "v")} == {
        "last": "Softmax", "other": "KiSoftmax", "log": "KiLogSoftmax", "counted": "KiAvgPool", "plain": "AvgPool",
        "v": "KiVariableV2",
    }  # fmt: skip
    assert "axis" not in next(n for n in written.node if n.name == "last").attr
    again = load(tmp_path / "g.pb").graph
    assert again is not None
    fetches = ["last:0", "other:0", "log:0", "counted:0", "plain:0", "v:0"]
    with Session(graph, backend="numpy") as one, Session(again, backend="numpy") as two:
        for a, b in zip(one.run(fetches, {"x:0": value}), two.run(fetches, {"x:0": value}), strict=True):
            np.testing.assert_array_equal(a, b)


def test_shapes_that_are_computed_agree_with_their_types(make: Make) -> None:
    """Flatten as Keras writes it: the sizes that a slice takes of a shape are computed while the file is read."""
    graph = make(
        ("shape", "Shape", ["x"], {"T": F32, "out_type": I32}),
        *(
            (name, "Const", [], {"dtype": I32, "value": np.array(value, np.int32)})
            for name, value in {"zero": [0], "one": [1], "rest": -1}.items()
        ),
        ("batch", "StridedSlice", ["shape", "zero", "one", "one"], {"T": I32, "Index": I32, "shrink_axis_mask": 1}),
        ("sizes", "Pack", ["batch", "rest"], {"T": I32, "N": 2, "axis": 0}),
        ("y", "Reshape", ["x", "sizes"], {"T": F32, "Tshape": I32}), shape=(-1, 3, 2),
    )  # fmt: skip
    assert graph.tensor("y").shape == (None, None)
    x = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    with Session(graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run("y:0", {"x:0": x}), x.reshape(4, 6))
