"""What undoes the filters of a chunk: deflate, shuffle, fletcher32, and h5py's lzf; each within the chunk's size."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from .blocks import SAVE_AGAIN, Block

__all__ = ["Filters", "read_filters"]

_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_KNOWN = (_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF)
_MOST = 32
_WORDS = 1 << 20


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a dataset, in the order in which a writer applies them: number, first value."""

    steps: tuple[tuple[int, int], ...] = ()

    def undo(self, data: bytes, skipped: int, size: int) -> bytes:
        """The ``size`` bytes of a chunk. ``skipped``: a bit for each filter that was left out.

        Raises ValueError for data that do not fit.
        """
        for i in range(len(self.steps) - 1, -1, -1):
            if skipped >> i & 1:
                continue
            code, value = self.steps[i]
            if code == _FLETCHER32:
                data = _verified(data)
            elif code == _SHUFFLE:
                data = _unshuffled(data, value)
            else:
                # A checksum may still follow the data here.
                data = _inflated(data, size + 4) if code == _DEFLATE else _unpacked(data, size + 4)
        if len(data) != size:
            raise ValueError(f"a chunk of {len(data)} bytes instead of {size}")
        return data


def read_filters(block: Block) -> Filters:
    """A filter pipeline message."""
    version = block.version(1, 2)
    count = block.uint(1)
    if count > _MOST:
        raise block.fail(f"{count} filters", f"at most {_MOST}")
    if version == 1:
        block.skip(6)
    steps = []
    for _ in range(count):
        code = block.uint(2)
        named = block.uint(2) if version == 1 or code >= 256 else 0
        block.skip(2)
        values = block.uint(2)
        block.skip(named + (-named % 8 if version == 1 else 0))
        first = block.uint(4) if values else 0
        block.skip(4 * max(values - 1, 0) + (4 if version == 1 and values % 2 else 0))
        if code not in _KNOWN:
            raise block.fail(f"filter number {code}", "deflate, shuffle, fletcher32 or lzf", SAVE_AGAIN)
        if code == _SHUFFLE and first < 1:
            raise block.fail("a shuffle of elements of 0 bytes", "at least 1")
        steps.append((code, first))
    return Filters(tuple(steps))


def _inflated(data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        result = inflater.decompress(data, most + 1)
    except zlib.error as e:
        raise ValueError(f"deflate: {e}") from None
    if len(result) > most:
        raise ValueError(f"more than {most} bytes out of deflate")
    if not inflater.eof:
        raise ValueError("deflate: the data end too early")
    return result


def _unshuffled(data: bytes, width: int) -> bytes:
    """First bytes first, then all second bytes, ...; the bytes of an incomplete last element follow unchanged."""
    count = len(data) // width
    if width == 1 or count < 2:
        return data
    planes = np.frombuffer(data, np.uint8, count * width).reshape(width, count)
    return planes.T.tobytes() + data[count * width :]


def _verified(data: bytes) -> bytes:
    """Fletcher's checksum over big-endian words of 16 bits, modulo 65535, in the last four bytes."""
    if len(data) < 4:
        raise ValueError("a chunk without its checksum")
    body, stored = data[:-4], int.from_bytes(data[-4:], "little")
    words = np.frombuffer(body + b"\0" if len(body) % 2 else body, ">u2")
    low = high = 0
    for start in range(0, words.size, _WORDS):
        part = words[start : start + _WORDS].astype(np.uint64)
        weights = np.arange(part.size, 0, -1, dtype=np.uint64)
        high = (high + low * part.size + int((part * weights).sum())) % 65535
        low = (low + int(part.sum())) % 65535
    found = (stored & 0xFFFF) % 65535, (stored >> 16) % 65535
    # Old writers on little-endian machines stored the two bytes of each half swapped.
    swapped = tuple(((v & 0xFF) << 8 | v >> 8) % 65535 for v in (stored & 0xFFFF, stored >> 16))
    if (low, high) not in (found, swapped):
        raise ValueError("a chunk whose checksum (fletcher32) is another one")
    return body


def _unpacked(data: bytes, most: int) -> bytes:
    """LibLZF: runs of up to 32 bytes, and copies of up to 264 bytes that begin up to 8 KiB before."""
    result = bytearray()
    at, end = 0, len(data)
    while at < end:
        control = data[at]
        at += 1
        if control < 32:
            run = data[at : at + control + 1]
            at += control + 1
            if len(run) != control + 1:
                raise ValueError("lzf: the data end too early")
            result += run
        else:
            length = control >> 5
            if at + (2 if length == 7 else 1) > end:
                raise ValueError("lzf: the data end too early")
            if length == 7:
                length += data[at]
                at += 1
            back = ((control & 31) << 8 | data[at]) + 1
            at += 1
            start = len(result) - back
            if start < 0:
                raise ValueError("lzf: a copy from before the beginning")
            length += 2
            piece = bytes(result[start : start + length])
            if back < length:
                piece = (piece * (length // back + 1))[:length]
            result += piece
        if len(result) > most:
            raise ValueError(f"more than {most} bytes out of lzf")
    return bytes(result)
