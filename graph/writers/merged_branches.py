"""Switch and Merge as branches with graphs of their own, where only a run knows the predicate.

Between the Switches of a predicate and a Merge stand the two sides of a branch. They become the graphs of a KiBranch, which
reads the rest from outside. Merges come in the order of the graph, so a branch inside of a side is a node by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from ...kernels.tensor import TensorType
from ..errors import GraphError
from ..ir import UNKNOWN, Graph, Literal, Node, Port, topological_order

__all__ = ["lifted"]

_SWITCHES = frozenset(["Switch", "RefSwitch"])
_MERGES = frozenset(["Merge", "RefMerge"])
#: Bytes of a constant that each side has of its own.
_SMALL = 256
_HANDS_ON = frozenset(["Identity", "StopGradient", "Snapshot", "PreventGradient"])


def lifted(nodes: Mapping[str, Node], ends: Sequence[Port], fed: Sequence[Port]) -> dict[str, Node]:
    """The nodes that ``ends`` need, in order, with a KiBranch for each Merge. ``fed``: what the graph begins with.

    Raises GraphError for a Merge that is not the end of a branch, and for what hangs on one side of a branch.
    """
    work = _Lift(nodes, {p.node for p in fed})
    for name in topological_order(_needed(nodes, ends, work.fed, control=True)):
        if work.nodes[name].op in _MERGES and name not in work.fed:
            work.merge(work.nodes[name])
    made = _needed(work.nodes, ends, work.fed, control=False)
    for node in made.values():
        if node.op in _SWITCHES | _MERGES and node.name not in work.fed:
            raise GraphError(
                f"ONNX: {node.op} '{node.name}': what follows is on one side of a branch that only a run chooses; name outputs "
                "behind its Merge, or freeze the graph with a constant predicate"
            )
    return made


def _needed(nodes: Mapping[str, Node], ends: Sequence[Port], fed: set[str], control: bool) -> dict[str, Node]:
    """The nodes that ports need, without control edges; these lead to nodes, too, if ``control``."""
    kept: dict[str, Node] = {}
    stack = [p.node for p in ends]
    while stack:
        name = stack.pop()
        if name in kept:
            continue
        node = nodes[name]
        kept[name] = replace(node, control=node.control if control else ())
        if name not in fed:
            stack += [p.node for p in node.inputs]
            stack += node.control if control else ()
    return kept


class _Lift:
    """``nodes``: of the graph, with what the Merges have become."""

    def __init__(self, nodes: Mapping[str, Node], fed: set[str]) -> None:
        self.nodes, self.fed = dict(nodes), fed

    def merge(self, node: Node) -> None:
        sides = [self._sides(p) for p in node.inputs]
        if len(sides) != 2:
            raise _irregular(node, f"it has {len(sides)} inputs, expected 2")
        both = [p for p in {**sides[0], **sides[1]} if self._opposite(sides, p)]
        if not both:
            raise _irregular(node, "no one predicate chooses between its inputs")
        predicate = both[0]  # the nearest one
        first = sides[0].get(predicate)
        true = (0 if first else 1) if first is not None else (1 if sides[1][predicate] else 0)
        self._replace(node, predicate, [node.inputs[1 - true], node.inputs[true]], [1 - true, true])

    @staticmethod
    def _opposite(sides: Sequence[Mapping[Port, bool | None]], p: Port) -> bool:
        a, b = sides[0].get(p), sides[1].get(p)
        return (a is None) != (b is None) if p not in sides[0] or p not in sides[1] else a is not None and a is not b

    def _sides(self, port: Port) -> dict[Port, bool | None]:
        """Predicates of the Switches that a port hangs on, nearest first: on which side, None if on both."""
        found: dict[Port, bool | None] = {}
        seen, queue = {port}, [port]
        while queue:
            at = queue.pop(0)
            node = self.nodes[at.node]
            if at.node in self.fed:
                continue
            if node.op in _SWITCHES:
                predicate, side = self._root(node.inputs[1]), bool(at.index)
                found[predicate] = side if found.get(predicate, side) == side else None
                nexts = [node.inputs[0]]
            else:
                nexts = [*node.inputs, *(Port(c) for c in node.control)]
            for p in nexts:
                if p not in seen:
                    seen.add(p)
                    queue.append(p)
        return found

    def _root(self, port: Port) -> Port:
        """What a predicate is a copy of."""
        while self.nodes[port.node].op in _HANDS_ON and port.node not in self.fed:
            port = self.nodes[port.node].inputs[0]
        return port

    def _depends(self, predicate: Port) -> set[str]:
        """Nodes behind a Switch of this predicate."""
        found: set[str] = set()
        for node in topological_order(self.nodes).values():
            own = node.op in _SWITCHES and node.name not in self.fed and self._root(node.inputs[1]) == predicate
            if own or (node.name not in self.fed and any(p.node in found for p in node.inputs)):
                found.add(node.name)
        return found

    def _replace(self, node: Node, predicate: Port, ports: Sequence[Port], places: Sequence[int]) -> None:
        """The Merge as a KiBranch of two graphs; ``ports``, ``places``: its inputs and their numbers, of the false side first."""
        behind = self._depends(predicate)
        outside: dict[Port, str] = {}
        graphs = [self._side(port, predicate, behind, outside, bool(i)) for i, port in enumerate(ports)]
        names, branches = tuple(outside.values()), []
        for (nodes, end), place in zip(graphs, places, strict=True):
            for port, name in outside.items():
                kind = self.nodes[port.node].outputs[port.index]
                nodes[name] = Node(
                    name, "Placeholder", (), MappingProxyType({"dtype": kind.dtype, "shape": kind.shape}), (kind,)
                )
            number = np.array(place, np.int32)
            which = Node(
                "which", "Const", (), MappingProxyType({"value": Literal.of(number), "dtype": number.dtype}),
                (TensorType(number.dtype, ()),),
            )  # fmt: skip
            while which.name in nodes:
                which = replace(which, name=f"{which.name}_")
            nodes[which.name] = which
            branches.append(Graph(topological_order(nodes), (end, Port(which.name))))
        types = [self.nodes[p.node].outputs[p.index] for p in outside]
        if any(t.dtype == UNKNOWN for t in types):
            raise _irregular(node, "a side reads a value of unknown element type")
        attrs = {"branches": tuple(branches), "branch_inputs": (names, names), "index": False}
        self.nodes[node.name] = Node(
            node.name, "KiBranch", (predicate, *outside), MappingProxyType(attrs), node.outputs
        )  # fmt: skip

    @staticmethod
    def _small(node: Node) -> bool:
        """A constant that a side has itself: axes and shapes say what types the side makes."""
        value = node.attrs.get("value") if node.op == "Const" else None
        return isinstance(value, Literal) and value.nbytes <= _SMALL

    def _side(
        self, port: Port, predicate: Port, behind: set[str], outside: dict[Port, str], side: bool
    ) -> tuple[dict[str, Node], Port]:
        """The nodes of one side and its result. ``outside``: what is read from elsewhere -> its name there; added to."""
        made: dict[str, Node] = {}

        def given(p: Port) -> Port:
            if p not in outside:
                name = f"outside_{len(outside)}"
                while name in self.nodes or name in outside.values():
                    name += "_"
                outside[p] = name
            return Port(outside[p])

        def inside(p: Port) -> Port:
            node = self.nodes[p.node]
            if p.node not in behind:
                return Port(p.node) if self._small(node) else given(p)
            if node.op in _SWITCHES and self._root(node.inputs[1]) == predicate:
                if bool(p.index) != side:
                    raise _irregular(node, "what the other side gets is read")
                return inside(node.inputs[0])
            return Port(p.node, p.index)

        stack = [inside(port)]
        end = stack[0]
        while stack:
            p = stack.pop()
            if p.node in made or p.node in outside.values():
                continue
            node = self.nodes[p.node]
            inputs = tuple(inside(q) for q in node.inputs)
            made[p.node] = replace(node, inputs=inputs, control=())
            stack += inputs
        return made, end


def _irregular(node: Node, why: str) -> GraphError:
    return GraphError(
        f"ONNX: {node.op} '{node.name}' cannot be written as a branch: {why}; freeze the graph with a constant predicate"
    )
