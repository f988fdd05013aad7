"""Transposes are moved past the ops that can work on axes in another order, until they cancel.

Graphs with the channels first come here with transposes around every convolution (legalize_layouts.py); a file of another
program may bring its own. Nodes are walked once in order. A Transpose is not made but noted; an op for which axis_rules.py has
a rule works on its inputs in the order in which they are, with its axes renumbered; all others get them as they were, and only
then something is transposed. Where an op may choose, it takes the order that moves the fewest bytes, also behind it.

A Flatten of a map of several pixels keeps its transpose. The rows of the matrix behind it could be permuted instead, but
that is a copy of the matrix, and the map has as many elements as one of its columns.
"""

from __future__ import annotations

from ..ir import UNKNOWN, Graph, Node
from .axis_rules import RULES
from .mover import Mover

__all__ = ["move_transposes"]


def move_transposes(graph: Graph) -> Graph:
    """conv, Transpose, Relu, Transpose, conv  becomes  conv, Relu, conv."""
    constant = _constant(graph)
    if not any(node.op == "Transpose" and node.name not in constant for node in graph):
        return graph
    mover = Mover(graph, constant)
    for node in graph:
        rule = None if node.name in constant else RULES.get(node.op)
        if rule is None or not _known(graph, node) or not rule(mover, node):
            mover.keep(node)
    return mover.finish()


def _constant(graph: Graph) -> frozenset[str]:
    """Nodes that depend on constants alone: they are folded as they are."""
    found: set[str] = set()
    for node in graph:
        if node.op == "Const" or (node.inputs and all(p.node in found for p in node.inputs)):
            found.add(node.name)
    return frozenset(found)


def _known(graph: Graph, node: Node) -> bool:
    types = [*node.outputs, *(graph.type_of(p) for p in node.inputs)]
    return all(t.dtype != UNKNOWN and t.shape is not None for t in types)
