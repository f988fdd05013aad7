"""Where the elements of a dataset are: in its header, in one piece, or in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..limits import size_text
from .blocks import SAVE_AGAIN, Block

__all__ = ["Layout", "read_layout"]

COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = 0, 1, 2, 3
#: A whole chunk is held in memory; Keras and h5py make chunks of about a megabyte.
_MAX_CHUNK = 64 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """``data``: the elements of a compact dataset. ``address``: the data, or the index of the chunks; None if nothing
    was ever written. ``chunk``: sizes of a chunk; ``index``: kind of its index, 0 for a tree of version 1.
    """

    kind: int
    address: int | None = None
    size: int = 0
    data: bytes = b""
    chunk: tuple[int, ...] = ()
    index: int = 0
    #: Of an index with one chunk: its stored size and the filters left out. Of a fixed array: not used.
    single: tuple[int, int] | None = None

    @property
    def compact(self) -> bool:
        return self.kind == COMPACT

    @property
    def chunked(self) -> bool:
        return self.kind == CHUNKED


def read_layout(block: Block, rank: int, itemsize: int) -> Layout:
    """A data layout message, for a dataset of that rank and element size."""
    version = block.version(1, 2, 3, 4, 5)
    if version < 3:
        return _old(block, version, rank, itemsize)
    kind = block.uint(1)
    if kind == COMPACT:
        return Layout(kind, data=block.take(block.uint(2)))
    if kind == CONTIGUOUS:
        return Layout(kind, block.pointer(), block.length())
    if kind == VIRTUAL:
        raise block.fail("a virtual dataset", "data inside the file", "Data of other files are never read.")
    if kind != CHUNKED:
        raise block.fail(f"layout {kind}", "compact, contiguous or chunked data", SAVE_AGAIN)
    if version > 3:
        return _indexed(block, rank, itemsize)
    count = block.uint(1)
    address = block.pointer()
    return Layout(kind, address, chunk=_chunk(block, [block.uint(4) for _ in range(count)], rank, itemsize))


def _old(block: Block, version: int, rank: int, itemsize: int) -> Layout:
    count, kind = block.uint(1), block.uint(1)
    block.skip(5)
    address = None if kind == COMPACT else block.pointer()
    sizes = [block.uint(4) for _ in range(count)]
    if kind == COMPACT:
        return Layout(kind, data=block.take(block.uint(4)))
    if kind == CONTIGUOUS:
        return Layout(kind, address, prod(sizes) * itemsize)
    if kind != CHUNKED:
        raise block.fail(f"layout {kind} of version {version}", "compact, contiguous or chunked data")
    return Layout(kind, address, chunk=_chunk(block, sizes, rank, itemsize))


def _chunk(block: Block, sizes: list[int], rank: int, itemsize: int) -> tuple[int, ...]:
    """The last of the sizes is that of an element."""
    if len(sizes) != rank + 1 or sizes[-1] != itemsize or not rank or min(sizes) < 1:
        raise block.fail(f"chunks of {tuple(sizes)}", f"{rank} sizes and an element of {itemsize} bytes")
    if prod(sizes) > _MAX_CHUNK:
        raise block.fail(f"chunks of {size_text(prod(sizes))}", f"at most {size_text(_MAX_CHUNK)}", SAVE_AGAIN)
    return tuple(sizes[:-1])


def _indexed(block: Block, rank: int, itemsize: int) -> Layout:
    flags, count, width = block.uint(1), block.uint(1), block.uint(1)
    if not 1 <= width <= 8:
        raise block.fail(f"sizes of {width} bytes", "1 to 8")
    chunk = _chunk(block, [block.uint(width) for _ in range(count)], rank, itemsize)
    index = block.uint(1)
    if flags & 1:
        raise block.fail("chunks at the edge that are stored in another way", "chunks of one kind", SAVE_AGAIN)
    single = None
    if index == 1 and flags & 2:
        single = (block.length(), block.uint(4))
    elif index == 3:
        block.skip(1)
    elif index not in (1, 2):
        known = {4: "extensible array", 5: "version 2 tree"}
        raise block.fail(
            f"chunks in an index of kind {known.get(index, index)}", "a tree, a fixed array or one chunk", SAVE_AGAIN
        )
    return Layout(CHUNKED, block.pointer(), chunk=chunk, index=index, single=single)
