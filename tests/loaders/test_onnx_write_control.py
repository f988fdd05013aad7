"""Loops and branches written as ONNX's Loop and If; onnx's checker and evaluator and ONNX Runtime judge what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.ir import LIST
from kigraph.graph.ir import Graph as Frozen

from .tflite_files import loop

onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")
F = np.float32


def inner(make: Any, **inputs: Any) -> tuple[Frozen, tuple[str, ...]]:
    """A graph and the names of its inputs; inputs: name -> (element type, shape)."""
    with ki.Graph().as_default() as graph:
        made = make(*(ki.placeholder(t, shape, name=n) for n, (t, shape) in inputs.items()))
        ports = tuple(t.port for t in (made if isinstance(made, tuple) else (made,)))
    return Frozen(graph.freeze().nodes, ports), tuple(inputs)


def written(graph: ki.Graph, path: Path, outputs: tuple[str, ...] = ("end:0",)) -> Any:
    """The names of the written graph's outputs and a function that runs it in every runtime there is."""
    ki.save_graph(graph, path, outputs)
    proto = onnx.load(path)
    if all(i.type.tensor_type.HasField("shape") for i in proto.graph.input):  # the checker wants every input's rank
        onnx.checker.check_model(proto, full_check=True)

    def run(feeds: dict[str, Any]) -> list[list[Any]]:
        from onnx.reference import ReferenceEvaluator

        feeds = {name: np.asarray(value) for name, value in feeds.items()}
        results = [ReferenceEvaluator(proto).run(None, feeds)]
        try:
            import onnxruntime
        except ImportError:
            pass
        else:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            results.append(onnxruntime.InferenceSession(str(path), options).run(None, feeds))
        again = ki.load(path)
        names = [o.name for o in proto.graph.output]
        answers = ki.Session(again.graph).run(names, feeds)
        return [*results, list(answers)]

    return run


