"""Pooling tap by tap: each cell of the window is a shifted view of x."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from ..contracts.geometry import WindowGeometry
from ..contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from ..host.support import activate, in_float32, lowest, numpy_kernel, wider
from ..host.taps import Tap, taps
from ..tensor import Array

__all__ = ["KERNELS"]


def _taps(x: Array, y: Array, params: Pool2DParams) -> Iterator[Tap]:
    g = WindowGeometry.between(x.shape, y.shape, params.window, params)
    return taps(g.size, g.out, g.window, g.strides, g.before)


def _max_pool2d(inputs: Sequence[Array], outputs: Sequence[Array], params: Pool2DParams) -> None:
    (x,), (y,) = inputs, outputs
    if y.size == 0:
        return
    y[...] = lowest(x.dtype)
    for tap in _taps(x, y, params):
        window = y[:, tap.out_rows, tap.out_columns]
        np.maximum(window, x[:, tap.rows, tap.columns], out=window)


def _avg_pool2d(inputs: Sequence[Array], outputs: Sequence[Array], params: Pool2DParams) -> None:
    x, *bias = inputs
    (y,) = outputs
    if y.size == 0:  # its height and width may still be huge
        return
    total = np.zeros(y.shape, wider(x.dtype))
    cells = np.zeros((*y.shape[1:3], 1), total.dtype)
    for tap in _taps(x, y, params):
        total[:, tap.out_rows, tap.out_columns] += x[:, tap.rows, tap.columns]
        cells[tap.out_rows, tap.out_columns] += 1
    # Output sizes are rounded down, so a window never leaves the padded extent: its area needs no clipping.
    mean = total / (float(prod(params.window)) if params.count_include_pad else cells)
    if bias:
        mean += bias[0]
    activate(mean, params.activation)
    y[...] = mean


KERNELS = (
    numpy_kernel(MAX_POOL2D, "numpy", in_float32(_max_pool2d), bfloat16=True),
    numpy_kernel(AVG_POOL2D, "numpy", in_float32(_avg_pool2d), bfloat16=True),
)
