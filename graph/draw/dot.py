"""A graph as DOT text, for Graphviz and whatever else reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .heat import Cost
from .scene import Album, AnyGraph, Scene
from .style import family_of
from .text import elide, quote_dot

__all__ = ["to_dot"]


def to_dot(
    graph: AnyGraph,
    *,
    values: Mapping[str, Any] | None = None,
    title: str | None = None,
    max_boxes: int = 2000,
    costs: Mapping[str, Cost] | None = None,
) -> str:
    """The graph in the DOT language; arguments as in ``to_svg``, but larger graphs are written out in full.

    Node identifiers are n0, n1, ... in the order of the graph; the names are in the labels and tooltips.
    """
    scene = Album.of(graph, values, max_boxes, costs).scene()
    return _dot(scene, title or "graph")


def _dot(scene: Scene, title: str) -> str:
    lines = [
        f"digraph {quote_dot(elide(title, 160))} {{",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, margin="0.12,0.06"];',
        '  edge [fontname="Helvetica", fontsize=9, color="#8893a3", arrowsize=0.7];',
    ]
    for number, box in enumerate(scene.boxes):
        family = family_of(box.op)
        fill, stroke = (family.fill, family.stroke) if scene.heat is None else scene.heat.paint(box.seconds)
        head = (box.title,) if box.is_scope else (box.op, box.title)
        label = quote_dot(*(elide(text, 80) for text in (*head, *box.lines)))
        extra = ", peripheries=2" if box.is_scope else ""
        lines.append(
            f'  n{number} [label={label}, tooltip={quote_dot(elide(box.key, 400))}, fillcolor="{fill}", '
            f'color="{stroke}"{extra}];'
        )
    for link in scene.links:
        what = "style=dashed" if link.control else f"label={quote_dot(link.label)}"
        lines.append(f"  n{link.source} -> n{link.target} [{what}];")
    return "\n".join([*lines, "}", ""])
