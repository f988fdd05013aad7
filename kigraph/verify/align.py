"""Which layer of one graph is which of another: an alignment of two sequences of values, as of two texts.

Names and layouts differ between files, and some fold what others keep apart, so layers are told by what they compute: the
quantiles of their elements, which no permutation of axes changes. The pairs keep the order of both graphs, and their summed
distance is the least (Needleman and Wunsch, 1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Value", "align", "closest"]

Array = np.ndarray[Any, Any]

#: Quantiles that are compared, the cost of a layer without a partner, and the distance above which two layers are strangers.
_QUANTILES = 33
_GAP, _STRANGERS = 0.15, 0.5
_LAYOUTS = {4: ((0, 1, 2, 3), (0, 3, 1, 2), (0, 2, 3, 1)), 3: ((0, 1, 2), (0, 2, 1))}


@dataclass(frozen=True, slots=True)
class Value:
    """The output of one op in one run."""

    name: str
    op: str
    value: Array


def align(a: Sequence[Value], b: Sequence[Value]) -> list[tuple[int, int]]:
    """Pairs (place in a, place in b), in order."""
    if [v.name for v in a] == [v.name for v in b]:
        return [(i, i) for i in range(len(a))]
    prints_b = np.stack([_print(v.value) for v in b]) if b else np.zeros((0, _QUANTILES))
    sizes_b = np.array([v.value.size for v in b])
    distances = np.full((len(a), len(b)), np.inf)
    for i, value in enumerate(a):
        mark = _print(value.value)
        scale = np.linalg.norm(mark) + np.linalg.norm(prints_b, axis=1) + 1e-30
        near = np.linalg.norm(prints_b - mark, axis=1) / scale
        fits = (sizes_b == value.value.size) & (near <= _STRANGERS)
        distances[i, fits] = near[fits]
    return _least(distances)


def _least(distances: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    rows, columns = distances.shape
    cost = np.zeros((rows + 1, columns + 1))
    cost[0] = _GAP * np.arange(columns + 1)
    cost[:, 0] = _GAP * np.arange(rows + 1)
    for i in range(1, rows + 1):
        with_partner = cost[i - 1, :-1] + distances[i - 1]
        without = cost[i - 1, 1:] + _GAP
        best = np.minimum(with_partner, without)
        last = cost[i, 0]
        for j in range(columns):
            last = min(float(best[j]), last + _GAP)
            cost[i, j + 1] = last
    pairs = []
    i, j = rows, columns
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + distances[i - 1, j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + _GAP:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def _print(value: Array) -> Array:
    flat = np.asarray(value, np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return np.zeros(_QUANTILES)
    marks: Array = np.quantile(flat, np.linspace(0, 1, _QUANTILES))
    return marks


def closest(one: Array, other: Array) -> Array | None:
    """``other`` in the layout of ``one``: as it is, NHWC or NCHW exchanged, or without axes of size 1; None if none fits."""
    candidates = [other.transpose(p) for p in _LAYOUTS.get(other.ndim, (tuple(range(other.ndim)),))]
    fitting = [c for c in candidates if c.shape == one.shape]
    if not fitting and one.size == other.size and _solid(one) == _solid(other):
        fitting = [other.reshape(one.shape)]
    if not fitting and one.size == other.size and one.shape[-1:] == other.shape[-1:]:
        fitting = [other.reshape(one.shape)]  # rows of a product, with the axes before them as one
    if not fitting and one.size == other.size:
        fitting = [c.reshape(one.shape) for c in candidates if [d for d in c.shape if d != 1] == _solid(one)]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    wanted = np.asarray(one, np.float64)
    return min(fitting, key=lambda c: float(np.linalg.norm(np.asarray(c, np.float64).ravel() - wanted.ravel())))


def _solid(value: Array) -> list[int]:
    return [d for d in value.shape if d != 1]
