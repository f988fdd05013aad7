"""Packed numbers of the wire format, whole lists at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["unpack_numbers"]

_DTYPES = {"float": "<f4", "double": "<f8"}


def unpack_numbers(data: bytes, kind: str) -> np.ndarray[Any, Any]:
    """The values of raw packed bytes: float32, float64, or int64 / uint64 for the varint kinds.

    Raises ValueError if the bytes do not end with a whole number.
    """
    if kind in _DTYPES:
        if len(data) % np.dtype(_DTYPES[kind]).itemsize:
            raise ValueError(f"{len(data)} bytes of packed {kind} values")
        return np.frombuffer(data, _DTYPES[kind])
    raw = np.frombuffer(data, np.uint8)
    if not raw.size:
        return np.empty(0, np.int64)
    if raw.max() < 0x80:  # numbers of one byte each: strides, window sizes, axes
        return raw != 0 if kind == "bool" else raw.astype(np.uint64 if kind in ("uint32", "uint64") else np.int64)
    ends = np.flatnonzero(raw < 0x80)
    if not ends.size or ends[-1] != raw.size - 1:
        raise ValueError("packed numbers that end inside a number")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        raise ValueError("a variable-length number of more than 10 bytes")
    values = np.zeros(ends.size, np.uint64)
    for i in range(longest):
        has = lengths > i
        digits = (raw[starts[has] + i] & 0x7F).astype(np.uint64)
        values[has] |= digits << np.uint64(7 * i)
    if kind in ("uint32", "uint64"):
        return np.asarray(values & np.uint64(0xFFFFFFFF)) if kind == "uint32" else values
    if kind == "bool":
        return np.asarray(values != 0)
    signed = values.view(np.int64)
    return signed if kind == "int64" else signed.astype(np.int32).astype(np.int64)
