"""Which family a file is of, told by its content. Unsupported families are refused by name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LoadError
from .limits import Budget, LoadLimits, load_error

if TYPE_CHECKING:
    from .source import Source

__all__ = ["Family", "sniff"]

_FAMILIES = "a TensorFlow frozen GraphDef, safetensors, a PyTorch state dict or Keras 2 weights (.h5)"
_LATER = "Reading this family comes later; use another one for now."
_KERAS_3 = "Save it as HDF5: model.save('model.h5'); or freeze it in TensorFlow (README, 'Keras models')."
_SAVED = "Freeze it in TensorFlow (README, 'Keras models')."
_HDF5 = b"\x89HDF\r\n\x1a\n"
#: First bytes -> what it is, what to do. Asked in this order.
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


class Family(Enum):
    """The families that are read."""

    GRAPHDEF = "graphdef"
    SAFETENSORS = "safetensors"
    TORCH_ZIP = "torch"
    TORCH_LEGACY = "torch-legacy"
    KERAS_H5 = "keras-h5"


def sniff(path: str | os.PathLike[str], limits: LoadLimits | None = None) -> Family:
    """The family of the file. Raises LoadError, naming what it is instead, for everything else."""
    _refuse_folder(Path(path))
    from .source import Source

    source = Source(path)
    name = source.name

    def refuse(what: str, remedy: str = _LATER) -> LoadError:
        return load_error(name, "the content", what, _FAMILIES, remedy)

    head = source.read(0, min(source.size, 4096))
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise refuse(what, remedy)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_family(source, refuse, limits)
    if any(source.size >= at + 8 and source.read(at, 8) == _HDF5 for at in (0, 512, 1024, 2048)):
        return Family.KERAS_H5
    if head[4:8] == b"TFL3":
        raise refuse("a TensorFlow Lite model")
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        from .torch_pickle import LEGACY_MAGIC

        if head.startswith(LEGACY_MAGIC):
            return Family.TORCH_LEGACY
        raise refuse("a bare pickle", "Pickles can run code and are not read; save a state dict with torch.save.")
    if head[257:262] == b"ustar":
        raise refuse("a tar archive", "Unpack it first: tar xf FILE.")
    from .graphdef import looks_like_graphdef

    begin = memoryview(head)
    if head[8:9] == b"{":
        from .safetensors import looks_like_safetensors

        if looks_like_safetensors(begin):
            return Family.SAFETENSORS
    if looks_like_graphdef(begin):
        return Family.GRAPHDEF
    for pattern, what, remedy in _TEXT:
        if pattern.match(head):
            raise refuse(what, remedy)
    if head[:1] == b"\x08":
        raise refuse(_protobuf(head))
    # An SSTable's footer: the .index file of a checkpoint.
    if source.size >= 48 and source.read(source.size - 8, 8) == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
        raise refuse("the index of a TensorFlow checkpoint", "Freeze the graph with its variables first.")
    raise refuse(f"bytes {head[:8].hex(' ')} ...", "The file is of an unknown family, or damaged.")


def _refuse_folder(path: Path) -> None:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return
        saved = (path / "saved_model.pb").is_file()
    except (OSError, ValueError):
        return  # Source says what is wrong
    what = "a TensorFlow SavedModel (a folder)" if saved else "a folder"
    raise load_error(str(path), "the path", what, _FAMILIES, _SAVED if saved else "Give the file inside it.")


def _zip_family(source: Source, refuse: Callable[..., LoadError], limits: LoadLimits | None) -> Family:
    from .archive import Archive

    names = Archive(source, Budget(source.name, source.size, limits)).members
    if any(n.endswith("/data.pkl") and n.count("/") == 1 for n in names):
        return Family.TORCH_ZIP
    if "config.json" in names and "model.weights.h5" in names:
        raise refuse("a Keras 3 model (.keras)", _KERAS_3)
    if any(n.endswith("saved_model.pb") for n in names):
        raise refuse("a zipped TensorFlow SavedModel")
    if any(n.endswith(".npy") for n in names):
        raise refuse("NumPy arrays (.npz)", "Save the weights as safetensors.")
    if any(n.endswith((".pb", ".pth", ".pt", ".h5", ".safetensors")) for n in names):
        raise refuse("a zip archive with a model inside", "Unpack it first.")
    raise refuse("a zip archive", "Unpack it first, if it has a model inside.")


def _protobuf(head: bytes) -> str:
    """Field 1 as a number first: SavedModel and ONNX both have a version there."""
    rest = head[2:]
    # ONNX: producer_name (2), producer_version (3), domain (4), model_version (5), doc (6), graph (7), opset (8).
    # SavedModel: meta_graphs (2), whose first field is a message, not text.
    if head[1:2] == b"\x01" and rest[:1] == b"\x12" and b"\x0a" in rest[2:6]:
        return "a TensorFlow SavedModel (saved_model.pb)"
    return "an ONNX model"
