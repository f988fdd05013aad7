"""A graph as a notebook shows it: what goes in and out, and a picture of bounded size."""

from __future__ import annotations

import base64

from .. import ir
from ..hints import ends_text
from .scene import AnyGraph
from .svg import to_svg
from .tables import Markup, block
from .text import clean

__all__ = ["graph_html", "graph_text"]

#: Boxes of the picture; scopes beyond are one box each.
_BOXES = 40
#: Larger graphs get no picture: 20,000 nodes take about a second.
_MOST_NODES = 20_000


def graph_text(graph: AnyGraph) -> str:
    """One line: 'Graph: 1,008 operations, inputs: ..., outputs: ...', at most five names of each."""
    frozen = graph if isinstance(graph, ir.Graph) else graph.freeze()
    count = len(frozen)
    text = f"Graph: {count:,} operation{'' if count == 1 else 's'}"
    return clean(f"{text}; {ends_text(frozen)}" if count else text)


def graph_html(graph: AnyGraph) -> str:
    """The line of ``graph_text`` above the graph's SVG.

    The picture is an image with its data in it: a browser runs no script of an image, and the image's style stays its own.
    """
    frozen = graph if isinstance(graph, ir.Graph) else graph.freeze()
    heading = graph_text(frozen)
    if not len(frozen):
        return block(heading)
    if len(frozen) > _MOST_NODES:
        return block(heading, "too large for a picture here; ki.to_html(graph) makes a page to look around in")
    data = base64.b64encode(to_svg(frozen, max_boxes=_BOXES).encode("utf-8")).decode("ascii")
    picture = Markup(
        f'<div class="part"><img class="picture" alt="the graph" src="data:image/svg+xml;base64,{data}"></div>'
    )
    return block(heading, picture)
