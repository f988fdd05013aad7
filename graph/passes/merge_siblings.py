"""1x1 convolutions that read the same tensor become one op with several outputs, so that the tensor is read once."""

from __future__ import annotations

from ..ir import Graph, Node, Port
from ..rewrite import Rewriter
from .commute_pools import is_pointwise

__all__ = ["merge_siblings"]

#: Weights and biases that come from anywhere else might depend on one of the siblings.
_SOURCES = frozenset(["Const", "Placeholder", "VariableV2"])


def merge_siblings(graph: Graph) -> Graph:
    """conv(x, a), conv(x, b), ...  become  KiSiblingConv2D(x, a, b, ...) in the order of the graph."""
    edit = Rewriter(graph)
    families: dict[Port, list[Node]] = {}
    for node in graph:
        if is_pointwise(edit, node) and all(graph.nodes[p.node].op in _SOURCES for p in node.inputs[1:]):
            families.setdefault(node.inputs[0], []).append(node)
    for x, members in families.items():
        if len(members) > 1:
            _merge(edit, x, members)
    return edit.finish()


def _merge(edit: Rewriter, x: Port, members: list[Node]) -> None:
    attrs = {
        "biases": tuple(len(node.inputs) > 2 for node in members),
        "activations": tuple(node.attrs.get("activation", "none") for node in members),
    }
    name = edit.fresh(f"{members[0].name}/siblings")
    edit.put(name, "KiSiblingConv2D", (x, *(p for node in members for p in node.inputs[1:])), attrs)
    for index, node in enumerate(members):
        edit.redirect(Port(node.name), Port(name, index))
