"""The size of a WebP, read here: Pillow's decoder allocates two canvases before it reports their size.
Format: RFC 9649."""

from __future__ import annotations

__all__ = ["webp_size"]


def webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that the first chunk states, or None for whatever is not a plain WebP."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return number(24, 3) + 1, number(27, 3) + 1
    if kind == b"VP8L":
        bits = number(21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF
    return None
