"""Keys whose bytes sort as their values do: how a tensor bundle names the stored parts of a large variable.

Format: tensorflow/core/lib/strings/ordered_code.h, and EncodeTensorNameSlice of util/saved_tensor_slice_util.cc.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["slice_key"]

#: So that a text ends where no longer one goes on.
_ESCAPED = {0: b"\0\xff", 0xFF: b"\xff\0"}


def slice_key(name: str, extents: Sequence[tuple[int, int]]) -> bytes:
    """The key of a part of a tensor. extents: start and length along each axis; (0, -1) is the whole axis."""
    key = _number(0) + _text(name.encode()) + _number(len(extents))
    return key + b"".join(_signed(start) + _signed(length) for start, length in extents)


def _number(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(data)]) + data


def _text(data: bytes) -> bytes:
    return b"".join(_ESCAPED.get(byte, bytes([byte])) for byte in data) + b"\0\1"


def _signed(value: int) -> bytes:
    """The first bits say how many bytes there are; all of them are inverted for a negative number."""
    bits = (~value if value < 0 else value).bit_length()
    count = bits // 7 + 1
    if count == 1:
        return bytes([0x80 ^ value & 0xFF])
    data = bytearray(value.to_bytes(10, "big", signed=True)[10 - count :])
    header = ((1 << count) - 1) << (16 - count)
    data[0] ^= header >> 8
    data[1] ^= header & 0xFF
    return bytes(data)
