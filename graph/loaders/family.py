"""The table of families that are read. A file's family is recognised by its content.

A further family is a row of FAMILIES and, where it has one, a module that reads it. All others are refused by name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...kernels.records import dataclass
from ..formats.limits import Budget, LoadLimits, load_error

if TYPE_CHECKING:
    from ..builder import Graph
    from ..formats.source import Source
    from .weights import WeightsFile

__all__ = ["FAMILIES", "Family", "file_of", "sniff"]

_READ = (
    "a Keras model (.h5, .keras), a TensorFlow SavedModel, frozen GraphDef or checkpoint, ONNX, TensorFlow Lite, safetensors, a "
    "PyTorch state dict or an exported program (.pt2)"
)
_COPY = "Copy the folder with the files themselves: cp -rL."
#: Names of files that belong to others: what it is, what to do.
_PARTS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"keras_metadata\.pb|fingerprint\.pb|tfhub_module\.pb"),
        "a part of a TensorFlow SavedModel",
        "Give the folder with saved_model.pb in it.",
    ),
    (
        re.compile(r".*\.data-[0-9]{5}-of-[0-9]{5}"),
        "the data of a TensorFlow checkpoint",
        "Give the .meta file beside it, which has the graph, or the .index file; of a SavedModel the folder.",
    ),
)
#: Of a folder that is one model, the file to begin with.
_MAIN_FILES = ("saved_model.pb",)
_HDF5, _TAR = b"\x89HDF\r\n\x1a\n", b"ustar"
#: First bytes -> what it is, what to do. Checked in this order.
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip archive", "Unpack it first: gzip -d FILE, or tar xzf FILE."),
    (b"\xfd7zXZ\x00", "an xz archive", "Unpack it first: xz -d FILE."),
    (b"BZh", "a bzip2 archive", "Unpack it first: bzip2 -d FILE."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it first: zstd -d FILE."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first."),
    (b"\xff\xd8\xff", "a JPEG picture", "Give the model's file here and the picture to classify."),
    (b"\x89PNG", "a PNG picture", "Give the model's file here and the picture to classify."),
    (b"GIF8", "a GIF picture", "Give the model's file here and the picture to classify."),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch the content: git lfs pull."),
    (b"\x93NUMPY", "a NumPy array", "Save the weights as safetensors."),
    (b"GGUF", "a GGUF file", "Save the weights as safetensors."),
)
_TEXT: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"\s*(<!doctype|<html|<\?xml)", re.I), "a web page", "The download failed: fetch the file again."),
    (
        re.compile(rb"\s*(node|versions|library)\s*\{"),
        "a GraphDef in text form",
        "Convert it to the binary form (.pb).",
    ),
    (
        re.compile(rb'\s*\{.*"(modelTopology|weightsManifest|layers-model|graph-model)"', re.DOTALL),
        "a TensorFlow.js model",
        "Give what it was converted from, or convert it: tensorflowjs_converter --input_format=tfjs_layers_model "
        "--output_format=keras_saved_model FILE FOLDER.",
    ),
    (
        re.compile(rb'model_checkpoint_path: "'),
        "the list of a folder's checkpoints",
        "Give the .meta file of one, which has the graph, or its .index file.",
    ),
    (re.compile(rb"[\t\n\r -~]{32,}\Z"), "a text file", "Give the model's file."),
)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a family is recognised by: the first bytes, and the file for those that look further."""

    source: Source
    head: bytes
    limits: LoadLimits | None

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip archive; its members may look like any other family."""
        return self.head.startswith((b"PK\x03\x04", b"PK\x05\x06"))

    def members(self) -> list[str]:
        """Names in a zip archive."""
        from ..formats.archive import Archive

        return list(Archive(self.source, Budget(self.source.name, self.source.size, self.limits)).members)


@dataclass(frozen=True, slots=True)
class Family:
    """A family of files. ``name``: its short name; ``title``: what the user calls it.

    looks_like: whether a file is of the family. read: the graph, or named arrays for a built-in network.
    """

    name: str
    title: str
    looks_like: Callable[[Beginning], bool]
    read: Callable[[Source, Budget], Graph | WeightsFile]


def _is_torch_zip(file: Beginning) -> bool:
    return file.is_zip and any(n.endswith("/data.pkl") and n.count("/") == 1 for n in file.members())


def _read_torch_zip(source: Source, budget: Budget) -> WeightsFile:
    from ..formats.archive import Archive
    from .torch_pickle import read_torch_zip

    return read_torch_zip(source, Archive(source, budget), budget)


def _is_pt2(file: Beginning) -> bool:
    if not file.is_zip:
        return False
    from .torch_export import looks_like_pt2

    return looks_like_pt2(file.members())


def _read_pt2(source: Source, budget: Budget) -> Graph:
    from .torch_export import read_pt2

    return read_pt2(source, budget)


def _is_torch_legacy(file: Beginning) -> bool:
    if not _is_pickle(file.head):
        return False
    from .torch_pickle import LEGACY_MAGIC

    return file.head.startswith(LEGACY_MAGIC)


def _read_torch_legacy(source: Source, budget: Budget) -> WeightsFile:
    from .torch_pickle import read_torch_legacy

    return read_torch_legacy(source, budget)


def _is_keras_h5(file: Beginning) -> bool:
    source = file.source
    # A member of a zip archive may begin where an HDF5 file with a user block does.
    return not file.is_zip and any(source.size >= at + 8 and source.read(at, 8) == _HDF5 for at in (0, 512, 1024, 2048))


def _read_keras_h5(source: Source, budget: Budget) -> WeightsFile:
    from .keras_h5 import read_keras_h5

    return read_keras_h5(source, budget)


def _is_keras(file: Beginning) -> bool:
    if not file.is_zip:
        return False
    names = file.members()
    return "config.json" in names and any(n in names for n in ("model.weights.h5", "model.weights.json"))


def _read_keras(source: Source, budget: Budget) -> WeightsFile:
    from .keras_zip import read_keras

    return read_keras(source, budget)


def _is_safetensors(file: Beginning) -> bool:
    if file.head[8:9] != b"{":
        return False
    from .safetensors import looks_like_safetensors

    return looks_like_safetensors(memoryview(file.head))


def _read_safetensors(source: Source, budget: Budget) -> WeightsFile:
    from .safetensors import read_safetensors

    return read_safetensors(source, budget)


def _is_saved_model(file: Beginning) -> bool:
    if not file.head.startswith(b"\x08\x01\x12"):  # so that the reader of another family is not imported
        return False
    from .tensorflow.saved_model import looks_like_saved_model

    return looks_like_saved_model(file.head)


def _read_saved_model(source: Source, budget: Budget) -> Graph:
    from .tensorflow.saved_model import read_saved_model

    return read_saved_model(source, budget)


def _is_meta_graph(file: Beginning) -> bool:
    from .tensorflow.checkpoint import looks_like_meta_graph

    return file.head[257:262] != _TAR and looks_like_meta_graph(file.head)


def _read_meta_graph(source: Source, budget: Budget) -> Graph:
    from .tensorflow.checkpoint import read_meta_graph

    return read_meta_graph(source, budget)


def _is_checkpoint(file: Beginning) -> bool:
    from ..formats.sstable import looks_like_table

    return looks_like_table(file.source)


def _read_checkpoint(source: Source, budget: Budget) -> Graph | WeightsFile:
    from .tensorflow.checkpoint import read_checkpoint

    return read_checkpoint(source, budget)


def _is_graphdef(file: Beginning) -> bool:
    from .graphdef import looks_like_graphdef

    return file.head[257:262] != _TAR and looks_like_graphdef(memoryview(file.head))


def _read_graphdef(source: Source, budget: Budget) -> Graph:
    from .graphdef import read_graphdef

    return read_graphdef(source, budget)


def _is_tflite(file: Beginning) -> bool:
    if file.head[4:8] != b"TFL3":
        return False
    from .tflite import looks_like_tflite

    return looks_like_tflite(file.head, file.source.size)


def _read_tflite(source: Source, budget: Budget) -> Graph:
    from .tflite import read_tflite

    return read_tflite(source, budget)


def _is_onnx(file: Beginning) -> bool:
    if file.head[257:262] == _TAR or not file.head.startswith((b"\x08", b"\x12", b"\x3a", b"\x42")):
        return False
    from .onnx import looks_like_onnx

    return looks_like_onnx(file.head, file.source.size)


def _read_onnx(source: Source, budget: Budget) -> Graph:
    from .onnx import read_onnx

    return read_onnx(source, budget)


#: Checked in this order.
FAMILIES: tuple[Family, ...] = (
    Family("torch", "PyTorch state dict", _is_torch_zip, _read_torch_zip),
    Family("torch-export", "PyTorch exported program (.pt2)", _is_pt2, _read_pt2),
    Family("keras-h5", "Keras HDF5", _is_keras_h5, _read_keras_h5),
    Family("keras", "Keras model (.keras)", _is_keras, _read_keras),
    Family("torch-legacy", "PyTorch state dict (before 1.6)", _is_torch_legacy, _read_torch_legacy),
    Family("safetensors", "safetensors weights", _is_safetensors, _read_safetensors),
    Family("savedmodel", "TensorFlow SavedModel", _is_saved_model, _read_saved_model),
    Family("tf-checkpoint", "TensorFlow checkpoint (.index)", _is_checkpoint, _read_checkpoint),
    Family("tflite", "TensorFlow Lite model", _is_tflite, _read_tflite),
    Family("onnx", "ONNX model", _is_onnx, _read_onnx),
    Family("graphdef", "TensorFlow frozen GraphDef", _is_graphdef, _read_graphdef),
    Family("tf-metagraph", "TensorFlow graph with its checkpoint (.meta)", _is_meta_graph, _read_meta_graph),
)


def sniff(path: str | os.PathLike[str], limits: LoadLimits | None = None) -> Family:
    """The family of the file. Raises LoadError, naming what it is instead, for everything else."""
    from ..formats.source import Source

    source = Source(file_of(path))
    file = Beginning(source, source.read(0, min(source.size, 4096)), limits)
    found = next((row for row in _FOREIGN if file.head.startswith(row[0])), None)
    if found is None:
        for family in FAMILIES:
            if family.looks_like(file):
                return family
    what, remedy = found[1:] if found is not None else _other(file)
    raise load_error(source.name, "the content", what, _READ, remedy)


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _other(file: Beginning) -> tuple[str, str]:
    """What a file of no family is, and what to do about it."""
    head = file.head
    for name, what, remedy in _PARTS:
        if name.fullmatch(file.source.path.name):
            return what, remedy
    if file.is_zip:
        return _zip(file.members())
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model without its root", "The file is truncated or damaged: fetch it again."
    if _is_pickle(head):
        return "a bare pickle", "Pickles can run code and are not read; save a state dict with torch.save."
    if head[257:262] == _TAR:
        return "a tar archive", "Unpack it first: tar xf FILE."
    for pattern, what, remedy in _TEXT:
        if pattern.match(head):
            return what, remedy
    return f"bytes {head[:8].hex(' ')} ...", "The file is of an unknown family, or damaged."


def _zip(names: list[str]) -> tuple[str, str]:
    if any(n.endswith("saved_model.pb") for n in names):
        return "a zipped TensorFlow SavedModel", "Unpack it first: unzip FILE -d FOLDER; then give the folder."
    if any(n.endswith(".npy") for n in names):
        return "NumPy arrays (.npz)", "Save the weights as safetensors."
    if any(n.endswith((".pb", ".pth", ".pt", ".h5", ".safetensors")) for n in names):
        return "a zip archive with a model inside", "Unpack it first."
    return "a zip archive", "Unpack it first, if it has a model inside."


def file_of(path: str | os.PathLike[str]) -> Path:
    """The file to begin with: ``path`` itself, the main file of a folder that is one model, or a checkpoint's of that prefix.

    LoadError for other folders.
    """
    folder = Path(path)
    try:
        if not os.path.lexists(folder):
            whole = (folder.with_name(f"{folder.name}{suffix}") for suffix in (".meta", ".index") if folder.name)
            return next((file for file in whole if os.path.lexists(file)), folder)
        if not stat.S_ISDIR(folder.stat().st_mode):
            return folder
        main = next((folder / name for name in _MAIN_FILES if os.path.lexists(folder / name)), None)
        regular = main is not None and stat.S_ISREG(main.lstat().st_mode)
    except (OSError, ValueError):
        return folder  # Source says what is wrong
    if main is None:
        listed = os.path.lexists(folder / "checkpoint")
        remedy = "Give the .meta or .index file inside it." if listed else "Give the file inside it."
        raise load_error(str(path), "the path", "a folder", _READ, remedy)
    if not regular:
        raise load_error(str(main), "the path", "a link, or no regular file", "a regular file", _COPY)
    return main
