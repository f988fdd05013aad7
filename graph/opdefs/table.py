"""The table of all op types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedOpError
from . import (
    array,
    blocks,
    boxes,
    colours,
    control,
    finding,
    fused,
    gradients,
    images,
    indexing,
    lists,
    math,
    nn,
    passing,
    quantization,
    quantized,
    random,
    resample,
    slices,
    strings,
    windows,
)
from .base import OpDef

__all__ = ["OPDEFS", "OWN", "opdef"]

_FAMILIES = (
    array, slices, math, nn, fused, blocks, resample, windows, boxes, colours, gradients, strings, images, passing,
    indexing, quantization, quantized, control, random, lists, finding,
)  # fmt: skip

OPDEFS: Mapping[str, OpDef] = {d.name: d for module in _FAMILIES for d in module.DEFS}

#: Op types of TensorFlow on which kigraph has attributes of its own, with their defaults, which mean what TensorFlow's op
#: does. In a file a node with another value has "Ki" before its type.
OWN: Mapping[str, Mapping[str, Any]] = {
    op: own for op, d in OPDEFS.items() if (own := {k: a.default for k, a in d.attributes.items() if a.own})
}


def opdef(op: str, node: str, reason: str | None = None) -> OpDef:
    """The definition of an op type; UnsupportedOpError gives the reason of whoever made the node, or similar ops."""
    found = OPDEFS.get(op)
    if found is None:
        if reason is not None:
            raise UnsupportedOpError(reason)
        import difflib

        similar = difflib.get_close_matches(op, OPDEFS, n=5, cutoff=0.4)
        hint = f"similar ops that kigraph runs: {', '.join(similar)}" if similar else "kigraph has nothing similar"
        raise UnsupportedOpError(
            f"op {op!r} (node '{node}') is not supported; {hint}. All of them: `kigraph info --ops`. "
            f"A tensor downstream of the node can be fed instead"
        )
    return found
