"""B-trees: version 1, of old groups and of chunks, and version 2, of everything that is new."""

from __future__ import annotations

from collections.abc import Iterator

from .blocks import SAVE_AGAIN, Block, Blocks

__all__ = ["first_leaves", "second_records"]

_MAX_DEPTH = 16


def first_leaves(blocks: Blocks, address: int, kind: int, key_size: int, what: str) -> Iterator[tuple[Block, int]]:
    """(cursor at the key, address of the child) of every entry of the leaves of a version 1 tree, in order.

    ``kind``: 0 for the names of a group, 1 for the chunks of a dataset.
    """
    pending: list[tuple[int, int | None]] = [(address, None)]
    seen: set[int] = set()
    while pending:
        at, wanted = pending.pop()
        if at in seen:
            raise blocks.fail(what, f"a tree that comes back to byte {at}", "a tree")
        seen.add(at)
        head = blocks.signed(at, 8 + 2 * blocks.wide, b"TREE", what)
        found, level, count = head.uint(1), head.uint(1), head.uint(2)
        if found != kind or level > _MAX_DEPTH or (wanted is not None and level != wanted):
            raise head.fail(f"a node of kind {found} on level {level}", f"kind {kind}, one level down")
        blocks.budget.item(what, at, count)
        step = key_size + blocks.wide
        node = blocks.read(at + 8 + 2 * blocks.wide, count * step + key_size, what)
        children: list[tuple[int, int | None]] = []
        for i in range(count):
            node.at = i * step + key_size
            child = node.pointer()
            if child is None:
                raise node.fail("an undefined child", "an address")
            if level == 0:
                node.at = i * step
                yield node, child
            else:
                children.append((child, level - 1))
        pending.extend(reversed(children))


def _bytes_for(limit: int) -> int:
    return max(limit.bit_length() - 1, 0) // 8 + 1


def second_records(blocks: Blocks, address: int, kind: int, what: str) -> Iterator[Block]:
    """The records of a version 2 tree, in order, each as a cursor."""
    head = blocks.signed(address, 22 + blocks.wide + blocks.long, b"BTHD", what)
    head.verify()
    head.version(0)
    found, node_size, record, depth = head.uint(1), head.uint(4), head.uint(2), head.uint(2)
    head.skip(2)
    root, count, total = head.pointer(), head.uint(2), head.length()
    if found != kind or depth > _MAX_DEPTH or not record or node_size < 10 + record:
        raise head.fail(f"a tree of kind {found} and depth {depth}", f"kind {kind}", SAVE_AGAIN)
    blocks.budget.item(what, address, total)
    if root is None:
        return
    # What a pointer to a node says about it takes as many bytes as the fullest such node needs.
    most = [(node_size - 10) // record]
    pointers, totals, total_bytes = [0], most[0], 0
    for _ in range(depth):
        pointer = blocks.wide + _bytes_for(most[0]) + total_bytes
        pointers.append(pointer)
        most.append((node_size - 10 - pointer) // (record + pointer))
        if most[-1] < 1:
            raise head.fail(f"nodes of {node_size} bytes", "room for a record")
        totals = (most[-1] + 1) * totals + most[-1]
        total_bytes = _bytes_for(totals)
    yield from _second_node(blocks, root, count, depth, kind, record, most, pointers, set(), what)


def _second_node(
    blocks: Blocks,
    address: int,
    count: int,
    depth: int,
    kind: int,
    record: int,
    most: list[int],
    pointers: list[int],
    seen: set[int],
    what: str,
) -> Iterator[Block]:
    if address in seen or count > most[depth]:
        raise blocks.fail(what, f"a node of {count} records at byte {address}", "a tree of bounded nodes")
    seen.add(address)
    pointer = pointers[depth]
    size = 10 + count * record + (count + 1) * pointer if depth else 10 + count * record
    node = blocks.signed(address, size, b"BTIN" if depth else b"BTLF", what)
    node.verify()
    node.version(0)
    if node.uint(1) != kind:
        raise node.fail("a node of another kind", f"kind {kind}")
    records = [node.sub(record) for _ in range(count)]
    if not depth:
        yield from records
        return
    for i in range(count + 1):
        child = node.sub(pointer)
        where, held = child.pointer(), child.uint(_bytes_for(most[0]))
        if where is None:
            raise node.fail("an undefined child", "an address")
        yield from _second_node(blocks, where, held, depth - 1, kind, record, most, pointers, seen, what)
        if i < count:
            yield records[i]
