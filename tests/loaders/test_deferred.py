"""What can never run does not keep a file from loading: the error names the node when it is fetched, and feeds go past it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kigraph.graph.draw.html import to_html
from kigraph.graph.errors import FeedError, GraphError, UnsupportedOpError
from kigraph.graph.formats.protobuf.write import pack_numbers
from kigraph.graph.formats.tensorflow import AttrList, AttrValue, TensorProto
from kigraph.graph.loaders import load
from kigraph.graph.session import Session
from kigraph.kernels.errors import KigraphError
from tests.loaders.graph_files import F32, I32, Node, attr, node, save, types

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        ([node("bad", "Neg", "b"), node("b", "Neg", "bad")], "the graph has a cycle: 'b' reads 'bad:0'"),
        ([node("bad", "Neg", "x", "^bad")], "cycle at 'bad'"),
        ([node("bad", "NextIteration", "b"), node("b", "Merge", "bad")], "cycle"),
        (
            [node("c", "Const", value=np.float32(1)), node("bad", "Relu", "c:1")],
            "'c:1' is read by 'bad', but 'c' has 1",
        ),
        ([node("bad", "Relu", "x", "x")], "takes 1 inputs, got 2"),
        ([node("w", "Const", value=np.ones((4, 5), np.float32)), node("bad", "MatMul", "x", "w")], "'bad': matmul"),
        ([Node("bad", "Const", [], "", {"dtype": attr(F32)})], "Const 'bad' has no value"),
        ([Node("bad", "Const", [], "", {"value": AttrValue()})], "has no value|no known kind"),
        ([node("bad", "Mystery", "x", T=AttrValue(placeholder="T"))], "op 'Mystery'"),
        ([node("bad", "Neg", "x", T=AttrValue(placeholder="T"))], "the placeholder 'T' of a function's body"),
        ([node("bad", "Placeholder", shape=(-7,))], "bad"),
        ([node("bad", "Placeholder", dtype="float")], "bad"),
        ([node("big", "Const", value=np.ones(3, np.int32)), node("bad", "Reshape", "x", "big")], "bad"),
        ([node("bad", "ReadVariableOp", "v", dtype=F32), node("v", "VarHandleOp")], "no value of the variable"),
        ([node("bad", "IteratorGetNext", "it"), node("it", "IteratorV2")], "data set"),
    ],
)
def test_the_error_comes_with_the_fetch(tmp_path: Path, nodes: list[Node], found: str) -> None:
    path = save(
        tmp_path / "g.pb",
        node("x", "Placeholder", shape=(4, 3)),
        *nodes,
        node("y", "Neg", "bad"),
        node("z", "Neg", "x"),
    )
    graph = load(path).graph
    assert graph is not None
    assert "bad" in to_html(graph)
    with Session(graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run("z:0", {"x:0": X}), -X)
        np.testing.assert_array_equal(session.run("y:0", {"bad:0": X}), -X)
        for fetch in ("bad:0", "y:0"):
            with pytest.raises(KigraphError, match=found):
                session.run(fetch, {"x:0": X})


@pytest.mark.slow
def test_a_long_cycle(tmp_path: Path) -> None:
    nodes = [node(f"n{i}", "Neg", f"n{(i + 1) % 50_000}") for i in range(50_000)]
    graph = load(save(tmp_path / "g.pb", *nodes)).graph
    assert graph is not None
    with Session(graph, backend="numpy") as session, pytest.raises((GraphError, KigraphError), match="cycle") as error:
        session.run("n0:0")
    assert len(str(error.value)) < 1000


def test_outputs_of_a_data_set_can_be_fed(tmp_path: Path) -> None:
    listed = AttrValue(list=AttrList(shape=[attr((None, 3)).shape, attr(()).shape]))  # type: ignore[list-item]
    path = save(
        tmp_path / "g.pb", node("it", "IteratorV2"), node("next", "IteratorGetNext", "it", output_types=types(F32, I32), output_shapes=listed),
        node("y", "Neg", "next"),
    )  # fmt: skip
    loaded = load(path)
    assert loaded.graph is not None
    assert loaded.inputs == ("next:0",)
    assert loaded.outputs == ("y:0",)
    assert [str(t.type) for t in loaded.graph.operation("next").outputs] == ["float32[?, 3]", "int32[]"]
    with Session(loaded.graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run("y:0", {"next:0": X}), -X)
        with pytest.raises(FeedError, match=r"shape \[4\]|expected"):
            session.run("y:0", {"next:0": X[:, 0]})


def test_switches_of_training_are_no_inputs_to_ask_for(tmp_path: Path) -> None:
    path = save(
        tmp_path / "g.pb", node("x", "Placeholder", shape=(None, 3)), node("no", "Const", value=np.array(False)),
        node("training", "PlaceholderWithDefault", "no", shape=()), node("s", "Switch", "training", "training"),
        node("t", "Identity", "s:1"), node("f", "Identity", "s"), node("id", "Identity", "training"),
        node("xs", "Switch", "x", "id"), node("a", "Mystery", "xs:1"), node("b", "Neg", "xs"), node("m", "Merge", "b", "a"),
        node("it", "IteratorV2"), node("next", "IteratorGetNext", "it", output_types=types(F32)),
        node("img", "PlaceholderWithDefault", "next", shape=(None, 3)), node("y", "Add", "m", "img"),
    )  # fmt: skip
    loaded = load(path)
    assert loaded.inputs == ("x:0", "img:0")
    assert loaded.outputs == ("y:0",)
    assert loaded.graph is not None
    with Session(loaded.graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run("y:0", {"x:0": X, "img:0": X}), 0 * X)


@pytest.mark.parametrize("size", [3, 3000])
def test_bfloat16_constants(tmp_path: Path, size: int) -> None:
    bits = np.random.default_rng(1).integers(0, 1 << 16, size).astype(np.uint16)
    bits[:3] = (0x7F80, 0x8000, 0x0001)
    tensor = TensorProto(dtype=14, tensor_shape=attr((size,)).shape, tensor_content=bits.tobytes())  # type: ignore[arg-type]
    listed = TensorProto(dtype=14, tensor_shape=attr((2,)).shape, half_val=[pack_numbers([0x3F80, 0xC000], "int32")])  # type: ignore[list-item]
    bf16 = AttrValue(type=14)
    path = save(
        tmp_path / "g.pb", Node("c", "Const", [], "", {"dtype": bf16, "value": AttrValue(tensor=tensor)}),
        Node("l", "Const", [], "", {"dtype": bf16, "value": AttrValue(tensor=listed)}), node("i", "Identity", "c", T=bf16),
        node("y", "Cast", "i", SrcT=bf16, DstT=F32), node("z", "Cast", "l", SrcT=bf16, DstT=F32), node("sum", "Add", "c", "c", T=bf16),
        node("back", "Cast", "y", SrcT=F32, DstT=bf16),
    )  # fmt: skip
    graph = load(path).graph
    assert graph is not None
    with Session(graph, backend="numpy") as session:
        y, z = session.run(["y:0", "z:0"])
        np.testing.assert_array_equal(y.view(np.uint32), bits.astype(np.uint32) << 16)
        assert z.tolist() == [1, -2]
        for fetch in ("sum:0", "back:0"):
            with pytest.raises(UnsupportedOpError, match="bfloat16"):
                session.run(fetch)
