"""A graph as one self-contained SVG: no scripts, no fonts, no references to other files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .heat import Cost, Heat, time_text
from .layout import Layout, Place, layered_layout
from .links import Link
from .scene import Album, AnyGraph, Box, Scene
from .style import FAMILIES, Family, family_of
from .text import elide, short_name, text_width, xml

__all__ = ["scene_svg", "to_svg"]

_TITLE, _SMALL, _PAD, _MARGIN = 12.5, 10.5, 9.0, 22.0
_NAME_LIMIT, _TIP_LIMIT = 34, 400
_LEGEND_ROW = 18.0

_CSS = """
text { font-family: Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif; fill: #1d2530; }
.op { font-weight: 600; font-size: 12.5px; }
.name { font-size: 10.5px; fill: #4c5665; }
.line { font-size: 10.5px; font-family: Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace; fill: #39424f; }
.shape { font-size: 9.5px; fill: #3d4a5c; stroke: #fff; stroke-width: 3px; stroke-linejoin: round; paint-order: stroke; }
.edge { fill: none; stroke: #8893a3; stroke-width: 1.2; }
.control { stroke-dasharray: 4 3; stroke: #b0b8c4; }
.legend { font-size: 10.5px; fill: #4c5665; }
.heat .name, .heat .line, .heat .legend { fill: #1d2530; }
.heading { font-size: 15px; font-weight: 600; }
"""


def to_svg(
    graph: AnyGraph,
    *,
    values: Mapping[str, Any] | None = None,
    title: str | None = None,
    max_boxes: int = 60,
    costs: Mapping[str, Cost] | None = None,
) -> str:
    """Draws a graph, data flowing from top to bottom.

    A box is an operation, coloured by family; edges say their tensor's shape (``?`` for an unknown size, the element
    type where it is not float32); dashed edges are control dependencies. In graphs of more than 40 nodes constants
    are lines inside the boxes that read them, and where the picture would have more than ``max_boxes`` boxes, name
    scopes are collapsed to one box each.

    values: operation or tensor name -> array (or text) that is shown in the operation's box, such as results of a run.
    costs: operation name -> what it cost; boxes are then coloured by time instead of by family.
    Raises GraphError for graphs of more than 100,000 nodes.
    """
    return scene_svg(Album.of(graph, values, max_boxes, costs).scene(), title)


def scene_svg(scene: Scene, title: str | None = None) -> str:
    """One scene as SVG text. Boxes are groups with class ``box`` and their name in ``data-key``."""
    looks = [_Look.of(box) for box in scene.boxes]
    edges = [(link.source, link.target) for link in scene.links]
    fed = {target for _, target in edges}
    sinking = frozenset(i for i in range(len(looks)) if i not in fed)
    layout = layered_layout([(look.width, look.height) for look in looks], edges, sinking)
    legend = _legend(scene.boxes) if scene.heat is None else _heat_legend(scene.heat)
    # A legend of families is below the picture, one of times above it: tall pictures are read from the top.
    above = scene.heat is not None
    css = ' class="heat"' if above else ""
    head = (26.0 if title else 0.0) + (legend.height if above else 0.0)
    width = max(layout.width, legend.width, text_width(title or "", 15)) + 2 * _MARGIN
    height = head + layout.height + (0.0 if above else legend.height) + 2 * _MARGIN
    legend_at = _MARGIN + (head - legend.height + 2 if above else height - 2 * _MARGIN - legend.height + 14)
    shift = (width - layout.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"{css}>',
        f"<style>{_CSS}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.8 L8 4 L0 7.2 z" fill="#8893a3"/></marker></defs>',
        '<rect class="paper" width="100%" height="100%" fill="#fff"/>',
    ]
    if title:
        parts.append(f'<text class="heading" x="{_MARGIN}" y="{_MARGIN + 6}">{xml(elide(title, 160))}</text>')
    parts.append(f'<g transform="translate({shift:.1f} {_MARGIN + head:.1f})">')
    paths, labels = _draw_links(scene, layout, looks)
    parts += paths
    parts += [
        _draw_box(box, look, at, scene.heat) for box, look, at in zip(scene.boxes, looks, layout.nodes, strict=True)
    ]
    parts += labels
    parts.append("</g>")
    parts.append(f'<g transform="translate({_MARGIN} {legend_at:.1f})">{legend.text}</g>')
    parts.append("</svg>\n")
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Look:
    """A box's texts and size."""

    head: str
    name: str
    lines: tuple[str, ...]
    width: float
    height: float

    @classmethod
    def of(cls, box: Box) -> _Look:
        if box.op == "outside":
            head, name = "", short_name(box.title, _NAME_LIMIT + 8)
        elif box.is_scope:
            head, name = short_name(box.title, _NAME_LIMIT), ""
        else:
            head, name = elide(box.op, _NAME_LIMIT), short_name(box.title, _NAME_LIMIT)
        widest = max(
            text_width(head, _TITLE) * 1.06,
            text_width(name, _SMALL),
            *(text_width(line, _SMALL, mono=True) for line in box.lines),
            0.0,
        )
        rows = (17.0 if head else 0.0) + (14.0 if name else 0.0) + 14.0 * len(box.lines)
        return cls(head, name, box.lines, max(widest + 2 * _PAD, 44.0), rows + 2 * _PAD - 4)


def _draw_box(box: Box, look: _Look, at: Place, heat: Heat | None) -> str:
    family = family_of(box.op)
    fill, stroke = (family.fill, family.stroke) if heat is None else heat.paint(box.seconds)
    left, top = at.x - look.width / 2, at.y - look.height / 2
    tip = box.key.rstrip("/") if box.is_scope or box.op == "outside" else f"{box.op}  {box.key}"
    rect = f'x="{left:.1f}" y="{top:.1f}" width="{look.width:.1f}" height="{look.height:.1f}"'
    paint = f'fill="{fill}" stroke="{stroke}"'
    kind = "scope" if box.is_scope else "outside" if box.op == "outside" else "node"
    parts = [f'<g class="box {kind}" data-key="{xml(box.key)}"><title>{xml(elide(tip, _TIP_LIMIT))}</title>']
    if box.is_scope:
        back = f'x="{left + 4:.1f}" y="{top + 4:.1f}" width="{look.width:.1f}" height="{look.height:.1f}"'
        parts.append(f'<rect {back} rx="5" {paint}/>')
    round_ = look.height / 2 if box.op == "outside" or family.name in ("constant", "input") else 5.0
    dash = ' stroke-dasharray="3 3"' if box.op == "outside" else ""
    parts.append(f'<rect class="body" {rect} rx="{min(round_, 14):.1f}" {paint}{dash}/>')
    y = top + _PAD - 2
    for css, text, step in (
        ("op", look.head, 17.0),
        ("name", look.name, 14.0),
        *(("line", line, 14.0) for line in look.lines),
    ):
        if text:
            y += step
            parts.append(f'<text class="{css}" x="{at.x:.1f}" y="{y - 4:.1f}" text-anchor="middle">{xml(text)}</text>')
    return "".join(parts) + "</g>"


def _draw_links(scene: Scene, layout: Layout, looks: Sequence[_Look]) -> tuple[list[str], list[str]]:
    starts = _exits(scene, layout, looks)
    ends = _entries(scene, layout, looks)
    paths, labels = [], []
    labelled: set[tuple[int, str]] = set()
    for number, link in enumerate(scene.links):
        source, target = layout.nodes[link.source], layout.nodes[link.target]
        y0, y1 = source.y + looks[link.source].height / 2, target.y - looks[link.target].height / 2 - 1
        points = [(starts[number], y0)]
        if y0 > y1:  # a reversed edge: leave upwards, arrive from below
            y0, y1 = source.y - looks[link.source].height / 2, target.y + looks[link.target].height / 2 + 1
            points = [(starts[number], y0)]
            for place in layout.edges[number]:
                points += [(place.x, place.bottom), (place.x, place.top)]
        else:
            points.append((starts[number], source.bottom))
            for place in layout.edges[number]:
                points += [(place.x, place.top), (place.x, place.bottom)]
            points.append((ends[number], min(target.top, y1)))
        points.append((ends[number], y1))
        css = "edge control" if link.control else "edge"
        paths.append(f'<path class="{css}" d="{_curve(points)}" marker-end="url(#tip)"/>')
        if link.label and (link.source, link.port) not in labelled:
            labelled.add((link.source, link.port))
            x, y = starts[number] + 4, max(y0, source.bottom) + (15 if scene.boxes[link.source].is_scope else 11)
            labels.append(f'<text class="shape" x="{x:.1f}" y="{y:.1f}">{xml(link.label)}</text>')
    return paths, labels


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth way through the points that is vertical at each of them."""
    x, y = points[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in points[1:]:
        if abs(next_x - x) < 0.05:
            if abs(next_y - y) >= 0.05:
                parts.append(f"V{next_y:.1f}")
        else:
            middle = (y + next_y) / 2
            parts.append(f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
    return "".join(parts)


def _exits(scene: Scene, layout: Layout, looks: Sequence[_Look]) -> list[float]:
    """x at which each link leaves its box: one position per output, so a tensor that is read twice leaves at one position."""
    ports: dict[int, dict[str, list[int]]] = {}
    for number, link in enumerate(scene.links):
        ports.setdefault(link.source, {}).setdefault(link.port, []).append(number)
    result = [0.0] * len(scene.links)
    for source, by_port in ports.items():
        groups = sorted(
            by_port.values(),
            key=lambda numbers: sum(_first_x(layout, scene.links[n], n) for n in numbers) / len(numbers),
        )
        for at, numbers in zip(_spread(layout.nodes[source].x, looks[source].width, len(groups)), groups, strict=True):
            for number in numbers:
                result[number] = at
    return result


def _entries(scene: Scene, layout: Layout, looks: Sequence[_Look]) -> list[float]:
    """x at which each link enters its box: in the order of inputs where these are few, else in the order of sources."""
    incoming: dict[int, list[int]] = {}
    for number, link in enumerate(scene.links):
        incoming.setdefault(link.target, []).append(number)
    result = [0.0] * len(scene.links)
    for target, numbers in incoming.items():
        if len(numbers) > 3 or scene.boxes[target].op in ("scope", "outside"):
            numbers.sort(
                key=lambda n: layout.edges[n][-1].x if layout.edges[n] else layout.nodes[scene.links[n].source].x
            )
        places = _spread(layout.nodes[target].x, looks[target].width, len(numbers))
        for at, number in zip(places, numbers, strict=True):
            result[number] = at
    return result


def _first_x(layout: Layout, link: Link, number: int) -> float:
    return layout.edges[number][0].x if layout.edges[number] else layout.nodes[link.target].x


def _spread(x: float, width: float, count: int) -> list[float]:
    step = min(width / (count + 1), 34.0)
    return [x + (i - (count - 1) / 2) * step for i in range(count)]


@dataclass(frozen=True, slots=True)
class _Legend:
    text: str
    width: float
    height: float


def _legend(boxes: Sequence[Box]) -> _Legend:
    """The families that occur, in rows of up to six."""
    used = {family_of(box.op) for box in boxes}
    shown: list[Family] = [family for family in FAMILIES if family in used]
    parts, widest, x, y = [], 0.0, 0.0, 0.0
    for i, family in enumerate(shown):
        if i and i % 6 == 0:
            x, y = 0.0, y + _LEGEND_ROW
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="12" height="12" rx="3" fill="{family.fill}" '
            f'stroke="{family.stroke}"/><text class="legend" x="{x + 17:.1f}" y="{y + 10:.1f}">{family.name}</text>'
        )
        x += 17 + text_width(family.name, _SMALL) + 18
        widest = max(widest, x)
    return _Legend("".join(parts), widest, y + _LEGEND_ROW + 10 if shown else 0.0)


def _heat_legend(heat: Heat) -> _Legend:
    """The scale from no time to the most that a box of this picture took."""
    colours, step = heat.ramp(24), 9.0
    parts = ['<text class="legend" x="0" y="10">time of a box:  0</text>']
    x = text_width("time of a box:  0", _SMALL) + 8
    parts += [
        f'<rect x="{x + i * step:.1f}" y="0" width="{step + 0.3:.1f}" height="12" fill="{colour}"/>'
        for i, colour in enumerate(colours)
    ]
    parts.append(
        f'<rect x="{x:.1f}" y="0" width="{len(colours) * step:.1f}" height="12" fill="none" stroke="#8a5a3c" stroke-width="0.6"/>'
    )
    x += len(colours) * step + 8
    text = f"{time_text(heat.most)},  all steps: {time_text(heat.total)};  grey: no time of its own"
    parts.append(f'<text class="legend" x="{x:.1f}" y="10">{text}</text>')
    return _Legend("".join(parts), x + text_width(text, _SMALL), _LEGEND_ROW + 10)
