"""Constants that loops and branches get from outside become constants of their graphs, and a branch that is known is opened.

So weights of a recurrent layer are packed once, and shapes inside of a loop are known; what a constant switch leaves out
(is_training) costs nothing, and the rest is optimised together with what is around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..ir import UNKNOWN, Graph, Literal, Node, Port
from ..opdefs import LOOPS, OPDEFS
from ..rewrite import Rewriter, reachable
from .legalize import legalize

__all__ = ["inner_graphs"]

_MOST_DEPTH = 64


def inner_graphs(graph: Graph) -> Graph:
    """KiWhile and KiBranch with their constants inside; KiBranch of a known index becomes the branch's nodes."""
    for _ in range(_MOST_DEPTH):  # a branch that is opened may hold another
        loops = [node for node in graph if node.op in LOOPS]
        if not loops:
            break
        edit, opened = Rewriter(graph), False
        for node in loops:
            literals = [edit.literal(p) for p in node.inputs]
            if node.op == "KiWhile":
                _while(edit, node, literals)
            elif literals[0] is not None and literals[0].type.size == 1 and _typed(node, literals[0]):
                _open(edit, node, literals[0])
                opened = True
            else:
                _branch(edit, node, literals)
        graph = edit.finish()
        if not opened:
            break
    return graph


def _while(edit: Rewriter, node: Node, literals: Sequence[Literal | None]) -> None:
    count: int = node.attrs["count"]
    steady = node.attrs.get("steady", ())
    named = [a or b for a, b in zip(node.attrs["cond_inputs"], node.attrs["body_inputs"], strict=True)]
    inside = {i: x for i, x in enumerate(literals) if (i >= count or i in steady) and x is not None and named[i]}
    if not inside:
        return
    # What the loop may change stays an input, since the output of its number is what comes out.
    left = [i for i in range(len(literals)) if i not in inside or i < count]
    attrs = dict(node.attrs)
    for part in ("cond", "body"):
        names = node.attrs[f"{part}_inputs"]
        attrs[part] = _with(node.attrs[part], {names[i]: x for i, x in inside.items()})
        attrs[f"{part}_inputs"] = tuple("" if i in inside else _there(attrs[part], names[i]) for i in left)
    edit.put(node.name, node.op, tuple(node.inputs[i] for i in left), attrs)


def _branch(edit: Rewriter, node: Node, literals: Sequence[Literal | None]) -> None:
    inside = {i: x for i, x in enumerate(literals[1:]) if x is not None}
    if not inside:
        return
    left = [i for i in range(len(literals) - 1) if i not in inside]
    named = node.attrs["branch_inputs"]
    graphs = tuple(
        _with(g, {names[i]: x for i, x in inside.items()})
        for g, names in zip(node.attrs["branches"], named, strict=True)
    )
    names = tuple(tuple(_there(g, n[i]) for i in left) for g, n in zip(graphs, named, strict=True))
    inputs = (node.inputs[0], *(node.inputs[i + 1] for i in left))
    edit.put(node.name, node.op, inputs, {**node.attrs, "branches": graphs, "branch_inputs": names})


def _with(graph: Graph, constants: dict[str, Literal]) -> Graph:
    """The graph with placeholders replaced by constants, and without what nothing needs."""
    needed = reachable(graph)
    nodes: dict[str, Node] = {}
    for name, node in graph.nodes.items():
        if name in needed or node.op == "Placeholder":
            literal = constants.get(name)
            if literal is not None:
                attrs = {"value": literal, "dtype": literal.dtype}
                node = Node(name, "Const", (), attrs, (literal.type,))
            nodes[name] = (
                node if not node.control else replace(node, control=tuple(c for c in node.control if c in needed))
            )
    return Graph(nodes, graph.outputs, graph.targets)


def _there(graph: Graph, name: str) -> str:
    """The name of a placeholder; '' for one that was nobody's."""
    return name if name in graph.nodes else ""


def _taken(node: Node, index: Literal) -> int:
    """The number of the branch."""
    value, count = index.array(), len(node.attrs["branches"])
    if not node.attrs.get("index"):
        return int(bool(value.reshape(-1)[0]) if value.ndim == 0 else value.size > 0)
    at = int(value.reshape(-1)[0])
    return at if 0 <= at < count else count - 1


def _typed(node: Node, index: Literal) -> bool:
    """Whether all of the branch that is taken can run; what cannot says so when it is run."""
    graph: Graph = node.attrs["branches"][_taken(node, index)]
    needed = reachable(graph)
    inner = [n for n in graph if n.name in needed]
    return all(n.op in OPDEFS and UNKNOWN not in (t.dtype for t in n.outputs) for n in inner)


def _open(edit: Rewriter, node: Node, index: Literal) -> None:
    """The nodes of the branch that is taken, as 'branch/inner'."""
    at = _taken(node, index)
    graph = legalize(node.attrs["branches"][at])
    ports = {Port(n): p for n, p in zip(node.attrs["branch_inputs"][at], node.inputs[1:], strict=True)}
    needed = reachable(graph)
    for name, inner in graph.nodes.items():
        if name not in needed or Port(name) in ports:
            continue
        new = edit.fresh(f"{node.name}/{name}")
        inputs = tuple(ports[p] for p in inner.inputs)
        if inner.op == "Const":
            ports[Port(name)] = edit.constant(new, inner.attrs["value"])
            continue
        made = edit.put(new, inner.op, inputs, inner.attrs)
        ports.update((Port(name, i), p) for i, p in enumerate(made.ports))
    for i, port in enumerate(graph.outputs):
        if edit.used(Port(node.name, i)):
            edit.redirect(Port(node.name, i), ports[port])
