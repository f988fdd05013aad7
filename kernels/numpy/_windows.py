"""Sliding windows as shifted views: which cells of x a tap of the window meets, with padding left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Tap", "taps"]

Pair = tuple[int, int]


class Tap(NamedTuple):
    """Cell (u, v) of the window; x[rows, columns] is what it meets for the outputs y[out_rows, out_columns]."""

    u: int
    v: int
    rows: slice
    columns: slice
    out_rows: slice
    out_columns: slice


def _range(size: int, out: int, shift: int, stride: int) -> tuple[slice, slice]:
    """The slices of x and of y for the outputs i with 0 <= i * stride + shift < size."""
    first = max(-(shift // stride), 0)
    last = min((size - 1 - shift) // stride + 1, out)
    if last <= first:
        return slice(0), slice(0)
    start = first * stride + shift
    return slice(start, start + (last - first - 1) * stride + 1, stride), slice(first, last)


def taps(size: Pair, out: Pair, window: Pair, strides: Pair, offset: Pair, dilations: Pair = (1, 1)) -> Iterator[Tap]:
    """All cells of a window in row-major order, but for those that meet nothing but padding.

    ``size`` and ``out`` are the heights and widths of x and y. Output (0, 0) begins at x[-offset[0], -offset[1]];
    a negative offset skips cells.
    """
    for u in range(window[0]):
        rows, out_rows = _range(size[0], out[0], u * dilations[0] - offset[0], strides[0])
        for v in range(window[1]):
            columns, out_columns = _range(size[1], out[1], v * dilations[1] - offset[1], strides[1])
            if rows.stop and columns.stop:
                yield Tap(u, v, rows, columns, out_rows, out_columns)
