"""Checkpoints in the format that TensorFlow wrote by default until 2016: one table with the tensors themselves in it.

Format: tensorflow/core/util/tensor_slice_{writer,reader}.cc. The value of the empty key lists the tensors, every further one
is a part of a tensor. Values stay in the file; a block's checksum is compared when one of its tensors is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from ...formats.crc32c import masked_crc32c
from ...formats.limits import Budget
from ...formats.protobuf.reader import Reader
from ...formats.source import Source
from ...formats.sstable import Block, entry_head
from ...formats.tensor_bundle import SavedPart, SavedParts, SavedTensor, TensorSlice
from ...formats.tensorflow import DTYPES, Dim, TensorShape
from ...formats.tensorproto import literal, shape_dims, value_field
from ..weights import TensorInfo
from .parts import extents, joined

__all__ = ["is_of_slices", "read_slices"]

_TRAILER = 5
_DAMAGED = "The file is truncated or damaged: fetch it again."


def is_of_slices(source: Source, first: Block, budget: Budget) -> bool:
    """Whether the value of the empty key is a list of tensors."""
    head = source.read(first.start, min(32, first.size))
    if head[:2] != b"\0\0":
        return False
    at = entry_head(head, budget)[3]
    return head[at : at + 1] == b"\x0a"


def read_slices(source: Source, blocks: list[Block], budget: Budget) -> dict[str, TensorInfo]:
    """The tensors of the table by name. Raises LoadError."""
    view, fill = source.space()
    reader = Reader(view, budget, "the table", fill)
    listed: dict[str, SavedTensor] = {}
    parts: dict[str, list[tuple[TensorSlice, TensorInfo]]] = {}
    for block in blocks:
        check = _check(source, block, budget)
        for start, stop in _values(source, block, budget):
            record = reader.read(SavedParts, start, stop)
            for tensor in record.meta.tensor if record.meta is not None else ():
                listed[tensor.name] = tensor
            if record.data is not None:
                name = record.data.name
                made = _part(record.data, listed.get(name), reader, source, budget, check)
                parts.setdefault(name, []).append((record.data.slice or TensorSlice(), made))
    found: dict[str, TensorInfo] = {}
    for name, tensor in listed.items():
        place = f"tensor '{name[:200]}'"
        if name not in parts:
            raise budget.error(place, "no values", "its values", _DAMAGED)
        found[name] = joined(parts[name], _shape(tensor, budget, place), budget, place)
    return found


def _values(source: Source, block: Block, budget: Budget) -> Iterator[tuple[int, int]]:
    """Where the values of a block are in the file."""
    kind = source.read(block.start + block.size, 1)
    if kind != b"\0":
        raise budget.error(f"the block at byte {block.start}", f"compression {kind[0]}", "none (0)")
    restarts = int.from_bytes(source.read(block.start + block.size - 4, 4), "little") if block.size >= 4 else 1 << 32
    at, end = block.start, block.start + block.size - 4 - 4 * restarts
    if end < at:
        raise budget.error(f"the block at byte {at}", f"{restarts} restarts in {block.size} bytes", "a block", _DAMAGED)
    while at < end:
        head = source.read(at, min(32, end - at))
        _, own, size, used = entry_head(head, budget)
        start = at + used + own
        if start + size > end:
            raise budget.error(f"byte {at}", f"an entry of {own} and {size} bytes", "one that fits", _DAMAGED)
        budget.item("entries of the table", at)
        yield start, start + size
        at = start + size


def _shape(tensor: SavedTensor, budget: Budget, place: str) -> tuple[int, ...]:
    dims = shape_dims(tensor.shape)
    if dims is None or any(d is None or d < 0 for d in dims):
        raise budget.error(place, f"shape {dims}", "sizes from 0", _DAMAGED)
    return tuple(d for d in dims if d is not None)


def _part(
    part: SavedPart,
    tensor: SavedTensor | None,
    reader: Reader,
    source: Source,
    budget: Budget,
    check: Callable[[], None],
) -> TensorInfo:
    """A part with the type that the table's list has for its tensor, and the shape of its ranges."""
    place = f"tensor '{part.name[:200]}'"
    if tensor is None or part.data is None:
        raise budget.error(place, "values of a tensor that is not listed", "listed tensors", _DAMAGED)
    whole = _shape(tensor, budget, place)
    ranges = extents(part.slice or TensorSlice(), whole)
    dtype = DTYPES.get(tensor.type)
    if ranges is None or dtype is None:
        raise budget.error(place, "a part outside of it, or an unknown type", f"a part of {whole}", _DAMAGED)
    proto = part.data
    proto.dtype, proto.tensor_shape = tensor.type, TensorShape(dim=[Dim(size=n) for _, n in ranges])
    count = prod(n for _, n in ranges)
    value = literal(proto, reader, source, budget, place)
    spans = getattr(proto, value_field(dtype))
    if proto.tensor_content is None and dtype.kind in "fc" and dtype.itemsize > 2:
        if sum(s.size for s in spans) != count * dtype.itemsize:
            raise budget.error(place, f"{sum(s.size for s in spans)} bytes", f"{count * dtype.itemsize}", _DAMAGED)
        spans = []

    def load() -> np.ndarray[Any, Any]:
        check()
        # A constant may leave out values at its end; a checkpoint has them all.
        raw = b"".join(source.read(*span) for span in spans) if dtype.kind != "O" else b""
        if raw and np.count_nonzero(np.frombuffer(raw, np.uint8) < 0x80) != count:
            raise budget.error(place, "another number of values", f"{count}", _DAMAGED)
        return value.array()

    if dtype.kind == "O" and len(spans) != count:
        raise budget.error(place, f"{len(spans)} strings", f"{count}", _DAMAGED)
    return TensorInfo(dtype, value.shape, "string" if dtype.kind == "O" else dtype.name, load, value.key)


def _check(source: Source, block: Block, budget: Budget) -> Callable[[], None]:
    """Compares the checksum of a block, once."""
    done = False

    def check() -> None:
        nonlocal done
        if not done:
            stored = source.read(block.start, block.size + _TRAILER)
            if int.from_bytes(stored[-4:], "little") != masked_crc32c(memoryview(stored)[:-4]):
                raise budget.error(f"the block at byte {block.start}", "another checksum", "the stored one", _DAMAGED)
            done = True

    return check
