"""What a picture shows: boxes and links, made from a graph.

``Album.of(graph)`` decides which constants are written inside their readers and builds the tree of scopes;
``Album.scene(scope)`` is one picture: the graph, or the inside of one scope with its surroundings in outline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from .. import ir
from ..errors import GraphError
from .heat import Cost, Heat, heat_of
from .links import Edge, Link, Links, edges_of
from .scopes import Scope, build_scopes, open_scopes
from .style import CONSTANT_OPS, family_of
from .text import elide, label_of_type, literal_text, value_text

__all__ = ["MAX_NODES", "Album", "AnyGraph", "Box", "Scene"]


class Freezes(Protocol):
    """A graph under construction, which gives the immutable one as it is now."""

    def freeze(self) -> ir.Graph: ...


AnyGraph: TypeAlias = Freezes | ir.Graph

#: Larger graphs are refused: a picture of them would not be readable.
MAX_NODES = 100_000
#: Up to this number of nodes a constant is a box of its own; in larger pictures it is a line in the boxes that read it.
_SMALL = 40
_LINES = 4
#: Families that a collapsed scope counts: where the time goes.
_HEAVY = ("convolution", "matrix product", "pooling")


@dataclass(frozen=True, slots=True)
class Box:
    """A node, a collapsed scope, or a thing outside of the picture's scope."""

    key: str
    title: str
    op: str
    lines: tuple[str, ...] = ()
    #: Number of nodes that the box stands for; 1 for a node.
    count: int = 1
    #: Seconds that these nodes took, where that is known.
    seconds: float | None = None

    @property
    def is_scope(self) -> bool:
        return self.op == "scope"


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture. ``home`` maps every node of the graph that it stands for to the index of its box."""

    path: str
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    home: Mapping[str, int] = field(default_factory=dict)
    #: The scale of colours by time; None: colours by family.
    heat: Heat | None = None


@dataclass(frozen=True, slots=True)
class Album:
    """A graph made ready to be drawn."""

    graph: ir.Graph
    root: Scope
    budget: int
    #: Constants that are lines in their readers' boxes, with the text of the line.
    inline: Mapping[str, str]
    values: Mapping[str, Any]
    #: Edges by target and by source, without those of ``inline``.
    inputs: Mapping[str, list[Edge]]
    outputs: Mapping[str, list[Edge]]
    #: What nodes cost; None: the picture is not about time.
    costs: Mapping[str, Cost] | None = None

    @classmethod
    def of(
        cls,
        graph: AnyGraph,
        values: Mapping[str, Any] | None = None,
        budget: int = 60,
        costs: Mapping[str, Cost] | None = None,
    ) -> Album:
        """``values``: tensor or operation name -> array or text, shown in the box of its node. ``costs``: by operation."""
        frozen = graph if isinstance(graph, ir.Graph) else graph.freeze()
        if len(frozen) > MAX_NODES:
            raise GraphError(
                f"a graph of {len(frozen):,} nodes is too large to draw; the limit is {MAX_NODES:,}. "
                "Draw a part of it: extract the nodes between two tensors first"
            )
        if budget < 8:
            raise GraphError(f"max_boxes={budget} is too small for a picture; expected 8 or more")
        inline = _constants(frozen) if len(frozen) > _SMALL else {}
        root = build_scopes((node.name for node in frozen if node.name not in inline), budget)
        return cls(frozen, root, budget, inline, values or {}, *edges_of(frozen, inline), costs)

    def scene(self, scope: Scope | None = None) -> Scene:
        """The picture of a scope's inside; by default of the whole graph."""
        scope = scope or self.root
        boxes: list[Box] = []
        home: dict[str, int] = {}
        for item in open_scopes(scope, self.budget):
            if isinstance(item, str):
                home[item] = len(boxes)
                boxes.append(self._node_box(self.graph.nodes[item], scope.path))
            else:
                nodes = item.nodes()
                home.update(dict.fromkeys(nodes, len(boxes)))
                title = _relative(item.path, scope.path)
                boxes.append(
                    Box(item.path + "/", title, "scope", self._contents(nodes), item.count, self._spent(nodes))
                )
        inside = len(boxes)
        heat = None if self.costs is None else heat_of(self.costs, (box.seconds for box in boxes))
        if heat is not None:
            boxes = [b if b.seconds is None else replace(b, lines=(*b.lines, heat.line(b.seconds))) for b in boxes]
        links = self._links(boxes, home)
        return Scene(scope.path, tuple(boxes), links, {n: i for n, i in home.items() if i < inside}, heat)

    def collapsed(self, scope: Scope) -> list[Scope]:
        """The scopes that the picture of ``scope`` shows as one box each."""
        return [item for item in open_scopes(scope, self.budget) if isinstance(item, Scope)]

    def _contents(self, nodes: Sequence[str]) -> tuple[str, ...]:
        families = Counter(family_of(self.graph.nodes[name].op).name for name in nodes)
        heavy = [f"{families[name]} {name}" for name in _HEAVY if families[name]]
        return (f"{len(nodes)} operations", *heavy)

    def _spent(self, nodes: Sequence[str]) -> float | None:
        found = [self.costs[name].seconds for name in nodes if name in self.costs] if self.costs else []
        return sum(found) if found else None

    def _node_box(self, node: ir.Node, scope: str) -> Box:
        lines: list[str] = []
        for port in node.inputs:
            if port.node in self.inline:
                lines.append(self.inline[port.node])
        if len(lines) > _LINES:
            lines[_LINES - 1 :] = [f"and {len(lines) - _LINES + 1} constants more"]
        literal = node.attrs.get("value")
        if isinstance(literal, ir.Literal) and node.name not in self.values:
            lines.append(literal_text(literal))
        for name in (node.name, *map(str, node.ports[:_LINES])):
            if name in self.values:
                lines.append("= " + value_text(self.values[name]))
        if self.costs and node.name in self.costs and self.costs[node.name].note:
            lines.append(self.costs[node.name].note)
        shown, spent = tuple(elide(line, 48) for line in lines), self._spent((node.name,))
        return Box(node.name, _relative(node.name, scope), node.op, shown, seconds=spent)

    def _links(self, boxes: list[Box], home: Mapping[str, int]) -> tuple[Link, ...]:
        """Links between the boxes; adds boxes for what is outside."""
        links = Links(self.graph, home, len(boxes))
        for name in home:
            for edge in self.inputs.get(name, ()):
                links.add(edge)
            for edge in self.outputs.get(name, ()):
                if edge.target not in home:
                    links.add(edge)
        for names, is_source in links.outside.values():
            side = "from" if is_source else "to"
            title = f"{side} {names[0]}" if len(names) == 1 else f"{side} {len(names):,} other operations"
            boxes.append(Box(names[0], title, "outside", count=len(names)))
        return links.all()


def _constants(graph: ir.Graph) -> dict[str, str]:
    """Constants and variables that something reads (through Identity nodes too), with the line that shows them."""
    texts: dict[str, str] = {}
    for node in graph:
        if node.op in CONSTANT_OPS and not node.inputs and node.outputs:
            literal = node.attrs.get("value")
            text = label_of_type(node.outputs[0])
            if isinstance(literal, ir.Literal) and literal.type.size <= 4:
                text = literal_text(literal, 24)
            texts[node.name] = f"{node.name.rpartition('/')[2]} {text}"
        elif node.op in ("Identity", "ReadVariableOp") and len(node.inputs) == 1 and node.inputs[0].node in texts:
            texts[node.name] = texts[node.inputs[0].node]
    read = {port.node for node in graph for port in node.inputs}
    return {name: text for name, text in texts.items() if name in read}


def _relative(name: str, scope: str) -> str:
    return name[len(scope) + 1 :] if scope and name.startswith(scope + "/") else name
