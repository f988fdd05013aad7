"""The header of an ordinary JPEG, read here: Pillow with its plug-ins takes 14 ms to load, and a graph that decodes the
image itself needs no more than this. Format: ITU-T T.81, annex B."""

from __future__ import annotations

from collections.abc import Iterator

from ..kernels.records import dataclass

__all__ = ["JpegHeader", "read_jpeg_header"]

_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_START, _SCAN, _APP1, _APP2 = 0xD8, 0xDA, 0xE1, 0xE2
#: Huffman-coded: baseline, extended, progressive. Every other kind of frame is left to Pillow.
_FRAMES, _OTHER_FRAMES = (0xC0, 0xC1, 0xC2), frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Markers without a length: TEM, RST0 to RST7, SOI, EOI. None of them belongs in a header.
_BARE = frozenset([0x01, *range(0xD0, 0xDA)])


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """``exif``: the block after 'Exif', without its two zeros; empty if there is none."""

    width: int
    height: int
    mode: str
    exif: bytes = b""


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """The header up to the first scan, or None for whatever is not plain: not a JPEG, damaged, several pictures in one."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    frame, exif = None, b""
    for marker, content in _segments(data):
        if marker == _SCAN:
            return _header_of(frame, exif)
        if marker in _FRAMES:
            if frame is not None or not _plain(content):
                return None
            frame = content
        elif marker in _OTHER_FRAMES or (marker == _APP2 and content.startswith(b"MPF\0")):
            return None
        elif marker == _APP1 and content.startswith(b"Exif\0\0"):
            if exif:
                return None
            exif = content[6:]
    return None


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of the segments after the start marker, until something else follows."""
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] in _BARE or data[at + 1] == 0:
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        content = data[at + 4 : at + 2 + length]
        if length < 2 or len(content) != length - 2:
            return
        yield data[at + 1], content
        at += 2 + length


def _plain(frame: bytes) -> bool:
    """Eight bits a sample, and as long as its number of components says."""
    return len(frame) >= 6 and frame[0] == 8 and len(frame) == 6 + 3 * frame[5]


def _header_of(frame: bytes | None, exif: bytes) -> JpegHeader | None:
    if frame is None or frame[5] not in _MODES:
        return None
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    return JpegHeader(width, height, _MODES[frame[5]], exif) if width and height else None
