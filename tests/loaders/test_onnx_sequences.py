"""Sequences and optional values of ONNX files, where their length is known while the file is read."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.errors import LoadError, UnsupportedOpError
from kigraph.graph.loaders import load

F = np.float32


def _run(path: Path, nodes: list[tuple[str, list[str], list[str], dict[str, Any]]], x: Any, **constants: Any) -> Any:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node(op, given, made, **attrs) for op, given, made, attrs in nodes], "g",
        [helper.make_tensor_value_info("x", 1, x.shape)], [helper.make_empty_tensor_value_info("y")],
        [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )  # fmt: skip
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    return ki.Session(load(path).graph).run(["y"], {"x": x})[0]


def test_pieces_are_split_picked_inserted_erased_and_joined(tmp_path: Path, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(3, 7)).astype(F)
    nodes: list[Any] = [
        ("SplitToSequence", ["x", "two"], ["s"], {"axis": 1}),
        ("SequenceAt", ["s", "last"], ["a"], {}),
        ("SequenceInsert", ["s", "a", "first"], ["t"], {}),
        ("SequenceErase", ["t", "two"], ["u"], {}),
        ("SequenceInsert", ["u", "x"], ["v"], {}),
        ("ConcatFromSequence", ["v"], ["y"], {"axis": -1}),
    ]
    y = _run(tmp_path / "m.onnx", nodes, x, two=np.int64(2), last=np.int64(-1), first=np.int64(0))
    parts = [x[:, i : i + 2] for i in range(0, 7, 2)]
    parts.insert(0, parts[-1])
    del parts[2]
    assert (y == np.concatenate([*parts, x], 1)).all()


@pytest.mark.parametrize("keep", [0, 1])
def test_single_elements_and_their_number(keep: int, tmp_path: Path, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(4, 3)).astype(F)
    nodes: list[Any] = [
        ("SplitToSequence", ["x"], ["s"], {"axis": 0, "keepdims": keep}),
        ("SequenceLength", ["s"], ["n"], {}),
        ("Cast", ["n"], ["f"], {"to": 1}),
        ("ConcatFromSequence", ["s"], ["j"], {"axis": 0, "new_axis": 1}),
        ("Mul", ["j", "f"], ["y"], {}),
    ]
    y = _run(tmp_path / "m.onnx", nodes, x)
    assert (y == (x[:, None] if keep else x) * 4).all()


def test_values_that_may_be_missing(tmp_path: Path) -> None:
    x = np.arange(3, dtype=F)
    nodes: list[Any] = [
        ("Optional", ["x"], ["o"], {}), ("OptionalHasElement", ["o"], ["h"], {}), ("OptionalGetElement", ["o"], ["e"], {}),
        ("Where", ["h", "e", "zero"], ["y"], {}),
    ]  # fmt: skip
    assert (_run(tmp_path / "m.onnx", nodes, x, zero=F(0)) == x).all()


def test_positions_beyond_the_end_and_sequences_as_results(tmp_path: Path) -> None:
    x = np.zeros(3, F)
    made: Any = ("SequenceConstruct", ["x", "x"], ["s"], {})
    with pytest.raises(LoadError, match="position 2 of 2 tensors"):
        _run(tmp_path / "m.onnx", [made, ("SequenceAt", ["s", "i"], ["y"], {})], x, i=np.int64(2))
    with pytest.raises(LoadError, match="an empty sequence"):
        _run(tmp_path / "m.onnx", [("SequenceEmpty", [], ["s"], {}), ("ConcatFromSequence", ["s"], ["y"], {"axis": 0})], x)  # fmt: skip
    with pytest.raises(UnsupportedOpError, match="Sequence"):
        _run(tmp_path / "m.onnx", [("SequenceConstruct", ["x", "x"], ["y"], {})], x)


@pytest.mark.parametrize("names", [0, 1, 3])
def test_other_names_of_sequences_and_optional_values(names: int, tmp_path: Path) -> None:
    x = np.arange(3, dtype=F)

    def renamed(name: str) -> tuple[list[Any], str]:
        every = [name, *(f"{name}{i}" for i in range(names))]
        return [("Identity", [a], [b], {}) for a, b in itertools.pairwise(every)], every[-1]

    (made, sequence), (held, optional), (none, empty) = renamed("s"), renamed("o"), renamed("e")
    nodes: list[Any] = [
        ("SequenceConstruct", ["x", "x"], ["s"], {}), *made,
        ("Optional", [sequence], ["o"], {}), *held,
        ("OptionalGetElement", [optional], ["t"], {}),
        ("SequenceLength", ["t"], ["n"], {}),
        ("Optional", [], ["e"], {"type": pytest.importorskip("onnx").helper.make_optional_type_proto(
            pytest.importorskip("onnx").helper.make_tensor_type_proto(1, [3]))}), *none,
        ("OptionalHasElement", [empty], ["b"], {}),
        ("Cast", ["b"], ["c"], {"to": 1}), ("Cast", ["n"], ["f"], {"to": 1}),
        ("Add", ["c", "f"], ["y"], {}),
    ]  # fmt: skip
    assert np.asarray(_run(tmp_path / "m.onnx", nodes, x)) == 2
