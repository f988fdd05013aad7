"""Keras' native archives (.keras): stored and deflated, damaged and hostile."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.models import graph_of_weights

h5py = pytest.importorskip("h5py", reason="writes the files that are read here")

KERNEL = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "m",
        "layers": [
            {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 40]}},
            {"class_name": "Dense", "config": {"name": "d", "units": 50, "use_bias": False}},
        ],
    },
}
Write = Callable[..., Path]


def weights(fill: Callable[[Any], Any] = lambda f: None) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("layers/dense/vars")["0"] = KERNEL
        file.create_group("optimizer/vars")["0"] = np.zeros(7)
        fill(file)
    return buffer.getvalue()


def archive(members: dict[str, Any], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def members(**changed: Any) -> dict[str, Any]:
    found = {
        "metadata.json": '{"keras_version": "3.15.1"}',
        "config.json": json.dumps(CONFIG),
        "model.weights.h5": weights(),
    }
    return {k: v for k, v in {**found, **changed}.items() if v is not None}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_stored_and_deflated(write: Write, method: int) -> None:
    loaded = load(write(archive(members(), method), "m.zip"))
    assert (loaded.family.name, loaded.family.title) == ("keras", "Keras model (.keras)")
    assert loaded.weights is not None
    assert list(loaded.weights) == ["layers/dense/vars/0"]
    assert loaded.weights.metadata["keras_version"] == "3.15.1"
    np.testing.assert_array_equal(loaded.weights.read("layers/dense/vars/0"), KERNEL)
    graph = graph_of_weights(loaded.weights)
    assert graph.tensor("d").shape == (None, 50)
    assert graph.operation("d/kernel").attrs["value"].load is not None


def test_assets_and_other_members_are_not_read(write: Write) -> None:
    assert load(write(archive(members(**{"assets/layers/vocabulary.txt": b"\xff" * 99})))).weights is not None


def test_damage_is_found_before_the_first_array_is_used(write: Write) -> None:
    data = bytearray(archive(members()))
    at = data.index(KERNEL.tobytes())
    data[at] ^= 1
    found = load(write(bytes(data))).weights
    assert found is not None
    with pytest.raises(LoadError, match="CRC"):
        found.read("layers/dense/vars/0")


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"model.weights.h5": None, "model.weights.json": "{}"}, "weights in several files.*without shards"),
        ({"config.json": b"\xff\xfe"}, "'config.json'.*UTF-8"),
        ({"model.weights.h5": b"nothing"}, "no signature of HDF5"),
        ({"../config.json": b""}, "a relative name without"),
        ({"model.weights.h5": weights(lambda f: f.create_group("layers/x")["vars"].__class__ if False else f["layers"].__setitem__("y", h5py.ExternalLink("/etc/passwd", "/")))}, "external link|never followed"),
    ],
)  # fmt: skip
def test_hostile(write: Write, changed: dict[str, Any], found: str) -> None:
    with pytest.raises(LoadError, match=found):
        load(write(archive(members(**changed))))


def test_what_is_inflated_is_counted_first(write: Write) -> None:
    """A member that declares a gigabyte, and one that holds more than it declares."""
    data = bytearray(archive(members(), zipfile.ZIP_DEFLATED))
    entry = data.rindex(b"model.weights.h5") - 46
    real = struct.unpack("<I", data[entry + 24 : entry + 28])[0]
    data[entry + 24 : entry + 28] = struct.pack("<I", 1 << 30)
    with pytest.raises(LoadError, match=r"1\.0 GiB|LoadLimits"):
        load(write(bytes(data)), LoadLimits(max_bytes=1 << 28))
    data[entry + 24 : entry + 28] = struct.pack("<I", real // 2)
    with pytest.raises(LoadError, match=r"'model\.weights\.h5'"):
        load(write(bytes(data)))
