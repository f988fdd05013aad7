"""Reads FlatBuffers without trusting them: every offset is checked against the buffer, everything is counted.

The format (flatbuffers.dev, "Internals"): a table begins with the distance back to its vtable, which has its own size, the
table's size, and the place of every field in the table, 0 for one that is missing. Vectors and strings begin with
their count. References point forward, so tables cannot form a cycle, but many may share one. Alignment is not
required: nothing here reads through pointers.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from ...errors import LoadError
from ..limits import Budget, size_text
from ..source import Source

__all__ = ["Reader", "Span", "Table"]

_REMEDY = "The file is truncated or damaged: fetch it again."
#: Structure is read in blocks of this size, so that weights between it stay in the file.
_BLOCK = 1 << 12
_LONGEST_TEXT = 1 << 16
_FORMATS = {
    "int8": struct.Struct("<b"), "uint8": struct.Struct("<B"), "bool": struct.Struct("<?"), "int32": struct.Struct("<i"),
    "uint32": struct.Struct("<I"), "float": struct.Struct("<f"), "int64": struct.Struct("<q"), "uint64": struct.Struct("<Q"),
}  # fmt: skip
_U16, _U32, _I32 = struct.Struct("<H"), _FORMATS["uint32"], _FORMATS["int32"]


class Span(NamedTuple):
    """A vector that was not read: where its elements begin in the file, and their number."""

    start: int
    length: int


class Reader:
    """A buffer of ``size`` bytes from byte ``start`` of ``source``. ``what``: the name of the buffer in messages."""

    def __init__(self, source: Source, budget: Budget, what: str, start: int = 0, size: int | None = None) -> None:
        self.budget, self.what, self.start = budget, what, start
        self.size = source.size - start if size is None else size
        self._view, self._fill = source.space()
        self._blocks = bytearray(source.size // _BLOCK + 1)

    def fail(self, at: int, found: str, expected: str) -> LoadError:
        return self.budget.error(f"{self.what}, byte {at}", found, expected, _REMEDY)

    def at(self, at: int, count: int, what: str) -> int:
        """Where the ``count`` bytes at ``at`` are in ``_view``, which has them then."""
        if at < 0 or at + count > self.size:
            raise self.fail(
                at, f"{what} of {size_text(count)} that ends beyond byte {self.size}", "a place in the buffer"
            )
        first, last = (self.start + at) // _BLOCK, (self.start + at + max(count, 1) - 1) // _BLOCK
        if last - first < 2:
            if not (self._blocks[first] and self._blocks[last]):
                self._read(first, last)
        elif self._blocks.find(0, first, last + 1) >= 0:
            self._read(first, last)
        return self.start + at

    def _read(self, first: int, last: int) -> None:
        self._fill(first * _BLOCK, min((last + 1) * _BLOCK, len(self._view)))
        self._blocks[first : last + 1] = b"\1" * (last + 1 - first)

    def number(self, at: int, format: struct.Struct, what: str) -> Any:
        return format.unpack_from(self._view, self.at(at, format.size, what))[0]

    def bytes(self, at: int, count: int, what: str) -> memoryview:
        start = self.at(at, count, what)
        return self._view[start : start + count]

    def reference(self, at: int, what: str) -> int:
        """What the reference at ``at`` points to."""
        target: int = at + self.number(at, _U32, what)
        if target == at:
            raise self.fail(at, f"{what} that refers to itself", "a later place")
        return target

    def root(self) -> Table:
        return self.table(self.reference(0, "the root"), "the root table")

    def table(self, at: int, what: str) -> Table:
        self.budget.item(what, at)
        vtable = at - self.number(at, _I32, what)
        size, inline = self.number(vtable, _U16, "a vtable"), self.number(vtable + 2, _U16, "a vtable")
        if size < 4 or size % 2 or inline < 4:
            raise self.fail(
                vtable, f"a vtable of {size} bytes for a table of {inline}", "at least 4 of each, an even size"
            )
        self.at(vtable, size, "a vtable")
        self.at(at, inline, what)
        return Table(self, at, vtable, size, inline)

    def vector(self, at: int, width: int, what: str) -> Span:
        """Place and number of the elements of the vector that a reference at ``at`` points to."""
        target = self.reference(at, what)
        count = self.number(target, _U32, what)
        if target + 4 + count * width > self.size:
            raise self.fail(target, f"{what} with {count:,} elements", f"an end before byte {self.size}")
        return Span(target + 4, count)


class Table:
    """A table. ``slot``: the number of a field in the schema, counted from 0; a union takes two."""

    __slots__ = ("_inline", "_size", "_vtable", "at", "reader")

    def __init__(self, reader: Reader, at: int, vtable: int, size: int, inline: int) -> None:
        self.reader, self.at = reader, at
        self._vtable, self._size, self._inline = vtable, size, inline

    def _field(self, slot: int, width: int) -> int:
        """Where a field is, 0 if it is missing."""
        entry = 4 + 2 * slot
        if entry + 2 > self._size:
            return 0
        offset: int = self.reader.number(self._vtable + entry, _U16, "a vtable")
        if offset and not 4 <= offset <= self._inline - width:
            raise self.reader.fail(
                self.at, f"field {slot} at byte {offset} of a table of {self._inline}", "one inside of it"
            )
        return self.at + offset if offset else 0

    def number(self, slot: int, kind: str, default: Any) -> Any:
        """A scalar field; ``kind``: int8, uint8, bool, int32, uint32, float, int64 or uint64."""
        format = _FORMATS[kind]
        at = self._field(slot, format.size)
        return self.reader.number(at, format, f"field {slot}") if at else default

    def text(self, slot: int) -> str:
        """A string field, '' if it is missing."""
        at = self._field(slot, 4)
        return self._text(at, f"field {slot}") if at else ""

    def _text(self, at: int, what: str) -> str:
        reader = self.reader
        span = reader.vector(at, 1, what)
        if span.length > _LONGEST_TEXT:
            raise reader.fail(span.start, f"a text of {size_text(span.length)}", f"at most {size_text(_LONGEST_TEXT)}")
        reader.budget.bytes(span.length, what)
        raw = bytes(reader.bytes(span.start, span.length, what))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise reader.fail(span.start, f"{raw[:40]!r}", "UTF-8 text") from None

    def table(self, slot: int) -> Table | None:
        at = self._field(slot, 4)
        return self.reader.table(self.reader.reference(at, f"field {slot}"), f"field {slot}") if at else None

    def tables(self, slot: int, what: str) -> list[Table]:
        """A vector of tables. All of it is counted before the first is read."""
        return [self.reader.table(target, what) for target in self._references(slot, what)]

    def texts(self, slot: int, what: str) -> list[str]:
        """A vector of strings."""
        at = self._field(slot, 4)
        span = self.reader.vector(at, 4, what) if at else Span(0, 0)
        self.reader.budget.item(what, span.start, span.length)
        return [self._text(span.start + 4 * i, what) for i in range(span.length)]

    def _references(self, slot: int, what: str) -> list[int]:
        at = self._field(slot, 4)
        if not at:
            return []
        span = self.reader.vector(at, 4, what)
        self.reader.budget.item(what, span.start, span.length)
        return [self.reader.reference(span.start + 4 * i, what) for i in range(span.length)]

    def span(self, slot: int, width: int) -> Span | None:
        """A vector of numbers of ``width`` bytes that stays in the file; ``start`` counts from the file's first byte."""
        at = self._field(slot, 4)
        if not at:
            return None
        found = self.reader.vector(at, width, f"field {slot}")
        return Span(self.reader.start + found.start, found.length)

    def array(self, slot: int, dtype: str) -> np.ndarray[Any, Any]:
        """A vector of numbers; empty if it is missing."""
        kind = np.dtype(dtype).newbyteorder("<")
        at = self._field(slot, 4)
        if not at:
            return np.empty(0, kind)
        span = self.reader.vector(at, kind.itemsize, f"field {slot}")
        size = span.length * kind.itemsize
        self.reader.budget.bytes(size, f"field {slot}")
        return np.frombuffer(bytes(self.reader.bytes(span.start, size, f"field {slot}")), kind)

    def integers(self, slot: int) -> tuple[int, ...]:
        """A vector of 32-bit integers: a shape, or indices of tensors."""
        found = self.array(slot, "int32")
        self.reader.budget.item(f"field {slot}", self.at, found.size)
        return tuple(found.tolist())
