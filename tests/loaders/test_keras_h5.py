"""Keras .h5 weights written with h5py as Keras 2 does, and everything that HDF5 can do to its reader."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.loaders.weights import WeightsFile

h5py = pytest.importorskip("h5py", reason="writes the files that are read here")


def weights(path: Path, limits: LoadLimits | None = None) -> WeightsFile:
    loaded = load(path, limits)
    assert loaded.family.name == "keras-h5"
    assert loaded.weights is not None
    return loaded.weights


def save(root: Any, layers: dict[str, dict[str, np.ndarray[Any, Any]]], **options: Any) -> None:
    """As keras.engine.saving.save_weights_to_hdf5_group: fixed-length bytes in the attributes."""
    root.attrs["layer_names"] = [name.encode() for name in layers]
    for layer, arrays in layers.items():
        group = root.create_group(layer)
        group.attrs["weight_names"] = [name.encode() for name in arrays]
        for name, array in arrays.items():
            group.create_dataset(name, data=array, **(options if array.ndim else {}))


LAYERS = {
    "input_1": {},
    "conv2d_1": {"conv2d_1/kernel:0": np.arange(24, dtype=np.float32).reshape(2, 3, 4)},
    "batch_normalization_1": {
        "batch_normalization_1/beta:0": np.arange(4, dtype=np.float64),
        "batch_normalization_1/moving_mean:0": np.arange(4, dtype=np.float16),
    },
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """make(fill) -> path of a file with the sample layers, after fill(file) has changed it."""

    def build(fill: Callable[[Any], Any] | None = None, **options: Any) -> Path:
        path = tmp_path / "weights.h5"
        with h5py.File(path, "w") as file:
            save(file, LAYERS, **options)
            if fill is not None:
                fill(file)
        return path

    return build


def check(got: WeightsFile) -> None:
    want = {name: array for arrays in LAYERS.values() for name, array in arrays.items()}
    assert list(got) == list(want)
    assert got.metadata["layers"]["batch_normalization_1"] == tuple(LAYERS["batch_normalization_1"])
    for name, array in want.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(got.read(name), array)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
        {"chunks": True},
    ],
    ids=["plain", "gzip", "lzf", "chunked"],
)
def test_weights_only(make: Any, options: dict[str, Any]) -> None:
    check(weights(make(**options)))


def test_whole_model(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = '{"class_name": "Lambda"}'
        save(file.create_group("model_weights"), LAYERS)
        file.create_group("optimizer_weights")
    check(weights(tmp_path / "model.h5"))


def test_user_block_and_text_attributes_and_split_lists(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        save(file, LAYERS)
        names = list(LAYERS)
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = names[:1]  # variable-length text
        file.attrs["layer_names1"] = names[1:]
    check(weights(path))


def test_big_endian_numbers(make: Any) -> None:
    def fill(file: Any) -> None:
        group = file["conv2d_1"]
        del group["conv2d_1/kernel:0"]
        group["conv2d_1/kernel:0"] = LAYERS["conv2d_1"]["conv2d_1/kernel:0"].astype(">f4")

    check(weights(make(fill)))


# --- what a hostile file does -------------------------------------------------------------------------------------------


def replace(make_dataset: Callable[[Any], Any]) -> Callable[[Any], None]:
    def fill(file: Any) -> None:
        group = file["conv2d_1/conv2d_1"]
        del group["kernel:0"]
        made = make_dataset(group)
        if made is not None:
            group["kernel:0"] = made

    return fill


def virtual(group: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    group.create_virtual_dataset("kernel:0", layout)


def reference(group: Any) -> None:
    group.create_dataset("kernel:0", (2,), h5py.ref_dtype)


def external(group: Any) -> None:
    group.create_dataset("kernel:0", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def scale_offset(group: Any) -> None:
    group.create_dataset("kernel:0", (100,), "i4", chunks=(10,), scaleoffset=4)


def huge_chunk(group: Any) -> None:
    group.create_dataset("kernel:0", (10,), "f4", chunks=(1 << 25,), maxshape=(None,))


def compound(group: Any) -> None:
    group.create_dataset("kernel:0", (2,), [("a", "f4")])


@pytest.mark.parametrize(
    ("fill", "found"),
    [
        (replace(lambda g: h5py.ExternalLink("/etc/hostname", "/x")), "an external link"),
        (replace(lambda g: h5py.SoftLink("/batch_normalization_1")), "a soft link"),
        (replace(virtual), "a virtual dataset"),
        (replace(external), "external storage"),
        (replace(reference), "element type object"),
        (replace(compound), "element type"),
        (replace(scale_offset), "filter number 6"),
        (replace(lambda g: g.create_dataset("kernel:0", (4,), h5py.string_dtype()) and None), "element type text"),
        (replace(lambda g: g.create_dataset("kernel:0", (1 << 60,), "f4", chunks=(1024,)) and None), "declared"),
        (replace(lambda g: g.create_dataset("kernel:0", (1 << 28,), "f4", chunks=(1024,)) and None), "declared"),
        (replace(huge_chunk), "chunks of 128.0 MiB"),
        (
            replace(lambda g: g.create_dataset("kernel:0", dtype="f4", data=h5py.Empty("f4")) and None),
            "without a shape",
        ),
        (replace(lambda g: g.create_group("kernel:0") and None), "a group; expected a dataset"),
        (replace(lambda g: None), "nothing of that name"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"../x"]), "the part '..'"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"/conv2d_1"]), "the part ''"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"no"]), "nothing of that name"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"conv2d_1", b"conv2d_1"]), "twice"),
        (lambda f: f.attrs.__setitem__("layer_names", [1, 2]), "expected text"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"input_1"]), "no weights"),
        (lambda f: f["conv2d_1"].attrs.__setitem__("weight_names", [b"conv2d_1/kernel:0"] * 3), "twice"),
        (lambda f: f["conv2d_1"].attrs.__setitem__("weight_names", [b"a/" * 100 + b"b"]), "levels of nesting"),
        (lambda f: f.attrs.__delitem__("layer_names"), "no attribute 'layer_names'"),
    ],
)
def test_hostile(make: Any, fill: Any, found: str) -> None:
    path = make(fill)
    start = time.perf_counter()
    with pytest.raises(LoadError, match=found):
        weights(path)
    assert time.perf_counter() - start < 2


def test_layers_that_are_links(make: Any) -> None:
    def external_layer(file: Any) -> None:
        del file["conv2d_1"]
        file["conv2d_1"] = h5py.ExternalLink("other.h5", "/")

    with pytest.raises(LoadError, match="an external link"):
        weights(make(external_layer))


def test_a_group_that_contains_itself(make: Any) -> None:
    def cycle(file: Any) -> None:
        file["conv2d_1/conv2d_1/again"] = file["conv2d_1"]
        file["conv2d_1"].attrs["weight_names"] = [b"conv2d_1/again/conv2d_1/again/conv2d_1/kernel:0"]

    got = weights(make(cycle))
    assert next(iter(got)).endswith("kernel:0")


def test_compression_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        save(file, {"a": {"a/kernel:0": np.zeros((4096, 8192), np.float32)}}, compression="gzip", chunks=(512, 8192))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(LoadError, match="max_expansion"):
        weights(path)
    assert len(weights(path, LoadLimits(max_expansion=100_000))) == 1


def test_keras_3_weights_are_read_by_path(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.create_group("layers/conv2d/vars")["0"] = np.arange(3)
        file.create_group("optimizer/vars")["0"] = np.zeros(3)
    found = weights(tmp_path / "m.weights.h5")
    assert list(found) == ["layers/conv2d/vars/0"]
    assert found.metadata == {"form": "keras-3"}
    np.testing.assert_array_equal(found.read("layers/conv2d/vars/0"), [0, 1, 2])


def test_a_group_that_is_linked_into_itself(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        group = file.create_group("layers/a")
        group["b"] = group
    with pytest.raises(LoadError, match="linked twice"):
        weights(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("name", ["m.json", "config.json"])
def test_the_config_beside_weights(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.create_group("layers/dense/vars")["0"] = np.zeros(3)
    (tmp_path / "m.weights.json").write_text('["labels"]')
    text = json.dumps({"class_name": "Sequential", "config": {}, "keras_version": "3.9.0"})
    (tmp_path / name).write_text(text)
    found = weights(tmp_path / "m.weights.h5").metadata
    assert (found["model_config"], found["keras_version"]) == (text, "3.9.0")
    (tmp_path / name).write_text('{"class_name": 3}')
    assert "model_config" not in weights(tmp_path / "m.weights.h5").metadata


def test_limits(make: Any) -> None:
    path = make()
    assert len(weights(path, LoadLimits(max_tensors=3))) == 3
    with pytest.raises(LoadError, match="more than 2 tensors"):
        weights(path, LoadLimits(max_tensors=2))


def test_h5py_is_not_needed(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = make()
    monkeypatch.setitem(sys.modules, "h5py", None)
    check(weights(path))


def test_the_description_of_a_whole_model_is_passed_on(tmp_path: Path) -> None:
    config = json.dumps({"class_name": "Sequential", "pad": "é" * 70_000})
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = config
        file.attrs["keras_version"] = b"2.15.0"
        save(file.create_group("model_weights"), LAYERS)
    got = weights(tmp_path / "model.h5").metadata
    assert got["model_config"] == config
    assert got["keras_version"] == "2.15.0"
    assert "backend" not in got


@pytest.mark.parametrize("keep", [9, 100, 600, 2000, 5000])
def test_truncated(make: Any, keep: int) -> None:
    path = make()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LoadError):
        weights(path)


def test_a_file_that_changes_under_us_is_noticed(make: Any) -> None:
    path = make()
    got = weights(path)
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(LoadError, match="changed on disk"):
        got.read("conv2d_1/kernel:0")
