"""A truncated JPEG as TensorFlow recovers it, for a decoder that fills what is missing with grey.

TensorFlow's source of bytes, when it runs out in the middle of a minimum coded unit (MCU), repeats the bytes
since that unit began (core/lib/jpeg/jpeg_handle.cc, MemFillInputBuffer), and so on until all units are there. Which
bytes those are depends on how far libjpeg-turbo reads ahead (jdhuff.c, on 64 bits), so its reading is simulated here, bit for
bit; the repeated bytes are then appended to the file. Sequential files with one scan and Huffman codes only.
"""

from __future__ import annotations

import re

from ..records import dataclass
from .image_files import refused

__all__ = ["recovered"]

_EOI = b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
#: libjpeg-turbo reads without checking for the end while as many bytes a block are left.
_FAST_BYTES = 512
#: Bytes of a scan that are simulated: about 2 s. Bytes that are appended: far more than any real file needs.
_MAX_SCAN, _MAX_GROWTH = 1 << 20, 1 << 22


@dataclass(frozen=True, slots=True)
class _Table:
    """Of a Huffman code: (length, symbol) by the next 8 bits, or None for a longer code; symbols by (length, code)."""

    short: list[tuple[int, int] | None]
    long: dict[tuple[int, int], int]


def _tables(content: bytes) -> dict[int, _Table]:
    found, at = {}, 0
    while at + 17 <= len(content):
        counts, code, values = content[at + 1 : at + 17], 0, at + 17
        short: list[tuple[int, int] | None] = [None] * 256
        long = {}
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                if values >= len(content) or code >> length:
                    raise refused("the JPEG has a damaged Huffman table")
                if length <= 8:
                    first = code << (8 - length)
                    for i in range(first, first + (1 << (8 - length))):
                        short[i] = (length, content[values])
                else:
                    long[length, code] = content[values]
                code, values = code + 1, values + 1
            code <<= 1
        found[content[at]] = _Table(short, long)
        at = values
    return found


class _Bits:
    """The bits of a scan, read ahead as libjpeg-turbo does."""

    def __init__(self, stream: bytes) -> None:
        self.stream, self.end = bytearray(stream), len(stream)
        self.at = self.buffer = self.left = self.marker = 0
        self.sync, self.known = 0, self.end
        self.fast = self.ended = False

    def synchronise(self) -> None:
        """Between two units the source is told how far the reading has come."""
        self.sync, self.known = self.at, len(self.stream)

    def restart(self) -> bool:
        """Goes to the marker that comes next; False at the end of the file."""
        found = _MARKER.search(self.stream, self.at)
        if found is None:
            if self.stream[-1] == 0xFF:
                raise refused("the JPEG is truncated where TensorFlow does not come to an end")
            return False
        self.marker, self.at = found[1][0], found.end()
        return True

    def _more(self) -> None:
        """What TensorFlow's source does when bytes after the end are requested."""
        again = self.stream[self.sync : self.known]
        self.stream += again or _EOI
        if len(self.stream) > self.end + _MAX_GROWTH:
            raise refused("the JPEG is truncated where TensorFlow does not come to an end")

    def _byte(self) -> int:
        if self.at == len(self.stream):
            self._more()
        self.at += 1
        return self.stream[self.at - 1]

    def need(self, count: int) -> None:
        """Reads ahead if there are fewer than ``count`` bits; zeros once a marker is found."""
        while self.left < 57 and not self.marker:
            byte = self._byte()
            if byte == 0xFF:
                while byte == 0xFF:
                    byte = self._byte()
                if byte:
                    self.marker = byte
                    break
                byte = 0xFF
            self.buffer = self.buffer << 8 | byte
            self.left += 8
        if count > self.left:
            self.buffer, self.left, self.ended = self.buffer << (57 - self.left), 57, True

    def need_fast(self) -> None:
        if self.left <= 16:
            for _ in range(6):
                byte = self.stream[self.at]
                self.at += 1
                if byte == 0xFF:
                    if self.stream[self.at]:
                        self.marker = self.stream[self.at]
                        self.at -= 1
                        byte = 0
                    else:
                        self.at += 1
                self.buffer = (self.buffer & 0xFFFFFF) << 8 | byte if self.left <= 24 else self.buffer << 8 | byte
                self.left += 8

    def take(self, count: int) -> int:
        if self.fast:
            self.need_fast()
        elif self.left < count:
            self.need(count)
        self.left -= count
        value = self.buffer >> self.left
        self.buffer &= (1 << self.left) - 1
        return value

    def symbol(self, table: _Table) -> int:
        length = 9
        if self.fast:
            self.need_fast()
        elif self.left < 8:
            self.need(0)
        if self.left >= 8:
            found = table.short[self.buffer >> (self.left - 8)]
            if found is not None:
                self.left -= found[0]
                self.buffer &= (1 << self.left) - 1
                return found[1]
        else:
            length = 1
        code = self._plain(length)
        while length <= 16:
            if length <= 8:
                short = table.short[code << (8 - length)]
                if short is not None and short[0] == length:
                    return short[1]
            elif (length, code) in table.long:
                return table.long[length, code]
            code, length = code << 1 | self._plain(1), length + 1
        return 0

    def _plain(self, count: int) -> int:
        """Bits of a code; in the fast path they have been read already."""
        if not self.fast and self.left < count:
            self.need(count)
        self.left -= count
        value = self.buffer >> self.left
        self.buffer &= (1 << self.left) - 1
        return value


