"""Strings."""

from __future__ import annotations

from ...kernels.contracts.strings import (
    AS_STRING,
    STRING_JOIN,
    AsStringParams,
    StringJoinParams,
)
from .base import Lowered, OpDef, Site

__all__ = ["DEFS"]


def _as_string(site: Site) -> Lowered:
    if site.attr("scientific", False) or site.attr("shortest", False) or site.attr("width", -1) not in (-1, 0):
        raise site.unsupported("scientific, shortest or width", "use precision alone")
    return Lowered(AS_STRING, AsStringParams(int(site.attr("precision", -1))))


def _join(site: Site) -> Lowered:
    separator = site.attr("separator", b"")
    return Lowered(
        STRING_JOIN, StringJoinParams(separator.encode() if isinstance(separator, str) else bytes(separator))
    )


DEFS: tuple[OpDef, ...] = (
    OpDef("AsString", _as_string),
    OpDef("StringJoin", _join, arity=(1, None)),
)
