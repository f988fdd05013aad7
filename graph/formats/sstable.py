"""Sorted tables as LevelDB and TensorFlow write them: keys and values in blocks, with an index and checksums.

Format: https://github.com/google/leveldb/blob/main/doc/table_format.md. Keys must ascend and blocks may not overlap, so
that reading a table takes time and memory in proportion to its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .crc32c import masked_crc32c
from .limits import Budget
from .snappy import unsnappy
from .source import Source

__all__ = ["FOOTER_MAGIC", "Block", "block_entries", "entry_head", "looks_like_table", "read_block", "table_blocks"]

FOOTER_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
#: Two handles of at most 20 bytes each, padded, and the magic number.
_FOOTER = 48
#: After each block: its compression and its checksum.
_TRAILER = 5
_PLAIN, _SNAPPY = 0, 1
_DAMAGED = "The file is truncated or damaged: fetch it again."


class Block(NamedTuple):
    """Where the entries of a block are, without the trailer. ``last``: no key in it is greater."""

    start: int
    size: int
    last: bytes = b""


def looks_like_table(source: Source) -> bool:
    """Whether the file ends as a table does."""
    return source.size >= _FOOTER and source.read(source.size - 8, 8) == FOOTER_MAGIC


def table_blocks(source: Source, budget: Budget) -> list[Block]:
    """The blocks with entries, in order, as the index has them."""
    footer = source.read(source.size - _FOOTER, _FOOTER) if source.size >= _FOOTER else b""
    if not footer.endswith(FOOTER_MAGIC):
        raise budget.error("the end of the table", "another mark", "the mark of a table", _DAMAGED)
    at = _handle(footer, 0, source, budget)[1]  # of filters and the like
    index = _handle(footer, at, source, budget)[0]
    blocks: list[Block] = []
    end = 0
    for key, value in block_entries(read_block(source, index, budget), budget):
        block, stop = _handle(value, 0, source, budget)
        if stop != len(value) or block.start < end:
            raise budget.error(
                "the index of the table", f"a block at byte {block.start}", f"one from byte {end}", _DAMAGED
            )
        end = block.start + block.size + _TRAILER
        blocks.append(block._replace(last=key))
    return blocks


def read_block(source: Source, block: Block, budget: Budget) -> bytes:
    """The bytes of a block, decompressed and checked."""
    place = f"the block at byte {block.start}"
    if block.size + _TRAILER > source.size:
        raise budget.error(place, f"{block.size} bytes", f"a block in a file of {source.size} bytes", _DAMAGED)
    stored = source.read(block.start, block.size + _TRAILER)
    data, kind = stored[: block.size], stored[block.size]
    if int.from_bytes(stored[-4:], "little") != masked_crc32c(stored[:-4]):
        raise budget.error(place, "another checksum", "the one that is stored with it", _DAMAGED)
    if kind == _PLAIN:
        budget.bytes(len(data), place)
        return data
    if kind != _SNAPPY:
        raise budget.error(place, f"compression {kind}", "none (0) or snappy (1)")
    try:
        # Nothing can be copied 64 bytes at a time from fewer than 3 bytes.
        found = unsnappy(data, min(budget.limits.max_bytes, 22 * len(data) + 64))
    except ValueError as e:
        raise budget.error(place, str(e), "data in snappy's format", _DAMAGED) from None
    budget.bytes(len(found), place)
    return found


def block_entries(data: bytes, budget: Budget) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block. A key shares its beginning with the one before."""
    restarts = int.from_bytes(data[-4:], "little") if len(data) >= 4 else 1 << 32
    end = len(data) - 4 - 4 * restarts
    if end < 0:
        raise budget.error("a block", f"{restarts} restarts in {len(data)} bytes", "a block", _DAMAGED)
    at, key, first = 0, b"", True
    while at < end:
        shared, own, size, at = entry_head(data, budget, at, end)
        if shared > len(key) or at + own + size > end:
            raise budget.error("a block", f"an entry of {shared}, {own} and {size} bytes", "one that fits", _DAMAGED)
        budget.item("entries of the table", at)
        budget.bytes(shared, "the keys of the table")
        before, key = key, key[:shared] + data[at : at + own]
        if key <= before and not first:
            raise budget.error("a block", f"the key {key[:80]!r} after {before[:80]!r}", "ascending keys", _DAMAGED)
        at += own
        yield key, data[at : at + size]
        at, first = at + size, False


def entry_head(data: bytes, budget: Budget, at: int = 0, end: int | None = None) -> tuple[int, int, int, int]:
    """Bytes that the key shares with the one before, its own, those of the value, and where the key's own begin."""
    end = len(data) if end is None else end
    shared, at = _varint(data, at, end, budget)
    own, at = _varint(data, at, end, budget)
    size, at = _varint(data, at, end, budget)
    return shared, own, size, at


def _handle(data: bytes, at: int, source: Source, budget: Budget) -> tuple[Block, int]:
    start, at = _varint(data, at, len(data), budget)
    size, at = _varint(data, at, len(data), budget)
    if start + size + _TRAILER > source.size:
        raise budget.error(
            "the index of the table", f"{size} bytes at {start}", f"a range of {source.size} bytes", _DAMAGED
        )
    return Block(start, size), at


def _varint(data: bytes, at: int, end: int, budget: Budget) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise budget.error("a block", "a number that does not end", "a number of at most 10 bytes", _DAMAGED)
