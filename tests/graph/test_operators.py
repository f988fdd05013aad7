"""Operators on tensors, and what is refused while a graph is built: the kind of error and what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError
from kigraph.graph.session import Session
from kigraph.kernels.errors import DTypeError, KigraphError, ShapeError


def test_tensors_are_not_values(graph: Graph) -> None:
    x = ops.placeholder("float32", [2])
    for use in (bool, len, iter, np.asarray, lambda t: np.add(np.ones(2), t)):
        with pytest.raises(TypeError, match=r"Placeholder|ufunc"):
            use(x)
    assert x == graph.tensor(x.name)
    assert x != ops.identity(x)
    assert len({x, x}) == 1


X = np.array([[1.5, -2.0, 3.0], [0.5, 4.0, 7.0]], np.float32)
Y = np.array([2.0, 3.0, -4.0], np.float32)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, y: x + y,
        lambda x, y: x - y,
        lambda x, y: x * y,
        lambda x, y: x / y,
        lambda x, y: x // y,
        lambda x, y: x % y,
        lambda x, y: abs(x) ** y,
        lambda x, y: x < y,
        lambda x, y: x <= y,
        lambda x, y: x > y,
        lambda x, y: x >= y,
        lambda x, y: (x > 0) & (y > 0),
        lambda x, y: (x > 0) | (y > 0),
        lambda x, y: ~(x > y),
        lambda x, y: -(x + y),
        lambda x, y: x @ y[:, None],
    ],
)
def test_operators_on_tensors_numbers_and_arrays(graph: Graph, formula: Callable[[Any, Any], Any]) -> None:
    x, y = ops.placeholder("float32", [2, 3]), ops.placeholder("float32", [3])
    session = Session(graph, backend="numpy")
    for left, right in ((x, y), (x, Y), (X, y)):
        made = formula(left, right)
        assert isinstance(made, Tensor)
        np.testing.assert_allclose(session.run(made, {x: X, y: Y}), formula(X, Y), rtol=1e-6)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (lambda x: 2 + x, 2 + X),
        (lambda x: 2.5 - x, 2.5 - X),
        (lambda x: 3 * x, 3 * X),
        (lambda x: 1 / x, 1 / X),
        (lambda x: 7 // x, 7 // X),
        (lambda x: 7 % x, 7 % X),
        (lambda x: 2**x, 2**X),
        (lambda x: np.float32(2) * x, 2 * X),
        (lambda x: np.float32(2) < x, 2 < X),  # noqa: SIM300
        (lambda x: 1 < x, 1 < X),  # noqa: SIM300
        (lambda x: True & (x > 1), X > 1),
        (lambda x: np.array(False) | (x > 1), X > 1),
    ],
)
def test_reflected_operators(graph: Graph, formula: Callable[[Tensor], Tensor], expected: Any) -> None:
    x = ops.placeholder("float32", [2, 3])
    made = formula(x)
    assert isinstance(made, Tensor)
    found = Session(graph, backend="numpy").run(made, {x: X})
    assert found.dtype in (np.float32, np.bool_)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_division_of_integers_is_true_division(graph: Graph) -> None:
    found = Session(graph, backend="numpy").run(ops.constant([1, 2, 3]) / 2)
    assert found.dtype == np.float64
    assert found.tolist() == [0.5, 1.0, 1.5]


def test_python_numbers_take_the_widest_kind(graph: Graph) -> None:
    session = Session(graph, backend="numpy")
    assert session.run(ops.multiply(2, 1.5)) == 3.0
    np.testing.assert_allclose(session.run(ops.range(0, 1, 0.25)), [0, 0.25, 0.5, 0.75])


@pytest.mark.parametrize(
    ("make", "kind", "parts"),
    [
        (lambda x: ops.matmul(x, x, name="mm"), ShapeError, ["MatMul 'mm'", "(2, 3)", "3", "2"]),
        (lambda x: ops.add(x, np.ones(4, np.float32), name="sum"), ShapeError, ["AddV2 'sum'", "(2, 3)", "(4,)"]),
        (lambda x: ops.add(x, ops.constant([1, 2, 3]), name="sum"), DTypeError, ["'sum'", "float32", "int32", "cast"]),
        (lambda x: ops.logical_not(x, name="no"), DTypeError, ["'no'", "float32", "bool"]),
        (
            lambda x: ops.conv2d(x, np.ones((1, 1, 3, 1), "f4"), name="c"),
            ShapeError,
            ["Conv2D 'c'", "4 axes", "(2, 3)"],
        ),
        (lambda x: ops.reshape(x, [4, 2], name="r"), ShapeError, ["Reshape 'r'", "6 elements", "8"]),
        (lambda x: ops.reshape(x, [2.5], name="r"), GraphError, ["int32", "float64"]),
        (lambda x: ops.reduce_sum(x, 2, name="s"), ShapeError, ["Sum 's'", "axis 2", "-2 to 1"]),
        (lambda x: ops.concat([x, x[0]], 0, name="j"), ShapeError, ["ConcatV2 'j'", "(2, 3)", "(3,)"]),
        (lambda x: ops.transpose(x, [0, 0], name="t"), ShapeError, ["Transpose 't'", "(0, 0)", "permutation"]),
        (lambda x: ops.squeeze(x, 0, name="q"), GraphError, ["Squeeze 'q'", "size 2", "expected 1"]),
        (lambda x: ops.unstack(x, axis=5), ShapeError, ["axis 5", "-2 to 1"]),
        (lambda x: ops.split(x, 2, 1, name="p"), GraphError, ["Split 'p'", "2 equal parts"]),
        (lambda x: ops.max_pool(x[None, :, :, None], 0, 1), ShapeError, ["MaxPool", "window", "at least 1"]),
        (lambda x: ops.conv2d(x, x, padding="FULL"), GraphError, ["SAME", "VALID", "FULL"]),
        (lambda x: ops.gather(x, x), DTypeError, ["Gather", "indices", "float32"]),
        (lambda x: ops.cast(x, "string"), DTypeError, ["Cast", "float32", "string"]),
        (lambda x: x["a"], GraphError, ["cannot be indexed", "'a'"]),
        (lambda x: x[0, 0, 0], GraphError, ["StridedSlice", "3 indices", "float32[2, 3]"]),
        (lambda x: x[5], ShapeError, ["StridedSlice", "index 5 is out of range", "size 2", "-2 to 1"]),
        (lambda x: ops.graph_of_nothing, AttributeError, []),
        (lambda x: ops.assign(x, 1), GraphError, ["variable", "x:0"]),
        (lambda x: ops.range(0, 5, 0, name="z"), ShapeError, ["Range 'z'", "step"]),
        (lambda x: ops.range(0, [5], 1, name="z"), GraphError, ["Range 'z'", "scalar"]),
    ],
)
def test_messages_say_what_where_and_what_was_expected(
    graph: Graph, make: Callable[[Tensor], Any], kind: type[Exception], parts: list[str]
) -> None:
    x = ops.placeholder("float32", [2, 3], name="x")
    with pytest.raises(kind) as caught:
        make(x)
    if kind is not AttributeError:
        assert isinstance(caught.value, KigraphError)
    for part in parts:
        assert any(p in str(caught.value) for p in part.split("|")), str(caught.value)


@pytest.mark.parametrize(
    ("type", "attrs"),
    [
        ("Pack", {"axis": "x"}),
        ("Conv2D", {"padding": "SAME", "strides": "1111"}),
        ("Conv2D", {"padding": "SAME", "strides": (1, 1)}),
        ("Cast", {"DstT": "float32"}),
        ("MaxPool", {}),
        ("Softmax", {"axis": None}),
        ("Unpack", {"num": -1}),
        ("DecodeJpeg", {"channels": 2}),
        ("Placeholder", {}),
        ("Const", {"value": 5}),
    ],
)
def test_bad_attributes_give_errors_of_ours(graph: Graph, type: str, attrs: dict[str, Any]) -> None:
    x = ops.placeholder("float32", [1, 4, 4, 1])
    inputs: dict[str, list[Tensor]] = {"Conv2D": [x, x], "Placeholder": [], "Const": []}
    with pytest.raises(KigraphError):
        graph.create_op(type, inputs.get(type, [x]), attrs, name="bad")
