"""safetensors against the safetensors package, and hostile headers."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.loaders.weights import WeightsFile

Write = Callable[..., Path]
TYPES = [
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
]


def weights(path: Path, limits: LoadLimits | None = None) -> WeightsFile:
    loaded = load(path, limits)
    assert loaded.family.name == "safetensors"
    assert loaded.weights is not None
    return loaded.weights


def file(header: Any, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_reads_what_the_package_writes(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 2, (3, 5)).astype(name) for name in TYPES}
    arrays |= {"empty": np.zeros((0, 7), np.float32), "scalar": np.array(3.5, np.float32)}
    numpy.save_file(arrays, tmp_path / "w.safetensors", {"format": "pt"})
    got = weights(tmp_path / "w.safetensors")
    assert dict(got.metadata) == {"format": "pt"}
    assert set(got) == set(arrays)
    assert got.parameters == 15 * len(TYPES) + 1
    for name, want in arrays.items():
        assert got[name].dtype == want.dtype
        assert got[name].shape == want.shape
        np.testing.assert_array_equal(got.read(name), want)


def test_bfloat16_becomes_float32(write: Write) -> None:
    want = np.array([1.0, -2.5, 3.0e38, 0.0], np.float32)
    bits = (want.view(np.uint32) >> 16).astype("<u2")
    got = weights(write(file({"w": entry("BF16", [2, 2], 0, 8)}, bits.tobytes())))
    assert got["w"].stored == "bfloat16"
    np.testing.assert_array_equal(got.read("w").ravel(), (bits.astype(np.uint32) << 16).view(np.float32))


def test_a_missing_array_names_similar_ones(write: Write) -> None:
    got = weights(write(file({"conv.weight": entry("F32", [1], 0, 4)}, b"\0" * 4)))
    with pytest.raises(LoadError, match=r"no array 'conv.weigh'; similar: conv.weight"):
        got.read("conv.weigh")
    assert "conv.weigh" not in got
    assert got.get("conv.weigh") is None


GOOD = entry("F32", [2], 0, 8)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (file({"a": GOOD}, b"\0" * 7), "data; expected|the end of the data"),
        (file({"a": GOOD}, b"\0" * 9), "the end of the data: found 9 bytes; expected 8 bytes"),
        (file({"a": GOOD, "b": entry("F32", [2], 4, 12)}, b"\0" * 12), "array 'b': found an overlap at byte 4"),
        (file({"a": GOOD, "b": GOOD}, b"\0" * 8), "overlap"),
        (file({"a": GOOD, "b": entry("F32", [1], 12, 16)}, b"\0" * 16), "array 'b': found a hole at byte 12"),
        (file({"a": entry("F32", [3], 0, 8)}, b"\0" * 8), "8 bytes; expected 12 bytes"),
        (file({"a": entry("F32", [1 << 62, 1 << 62], 0, 8)}, b"\0" * 8), "elements"),
        (file({"a": entry("F32", [1 << 60], 0, 8)}, b"\0" * 8), "declared"),
        (file({"a": entry("F32", [1 << 62, 0], 0, 0)}, b""), "dtype|the end|F32|elements|array 'a'"),
        (file({"a": entry("F32", [-1], 0, 4)}, b"\0" * 4), "sizes from 0"),
        (file({"a": entry("F32", [1.0], 0, 4)}, b"\0" * 4), "sizes from 0"),  # type: ignore[list-item]
        (file({"a": entry("F32", [True], 0, 4)}, b"\0" * 4), "sizes from 0"),
        (file({"a": entry("F32", [1], 4, 0)}, b"\0" * 4), "sizes from 0"),
        (file({"a": entry("F32", [1], 0, 1 << 70)}, b"\0" * 4), "bytes; expected 4 bytes"),
        (file({"a": entry("F8_E4M3", [4], 0, 4)}, b"\0" * 4), "dtype 'F8_E4M3'"),
        (file({"a": entry(7, [4], 0, 4)}, b"\0" * 4), "dtype 7"),  # type: ignore[arg-type]
        (file({"a": [1]}), r"found \[1\]"),
        (file({"a": {"dtype": "F32", "shape": []}}), "an object of dtype, shape"),
        (file({"a": GOOD | {"more": 1}}, b"\0" * 8), "an object of dtype, shape"),
        (file({"__metadata__": {"a": 1}}), "an object of strings"),
        (file({"__metadata__": [1]}), "an object of strings"),
        (file(b'{"a": {"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', b"\0" * 4), "'dtype' twice"),
        (file(b'{"a": 1, "a": 2}'), "the name 'a' twice"),
        (file(b'{"a": NaN}'), "the number NaN"),
        (file(b'{"a": ' + b"9" * 10_000 + b"}"), "JSON header"),
        (file(b'{"a": 1'), "JSON header"),
        (file(b"{\xff}"), "JSON header"),
        (file(b"{" + b'"a":{' * 100_000), "levels of nesting"),
        (file(b'{"a":' + b"[" * 100_000), "levels of nesting"),
        (struct.pack("<Q", 1 << 20) + b"{}", "the header's length"),
        (struct.pack("<Q", 90_000_000) + b"{}", "the header's length"),
    ],
)
def test_hostile(write: Write, content: bytes, found: str) -> None:
    start = time.perf_counter()
    with pytest.raises(LoadError, match=found):
        weights(write(content))
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("length", [0, 1, 1 << 40, (1 << 64) - 1])
def test_absurd_header_lengths_are_no_safetensors(write: Write, length: int) -> None:
    with pytest.raises(LoadError):
        load(write(struct.pack("<Q", length) + b"{}" + b"\0" * 50))


def test_limits(write: Write) -> None:
    header = {f"t{i}": entry("U8", [1], i, i + 1) for i in range(20)}
    path = write(file(header, b"\0" * 20))
    assert len(weights(path, LoadLimits(max_tensors=20))) == 20
    with pytest.raises(LoadError, match="more than 19 tensors"):
        weights(path, LoadLimits(max_tensors=19))


def test_names_that_cannot_be_printed(write: Any) -> None:
    header = rb'{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    with pytest.raises(LoadError, match="JSON header"):
        load(write(len(header).to_bytes(8, "little") + header + bytes(4)))
