"""Windows over volumes tap by tap: each cell of the window is a shifted view of x, in a convolution times its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..contracts.volumes import (
    AVG_POOL3D,
    CONV3D,
    CONV3D_INPUT_GRAD,
    MAX_POOL3D,
    Conv3DGradParams,
    VolumeParams,
)
from ..tensor import Array
from .support import lowest, numpy_kernel, wider
from .taps import cells

__all__ = ["KERNELS"]

Box = tuple[slice, ...]


def _taps(
    size: Sequence[int], out: Sequence[int], window: Sequence[int], params: VolumeParams
) -> Iterator[tuple[tuple[int, ...], Box, Box]]:
    """Cells of the window that read x, with the box of x and the box of y that belong to each."""
    axes = zip(size, out, window, params.strides, params.before(size, window), params.dilations, strict=True)
    down, across, along = (list(cells(*axis)) for axis in axes)
    for t, xz, yz in down:
        for u, xy, yy in across:
            for v, xx, yx in along:
                yield (t, u, v), (xz, xy, xx), (yz, yy, yx)


def _conv3d(inputs: Sequence[Array], outputs: Sequence[Array], params: VolumeParams) -> None:
    (x, w), (y,) = inputs, outputs
    if y.size == 0:
        return
    dtype = wider(x.dtype)
    filters = w.astype(dtype, copy=False)
    steps = list(_taps(x.shape[1:4], y.shape[1:4], w.shape[:3], params))
    for image, result in zip(x, y, strict=True):
        total = np.zeros(result.shape, dtype)
        for at, source, target in steps:
            total[target] += image[source].astype(dtype, copy=False) @ filters[at]
        result[...] = total


def _conv3d_input_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: Conv3DGradParams) -> None:
    (w, dy), (dx,) = inputs, outputs
    if dx.size == 0:
        return
    dtype = wider(dy.dtype)
    filters = w.astype(dtype, copy=False)
    steps = list(_taps(dx.shape[1:4], dy.shape[1:4], w.shape[:3], params.forward)) if dy.size else []
    for image, result in zip(dy, dx, strict=True):
        total = np.zeros(result.shape, dtype)
        for at, source, target in steps:
            total[source] += image[target].astype(dtype, copy=False) @ filters[at].T
        result[...] = total


def _max_pool3d(inputs: Sequence[Array], outputs: Sequence[Array], params: VolumeParams) -> None:
    (x,), (y,) = inputs, outputs
    if y.size == 0:
        return
    y[...] = lowest(x.dtype)
    for _, source, target in _taps(x.shape[1:4], y.shape[1:4], params.window, params):
        window = y[(slice(None), *target)]
        np.maximum(window, x[(slice(None), *source)], out=window)


def _avg_pool3d(inputs: Sequence[Array], outputs: Sequence[Array], params: VolumeParams) -> None:
    (x,), (y,) = inputs, outputs
    if y.size == 0:
        return
    total = np.zeros(y.shape, wider(x.dtype))
    count = np.zeros((*y.shape[1:4], 1), total.dtype)
    for _, source, target in _taps(x.shape[1:4], y.shape[1:4], params.window, params):
        total[(slice(None), *target)] += x[(slice(None), *source)]
        count[target] += 1
    y[...] = total / count


KERNELS = (
    numpy_kernel(CONV3D, "host", _conv3d),
    numpy_kernel(CONV3D_INPUT_GRAD, "host", _conv3d_input_grad),
    numpy_kernel(MAX_POOL3D, "host", _max_pool3d),
    numpy_kernel(AVG_POOL3D, "host", _avg_pool3d),
)
