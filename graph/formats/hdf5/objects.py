"""Hdf5File, Group and Dataset: what the loaders see of a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ....kernels.tensor import DType
from ..limits import Budget
from ..source import Source
from .attributes import Attribute, read_attributes, texts
from .blocks import SAVE_AGAIN, Block, Blocks
from .chunks import Chunked, find_chunks
from .filters import Filters, read_filters
from .headers import Message, read_messages
from .heaps import GlobalHeaps
from .layout import Layout, read_layout
from .links import read_links
from .types import Datatype, read_datatype, read_shape

__all__ = ["SIGNATURE", "Dataset", "Group", "Hdf5File"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: A file may begin after a user block: at byte 512, 1024, 2048, ...
_MAX_USER_BLOCK = 1 << 20
_SPACE, _TYPE, _OLD_FILL, _FILL, _EXTERNAL, _LAYOUT, _FILTERS = 0x01, 0x03, 0x04, 0x05, 0x07, 0x08, 0x0B
_LINKS = (0x02, 0x06, 0x11)


class Hdf5File:
    """A file of ``size`` bytes that begins at byte ``start`` of ``source`` (in an archive, say); the whole by default.

    ``root`` is its first group. Only structure is read here, arrays later. Raises LoadError for everything that is
    damaged, hostile, over the budget, or of a part of HDF5 that is not read.
    """

    def __init__(self, source: Source, budget: Budget, start: int = 0, size: int | None = None) -> None:
        whole = source.size - start if size is None else size
        before = _user_block(source, start, whole, budget)
        self.blocks = Blocks(source, budget, start + before, whole - before)
        self.heaps = GlobalHeaps(self.blocks)
        self._objects: dict[int, Group | Dataset] = {}
        root = self.object(self._superblock(before), "/")
        if not isinstance(root, Group):
            raise self.blocks.fail("the root of the file", "a dataset", "a group")
        self.root: Group = root

    def _superblock(self, before: int) -> int:
        """The address of the root group."""
        what = "the superblock"
        blocks = self.blocks
        head = blocks.read(8, 1, what)
        version = head.version(0, 1, 2, 3)
        if version < 2:
            sizes = blocks.read(13, 2, what)
            self._sizes(sizes)
            block = blocks.read(24 + (4 if version else 0), 4 * blocks.wide + 2 * blocks.wide, what)
            _, _, end, _, _, root = (block.pointer() for _ in range(6))
        else:
            sizes = blocks.read(9, 2, what)
            self._sizes(sizes)
            block = blocks.read(0, 12 + 4 * blocks.wide + 4, what)
            block.verify()
            block.skip(12)
            _, _, end, root = (block.pointer() for _ in range(4))
        if root is None or end is None or end > before + blocks.size:
            raise block.fail(f"a file of {before + blocks.size} bytes", f"{end} bytes")
        return root

    def _sizes(self, block: Block) -> None:
        self.blocks.wide, self.blocks.long = block.uint(1), block.uint(1)
        if self.blocks.wide not in (4, 8) or self.blocks.long not in (4, 8):
            raise block.fail(f"addresses of {self.blocks.wide} bytes", "4 or 8 bytes")

    def object(self, address: int, path: str) -> Group | Dataset:
        """The object at an address; the same one for the same address."""
        found = self._objects.get(address)
        if found is None:
            what = f"'{path[:200]}'"
            messages = read_messages(self.blocks, address, what)
            kinds = {m.kind for m in messages}
            if _LAYOUT in kinds:
                found = Dataset(self, path, messages)
            elif kinds & set(_LINKS):
                found = Group(self, path, messages)
            else:
                raise self.blocks.fail(what, "an object that is neither", "a group or a dataset")
            self._objects[address] = found
        return found


class _Object:
    """What groups and datasets share: attributes."""

    def __init__(self, file: Hdf5File, path: str, messages: list[Message]) -> None:
        self.file, self.path, self._messages = file, path, messages

    @cached_property
    def attributes(self) -> dict[str, Attribute | None]:
        return read_attributes(self.file.blocks, self._messages, f"'{self.path[:200]}'")

    def texts(self, name: str) -> list[str]:
        """The elements of an attribute that is text, or a list of texts."""
        place = f"attribute '{name}' of '{self.path[:200]}'"
        if name not in self.attributes:
            raise self.file.blocks.fail(place, "nothing of that name", "an attribute")
        return texts(self.attributes[name], self.file.heaps, place, self.file.blocks)

    def text(self, name: str) -> str | None:
        """An attribute that is one text; None if there is none of that name."""
        if name not in self.attributes:
            return None
        found = self.texts(name)
        if len(found) != 1:
            raise self.file.blocks.fail(f"attribute '{name}' of '{self.path[:200]}'", f"{len(found)} texts", "one text")
        return found[0]

    def _one(self, kind: int, what: str) -> Block:
        found = [m for m in self._messages if m.kind == kind]
        place = f"'{self.path[:200]}'"
        if len(found) != 1:
            raise self.file.blocks.fail(place, f"{len(found)} messages with its {what}", "one")
        if found[0].shared:
            raise self.file.blocks.fail(place, f"a {what} that is shared between objects", "its own", SAVE_AGAIN)
        found[0].body.at = 0
        return found[0].body


class Group(_Object):
    """A group: ``links`` are name -> address, or what kind of link it is that is not followed."""

    @cached_property
    def links(self) -> dict[str, int | str]:
        return read_links(self.file.blocks, self._messages, f"'{self.path[:200]}'")

    def child(self, name: str) -> Group | Dataset:
        """The group or dataset of that name; only hard links are followed."""
        blocks = self.file.blocks
        path = f"{self.path.rstrip('/')}/{name}"
        target = self.links.get(name)
        if target is None:
            raise blocks.fail(f"'{path[:200]}'", "nothing of that name", "a group or dataset")
        if isinstance(target, str):
            raise blocks.fail(
                f"'{path[:200]}'", target, "data inside the file", "Links to elsewhere are never followed."
            )
        return self.file.object(target, path)


class Dataset(_Object):
    """An array of numbers. ``stored``: its element type in the file; ``dtype``: the same in the machine's order."""

    def __init__(self, file: Hdf5File, path: str, messages: list[Message]) -> None:
        super().__init__(file, path, messages)
        self._place = f"dataset '{path[:200]}'"

    @cached_property
    def datatype(self) -> Datatype:
        return read_datatype(self._one(_TYPE, "type"))

    @cached_property
    def stored(self) -> DType:
        if self.datatype.dtype is None:
            raise self.file.blocks.fail(
                self._place, f"element type {self.datatype.name}", "numbers of 8 to 64 bits", "Save it as float32."
            )
        return self.datatype.dtype

    @property
    def dtype(self) -> DType:
        return self.stored.newbyteorder("=")

    @cached_property
    def shape(self) -> tuple[int, ...]:
        shape = read_shape(self._one(_SPACE, "shape"))
        if shape is None:
            raise self.file.blocks.fail(self._place, "a dataset without a shape", "an array")
        return shape

    def open(self) -> Callable[[], np.ndarray[Any, Any]]:
        """Counts the array against the budget, finds its data, and returns what reads them: a new array each time."""
        blocks, place = self.file.blocks, self._place
        stored, shape = self.stored, self.shape
        count = blocks.budget.tensor(shape, stored.itemsize, place)
        if any(m.kind == _EXTERNAL for m in self._messages):
            raise blocks.fail(place, "data in another file (external storage)", "data inside the file")
        layout = read_layout(self._one(_LAYOUT, "layout"), len(shape), stored.itemsize)
        filters = self._filters(layout)
        if layout.chunked:
            chunks = find_chunks(blocks, layout, filters, shape, stored.itemsize, place)
            chunked = Chunked(blocks, place, stored, shape, layout.chunk, filters, chunks, self._fill())
            return lambda: chunked.read().astype(stored.newbyteorder("="), copy=False)
        size = count * stored.itemsize
        if layout.compact:
            if len(layout.data) != size:
                raise blocks.fail(place, f"{len(layout.data)} bytes", f"{size} bytes for {stored.name} {shape}")
            return lambda: np.frombuffer(layout.data, stored).reshape(shape).astype(stored.newbyteorder("="))
        if layout.address is None or not size:
            fill = self._fill() or bytes(stored.itemsize)
            return lambda: np.full(shape, np.frombuffer(fill, stored)[0], stored.newbyteorder("="))
        if layout.size < size:
            raise blocks.fail(place, f"{layout.size} bytes", f"{size} bytes for {stored.name} {shape}")
        return _contiguous(blocks.source, blocks.position(layout.address, size, place), stored, shape)

    def _filters(self, layout: Layout) -> Filters:
        if not any(m.kind == _FILTERS for m in self._messages):
            return Filters()
        filters = read_filters(self._one(_FILTERS, "filters"))
        if filters.steps and not layout.chunked:
            raise self.file.blocks.fail(self._place, "filters without chunks", "chunked data")
        return filters

    def _fill(self) -> bytes:
        """The element that stands for data that were never written; b'' for zero."""
        kinds = [m.kind for m in self._messages if m.kind in (_FILL, _OLD_FILL)]
        if not kinds:
            return b""
        block = self._one(max(kinds), "fill value")
        if max(kinds) == _FILL:
            version = block.version(1, 2, 3)
            if version == 3:
                defined = block.uint(1) & 0x20
            else:
                block.skip(2)
                defined = block.uint(1) | (version == 1)
            if not defined:
                return b""
        size = block.uint(4)
        if size not in (0, 0xFFFFFFFF, self.stored.itemsize):
            raise block.fail(f"a fill value of {size} bytes", f"{self.stored.itemsize}")
        return block.take(size) if size == self.stored.itemsize else b""


def _contiguous(
    source: Source, position: int, stored: DType, shape: tuple[int, ...]
) -> Callable[[], np.ndarray[Any, Any]]:
    if stored.byteorder != ">":
        return lambda: source.array(position, stored, shape)
    same = np.dtype(f"u{stored.itemsize}")
    return lambda: source.array(position, same, shape).view(stored).astype(stored.newbyteorder("="))


def _user_block(source: Source, start: int, size: int, budget: Budget) -> int:
    at = 0
    while at <= min(size - len(SIGNATURE), _MAX_USER_BLOCK):
        if source.read(start + at, len(SIGNATURE)) == SIGNATURE:
            return at
        at = at * 2 or 512
    raise budget.error("the file", "no signature of HDF5", "an HDF5 file")
