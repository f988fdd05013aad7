"""Name scopes as a tree, and which of them a picture shows collapsed.

A picture has a budget of boxes. Scopes are opened level by level while the budget lasts; the others are one box each.
Where a level alone is larger than the budget (a file without scopes, say), its nodes are gathered into numbered parts
in the order of the graph, so that no graph makes an unreadable or unbounded picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Scope", "build_scopes", "open_scopes"]

#: Scopes nested deeper than this are one scope: names may be hostile.
_MAX_DEPTH = 24


@dataclass(slots=True, eq=False)
class Scope:
    """A scope with what it holds: names of nodes, and scopes inside, both in the order of the graph."""

    path: str
    children: dict[str, Scope | str] = field(default_factory=dict)
    #: Nodes in it and below it.
    count: int = 0

    def nodes(self) -> list[str]:
        """All node names in it and below it."""
        result: list[str] = []
        pending: list[Scope | str] = [self]
        while pending:
            item = pending.pop()
            if isinstance(item, str):
                result.append(item)
            else:
                pending.extend(reversed(item.children.values()))
        return result


def build_scopes(names: Iterable[str], part: int) -> Scope:
    """The tree of the names' scopes; a level of more than ``part`` entries is gathered into parts."""
    root = Scope("")
    names = list(names)
    parents = {
        "/".join(pieces[:i])
        for pieces in (name.split("/")[: _MAX_DEPTH + 1] for name in names)
        for i in range(1, len(pieces))
    }
    for name in names:
        # A node that is named like a scope ("conv" beside "conv/weights") is that scope's result: it goes inside.
        pieces = name.split("/")[: _MAX_DEPTH + 1]
        inside = pieces if name in parents else pieces[:-1]
        scope = root
        scope.count += 1
        for depth, piece in enumerate(inside):
            child = scope.children.get(piece + "/")
            if not isinstance(child, Scope):
                child = scope.children[piece + "/"] = Scope("/".join(inside[: depth + 1]))
            child.count += 1
            scope = child
        scope.children[name] = name
    pending = [root]
    while pending:
        scope = pending.pop()
        _gather(scope, part)
        pending.extend(child for child in scope.children.values() if isinstance(child, Scope))
    return root


def _gather(scope: Scope, part: int) -> None:
    entries = list(scope.children.items())
    if len(entries) <= part:
        return
    size = max(part // 2, -(-len(entries) // part))
    scope.children = {}
    for number, start in enumerate(range(0, len(entries), size), 1):
        chunk = dict(entries[start : start + size])
        count = sum(child.count if isinstance(child, Scope) else 1 for child in chunk.values())
        path = f"{scope.path}/part {number}" if scope.path else f"part {number}"
        scope.children[f"part {number}/"] = Scope(path, chunk, count)


def open_scopes(scope: Scope, budget: int) -> list[Scope | str]:
    """What the picture of a scope's inside shows: node names, and scopes that stay collapsed."""
    shown = _unwrap(scope.children.values())
    while True:
        opened: list[Scope | str] = []
        for item in shown:
            opened.extend([item] if isinstance(item, str) else _unwrap(item.children.values()))
        if len(opened) > budget or all(isinstance(item, str) for item in shown):
            return shown
        shown = opened


def _unwrap(items: Iterable[Scope | str]) -> list[Scope | str]:
    """Opens scopes that hold one thing only: a box around a single box says nothing."""
    result: list[Scope | str] = []
    for item in items:
        while isinstance(item, Scope) and len(item.children) == 1:
            item = next(iter(item.children.values()))
        result.append(item)
    return result
