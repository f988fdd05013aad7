"""Snappy's raw format, as blocks of tables may be compressed with it: decoded with every length checked.

Format: https://github.com/google/snappy/blob/main/format_description.txt.
"""

from __future__ import annotations

__all__ = ["unsnappy"]

_MOST_LENGTH_BYTES = 5


def unsnappy(data: bytes, most: int) -> bytes:
    """The bytes that were compressed; ValueError for what is damaged or would be longer than ``most``."""
    size, at = _length(data)
    if size > most:
        raise ValueError(f"{size} bytes once decompressed, more than {most}")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            count = tag >> 2
            if count >= 60:
                extra = count - 59
                count = int.from_bytes(_take(data, at, extra), "little")
                at += extra
            count += 1
            out += _take(data, at, count)
            at += count
        else:
            extra = (1, 2, 4)[(tag & 3) - 1]
            back = int.from_bytes(_take(data, at, extra), "little")
            at += extra
            count = (tag >> 2) + 1
            if tag & 3 == 1:
                back |= (tag & 0xE0) << 3
                count = (tag >> 2 & 7) + 4
            if not 0 < back <= len(out):
                raise ValueError(f"a copy from {back} bytes before, of {len(out)}")
            start = len(out) - back
            piece = out[start : start + count]
            out += (piece * -(-count // len(piece)))[:count]
        if len(out) > size:
            raise ValueError(f"more than the {size} bytes that it states")
    if len(out) != size:
        raise ValueError(f"{len(out)} of the {size} bytes that it states")
    return bytes(out)


def _length(data: bytes) -> tuple[int, int]:
    value = 0
    for at, byte in enumerate(data[:_MOST_LENGTH_BYTES]):
        value |= (byte & 0x7F) << (7 * at)
        if byte < 0x80:
            return value, at + 1
    raise ValueError("no length at its beginning")


def _take(data: bytes, at: int, count: int) -> bytes:
    if at + count > len(data):
        raise ValueError("the end inside an element")
    return data[at : at + count]
