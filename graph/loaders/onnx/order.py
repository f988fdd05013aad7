"""The nodes of a graph, each after those whose outputs it reads."""

from __future__ import annotations

from collections.abc import Sequence

from ...formats.onnx import GraphProto, NodeProto

__all__ = ["in_order", "names_read"]


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
    needs = [{maker[name] for name in names_read(node) if name in maker} - {place} for place, node in enumerate(nodes)]
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


def names_read(node: NodeProto) -> set[str]:
    """The names that a node reads; of a graph inside of it those that the graph does not make itself."""
    found: set[str] = set(node.input)
    graphs = [(a.g, frozenset[str]()) for a in node.attribute if a.g is not None]
    while graphs:
        graph, known = graphs.pop()
        own = known | _made(graph)
        found.update(info.name for info in graph.output if info.name not in own)
        for inner in graph.node:
            found.update(name for name in inner.input if name not in own)
            graphs += [(a.g, own) for a in inner.attribute if a.g is not None]
    return found


def _made(graph: GraphProto) -> set[str]:
    """The names that a graph gives values."""
    names = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    names.update(sparse.values.name for sparse in graph.sparse_initializer if sparse.values is not None)
    return names.union(*(node.output for node in graph.node))
