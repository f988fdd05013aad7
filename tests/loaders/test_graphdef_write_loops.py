"""Loops and branches in a written GraphDef: While, If and Case with functions; TensorFlow runs them in tests/interop/files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.formats.tensorflow_outputs import OUTPUT_NAMES
from kigraph.graph.formats.tensorflow_single_outputs import SINGLE_OUTPUTS
from kigraph.graph.ir import Graph as Frozen

from .tflite_files import loop


def inner(make: Any, *inputs: str) -> tuple[Frozen, tuple[str, ...]]:
    """A graph of scalars and the names of its inputs."""
    with ki.Graph().as_default() as graph:
        made = make(*(ki.placeholder(ki.float32, [], name=n) for n in inputs))
        ports = tuple(t.port for t in (made if isinstance(made, tuple) else (made,)))
    return Frozen(graph.freeze().nodes, ports), inputs


def again(graph: ki.Graph, folder: Path) -> ki.Graph:
    ki.save_graph(graph, folder / "m.pb")
    return ki.load(folder / "m.pb").graph


def test_a_loop_with_a_branch_inside(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(loop())
    first = ki.load(tmp_path / "m.tflite")
    ki.save(first, tmp_path / "m.pb")
    second = ki.load(tmp_path / "m.pb")
    assert {op.type for op in second.graph.operations} >= {"KiWhile"}
    for count in (0, 1, 5):
        feeds = {"i": np.int32(count), "x": np.random.default_rng().normal(0, 1, 2).astype(np.float32)}
        expected, found = first.predict(feeds), second.predict(feeds)
        assert expected.keys() == found.keys()
        assert all(np.array_equal(expected[name], found[name]) for name in expected)
        assert found["z"].tolist() == (feeds["x"] * np.float32(0.5 ** max(2 - count, 0))).tolist()


def test_what_stays_and_what_is_not_read(tmp_path: Path) -> None:
    """An input after the state, of which the condition reads none, keeps its place; names of nodes are those of arguments."""
    cond, cond_inputs = inner(lambda a: ki.less(a, 20.0), "arg_0")
    body, body_inputs = inner(lambda a, b: ki.multiply(a, b), "arg_0", "step")
    with ki.Graph().as_default() as graph:
        x, b = ki.placeholder(ki.float32, [], name="x"), ki.placeholder(ki.float32, [], name="b")
        attrs = {
            "cond": cond, "cond_inputs": (*cond_inputs, ""), "body": body, "body_inputs": body_inputs, "count": 1,
        }  # fmt: skip
        y = graph.create_op("KiWhile", [x, b], attrs, "y").outputs[0]
        ki.identity(y, name="end")
    loaded = again(graph, tmp_path)
    for g in (graph, loaded):
        assert ki.Session(g).run("end", {"x": 3.0, "b": 2.0}) == 24


@pytest.mark.parametrize("index", [False, True])
def test_branches(index: bool, tmp_path: Path) -> None:
    parts = [inner(lambda a, f=f: ki.add(a, f), "a") for f in ((1.0, 2.0, 3.0) if index else (1.0, 2.0))]
    with ki.Graph().as_default() as graph:
        which = ki.placeholder(ki.int32 if index else ki.bool_, [], name="which")
        x = ki.placeholder(ki.float32, [], name="x")
        attrs = {"branches": tuple(g for g, _ in parts), "branch_inputs": tuple(n for _, n in parts), "index": index}
        ki.identity(graph.create_op("KiBranch", [which, x], attrs, "choice").outputs[0], name="end")
    loaded = again(graph, tmp_path)
    for value in (0, 1, 2, 7, -1) if index else (False, True):
        results = [float(ki.Session(g).run("end", {"which": value, "x": 10.0})) for g in (graph, loaded)]
        place = (value if 0 <= value < 3 else 2) if index else int(value)
        assert results == [11.0 + place] * 2


def test_two_loops_of_one_name_have_functions_of_their_own(tmp_path: Path) -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [], name="x")
        for name, factor in (("a/b", 2.0), ("a_b", 5.0)):
            cond, names = inner(lambda v: ki.less(v, 100.0), "v")
            body, _ = inner(lambda v, f=factor: ki.multiply(v, f), "v")
            attrs = {"cond": cond, "cond_inputs": names, "body": body, "body_inputs": names, "count": 1}
            graph.create_op("KiWhile", [x], attrs, name)
    session = ki.Session(again(graph, tmp_path))
    assert session.run(["a/b:0", "a_b:0"], {"x": 1.0}) == [128, 125]


def test_no_op_is_in_both_tables_of_names() -> None:
    assert not set(SINGLE_OUTPUTS) & set(OUTPUT_NAMES)
