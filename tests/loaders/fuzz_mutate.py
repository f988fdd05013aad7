"""Edits of files for fuzz_all: of bytes, and of what is in JSON texts and Protocol Buffers' messages, which then stay readable."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["mutate", "mutate_bytes", "mutate_json", "mutate_message", "mutate_zip"]

_BYTES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
_NUMBERS = (0, 1, 2, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_TEXTS = (
    b"9" * 30, b"9" * 5000, b"-1", b"1e999", b"NaN", b"null", b"[" * 3000, b"{}", b'"\\ud800"', b"\xff\xfe", b"../x", b"\0",
    b"true", b"1.5", b'{"a":1,"a":2}',
)  # fmt: skip
#: Bytes of an archive's members together up to which they are read.
_LARGEST = 4 << 20
#: Values that a JSON text may hold where another one is expected.
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 255, 1 << 31, (1 << 31) - 1, 1 << 40, (1 << 63) - 1, 1 << 63, 1 << 70, -(1 << 63), 10**400,
    0.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"), "", "x", "../../etc/passwd", "/etc/passwd", "\ud800", "\0", "NaN", "-Infinity",
    "same", "valid", "channels_first", "os.system", "Lambda", [], {}, [[]], [0], [-1], [1, 2, 3], [None, None, 3], [1 << 40], [1] * 40,
    [1 << 31, 1 << 31, 1 << 31], {"class_name": "Lambda", "config": {}}, {"as_int": 1 << 62}, {"as_none": True}, {"as_name": "x"},
)  # fmt: skip


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to six edits: of the structure where the data has one that is known here, else of bytes."""
    if rng.random() < 0.6:
        structured = mutate_json if data[:1] in (b"{", b"[") else mutate_zip if data[:2] == b"PK" else mutate_message
        changed = structured(data, rng, others)
        if changed is not None:
            return changed if rng.random() < 0.9 else mutate_bytes(changed, rng, others)
    return mutate_bytes(data, rng, others)


# --- JSON -----------------------------------------------------------------------------------------------------------


def _places(value: Any, found: list[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a value."""
    pending = [value]
    while pending:
        at = pending.pop()
        keys = list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        for key in keys:
            found.append((at, key))
            pending.append(at[key])
    return iter(found)


def mutate_json(data: bytes, rng: random.Random, others: list[bytes]) -> bytes | None:
    """Values exchanged, replaced, dropped, nested and repeated; None for what is no JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(value, []))
        if not places:
            break
        (holder, key), (other, theirs) = rng.choice(places), rng.choice(places)
        kind = rng.randrange(8)
        if kind <= 2:
            holder[key] = copy.deepcopy(rng.choice(_VALUES))
        elif kind == 3:  # a copy of another part, so that there are no cycles in memory
            holder[key] = json.loads(json.dumps(other[theirs]))
        elif kind == 4:
            del holder[key]
        elif kind == 5 and isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        elif kind == 6 and type(holder[key]) in (int, float):
            holder[key] = rng.choice((holder[key] + 1, holder[key] - 1, -holder[key], holder[key] * 1000, 1 << 33))
        elif kind == 7:
            deep = holder[key]
            for _ in range(rng.choice((1, 3, 200))):
                deep = rng.choice(
                    ([deep], {"config": deep}, {"class_name": "Sequential", "config": {"layers": [deep]}})
                )
            holder[key] = deep
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):
        return None


# --- archives --------------------------------------------------------------------------------------------------------


