"""FlatBuffers: what is read is what was written, and no offset is followed without a check."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.formats.flatbuffers.flex import read_map
from kigraph.graph.formats.flatbuffers.reader import Reader, Table
from kigraph.graph.formats.limits import Budget, LoadLimits
from kigraph.graph.formats.source import Source
from tests.loaders import tflite_files as files

Write = Callable[..., Path]


def reader(path: Path, limits: LoadLimits | None = None) -> Reader:
    source = Source(path)
    return Reader(source, Budget("f", source.size, limits), "the buffer")


def everything(table: Table, depth: int = 3) -> None:
    """Reads every field in every way."""
    for slot in range(6):
        for kind in ("int8", "int32", "float", "uint64", "bool"):
            table.number(slot, kind, 0)
    for read in (
        lambda slot: table.text(slot), lambda slot: table.texts(slot, "texts"), lambda slot: table.array(slot, "int64"),
        lambda slot: table.integers(slot), lambda slot: table.span(slot, 4),
        lambda slot: [everything(t, depth - 1) for t in table.tables(slot, "tables") if depth],
    ):  # fmt: skip
        for slot in range(6):
            try:
                read(slot)
            except LoadError:
                continue


SAMPLE = files.Table({
    0: ("i8", -3), 1: "näme", 2: np.arange(5, dtype=np.int32), 3: [files.Table({0: ("f32", 0.5)}), files.Table()], 5: b"raw",
})  # fmt: skip


def test_reads_what_was_written(write: Write) -> None:
    root = reader(write(files.flatbuffer(SAMPLE, b"TEST"))).root()
    assert root.number(0, "int8", 7) == -3
    assert root.number(4, "int32", 7) == 7
    assert root.number(99, "int32", 7) == 7
    assert root.text(1) == "näme"
    assert root.integers(2) == (0, 1, 2, 3, 4)
    first, second = root.tables(3, "tables")
    assert first.number(0, "float", 0.0) == 0.5
    assert second.number(0, "float", 1.5) == 1.5
    span = root.span(5, 1)
    assert span is not None
    assert reader(write(files.flatbuffer(SAMPLE, b"TEST"))).bytes(*span, "raw") == b"raw"
    assert root.table(4) is None
    assert root.tables(4, "none") == []
    assert root.array(4, "float32").size == 0


def test_a_buffer_inside_of_a_file(write: Write) -> None:
    data = files.flatbuffer(SAMPLE, b"TEST")
    source = Source(write(b"x" * 5001 + data + b"y" * 100))
    root = Reader(source, Budget("f", source.size), "inner", 5001, len(data)).root()
    assert root.text(1) == "näme"
    span = root.span(5, 1)
    assert span is not None
    assert source.read(*span) == b"raw"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda d: struct.pack_into("<I", d, 0, 0), "refers to itself"),
        (lambda d: struct.pack_into("<I", d, 0, 1 << 31), "ends beyond"),
        (lambda d: struct.pack_into("<I", d, 0, len(d) - 2), "ends beyond"),
        (lambda d: struct.pack_into("<i", d, struct.unpack_from("<I", d)[0], -(1 << 30)), "ends beyond"),
        (lambda d: struct.pack_into("<H", d, 8, 3), "a vtable of 3 bytes"),
        (lambda d: struct.pack_into("<H", d, 8, 0xFFFE), "ends beyond"),
        (lambda d: struct.pack_into("<H", d, 10, 2), "for a table of 2"),
        (lambda d: struct.pack_into("<H", d, 14, 0xFF), "field 1 at byte 255"),
        (lambda d: struct.pack_into("<H", d, 14, 2), "field 1 at byte 2"),
    ],
)
def test_offsets_are_checked(write: Write, change: Callable[[bytearray], None], found: str) -> None:
    data = bytearray(files.flatbuffer(SAMPLE, b"TEST"))
    change(data)
    with pytest.raises(LoadError, match=found):
        reader(write(bytes(data))).root().text(1)


def test_counts_are_checked_before_anything_is_read(write: Write) -> None:
    data = bytearray(files.flatbuffer(files.Table({0: [files.Table()], 1: "text"}), b"TEST"))
    at = data.index(struct.pack("<I", 4) + b"text")
    struct.pack_into("<I", data, at, 0xFFFFFFFF)
    with pytest.raises(LoadError, match="4,294,967,295 elements"):
        reader(write(bytes(data))).root().text(1)


def test_shared_tables_cost_what_they_would_alone(write: Write) -> None:
    """Every reference counts, also one to a table that was read before."""
    data = bytearray(files.flatbuffer(files.Table({0: [files.Table()]}), b"TEST"))
    source = Source(write(bytes(data)))
    root = Reader(source, Budget("f", source.size, LoadLimits(max_nodes=10)), "b").root()
    assert len(root.tables(0, "tables")) == 1
    with pytest.raises(LoadError, match="list elements"):
        [root.tables(0, "tables") for _ in range(200)]


def test_text_must_be_utf_8_and_short(write: Write) -> None:
    for text in (b"\xff\xfe", b"x" * 70_000):
        with pytest.raises(LoadError):
            reader(write(files.flatbuffer(files.Table({1: text}), b"TEST"))).root().text(1)


def test_damage_raises_nothing_but_load_errors(write: Write) -> None:
    data = files.flatbuffer(SAMPLE, b"TEST")
    rng = random.Random(0)
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 2, 4))):
            at = rng.randrange(len(changed))
            if rng.random() < 0.5:
                changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            else:
                changed[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 4, len(data), 0x7FFFFFFF, 0xFFFFFFFF)))
        try:
            everything(reader(write(bytes(changed[: rng.choice((len(changed), len(data) // 2, len(data)))]))).root())
        except LoadError:
            continue


OPTIONS = {"max": 10, "low": -3, "scale": 2.5, "on": 1}


def test_flexbuffers() -> None:
    assert read_map(files.flex(OPTIONS)) == OPTIONS
    assert read_map(files.flex({})) == {}


def test_flexbuffers_of_the_library() -> None:
    flexbuffers = pytest.importorskip("flatbuffers.flexbuffers", reason="the format's own writer")
    numbers = {"a": 1, "b": -70_000, "c": 0.1, "d": True, "e": 1 << 40}
    assert read_map(bytes(flexbuffers.Dumps(numbers))) == pytest.approx(numbers)


def test_damaged_flexbuffers() -> None:
    data = files.flex(OPTIONS)
    rng = random.Random(0)
    for data_now in (b"", b"\0", data[:-1], bytes(30), data[3:]):
        with pytest.raises(ValueError, match="option"):
            read_map(data_now)
    for _ in range(2000):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 2, 5))):
            changed[rng.randrange(len(changed))] = rng.choice((0, 1, 4, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        try:
            read_map(bytes(changed))
        except ValueError:
            continue
