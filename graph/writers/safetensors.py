"""Named arrays to a safetensors file: 8 bytes with the header's length, the header as JSON, the arrays."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kernels.atomic_files import replacing
from ..errors import GraphError

if TYPE_CHECKING:
    from ..loaders.weights import WeightsFile

__all__ = ["save_safetensors"]

_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


def save_safetensors(weights: WeightsFile, path: str | os.PathLike[str], metadata: Mapping[str, str] = {}) -> None:
    """Writes the arrays of a weights file under their names, one in memory at a time; the file appears when it is complete.

    metadata: texts for the header. Raises GraphError for an element type that the format does not have.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in weights:
        info = weights[name]
        kind = _NAMES.get(info.dtype.name)
        if kind is None:
            raise GraphError(f"safetensors: array {name!r} has type {info.dtype}, which the format does not have")
        size = math.prod(info.shape) * info.dtype.itemsize
        header[name] = {"dtype": kind, "shape": list(info.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path, shared=True) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in weights:
            dense = np.ascontiguousarray(weights.read(name))
            file.write(dense.astype(dense.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data)
