"""Walks along the edges of a list of NodeDefs: what a node reads, and what reads it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from ...formats.tensorflow import NodeDef

__all__ = ["ancestors", "apart", "consumers", "descendants", "is_data", "node_of", "origin", "single"]

#: Copies of copies; nested calls make one or two each.
_MOST_STEPS = 64


def is_data(text: str) -> bool:
    """Whether an input is a tensor, not a control input."""
    return not text.startswith("^")


def node_of(text: str) -> str:
    """The node that an input reads: 'a' of 'a', 'a:1' and '^a'."""
    return text.removeprefix("^").partition(":")[0]


def ancestors(
    nodes: Mapping[str, NodeDef], roots: Iterable[str], follows: Callable[[str], bool] = lambda text: True
) -> set[str]:
    """The roots and all that they read, along the inputs that ``follows`` accepts."""
    found: set[str] = set()
    waiting = [r for r in roots if r in nodes]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [n for t in nodes[name].input if follows(t) and (n := node_of(t)) in nodes and n not in found]
    return found


def consumers(nodes: Mapping[str, NodeDef], follows: Callable[[str], bool] = lambda text: True) -> dict[str, list[str]]:
    """Node -> the nodes that read it, along the inputs that ``follows`` accepts."""
    found: dict[str, list[str]] = {}
    for node in nodes.values():
        for name in {node_of(text) for text in node.input if follows(text)}:
            found.setdefault(name, []).append(node.name)
    return found


def descendants(
    nodes: Mapping[str, NodeDef], roots: Iterable[str], follows: Callable[[str], bool] = lambda text: True
) -> set[str]:
    """The roots and all that reads them, along the inputs that ``follows`` accepts."""
    readers = consumers(nodes, follows)
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [n for n in readers.get(name, ()) if n not in found]
    return found


def origin(
    nodes: Mapping[str, NodeDef], text: str, through: Collection[str] = ("Identity", "IdentityN", "RefIdentity")
) -> tuple[str, int]:
    """The node and output that an input is a copy of: these op types are passed."""
    for _ in range(_MOST_STEPS):
        name, _, number = text.partition(":")
        index = int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else 0
        node = nodes.get(name)
        if node is None or node.op not in through:
            break
        data = [t for t in node.input if not t.startswith("^")]
        if index >= len(data):
            break
        text = data[index]
    return name, index


def apart(nodes: Mapping[str, NodeDef]) -> dict[str, NodeDef]:
    """The nodes, reading the single tensors where they read an IdentityN, so that none needs what only another one does.

    An IdentityN stands for the results of each call of a function with several.
    """
    found: dict[str, NodeDef] = {}
    known: dict[str, str] = {}
    for node in nodes.values():
        inputs = [known.get(text) or known.setdefault(text, single(nodes, text)) for text in node.input]
        found[node.name] = replace(node, input=inputs) if inputs != node.input else node
    return found


def single(nodes: Mapping[str, NodeDef], text: str) -> str:
    """The tensor of which an input is a copy by an IdentityN; other inputs as they are."""
    read = nodes.get(node_of(text))
    if read is None or read.op != "IdentityN" or text.startswith("^"):
        return text
    name, index = origin(nodes, text, ("IdentityN",))
    return f"{name}:{index}" if index else name
