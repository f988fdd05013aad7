"""JSON of a file, counted before it is parsed: elements against ``LoadLimits.max_nodes``, levels against ``max_depth``."""

from __future__ import annotations

import re

import numpy as np

from .limits import Budget

__all__ = ["check_json"]

#: Elements per node that a file may have: exporters write up to 200 for a node, and graphs are far below 200,000 nodes. Parsed, an
#: element takes up to 60 bytes.
_PER_NODE = 50
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BLOCK = 1 << 20
#: What a byte outside of texts adds to the level.
_STEPS = np.zeros(256, np.int64)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


def check_json(data: bytes, place: str, budget: Budget) -> None:
    """LoadError for a text with more elements or levels than the limits allow; what it says is not looked at."""
    most = budget.limits.max_nodes * _PER_NODE
    if sum(map(data.count, (b",", b":", b"[", b"{"))) > most:
        found = f"more than {most:,} elements of JSON"
        raise budget.error(place, found, f"at most {_PER_NODE} per node (LoadLimits.max_nodes)")
    marks, depth = np.frombuffer(_TEXTS.sub(b"", data), np.uint8), 0
    for at in range(0, len(marks), _BLOCK):
        levels = depth + np.cumsum(_STEPS[marks[at : at + _BLOCK]])
        budget.depth(int(levels.max()), place, at)
        depth = int(levels[-1])
