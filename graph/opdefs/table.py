"""The table of all op types."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UnsupportedOpError
from . import array, gradients, images, math, nn, slices, strings
from .base import OpDef

__all__ = ["OPDEFS", "opdef"]

OPDEFS: Mapping[str, OpDef] = {
    d.name: d for module in (array, slices, math, nn, gradients, strings, images) for d in module.DEFS
}


def opdef(op: str, node: str) -> OpDef:
    """The definition of an op type; UnsupportedOpError names the node and similar ops that are known."""
    found = OPDEFS.get(op)
    if found is None:
        import difflib

        similar = difflib.get_close_matches(op, OPDEFS, n=5, cutoff=0.4)
        hint = f"similar ops that kigraph runs: {', '.join(similar)}" if similar else "kigraph has nothing similar"
        raise UnsupportedOpError(
            f"op {op!r} (node '{node}') is not supported; {hint}. All of them: `kigraph info --ops`. "
            f"A tensor behind the node can be fed in its place"
        )
    return found
