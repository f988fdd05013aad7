"""The graph under construction: names, scopes, the default graph, control dependencies, refused operations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import builder, ops
from kigraph.graph.builder import Graph, Operation, Tensor
from kigraph.graph.errors import GraphError, UnsupportedOpError
from kigraph.graph.session import Session
from kigraph.kernels.errors import DTypeError, ShapeError


def test_names_are_unique_and_differ_in_more_than_case(graph: Graph) -> None:
    names = [ops.constant(1, name=n).op.name for n in ("a", "a", "A", "a_1", "a", None, None)]
    assert names == ["a", "a_1", "A_2", "a_1_1", "a_3", "Const", "Const_1"]
    assert len({n.lower() for n in names}) == len(names)


def test_names_from_a_file_are_taken_as_they_are(graph: Graph) -> None:
    graph.create_op("NoOp", name="a", exact_name=True)
    graph.create_op("NoOp", name="A", exact_name=True)
    assert ops.constant(1, name="a").op.name == "a_1"
    with pytest.raises(GraphError, match="already has an operation 'A'"):
        graph.create_op("NoOp", name="A", exact_name=True)


def test_name_scopes(graph: Graph) -> None:
    with graph.name_scope("layer") as scope:
        assert scope == "layer/"
        assert ops.constant(1, name="w").name == "layer/w:0"
        with graph.name_scope("inner"):
            assert ops.constant(1, name="w").name == "layer/inner/w:0"
            with graph.name_scope(None) as root:
                assert root == ""
                assert ops.constant(1, name="w").name == "w:0"
            assert ops.constant(1, name="w").name == "layer/inner/w_1:0"
        assert ops.constant(1, name="w").name == "layer/w_1:0"
    with graph.name_scope("layer"):
        assert ops.constant(1, name="w").name == "layer_1/w:0"
    with graph.name_scope("layer/"):
        assert ops.constant(1, name="v").name == "layer/v:0"
    with graph.name_scope("other"), graph.name_scope(scope):
        assert ops.constant(1, name="u").name == "layer/u:0"
    assert ops.constant(1, name="u").name == "u:0"


def test_a_scope_as_a_name_is_the_operation_of_that_scope(graph: Graph) -> None:
    with graph.name_scope("dense") as scope:
        w = ops.constant([[1.0]], name="w")
        assert ops.matmul(w, w, name=scope).name == "dense:0"
        with pytest.raises(GraphError, match="already has an operation 'dense'"):
            ops.matmul(w, w, name=scope)


def test_a_scope_is_left_when_its_block_fails(graph: Graph) -> None:
    with pytest.raises(RuntimeError), graph.name_scope("broken"):
        raise RuntimeError
    assert ops.constant(1, name="a").name == "a:0"


@pytest.mark.parametrize("name", ["a b", "_a", "/a", "a:0", "^a", "ä", "", "a\n", "-a"])
def test_invalid_names(graph: Graph, name: str) -> None:
    if name:
        with pytest.raises(GraphError, match="not a valid name"):
            ops.constant(1, name=name)
        with pytest.raises(GraphError, match="not a valid scope name"), graph.name_scope(name):
            pass
    assert len(graph) == 0


def test_a_refused_operation_leaves_no_trace(graph: Graph) -> None:
    x = ops.placeholder("float32", [2, 3], name="x")
    with pytest.raises(ShapeError):
        ops.matmul(x, x, name="product")
    assert [op.name for op in graph.operations] == ["x"]
    assert ops.matmul(x, x, transpose_b=True, name="product").name == "product:0"
    for _ in range(3):
        with pytest.raises(ShapeError):
            ops.matmul(x, x, name="product")
    assert ops.matmul(x, x, transpose_b=True, name="product").name == "product_1:0"


def test_a_refused_operation_frees_no_name(graph: Graph) -> None:
    x = ops.placeholder("float32", [2, 3], name="x")
    with graph.name_scope("net"):
        ops.identity(x)
    with pytest.raises(ShapeError):
        graph.create_op("MatMul", [x, x], {}, "net", exact_name=True)
    with graph.name_scope("net") as scope:
        assert scope == "net_1/"


def test_errors_of_types_say_what_was_added(graph: Graph) -> None:
    with pytest.raises(DTypeError) as caught:
        ops.lrn(ops.placeholder("int32", (1, 2, 2, 3), name="x"), name="y")
    assert caught.value.__notes__ == ["while adding LRN 'y' with inputs x:0 int32[1, 2, 2, 3]"]


def test_looking_up(graph: Graph) -> None:
    parts = ops.split(ops.constant([1, 2], name="pair"), 2, name="parts")
    assert graph.operation("parts").outputs[1] is parts[1]
    assert graph.tensor("parts:1") is parts[1]
    assert graph.tensor("parts") is parts[0]
    assert "parts" in graph
    assert "nothing" not in graph
    for name, message in (
        ("part", "no operation 'part'; similar: parts"),
        ("parts:2", "Split 'parts' has 2 outputs"),
        ("parts:", "not a tensor's name"),
        ("parts:x", "not a tensor's name"),
        ("parts:-1", "not a tensor's name"),
        ("parts:0:1", "not a tensor's name"),
        ("", "no operation ''"),
    ):
        with pytest.raises(GraphError, match=message):
            graph.tensor(name)


def test_default_graph_stack() -> None:
    outer, inner = Graph(), Graph()
    with outer.as_default():
        assert ops.constant(1).graph is outer
        with inner.as_default():
            assert builder.get_default_graph() is inner
            with pytest.raises(GraphError, match="leave the block first"):
                builder.reset_default_graph()
        assert ops.constant(1).graph is outer
    root = builder.get_default_graph()
    assert root not in (outer, inner)
    builder.reset_default_graph()
    assert builder.get_default_graph() is not root


def in_threads(count: int, function: Callable[[int], Any]) -> list[Any]:
    """Runs function(0), function(1), ... at the same time; an exception of any of them is raised."""
    results: list[Any] = [None] * count
    failures: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(i: int) -> None:
        try:
            barrier.wait(30)
            results[i] = function(i)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if failures:
        raise failures[0]
    return results


def test_a_thread_starts_with_the_process_wide_graph_and_no_scope(graph: Graph) -> None:
    root_and_name: list[tuple[Graph, str]] = []
    with graph.name_scope("here"):

        def other() -> None:
            with graph.as_default():
                root_and_name.append((builder.get_default_graph(), ops.constant(1, name="there").name))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert ops.constant(1, name="x").name == "here/x:0"
    assert root_and_name == [(graph, "there:0")]
    assert in_threads(1, lambda i: builder.get_default_graph()) != [graph]


def test_threads_build_one_graph_together(graph: Graph) -> None:
    def build(i: int) -> set[str]:
        with graph.as_default(), graph.name_scope(f"scope{i}"):
            return {ops.add(ops.constant(1.0, name="c"), 2.0, name="sum").name for _ in range(200)}

    made = in_threads(4, build)
    assert len(set().union(*made)) == 800
    assert len(graph) == 4 * 200 * 3
    graph.freeze()


def test_tensors_of_two_graphs_do_not_mix(graph: Graph) -> None:
    with Graph().as_default():
        foreign = ops.constant(1.0, name="foreign")
    own = ops.constant(1.0)
    with pytest.raises(GraphError, match=r"foreign:0.*is not a tensor of this graph"):
        ops.add(own, foreign)
    with pytest.raises(GraphError, match="not part of this graph"), graph.control_dependencies([foreign]):
        pass


@pytest.mark.parametrize(
    "make",
    [
        lambda x: ops.add(1, x),
        lambda x: ops.where(x > 0, x, 0),
        lambda x: ops.where(x > 0, 1, 0),
        lambda x: ops.where([[True, False]], x, 0),
        lambda x: ops.reshape(x, [4]),
        lambda x: ops.reshape(x, [ops.shape(x)[0], -1]),
        lambda x: ops.reduce_sum(x),
        lambda x: ops.concat([[[1.0, 2.0]], x], 0),
        lambda x: ops.stack([x, np.ones((2, 2), np.float32)]),
        lambda x: ops.argmax(x, 1),
        lambda x: ops.top_k(x, 1)[0],
        lambda x: x[0, None, ::-1],
        lambda x: ops.expand_dims(x, 0),
        lambda x: ops.transpose(x),
        lambda x: ops.split(x, 2, 1)[1],
        lambda x: ops.split(x, [1, 1])[1],
        lambda x: ops.pad(x, [[1, 1], [0, 0]], constant_values=3),
        lambda x: ops.slice(x, [0, 0], [1, 1]),
        lambda x: ops.gather(x, [1, 0]),
        lambda x: ops.gather([1.0, 2.0], ops.cast(x, "int32")),
        lambda x: ops.tile(x, [1, 2]),
        lambda x: ops.broadcast_to(x, [3, 2, 2]),
        lambda x: ops.zeros_like(x),
        lambda x: ops.fill(ops.shape(x), 1.0),
        lambda x: ops.fill([2], x[0, 0]),
        lambda x: ops.range(0, x[0, 0]),
        lambda x: ops.divide(x, 2),
        lambda x: ops.matmul(np.eye(2, dtype=np.float32), x),
        lambda x: ops.batch_normalization(x, [0.0, 0.0], [1.0, 1.0], None, None, 1e-3),
        lambda x: ops.resize_bilinear(x[None, :, :, None], [3, 3]),
        lambda x: ops.string_join([ops.as_string(x), "!"]),
        lambda x: ops.moments(x, [0])[1],
    ],
)
def test_constants_go_into_the_graph_of_the_tensors_beside_them(make: Callable[[Tensor], Tensor]) -> None:
    graph = Graph()
    with graph.as_default():
        x = ops.placeholder("float32", [2, 2])
    before = len(builder.get_default_graph())
    made = make(x)  # no default graph was set
    assert made.graph is graph
    assert len(builder.get_default_graph()) == before
    Session(graph, backend="numpy").run(made, {x: [[0.0, 1.0], [0.0, 0.0]]})


def test_control_dependencies_nest_and_clear(graph: Graph) -> None:
    a, b = ops.no_op("a"), ops.constant(1, name="b")
    with graph.control_dependencies([a]):
        assert ops.no_op().control_inputs == (a,)
        with graph.control_dependencies([b, a]):
            assert ops.no_op().control_inputs == (a, b.op)
            with graph.control_dependencies(None):
                assert ops.no_op().control_inputs == ()
        inner = graph.create_op("NoOp", control_inputs=[b])
        assert inner.control_inputs == (a, b.op)
    assert ops.no_op().control_inputs == ()
    assert ops.group(a, b).control_inputs == (a, b.op)


def test_placeholder_shapes(graph: Graph) -> None:
    for given, found in (
        (None, None),
        ([], ()),
        ([None, 299, -1, 3], (None, 299, None, 3)),
        ((0, 1), (0, 1)),
        (5, (5,)),
        ([np.int64(4)], (4,)),
    ):
        assert ops.placeholder("float32", given).shape == found
    for wrong, message in ((["a"], "not a shape"), ([-3], "negative"), (2.5, "not a shape"), ([1.0], "not a shape")):
        with pytest.raises(GraphError, match=message):
            ops.placeholder("float32", wrong)


def test_placeholder_with_default_must_fit(graph: Graph) -> None:
    assert ops.placeholder_with_default([[1.0, 2.0]], [None, 2]).shape == (None, 2)
    with pytest.raises(ShapeError, match="contradict"):
        ops.placeholder_with_default([[1.0, 2.0]], [None, 3])


def test_unknown_ops_are_kept(graph: Graph) -> None:
    x = ops.placeholder("float32", [2])
    odd = graph.create_op("SomebodysOp", [x], {"k": 3}, num_outputs=2)
    assert isinstance(odd, Operation)
    assert [str(t.shape) for t in odd.outputs] == ["None", "None"]
    behind = ops.add(odd.outputs[1], odd.outputs[0])
    assert behind.op.type == "AddV2"
    with pytest.raises(UnsupportedOpError, match=r"SomebodysOp.*fed instead"):
        Session(graph, backend="numpy").run(behind, {x: [1, 2]})


def test_a_chain_of_doublings_is_evaluated_once_while_building(graph: Graph) -> None:
    n = ops.constant(1)
    for _ in range(30):
        n = n + n
    start = time.perf_counter()
    assert ops.fill([n // 2**29], 0.0).shape == (2,)
    x = ops.placeholder("float32", [None, 7])
    batch, seven = ops.unstack(ops.shape(x))
    for _ in range(30):
        batch, seven = batch + batch, seven + batch - batch
    assert ops.fill([batch, seven, 3], 0.0).shape == (None, None, 3)
    assert time.perf_counter() - start < 2


@pytest.mark.slow
def test_a_hundred_thousand_operations(graph: Graph) -> None:
    start = time.perf_counter()
    x = ops.placeholder("float32", [4])
    y = x
    for _ in range(50_000):
        y = ops.add(y, x)
    for _ in range(49_999):
        y = ops.negative(y)
    assert len(graph) == 100_000
    assert len(graph.freeze()) == 100_000
    assert time.perf_counter() - start < 30
    session, value = Session(graph, backend="numpy"), np.arange(4, dtype=np.float32)
    np.testing.assert_allclose(session.run(graph.tensor("add_9999:0"), {x: value}), 10_001 * value)
    np.testing.assert_allclose(session.run(y, {graph.tensor("Neg_39999:0"): value}), -value)
    assert time.perf_counter() - start < 60
