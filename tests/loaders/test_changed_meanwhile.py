"""Files that shrink or change while they are read or after: a LoadError, never a wrong weight, never SIGBUS."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_files
import pytest

import kigraph as ki
from kigraph.graph.errors import LoadError
from kigraph.graph.formats.saved_model import SavedModel
from kigraph.graph.formats.source import Source
from kigraph.graph.loaders import load
from kigraph.graph.loaders.family import FAMILIES
from tests.loaders import export_files
from tests.loaders.bundle_files import meta_graph, packed
from tests.loaders.graph_files import node
from tests.loaders.tflite_files import Lite

WEIGHTS = {"a": np.arange(200_000, dtype=np.float32).reshape(400, 500)}


def graphdef(path: Path) -> bytes:
    from kigraph.graph.writers.graphdef import save_graphdef

    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder("float32", (None, 400), name="x")
        ki.matmul(x, ki.constant(WEIGHTS["a"], name="w"), name="y")
    save_graphdef(graph, path)
    return path.read_bytes()


def keras(path: Path) -> bytes:
    h5py = pytest.importorskip("h5py", reason="writes the file that is read here")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        layer = file.create_group("dense")
        layer.attrs["weight_names"] = [b"a"]
        layer["a"] = WEIGHTS["a"]
    return path.read_bytes()


def tflite() -> bytes:
    model = Lite()
    x, y = model.tensor("x", (1, 500)), model.tensor("y", (400, 500))
    model.op("MUL", [x, model.constant("w", WEIGHTS["a"])], [y])
    return model.bytes([x], [y])


def keras3(path: Path) -> bytes:
    h5py = pytest.importorskip("h5py", reason="writes the file that is read here")
    with h5py.File(path, "w") as file:
        file.create_group("layers/dense/vars")["0"] = WEIGHTS["a"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {}}))
        archive.write(path, "model.weights.h5")
    return buffer.getvalue()


@pytest.fixture
def files(tmp_path: Path, torch_files: SimpleNamespace) -> dict[str, bytes]:
    tensors, storages = torch_files.state_dict(WEIGHTS)
    counted = {"0": (WEIGHTS["a"].size, storages["0"])}
    nodes = [node("x", "Placeholder", shape=(None, 400)), node("w", "Const", value=WEIGHTS["a"])]
    nodes += [node("y", "MatMul", "x", "w", T=np.dtype("f4"))]
    graph = meta_graph(nodes, {"serving_default": ({"x": "x:0"}, {"y": "y:0"})})
    header = b'{"a":{"dtype":"F32","shape":[400,500],"data_offsets":[0,800000]}}'
    return {
        "graphdef": graphdef(tmp_path / "seed.pb"),
        "safetensors": len(header).to_bytes(8, "little") + header + storages["0"],
        "torch": torch_files.zip(tensors, storages),
        "torch-legacy": torch_files.legacy(tensors, counted),
        "keras-h5": keras(tmp_path / "seed.h5"),
        "savedmodel": packed(SavedModel(1, [graph])),
        "tf-metagraph": packed(graph),
        "tflite": tflite(),
        "onnx": onnx_files.model(
            [onnx_files.node("MatMul", ["x", "w"], ["y"])], {"x": ("float32", (1, 400))}, ["y"], {"w": WEIGHTS["a"]}
        ),
        "torch-export": export_files.archive(
            export_files.program(
                [export_files.call("mm.default", "y", self="x", mat2="w")],
                {"x": export_files.meta((1, 400))},
                ["y"],
                {"w": "w"},
            ),
            export_files.weights_config({"w": WEIGHTS["a"]}),
            {"w": WEIGHTS["a"]},
        ),
        "keras": keras3(tmp_path / "seed3.h5"),
    }


def read(loaded: Any) -> np.ndarray[Any, Any]:
    if loaded.weights is not None:
        (name,) = loaded.weights.tensors
        result: np.ndarray[Any, Any] = loaded.weights.read(name)
        return result
    value: np.ndarray[Any, Any] = loaded.graph.operation("w").attrs["value"].array()
    return value


#: The data of a checkpoint is in another file: test_bundle.py.
NAMES = [family.name for family in FAMILIES if family.name != "tf-checkpoint"]


def test_every_family_is_fuzzed() -> None:
    tree = ast.parse((Path(__file__).parent / "fuzz_seeds.py").read_text())
    table = next(n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "FAMILIES")
    assert {family.name for family in FAMILIES} <= set(ast.literal_eval(table.value)), (
        "add a valid file to tests/loaders/fuzz_seeds.py"
    )


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("size", [0, 5000, 500_000])
def test_truncated_after_loading(family: str, size: int, files: dict[str, bytes], write: Callable[..., Path]) -> None:
    path = write(files[family])
    loaded = load(path)
    np.testing.assert_array_equal(read(loaded), WEIGHTS["a"])
    os.truncate(path, size)
    with pytest.raises(LoadError, match="changed on disk"):
        read(loaded)


@pytest.mark.parametrize("family", NAMES)
def test_truncated_while_it_is_read(
    family: str, files: dict[str, bytes], write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every read that loading makes, the file loses its second half before it."""
    whole = Source.read_into
    for when in range(300):
        path = write(files[family], f"{when}")
        count = 0

        def cut(source: Source, offset: int, buffer: memoryview) -> None:
            nonlocal count
            if count == when:  # noqa: B023
                os.truncate(path, 3000)  # noqa: B023
            count += 1
            whole(source, offset, buffer)

        monkeypatch.setattr(Source, "read_into", cut)
        try:
            loaded = load(path)
        except LoadError:
            continue
        finally:
            monkeypatch.setattr(Source, "read_into", whole)
        if count > when:
            with pytest.raises(LoadError):
                read(loaded)
        else:
            np.testing.assert_array_equal(read(loaded), WEIGHTS["a"])
            return
    pytest.fail("loading makes more reads than were tried")


def test_truncated_between_load_and_run(files: dict[str, bytes], write: Callable[..., Path]) -> None:
    """In a process of its own: SIGBUS would end it."""
    path = write(files["graphdef"])
    code = (
        "import os, sys, numpy as np, kigraph as ki; from kigraph.opening import open_file;"
        "g = open_file(sys.argv[1], strict=True).graph; s = ki.Session(g, backend='numpy'); os.truncate(sys.argv[1], 4096);\n"
        "try: s.run('y:0', {'x:0': np.ones((1, 400), 'f4')})\n"
        "except ki.LoadError as e: print('LoadError', e)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "changed on disk" in done.stdout


def test_parsing_reads_no_weights(files: dict[str, bytes], write: Callable[..., Path], monkeypatch: Any) -> None:
    """A block at each end of what is skipped, and the small things."""
    read_into, bytes_read = Source.read_into, 0

    def count(source: Source, offset: int, buffer: memoryview) -> None:
        nonlocal bytes_read
        bytes_read += len(buffer)
        read_into(source, offset, buffer)

    monkeypatch.setattr(Source, "read_into", count)
    loaded = load(write(files["graphdef"]))
    assert bytes_read < 200_000
    np.testing.assert_array_equal(read(loaded), WEIGHTS["a"])