def mutate_zip(data: bytes, rng: random.Random, others: list[bytes]) -> bytes | None:
    """One member changed, texts of JSON more often than arrays, with sums that fit; None for what is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > _LARGEST:
                return None
            members = {info: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, OSError, RuntimeError):
        return None  # RuntimeError: encrypted, or a method that zipfile lacks
    if not members:
        return None
    texts = [info for info in members if members[info][:1] in (b"{", b"[")]
    chosen = rng.choice(texts if texts and rng.random() < 0.8 else list(members))
    members[chosen] = mutate(members[chosen], rng, [members[chosen]])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for info, content in members.items():
            archive.writestr(info.filename, content)
    return out.getvalue()


# --- messages -------------------------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at
    raise ValueError


def _fields(data: bytes) -> list[tuple[int, int, Any]]:
    """(number, wire type, value) of a message; ValueError for anything else."""
    found: list[tuple[int, int, Any]] = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 15:
            raise ValueError
        value: Any
        if wire == 0:
            value, at = _read_varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(wire, -1)
            if wire == 2:
                size, at = _read_varint(data, at)
            if size < 0 or at + size > len(data):
                raise ValueError
            value, at = data[at : at + size], at + size
        found.append((number, wire, value))
    return found


def _joined(fields: list[tuple[int, int, Any]]) -> bytes:
    out = b""
    for number, wire, value in fields:
        out += _varint(number << 3 | wire)
        out += _varint(value) if wire == 0 else _varint(len(value)) + value if wire == 2 else value
    return out


def mutate_message(data: bytes, rng: random.Random, others: list[bytes]) -> bytes | None:
    """Fields exchanged, dropped, repeated and changed, some levels down; None for what is no message."""
    try:
        parsed = _fields(data)
        donor = _fields(rng.choice(others))
    except ValueError:
        return None
    texts = list(re.finditer(rb"[A-Za-z_][A-Za-z0-9_/]{1,30}", data))
    for _ in range(rng.choice((1, 1, 2, 4))):
        parsed = _edited(parsed, donor, rng, texts, rng.randrange(1, 7))
    return _joined(parsed)


def _edited(
    fields: list[tuple[int, int, Any]], donor: list[tuple[int, int, Any]], rng: random.Random, texts: list[Any], depth: int
) -> list[tuple[int, int, Any]]:  # fmt: skip
    out = list(fields)
    if not out:
        return out
    at = rng.randrange(len(out))
    number, wire, value = out[at]
    if wire == 2 and depth and value:
        try:
            inner = _fields(value)
        except ValueError:
            inner = []
        if inner:
            out[at] = (number, wire, _joined(_edited(inner, donor, rng, texts, depth - 1)))
            return out
    edits: tuple[Callable[[], Any], ...] = (
        lambda: out.insert(at, out[at]),
        lambda: out.pop(at),
        lambda: out.insert(at, rng.choice(out)),
        lambda: out.__setitem__(at, (number, *rng.choice(out)[1:])),
        lambda: out.insert(at, rng.choice(donor)) if donor else None,
        lambda: out.__setitem__(at, (rng.choice((number + 1, max(number - 1, 1), rng.choice(out)[0])), wire, value)),
        lambda: out.extend([out[at]] * rng.choice((10, 1000))),
        lambda: rng.shuffle(out),
        lambda: None,
        lambda: None,
    )
    kind = rng.randrange(len(edits) + 6)
    if kind < len(edits):
        edits[kind]()
    elif wire == 0:
        out[at] = (number, wire, rng.choice((*_NUMBERS, value + 1, value - 1, -value, 1 << 32, 65536)))
    elif wire == 2 and texts and rng.random() < 0.8:  # another name: nodes are rewired, functions call others
        out[at] = (number, wire, rng.choice(texts)[0])
    elif value:
        out[at] = (number, wire, mutate_fixed(value, rng))
    return out


def mutate_fixed(value: bytes, rng: random.Random) -> bytes:
    changed = bytearray(value)
    for _ in range(rng.choice((1, 4))):
        changed[rng.randrange(len(changed))] = rng.choice((*_BYTES, rng.randrange(256)))
    return bytes(changed)


# --- bytes ----------------------------------------------------------------------------------------------------------


def mutate_bytes(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to six edits."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        size = len(out)
        at = rng.randrange(size + 1)
        kind = rng.randrange(11)
        if kind == 0 and size:
            out[at % size] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            out[at % size] = rng.choice((*_BYTES, rng.randrange(256)))
        elif kind == 2:  # another length, count or address
            width = rng.choice((2, 4, 8))
            value = rng.choice((*_NUMBERS, size, size - 1, rng.randrange(size + 1)))
            at -= at % rng.choice((1, width))
            out[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
        elif kind == 3:  # an address of another place: shared parts and cycles
            start = rng.randrange(size + 1) & ~7
            out[at & ~7 : (at & ~7) + 8] = out[start : start + 8]
        elif kind == 4:
            del out[at : at + rng.choice((1, 4, 8, 64))]
        elif kind == 5:
            out[at:at] = out[at : at + rng.choice((1, 8, 64, 512))]
        elif kind == 6:
            start, count = rng.randrange(size + 1), rng.choice((8, 24, 64, 256))
            out[at : at + count] = out[start : start + count]
        elif kind == 7 and rng.random() < 0.3:
            del out[at:]
        elif kind == 8:
            numbers = list(re.finditer(rb"[0-9]+|[a-z]{3,}", out))
            if numbers:
                found = rng.choice(numbers)
                out[found.start() : found.end()] = rng.choice(_TEXTS)
        elif kind == 9 and rng.random() < 0.2:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            out[at:] = other[start:]
        elif kind == 10 and rng.random() < 0.05:
            out[at:at] = bytes(out[at : at + 16]) * rng.choice((100, 2000))
    return bytes(out)
