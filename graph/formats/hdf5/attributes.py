"""Attributes of objects, read as text: all that Keras keeps in them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..limits import size_text
from .blocks import SAVE_AGAIN, Block, Blocks
from .fractal import FractalHeap
from .headers import Message
from .heaps import GlobalHeaps
from .trees import second_records
from .types import Datatype, read_datatype, read_shape

__all__ = ["Attribute", "read_attributes", "texts"]

_ATTRIBUTE, _ATTRIBUTE_INFO = 0x0C, 0x15
_BY_NAME = 8
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Attribute:
    """``shape``: None if it holds nothing. ``data``: a cursor over its elements."""

    shape: tuple[int, ...] | None
    datatype: Datatype
    data: Block


def read_attributes(blocks: Blocks, messages: list[Message], what: str) -> dict[str, Attribute | None]:
    """All attributes by name; None for one whose type is kept elsewhere."""
    found: dict[str, Attribute | None] = {}
    for kind, shared, body in messages:
        if kind in (_ATTRIBUTE, _ATTRIBUTE_INFO) and shared:
            raise body.fail("an attribute that is shared between objects", "the attribute itself", SAVE_AGAIN)
        if kind == _ATTRIBUTE:
            _attribute(body, found)
        elif kind == _ATTRIBUTE_INFO:
            body.version(0)
            body.skip(1 + (2 if body.data[1] & 1 else 0))
            heap, names = body.pointer(), body.pointer()
            if heap is not None and names is not None:
                stored = FractalHeap(blocks, heap, what)
                for record in second_records(blocks, names, _BY_NAME, what):
                    flags = record.data[stored.id_size : stored.id_size + 1]
                    if flags != b"\0":
                        raise record.fail("an attribute that is shared between objects", "the attribute itself")
                    _attribute(stored.object(record), found)
    return found


def _attribute(body: Block, found: dict[str, Attribute | None]) -> None:
    version = body.version(1, 2, 3)
    flags = body.uint(1)
    sizes = [body.uint(2) for _ in range(3)]
    if version == 3:
        body.skip(1)
    step = 8 if version == 1 else 1
    parts = []
    for size in sizes:
        part = body.sub(size)
        body.skip(min(-size % step, body.left))
        parts.append(part)
    name = parts[0].text(sizes[0])
    if name in found:
        raise body.fail(f"the attribute {name[:80]!r} twice", "unique names")
    if version > 1 and flags & 3:
        found[name] = None
        return
    found[name] = Attribute(read_shape(parts[2]), read_datatype(parts[1]), body.sub(body.left))


def texts(attribute: Attribute | None, heaps: GlobalHeaps, place: str, blocks: Blocks) -> list[str]:
    """The elements of an attribute that holds text, in row-major order."""
    budget = blocks.budget
    if attribute is None:
        raise blocks.fail(place, "a type that is kept elsewhere", "text", SAVE_AGAIN)
    if attribute.shape is None:
        return []
    count, kind = prod(attribute.shape), attribute.datatype
    if count == 0:  # h5py writes an empty list as numbers
        return []
    if count > budget.limits.max_nodes or count * kind.size > _MAX_BYTES:
        raise blocks.fail(place, f"a list of shape {attribute.shape}", f"at most {budget.limits.max_nodes} names")
    if not kind.text:
        raise blocks.fail(place, f"type {kind.name}", "text")
    data = attribute.data
    data.at = 0
    if data.left < count * kind.size:
        raise data.fail(f"{data.left} bytes", f"{count * kind.size} bytes for shape {attribute.shape}")
    budget.item(place, data.address, count)
    result, size = [], 0
    for _ in range(count):
        raw = _element(data, kind, heaps, place)
        size += len(raw)
        if size > _MAX_BYTES:
            raise blocks.fail(place, f"more than {size_text(_MAX_BYTES)} of text", f"at most {size_text(_MAX_BYTES)}")
        try:
            result.append(raw.decode())
        except UnicodeDecodeError:
            raise data.fail(f"{raw[:40]!r}", "UTF-8 text") from None
    budget.bytes(size, place)
    return result


def _element(data: Block, kind: Datatype, heaps: GlobalHeaps, place: str) -> bytes:
    if not kind.heap:
        raw = data.take(kind.size).split(b"\0", 1)[0]
        return raw.rstrip(b" ") if kind.spaces else raw
    length, address, index = data.uint(4), data.pointer(), data.uint(4)
    if not length:
        return b""
    if address is None:
        raise data.fail("text at an undefined address", "an address")
    stored = heaps.object(address, index, place)
    if len(stored) < length:
        raise data.fail(f"{len(stored)} bytes in the heap", f"{length} bytes of text")
    return stored[:length].split(b"\0", 1)[0]
