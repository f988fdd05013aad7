"""Checkpoints of TensorFlow: tables, checksums, parts of variables, strings; and what a damaged one gives."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.formats import tensor_bundle as tb
from kigraph.graph.formats.crc32c import crc32c, masked_crc32c
from kigraph.graph.formats.limits import Budget
from kigraph.graph.formats.ordered_code import slice_key
from kigraph.graph.formats.snappy import unsnappy
from kigraph.graph.formats.source import Source
from kigraph.graph.formats.tensorflow import Dim, TensorShape
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.loaders.tensorflow.bundle import Bundle
from tests.loaders import bundle_files as made

RNG = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "a/w": RNG.standard_normal((7, 3)).astype("f4"),
    "a/x": np.arange(5, dtype="i8"),
    "b": np.array([True, False, True]),
    "c": np.float64(2.5),
    "d": np.zeros((0, 4), "f4"),
    "e": RNG.standard_normal((3, 2)).astype("f2"),
    "names": np.array([b"one", b"", b"x" * 300], object),
}


def read(index: Path) -> dict[str, np.ndarray[Any, Any]]:
    loaded = load(index)
    assert loaded.weights is not None
    return {name: loaded.weights.read(name) for name in loaded.weights}


def test_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the algorithm's catalogue
    assert crc32c(b"") == 0
    assert masked_crc32c(b"\0" * 32) == ((0x8A9136AA >> 15 | 0x8A9136AA << 17) + 0xA282EAD8) & 0xFFFFFFFF  # RFC 3720


def bit_by_bit(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [1, 3, 511, 512, 513, 4097, 70_001])
def test_crc32c_side_by_side(size: int) -> None:
    data = RNG.bytes(size)
    assert crc32c(data) == bit_by_bit(data)


def test_snappy() -> None:
    text = b"abcd" * 30 + b"end"
    copies = made.varint(len(text)) + b"\x0cabcd" + b"\xee\x04\x00" + b"\xde\x04\x00" + b"\x08end"
    assert unsnappy(copies, 1000) == text
    assert unsnappy(b"\x08\x0cabcd\x01\x04", 8) == b"abcdabcd"  # a copy with one byte of offset
    assert unsnappy(b"\x06\x00a\x13\x01\0\0\0", 8) == b"a" * 6  # one with four, over its own end
    assert unsnappy(b"\0", 0) == b""


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no length"),
        (b"\xff\xff\xff\xff\xff\x01", "no length"),
        (b"\x10\x00a", "1 of the 16 bytes"),
        (b"\x01\x04ab", "more than the 1"),
        (b"\x09\x0cab", "the end inside"),
        (b"\x08\x00a\x01\x09", "a copy from 9 bytes before, of 1"),
        (b"\x08\x00a\x01\x00", "a copy from 0"),
        (b"\x80\x80\x04\x00a", "more than 100"),
    ],
)
def test_snappy_that_is_damaged(data: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        unsnappy(data, 100)


def test_keys_of_parts() -> None:
    # Written down from TensorFlow's BundleWriter for a variable of 200 x 3 in parts.
    assert slice_key("w", [(0, 100), (0, -1)]) == b"\0w\0\1\1\2\x80\xc0\x64\x80\x7f"
    assert slice_key("w", [(100, 100), (0, -1)]) == b"\0w\0\1\1\2\xc0\x64\xc0\x64\x80\x7f"
    assert slice_key("a\0\xff", []).startswith(b"\0a\0\xff\xc3\xbf\0\1")
    assert slice_key("w", [(8191, 8192)]) == b"\0w\0\1\1\1\xdf\xff\xe0\x20\x00"


@pytest.mark.parametrize("snappy", [False, True])
def test_arrays_are_read(tmp_path: Path, snappy: bool) -> None:
    found = read(made.bundle(tmp_path / "model.ckpt", ARRAYS, snappy=snappy))
    assert list(found) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype


def test_parts_are_joined(tmp_path: Path) -> None:
    index = made.bundle(tmp_path / "p", ARRAYS, parts={"a/w": (3, 2, 2)})
    np.testing.assert_array_equal(read(index)["a/w"], ARRAYS["a/w"])
    source = Source(index)
    bundle = Bundle.read(source, Budget(source.name, source.size))
    for spec, rows in (("", slice(0, 7)), ("7 3 3,2:-", slice(3, 5)), ("7 3 0,7:0,3", slice(0, 7))):
        part = bundle.part("a/w", spec)
        assert part is not None
        np.testing.assert_array_equal(part.load(), ARRAYS["a/w"][rows])
    assert bundle.part("none", "") is None
    for spec in ("7 3 6,2:-", "7 3 -", "7 x 0,1:-", "7 3 1:-", " "):
        with pytest.raises(LoadError, match="RestoreV2"):
            bundle.part("a/w", spec)
    with pytest.raises(LoadError, match=r"found shape \(7, 3\); expected \(8, 3\)"):
        bundle.part("a/w", "8 3 0,1:-")


@pytest.mark.parametrize("rows", [(3, 2, 1), (3, 4, 1), (7, 7), ()])
def test_parts_that_do_not_make_a_whole(tmp_path: Path, rows: tuple[int, ...]) -> None:
    index = made.bundle(tmp_path / "p", ARRAYS, parts={"a/w": rows})
    if not rows:  # no parts and no bytes of its own
        with pytest.raises(LoadError, match="found 0 bytes; expected 84"):
            load(index)
    else:
        with pytest.raises(LoadError, match=r"tensor 'a/w'"):
            load(index)


def entries_of(prefix: Path, *, data: bytes = b"\0" * 64, header: bytes | None = None, **entries: bytes) -> Path:
    stored = {b"": made.packed(tb.BundleHeader(num_shards=1)) if header is None else header}
    stored |= {name.encode(): value for name, value in entries.items()}
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(made.table(stored))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    return index


def changed(**fields: Any) -> bytes:
    value = made.entry(np.zeros(4, "f4"), 0)[0]
    for name, field in fields.items():
        setattr(value, name, field)
    return made.packed(value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (changed(size=15), "found 15 bytes; expected 16 bytes for float32"),
        (changed(offset=49), "found 16 bytes at 49; expected a range of 64"),
        (changed(offset=-1), "found 16 bytes at -1"),
        (changed(offset=1 << 62), "at 4611686018427387904"),
        (changed(shard_id=1), "found data file 1; expected one of 1"),
        (changed(shard_id=-1), "found data file -1"),
        (changed(dtype=21), "elements of type variant"),
        (changed(dtype=999), "elements of type type number 999"),
        (changed(crc32c=1), "found another checksum"),
        (b"\xff", "the end of the message"),
    ],
)
def test_entries_that_do_not_fit(tmp_path: Path, value: bytes, what: str) -> None:
    with pytest.raises(LoadError, match=what):
        read(entries_of(tmp_path / "x", a=value))


def test_huge_counts_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    shape = TensorShape(dim=[Dim(size=1 << 40)])
    with pytest.raises(LoadError, match="LoadLimits"):
        load(entries_of(tmp_path / "x", a=changed(shape=shape, size=1 << 42)))
    many = {f"t{i:04}": changed() for i in range(300)}
    with pytest.raises(LoadError, match="more than 200 tensors"):
        load(entries_of(tmp_path / "y", **many), LoadLimits(max_tensors=200))
    index = made.bundle(tmp_path / "z", {"w": np.zeros(5000, "f4")})
    with pytest.raises(LoadError, match="max_bytes"):  # the index and its data together
        load(index, LoadLimits(max_bytes=20_000))


def test_headers(tmp_path: Path) -> None:
    for header, what in (
        (made.packed(tb.BundleHeader(1, 1)), "the high byte first"),
        (made.packed(tb.BundleHeader(-1)), "-1 data files"),
        (made.packed(tb.BundleHeader(1 << 30)), "1073741824 data files"),
    ):
        with pytest.raises(LoadError, match=what):
            load(entries_of(tmp_path / "x", header=header))
    (tmp_path / "y.index").write_bytes(made.table({b"a": changed()}))
    with pytest.raises(LoadError, match="no header"):
        load(tmp_path / "y.index")


def test_tables_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.index"
    good = made.table({b"": made.packed(tb.BundleHeader(1)), b"a": changed()})
    for at in (3, len(good) - 60):
        bad = bytearray(good)
        bad[at] ^= 1
        path.write_bytes(bad)
        with pytest.raises(LoadError, match="found another checksum"):
            load(path)
    path.write_bytes(made.table({b"": b"", b"b": b"", b"a": b""}))
    with pytest.raises(LoadError, match="ascending keys"):
        load(path)
    footer = made.varint(1 << 40) + made.varint(10) + made.varint(0) + made.varint(10)
    path.write_bytes(good[:-48] + footer.ljust(40, b"\0") + good[-8:])
    with pytest.raises(LoadError, match="found 10 bytes at 1099511627776"):
        load(path)
    # Many handles to one block would be read as often.
    handle = made.varint(0) + made.varint(8)
    block = struct.pack("<II", 0, 1) + b"\0"
    block += struct.pack("<I", masked_crc32c(block))
    index = made.block([(bytes([65 + i]), handle) for i in range(20)])
    stored = index + b"\0"
    end = made.varint(0) + made.varint(8) + made.varint(len(block)) + made.varint(len(index))
    path.write_bytes(block + stored + struct.pack("<I", masked_crc32c(stored)) + end.ljust(40, b"\0") + good[-8:])
    with pytest.raises(LoadError, match="a block at byte 0; expected one from byte 13"):
        load(path)


def test_strings_that_are_damaged(tmp_path: Path) -> None:
    index = made.bundle(tmp_path / "s", {"names": ARRAYS["names"]})
    data = tmp_path / "s.data-00000-of-00001"
    good = data.read_bytes()
    for at, what in ((0, "bytes of strings"), (5, "checksum of the lengths"), (12, "found another checksum")):
        bad = bytearray(good)
        bad[at] ^= 2
        data.write_bytes(bad)
        with pytest.raises(LoadError, match=what):
            read(index)


def test_the_data_must_be_a_file_of_the_folder(tmp_path: Path) -> None:
    index = made.bundle(tmp_path / "m", ARRAYS)
    data = tmp_path / "m.data-00000-of-00001"
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(LoadError, match="cannot be opened"):
        load(index)
    os.symlink(tmp_path / "elsewhere", data)
    with pytest.raises(LoadError, match="a symbolic link"):
        load(index)
    data.unlink()
    os.link(tmp_path / "elsewhere", data)
    with pytest.raises(LoadError, match="2 hard links"):
        load(index)
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(LoadError, match="no regular file"):
        load(index)


def test_object_checkpoints_have_the_names_of_variables(tmp_path: Path) -> None:
    keys = [f"model/{i}/.ATTRIBUTES/VARIABLE_VALUE" for i in range(3)]
    names = ["conv/kernel", "bias", "bias"]
    graph = tb.ObjectGraph(
        [tb.Trackable([tb.TrackedTensor("VARIABLE_VALUE", n, k)]) for n, k in zip(names, keys, strict=False)]
    )
    keys += ["optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"]
    keys += ["model/0/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE"]
    arrays = {"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(made.packed(graph), object)}
    index = made.bundle(tmp_path / "o", {**arrays, **{k: np.float32(i) for i, k in enumerate(keys)}})
    assert list(read(index)) == ["conv/kernel", keys[1], keys[2]]  # a name of two variables is none


def test_a_checkpoint_that_changes_meanwhile(tmp_path: Path) -> None:
    index = made.bundle(tmp_path / "m", {"w": np.zeros(50_000, "f4")})
    loaded = load(index)
    assert loaded.weights is not None
    assert loaded.size == index.stat().st_size + 200_000
    os.truncate(tmp_path / "m.data-00000-of-00001", 1000)
    with pytest.raises(LoadError, match="changed on disk"):
        loaded.weights.read("w")
