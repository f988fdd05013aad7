"""Sliding windows as shifted views: which cells of x a tap of the window reads, with padding left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Tap", "cells", "taps"]

Pair = tuple[int, int]


class Tap(NamedTuple):
    """Cell (u, v) of the window; x[rows, columns] is what it reads for the outputs y[out_rows, out_columns]."""

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


def cells(
    size: int, out: int, window: int, stride: int, offset: int, dilation: int
) -> Iterator[tuple[int, slice, slice]]:
    """The cells of a window along one axis that read x for some output, in order, with their slices of x and of y.

    Output 0 begins at x[-offset]. The time is that of taps().
    """
    # Few cells are tested one by one. Of a window with more cells than outputs only those that some output reads: the last
    # output reads the first ones, and neighbouring outputs mostly read the same.
    runs = [(0, window)] if window <= out else []
    for i in range(out - 1 if window > out else -1, -1, -1):
        at = i * stride - offset
        first, end = max(-(at // dilation), 0), min(-((at - size) // dilation), window)
        if runs and first <= runs[-1][1]:
            runs[-1] = runs[-1][0], max(end, runs[-1][1])
        elif first < end:
            runs.append((first, end))
    for first, end in runs:
        for u in range(first, end):
            here, there = _range(size, out, u * dilation - offset, stride)
            if here.stop:
                yield u, here, there


def taps(size: Pair, out: Pair, window: Pair, strides: Pair, offset: Pair, dilations: Pair = (1, 1)) -> Iterator[Tap]:
    """All cells of a window in row-major order, but for those that read nothing but padding.

    ``size`` and ``out`` are the heights and widths of x and y. Output (0, 0) begins at x[-offset[0], -offset[1]];
    a negative offset skips cells. The time per axis is that of the cells that read x and of the
    smaller of window and output, however large the other one and the strides are.
    """
    down, across = (
        cells(size[axis], out[axis], window[axis], strides[axis], offset[axis], dilations[axis]) for axis in (0, 1)
    )
    columns = list(across)
    for u, rows, out_rows in down:
        for v, here, there in columns:
            yield Tap(u, v, rows, here, out_rows, there)
