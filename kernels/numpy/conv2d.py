"""Convolution as matrix products over blocks of unrolled rows (im2col); depthwise convolution tap by tap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from ..contracts.geometry import WindowGeometry
from ..host.support import activate, in_float32, numpy_kernel, wider
from ..host.taps import Tap, taps
from ..tensor import Array

__all__ = ["KERNELS"]

#: Bytes of one block of unrolled rows: near the size of an L2 cache, and the bound on scratch memory.
_BLOCK_BYTES = 2 << 20
#: Bytes of the rows that a depthwise convolution adds up at a time, and of their products: both stay in the L2 cache.
_DEPTHWISE_BYTES = 256 << 10


def _geometry(x: Array, w: Array, y: Array, params: Conv2DParams) -> WindowGeometry:
    return WindowGeometry.between(x.shape, y.shape, w.shape, params)


def _conv2d(inputs: Sequence[Array], outputs: Sequence[Array], params: Conv2DParams) -> None:
    x_nhwc, w_hwio, *bias = inputs
    (y_nhwc,) = outputs
    if y_nhwc.size == 0:
        return
    g, cout, dtype = _geometry(x_nhwc, w_hwio, y_nhwc, params), w_hwio.shape[3], wider(x_nhwc.dtype)
    cin, (oh, ow), (kh, kw) = g.channels, g.out, g.window
    depth = kh * kw * cin
    filters = np.ascontiguousarray(w_hwio.reshape(depth, cout), dtype)
    # Image by image and in blocks of rows: an image gives the same bits whatever batch it came in.
    block = min(max(_BLOCK_BYTES // max(ow * depth * dtype.itemsize, 1), 1), oh)
    for image in range(g.images):
        for row in range(0, oh, block):
            rows = min(block, oh - row)
            columns = np.zeros((rows, ow, kh, kw, cin), dtype)
            offset = (g.before[0] - row * g.strides[0], g.before[1])
            steps = taps(g.size, (rows, ow), g.window, g.strides, offset, g.dilations)
            for tap in steps if cin else ():
                columns[tap.out_rows, tap.out_columns, tap.u, tap.v] = x_nhwc[image, tap.rows, tap.columns]
            y = columns.reshape(rows * ow, depth) @ filters
            if bias:
                y += bias[0]
            activate(y, params.activation)
            y_nhwc[image, row : row + rows] = y.reshape(rows, ow, cout)


def _times_padding(filters: Array, steps: Sequence[Tap], out: tuple[int, int]) -> Array | float:
    """What the zeros outside x add to each output: nothing, unless weights are NaN or infinite."""
    products = filters * 0
    if not np.isnan(products).any():
        return 0.0
    total = np.zeros((*out, *filters.shape[2:]), filters.dtype)
    inside = {(tap.u, tap.v): tap for tap in steps}
    for u, v in np.ndindex(*filters.shape[:2]):
        part = np.broadcast_to(products[u, v], total.shape).copy()
        if tap := inside.get((u, v)):
            part[tap.out_rows, tap.out_columns] = 0
        total += part
    return total


def _filter_rows(filters: Array, steps: Sequence[Tap], width: int) -> dict[tuple[int, int], Array]:
    """The filter of each tap for every pixel of a row. As arrays, if they are not too large: NumPy's inner loop is as long as a
    row then, not as the channels."""
    shape = (width, *filters.shape[2:])
    rows = {(tap.u, tap.v): np.broadcast_to(filters[tap.u, tap.v], shape) for tap in steps}
    if sum(row.nbytes for row in rows.values()) > _BLOCK_BYTES:
        return rows
    return {tap: np.ascontiguousarray(row) for tap, row in rows.items()}


def _depthwise_conv2d(inputs: Sequence[Array], outputs: Sequence[Array], params: Conv2DParams) -> None:
    x_nhwc, w_hwim, *bias = inputs
    (y_nhwc,) = outputs
    if y_nhwc.size == 0:
        return
    g, dtype = _geometry(x_nhwc, w_hwim, y_nhwc, params), wider(x_nhwc.dtype)
    filters = w_hwim.astype(dtype, copy=False)
    steps = list(taps(g.size, g.out, g.window, g.strides, g.before, g.dilations))
    padding = _times_padding(filters, steps, g.out)
    (oh, ow), line = g.out, filters.shape[2:]
    rows_of = _filter_rows(filters, steps, ow)
    block = min(max(_DEPTHWISE_BYTES // max(ow * line[0] * line[1] * dtype.itemsize, 1), 1), oh)
    products = np.empty((block, ow, *line), dtype)
    for image in range(g.images):
        for row in range(0, oh, block):
            rows = min(block, oh - row)
            y = np.zeros((rows, ow, *line), dtype)
            y += padding if isinstance(padding, float) else padding[row : row + rows]
            offset = (g.before[0] - row * g.strides[0], g.before[1])
            for tap in taps(g.size, (rows, ow), g.window, g.strides, offset, g.dilations):
                x = x_nhwc[image, tap.rows, tap.columns, :, None]
                product = products[: x.shape[0], : x.shape[1]]
                np.multiply(x, rows_of[tap.u, tap.v][: x.shape[1]], out=product)
                y[tap.out_rows, tap.out_columns] += product
            made = y.reshape(rows, *y_nhwc.shape[2:])
            if bias:
                made += bias[0]
            activate(made, params.activation)
            y_nhwc[image, row : row + rows] = made


KERNELS = (
    numpy_kernel(CONV2D, "numpy", in_float32(_conv2d), bfloat16=True),
    numpy_kernel(DEPTHWISE_CONV2D, "numpy", in_float32(_depthwise_conv2d), bfloat16=True),
)
