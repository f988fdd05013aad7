"""Keras' native format (.keras): a zip archive of config.json, metadata.json and model.weights.h5."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from ..formats.archive import Archive, Member
from ..formats.hdf5 import Hdf5File
from ..formats.json_text import check_json
from ..formats.limits import Budget
from ..formats.source import Source
from ..formats.unpacked import Unpacked
from .keras_config import version_of
from .keras_h5 import keras3_arrays
from .weights import TensorInfo, WeightsFile

__all__ = ["CONFIG", "WEIGHTS", "read_keras"]

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_MOST_TEXT = 32 << 20


def read_keras(source: Source, budget: Budget) -> WeightsFile:
    """The arrays under their paths ('layers/conv2d/vars/0'); ``metadata``: 'model_config' as text, 'keras_version'.

    Arrays stay in the archive where its member is stored, as Keras stores it; a deflated member is inflated once.
    """
    archive = Archive(source, budget)
    if WEIGHTS not in archive.members:
        remedy = "Save it without shards: model.save('m.keras')."
        raise budget.error("the archive", "weights in several files", WEIGHTS, remedy)
    metadata: dict[str, Any] = {"form": "keras-3", "model_config": _text(archive, CONFIG, budget)}
    version = version_of(_text(archive, "metadata.json", budget)) if "metadata.json" in archive.members else None
    metadata["keras_version"] = version or version_of(metadata["model_config"]) or "3"
    member = archive.members[WEIGHTS]
    if member.start >= 0:
        file = Hdf5File(source, budget, member.start, member.size)
        found = keras3_arrays(file.root, budget)
        tensors = {name: _checked(archive, member, info) for name, info in found.items()}
    else:
        tensors = keras3_arrays(Hdf5File(Unpacked(source, WEIGHTS, archive.unpack(WEIGHTS)), budget).root, budget)
    return WeightsFile(source.name, "keras", MappingProxyType(tensors), MappingProxyType(metadata))


def _checked(archive: Archive, member: Member, info: TensorInfo) -> TensorInfo:
    """The same array; before the first one of the member is read, its CRC is compared."""

    def load() -> np.ndarray[Any, Any]:
        archive.check(member)
        return info.load()

    return replace(info, load=load)


def _text(archive: Archive, name: str, budget: Budget) -> str:
    try:
        data = archive.unpack(name, _MOST_TEXT)
        check_json(data, f"member {name!r}", budget)
        return data.decode()
    except UnicodeDecodeError:
        raise budget.error(f"member {name!r}", "bytes that are no UTF-8", "JSON") from None
