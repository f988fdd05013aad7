"""Convolution as matrix products over blocks of unrolled rows (im2col); depthwise convolution tap by tap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams, explicit_padding
from ..host.support import activate, numpy_kernel, wider
from ..tensor import Array
from ._windows import Tap, taps

__all__ = ["KERNELS"]

#: Bytes of one block of unrolled rows: near the size of an L2 cache, and the bound on scratch memory.
_BLOCK_BYTES = 2 << 20


def _conv2d(inputs: Sequence[Array], outputs: Sequence[Array], params: Conv2DParams) -> None:
    x_nhwc, w_hwio, *bias = inputs
    (y_nhwc,) = outputs
    if y_nhwc.size == 0:
        return
    n, h, w, cin = x_nhwc.shape
    kh, kw, _, cout = w_hwio.shape
    _, oh, ow, _ = y_nhwc.shape
    (sh, _), dtype = params.strides, wider(x_nhwc.dtype)
    top, _, left, _ = explicit_padding(params.padding, (h, w), (kh, kw), params.strides, params.dilations)
    depth = kh * kw * cin
    filters = np.ascontiguousarray(w_hwio.reshape(depth, cout), dtype)
    # Image by image and in blocks of rows: an image gives the same bits whatever batch it came in.
    block = min(max(_BLOCK_BYTES // max(ow * depth * dtype.itemsize, 1), 1), oh)
    for image in range(n):
        for row in range(0, oh, block):
            rows = min(block, oh - row)
            columns = np.zeros((rows, ow, kh, kw, cin), dtype)
            offset = (top - row * sh, left)
            steps = taps((h, w), (rows, ow), (kh, kw), params.strides, offset, params.dilations)
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


def _depthwise_conv2d(inputs: Sequence[Array], outputs: Sequence[Array], params: Conv2DParams) -> None:
    x_nhwc, w_hwim, *bias = inputs
    (y_nhwc,) = outputs
    if y_nhwc.size == 0:
        return
    n, h, w, cin = x_nhwc.shape
    kh, kw, _, multiplier = w_hwim.shape
    _, oh, ow, cout = y_nhwc.shape
    dtype = wider(x_nhwc.dtype)
    filters = w_hwim.astype(dtype, copy=False)
    top, _, left, _ = explicit_padding(params.padding, (h, w), (kh, kw), params.strides, params.dilations)
    steps = list(taps((h, w), (oh, ow), (kh, kw), params.strides, (top, left), params.dilations))
    padding = _times_padding(filters, steps, (oh, ow))
    for image in range(n):
        y = np.zeros((oh, ow, cin, multiplier), dtype) + padding
        for tap in steps:
            y[tap.out_rows, tap.out_columns] += x_nhwc[image, tap.rows, tap.columns, :, None] * filters[tap.u, tap.v]
        y = y.reshape(oh, ow, cout)
        if bias:
            y += bias[0]
        activate(y, params.activation)
        y_nhwc[image] = y


KERNELS = (
    numpy_kernel(CONV2D, "numpy", _conv2d),
    numpy_kernel(DEPTHWISE_CONV2D, "numpy", _depthwise_conv2d),
)
