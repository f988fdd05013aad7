"""Switch and Merge of TensorFlow 1 written as ONNX's If, where only a run knows the predicate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

pytest.importorskip("onnx", reason="needs onnx (extra dev)")

from .test_onnx_write_control import same, written

F = np.float32


def switch(graph: ki.Graph, x: Any, predicate: Any) -> Any:
    """(what the false side gets, what the true side gets)"""
    return graph.create_op("Switch", [x, predicate], {}, "switch").outputs


def merge(graph: ki.Graph, *sides: Any) -> Any:
    return graph.create_op("Merge", list(sides), {"N": len(sides)}, "merge").outputs


@pytest.mark.parametrize("turned", [False, True], ids=["false-first", "true-first"])
def test_sides_that_read_what_is_outside(tmp_path: Path, turned: bool, seed: int) -> None:
    """The predicate is computed; weights and a value stand outside; which input was live is an output, too."""
    rng = np.random.default_rng(seed)
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [None, 3], name="x")
        predicate = ki.greater(ki.reduce_sum(x), 0.0)
        no, yes = switch(graph, x, graph.create_op("Identity", [predicate], {}, "copy").outputs[0])
        other, _ = switch(graph, ki.exp(x), predicate)
        sides = [ki.matmul(no, rng.standard_normal((3, 2)).astype(F)), ki.matmul(yes, np.eye(3, 2, dtype=F))]
        sides[0] = ki.add(sides[0], ki.reduce_sum(other))
        y, which = merge(graph, *(sides[::-1] if turned else sides))
        ki.multiply(y, 2.0, name="end")
        ki.add(which, 0, name="index")
    for sign in (1, -1):
        feeds = {"x": (sign * np.abs(rng.standard_normal((2, 3)))).astype(F)}
        same(graph, tmp_path / "m.onnx", feeds, ("end:0", "index:0"), rtol=1e-5, atol=1e-6)


def test_a_branch_inside_of_a_side(tmp_path: Path) -> None:
    """The inner branch reads a value that the outer side has, and one from outside of both."""
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [2], name="x")
        a, b = (ki.placeholder(ki.bool_, [], name=n) for n in "ab")
        no, yes = switch(graph, x, a)
        inner_predicate = switch(graph, b, a)[1]
        low, high = switch(graph, ki.multiply(yes, 3.0), inner_predicate)
        inner = merge(graph, ki.add(low, 1.0), ki.add(ki.add(high, 2.0), ki.reduce_sum(high)))[0]
        end = merge(graph, ki.negative(no), ki.add(inner, 100.0))[0]
        ki.identity(end, name="end")
    run = written(graph, tmp_path / "m.onnx")
    for first in (False, True):
        for second in (False, True):
            feeds = {"x": np.array([1, 5], F), "a": np.array(first), "b": np.array(second)}
            expected = [-1, -5] if not first else [123, 135] if second else [104, 116]
            assert [found[0].tolist() for found in run(feeds)] == [expected] * len(run(feeds))


def test_several_branches_of_one_predicate(tmp_path: Path, seed: int) -> None:
    """As dropout and batch norm in training have them, one after the other."""
    rng = np.random.default_rng(seed)
    with ki.Graph().as_default() as graph:
        x, train = ki.placeholder(ki.float32, [None, 4], name="x"), ki.placeholder(ki.bool_, [], name="train")
        y: Any = x
        for i in range(4):
            no, yes = switch(graph, y, train)
            y = merge(graph, no, ki.multiply(yes, float(i + 2)))[0]
        ki.identity(y, name="end")
    for value in (False, True):
        feeds = {"x": rng.standard_normal((2, 4)).astype(F), "train": np.array(value)}
        same(graph, tmp_path / "m.onnx", feeds)


def test_what_has_a_value_on_one_side_only_is_refused(tmp_path: Path) -> None:
    with ki.Graph().as_default() as graph:
        x, p = ki.placeholder(ki.float32, [2], name="x"), ki.placeholder(ki.bool_, [], name="p")
        ki.negative(switch(graph, x, p)[1], name="end")
    with pytest.raises(
        ki.KigraphError, match="one side of a branch that only a run chooses; name outputs behind its Merge"
    ):
        ki.save_graph(graph, tmp_path / "m.onnx", ["end:0"])


def test_batch_norm_with_the_statistics_of_the_batch(tmp_path: Path, seed: int) -> None:
    """All outputs that the op has; of one pixel, too, whose variance has no n - 1."""
    rng = np.random.default_rng(seed)
    for shape in ((2, 3, 4, 5), (1, 1, 1, 5)):
        with ki.Graph().as_default() as graph:
            x = ki.placeholder(F, (None, None, None, 5), name="x")
            scale, offset = (ki.constant(rng.standard_normal(5).astype(F)) for _ in range(2))
            empty = ki.constant(np.zeros(0, F))
            attrs = {"is_training": True, "epsilon": 0.01}
            made = graph.create_op("FusedBatchNormV3", [x, scale, offset, empty, empty], attrs, "norm").outputs
            for i, y in enumerate(made[:3]):
                graph.create_op("Identity", [y], {}, f"y{i}")
        feeds = {"x": rng.standard_normal(shape).astype(F)}
        same(graph, tmp_path / "m.onnx", feeds, ("y0:0", "y1:0", "y2:0"), rtol=2e-4, atol=1e-5)


def test_a_string_that_is_needed_is_refused_by_its_reader(tmp_path: Path) -> None:
    with ki.Graph().as_default() as graph:
        text = ki.placeholder(ki.string, [], name="jpeg")
        ki.identity(ki.decode_jpeg(text, channels=3, name="decode"), name="end")
    with pytest.raises(
        ki.KigraphError, match=r"input 'jpeg:0' is a string, and ONNX has no op that reads it as DecodeJpeg 'decode'"
    ):
        ki.save_graph(graph, tmp_path / "m.onnx")


def test_a_string_that_no_output_needs_is_left_out(tmp_path: Path) -> None:
    """As a file has it whose input has a default that an iterator of that name would give."""
    from kigraph.graph.writers.onnx import save_onnx

    with ki.Graph().as_default() as graph:
        ki.placeholder(ki.string, [], name="handle")
        ki.multiply(ki.placeholder(ki.float32, [2], name="x"), 2.0, name="end")
    save_onnx(graph, tmp_path / "m.onnx", ["end:0"], ["handle:0", "x:0"])
    again = ki.load(tmp_path / "m.onnx").graph
    assert [op.name for op in again.operations if op.type == "Placeholder"] == ["x"]
    assert ki.Session(again).run("end/Identity:0", {"x:0": np.array([1, 2], F)}).tolist() == [2, 4]


def test_random_numbers(tmp_path: Path) -> None:
    """Other ones in each run, all in [0, 1); those of a seed are refused."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    for seed in (0, 7):
        with ki.Graph().as_default() as graph:
            shape = ki.placeholder(ki.int32, [2], name="shape")
            attrs = {"dtype": np.dtype(F), "seed": seed, "seed2": 0}
            graph.create_op("RandomUniform", [shape], attrs, "drawn")
            graph.create_op("Identity", [graph.tensor("drawn:0")], {}, "end")
        if seed:
            with pytest.raises(ki.KigraphError, match="RandomUniform 'drawn' has a seed"):
                ki.save_graph(graph, tmp_path / "other.onnx", ["end:0"])
        else:
            ki.save_graph(graph, tmp_path / "m.onnx", ["end:0"])
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    (found,) = ReferenceEvaluator(proto).run(None, {"shape": np.array([40, 50], np.int32)})
    assert (found.shape, found.dtype) == ((40, 50), F)
    assert found.min() >= 0
    assert 0.9 < found.max() < 1
    assert abs(found.mean() - 0.5) < 0.05  # 8 standard deviations
