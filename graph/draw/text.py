"""Text of a drawing: escaping, shortening, and how wide a line will be.

Names come from files that may be hostile: whatever is not printable (control characters, lone surrogates, marks that
turn the direction of writing) is shown as an escape, and every text is cut to a bounded length.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...kernels.errors import KigraphError
from ...kernels.tensor import STRING, TensorType, dtype_name
from ..ir import UNKNOWN, Literal

__all__ = [
    "attribute_text",
    "clean",
    "elide",
    "label_of_type",
    "literal_text",
    "quote_dot",
    "text_width",
    "value_text",
    "xml",
]

_FLOAT32 = np.dtype(np.float32)
#: Advance widths of Helvetica in thousandths of the size, for the characters far from the average of 556.
_NARROW = dict.fromkeys("iljI.,:;'|!", 260) | dict.fromkeys("ftr()[]/ -", 330)
_WIDE = dict.fromkeys("ABCDEFGHKNOPQRSUVXYZ&w", 710) | dict.fromkeys("mMW@%", 860)
_ADVANCE = _NARROW | _WIDE


def clean(text: str) -> str:
    """The text with everything unprintable written as an escape, such as \\x1b or \\u202e."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def xml(text: str) -> str:
    """Text for XML and HTML, in element content and in quoted attributes."""
    return html.escape(clean(text), quote=True)


def quote_dot(*lines: str) -> str:
    """A quoted DOT string of one or more centred lines."""
    escaped = (clean(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


def elide(text: str, limit: int) -> str:
    """At most ``limit`` characters: the beginning and the end."""
    text = clean(text)
    if len(text) <= limit:
        return text
    head = (limit - 1) // 3
    return text[:head] + "…" + text[len(text) - (limit - 1 - head) :]


def short_name(name: str, limit: int) -> str:
    """A name that fits: outer scopes are left out first, for the end of a name says most."""
    name = clean(name)
    while len(name) > limit and "/" in name.removeprefix("…/"):
        name = "…/" + name.removeprefix("…/").partition("/")[2]
    return elide(name, limit)


def text_width(text: str, size: float, mono: bool = False) -> float:
    """Estimated width in pixels, on the safe side."""
    if mono:
        return size * sum(1.2 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in text)
    units = (1000 if unicodedata.east_asian_width(c) in "WF" else _ADVANCE.get(c, 570) for c in text)
    return size * sum(units) / 1000


def label_of_type(type_: TensorType) -> str:
    """A tensor's type as an edge shows it: ``1×35×35×192``; the element type is said unless it is float32."""
    if type_.shape is None:
        shape = "…"
    else:
        shape = "×".join("?" if d is None else str(d) for d in type_.shape[:8])
        shape += "×…" if len(type_.shape) > 8 else ""
    if type_.dtype == UNKNOWN:
        return shape or "?"
    if type_.dtype == _FLOAT32 and shape:
        return shape
    return f"{dtype_name(type_.dtype)} {shape}".rstrip()


def value_text(value: Any, limit: int = 40) -> str:
    """A tensor's value in one short line."""
    if isinstance(value, str):
        return elide(value, limit)
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        items = [_string(item) for item in array.reshape(-1)[:3]]
        text = ", ".join(items) + (", …" if array.size > 3 else "")
        return elide(text if array.ndim == 0 else f"[{text}]", limit)
    if array.size > 1000:
        return elide(label_of_type(TensorType(array.dtype, array.shape)), limit)
    with np.printoptions(precision=4, suppress=True, threshold=8, edgeitems=2, linewidth=10_000):
        return elide(" ".join(str(array).split()), limit)


def _string(item: Any) -> str:
    if not isinstance(item, bytes):
        return f'"{str(item)[:80]}"'
    try:
        return f'"{item.decode()[:80]}"'
    except UnicodeDecodeError:
        return f"{len(item):,} bytes"


def literal_text(literal: Literal, limit: int = 40) -> str:
    """The value of a small constant, else its type. A big one is not read."""
    if literal.dtype == STRING or literal.type.size <= 16:
        try:
            return value_text(literal.array(), limit)
        except KigraphError:
            pass
    return label_of_type(literal.type)


def attribute_text(attrs: Mapping[str, Any], limit: int = 200, most: int = 40) -> dict[str, str]:
    """Attributes for people: name to short text, at most ``most`` of them."""
    result: dict[str, str] = {}
    for name, value in list(attrs.items())[:most]:
        if isinstance(value, Literal):
            text = f"{dtype_name(value.dtype)} {value.shape} = {literal_text(value, limit)}"
        elif isinstance(value, np.dtype):
            text = dtype_name(value) if value != UNKNOWN else "?"
        elif isinstance(value, bytes | str):
            text = _string(value)
        else:
            text = repr(value)
        result[elide(name, 80)] = elide(text, limit)
    return result
