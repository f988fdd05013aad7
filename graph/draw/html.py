"""A graph as one self-contained HTML page: pan, zoom, search, open scopes, click a box for its details.

The page loads nothing: its content security policy allows no connection at all and only the one script that is in it
(by hash). Every name reaches the page as escaped text or as JSON that the script puts into text nodes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from .heat import Cost, time_text
from .scene import Album, AnyGraph
from .scopes import Scope
from .svg import scene_svg
from .text import attribute_text, clean, elide, label_of_type, value_text, xml

__all__ = ["to_html"]

#: Most pictures, and most characters of all of them: scopes beyond are boxes that do not open. Most nodes with details.
_MAX_PAGES = 600
_MAX_PICTURES = 24_000_000
_MAX_DETAILS = 20_000


def to_html(
    graph: AnyGraph,
    *,
    values: Mapping[str, Any] | None = None,
    title: str | None = None,
    max_boxes: int = 60,
    costs: Mapping[str, Cost] | None = None,
) -> str:
    """The graph as a page to look around in; arguments as in ``to_svg``. A collapsed scope opens by a double click."""
    album = Album.of(graph, values, max_boxes, costs)
    name = elide(title or "graph", 160)
    pages, homes = _pages(album)
    data = {"nodes": _details(album, homes), "pages": [path for path, _ in pages], "title": name}
    script, style = _asset("page.js"), _asset("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    count = len(album.graph)
    body = "\n".join(
        f'<section class="page" data-page="{i}"{"" if i == 0 else " hidden"}>{svg}</section>'
        for i, (_, svg) in enumerate(pages)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{xml(name)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{xml(name)}</h1><span id="count">{count:,} operations</span>
<nav id="trail" aria-label="scopes"></nav>
<input id="search" type="search" placeholder="Search operations (/)" autocomplete="off" aria-label="Search operations">
<button id="fit" type="button">Fit</button>
<ul id="found" hidden></ul>
</header>
<main>
<div id="stage">
{body}
</div>
<aside id="details"><p>Click a box for its details, double-click a scope to open it. Drag to move, scroll to zoom.</p></aside>
</main>
<script type="application/json" id="data">{_json(data)}</script>
<script>{script}</script>
</body>
</html>
"""


def _pages(album: Album) -> tuple[list[tuple[str, str]], dict[str, tuple[int, str]]]:
    """Pictures of the graph and of every scope that some picture shows collapsed, outer ones first.

    Also for each node the innermost picture that has it, and the key of its box there.
    """
    pages: list[tuple[str, str]] = []
    homes: dict[str, tuple[int, str]] = {}
    pending: list[Scope] = [album.root]
    seen: set[int] = {id(album.root)}
    size = 0
    while pending and len(pages) < _MAX_PAGES and size < _MAX_PICTURES:
        scope = pending.pop(0)
        scene = album.scene(scope)
        for node, index in scene.home.items():
            homes[node] = (len(pages), scene.boxes[index].key)
        pages.append((clean(scope.path), scene_svg(scene)))
        size += len(pages[-1][1])
        for inner in album.collapsed(scope):
            if id(inner) not in seen:
                seen.add(id(inner))
                pending.append(inner)
    return pages, homes


def _details(album: Album, homes: Mapping[str, tuple[int, str]]) -> list[dict[str, Any]]:
    """What the page says about each node. A constant without a box is found in the box of its first reader."""
    readers: dict[str, list[str]] = {}
    for node in album.graph:
        for port in node.inputs:
            readers.setdefault(port.node, []).append(node.name)
    result = []
    for node in list(album.graph)[:_MAX_DETAILS]:
        near = node.name
        while near not in homes and readers.get(near):
            near = readers[near][0]
        page, key = homes.get(near, (0, ""))
        entry: dict[str, Any] = {
            "name": elide(node.name, 400),
            "op": elide(node.op, 80),
            "page": page,
            "key": clean(key),
            "in": [_port_text(album, str(p), p.node, p.index) for p in node.inputs[:64]],
            "out": [label_of_type(t) for t in node.outputs[:64]],
            "after": [elide(name, 200) for name in node.control[:64]],
            "readers": [elide(name, 200) for name in dict.fromkeys(readers.get(node.name, ()))][:64],
            "attrs": attribute_text(node.attrs),
        }
        shown = [album.values[n] for n in (node.name, *map(str, node.ports[:64])) if n in album.values]
        cost = (album.costs or {}).get(node.name)
        if cost is not None:
            entry["cost"] = f"{time_text(cost.seconds)}  {clean(cost.note)}".rstrip()
        if shown:
            entry["values"] = [value_text(value, 400) for value in shown]
        result.append(entry)
    return result


def _port_text(album: Album, text: str, node: str, index: int) -> list[str]:
    outputs = album.graph.nodes[node].outputs
    return [elide(text, 200), label_of_type(outputs[index]) if index < len(outputs) else "?"]


def _json(data: Any) -> str:
    """JSON that cannot end its script element: all of < > & and the line separators are escapes."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
