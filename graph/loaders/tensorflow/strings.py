"""The strings of a tensor in a checkpoint: their lengths, a checksum of these, then their bytes one after the other."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ....kernels.tensor import STRING
from ...formats.crc32c import masked_crc32c
from ...formats.limits import Budget

__all__ = ["read_strings"]

_DAMAGED = "The file is truncated or damaged: fetch it again."


def read_strings(data: bytes, count: int, checksum: int, budget: Budget, place: str) -> np.ndarray[Any, Any]:
    """``count`` strings, as BundleWriter writes them (tensorflow/core/util/tensor_bundle)."""
    lengths: list[int] = []
    at = 0
    for _ in range(count):
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise budget.error(place, "the end inside the lengths of strings", f"{count} strings", _DAMAGED)
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(value)
    if at + 4 + sum(lengths) != len(data):
        raise budget.error(place, f"{len(data)} bytes", f"{at + 4 + sum(lengths)} bytes of strings", _DAMAGED)
    # A checksum is made of the lengths as plain numbers, not as they are stored.
    plain = b"".join(struct.pack("<I" if n < 1 << 32 else "<Q", n) for n in lengths)
    if int.from_bytes(data[at : at + 4], "little") != masked_crc32c(plain):
        raise budget.error(place, "another checksum of the lengths", "the one that is stored", _DAMAGED)
    if checksum != masked_crc32c(plain + data[at:]):
        raise budget.error(place, "another checksum", "the one that the index has", _DAMAGED)
    at += 4
    result = np.empty(count, STRING)
    for i, length in enumerate(lengths):
        result[i] = data[at : at + length]
        at += length
    return result
