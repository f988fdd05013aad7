"""Loops, branches and variables of TensorFlow Lite, next to NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

from .tflite_files import Lite

Ends = tuple[Sequence[int], Sequence[int]]
SCALE, ZERO = 0.05, 3


def loaded(folder: Path, model: Lite, inputs: Sequence[int], outputs: Sequence[int]) -> ki.Classifier:
    (folder / "m.tflite").write_bytes(model.bytes(inputs, outputs))
    return ki.load(folder / "m.tflite", backend="cython")


def counted(part: Lite, more: int = 1) -> Ends:
    """(i, y) -> i < 4 or, with ``more``, (i + 1, 2 * y)."""
    i, y = part.tensor("i", [], "int32"), part.tensor("y", [3])
    if not more:
        part.op("LESS", [i, part.constant("four", np.int32(4))], [done := part.tensor("goes on", [], "bool")])
        return [i, y], [done]
    j, z = part.tensor("j", [], "int32"), part.tensor("z", [3])
    part.op("ADD", [i, part.constant("one", np.int32(1))], [j])
    part.op("MUL", [y, part.constant("two", np.float32(2))], [z])
    return [i, y], [j, z]


def test_a_loop(tmp_path: Path) -> None:
    model = Lite()
    x, start = model.tensor("x", [3]), model.tensor("start", [], "int32")
    cond, body = model.inner(lambda p: counted(p, 0)), model.inner(counted)
    i, y = model.tensor("i", [], "int32"), model.tensor("y", [3])
    model.op("WHILE", [start, x], [i, y], {0: ("i32", cond), 1: ("i32", body)})
    found = loaded(tmp_path, model, [start, x], [i, y])
    value = np.random.default_rng().normal(0, 1, 3).astype(np.float32)
    for first in (0, 3, 4, 9):
        count, result = found.session.run(["i", "y"], {"start": np.int32(first), "x": value})
        steps = max(4 - first, 0)
        assert count == first + steps
        assert np.array_equal(result, value * np.float32(2**steps))


def test_a_loop_that_grows(tmp_path: Path) -> None:
    """y = concat(y, x) while it has fewer than 9 elements: shapes change from step to step, x stays."""

    def cond(part: Lite) -> Ends:
        y, x = part.tensor("y", [2], signature=[-1]), part.tensor("x", [2], signature=[-1])
        part.op("SHAPE", [y], [size := part.tensor("size", [1], "int32")], {0: ("i8", 2)})
        part.op("LESS", [size, part.constant("nine", np.int32([9]))], [less := part.tensor("less", [1], "bool")])
        part.op(
            "RESHAPE", [less, part.constant("none", np.empty(0, np.int32))], [done := part.tensor("done", [], "bool")]
        )
        return [y, x], [done]

    def body(part: Lite) -> Ends:
        y, x = part.tensor("y", [2], signature=[-1]), part.tensor("x", [2], signature=[-1])
        part.op("CONCATENATION", [y, x], [z := part.tensor("z", [4], signature=[-1])], {0: ("i32", 0)})
        return [y, x], [z, x]

    model = Lite()
    x = model.tensor("x", [2], signature=[-1])
    y, same = model.tensor("y", [2], signature=[-1]), model.tensor("same", [2])
    model.op("WHILE", [x, x], [y, same], {0: ("i32", model.inner(cond)), 1: ("i32", model.inner(body))})
    found = loaded(tmp_path, model, [x], [y, same])
    for size in (1, 2, 4, 9, 10):
        value = np.arange(size, dtype=np.float32)
        y_found, x_found = found.session.run(["y", "same"], {"x": value})
        expected = value
        while len(expected) < 9:
            expected = np.concatenate([expected, value])
        assert np.array_equal(y_found, expected)
        assert np.array_equal(x_found, value)


def scaled(factor: float, quantized: bool) -> Any:
    def make(part: Lite) -> Ends:
        grid = {"kind": "int8", "scale": SCALE, "zero": ZERO} if quantized else {}
        x, y = part.tensor("x", [4], **grid), part.tensor("y", [4], **grid)
        constant = (
            part.constant("factor", np.int8([factor * 64]), scale=1 / 64)
            if quantized
            else part.constant("factor", np.float32(factor))
        )
        part.op("MUL", [x, constant], [y])
        return [x], [y]

    return make


@pytest.mark.parametrize("quantized", [False, True])
def test_a_branch(quantized: bool, tmp_path: Path) -> None:
    model = Lite()
    grid = {"kind": "int8", "scale": SCALE, "zero": ZERO} if quantized else {}
    choice, x, y = model.tensor("choice", [], "bool"), model.tensor("x", [4], **grid), model.tensor("y", [4], **grid)
    then, other = model.inner(scaled(0.5, quantized)), model.inner(scaled(-0.75, quantized))
    model.op("IF", [choice, x], [y], {0: ("i32", then), 1: ("i32", other)})
    found = loaded(tmp_path, model, [choice, x], [y])
    rng = np.random.default_rng()
    value = rng.integers(-128, 128, 4).astype(np.int8) if quantized else rng.normal(0, 1, 4).astype(np.float32)
    for taken in (True, False):
        result = found.session.run("y", {"choice": taken, "x": value})
        factor = 0.5 if taken else -0.75
        if quantized:
            steps = (value.astype(np.float64) - ZERO) * factor
            assert result.dtype == np.int8
            assert np.abs(result - np.clip(steps + ZERO, -128, 127)).max() <= 0.5
        else:
            assert np.array_equal(result, value * np.float32(factor))


def variables(model: Lite, *, changed: bool = False) -> tuple[int, int]:
    handle, x, y = model.tensor("h", [], "resource"), model.tensor("x", [3]), model.tensor("y", [3])
    names = {0: "", 1: "w"}

    def setting(part: Lite) -> Ends:
        part.op("VAR_HANDLE", [], [h := part.tensor("h", [], "resource")], names)
        part.op("ASSIGN_VARIABLE", [h, part.constant("w", np.float32([2, 3, 5]))], [])
        return [], []

    model.op("CALL_ONCE", [], [], {0: ("i32", model.inner(setting))})
    model.op("VAR_HANDLE", [], [handle], names)
    if changed:
        model.op("ASSIGN_VARIABLE", [handle, x], [])
    model.op("READ_VARIABLE", [handle], [w := model.tensor("w", [3])])
    model.op("MUL", [x, w], [y])
    return x, y


def test_variables_that_are_set_once(tmp_path: Path) -> None:
    model = Lite()
    x, y = variables(model)
    found = loaded(tmp_path, model, [x], [y])
    assert found.session.run("y", {"x": np.float32([1, 2, 3])}).tolist() == [2, 6, 15]


def test_variables_that_a_run_changes_are_refused_by_name(tmp_path: Path) -> None:
    model = Lite()
    x, y = variables(model, changed=True)
    found = loaded(tmp_path, model, [x], [y])
    with pytest.raises(ki.UnsupportedOpError, match=r"VARIABLE|VAR_HANDLE"):
        found.session.run("y", {"x": np.float32([1, 2, 3])})


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    def twice(number: int, kind: str = "float32", results: int = 1) -> Lite:
        model = Lite()
        choice, x, y = model.tensor("choice", [], "bool"), model.tensor("x", [4]), model.tensor("y", [4])

        def other(part: Lite) -> Ends:
            inner = part.tensor("x", [4], kind)
            return [inner], [inner] * results

        model.inner(other)
        model.op("IF", [choice, x], [y], {0: ("i32", number), 1: ("i32", 1)})
        return model

    def run(model: Lite) -> Any:
        feeds = {"choice": True, "x": np.zeros(4, np.float32)}
        return loaded(tmp_path, model, [0, 1], [2]).session.run("y", feeds)

    assert run(twice(1)).tolist() == [0] * 4
    for wrong in (twice(1, "int32"), twice(1, results=0)):
        with pytest.raises(ki.UnsupportedOpError, match="IF"):
            run(wrong)
    for number in (7, -1):
        with pytest.raises(ki.LoadError, match="one of 2"):
            run(twice(number))


def test_a_subgraph_inside_of_itself_is_refused(tmp_path: Path) -> None:
    model = Lite()
    choice, x, y = model.tensor("choice", [], "bool"), model.tensor("x", [4]), model.tensor("y", [4])

    def again(part: Lite) -> Ends:
        a, b, c = part.tensor("choice", [], "bool"), part.tensor("x", [4]), part.tensor("y", [4])
        part.op("IF", [a, a, b], [c], {0: ("i32", 1), 1: ("i32", 1)})
        return [a, b], [c]

    model.inner(again)
    model.op("IF", [choice, choice, x], [y], {0: ("i32", 1), 1: ("i32", 1)})
    found = loaded(tmp_path, model, [choice, x], [y])
    assert any("inside of itself" in reason for reason in found.graph.metadata["unsupported"])
    with pytest.raises(ki.UnsupportedOpError, match="IF"):
        found.session.run("y", {"choice": True, "x": np.zeros(4, np.float32)})
