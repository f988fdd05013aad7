"""Object headers of both versions: an object is a list of messages, in one block and its continuations."""

from __future__ import annotations

from typing import NamedTuple

from .blocks import SAVE_AGAIN, Block, Blocks

__all__ = ["Message", "read_messages"]

_CONTINUATION = 0x10
_KNOWN = 0x17
_SHARED, _FAIL_IF_UNKNOWN = 0x02, 0x80


class Message(NamedTuple):
    """One message; ``shared``: its body only says where the real one is."""

    kind: int
    shared: bool
    body: Block


def read_messages(blocks: Blocks, address: int, what: str) -> list[Message]:
    """The messages of the object at ``address``, in the file's order; continuations are followed once each."""
    head = blocks.read(address, 6, what)
    if head.data[:4] == b"OHDR":
        return _second(blocks, address, what)
    head.version(1)
    head.skip(1)
    count = head.uint(2)
    size = blocks.read(address + 8, 4, what).uint(4)
    messages: list[Message] = []
    chunks, seen = [(address + 16, size)], {address}
    for start, length in chunks:
        chunk = blocks.read(start, length, what)
        while chunk.left >= 8 and count > 0:
            count -= 1
            kind, body_size, flags = chunk.uint(2), chunk.uint(2), chunk.uint(1)
            chunk.skip(3)
            _add(messages, kind, flags, chunk.sub(body_size), chunks, seen)
    return messages


def _second(blocks: Blocks, address: int, what: str) -> list[Message]:
    head = blocks.read(address + 4, 2, what)
    head.version(2)
    flags = head.uint(1)
    before = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = blocks.read(address + before, width, what).uint(width)
    first = blocks.read(address, before + width + size + 4, what)
    first.verify()
    first.skip(before + width)
    messages: list[Message] = []
    chunks: list[tuple[int, int]] = []
    seen = {address}
    _second_chunk(first, flags, messages, chunks, seen)
    for start, length in chunks:
        chunk = blocks.signed(start, length, b"OCHK", what)
        chunk.verify()
        _second_chunk(chunk, flags, messages, chunks, seen)
    return messages


def _second_chunk(
    chunk: Block, flags: int, messages: list[Message], chunks: list[tuple[int, int]], seen: set[int]
) -> None:
    prefix = 6 if flags & 4 else 4
    while chunk.left >= prefix:  # less is a gap
        kind, size, how = chunk.uint(1), chunk.uint(2), chunk.uint(1)
        chunk.skip(prefix - 4)
        _add(messages, kind, how, chunk.sub(size), chunks, seen)


def _add(
    messages: list[Message], kind: int, flags: int, body: Block, chunks: list[tuple[int, int]], seen: set[int]
) -> None:
    body.blocks.budget.item(body.what, body.address)
    if kind == 0:
        return
    if kind == _CONTINUATION:
        start, length = body.pointer(), body.length()
        if start is None or start in seen:
            raise body.fail("a continuation that was read before", "each one once")
        seen.add(start)
        chunks.append((start, length))
    elif kind > _KNOWN and flags & _FAIL_IF_UNKNOWN:
        raise body.fail(f"message {kind}, which must be understood", "a known one", SAVE_AGAIN)
    else:
        messages.append(Message(kind, bool(flags & _SHARED), body))
