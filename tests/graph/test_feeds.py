"""Feeds: any tensor of the graph can be fed; what is missing or does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import FeedError, FetchError, UnsupportedOpError
from kigraph.graph.session import Session
from kigraph.kernels.errors import KigraphError, ShapeError

MakeSession = Callable[..., Session]


def test_any_tensor_can_be_fed(graph: Graph, session: MakeSession) -> None:
    a, b, c = (ops.constant(v, name=n) for v, n in ((5.0, "a"), (2.0, "b"), (3.0, "c")))
    u = ops.multiply(b, c, name="u")
    ops.multiply(3.0, ops.add(a, u, name="v"), name="J")
    run = session().run
    assert run("J", {"u": 10}) == 45
    assert run("J", {b: 10}) == 105
    assert run(["J", "v", "u"], {"v:0": 1}) == [3, 1, 6]
    assert run("J", {"a": 1, "b": 1, "c": 1, "u": 7}) == 24
    assert run(["u", "J"], {u.op: 2, "J": 8}) == [2, 8]
    assert run("J") == 33


def test_feeding_one_output_of_several(graph: Graph, session: MakeSession) -> None:
    parts = ops.split(ops.constant([[1.0, 2.0, 3.0]]), 3, 1)
    total = parts[0] + parts[1] + parts[2]
    assert session().run([total, parts[0], parts[1]], {parts[1]: [[10.0]]}) == [[[14.0]], [[1.0]], [[10.0]]]


def test_feeding_operands_that_decide_shapes(graph: Graph, session: MakeSession) -> None:
    x = ops.constant(np.arange(6, dtype=np.float32))
    sizes, axis = ops.constant([2, 3], name="sizes"), ops.constant(0, name="axis")
    y = ops.reshape(x, sizes, name="y")
    total = ops.reduce_sum(y * 1.0, axis, name="total")
    run = session().run
    assert run(total).tolist() == [3, 5, 7]
    assert run(total, {sizes: [3, 2], axis: 1}).tolist() == [1, 5, 9]
    assert run(total, {axis: 1}).tolist() == [3, 12]
    assert run(y, {sizes: [-1, 6]}).shape == (1, 6)
    for bad in ([4, 2], [-1, -1], [-2, 3], [5, -1]):
        with pytest.raises(ShapeError, match="Reshape 'y'"):
            run(y, {sizes: bad})
    with pytest.raises(ShapeError, match=r"Sum 'total'.*axis 2"):
        run(total, {axis: 2})


def test_placeholder_with_default(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder_with_default(np.zeros((1, 2), np.float32), [None, 2], name="x")
    y = ops.reduce_sum(x + 1.0, [1])
    for options in ({}, {"skip_passes": ["resolve_identities"]}):
        run = session(**options).run
        assert run(y).tolist() == [2]
        assert run(y, {x: [[1, 2], [3, 4], [5, 6]]}).tolist() == [5, 9, 13]
        assert run(x).tolist() == [[0, 0]]
        with pytest.raises(FeedError, match=r"shape \(1, 3\), expected \(\?, 2\)"):
            run(y, {x: [[1, 2, 3]]})


def test_unknown_ops_can_be_fed_over(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [2], name="x")
    odd = graph.create_op("SomebodysOp", [x], {}, "odd", num_outputs=2)
    y = graph.create_op("Relu", [odd.outputs[1]], name="y").outputs[0]
    run = session().run
    assert run(y, {"odd:1": np.array([-1.0, 2.0], np.float32)}).tolist() == [0, 2]
    assert run(y, {"odd:1": np.array([[-1.0, 2.0]], np.float64)}).tolist() == [[0, 2]]
    assert run("odd:0", {"odd:0": [1, 2]}).tolist() == [1, 2]
    for fetch, feeds in ((y, {x: [1, 2]}), ("odd:0", {x: [1, 2]}), (odd, {x: [1, 2]}), (y, {x: [0, 0], "odd:0": [0]})):
        with pytest.raises(UnsupportedOpError, match=r"'SomebodysOp' \(node 'odd'\) is not supported"):
            run(fetch, feeds)
    with pytest.raises(KigraphError, match="'y'"):
        run(y, {"odd:1": ["text"]})


def test_unfed_placeholders(graph: Graph) -> None:
    x, y = ops.placeholder("float32", [None, 2], name="x"), ops.placeholder("float32", [2], name="y")
    session = Session(graph, backend="numpy")
    with pytest.raises(FetchError, match=r"placeholder 'y' \(float32\[2\]\) must be fed.*feed_dict=\{'y:0'"):
        session.run(x + y, {x: [[1, 2]]})
    with pytest.raises(FetchError, match="placeholder 'x'"):
        session.run(x)
    with ops.no_op().graph.control_dependencies([y]):
        after = ops.identity(x)
    with pytest.raises(FetchError, match="placeholder 'y'"):
        session.run(after, {x: [[1, 2]]})
    assert session.run(x[0] * 2.0, {x: [[1, 2]]}).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x", [[1.0]], r"fed to 'x:0' has shape \(1, 1\), expected \(\?, 2\) \(Placeholder\)"),
        ("x", [1.0, 2.0], r"shape \(2,\), expected \(\?, 2\)"),
        ("x", [["a", "b"]], "must be float32, got text"),
        ("x", [[1j, 2]], "must be float32, got complex"),
        ("x", [[1], [2, 3]], "not a regular array"),
        ("x", None, "must be float32"),
        ("n", 1.5, "fed to 'n:0' must be int32, got float64"),
        ("n", 2**40, "out of range for int32"),
        ("n", True, ""),
        ("s", 1, "str or bytes, got int"),
        ("z", 1, "no operation 'z'"),
        ("x:1", 1, "has 1 outputs"),
        (3, 1, "3 is not a tensor"),
    ],
)
def test_wrong_feeds(graph: Graph, key: Any, value: Any, message: str) -> None:
    ops.placeholder("float32", [None, 2], name="x")
    n = ops.placeholder("int32", [], name="n")
    ops.placeholder("string", [], name="s")
    session = Session(graph, backend="numpy")
    if not message:
        assert session.run(n, {key: value}) == 1
        return
    with pytest.raises(FeedError, match=message):
        session.run(n, {"n": 1, key: value} if key != "n" else {key: value})
    assert session.run(n, {n: 3}) == 3


def test_feeds_that_are_no_feeds(graph: Graph) -> None:
    x = ops.placeholder("float32", [2], name="x")
    session = Session(graph, backend="numpy")
    with pytest.raises(FeedError, match="feed_dict must be a dict"):
        session.run(x, [1, 2])  # type: ignore[arg-type]
    with pytest.raises(FeedError, match="feeds 'x:0' twice"):
        session.run(x, {x: [1, 2], "x": [3, 4]})
    with pytest.raises(FeedError, match="must be a value, got <Tensor"):
        session.run(x, {x: x})
    with pytest.raises(FeedError, match=r"NoOp 'n' has 0 outputs|not a tensor"):
        session.run(x, {ops.no_op("n"): 1, x: [1, 2]})


def test_a_fetched_feed_is_the_value_fed(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [None])
    given = np.array([1, 2], np.float64)
    found = session().run([x, ops.identity(x), x * 1.0], {x: given})
    assert [f.dtype for f in found] == [np.float32] * 3
    assert all(f.tolist() == [1, 2] for f in found)
