"""How many blocks an image file has, counted before Pillow iterates over them: it needs up to 2 microseconds a block, in Python,
so a file of 128 MB without a single pixel more would take half a minute."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ImageError

__all__ = ["MAX_BLOCKS", "check_blocks"]

#: Chunks of a PNG, segments of a JPEG. Encoders write a chunk for every 8 kB.
MAX_BLOCKS = 100_000
#: Sub-blocks of a GIF, of at most 255 bytes each.
_MAX_SUB_BLOCKS = 1_000_000
#: Compressed pixels of a BMP: Pillow expands them in Python, 2 bytes at a time.
_MAX_RUN_LENGTHS = 2**23
#: Longer than any segment, so not data; libjpeg reads such a run repeatedly.
_FILL = b"\xff" * 65_536


def check_blocks(data: bytes, name: str) -> None:
    """Raises ImageError for a file that is made of blocks rather than pixels."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        _count(_chunks(data), MAX_BLOCKS, name, "chunks")
    elif data[:4] == b"GIF8":
        _count(_sub_blocks(data), _MAX_SUB_BLOCKS, name, "blocks")
    elif data[:2] == b"\xff\xd8":
        _count(_segments(data), MAX_BLOCKS, name, "segments")
        if _FILL in data and _FILL in data.rstrip(b"\xff"):
            raise ImageError(f"{name}: the JPEG has more than {len(_FILL):,} fill bytes in a row")
    elif data[:2] == b"BM" and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0") and len(data) > _MAX_RUN_LENGTHS:
        raise ImageError(
            f"{name}: a run-length coded BMP of {len(data):,} bytes; at most {_MAX_RUN_LENGTHS:,} are read"
        )


def _count(blocks: Iterator[int], limit: int, name: str, what: str) -> None:
    for count, _ in enumerate(blocks):
        if count >= limit:
            raise ImageError(f"{name}: the image has more than {limit:,} {what}")


def _chunks(data: bytes) -> Iterator[int]:
    at = 8
    while at + 12 <= len(data) and data[at + 4 : at + 8] != b"IEND":
        yield at
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _segments(data: bytes) -> Iterator[int]:
    """Up to the first scan; after it libjpeg reads, which is fast."""
    at = 2
    while at + 4 <= len(data):
        yield at
        if data[at] != 0xFF or data[at + 1] in (0, 0xFF) or 0xD0 <= data[at + 1] <= 0xD8:
            at += 1
        elif data[at + 1] in (0xD9, 0xDA):
            return
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))


def _sub_blocks(data: bytes) -> Iterator[int]:
    def table(at: int) -> int:
        return 6 << (data[at] & 7) if data[at] & 0x80 else 0

    if len(data) < 13:
        return
    at = 13 + table(10)
    while at + 10 < len(data) and data[at] in (0x21, 0x2C):
        at += 2 if data[at] == 0x21 else 11 + table(at + 9)
        while at < len(data) and data[at]:
            yield at
            at += 1 + data[at]
        yield at
        at += 1
