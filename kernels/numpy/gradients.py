"""Backward ops tap by tap, mirroring the forward kernels of conv2d.py and pool2d.py."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..contracts import gradients as ops
from ..contracts.conv2d import Conv2DParams
from ..contracts.geometry import WindowGeometry
from ..contracts.gradients import AvgPool2DGradParams, ConvGradParams
from ..contracts.normalization import BatchNormParams, LRNParams
from ..contracts.pool2d import Pool2DParams
from ..errors import KernelError
from ..host.support import numpy_kernel, wider
from ..host.taps import Tap, taps
from ..tensor import Array, Params
from .normalization import lrn_power, window_sums

__all__ = ["KERNELS"]


def _conv_taps(
    x_shape: Sequence[int], y_shape: Sequence[int], window: tuple[int, int], params: Conv2DParams
) -> list[Tap]:
    g = WindowGeometry.between(x_shape, y_shape, window, params)
    return list(taps(g.size, g.out, g.window, g.strides, g.before, g.dilations))


def _nothing_flows(inputs: Sequence[Array], gradient: Array) -> bool:
    """An empty input: fills the gradient with zeros. Other axes may be huge, so that no loop must run over them."""
    if all(x.size for x in inputs):
        return False
    gradient[...] = 0
    return True


def _conv2d_input_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: ConvGradParams) -> None:
    (f_hwio, dy), (dx,) = inputs, outputs
    if _nothing_flows(inputs, dx):
        return
    dtype = wider(dy.dtype)
    filters = f_hwio.astype(dtype, copy=False)
    steps = _conv_taps(dx.shape, dy.shape, f_hwio.shape[:2], params.forward)
    for image in range(dx.shape[0]):
        total = np.zeros(dx.shape[1:], dtype)
        for tap in steps:
            total[tap.rows, tap.columns] += dy[image, tap.out_rows, tap.out_columns] @ filters[tap.u, tap.v].T
        dx[image] = total


def _conv2d_filter_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: ConvGradParams) -> None:
    (x, dy), (df,) = inputs, outputs
    if _nothing_flows(inputs, df):
        return
    dtype = wider(x.dtype)
    total = np.zeros(df.shape, dtype)
    cin, cout = df.shape[2:]
    for tap in _conv_taps(x.shape, dy.shape, df.shape[:2], params.forward):
        a = x[:, tap.rows, tap.columns].astype(dtype, copy=False)
        b = dy[:, tap.out_rows, tap.out_columns].astype(dtype, copy=False)
        pixels = prod(b.shape[:3])
        total[tap.u, tap.v] = a.reshape(pixels, cin).T @ b.reshape(pixels, cout)
    df[...] = total


def _depthwise_input_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: ConvGradParams) -> None:
    (f, dy), (dx,) = inputs, outputs
    if _nothing_flows(inputs, dx):
        return
    dtype = wider(dy.dtype)
    dy_split = dy.reshape(*dy.shape[:3], f.shape[2], f.shape[3]).astype(dtype, copy=False)
    total = np.zeros(dx.shape, dtype)
    for tap in _conv_taps(dx.shape, dy.shape, f.shape[:2], params.forward):
        part = dy_split[:, tap.out_rows, tap.out_columns] * f[tap.u, tap.v]
        total[:, tap.rows, tap.columns] += part.sum(-1)
    dx[...] = total


def _depthwise_filter_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: ConvGradParams) -> None:
    (x, dy), (df,) = inputs, outputs
    if _nothing_flows(inputs, df):
        return
    dtype = wider(x.dtype)
    dy_split = dy.reshape(*dy.shape[:3], df.shape[2], df.shape[3]).astype(dtype, copy=False)
    total = np.zeros(df.shape, dtype)
    for tap in _conv_taps(x.shape, dy.shape, df.shape[:2], params.forward):
        part = x[:, tap.rows, tap.columns, :, None] * dy_split[:, tap.out_rows, tap.out_columns]
        total[tap.u, tap.v] = part.sum((0, 1, 2))
    df[...] = total


def _pool_taps(x_shape: Sequence[int], y_shape: Sequence[int], params: Pool2DParams) -> list[Tap]:
    g = WindowGeometry.between(x_shape, y_shape, params.window, params)
    return list(taps(g.size, g.out, g.window, g.strides, g.before))


def _max_pool2d_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: Pool2DParams) -> None:
    (x, y, dy), (dx,) = inputs, outputs
    if _nothing_flows(inputs, dx):
        return
    total = np.zeros(dx.shape, wider(dx.dtype))
    open_windows = np.ones(y.shape, bool)  # windows whose gradient has not been added yet
    for tap in _pool_taps(x.shape, y.shape, params):
        cells = x[:, tap.rows, tap.columns]
        top = y[:, tap.out_rows, tap.out_columns]
        waiting = open_windows[:, tap.out_rows, tap.out_columns]
        takes = waiting & ((cells == top) | (np.isnan(cells) & np.isnan(top)))
        waiting &= ~takes
        total[:, tap.rows, tap.columns] += np.where(takes, dy[:, tap.out_rows, tap.out_columns], 0)
    dx[...] = total


def _avg_pool2d_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: AvgPool2DGradParams) -> None:
    (dy,), (dx,) = inputs, outputs
    if _nothing_flows(inputs, dx):
        return
    forward = params.forward
    steps = _pool_taps(dx.shape, dy.shape, forward)
    total = np.zeros(dx.shape, wider(dx.dtype))
    cells = np.zeros((*dy.shape[1:3], 1), total.dtype)
    for tap in steps:
        cells[tap.out_rows, tap.out_columns] += 1
    share = dy / (float(prod(forward.window)) if forward.count_include_pad else cells)
    for tap in steps:
        total[:, tap.rows, tap.columns] += share[:, tap.out_rows, tap.out_columns]
    dx[...] = total


def _relu_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    dy, x = inputs
    outputs[0][...] = np.where(x > 0, dy, 0)


def _relu6_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    dy, x = inputs
    outputs[0][...] = np.where((x > 0) & (x < 6), dy, 0)


def _log_softmax(logits: Array) -> Array:
    x = logits.astype(wider(logits.dtype), copy=False)
    shifted = x - x.max(1, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _softmax_cross_entropy(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    (logits, labels), (loss, gradient) = inputs, outputs
    labels = labels.astype(wider(labels.dtype), copy=False)  # a sum in float16 would be off by 5e-4
    logs = _log_softmax(logits)
    loss[...] = -(labels * logs).sum(1)
    gradient[...] = np.exp(logs) * labels.sum(1, keepdims=True) - labels


def _sparse_softmax_cross_entropy(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    (logits, labels), (loss, gradient) = inputs, outputs
    rows, classes = logits.shape
    if rows and not (labels.min() >= 0 and labels.max() < classes):
        raise KernelError(
            f"sparse_softmax_cross_entropy: labels go from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}"
        )
    logs = _log_softmax(logits)
    picked = np.arange(rows), labels.astype(np.int64)
    loss[...] = -logs[picked]
    result = np.exp(logs)
    result[picked] -= 1
    gradient[...] = result


def _lrn_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: LRNParams) -> None:
    if outputs[0].size:
        dy, x, y = (a.astype(wider(a.dtype), copy=False) for a in inputs)
        reach = params.reach(x.shape[-1])
        n = params.bias + params.alpha * window_sums(x * x, reach)
        flow = window_sums(dy * y / n, reach)
        outputs[0][...] = dy * lrn_power(n, params.beta) - 2 * params.alpha * params.beta * x * flow


def _batch_norm_statistics_grad(inputs: Sequence[Array], outputs: Sequence[Array], params: BatchNormParams) -> None:
    dx, d_scale, d_offset = outputs
    channels = dx.shape[-1]
    rows = dx.size // channels if channels else 0
    if not rows:
        d_scale[...] = d_offset[...] = 0
        return
    dy, x, scale, mean, variance = (np.ascontiguousarray(a, wider(a.dtype)) for a in inputs)
    dy, centred = dy.reshape(rows, channels), x.reshape(rows, channels) - mean
    inverse = 1 / np.sqrt(variance + variance.dtype.type(params.epsilon))
    normalised = centred * inverse
    for_offset = dy.sum(0, dtype=np.float64)
    for_scale = (dy * normalised).sum(0, dtype=np.float64)
    d_scale[...], d_offset[...] = for_scale, for_offset
    means = (for_offset / rows).astype(dy.dtype), (for_scale / rows).astype(dy.dtype)
    dx[...] = ((dy - means[0] - normalised * means[1]) * (scale * inverse)).reshape(dx.shape)


KERNELS = (
    numpy_kernel(ops.CONV2D_INPUT_GRAD, "numpy", _conv2d_input_grad),
    numpy_kernel(ops.CONV2D_FILTER_GRAD, "numpy", _conv2d_filter_grad),
    numpy_kernel(ops.DEPTHWISE_CONV2D_INPUT_GRAD, "numpy", _depthwise_input_grad),
    numpy_kernel(ops.DEPTHWISE_CONV2D_FILTER_GRAD, "numpy", _depthwise_filter_grad),
    numpy_kernel(ops.MAX_POOL2D_GRAD, "numpy", _max_pool2d_grad),
    numpy_kernel(ops.AVG_POOL2D_GRAD, "numpy", _avg_pool2d_grad),
    numpy_kernel(ops.RELU_GRAD, "numpy", _relu_grad),
    numpy_kernel(ops.RELU6_GRAD, "numpy", _relu6_grad),
    numpy_kernel(ops.SOFTMAX_CROSS_ENTROPY, "numpy", _softmax_cross_entropy),
    numpy_kernel(ops.SPARSE_SOFTMAX_CROSS_ENTROPY, "numpy", _sparse_softmax_cross_entropy),
    numpy_kernel(ops.LRN_GRAD, "numpy", _lrn_grad),
    numpy_kernel(ops.BATCH_NORM_STATISTICS_GRAD, "numpy", _batch_norm_statistics_grad),
)
