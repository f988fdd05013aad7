"""Drawing graphs: DOT for Graphviz, self-contained SVG, and a self-contained HTML page to look around in.

Map of the folder (arrows of import point down only)::

    dot.py html.py svg.py    the three forms; page.css and page.js are the page's style and behaviour
    layout.py                layered layout of boxes and links (numbers only, knows nothing of graphs)
    scene.py links.py        what one picture shows: boxes, and the links between them
    scopes.py                name scopes as a tree, and which of them stay collapsed
    style.py heat.py         op families and their colours; colours by time
    notebook.py tables.py    what notebooks show: a graph; tables and bars
    text.py                  escaping, shortening, widths
"""

from __future__ import annotations

from .dot import to_dot
from .heat import Cost
from .html import to_html
from .svg import to_svg

__all__ = ["Cost", "to_dot", "to_html", "to_svg"]
