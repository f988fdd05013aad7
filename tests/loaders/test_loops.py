"""Loops of GraphDefs: frames of TensorFlow 1, While, If and Case of TensorFlow 2, TensorArrays and TensorLists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph.builder import Graph
from kigraph.graph.draw.html import to_html
from kigraph.graph.errors import GraphError, LoadError, UnsupportedOpError
from kigraph.graph.formats.tensorflow import AttrList, AttrValue
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.session import Session
from kigraph.graph.writers.graphdef import save_graphdef
from tests.loaders.graph_files import (
    BODY,
    BOOL,
    COND,
    F32,
    I32,
    Node,
    called,
    const,
    counted,
    frame,
    function,
    library,
    node,
    save,
)

F = np.float32
X = np.random.default_rng(0).normal(size=(4, 3)).astype(F)


def graph(path: Path, *nodes: Node, functions: Any = None, limits: LoadLimits | None = None) -> Graph:
    found = load(save(path / "g.pb", *nodes, functions=functions), limits).graph
    assert found is not None
    return found


def run(graph: Graph, fetch: Any, feeds: dict[str, Any]) -> Any:
    with Session(graph, backend="numpy") as session:
        return session.run(fetch, feeds)


def test_a_frame_is_one_node(tmp_path: Path) -> None:
    g = graph(tmp_path, *counted(), node("out", "Identity", "w/y/x"))
    assert {op.type for op in g.operations} == {"Placeholder", "Const", "KiWhile", "Identity"}
    for n in (0, 1, 5):
        i, y = run(g, ["w/i/x:0", "out:0"], {"x:0": X, "n:0": n})
        assert i == n
        np.testing.assert_array_equal(y, X * F(2**n))
    np.testing.assert_array_equal(run(g, "out:0", {"w/y/x:0": X}), X)
    assert "KiWhile" in to_html(g)
    save_graphdef(g, tmp_path / "again.pb")  # as While with functions
    again = load(tmp_path / "again.pb").graph
    assert again is not None
    np.testing.assert_array_equal(run(again, "out:0", {"x:0": X, "n:0": 5}), X * F(32))


def test_what_a_loop_does_not_change_comes_out_as_it_went_in(tmp_path: Path) -> None:
    nodes = counted()
    at = next(i for i, n in enumerate(nodes) if n.name == "w/y/n")
    nodes[at] = node("w/y/n", "NextIteration", "w/y")
    g = graph(tmp_path, *nodes)
    np.testing.assert_array_equal(run(g, "w/y/x:0", {"x:0": X, "n:0": 3}), X)


def test_frames_in_frames(tmp_path: Path) -> None:
    """Rows of TensorArrays, each reduced by a loop of its own."""
    inner = frame(
        "v/", {"j": "w/zero", "t": "w/row"}, {"j": "v/more", "t": "v/half"}, "v/less", {"v/limit": "w/i"},
        node("v/less", "Less", "v/j/m", "v/limit"), node("v/one", "Const", "^v/j", value=np.int32(1)),
        node("v/more", "Add", "v/j", "v/one"), node("v/five", "Const", "^v/j", value=F(0.5)),
        node("v/half", "Mul", "v/t", "v/five"),
    )  # fmt: skip
    g = graph(
        tmp_path, node("x", "Placeholder"), const("zero", np.int32(0)), node("shape", "Shape", "x"),
        const("b", np.array([0], np.int32)), const("e", np.array([1], np.int32)),
        node("n", "StridedSlice", "shape", "b", "e", "e", shrink_axis_mask=1),
        const("one", np.int32(1)), node("all", "Range", "zero", "n", "one"),
        node("in", "TensorArrayV3", "n", dtype=F32), node("fill", "TensorArrayScatterV3", "in", "all", "x", "in:1", T=F32),
        node("out", "TensorArrayV3", "n", dtype=F32, element_shape=(3,)),
        *frame(
            "w/", {"i": "zero", "a": "out:1"}, {"i": "w/more", "a": "w/write"}, "w/less",
            {"w/n": "n", "w/in": "in", "w/flow": "fill", "w/out": "out"},
            node("w/less", "Less", "w/i/m", "w/n"), node("w/one", "Const", "^w/i", value=np.int32(1)),
            node("w/zero", "Const", "^w/i", value=np.int32(0)), node("w/more", "Add", "w/i", "w/one"),
            node("w/row", "TensorArrayReadV3", "w/in", "w/i", "w/flow", dtype=F32), *inner,
            node("w/write", "TensorArrayWriteV3", "w/out", "w/i", "v/t/x", "w/a", T=F32),
        ),
        node("y", "TensorArrayGatherV3", "out", "all", "w/a/x", dtype=F32, element_shape=(3,)),
    )  # fmt: skip
    want = X * F(0.5) ** np.arange(4, dtype=F)[:, None]
    np.testing.assert_array_equal(run(g, "y:0", {"x:0": X}), want)
    assert run(g, "y:0", {"x:0": X[:0]}).shape == (0, 3)


def test_a_shape_may_change_in_a_loop(tmp_path: Path) -> None:
    nodes = [n for n in counted() if n.name not in ("w/twice", "w/two", "two")]
    g = graph(
        tmp_path, *nodes, const("axis", np.int32(0)), node("w/axis", "Enter", "axis", frame_name="w/", is_constant=True),
        node("w/twice", "ConcatV2", "w/y", "w/y", "w/axis"), node("out", "Relu", "w/y/x"),
    )  # fmt: skip
    np.testing.assert_array_equal(run(g, "out:0", {"x:0": X, "n:0": 3}), np.maximum(np.concatenate([X] * 8), 0))


def test_what_is_no_loop_loads_and_says_so(tmp_path: Path) -> None:
    g = graph(
        tmp_path, node("x", "Placeholder"), node("e", "Enter", "x", frame_name="f"), node("m", "Merge", "e", "n"),
        node("t", "Neg", "m"), node("n", "NextIteration", "t"), node("out", "Exit", "t"), node("y", "Neg", "out"),
        node("a", "Neg", "b"), node("b", "Neg", "a"), node("fine", "Neg", "x"),
    )  # fmt: skip
    np.testing.assert_array_equal(run(g, "fine:0", {"x:0": X}), -X)
    np.testing.assert_array_equal(run(g, "y:0", {"out:0": X}), -X)
    with pytest.raises(UnsupportedOpError, match=r"cycle|NextIteration"):
        run(g, "y:0", {"x:0": X})
    with pytest.raises(UnsupportedOpError, match="the graph has a cycle: 'b' reads 'a:0'"):
        run(g, "a:0", {})
    assert "Merge" in to_html(g)


def test_while_of_functions(tmp_path: Path) -> None:
    w = np.random.default_rng(1).normal(size=(3, 3)).astype(F)
    g = graph(
        tmp_path, node("x", "Placeholder", shape=(None, 3)), node("n", "Placeholder", dtype=I32, shape=()), const("zero", np.int32(0)),
        const("w", w), node("loop", "StatelessWhile", "zero", "n", "x", "w", cond=called("cond"), body=called("body")),
        node("y", "Neg", "loop:2"), functions=library(COND, BODY),
    )  # fmt: skip
    assert g.tensor("loop:3").shape == (3, 3)
    for n in (0, 1, 3):
        want = -X @ np.linalg.matrix_power(w.astype(np.float64), n)
        np.testing.assert_allclose(run(g, "y:0", {"x:0": X, "n:0": n}), want, rtol=1e-4, atol=1e-5)
    with Session(g, backend="numpy") as session:
        (loop,) = (node for node in session.optimized("y:0", ["x:0", "n:0"]) if node.op == "KiWhile")
        assert any(n.op == "Const" and n.name == "w" for n in loop.attrs["body"])  # packed once, as any weights
    np.testing.assert_array_equal(run(g, "loop:3", {"x:0": X, "n:0": 2}), w)


@pytest.mark.parametrize("fixed", [True, False])
def test_branches_of_functions(tmp_path: Path, fixed: bool) -> None:
    then = function("then", {"a": F32}, {"y": "e:y:0"}, node("e", "Exp", "a"))
    other = function("other", {"a": F32}, {"y": "e:y:0"}, node("e", "Neg", "a"))
    three = function("three", {"a": F32}, {"y": "e:y:0"}, node("e", "Square", "a"))
    listed = AttrValue(list=AttrList(func=[called(n).func for n in ("then", "other", "three")]))  # type: ignore[misc]
    results = {True: np.exp(X), False: -X}
    for value in (True, False):
        pick = const("p", np.array(value)) if fixed else node("p", "Placeholder", dtype=BOOL, shape=())
        g = graph(
            tmp_path, node("x", "Placeholder"), pick,
            node("if", "If", "p", "x", then_branch=called("then"), else_branch=called("other")),
            node("y", "Identity", "if"), functions=library(then, other, three),
        )  # fmt: skip
        feeds = {"x:0": X} | ({} if fixed else {"p:0": value})
        np.testing.assert_allclose(run(g, "y:0", feeds), results[value], rtol=1e-6)
        if fixed:
            with Session(g, backend="numpy") as session:
                assert [n.op for n in session.optimized("y:0", ["x:0"])] == ["Placeholder", "Exp" if value else "Neg"]
    for index, want in ((0, np.exp(X)), (1, -X), (2, X * X), (7, X * X), (-1, X * X)):
        pick = const("p", np.int32(index)) if fixed else node("p", "Placeholder", dtype=I32, shape=())
        case = node("case", "Case", "p", "x", branches=listed)
        g = graph(tmp_path, node("x", "Placeholder"), pick, case, functions=library(then, other, three))
        np.testing.assert_allclose(run(g, "case:0", {"x:0": X} | ({} if fixed else {"p:0": index})), want, rtol=1e-6)


def test_each_call_of_a_function_has_its_own_loop(tmp_path: Path) -> None:
    """A body with a frame of TensorFlow 1, called twice."""
    inner = [n for n in counted("x") if n.op != "Placeholder"]
    for n in inner:
        n.input = [t if t in ("x", "n") or t.startswith("^") else _port(t, inner) for t in n.input]
    twice = function("twice", {"x": F32, "n": I32}, {"y": "w/y/x:output:0"}, *inner)
    g = graph(
        tmp_path, node("x", "Placeholder"), node("n", "Placeholder", dtype=I32, shape=()),
        node("a", "PartitionedCall", "x", "n", f=called("twice")), node("b", "twice", "a", "n"), functions=library(twice),
    )  # fmt: skip
    assert sum(op.type == "KiWhile" for op in g.operations) == 2
    np.testing.assert_array_equal(run(g, "b:0", {"x:0": X, "n:0": 3}), X * F(64))


def _port(text: str, nodes: list[Node]) -> str:
    """An input as a function writes it."""
    name, _, index = text.partition(":")
    op = next(n.op for n in nodes if n.name == name)
    output = {"Switch": "output_true" if index == "1" else "output_false", "Merge": "output"}.get(op, "z")
    return f"{name}:{output}:0"


def test_random_ops_of_one_name_in_two_bodies_are_two(tmp_path: Path) -> None:
    def body(name: str, sign: str) -> Any:
        draw = node("u", "RandomUniform", "s:output:0", seed=7, dtype=F32)
        return function(
            name, {"a": F32}, {"y": "e:y:0"}, const("s", np.array([3], np.int32)), draw, node("e", sign, "u:output:0")
        )

    g = graph(
        tmp_path, node("p", "Placeholder", dtype=BOOL, shape=()), node("x", "Placeholder"),
        *(node(n, "If", "p", "x", then_branch=called(n * 2), else_branch=called(n * 2)) for n in "ab"),
        functions=library(body("aa", "Neg"), body("bb", "Abs")),
    )  # fmt: skip
    a, b = run(g, ["a:0", "b:0"], {"p:0": True, "x:0": X})
    np.testing.assert_array_equal(-a, b)


def test_functions_that_do_not_fit(tmp_path: Path) -> None:
    endless = function(
        "endless",
        {"y": F32},
        {"y_": "w:output:0"},
        node("w", "While", "y", cond=called("endless"), body=called("endless")),
    )
    g = graph(
        tmp_path, node("x", "Placeholder"), node("few", "While", "x", cond=called("cond"), body=called("body")),
        node("gone", "If", "x", "x", then_branch=called("nowhere"), else_branch=called("nowhere")), node("no", "While", "x"),
        node("own", "KiWhile", "x", count=1), node("fine", "Neg", "x"), functions=library(COND, BODY),
    )  # fmt: skip
    np.testing.assert_array_equal(run(g, "fine:0", {"x:0": X}), -X)
    for name, why in (
        ("few", "4 arguments"),
        ("gone", "no function"),
        ("no", "should name a function"),
        ("own", "no op of files"),
    ):
        with pytest.raises(UnsupportedOpError, match=why):
            run(g, f"{name}:0", {"x:0": X})
    with pytest.raises(LoadError, match=r"max_depth|max_nodes"):
        graph(
            tmp_path, node("x", "Placeholder"), node("y", "While", "x", cond=called("endless"), body=called("endless")),
            functions=library(endless),
        )  # fmt: skip


# --- lists ----------------------------------------------------------------------------------------------------------------


def test_tensor_lists(tmp_path: Path) -> None:
    any_shape, shape = const("any", np.int32(-1)), const("shape", np.array([3], np.int32))
    attrs = {"element_dtype": F32}
    g = graph(
        tmp_path, node("x", "Placeholder"), any_shape, shape, const("two", np.int32(2)), const("row", np.ones(3, F)),
        const("picks", np.array([2, 0], np.int32)), const("one", np.int32(1)), const("sizes", np.array([1, 3], np.int64)),
        node("l", "TensorListFromTensor", "x", "shape", **attrs), node("set", "TensorListSetItem", "l", "two", "row", **attrs),
        node("all", "TensorListStack", "set", "any", **attrs), node("old", "TensorListStack", "l", "any", **attrs),
        node("get", "TensorListGetItem", "set", "two", "any", **attrs), node("some", "TensorListGather", "set", "picks", "any", **attrs),
        node("push", "TensorListPushBack", "set", "row", **attrs), node("length", "TensorListLength", "push"),
        node("pop", "TensorListPopBack", "push", "any", **attrs), node("short", "TensorListLength", "pop"),
        node("reserved", "TensorListReserve", "shape", "two", **attrs), node("zeros", "TensorListStack", "reserved", "any", **attrs),
        node("nothing", "TensorListReserve", "any", "two", **attrs), node("never", "TensorListStack", "nothing", "any", **attrs),
        node("split", "TensorListSplit", "x", "any", "sizes", **attrs), node("joined", "TensorListConcat", "split", **attrs),
        node("outside", "TensorListGetItem", "reserved", "two", "any", **attrs),
        node("resized", "TensorListResize", "set", "one"), node("first", "TensorListStack", "resized", "any", **attrs),
        node("scattered", "TensorListScatterV2", "x", "order", "any", "six", **attrs), const("order", np.array([5, 0, 1, 2], np.int32)),
        const("six", np.int32(6)), node("fifth", "TensorListGetItem", "scattered", "five", "any", **attrs), const("five", np.int32(5)),
        node("wrong", "TensorListSetItem", "l", "two", "two", **attrs), node("odd", "Relu", "l"),
    )  # fmt: skip
    want = X.copy()
    want[2] = 1
    expected = {
        "all": want, "old": X, "get": want[2], "some": want[[2, 0]], "length": 5, "pop:1": np.ones(3), "short": 4,
        "zeros": np.zeros((2, 3)), "joined": X, "joined:1": [1, 3], "first": X[:1], "fifth": X[0],
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_array_equal(run(g, name if ":" in name else f"{name}:0", {"x:0": X}), value, err_msg=name)
    for name, why in (
        ("never", "shape is not known"),
        ("outside", "index 2 of a list of 2"),
        ("wrong", "int32 in a list of float32"),
    ):
        with pytest.raises(GraphError, match=why):
            run(g, f"{name}:0", {"x:0": X})
    with pytest.raises(Exception, match="odd") as error:
        run(g, "odd:0", {"x:0": X})
    assert type(error.value).__module__.startswith("kigraph")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 3)), max_size=8))
def test_tensor_arrays_that_grow(tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.mktemp("g")
    nodes, flow, want = (
        [const("n", np.int32(1)), node("a", "TensorArrayV3", "n", dtype=F32, dynamic_size=True, element_shape=())],
        "a:1",
        [0.0],
    )
    for k, (index, value) in enumerate(writes):
        nodes += [const(f"i{k}", np.int32(index)), const(f"v{k}", F(value))]
        nodes.append(node(f"w{k}", "TensorArrayWriteV3", "a", f"i{k}", f"v{k}", flow, T=F32))
        flow = f"w{k}"
        want += [0.0] * (index + 1 - len(want))
        want[index] = value
    nodes += [const("all", np.arange(len(want), dtype=np.int32)), node("size", "TensorArraySizeV3", "a", flow)]
    g = graph(path, *nodes, node("y", "TensorArrayGatherV3", "a", "all", flow, dtype=F32))
    size, y = run(g, ["size:0", "y:0"], {})
    assert size == len(want)
    np.testing.assert_array_equal(y, want)
