"""Writes the records of wire.py in Protocol Buffers' wire format."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from .wire import LEN, SCALARS, Spec, layout_of

__all__ = ["encode", "pack_numbers"]


def _varint_bytes(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def pack_numbers(values: Iterable[Any], kind: str) -> bytes:
    """Packed bytes for a ``numbers`` field of a record that is to be written."""
    form = SCALARS[kind][1]
    if form is not None:
        return b"".join(struct.pack(form, v) for v in values)
    return b"".join(_varint_bytes(int(v)) for v in values)


def encode(record: Any) -> list[Any]:
    """The record as a list of bytes-like pieces; large bytes fields are passed on, not copied.

    Fields are written in the order of their declaration, map entries in the order of the dict, and scalars with
    their default value are left out unless they belong to a oneof, as the reference writer does.
    """
    pieces: list[Any] = []
    table, _ = layout_of(type(record))
    for name, spec in table.values():
        value = getattr(record, name)
        if value is None or (not spec.oneof and not spec.repeated and spec.kind != "message" and not value):
            continue
        if spec.kind == "map":
            for key, item in value.items():
                entry = [*_delimited_pieces(1, [key.encode()]), *_delimited_pieces(2, encode(item))]
                pieces += _delimited_pieces(spec.number, entry)
        elif spec.repeated and spec.kind in SCALARS:
            data = b"".join(value) if isinstance(value, list) else value
            if data:
                pieces += _delimited_pieces(spec.number, [data])
        else:
            for item in value if spec.repeated else [value]:
                pieces += _field_pieces(spec, item)
    return pieces


def _field_pieces(spec: Spec, value: Any) -> list[Any]:
    kind = spec.kind
    if kind == "message":
        return _delimited_pieces(spec.number, encode(value))
    if kind == "string":
        return _delimited_pieces(spec.number, [value.encode()])
    if kind == "bytes":
        return _delimited_pieces(spec.number, [value])
    wire, form = SCALARS[kind]
    data = _varint_bytes(int(value)) if form is None else struct.pack(form, value)
    return [_varint_bytes(spec.number << 3 | wire) + data]


def _delimited_pieces(number: int, pieces: list[Any]) -> list[Any]:
    size = sum(memoryview(p).nbytes for p in pieces)
    head = _varint_bytes(number << 3 | LEN) + _varint_bytes(size)
    if size <= 4096:  # join small ones: one piece per node, not twenty
        return [b"".join((head, *pieces))]
    return [head, *pieces]
