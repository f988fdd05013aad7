"""The one helper through which passes edit a graph: it re-infers types, refuses changes of type, and sorts again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..kernels.contracts.base import merge_shapes
from ..kernels.tensor import TensorType
from .errors import GraphError
from .ir import UNKNOWN, Graph, Literal, Node, Port, topological_order
from .opdefs import OPDEFS, is_small, site_of

__all__ = ["Rewriter", "infer_again", "infer_node", "reachable"]


def infer_node(
    node: Node,
    type_of: Callable[[Port], TensorType],
    value_of: Callable[[Port], np.ndarray[Any, Any] | None],
) -> tuple[TensorType, ...]:
    """Output types of a node from its inputs' types; ops that kigraph does not know keep theirs."""
    definition, site = OPDEFS.get(node.op), site_of(node, type_of, value_of)
    if definition is None or any(t.dtype == UNKNOWN for t in site.inputs):
        return node.outputs
    return definition.types(site)


def infer_again(
    graph: Graph,
    node: Node,
    types: Mapping[Port, TensorType],
    type_of: Callable[[Port], TensorType],
    value_of: Callable[[Port], np.ndarray[Any, Any] | None],
) -> tuple[TensorType, ...]:
    """Output types of a node of ``graph`` whose inputs now have ``types``; not inferred again where nothing changed."""
    definition = OPDEFS.get(node.op)
    # A pass may have given a node an input of better known type, so only outputs of known type are not inferred again.
    same = (
        definition is not None
        and definition.by_types
        and all(t.known for t in node.outputs)
        and all(types.get(p) == graph.type_of(p) for p in node.inputs)
    )
    return node.outputs if same else infer_node(node, type_of, value_of)


def reachable(graph: Graph) -> set[str]:
    """Names of the nodes that the graph's outputs and targets need, through data edges."""
    seen: set[str] = set()
    stack = [p.node for p in graph.outputs] + list(graph.targets)
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack.extend(p.node for p in graph.nodes[name].inputs)
    return seen


class Rewriter:
    """Collects edits of a graph; ``finish`` gives the new one, without nodes that are no longer needed."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._outputs = frozenset(graph.outputs)
        self._nodes: dict[str, Node] = dict(graph.nodes)
        self._edited = False
        self._moved: dict[Port, Port] = {}
        self._uses: dict[Port, int] = {}
        for node in graph:
            for port in node.inputs:
                self._uses[port] = self._uses.get(port, 0) + 1
        for port in graph.outputs:
            self._uses[port] = self._uses.get(port, 0) + 1

    def current(self, port: Port) -> Port:
        """Where a port's value comes from after the edits so far."""
        moved = self._moved
        end = port
        while end in moved:
            end = moved[end]
        while port != end:  # path compression: later look-ups take one step
            moved[port], port = end, moved[port]
        return end

    def node(self, name: str) -> Node:
        """A node as it is now, with its inputs redirected."""
        node = self._nodes[name]
        inputs = tuple(self.current(p) for p in node.inputs)
        return node if inputs == node.inputs else replace(node, inputs=inputs)

    def source(self, port: Port) -> Node:
        """The node that produces a port."""
        return self.node(self.current(port).node)

    def type_of(self, port: Port) -> TensorType:
        port = self.current(port)
        return self._nodes[port.node].outputs[port.index]

    def literal(self, port: Port) -> Literal | None:
        """The constant of a port, if there is one."""
        node = self._nodes[self.current(port).node]
        return node.attrs["value"] if node.op == "Const" else None

    def value(self, port: Port) -> np.ndarray[Any, Any] | None:
        """The value of a small constant."""
        literal = self.literal(port)
        return literal.array() if literal is not None and is_small(literal) else None

    def only_use(self, port: Port) -> bool:
        """True if one node reads the port once, and it is not an output of the graph."""
        return self._uses.get(port, 0) == 1 and port not in self._outputs

    def used(self, port: Port) -> bool:
        """True if something reads the port or wants it."""
        return self._uses.get(port, 0) > 0 and port not in self._moved

    def constant(self, name: str, literal: Literal) -> Port:
        """Adds a constant, or returns the same one; a name that another node of the graph has gets a number."""
        base, number = name, 0
        while (old := self._nodes.get(name)) is not None:
            if old.op == "Const" and old.attrs["value"].key == literal.key:
                return Port(name)
            number += 1
            name = f"{base}_{number}"
        self._edited = True
        self._nodes[name] = Node(name, "Const", (), {"value": literal, "dtype": literal.dtype}, (literal.type,))
        return Port(name)

    def fresh(self, name: str) -> str:
        """The name, with a number if another node has it."""
        base, number = name, 0
        while name in self._nodes:
            number += 1
            name = f"{base}_{number}"
        return name

    def replace_by_constant(self, name: str, literal: Literal) -> None:
        """Turns a node with one output into a constant of the same type."""
        _require_same(f"pass replaces {self._nodes[name]} by a constant", self._nodes[name].outputs, (literal.type,))
        self._edited = True
        self._nodes[name] = Node(name, "Const", (), {"value": literal, "dtype": literal.dtype}, (literal.type,))

    def put(self, name: str, op: str, inputs: tuple[Port, ...], attrs: Mapping[str, Any]) -> Node:
        """Adds a node or replaces the one of that name; a replacement must keep the types of the outputs."""
        node = Node(name, op, tuple(self.current(p) for p in inputs), attrs)
        types = infer_node(node, self.type_of, self.value)
        old = self._nodes.get(name)
        if old is not None:
            kept = max((i + 1 for i, p in enumerate(old.ports) if self.used(p)), default=0)
            _require_same(f"pass replaces {old} by {op}", old.outputs[:kept], types)
        node = replace(node, outputs=types)
        self._edited = True
        self._nodes[name] = node
        for port in node.inputs:
            self._uses[port] = self._uses.get(port, 0) + 1
        return node

    def redirect(self, old: Port, new: Port) -> None:
        """Everything that reads ``old`` reads ``new`` instead."""
        new = self.current(new)
        _require_same(f"pass redirects {old} to {new}", [self.type_of(old)], [self.type_of(new)])
        if new == old:
            raise GraphError(f"pass redirects {old} to itself")
        self._edited = True
        self._moved[old] = new
        self._uses[new] = self._uses.get(new, 0) + self._uses.get(old, 0) - 1

    def finish(self) -> Graph:
        """The graph after the edits, sorted, without what is not needed; the same graph if there were none."""
        if not self._edited:
            return self._graph
        nodes = {name: self.node(name) for name in self._nodes}
        outputs = tuple(self.current(p) for p in self._graph.outputs)
        graph = Graph(nodes, outputs, self._graph.targets)
        needed = reachable(graph)
        return Graph(topological_order({n: node for n, node in nodes.items() if n in needed}), outputs, graph.targets)


def _require_same(what: str, old: Any, new: Any) -> None:
    if len(old) > len(new):
        raise GraphError(f"{what}: {len(old)} outputs became {len(new)}")
    for a, b in zip(old, new, strict=False):
        if a.dtype != b.dtype and UNKNOWN not in (a.dtype, b.dtype):
            raise GraphError(f"{what}: {a} became {b}")
        merge_shapes(what, a.shape, b.shape)
