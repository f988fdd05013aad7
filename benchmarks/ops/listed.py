"""All rows, each once."""

from __future__ import annotations

from ..against_numpy import ALL_ROWS
from .by_hand import BY_HAND
from .in_torch import BY_NAME
from .row import OpRow
from .walked import rows_of_networks

__all__ = ["all_rows"]

#: Rows of ../against_numpy.py whose further inputs are weights.
_WEIGHTS = {
    "conv2d 3x3": 1,
    "conv2d NCHW, 2 groups": 1,
    "conv2d transposed": 1,
    "depthwise 3x3": 1,
    "conv3d 3x3x3": 1,
    "dilation2d": 1,
}
_VECTORS = {"batch_norm": 4, "bias_add": 1}


def _against_numpy() -> list[OpRow]:
    found = []
    for row in ALL_ROWS:
        count = _WEIGHTS.get(row.name, 0) or _VECTORS.get(row.name, 0)
        kind, _, size = row.name.partition(", ")
        found.append(OpRow(row, kind, size, frozenset(range(1, 1 + count)), torch=BY_NAME.get(row.name)))
    return found


def all_rows(most: int = 3) -> list[OpRow]:
    """most: sizes of an op that a network brings; 0 for all."""
    rows = [*rows_of_networks(most=most), *BY_HAND, *_against_numpy()]
    return list({row.row.name: row for row in reversed(rows)}.values())[::-1]
