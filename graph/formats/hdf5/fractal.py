"""Fractal heaps: where new groups and objects keep many links or attributes."""

from __future__ import annotations

from .blocks import SAVE_AGAIN, Block, Blocks, checksum

__all__ = ["FractalHeap"]

_MAX_DEPTH = 16


class FractalHeap:
    """Objects by their id. Blocks of growing sizes follow one another in one space of addresses."""

    def __init__(self, blocks: Blocks, address: int, what: str) -> None:
        self._blocks, self._what = blocks, what
        wide, long = blocks.wide, blocks.long
        head = blocks.signed(address, 26 + 3 * wide + 12 * long, b"FRHP", what)
        head.verify()
        head.version(0)
        self.id_size, filters = head.uint(2), head.uint(2)
        flags, largest = head.uint(1), head.uint(4)
        if filters:
            raise head.fail("a compressed heap of names", "a plain one", SAVE_AGAIN)
        head.skip(2 * wide + 10 * long)  # huge objects, free space, counts
        self._width, self._first, self._largest = head.uint(2), head.length(), head.length()
        bits = head.uint(2)
        head.skip(2)
        self._root, self._rows = head.pointer(), head.uint(2)
        if (
            not (0 < self._width <= 1024 and 0 < self._first <= self._largest and 0 < bits <= 64)
            or self._first & self._first - 1
            or self._largest & self._largest - 1
            or self._rows > 64
        ):
            raise head.fail("a table of odd sizes", "powers of two")
        self._checked = bool(flags & 2)
        self._offset_bytes = (bits + 7) // 8
        direct_bytes = (self._largest.bit_length() - 1 + 7) // 8
        self._length_bytes = min(direct_bytes, max(largest.bit_length() - 1, 0) // 8 + 1)
        self._direct_rows = self._largest.bit_length() - self._first.bit_length() + 2
        self._tables: dict[int, Block] = {}
        self._direct: dict[int, Block] = {}

    def object(self, key: Block) -> Block:
        """The object with the id that ``key`` holds."""
        kind = key.uint(1)
        if kind & 0xC0 or kind >> 4:
            raise key.fail("an object that is kept elsewhere (huge or tiny)", "one inside of the heap", SAVE_AGAIN)
        offset, length = key.uint(self._offset_bytes), key.uint(self._length_bytes)
        if self._root is None:
            raise key.fail("an object of an empty heap", "an object that is there")
        if not self._rows:
            return self._from(self._root, self._first, offset, length)
        return self._find(self._root, self._rows, offset, length, 0)

    def _row_size(self, row: int) -> int:
        return self._first << max(row - 1, 0)

    def _find(self, address: int, rows: int, offset: int, length: int, depth: int) -> Block:
        """``offset`` counts from the first block of the table at ``address``."""
        blocks, at = self._blocks, offset
        for row in range(rows):
            size = self._row_size(row)
            if at >= size * self._width:
                at -= size * self._width
                continue
            table = self._table(address, rows)
            column, inside = divmod(at, size)
            table.at = 5 + blocks.wide + self._offset_bytes + (row * self._width + column) * blocks.wide
            child = table.pointer()
            if child is None or depth > _MAX_DEPTH:
                raise table.fail(f"no block for byte {offset} of the heap", "a block")
            if row < self._direct_rows:
                return self._from(child, size, inside, length)
            below = size.bit_length() - (self._first * self._width).bit_length() + 1
            return self._find(child, below, inside, length, depth + 1)
        raise blocks.fail(self._what, f"byte {offset} of a heap", "a byte inside of it")

    def _table(self, address: int, rows: int) -> Block:
        table = self._tables.get(address)
        if table is None:
            size = 9 + self._blocks.wide + self._offset_bytes + rows * self._width * self._blocks.wide
            table = self._blocks.signed(address, size, b"FHIB", self._what)
            table.verify()
            table.version(0)
            self._tables[address] = table
        return table

    def _from(self, address: int, size: int, inside: int, length: int) -> Block:
        """Offsets count the block's own head too."""
        block = self._direct.get(address)
        if block is None:
            block = self._direct[address] = self._blocks.signed(address, size, b"FHDB", self._what)
            block.version(0)
            if self._checked:
                at = 5 + self._blocks.wide + self._offset_bytes
                stored = int.from_bytes(block.data[at : at + 4], "little")
                if checksum(block.data[:at] + bytes(4) + block.data[at + 4 :]) != stored:
                    raise block.fail("another checksum", f"{stored:08x}")
        head = 5 + self._blocks.wide + self._offset_bytes + (4 if self._checked else 0)
        if inside < head or inside + length > len(block.data):
            raise block.fail(f"{length} bytes at byte {inside} of a block", "an object inside of it")
        self._blocks.spend(length, self._what)
        block.at = inside
        return block.sub(length)
