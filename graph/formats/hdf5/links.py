"""Which objects a group names: symbol tables of old groups, link messages and dense storage of new ones."""

from __future__ import annotations

from .blocks import SAVE_AGAIN, Block, Blocks
from .fractal import FractalHeap
from .headers import Message
from .heaps import LocalHeap
from .trees import first_leaves, second_records

__all__ = ["read_links"]

_LINK_INFO, _LINK, _SYMBOL_TABLE = 0x02, 0x06, 0x11
_BY_NAME = 5
_HARD, _SOFT, _EXTERNAL = 0, 1, 64
_SOFT_LINK, _EXTERNAL_LINK = "a soft link", "an external link"


def read_links(blocks: Blocks, messages: list[Message], what: str) -> dict[str, int | str]:
    """Name -> address of the object, or what kind of link it is, for links that are not followed."""
    links: dict[str, int | str] = {}
    for kind, shared, body in messages:
        if kind in (_LINK_INFO, _LINK, _SYMBOL_TABLE) and shared:
            raise body.fail("a shared message", "the links themselves", SAVE_AGAIN)
        if kind == _SYMBOL_TABLE:
            _symbol_table(blocks, body, links, what)
        elif kind == _LINK:
            _link(body, links)
        elif kind == _LINK_INFO:
            body.version(0)
            body.skip(1 + (8 if body.data[1] & 1 else 0))
            heap, names = body.pointer(), body.pointer()
            if heap is not None and names is not None:
                stored = FractalHeap(blocks, heap, what)
                for record in second_records(blocks, names, _BY_NAME, what):
                    record.skip(4)  # a hash of the name
                    _link(stored.object(record), links)
    return links


def _add(links: dict[str, int | str], name: str, target: int | str, block: Block) -> None:
    if not name or name in links:
        raise block.fail(f"the name {name[:80]!r} {'twice' if name else ''}", "unique names")
    links[name] = target


def _symbol_table(blocks: Blocks, body: Block, links: dict[str, int | str], what: str) -> None:
    tree, heap_at = body.pointer(), body.pointer()
    if tree is None or heap_at is None:
        raise body.fail("a group without its table", "addresses")
    heap = LocalHeap(blocks, heap_at, what)
    seen: set[int] = set()
    for _, leaf in first_leaves(blocks, tree, 0, blocks.long, what):
        if leaf in seen:
            raise blocks.fail(what, f"the table at byte {leaf} twice", "each once")
        seen.add(leaf)
        head = blocks.signed(leaf, 8, b"SNOD", what)
        head.version(1)
        head.skip(1)
        count = head.uint(2)
        blocks.budget.item(what, leaf, count)
        entries = blocks.read(leaf + 8, count * (2 * blocks.wide + 24), what)
        for _ in range(count):
            name, target = heap.name(entries.uint(blocks.wide)), entries.pointer()
            cached = entries.uint(4)
            entries.skip(20)
            if cached > 2 or (cached < 2 and target is None):
                raise entries.fail(f"an entry of type {cached}", "a link to an object")
            _add(links, name, _SOFT_LINK if cached == 2 or target is None else target, entries)


def _link(body: Block, links: dict[str, int | str]) -> None:
    body.version(1)
    flags = body.uint(1)
    kind = body.uint(1) if flags & 8 else _HARD
    if flags & 4:
        body.skip(8)
    if flags & 16:
        body.skip(1)
    name = body.text(body.uint(1 << (flags & 3)))
    if kind == _HARD:
        target = body.pointer()
        if target is None:
            raise body.fail("a link to nothing", "an address")
        _add(links, name, target, body)
    else:
        known = {_SOFT: _SOFT_LINK, _EXTERNAL: _EXTERNAL_LINK}
        _add(links, name, known.get(kind, f"a link of kind {kind}"), body)
