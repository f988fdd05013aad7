"""The chunks of a dataset: which there are, and how they become an array."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ....kernels.tensor import DType
from .blocks import Block, Blocks
from .filters import Filters
from .layout import Layout
from .trees import first_leaves

__all__ = ["Chunk", "Chunked", "find_chunks"]

_TREE, _SINGLE, _IMPLICIT, _FIXED_ARRAY = 0, 1, 2, 3


class Chunk(NamedTuple):
    """Where the chunk begins in the array, and where its ``size`` bytes are in the source."""

    origin: tuple[int, ...]
    position: int
    size: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Chunked:
    """All that is needed to read the array; nothing is looked up in the file's structure any more."""

    blocks: Blocks
    place: str
    dtype: DType
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    filters: Filters
    chunks: tuple[Chunk, ...]
    fill: bytes

    def read(self) -> np.ndarray[Any, Any]:
        result: np.ndarray[Any, Any] = np.empty(self.shape, self.dtype)
        if len(self.chunks) < prod(_grid(self.shape, self.chunk)):
            result[...] = np.frombuffer(self.fill, self.dtype)[0] if self.fill else 0
        size = prod(self.chunk) * self.dtype.itemsize
        for origin, position, stored, skipped in self.chunks:
            raw = self.blocks.source.read(position, stored)
            try:
                data = self.filters.undo(raw, skipped, size)
            except ValueError as e:
                raise self.blocks.fail(f"{self.place}, chunk at {origin}", str(e), "a chunk that can be read") from None
            part = np.frombuffer(data, self.dtype).reshape(self.chunk)
            inside = tuple(slice(0, n - o) for n, o in zip(self.shape, origin, strict=True))
            where = tuple(slice(o, o + c) for o, c in zip(origin, self.chunk, strict=True))
            result[where] = part[inside]
        return result


def _grid(shape: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))


def find_chunks(
    blocks: Blocks, layout: Layout, filters: Filters, shape: tuple[int, ...], itemsize: int, place: str
) -> tuple[Chunk, ...]:
    """The chunks of the array that are in the file, each once and inside of the array's grid."""
    grid = _grid(shape, layout.chunk)
    size = prod(layout.chunk) * itemsize
    # What chunks hold beyond the edges of the array is decoded too.
    blocks.budget.bytes(prod(grid) * size - prod(shape) * itemsize, place)
    if layout.address is None or not prod(grid):
        return ()
    if layout.index == _TREE:
        return _from_tree(blocks, layout, filters, shape, size, place)
    if layout.index == _SINGLE:
        stored, skipped = layout.single or (size, 0)
        found = [(layout.address, stored, skipped)]
    elif layout.index == _IMPLICIT:
        blocks.budget.item(place, layout.address, prod(grid))
        found = [(layout.address + i * size, size, 0) for i in range(prod(grid))]
    else:
        found = _fixed_array(blocks, layout.address, prod(grid), size, bool(filters.steps), place)
    if len(found) != prod(grid) or (layout.index == _IMPLICIT and filters.steps):
        raise blocks.fail(place, f"an index of {len(found)} chunks", f"{prod(grid)}")
    origins = product(*(range(0, n, c) for n, c in zip(shape, layout.chunk, strict=True)))
    return tuple(
        Chunk(origin, *_stored(blocks, address, stored, skipped, filters, size, place))
        for origin, (address, stored, skipped) in zip(origins, found, strict=True)
        if address is not None
    )


def _stored(
    blocks: Blocks, address: int, stored: int, skipped: int, filters: Filters, size: int, place: str
) -> tuple[int, int, int]:
    if not filters.steps and stored != size:
        raise blocks.fail(place, f"a chunk of {stored} bytes", f"{size}")
    return blocks.position(address, stored, place), stored, skipped


def _from_tree(
    blocks: Blocks, layout: Layout, filters: Filters, shape: tuple[int, ...], size: int, place: str
) -> tuple[Chunk, ...]:
    assert layout.address is not None
    rank = len(shape)
    before: tuple[int, ...] = (-1,)
    chunks: dict[tuple[int, ...], Chunk] = {}
    for key, address in first_leaves(blocks, layout.address, 1, 8 + 8 * (rank + 1), place):
        stored, skipped = key.uint(4), key.uint(4)
        origin = tuple(key.uint(8) for _ in range(rank))
        inside = all(o < n and o % c == 0 for o, n, c in zip(origin, shape, layout.chunk, strict=True))
        if not inside or origin <= before or key.uint(8):
            raise key.fail(f"a chunk at {origin}", f"each chunk of {shape} once, in order")
        before = origin
        chunks[origin] = Chunk(origin, *_stored(blocks, address, stored, skipped, filters, size, place))
    return tuple(chunks.values())


def _fixed_array(
    blocks: Blocks, address: int, count: int, size: int, filtered: bool, place: str
) -> list[tuple[Any, int, int]]:
    """(address, stored size, filters left out) of every chunk; the address is None for one that was never written."""
    head = blocks.signed(address, 12 + blocks.long + blocks.wide, b"FAHD", place)
    head.verify()
    head.version(0)
    client, entry, page_bits = head.uint(1), head.uint(1), head.uint(1)
    entries, at = head.length(), head.pointer()
    width = entry - blocks.wide - 4 if filtered else 0
    if client != int(filtered) or entries != count or page_bits > 32 or not 0 <= width <= 8:
        raise head.fail(f"an index of {entries} chunks, kind {client}", f"{count} chunks")
    blocks.budget.item(place, address, count)
    if at is None:
        return [(None, 0, 0)] * count
    prefix, page = 6 + blocks.wide, 1 << page_bits
    pages = -(-count // page) if count > page else 0
    size_of_body = -(-pages // 8) if pages else count * entry
    body = blocks.signed(at, prefix + size_of_body + 4, b"FADB", place)
    body.verify()
    body.version(0)
    body.skip(1 + blocks.wide)
    parts: list[tuple[Block | None, int]] = [] if pages else [(body, count)]
    first, step = at + len(body.data) + 4, page * entry + 4
    for i in range(pages):
        here = min(page, count - i * page)
        if body.data[prefix + i // 8] >> (7 - i % 8) & 1:
            one = blocks.read(first + i * step, here * entry + 4, place)
            one.verify()
            parts.append((one, here))
        else:
            parts.append((None, here))
    found: list[tuple[Any, int, int]] = []
    for part, here in parts:
        for _ in range(here):
            where = part.pointer() if part else None
            found.append((where, part.uint(width), part.uint(4)) if part and filtered else (where, size, 0))
    return found
