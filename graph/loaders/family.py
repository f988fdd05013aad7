"""The table of families that are read. A file's family is recognised by its content.

A further family is a row of FAMILIES and, where it has one, a module that reads it. All others are refused by name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..formats.limits import Budget, LoadLimits, load_error

if TYPE_CHECKING:
    from ..builder import Graph
    from ..formats.source import Source
    from .weights import WeightsFile

__all__ = ["FAMILIES", "Family", "sniff"]

_READ = "a TensorFlow frozen GraphDef, safetensors, a PyTorch state dict or Keras 2 weights (.h5)"
_LATER = "Reading this family comes later; use another one for now."
_KERAS_3 = "Save it as HDF5: model.save('model.h5'); or freeze it in TensorFlow (README, 'Keras models')."
_SAVED = "Freeze it in TensorFlow (README, 'Keras models')."
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


def _is_safetensors(file: Beginning) -> bool:
    if file.head[8:9] != b"{":
        return False
    from .safetensors import looks_like_safetensors

    return looks_like_safetensors(memoryview(file.head))


def _read_safetensors(source: Source, budget: Budget) -> WeightsFile:
    from .safetensors import read_safetensors

    return read_safetensors(source, budget)


def _is_graphdef(file: Beginning) -> bool:
    from .graphdef import looks_like_graphdef

    return file.head[257:262] != _TAR and looks_like_graphdef(memoryview(file.head))


def _read_graphdef(source: Source, budget: Budget) -> Graph:
    from .graphdef import read_graphdef

    return read_graphdef(source, budget)


#: Checked in this order.
FAMILIES: tuple[Family, ...] = (
    Family("torch", "PyTorch state dict", _is_torch_zip, _read_torch_zip),
    Family("keras-h5", "Keras HDF5 weights", _is_keras_h5, _read_keras_h5),
    Family("torch-legacy", "PyTorch state dict (before 1.6)", _is_torch_legacy, _read_torch_legacy),
    Family("safetensors", "safetensors weights", _is_safetensors, _read_safetensors),
    Family("graphdef", "TensorFlow frozen GraphDef", _is_graphdef, _read_graphdef),
)


def sniff(path: str | os.PathLike[str], limits: LoadLimits | None = None) -> Family:
    """The family of the file. Raises LoadError, naming what it is instead, for everything else."""
    _refuse_folder(Path(path))
    from ..formats.source import Source

    source = Source(path)
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
    head, source = file.head, file.source
    if file.is_zip:
        return _zip(file.members())
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", _LATER
    if _is_pickle(head):
        return "a bare pickle", "Pickles can run code and are not read; save a state dict with torch.save."
    if head[257:262] == _TAR:
        return "a tar archive", "Unpack it first: tar xf FILE."
    for pattern, what, remedy in _TEXT:
        if pattern.match(head):
            return what, remedy
    if head[:1] == b"\x08":
        return _protobuf(head), _LATER
    # An SSTable's footer: the .index file of a checkpoint.
    if source.size >= 48 and source.read(source.size - 8, 8) == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
        return "the index of a TensorFlow checkpoint", "Freeze the graph with its variables first."
    return f"bytes {head[:8].hex(' ')} ...", "The file is of an unknown family, or damaged."


def _zip(names: list[str]) -> tuple[str, str]:
    if "config.json" in names and "model.weights.h5" in names:
        return "a Keras 3 model (.keras)", _KERAS_3
    if any(n.endswith("saved_model.pb") for n in names):
        return "a zipped TensorFlow SavedModel", _LATER
    if any(n.endswith(".npy") for n in names):
        return "NumPy arrays (.npz)", "Save the weights as safetensors."
    if any(n.endswith((".pb", ".pth", ".pt", ".h5", ".safetensors")) for n in names):
        return "a zip archive with a model inside", "Unpack it first."
    return "a zip archive", "Unpack it first, if it has a model inside."


def _refuse_folder(path: Path) -> None:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return
        saved = (path / "saved_model.pb").is_file()
    except (OSError, ValueError):
        return  # Source says what is wrong
    what = "a TensorFlow SavedModel (a folder)" if saved else "a folder"
    raise load_error(str(path), "the path", what, _READ, _SAVED if saved else "Give the file inside it.")


def _protobuf(head: bytes) -> str:
    """Field 1 as a number first: SavedModel and ONNX both have a version there."""
    rest = head[2:]
    # ONNX: producer_name (2), producer_version (3), domain (4), model_version (5), doc (6), graph (7), opset (8).
    # SavedModel: meta_graphs (2), whose first field is a message, not text.
    if head[1:2] == b"\x01" and rest[:1] == b"\x12" and b"\x0a" in rest[2:6]:
        return "a TensorFlow SavedModel (saved_model.pb)"
    return "an ONNX model"
