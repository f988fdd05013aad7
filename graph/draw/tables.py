"""Tables and bars of HTML for notebooks: no scripts, every text escaped, colours of the page around them.

Lines and backgrounds are half transparent and the text has the page's own colour, so that dark themes stay readable.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from .text import elide, xml

__all__ = ["Markup", "bar", "block", "code", "definitions", "table"]

#: A cell is cut to this many characters.
_MOST_LETTERS = 200

_CSS = """
.kigraph { font: 13px/1.45 system-ui, Helvetica, Arial, sans-serif; color: inherit; }
.kigraph p { margin: .2em 0; }
.kigraph div.part { max-height: 34em; max-width: 100%; overflow: auto; }
.kigraph table { border-collapse: collapse; margin: .3em 0; border: 0; color: inherit; }
.kigraph table th, .kigraph table td { padding: .15em .8em .15em 0; border: 0; border-bottom: 1px solid rgba(128, 128, 128, .35);
  text-align: left; vertical-align: top; color: inherit; background: transparent; white-space: nowrap; }
.kigraph table td.wide { white-space: normal; overflow-wrap: anywhere; min-width: 14em; }
.kigraph table th.number, .kigraph table td.number { text-align: right; font-variant-numeric: tabular-nums; }
.kigraph pre { margin: .2em 0; color: inherit; background: transparent; font-size: 12px; line-height: 1.35; }
.kigraph .track { display: inline-block; width: 9em; height: .8em; border-radius: 2px; background: rgba(128, 128, 128, .25); }
.kigraph .fill { display: block; height: 100%; border-radius: 2px; background: #3d85c6; }
.kigraph img.picture { display: block; max-width: 100%; background: #fff; border-radius: 4px; }
""".replace("\n", " ").strip()


class Markup(str):
    """HTML that is inserted as it is; any other text is escaped."""

    __slots__ = ()


def _cell(value: object, limit: int = _MOST_LETTERS) -> str:
    return value if isinstance(value, Markup) else xml(elide(str(value), limit))


def block(*parts: str) -> str:
    """What an object gives to a notebook: its parts with the style. A part that is no Markup becomes a paragraph."""
    inside = "".join(p if isinstance(p, Markup) else f"<p>{_cell(p, 600)}</p>" for p in parts if p)
    return f'<div class="kigraph"><style>{_CSS}</style>{inside}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[int] = ()) -> Markup:
    """A table that scrolls where it is long. right: columns of numbers, aligned to the right."""
    css = [' class="number"' if i in right else "" for i in range(len(columns))]
    head = "".join(f"<th{c}>{_cell(name)}</th>" for name, c in zip(columns, css, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{c}>{_cell(value)}</td>" for value, c in zip(row, css, strict=True)) + "</tr>"
        for row in rows
    )
    return Markup(f'<div class="part"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')


def definitions(rows: Iterable[tuple[str, object]]) -> Markup:
    """A table of names and values."""
    body = "".join(f'<tr><th>{_cell(name)}</th><td class="wide">{_cell(value, 600)}</td></tr>' for name, value in rows)
    return Markup(f'<div class="part"><table><tbody>{body}</tbody></table></div>')


def bar(share: float) -> Markup:
    """A bar for a share from 0 to 1; others are cut to that, and NaN is 0."""
    width = 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0) * 100
    return Markup(f'<span class="track"><span class="fill" style="width: {width:.2f}%"></span></span>')


def code(text: str) -> Markup:
    """Lines of text in a typewriter face."""
    lines = "\n".join(xml(line) for line in text.split("\n"))
    return Markup(f'<div class="part"><pre>{lines}</pre></div>')
