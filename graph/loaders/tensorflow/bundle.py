"""A checkpoint of TensorFlow: an index of tensors, and the files that their bytes are in.

Format: tensorflow/core/util/tensor_bundle. ``prefix.index`` is a sorted table; the bytes are in
``prefix.data-00000-of-00001`` and so on, and stay there until they are used. Each tensor's checksum is compared when it is
read for the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from ....kernels.tensor import STRING, DType
from ...formats.beside import open_beside
from ...formats.crc32c import masked_crc32c
from ...formats.limits import Budget
from ...formats.ordered_code import slice_key
from ...formats.protobuf.reader import Reader
from ...formats.source import Source
from ...formats.sstable import Block, block_entries, read_block, table_blocks
from ...formats.tensor_bundle import BundleEntry, BundleHeader, TensorSlice
from ...formats.tensorflow import DTYPE_NAMES, DTYPES
from ...formats.tensorproto import shape_dims
from ..weights import BFLOAT16, TensorInfo, widen_bfloat16
from .parts import joined
from .slices import is_of_slices, read_slices
from .strings import read_strings

__all__ = ["OBJECT_GRAPH", "Bundle"]

#: The key of the tensor that says which object has which tensor.
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_BFLOAT16 = 14
#: Each stays open as long as the model.
_MOST_SHARDS = 1000
_DAMAGED = "The file is truncated or damaged: fetch it again."


@dataclass(slots=True)
class Bundle:
    """The tensors of a checkpoint by key. Raises LoadError for what does not fit the files."""

    source: Source
    budget: Budget
    entries: dict[str, TensorInfo] = field(default_factory=dict)
    #: Keys of tensors of element types that are not read -> the type's name.
    unread: dict[str, str] = field(default_factory=dict)
    _shards: dict[int, tuple[Source, Budget]] = field(default_factory=dict)
    _count: int = 0

    @property
    def files(self) -> tuple[Source, ...]:
        """The files with the bytes, as far as tensors are in them."""
        return tuple(self._shards[i][0] for i in sorted(self._shards))

    @classmethod
    def read(cls, source: Source, budget: Budget) -> Bundle:
        """``source``: the index. ``budget``: an account under its name."""
        bundle = cls(source, budget)
        blocks = table_blocks(source, budget)
        if blocks and is_of_slices(source, blocks[0], budget):
            bundle.entries = read_slices(source, blocks, budget)
            return bundle
        stored = bundle._stored(blocks)
        header = stored.pop(b"", None)
        if header is None:
            raise budget.error("the table", "no header", "the index of a checkpoint")
        read = Reader(memoryview(header), budget, "the header").read(BundleHeader)
        if read.endianness:
            raise budget.error(
                "the header", "numbers with the high byte first", "the low byte first", "Save it on another machine."
            )
        if not 0 <= read.num_shards <= _MOST_SHARDS:
            raise budget.error("the header", f"{read.num_shards} data files", f"0 to {_MOST_SHARDS}", _DAMAGED)
        bundle._count = read.num_shards
        # Keys of parts begin with a zero byte.
        for key, value in stored.items():
            if key[0]:
                bundle._add(key, value, stored)
        return bundle

    def part(self, key: str, spec: str) -> TensorInfo | None:
        """The part of a tensor that ``spec`` states, as RestoreV2 has it: '' is all, '10 20 0,5:-' rows 0 to 4 of 10 x 20."""
        whole = self.entries.get(key)
        if whole is None or not spec:
            return whole
        shape, extents = _parse_spec(spec, self.budget)
        if shape != whole.shape:
            raise self.budget.error(f"tensor '{key[:200]}'", f"shape {whole.shape}", f"{shape}, as the graph has it")
        index = tuple(slice(start, start + length) for start, length in extents)
        sizes = tuple(length for _, length in extents)
        if sizes == shape:
            return whole
        key_of_part = ("part", whole.key, extents)
        return TensorInfo(
            whole.dtype, sizes, whole.stored, lambda: np.ascontiguousarray(whole.load()[index]), key_of_part
        )

    def _stored(self, blocks: list[Block]) -> dict[bytes, bytes]:
        stored: dict[bytes, bytes] = {}
        last = None
        for block in blocks:
            for key, value in block_entries(read_block(self.source, block, self.budget), self.budget):
                if last is not None and key <= last:
                    raise self.budget.error("the table", f"the key {key[:80]!r}", "ascending keys", _DAMAGED)
                stored[key] = value
                last = key
        return stored

    def _add(self, key: bytes, value: bytes, stored: dict[bytes, bytes]) -> None:
        try:
            name = key.decode()
        except UnicodeDecodeError:
            raise self.budget.error("the table", f"the key {key[:80]!r}", "UTF-8 text") from None
        place = f"tensor '{name[:200]}'"
        entry = self._entry(value, place)
        found = self._sliced(name, entry, stored, place) if entry.slices else self._dense(entry, place)
        if found is None:
            self.unread[name] = DTYPE_NAMES.get(entry.dtype, f"type number {entry.dtype}")
        else:
            self.entries[name] = found

    def _entry(self, value: bytes, place: str) -> BundleEntry:
        return Reader(memoryview(value), self.budget, place).read(BundleEntry)

    def _shape(self, entry: BundleEntry, place: str) -> tuple[int, ...]:
        dims = shape_dims(entry.shape)
        if dims is None or any(d is None or d < 0 for d in dims):
            raise self.budget.error(place, f"shape {dims}", "sizes from 0", _DAMAGED)
        return tuple(d for d in dims if d is not None)

    def _dense(self, entry: BundleEntry, place: str) -> TensorInfo | None:
        budget, shape = self.budget, self._shape(entry, place)
        half = entry.dtype == _BFLOAT16
        dtype: DType | None = np.dtype(np.float32) if half else DTYPES.get(entry.dtype)
        if dtype is None:
            return None
        width = 2 if half else 1 if dtype == STRING else dtype.itemsize
        count = budget.tensor(shape, dtype.itemsize, place)
        if entry.size < count * width or (dtype != STRING and entry.size != count * width):
            raise budget.error(
                place, f"{entry.size} bytes", f"{count * width} bytes for {dtype.name}{list(shape)}", _DAMAGED
            )
        source, account = self._shard(entry.shard_id, place)
        if entry.offset < 0 or entry.offset + entry.size > source.size:
            raise account.error(
                place, f"{entry.size} bytes at {entry.offset}", f"a range of {source.size} bytes", _DAMAGED
            )
        if dtype == STRING:
            account.bytes(entry.size, place)
            read = _checked_strings(source, account, entry, shape, place)
            return TensorInfo(dtype, shape, "string", read, ("file", source, entry.offset, "string", shape))
        stored = BFLOAT16 if half else dtype.name
        load = _loader(source, account, entry, np.dtype(np.uint16) if half else dtype, shape, place)
        key: Hashable = ("file", source, entry.offset, stored if half else dtype.str, shape)
        return TensorInfo(dtype, shape, stored, (lambda: widen_bfloat16(load())) if half else load, key)

    def _shard(self, number: int, place: str) -> tuple[Source, Budget]:
        found = self._shards.get(number)
        if found is None:
            if not 0 <= number < self._count:
                raise self.budget.error(place, f"data file {number}", f"one of {self._count}", _DAMAGED)
            path = self.source.path
            name = f"{path.name.removesuffix('.index')}.data-{number:05d}-of-{self._count:05d}"
            source = open_beside(path, name, self.budget, "the data file")
            found = self._shards[number] = (source, self.budget.of_another(source.name, source.size))
        return found

    def _sliced(self, name: str, entry: BundleEntry, stored: dict[bytes, bytes], place: str) -> TensorInfo | None:
        """A tensor of several parts along one axis, which is how TensorFlow partitions a variable."""
        parts: list[tuple[TensorSlice, TensorInfo]] = []
        for part in entry.slices:
            value = stored.get(slice_key(name, [(e.start, -1 if e.length is None else e.length) for e in part.extent]))
            if value is None:
                raise self.budget.error(place, "no entry for one of its parts", "all parts", _DAMAGED)
            piece = self._entry(value, place)
            found = None if piece.slices or piece.dtype != entry.dtype else self._dense(piece, place)
            if found is None:
                raise self.budget.error(place, "another type of a part", "that of the tensor", _DAMAGED)
            parts.append((part, found))
        return joined(parts, self._shape(entry, place), self.budget, place)


def _parse_spec(spec: str, budget: Budget) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    *sizes, ranges = spec[:2000].split(" ")
    try:
        shape = tuple(int(s) for s in sizes)
        found = tuple(
            (0, size) if r == "-" else (int(r.partition(",")[0]), int(r.partition(",")[2]))
            for r, size in zip(ranges.split(":"), shape, strict=True)
        )
    except ValueError:
        found, shape = ((0, -1),), (0,)
    if any(
        start < 0 or length < 0 or start + length > size for (start, length), size in zip(found, shape, strict=True)
    ):
        raise budget.error("RestoreV2", f"the part {spec[:80]!r}", "sizes, and start,length or - for each")
    return shape, found


def _loader(
    source: Source, budget: Budget, entry: BundleEntry, dtype: DType, shape: tuple[int, ...], place: str
) -> Callable[[], np.ndarray[Any, Any]]:
    """Reads the bytes; the first time their checksum is compared."""
    checked = False

    def load() -> np.ndarray[Any, Any]:
        nonlocal checked
        raw = np.dtype(np.uint8) if dtype.kind == "b" else dtype  # bytes other than 0 and 1 are no booleans
        found = source.array(entry.offset, raw, shape)
        if not checked:
            if found.size and masked_crc32c(found.reshape(-1).view(np.uint8).data) != entry.crc32c:
                raise budget.error(place, "another checksum", "the one that the index has", _DAMAGED)
            checked = True
        return found != 0 if dtype.kind == "b" else found

    return load


def _checked_strings(
    source: Source, budget: Budget, entry: BundleEntry, shape: tuple[int, ...], place: str
) -> Callable[[], np.ndarray[Any, Any]]:
    def load() -> np.ndarray[Any, Any]:
        data = source.read(entry.offset, entry.size)
        return read_strings(data, prod(shape), entry.crc32c, budget, place).reshape(shape)

    return load
