"""Reads the records of wire.py, without copying what is large: bytes fields become places in the file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from ...errors import LoadError
from ..limits import Budget
from .numbers import unpack_numbers
from .wire import FIXED32, FIXED64, LEN, SCALARS, VARINT, Span, Spec, layout_of

__all__ = ["Reader"]

R = TypeVar("R")

#: The format's own limits: 29 bits of field number, a tag of at most 5 bytes.
_MOST_FIELD, _TAG_BYTES = (1 << 29) - 1, 5
#: Tag, and length or number, take at most 20 bytes. Files are read in blocks, as far as they are parsed.
_HEAD, _BLOCK = 32, 1 << 16
#: Bytes of a map entry that is compared with earlier ones, and how many are kept.
_SHORT, _MOST_ENTRIES = 64, 4096
_SIGNED_BITS = {"int32": 32, "enum": 32, "int64": 64}


def _clear_others(into: Any, members: Iterable[str], name: str) -> None:
    """Of the fields of a oneof the last one counts."""
    for other in members:
        if other != name:
            setattr(into, other, None)


class Reader:
    """Decodes records from a buffer. ``what`` names the format in messages."""

    __slots__ = (
        "_budget",
        "_entries",
        "_fill",
        "_filled",
        "_items",
        "_most_items",
        "_nodes",
        "_spans",
        "_view",
        "_what",
    )

    def __init__(
        self, view: memoryview, budget: Budget, what: str, fill: Callable[[int, int], None] | None = None
    ) -> None:
        """``fill(start, stop)`` brings bytes of the file into ``view``, for one that has none of them yet."""
        self._view, self._budget, self._what, self._fill = view, budget, what, fill
        #: The bytes from where the parser is up to here are in the view. It only goes forward.
        self._filled = 0 if fill else len(view)
        self._items = self._nodes = 0
        #: Spans that were made; short map entries without one by depth and bytes, with the items in it: see _map_entry.
        self._spans = 0
        self._entries: dict[tuple[Any, int, bytes], tuple[str, Any, int]] = {}
        self._most_items = budget.items_for(0)

    def fail(self, at: int, found: str, expected: str) -> LoadError:
        return self._budget.error(
            f"{self._what}, byte {at}", found, expected, "The file is truncated, damaged or of another format."
        )

    def _load(self, start: int, stop: int) -> None:
        """Brings a block from ``start`` on, at least up to ``stop``, into the view."""
        assert self._fill is not None
        stop = min(max(stop, start + _BLOCK), len(self._view))
        self._fill(start, stop)
        self._filled = stop

    def content(self, span: Span) -> bytes:
        """The bytes of a span, copied."""
        if self._fill is not None:
            self._fill(span.start, span.start + span.size)
        return bytes(self._view[span.start : span.start + span.size])

    def numbers(self, spans: list[Span], kind: str) -> np.ndarray[Any, Any]:
        """The values of a ``numbers`` field."""
        try:
            return unpack_numbers(b"".join(map(self.content, spans)), kind)
        except ValueError as e:
            raise self.fail(spans[0].start, str(e), f"packed {kind} values") from None

    def read(self, record: type[R], start: int = 0, stop: int | None = None) -> R:
        """Decodes the bytes [start, stop) as one record."""
        result = record()
        if self._fill is not None:
            self._filled = start  # a part after it may not have been read
        self._message(result, start, len(self._view) if stop is None else stop, 1, True)
        return result

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        view, value, shift, pos = self._view, 0, 0, at
        while pos < end:
            byte = view[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, pos
            shift += 7
            if shift >= 70:
                raise self.fail(at, "a variable-length number of more than 10 bytes", "at most 10")
        raise self.fail(at, "the end of the message inside a number", "the rest of it")

    def _message(self, into: Any, pos: int, end: int, depth: int, new: bool) -> None:
        """``new``: no field of ``into`` is set yet."""
        view, budget = self._view, self._budget
        budget.depth(depth, self._what, pos)
        table, members = layout_of(type(into))
        value = 0
        while pos < end:
            if pos + _HEAD > self._filled < len(view):
                self._load(pos, pos + _HEAD)
            at = pos
            tag = view[pos]
            pos += 1
            if tag > 0x7F:
                tag, pos = self._varint(at, end)
            tag_end = pos
            wire, number = tag & 7, tag >> 3
            entry = table.get(number)
            # Length-delimited first: nearly everything is.
            if wire == LEN:
                if pos < end and view[pos] < 0x80:
                    size = view[pos]
                    pos += 1
                else:
                    size, pos = self._varint(pos, end)
                start, stop = pos, pos + size
                if stop > end:
                    raise self.fail(at, f"a field of {size} bytes where {end - pos} are left", "a field that fits")
            elif wire == VARINT:
                start = pos
                value, pos = self._varint(pos, end)
                stop = pos
            elif wire in (FIXED32, FIXED64):
                start, stop = pos, pos + (4 if wire == FIXED32 else 8)
                if stop > end:
                    raise self.fail(at, "the end of the message inside a number", "the rest of it")
            else:
                raise self.fail(at, f"wire type {wire}", "a field of wire type 0, 1, 2 or 5")
            if not 0 < number <= _MOST_FIELD or tag_end - at > _TAG_BYTES:
                raise self.fail(
                    at, f"field number {number}", f"a field number from 1 to {_MOST_FIELD} in {_TAG_BYTES} bytes"
                )
            if entry is None:
                pos = stop
                continue
            name, spec = entry
            if wire == LEN and spec.kind not in SCALARS:
                self._delimited(into, name, spec, pos, stop, depth)
            else:
                self._scalar(into, name, spec, wire, at, Span(start, stop - start), value)
            pos = stop
            if spec.oneof:
                if not new:
                    _clear_others(into, members, name)
                new = False

    def _scalar(self, into: Any, name: str, spec: Spec, wire: int, at: int, span: Span, value: int) -> None:
        """Stores a number, or where numbers are. at: where the field begins; value: the number, if it is a varint."""
        kind = spec.kind
        if kind not in SCALARS or wire not in ((LEN, SCALARS[kind][0]) if spec.repeated else (SCALARS[kind][0],)):
            raise self.fail(at, f"field '{name}' with wire type {wire}", f"the wire type of {kind}")
        form = SCALARS[kind][1]
        if spec.repeated:
            self._item(at)
            self._spans += 1
            getattr(into, name).append(span)
        elif form is not None:
            setattr(into, name, struct.unpack(form, self._view[span.start : span.start + span.size])[0])
        else:
            setattr(into, name, value != 0 if kind == "bool" else _signed(value, kind))

    def _item(self, at: int, count: int = 1) -> None:
        self._items += count
        if self._items > self._most_items:
            raise self._budget.too_many_items(self._what, at, self._most_items)

    def _delimited(self, into: Any, name: str, spec: Spec, pos: int, stop: int, depth: int) -> None:
        kind = spec.kind
        value: Any
        if spec.repeated or kind == "map":
            self._item(pos)
            if spec.node:
                self._nodes += 1
                self._budget.nodes(f"{self._what}, byte {pos}")
                self._most_items = self._budget.items_for(self._nodes)
        if kind == "string":
            value = self._text(name, pos, stop)
        elif kind == "bytes" or spec.late:
            value = Span(pos, stop - pos)
            self._spans += 1
        else:
            assert spec.record is not None
            if kind == "map":
                key, entry = self._map_entry(name, spec, pos, stop, depth)
                if spec.hints or not key.startswith("_"):
                    getattr(into, name)[key] = entry
                return
            value = None if spec.repeated else getattr(into, name)
            new = value is None
            value = spec.record()() if new else value
            self._message(value, pos, stop, depth + 1, new)
        if spec.repeated:
            getattr(into, name).append(value)
        else:
            setattr(into, name, value)

    def _text(self, name: str, pos: int, stop: int) -> str:
        if stop > self._filled:
            self._load(pos, stop)
        try:
            return str(self._view[pos:stop], "utf-8")
        except UnicodeDecodeError:
            raise self.fail(pos, f"bytes that are not UTF-8 in field '{name}'", "UTF-8 text") from None

    def _map_entry(self, name: str, spec: Spec, pos: int, end: int, depth: int) -> tuple[str, Any]:
        """A map entry is a message with the key as field 1 and the value as field 2.

        A graph repeats few of them ({"T": float32}) thousands of times: what is equal is read once, and is the same object.
        """
        if end - pos > _SHORT:
            return self._new_entry(name, spec, pos, end, depth)
        if end > self._filled:
            self._load(pos, end)
        place = (spec.record, depth, bytes(self._view[pos:end]))
        known = self._entries.get(place)
        if known is not None:
            self._item(pos, known[2])
            return known[:2]
        items, spans = self._items, self._spans
        key, value = self._new_entry(name, spec, pos, end, depth)
        if spans == self._spans and len(self._entries) < _MOST_ENTRIES:
            self._entries[place] = key, value, self._items - items
        return key, value

    def _new_entry(self, name: str, spec: Spec, pos: int, end: int, depth: int) -> tuple[str, Any]:
        assert spec.record is not None
        key, value, new = "", None, True
        while pos < end:
            if pos + _HEAD > self._filled < len(self._view):
                self._load(pos, pos + _HEAD)
            at = pos
            tag, pos = self._varint(pos, end)
            if tag not in (1 << 3 | LEN, 2 << 3 | LEN):
                raise self.fail(at, f"tag {tag} in an entry of map '{name}'", "a key or a value")
            size, pos = self._varint(pos, end)
            stop = pos + size
            if stop > end:
                raise self.fail(at, f"a field of {size} bytes where {end - pos} are left", "a field that fits")
            if tag >> 3 == 1:
                key = self._text(name, pos, stop)
            elif spec.hints or not key.startswith("_"):
                value = spec.record()() if new else value
                self._message(value, pos, stop, depth + 1, new)
                new = False
            pos = stop
        return key, spec.record()() if new else value


def _signed(value: int, kind: str) -> int:
    bits = _SIGNED_BITS.get(kind)
    if bits is None:
        return value & 0xFFFFFFFF if kind == "uint32" else value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
