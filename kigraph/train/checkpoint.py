"""All state of a training run in one file: variables, optimizer slots, epoch, generator, history.

The file is a NumPy .npz without pickled objects. It is written to a neighbour and renamed, so a reader sees the old one
or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LoadError
from ..kernels.files import open_regular, replacing

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_META = "kigraph.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``variables``: name -> value. ``meta``: epoch, generator state, history: plain data."""

    variables: Mapping[str, np.ndarray[Any, Any]]
    meta: Mapping[str, Any]


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> Path:
    """Writes atomically; an interrupted write leaves the old file as it was."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"v/{name}": value for name, value in checkpoint.variables.items()}
    text = json.dumps({"version": _VERSION, **checkpoint.meta})
    with replacing(target) as file:
        np.savez(file, **{_META: np.frombuffer(text.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]
    return target


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Raises LoadError for a file that is damaged or not a checkpoint."""
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as archive:
            meta = json.loads(bytes(archive[_META]).decode())
            variables = {name[2:]: archive[name] for name in archive.files if name.startswith("v/")}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise LoadError(f"{os.fspath(path)} is not a readable checkpoint: {error}") from None
    if not isinstance(meta, dict) or meta.get("version") != _VERSION:
        raise LoadError(f"{os.fspath(path)}: checkpoint version {meta.get('version')!r}, expected {_VERSION}")
    return Checkpoint(variables, meta)
