"""FlexBuffers: a map of names to numbers, which custom operators have as their options.

The root is at the end: its value, its type, its width. A map is a vector of values with their types behind it, and with
the place of its keys before it. Lengths of numbers and offsets are 1, 2, 4 or 8 bytes; offsets point back.
"""

from __future__ import annotations

import struct

__all__ = ["read_map"]

_MAP, _BOOL = 9, 26
_MOST = 256
_FLOATS = {2: "<e", 4: "<f", 8: "<d"}


def read_map(data: bytes) -> dict[str, float]:
    """The numbers of a map whose values are numbers. ValueError for anything else, and for what is damaged."""
    if len(data) < 3:
        raise ValueError(f"{len(data)} bytes of options; expected a FlexBuffer")
    width, packed = data[-1], data[-2]
    if packed >> 2 != _MAP or width not in (1, 2, 4, 8):
        raise ValueError(f"options of type {packed >> 2}; expected a map")
    at, wide = _behind(data, len(data) - 2 - width, width), 1 << (packed & 3)
    count = _uint(data, at - wide, wide)
    keys, keys_wide = _behind(data, at - 3 * wide, wide), _uint(data, at - 2 * wide, wide)
    if count > _MOST or keys_wide not in (1, 2, 4, 8) or _uint(data, keys - keys_wide, keys_wide) != count:
        raise ValueError(f"{count} options, or another number of names")
    return {
        _name(data, _behind(data, keys + i * keys_wide, keys_wide)): _number(data, at, wide, count, i)
        for i in range(count)
    }


def _take(data: bytes, at: int, count: int) -> bytes:
    if at < 0 or at + count > len(data):
        raise ValueError(f"options that refer to byte {at} of {len(data)}")
    return data[at : at + count]


def _uint(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(_take(data, at, width), "little")


def _behind(data: bytes, at: int, width: int) -> int:
    """What the offset at ``at`` refers to."""
    return at - _uint(data, at, width)


def _name(data: bytes, at: int) -> str:
    _take(data, at, 1)
    end = data.find(b"\0", at, at + _MOST)
    if end < 0:
        raise ValueError("a name of an option without an end")
    return data[at:end].decode("latin-1")


def _number(data: bytes, at: int, wide: int, count: int, i: int) -> float:
    packed = _take(data, at + count * wide + i, 1)[0]
    kind, place = packed >> 2, at + i * wide
    if kind in (6, 7, 8):  # a number elsewhere
        place, wide, kind = _behind(data, place, wide), 1 << (packed & 3), kind - 5
    raw = _take(data, place, wide)
    if kind == 3 and wide in _FLOATS:
        found: float = struct.unpack(_FLOATS[wide], raw)[0]
        return found
    if kind in (1, 2, _BOOL):
        return int.from_bytes(raw, "little", signed=kind == 1)
    raise ValueError(f"an option of type {kind}; expected a number")
