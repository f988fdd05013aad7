"""Checkpoints of TensorFlow before 2017: one table with the tensors in it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.errors import LoadError
from kigraph.graph.formats import tensor_bundle as tb
from kigraph.graph.formats.protobuf.write import pack_numbers
from kigraph.graph.formats.tensorflow import DTYPE_NUMBERS, Dim, TensorProto, TensorShape
from kigraph.graph.loaders import LoadLimits, load
from tests.loaders import bundle_files as made
from tests.loaders.bundle_files import old_checkpoint
from tests.loaders.graph_files import F32, node
from tests.loaders.saved_files import KEYS, B, W, X, reference

RNG = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "f": RNG.standard_normal((40, 70)).astype("f4"),
    "i": np.array([[1, -2, 300], [2**40, 0, -(2**62)]]),
    "b": np.array([True, False, True]),
    "d": np.float64(2.5),
    "e": np.zeros((0, 4), "f4"),
    "h": RNG.standard_normal(5).astype("f2"),
    "c": np.array([1 + 2j, -3j], "c8"),
    "s": np.array([b"x", b"yz" * 9], object),
}


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    loaded = load(path)
    assert loaded.weights is not None
    assert loaded.family.name == "tf-checkpoint"
    return {name: loaded.weights.read(name) for name in loaded.weights}


@pytest.mark.parametrize("per_block", [1, 3, 100])
def test_arrays_are_read(tmp_path: Path, per_block: int) -> None:
    (tmp_path / "model.ckpt-1").write_bytes(old_checkpoint(ARRAYS, parts={"f": (10, 30)}, per_block=per_block))
    found = read(tmp_path / "model.ckpt-1")
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype


def test_with_the_graph_beside(tmp_path: Path) -> None:
    nodes = [
        node(n.name, "Restore" if n.op == "RestoreV2" else n.op, *n.input) if n.op == "RestoreV2" else n
        for n in reference()
    ]
    prefix = tmp_path / "model.ckpt-1"
    prefix.write_bytes(old_checkpoint(KEYS))
    prefix.with_name("model.ckpt-1.meta").write_bytes(made.packed(made.meta_graph(nodes, restore="save/restore_all")))
    for path in (prefix, f"{prefix}.meta"):
        graph = load(path).graph
        assert graph is not None
        np.testing.assert_allclose(ki.Session(graph, backend="numpy").run("y:0", {"x:0": X}), X @ W + B, rtol=1e-6)


def one(tensor: tb.SavedTensor, part: tb.SavedPart) -> bytes:
    return made.table(
        {b"": made.packed(tb.SavedParts(tb.SavedTensors([tensor]))), b"\0a": made.packed(tb.SavedParts(data=part))}
    )


def listed(*shape: int, kind: Any = F32) -> tb.SavedTensor:
    return tb.SavedTensor("a", TensorShape(dim=[Dim(size=n) for n in shape]), DTYPE_NUMBERS[np.dtype(kind)])


def part(*extents: tuple[int, int | None], name: str = "a", **values: Any) -> tb.SavedPart:
    return tb.SavedPart(name, tb.TensorSlice([tb.Extent(*e) for e in extents]), TensorProto(**values))


FOUR: Any = [pack_numbers([1.0, 2.0, 3.0, 4.0], "float")]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (one(listed(5), part((0, None), float_val=FOUR)), "found 16 bytes; expected 20"),
        (one(listed(3), part((0, None), float_val=FOUR)), "found 4 values; expected at most 3"),
        (one(listed(5, kind="i8"), part((0, None), int64_val=[b"\1\2"])), "another number of values"),
        (one(listed(8), part((0, 4), float_val=FOUR)), "parts up to 4; expected up to 8"),
        (one(listed(8), part((6, 4), float_val=FOUR)), "a part outside of it"),
        (one(listed(8), part((-1, 4), float_val=FOUR)), "a part outside of it"),
        (one(listed(4), part(float_val=FOUR)), "a part outside of it"),
        (one(listed(4), part((0, None), name="b", float_val=FOUR)), "a tensor that is not listed"),
        (one(listed(1 << 40), part((0, None), float_val=FOUR)), "LoadLimits"),
        (made.table({b"": made.packed(tb.SavedParts(tb.SavedTensors([listed(4)])))}), "no values"),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(LoadError, match=what):
        read(tmp_path / "x")


def test_damaged_files(tmp_path: Path) -> None:
    good = old_checkpoint({"a": np.arange(3000, dtype="f4")}, per_block=1)
    path = tmp_path / "x"
    bad = bytearray(good)
    bad[good.index(struct.pack("<f", 1234.0))] ^= 1
    path.write_bytes(bad)
    with pytest.raises(LoadError, match="found another checksum"):
        read(path)
    path.write_bytes(made.table({b"": made.packed(tb.SavedParts(tb.SavedTensors([listed(4)]))), b"z" * 9: b"?" * 99}))
    with pytest.raises(LoadError):
        read(path)
    for size in range(0, len(good), 97):
        path.write_bytes(good[:size])
        with pytest.raises(LoadError):
            load(path, LoadLimits(max_nodes=500))
