"""Families are recognised by content; what is not read (yet) is refused by name."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.formats.limits import brief, size_text
from kigraph.graph.loaders import load, sniff

Write = Callable[..., Path]


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"content " * 100)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\0", "unknown family"),
        (b"\0" * 5000, "unknown family"),
        (b"\xff" * 5000, "unknown family"),
        (gzip.compress(b"x" * 100), "a gzip archive"),
        (lzma.compress(b"x" * 100), "an xz archive"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 100, "the TensorFlow Lite model, byte 28: found a vtable of 0 bytes"),
        (b"\x1c\0\0\1TFL3" + b"\0" * 100, "a TensorFlow Lite model without its root"),
        (zipped("model/saved_model.pb", "model/variables/variables.index"), "a zipped TensorFlow SavedModel"),
        (zipped("a.npy"), "NumPy arrays"),
        (zipped("a/model.pb"), "a zip archive with a model inside"),
        (zipped("a.txt"), "a zip archive"),
        (b"PK\x05\x06" + b"\0" * 18, "a zip archive"),
        (b"PK\x03\x04" + b"\0" * 18, "no directory"),
        (npy(), "a NumPy array"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 50, "a JPEG picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "a PNG picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>" + b" " * 50, "a web page"),
        (b"\n\n<HTML>", "a web page"),
        (b'node {\n  name: "a"\n  op: "Const"\n}\n', "a GraphDef in text form"),
        (b"# a comment\nname = 'kigraph'\nversion = '1'\n", "a text file"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b'{"format": "layers-model", "modelTopology": {}}', "a TensorFlow.js model"),
        (b'{\n "generatedBy": "2",\n "weightsManifest": []}', "a TensorFlow.js model"),
        (b'model_checkpoint_path: "model.ckpt-3"\n', "the list of a folder's checkpoints"),
        (b"x" * 257 + b"ustar  " + b"\0" * 300, "a tar archive"),
        (b"a" + b"\0" * 100 + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "found another checksum"),  # the footer of a table
    ],
)
def test_foreign_content_is_named(write: Write, content: bytes, found: str) -> None:
    with pytest.raises(LoadError, match=found) as error:
        load(write(content, "classify_image_graph_def.pb"))
    assert "classify_image_graph_def.pb" in str(error.value)


@pytest.mark.parametrize("first", [b"\x08\x03", b"\x08\x0a\x12\x05maker\x1a\x011", b"\x12\x05maker\x08\x08"])
def test_onnx_is_recognised_by_its_first_fields(write: Write, first: bytes) -> None:
    graph = b"\x0a\x0e\x0a\x01x\x12\x01y\x22\x06Relu33"
    content = first + b"\x3a" + bytes([len(graph)]) + graph + b"\x42\x02\x10\x11"
    assert sniff(write(content, "model.pb")).name == "onnx"


def test_folders_devices_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="a folder"):
        load(tmp_path)
    with pytest.raises(LoadError, match="No such file"):
        load(tmp_path / "no.pb")
    with pytest.raises(LoadError, match="device, pipe or socket"):
        load("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LoadError, match="device, pipe or socket"):
        load(tmp_path / "pipe")
    with pytest.raises(LoadError, match="cannot be opened"):
        load("a\0b")


def test_suffixes_do_not_matter(write: Write, torch_files: SimpleNamespace, tf_proto: SimpleNamespace) -> None:
    graph = tf_proto.GraphDef()
    graph.node.add(name="a" * 300, op="Mystery")
    assert sniff(write(graph.SerializeToString(), "x.pth")).name == "graphdef"
    assert sniff(write(torch_files.zip({}, {}), "x.h5")).name == "torch"
    assert sniff(write(torch_files.legacy({}, {}), "x.safetensors")).name == "torch-legacy"
    assert sniff(write(b"\x02\0\0\0\0\0\0\0{}", "x.pb")).name == "safetensors"


def test_what_looks_like_two_families_is_told_by_its_frame(write: Write, tf_proto: SimpleNamespace) -> None:
    """A zip archive is one whatever its members are; a name or a length that spells another's mark is only that."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", "{}")
        gap = 1024 - buffer.tell() - len("model.weights.h5") - 30 - len("pad") - 30
        archive.writestr("pad", b" " * gap)
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert buffer.getvalue()[1024:1032] == b"\x89HDF\r\n\x1a\n"
    assert sniff(write(buffer.getvalue())).name == "keras"
    header = b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'.ljust(0x280)
    assert sniff(write(len(header).to_bytes(8, "little") + header)).name == "safetensors"  # begins as a pickle does
    graph = tf_proto.GraphDef()
    graph.node.add(name="TFL3", op="Mystery")
    data = graph.SerializeToString()
    assert data[4:8] == b"TFL3"
    assert sniff(write(data)).name == "graphdef"


def test_versions_may_come_first(write: Write, tf_proto: SimpleNamespace) -> None:
    first, second = tf_proto.GraphDef(), tf_proto.GraphDef()
    first.versions.producer = 8
    second.node.add(name="a", op="Mystery")
    loaded = load(write(first.SerializeToString() + second.SerializeToString()))
    assert loaded.graph is not None
    assert loaded.graph.metadata["producer"] == 8


def test_checksum_is_that_of_the_content(write: Write, torch_files: SimpleNamespace) -> None:
    array = np.zeros(1 << 19, np.float32)
    data = torch_files.zip({"w": torch_files.tensor("0", array)}, {"0": array.tobytes()})
    loaded = load(write(data))
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()
    assert loaded.size == len(data)


def test_files_are_closed_when_dropped(write: Write, torch_files: SimpleNamespace) -> None:
    path = write(torch_files.zip(*torch_files.state_dict({"w": np.zeros(3, np.float32)})))

    def open_files() -> int:
        """Descriptors of this very file: those of other tests close when they like."""
        names = Path("/proc/self/fd").iterdir()
        return sum(name.is_symlink() and os.path.realpath(name) == os.path.realpath(path) for name in names)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    kept = [load(path) for _ in range(10)]
    assert open_files() == 10
    kept.clear()
    assert open_files() == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (1 << 60, "1 EiB")],
)
def test_size_text(size: int, text: str) -> None:
    assert size_text(size) == text
    assert size_text(1 << 5000).endswith("EiB")


def test_brief_is_bounded() -> None:
    value: Any = ()
    for _ in range(200):
        value = (value, value)
    assert len(brief(value)) < 200


def test_importing_the_loaders_is_light() -> None:
    code = (
        "import sys, kigraph.graph.loaders; "
        "heavy = {'h5py', 'PIL', 'google.protobuf', 'pickle5', 'zipfile', 'numba', 'json'} & sys.modules.keys(); "
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_reader_of_another_family_is_imported(write: Write) -> None:
    path = write(b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder", "model.pb")
    code = (
        "import sys, kigraph.graph.loaders as l; l.sniff(sys.argv[1]); "
        "other = [m for m in sys.modules if m.endswith(('.tflite', '.onnx', '.saved_model', '.hdf5', '.torch_export'))]; "
        "sys.exit(f'imported: {other}' if other else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pickle_is_never_imported(write: Write, torch_files: SimpleNamespace) -> None:
    import ast

    from kigraph.graph import loaders

    for path in Path(loaders.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "_pickle", "marshal", "shelve", "importlib", "zipfile"} & set(names), path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "__import__", "compile"), path
