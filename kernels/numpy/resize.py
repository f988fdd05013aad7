"""Bilinear resizing in TensorFlow's three conventions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.resize import RESIZE_BILINEAR, ResizeParams
from ..host.support import numpy_kernel
from ..tensor import Array

__all__ = ["KERNELS", "source_cells"]

_F32 = np.float32


def source_cells(size: int, out: int, params: ResizeParams) -> tuple[Array, Array, Array]:
    """Lower cell, upper cell and weight of the upper one for every target, in float32 as TensorFlow computes them."""
    target = np.arange(out, dtype=_F32)
    if params.align_corners:
        source = target * (_F32(size - 1) / _F32(out - 1) if out > 1 else _F32(0))
    elif params.half_pixel_centers:
        source = (target + _F32(0.5)) * (_F32(size) / _F32(out)) - _F32(0.5)
    else:
        source = target * (_F32(size) / _F32(out))
    floor = np.floor(source)
    lower = np.clip(floor.astype(np.intp), 0, size - 1)
    upper = np.clip(np.ceil(source).astype(np.intp), 0, size - 1)
    return lower, upper, source - floor


def _resize_bilinear(inputs: Sequence[Array], outputs: Sequence[Array], params: ResizeParams) -> None:
    (x_nhwc,), (y_nhwc,) = inputs, outputs
    top, bottom, weight_y = source_cells(x_nhwc.shape[1], y_nhwc.shape[1], params)
    left, right, weight_x = source_cells(x_nhwc.shape[2], y_nhwc.shape[2], params)
    weight_y, weight_x = weight_y[:, None, None], weight_x[None, :, None]

    def pixels(x: Array, rows: Array, columns: Array) -> Array:
        return x[rows[:, None], columns[None, :]].astype(y_nhwc.dtype, copy=False)

    def line(x: Array, rows: Array) -> Array:
        first, second = pixels(x, rows, left), pixels(x, rows, right)
        second -= first
        second *= weight_x
        first += second
        return first

    for x, y in zip(x_nhwc, y_nhwc, strict=True):
        upper, lower = line(x, top), line(x, bottom)
        lower -= upper
        lower *= weight_y
        np.add(upper, lower, out=y)


KERNELS = (numpy_kernel(RESIZE_BILINEAR, "numpy", _resize_bilinear),)
