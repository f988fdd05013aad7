"""Checkpoints: what was written comes back, and every other file is a LoadError."""

from __future__ import annotations

import io
import json
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.loaders import LoadLimits
from kigraph.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

META = {"version": 1, "epoch": 2, "generator": {}, "history": [{"epoch": 1, "loss": 0.5}]}


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    raw = header.encode("latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(raw)) + raw + data


def plain(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(members: dict[str, bytes], meta: Any = META, **options: Any) -> bytes:
    buffer = io.BytesIO()
    text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        for name, data in {"kigraph.json.npy": plain(np.frombuffer(text, np.uint8)), **members}.items():
            file.writestr(name, data)
    return buffer.getvalue()


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    values = {
        "dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.float32(2),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "empty": np.zeros((0, 3)),
        "flags": np.array([True, False]), "big": np.arange(3, dtype=">i4"), "complex": np.array([1 + 2j]),
    }  # fmt: skip
    history = [{"epoch": 1, "loss": float("nan")}]
    path = save_checkpoint(tmp_path / "c.npz", Checkpoint(values, {"epoch": 1, "generator": {}, "history": history}))
    found = load_checkpoint(path)
    assert list(found.variables) == list(values)
    for name, value in values.items():
        got = found.variables[name]
        assert got.dtype == value.dtype.newbyteorder("=")
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, value)
    assert np.isnan(found.meta["history"][0]["loss"])


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
FLOATS = bytes(24)
BOMB = "{'descr': " + "(" * 60000 + ")" * 5000 + "}"


@pytest.mark.parametrize(
    ("member", "found"),
    [
        (npy(GOOD.replace("<f4", "|O"), FLOATS), "a plain array of numbers"),
        (npy(GOOD.replace("'<f4'", "[('a', '<f4')]"), FLOATS), "a plain array of numbers"),
        (npy(GOOD.replace("<f4", "<f5"), FLOATS), "element type"),
        (npy(GOOD.replace("<f4", "<U2"), FLOATS), "a plain array of numbers"),
        (npy(GOOD.replace("(2, 3)", "(-2, 3)"), FLOATS), "a plain array of numbers"),
        (npy(GOOD.replace("(2, 3)", "(2 3)"), FLOATS), "a plain array of numbers"),
        (npy(GOOD.replace("(2, 3)", "(1099511627776, 1099511627776)"), FLOATS), "at most"),
        (npy(GOOD.replace("(2, 3)", "(2000000000,)"), FLOATS), "declared"),
        (npy(GOOD.replace("(2, 3)", "(" + "9" * 5000 + ",)"), FLOATS), "a plain array of numbers"),
        (npy(GOOD.replace("(2, 3)", "(" + "1, " * 60 + ")"), bytes(4)), "60 axes"),
        (npy(GOOD, FLOATS[:-1]), "23 bytes"),
        (npy(GOOD, FLOATS + b"x"), "25 bytes"),
        (npy(BOMB), "a plain array of numbers"),
        (npy(" " * 16), "a plain array of numbers"),
        (npy(GOOD, FLOATS, version=9), "a NumPy array"),
        (npy(GOOD)[:11], "a NumPy array"),
        (b"", "a NumPy array"),
        (b"\x93NUMPY\x03\0" + struct.pack("<I", 0xFFFFFFFF) + GOOD.encode(), "a header of 4294967295 bytes"),
    ],
)
def test_headers_that_are_refused(member: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    path.write_bytes(archive({"v/w.npy": member}))
    start = time.process_time()
    with pytest.raises(ki.LoadError, match=found):
        load_checkpoint(path)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("version", [1, 2, 3])
def test_versions_of_the_header(version: int, tmp_path: Path) -> None:
    (tmp_path / "c.npz").write_bytes(archive({"v/w.npy": npy(GOOD + "\n", FLOATS, version)}))
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "c.npz").variables["w"], np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("meta", "found"),
    [
        ({**META, "version": 2}, "checkpoint version 2"),
        ([], "checkpoint version"),
        ({**META, "epoch": -1}, "epoch -1"),
        ({**META, "epoch": 1.5}, "epoch 1.5"),
        ({**META, "epoch": 1 << 80}, "epoch"),
        ({**META, "history": 5}, "history 5"),
        ({**META, "history": [{"loss": "x"}]}, "history"),
        ({**META, "generator": 5}, "generator 5"),
        (b'{"version": 1, "epoch": ' + b"9" * 6000 + b"}", "plain data"),
        (b"[" * 200_000, "plain data"),
        (b"\xff\xfe", "plain data"),
        (b'{"version": 1', "plain data"),
    ],
)
def test_descriptions_that_are_refused(meta: Any, found: str, tmp_path: Path) -> None:
    (tmp_path / "c.npz").write_bytes(archive({"v/w.npy": plain(np.zeros(3))}, meta))
    with pytest.raises(ki.LoadError, match=found):
        load_checkpoint(tmp_path / "c.npz")


def test_archives_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    good = archive({"v/w.npy": plain(np.arange(3.0))})
    at = good.rindex(b"PK\x01\x02")
    wrong_crc = good[: at + 16] + b"\0\0\0\0" + good[at + 20 :]
    cases = {
        "CRC": wrong_crc,
        "compression method 8": archive({"v/w.npy": bytes(9999)}, compression=zipfile.ZIP_DEFLATED),
        "compression method 12": archive({"v/w.npy": bytes(9999)}, compression=zipfile.ZIP_BZIP2),
        "compression method 14": archive({"v/w.npy": bytes(9999)}, compression=zipfile.ZIP_LZMA),
        "encryption": good[: at + 8] + b"\1" + good[at + 9 :],
        "the name": archive({"../w.npy": plain(np.zeros(1))}),
        "another kind of file": archive({"v/w.txt": b"x"}),
        "no directory": good[: len(good) // 2],
        "no member": _without_meta(),
        "several disks": good[:-18] + b"\1" + good[-17:],
    }
    for found, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(ki.LoadError, match=found):
            load_checkpoint(path)
    with pytest.raises(ki.LoadError, match="cannot be opened"):
        load_checkpoint(tmp_path / "none.npz")
    with pytest.raises(ki.LoadError, match="a folder"):
        load_checkpoint(tmp_path)
    path.write_bytes(archive({"v/a.npy": plain(np.zeros(1000))}))
    with pytest.raises(ki.LoadError, match="max_bytes"):
        load_checkpoint(path, LoadLimits(max_bytes=8000))


def _without_meta() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{"v/w": np.zeros(3)})
    return buffer.getvalue()


def test_a_state_that_no_generator_has_changes_nothing(tmp_path: Path) -> None:
    model = ki.train.Model(
        [ki.train.layers.Dense(2)], input_shape=(3,), optimizer=ki.train.GradientDescent(0.1), seed=1
    )
    path = model.save_checkpoint(tmp_path / "c.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    meta = json.loads(arrays["kigraph.json"].tobytes())
    before = model.session.variable_value(model._variables()[0])
    for state in ({}, {"bit_generator": "MT19937"}, meta["generator"] | {"state": {"state": -1, "inc": 1 << 200}}):
        text = json.dumps({**meta, "generator": state}).encode()
        changed = {k: v + 1 for k, v in arrays.items() if k != "kigraph.json"}
        np.savez(path, **{"kigraph.json": np.frombuffer(text, np.uint8)}, **changed)
        with pytest.raises(ki.LoadError, match="state of a generator"):
            model.restore(path)
        np.testing.assert_array_equal(model.session.variable_value(model._variables()[0]), before)