def _unit(bits: _Bits, blocks: list[tuple[_Table, _Table]]) -> None:
    for first, rest in blocks:
        if size := bits.symbol(first) & 31:
            bits.take(min(size, 16))
        k = 1
        while k < 64:
            pair = bits.symbol(rest)
            run, size = pair >> 4, pair & 15
            if size:
                bits.take(size)
            elif run != 15:
                break
            k += run + 1


def _follow(bits: _Bits, blocks: list[tuple[_Table, _Table]], units: int, interval: int) -> None:
    to_go = interval
    for number in range(units):
        if interval and to_go == 0:
            bits.buffer = bits.left = 0
            if bits.marker == _EOI[1] or (not bits.marker and not bits.restart()):
                return  # the file ends here
            if bits.marker != 0xD0 + (number // interval - 1) % 8:
                raise refused("the JPEG is truncated, and its restart markers are not in order")
            bits.marker, bits.ended, to_go = 0, False, interval
            bits.synchronise()
        to_go -= 1
        if bits.ended:
            if not interval:
                return
            continue
        bits.fast = not interval and not bits.marker and len(bits.stream) - bits.sync >= _FAST_BYTES * len(blocks)
        before = bits.at, bits.buffer, bits.left
        fast = bits.fast
        _unit(bits, blocks)
        if fast and bits.marker:
            bits.at, bits.buffer, bits.left = before
            bits.marker, bits.fast = 0, False
            _unit(bits, blocks)
        bits.synchronise()


def _headers(data: bytes) -> tuple[dict[int, _Table], bytes, int, int]:
    """Huffman tables, the frame's header, the restart interval, and where the scan's header begins."""
    tables: dict[int, _Table] = {}
    frame, interval, at = b"", 0, 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        content = data[at + 4 : at + 2 + length]
        if marker == 0xC4:
            tables |= _tables(content)
        elif marker == 0xDD:
            interval = int.from_bytes(content[:2], "big")
        elif marker in (0xC0, 0xC1):
            frame = content
        at += 2 + length
    return tables, frame, interval, at


def recovered(data: bytes) -> bytes:
    """The file with what TensorFlow reads after its end, and an end marker. Raises ImageError for what it cannot simulate."""
    tables, frame, interval, at = _headers(data)
    scan = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    start = at + 4 + len(scan)
    if not frame or not scan or scan[0] != frame[5] or start >= len(data):
        raise refused("only a truncated JPEG that is sequential and has one scan is recovered as TensorFlow does it")
    if len(data) - start > _MAX_SCAN:
        raise refused(f"a truncated JPEG of {len(data):,} bytes is not recovered; at most {_MAX_SCAN:,} are")
    factors = {frame[6 + 3 * i]: (frame[7 + 3 * i] >> 4, frame[7 + 3 * i] & 15) for i in range(frame[5])}
    try:
        chosen = [(factors[scan[1 + 2 * i]], scan[2 + 2 * i]) for i in range(scan[0])]
        blocks = [
            (tables[use >> 4], tables[0x10 | use & 15])
            for (across, down), use in chosen
            for _ in range(across * down if len(chosen) > 1 else 1)
        ]
    except (KeyError, IndexError):
        raise refused("the JPEG is damaged: its scan names what is not there") from None
    across = 8 * max(a for a, _ in factors.values()) if len(chosen) > 1 else 8
    down = 8 * max(d for _, d in factors.values()) if len(chosen) > 1 else 8
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    bits = _Bits(data[start:])
    _follow(bits, blocks, -(-height // down) * -(-width // across), interval)
    if bits.marker not in (0, 0xD9):
        raise refused(f"the JPEG is truncated and damaged: marker {bits.marker:#x} is inside its scan")
    return data[:start] + bytes(bits.stream) + _EOI
