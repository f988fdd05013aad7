"""The links of a picture: which box passes data to which, and what is outside the picture's scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .. import ir
from .text import label_of_type

__all__ = ["Edge", "Link", "Links", "edges_of"]

#: More tensors than this between two boxes are one link.
_SEPARATE = 3
#: More nodes than this outside of the scope, on either side, share one box.
_MOST_OUTSIDE = 16


@dataclass(frozen=True, slots=True)
class Link:
    """Data (or, with ``control``, order only) that goes from one box to another; indices into Scene.boxes."""

    source: int
    target: int
    label: str = ""
    port: str = ""
    control: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """One input of one node; ``port`` None: a control input."""

    source: str
    target: str
    port: ir.Port | None


def edges_of(graph: ir.Graph, hidden: Iterable[str]) -> tuple[dict[str, list[Edge]], dict[str, list[Edge]]]:
    """The edges by target and by source; those of ``hidden`` nodes are left out."""
    hidden = frozenset(hidden)
    inputs: dict[str, list[Edge]] = {}
    outputs: dict[str, list[Edge]] = {}
    for node in graph:
        if node.name in hidden:
            continue
        edges = [Edge(port.node, node.name, port) for port in node.inputs]
        edges += [Edge(name, node.name, None) for name in node.control]
        for edge in edges:
            if edge.source not in hidden:
                inputs.setdefault(edge.target, []).append(edge)
                outputs.setdefault(edge.source, []).append(edge)
    return inputs, outputs


class Links:
    """Collects the links of one picture. ``home``: node -> box, for the nodes inside; other nodes get boxes appended to these."""

    def __init__(self, graph: ir.Graph, home: Mapping[str, int], inside: int) -> None:
        self._graph, self._home, self._next = graph, home, inside
        self._outside: dict[tuple[str, bool], int] = {}
        self._count = {True: 0, False: 0}
        self._shared: dict[bool, int] = {}
        #: Per outside box: the nodes that it stands for, and whether it is a source.
        self.outside: dict[int, tuple[list[str], bool]] = {}
        self._tensors: dict[tuple[int, int], dict[ir.Port | None, None]] = {}

    def add(self, edge: Edge) -> None:
        """Draws an edge of which at least one end is inside."""
        source, target = self._box(edge.source, True), self._box(edge.target, False)
        if source != target:
            self._tensors.setdefault((source, target), {})[edge.port] = None

    def _box(self, name: str, is_source: bool) -> int:
        if name in self._home:
            return self._home[name]
        key = (name, is_source)
        if key not in self._outside:
            self._count[is_source] += 1
            if self._count[is_source] <= _MOST_OUTSIDE:
                box = self._new_box(is_source)
            else:
                if is_source not in self._shared:
                    self._shared[is_source] = self._new_box(is_source)
                box = self._shared[is_source]
            self._outside[key] = box
            self.outside[box][0].append(name)
        return self._outside[key]

    def _new_box(self, is_source: bool) -> int:
        self._next += 1
        self.outside[self._next - 1] = ([], is_source)
        return self._next - 1

    def all(self) -> tuple[Link, ...]:
        """The links in the order of their first edge; many tensors between two boxes are one link."""
        links: list[Link] = []
        for (source, target), ports in self._tensors.items():
            data = [port for port in ports if port is not None]
            if len(data) > _SEPARATE:
                links.append(Link(source, target, f"{len(data):,} tensors", f"*{target}"))
            else:
                links += [Link(source, target, self._label(port), str(port)) for port in data]
            if None in ports and not data:
                links.append(Link(source, target, control=True))
        return tuple(links)

    def _label(self, port: ir.Port) -> str:
        outputs = self._graph.nodes[port.node].outputs
        return label_of_type(outputs[port.index]) if port.index < len(outputs) else "?"
