"""Strings."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ...kernels.contracts.strings import (
    AS_STRING,
    BASE64_DECODE,
    BASE64_ENCODE,
    STRING_JOIN,
    AsStringParams,
    Base64Params,
    StringJoinParams,
)
from ..errors import GraphError
from .attributes import FALSE, Attr, Row, T
from .base import Lowered, OpDef, Site

__all__ = ["DEFS"]

#: Digits and width of AsString; no float64 has more than 1,075 digits after the point.
_MOST_DIGITS = 4096


def _as_string(site: Site) -> Lowered:
    """What TensorFlow's kernel refuses is refused; ``reads_back`` is kigraph's own: the shortest text that reads back."""
    precision, width = int(site.attr("precision", -1)), int(site.attr("width", -1))
    scientific, shortest = bool(site.attr("scientific", False)), bool(site.attr("shortest", False))
    given = site.attr("fill", "")
    fill = given.decode("latin-1") if isinstance(given, bytes) else given
    kind = site.inputs[0].dtype.kind
    if max(precision, width) > _MOST_DIGITS:
        raise site.unsupported(f"precision {precision} with width {width}", f"give at most {_MOST_DIGITS} of either")
    if scientific and shortest:
        raise GraphError(f"AsString '{site.name}': scientific and shortest cannot both be True")
    if kind in "iub" and (scientific or shortest or precision >= 0):
        raise GraphError(
            f"AsString '{site.name}': precision, scientific and shortest are for floats, not for {site.inputs[0]}"
        )
    if fill not in ("", " ", "+", "-", "0", "#"):
        raise GraphError(f"AsString '{site.name}': fill must be empty or one of ' ', '+', '-', '0', '#', got {fill!r}")
    reads_back = precision < 0 and not scientific and not shortest and bool(site.attr("reads_back", False))
    form: Literal["", "f", "e", "g"] = "" if reads_back else "e" if scientific else "g" if shortest else "f"
    return Lowered(AS_STRING, AsStringParams(precision, form, width, fill))


def _join(site: Site) -> Lowered:
    separator = site.attr("separator", b"")
    try:
        between = separator.encode() if isinstance(separator, str) else bytes(separator)
    except UnicodeEncodeError:
        raise GraphError(f"StringJoin '{site.name}': the separator {separator!r} has half a surrogate pair") from None
    return Lowered(STRING_JOIN, StringJoinParams(between))


_AS_STRING: Row = {
    **T, "precision": Attr("int", -1), "scientific": FALSE, "shortest": FALSE, "width": Attr("int", -1),
    "fill": Attr("string", ""), "reads_back": replace(FALSE, own=True),
}  # fmt: skip

DEFS: tuple[OpDef, ...] = (
    OpDef("AsString", _as_string, attributes=_AS_STRING),
    OpDef(
        "EncodeBase64",
        lambda site: Lowered(BASE64_ENCODE, Base64Params(bool(site.attr("pad", False)))),
        attributes={"pad": FALSE},
    ),
    OpDef("DecodeBase64", lambda site: Lowered(BASE64_DECODE), attributes={}),
    OpDef(
        "StringJoin",
        _join,
        arity=(1, None),
        attributes={"N": Attr("int", count=0), "separator": Attr("string", "")},
    ),
)
