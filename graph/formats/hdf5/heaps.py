"""Local heaps, which hold the names of old groups, and global heaps, which hold text of varying length."""

from __future__ import annotations

from .blocks import Block, Blocks

__all__ = ["GlobalHeaps", "LocalHeap"]


class LocalHeap:
    """The names of an old group."""

    def __init__(self, blocks: Blocks, address: int, what: str) -> None:
        head = blocks.signed(address, 8 + 2 * blocks.long + blocks.wide, b"HEAP", what)
        head.version(0)
        head.skip(3)
        size = head.length()
        head.length()
        start = head.pointer()
        if start is None:
            raise head.fail("a heap without data", "its address")
        self._block = blocks.read(start, size, what)

    def name(self, offset: int) -> str:
        block = self._block
        end = block.data.find(b"\0", offset)
        if offset >= len(block.data) or end < 0:
            raise block.fail(f"a name at byte {offset} of the heap", "a name that ends inside of it")
        block.blocks.spend(end - offset, block.what)
        block.at = offset
        return block.text(end - offset)


class GlobalHeaps:
    """Collections of objects by address; each is parsed once."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._collections: dict[int, dict[int, bytes]] = {}

    def object(self, address: int, index: int, what: str) -> bytes:
        """The object ``index`` of the collection at ``address``."""
        objects = self._collections.get(address)
        if objects is None:
            objects = self._collections[address] = self._read(address, what)
        if index not in objects:
            raise self._blocks.fail(what, f"object {index} of the heap at byte {address}", "one that is there")
        return objects[index]

    def _read(self, address: int, what: str) -> dict[int, bytes]:
        blocks = self._blocks
        head = blocks.signed(address, 8 + blocks.long, b"GCOL", what)
        head.version(1)
        head.skip(3)
        size = head.length()
        before = 8 + blocks.long
        if size < before:
            raise head.fail(f"a heap of {size} bytes", f"at least {before}")
        body = blocks.read(address + before, size - before, what)
        return self._objects(body)

    def _objects(self, body: Block) -> dict[int, bytes]:
        objects: dict[int, bytes] = {}
        while body.left >= 8 + self._blocks.long:
            index = body.uint(2)
            body.skip(6)
            size = body.length()
            if index == 0:  # the free space after the last object
                break
            self._blocks.budget.item(body.what, body.address)
            if index in objects:
                raise body.fail(f"object {index} twice", "unique numbers")
            objects[index] = body.take(size)
            body.skip(min(-size % 8, body.left))
        return objects
