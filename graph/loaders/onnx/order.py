"""The nodes of a graph, each after those whose outputs it reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...formats.onnx import GraphProto, NodeProto

__all__ = ["in_order"]


def in_order(nodes: Sequence[NodeProto]) -> Sequence[NodeProto]:
    """The nodes themselves where their order is right, else sorted: each as early as the file's order allows.

    What nothing in the graph makes, and nodes that wait for each other in a circle, keep their places: an input of theirs is
    then not found.
    """
    maker: dict[str, int] = {}
    for place, node in enumerate(nodes):
        for name in node.output:
            maker.setdefault(name, place)
    maker.pop("", None)
    needs = [{maker[name] for name in _read(node) if name in maker} - {place} for place, node in enumerate(nodes)]
    if all(max(needed, default=-1) < place for place, needed in enumerate(needs)):
        return nodes
    done: list[NodeProto] = []
    seen = [False] * len(nodes)
    for first in range(len(nodes)):
        stack = [(first, iter(sorted(needs[first])))] if not seen[first] else []
        seen[first] = True
        while stack:
            place, waiting = stack[-1]
            following = next((p for p in waiting if not seen[p]), None)
            if following is None:
                done.append(nodes[place])
                stack.pop()
            else:
                seen[following] = True
                stack.append((following, iter(sorted(needs[following]))))
    return done


def _read(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, those in the graphs inside of it too."""
    stack: list[NodeProto | GraphProto] = [node]
    while stack:
        found = stack.pop()
        if isinstance(found, GraphProto):
            stack += found.node
            yield from (info.name for info in found.output)
            continue
        yield from found.input
        stack += [a.g for a in found.attribute if a.g is not None]