def same(
    graph: ki.Graph, path: Path, feeds: dict[str, Any], outputs: tuple[str, ...] = ("end:0",), **near: float
) -> None:
    expected = ki.Session(graph).run(list(outputs), {f"{n}:0": v for n, v in feeds.items()})
    for found in written(graph, path, outputs)(feeds):
        for a, b in zip(expected, found, strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            np.testing.assert_allclose(b, a, **(near or {"rtol": 0, "atol": 0}))


def test_a_loop_with_a_branch_inside(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(loop())
    graph = ki.load(tmp_path / "m.tflite").graph
    x = np.random.default_rng().normal(0, 1, 2).astype(F)
    for count in (0, 1, 5):
        same(graph, tmp_path / "m.onnx", {"i": np.int32(count), "x": x}, ("z/Mul:0",))


@pytest.mark.parametrize("rank", [0, None], ids=["scalar", "unknown"])
def test_what_stays_and_what_is_not_read(tmp_path: Path, rank: int | None, seed: int) -> None:
    """An input after the state is read from outside; a constant among them is one of the file; the shape may grow."""
    shape: Any = None if rank is None else ()
    cond, names = inner(lambda a: ki.less(a, 20.0), a=(ki.float32, shape))
    body, body_names = inner(
        lambda a, s, b, k: (ki.multiply(a, b), ki.concat([s, k], 0)),
        a=(ki.float32, shape), s=(ki.float32, (None,)), b=(ki.float32, ()), k=(ki.float32, (2,)),
    )  # fmt: skip
    with ki.Graph().as_default() as graph:
        x, b = ki.placeholder(ki.float32, [], name="x"), ki.placeholder(ki.float32, [], name="b")
        s, k = ki.placeholder(ki.float32, [None], name="s"), ki.constant(np.array([3, 5], F))
        attrs = {
            "cond": cond, "cond_inputs": (*names, "", "", ""), "body": body, "body_inputs": body_names, "count": 2,
        }  # fmt: skip
        made = graph.create_op("KiWhile", [x, s, b, k], attrs, "y").outputs
        for value, dims, name in ((made[0], (), "end"), (made[1], (None,), "grown")):
            graph.create_op("EnsureShape", [value], {"shape": dims}, name)
    rng = np.random.default_rng(seed)
    for start in (3.0, 50.0):
        feeds = {"x": F(start), "b": F(2), "s": rng.standard_normal(rng.integers(0, 3)).astype(F)}
        same(graph, tmp_path / "m.onnx", feeds, ("end:0", "grown:0"))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_case_of_an_index(tmp_path: Path, count: int) -> None:
    """An index that no branch has means the last one."""
    parts = [inner(lambda a, i=i: ki.add(a, float(i)), a=(ki.float32, (2,))) for i in range(count)]
    with ki.Graph().as_default() as graph:
        which = ki.placeholder(ki.int32, [], name="which")
        x = ki.placeholder(ki.float32, [2], name="x")
        attrs = {"branches": tuple(g for g, _ in parts), "branch_inputs": tuple(n for _, n in parts), "index": True}
        ki.identity(graph.create_op("KiBranch", [which, x], attrs, "choice").outputs[0], name="end")
    run = written(graph, tmp_path / "m.onnx")
    for value in (-1, *range(count + 2)):
        taken = value if 0 <= value < count else count - 1
        for (found,) in run({"which": np.int32(value), "x": np.array([1, 2], F)}):
            assert found.tolist() == [1 + taken, 2 + taken]


@pytest.mark.parametrize(
    ("value", "taken"), [(F(0), 0), (F(0.5), 1), (F(-2), 1), (np.zeros(1, F), 1), (np.zeros((0, 2), F), 0)], ids=str
)
def test_what_is_taken_for_a_truth(tmp_path: Path, value: Any, taken: int) -> None:
    """A number other than 0, or any elements at all, as in TensorFlow; the rank may only be known in the run."""
    parts = [inner(lambda a, f=f: ki.multiply(a, f), a=(ki.float32, ())) for f in (3.0, 5.0)]
    for shape in (value.shape, None):
        with ki.Graph().as_default() as graph:
            which, x = ki.placeholder(ki.float32, shape, name="which"), ki.placeholder(ki.float32, [], name="x")
            attrs = {"branches": tuple(g for g, _ in parts), "branch_inputs": tuple(n for _, n in parts)}
            ki.identity(graph.create_op("KiBranch", [which, x], attrs, "choice").outputs[0], name="end")
        ki.save_graph(graph, tmp_path / "m.onnx", ["end:0"])
        proto = onnx.load(tmp_path / "m.onnx")
        if shape is not None:  # the checker wants the rank of every input
            onnx.checker.check_model(proto, full_check=True)
        from onnx.reference import ReferenceEvaluator

        (found,) = ReferenceEvaluator(proto).run(None, {"which": value, "x": F(1)})
        assert found == (3, 5)[taken]


def test_images_in_a_loop_keep_to_the_layout(tmp_path: Path, seed: int) -> None:
    """A convolution inside of a body, whose weights stand outside: the file has NCHW, the state is NHWC."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((3, 3, 2, 2)).astype(F) / 4
    cond, _ = inner(lambda i, v: ki.less(i, 3), i=(ki.int32, ()), v=(ki.float32, (None, 5, 4, 2)))
    body, names = inner(
        lambda i, v, k: (ki.add(i, 1), ki.relu(ki.conv2d(v, k, 1, "SAME"))),
        i=(ki.int32, ()), v=(ki.float32, (None, 5, 4, 2)), k=(ki.float32, w.shape),
    )  # fmt: skip
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [None, 5, 4, 2], name="x")
        start = ki.conv2d(x, w, 1, "SAME")
        attrs = {"cond": cond, "cond_inputs": ("i", "v", ""), "body": body, "body_inputs": names, "count": 2}
        end = graph.create_op("KiWhile", [ki.constant(0), start, ki.constant(w)], attrs, "y").outputs[1]
        graph.create_op("EnsureShape", [end], {"shape": (None, 5, 4, 2)}, "end")
    feeds = {"x": rng.standard_normal((2, 5, 4, 2)).astype(F)}
    same(graph, tmp_path / "m.onnx", feeds, rtol=2e-5, atol=1e-5)


# --- lists of tensors -------------------------------------------------------------------------------------------------------

I32 = np.dtype(np.int32)


def listed(graph: ki.Graph, kind: str, *inputs: Any, **attrs: Any) -> Any:
    with graph.as_default():
        given = [
            x if hasattr(x, "op") else ki.constant(np.asarray(x, np.int32 if not hasattr(x, "dtype") else None))
            for x in inputs
        ]
    made = graph.create_op(kind, given, attrs).outputs
    return made[0] if len(made) == 1 else made


@pytest.mark.parametrize("stated", [(2, 3), (None, 3), None], ids=str)
@pytest.mark.parametrize("start", ["reserved", "empty"])
def test_a_loop_that_collects_backwards(tmp_path: Path, start: str, stated: Any, seed: int) -> None:
    """Elements written from the last to the first, or pushed; their shape may be known in the run only."""
    shape = np.int32(-1) if stated is None else np.array([-1 if d is None else d for d in stated], np.int32)
    dims = (None, None, 3) if stated is None or None in stated else (None, *stated)
    cond, _ = inner(lambda i, n: ki.less(i, n), i=(ki.int32, ()), n=(ki.int32, ()))
    with ki.Graph().as_default() as body:
        i, n = (ki.placeholder(ki.int32, (), name=k) for k in ("i", "n"))
        values = body.create_op("Placeholder", (), {"dtype": LIST, "shape": None}, "list").outputs[0]
        x = ki.placeholder(ki.float32, dims, name="x")
        row = ki.multiply(ki.gather(x, i), 2.0)
        if start == "empty":
            grown = listed(body, "TensorListPushBack", values, row, element_dtype=np.dtype(F))
        else:
            place = ki.subtract(ki.subtract(n, 1), i)
            grown = listed(body, "TensorListSetItem", values, place, row, element_dtype=np.dtype(F))
        ends = (ki.add(i, 1).port, grown.port)
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, dims, name="x")
        n = ki.placeholder(ki.int32, (), name="n")
        given = {"element_dtype": np.dtype(F), "shape_type": I32}
        first = listed(
            graph, *(("EmptyTensorList", shape, -1) if start == "empty" else ("TensorListReserve", shape, n)), **given
        )
        attrs = {
            "cond": cond, "cond_inputs": ("i", "", "n", ""), "body": Frozen(body.freeze().nodes, ends),
            "body_inputs": ("i", "list", "n", "x"), "count": 2,
        }  # fmt: skip
        last = graph.create_op("KiWhile", [ki.constant(0), first, n, x], attrs, "y").outputs[1]
        end = listed(graph, "TensorListStack", last, shape, element_dtype=np.dtype(F), num_elements=-1)
        graph.create_op("EnsureShape", [end], {"shape": (None, None, 3)}, "end")
    for count in (1, 3):
        feeds = {"x": np.random.default_rng(seed).standard_normal((count, 2, 3)).astype(F), "n": np.int32(count)}
        same(graph, tmp_path / "m.onnx", feeds)


@pytest.mark.parametrize("known", [True, False])
def test_what_lists_are_changed_by(tmp_path: Path, known: bool, seed: int) -> None:
    """Elements are taken off, added, replaced and gathered; what is not written is zeros."""
    dtype, shape = np.dtype(F), np.array([2 if known else -1], np.int32)
    given = {"element_dtype": dtype, "shape_type": I32}
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, (4, 2 if known else None), name="x")
        values = listed(graph, "TensorListFromTensor", x, shape, **given)
        values, last = listed(graph, "TensorListPopBack", values, shape, element_dtype=dtype)
        values = listed(graph, "TensorListPushBack", values, ki.multiply(last, 3.0), element_dtype=dtype)
        values = listed(graph, "TensorListResize", values, 6)
        first = listed(graph, "TensorListGetItem", values, 0, shape, element_dtype=dtype)
        values = listed(
            graph, "TensorListSetItem", values, 8, first, element_dtype=dtype, resize_if_index_out_of_bounds=True
        )
        rows = ki.gather(x, np.array([2, 3]))
        values = listed(graph, "TensorListScatterIntoExistingList", values, rows, [1, 6], element_dtype=dtype)
        listed(graph, "TensorListGather", values, [6, 0, 8], shape, element_dtype=dtype)
        end = listed(graph, "TensorListStack", values, shape, element_dtype=dtype, num_elements=-1)
        graph.create_op("EnsureShape", [end], {"shape": (None, None)}, "end")
        graph.create_op("Identity", [listed(graph, "TensorListLength", values)], {}, "count")
        picked = listed(graph, "TensorListGather", values, [6, 0, 8], shape, element_dtype=dtype)
        graph.create_op("EnsureShape", [picked], {"shape": (None, None)}, "picked")
    feeds = {"x": np.random.default_rng(seed).standard_normal((4, 2)).astype(F)}
    same(graph, tmp_path / "m.onnx", feeds, ("end:0", "count:0", "picked:0"))


def test_elements_of_different_shapes_are_refused(tmp_path: Path) -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, (4, 2), name="x")
        values = listed(
            graph, "TensorListSplit", x, np.array([-1, 2], np.int32), np.array([1, 3], np.int64),
            element_dtype=np.dtype(F), shape_type=I32,
        )  # fmt: skip
        listed(graph, "TensorListLength", values)
    with pytest.raises(
        ki.KigraphError, match=r"TensorListSplit '.*' cannot be written .* elements of different shapes"
    ):
        ki.save_graph(graph, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
