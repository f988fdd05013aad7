"""Stages: parts of a graph whose shapes are known together.

An op whose output shape depends on values (decoding an image) ends a stage, and so does an op that needs the value of
a computed tensor (a shape). What is fully known from the feeds' types alone is kept apart from what is not, so that
the big static part of a network is compiled once, whatever sizes the decoded images have.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...kernels.records import dataclass
from ...kernels.tensor import TensorType
from ..errors import GraphError
from ..ir import Graph, Node, Port
from ..opdefs import STAGED, Known, NeedsValue, opdef, resolve
from ..rewrite import infer_again

__all__ = ["Part", "partition"]


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes of one stage in order. ``dynamic``: one op whose output shapes are known only after it ran.

    ``values``: inputs whose values decide shapes or parameters; they belong to the key of a compiled stage. ``together``: a
    batch is not run image by image.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    values: tuple[Port, ...]
    dynamic: bool
    static: bool
    together: bool = False


def partition(graph: Graph, feed_types: Mapping[Port, TensorType]) -> tuple[Part, ...]:
    """Splits a cut and optimised graph into stages, in the order in which they run."""
    known = Known({}, {})
    types = known.types
    depth: dict[str, tuple[int, str]] = {}
    needs: dict[str, tuple[Port, ...]] = {}
    for node in graph:
        if node.op == "Const":
            known.add(Port(node.name), node.attrs["value"])
            continue
        if node.op in ("Placeholder", "VariableV2"):
            types[Port(node.name)] = feed_types.get(Port(node.name), node.outputs[0])
            continue
        outputs = infer_again(graph, node, types, types.__getitem__, known.values.get)
        types.update(zip(node.ports, outputs, strict=False))
        kind, wanted = _kind(node, known)
        needs[node.name] = wanted
        _refuse_large(graph, node, wanted)
        level = 0
        for port in node.inputs:
            if port.node in depth:
                before, other = depth[port.node]
                level = max(level, before + (other != kind or other == "dynamic" or port in wanted))
        depth[node.name] = (level, kind)
    groups: dict[tuple[int, str, str], list[Node]] = {}
    for node in graph:
        if node.name in depth:
            level, kind = depth[node.name]
            groups.setdefault((level, kind, node.name if kind == "dynamic" else ""), []).append(node)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])
    part_of = {node.name: number for number, (_, nodes) in enumerate(ordered) for node in nodes}
    # What is read in another part than its own, or wanted of the graph, is an output of its part.
    outside = set(graph.outputs)
    for node in graph:
        outside.update(p for p in node.inputs if part_of.get(p.node) != part_of.get(node.name))
    return tuple(_part(graph, key[1], nodes, needs, outside) for key, nodes in ordered)


def _refuse_large(graph: Graph, node: Node, wanted: tuple[Port, ...]) -> None:
    """Constants that hold sizes or axes are read at once; one that was not is too large for that."""
    for port in wanted:
        literal = graph.literal(port)
        if literal is not None:
            raise GraphError(
                f"{node}: '{port}' is a constant {literal.type}; expected a few numbers (sizes, axes, bounds)"
            )


def _kind(node: Node, known: Known) -> tuple[str, tuple[Port, ...]]:
    """'static', 'shaped' (shapes known only at run time) or 'dynamic', and the inputs whose values are needed."""
    if node.op in STAGED:
        return "dynamic", ()
    definition = opdef(node.op, node.name)
    wanted = tuple(
        node.inputs[i]
        for i in (j % max(len(node.inputs), 1) for j in definition.values)
        if node.inputs[i] not in known.values
    )
    try:
        resolved = resolve(known.site(node))
    except NeedsValue:
        return ("dynamic" if definition.dynamic else "shaped"), wanted
    if resolved.contract.dynamic:
        return "dynamic", wanted
    # FusedBatchNormV3 has an output of unknown shape that nothing computes.
    made = len(resolved.written())
    ports = (p for i, p in enumerate(node.ports) if i < made or i in resolved.forwarded)
    typed = all(known.types[p].known for p in (*node.inputs, *ports) if p in known.types)
    return ("static" if typed and not wanted else "shaped"), wanted


def _part(
    graph: Graph, kind: str, nodes: list[Node], needs: Mapping[str, tuple[Port, ...]], outside: set[Port]
) -> Part:
    inside = {n.name for n in nodes}
    inputs = dict.fromkeys(
        p for n in nodes for p in n.inputs if p.node not in inside and graph.nodes[p.node].op != "Const"
    )
    outputs = tuple(p for n in nodes for p in n.ports if p in outside)
    values = tuple(dict.fromkeys(p for n in nodes for p in needs[n.name] if p.node not in inside))
    return Part(tuple(nodes), tuple(inputs), outputs, values, kind == "dynamic", kind == "static")
