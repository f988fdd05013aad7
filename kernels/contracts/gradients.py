"""Backward ops that are not compositions of forward ones: convolutions, pooling, activations, cross-entropy,
normalisation.

dy is the gradient of a scalar with respect to the forward op's output y; the result is the gradient with respect to
one of its inputs. Parameters are the forward op's, plus the shape that the gradient must have. Padding has no gradient;
the gradient is unspecified where a NaN or infinity is multiplied by padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Params, Shape, TensorType
from .base import (
    FLOATS,
    INTEGERS,
    Contract,
    Tolerance,
    merge_shapes,
    require_dtype,
    require_rank,
    require_same_dtype,
    shape_text,
)
from .conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from .normalization import BatchNormParams, LRNParams
from .pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams

__all__ = [
    "AVG_POOL2D_GRAD", "BACKWARD", "BATCH_NORM_STATISTICS_GRAD", "CONV2D_FILTER_GRAD", "CONV2D_INPUT_GRAD", "DEPTHWISE_CONV2D_FILTER_GRAD", "DEPTHWISE_CONV2D_INPUT_GRAD",
    "LRN_GRAD", "MAX_POOL2D_GRAD", "RELU6_GRAD", "RELU_GRAD", "SOFTMAX_CROSS_ENTROPY", "SPARSE_SOFTMAX_CROSS_ENTROPY", "AvgPool2DGradParams",
    "ConvGradParams",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConvGradParams(Params):
    """``forward``: the convolution's own parameters (without activation). ``shape``: that of the gradient."""

    forward: Conv2DParams
    shape: tuple[int, int, int, int]


def _infer_conv_grad(
    op: str, forward: Contract[Conv2DParams], of_filter: bool, inputs: Sequence[TensorType], params: ConvGradParams
) -> tuple[TensorType, ...]:
    dtype = require_same_dtype(op, inputs)
    require_dtype(op, "each input", dtype, FLOATS)
    given = require_rank(op, "the input (NHWC)" if of_filter else "the filter", inputs[0].shape, 4)
    dy = require_rank(op, "dy (NHWC)", inputs[1].shape, 4)
    wanted = TensorType(dtype, params.shape)
    pair = [TensorType(dtype, given), wanted] if of_filter else [wanted, TensorType(dtype, given)]
    (y,) = forward.infer(pair, params.forward)
    merge_shapes(f"{op}: dy against the forward result", y.shape, dy)
    return (wanted,)


def _filter_grad_flops(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: ConvGradParams) -> int:
    kh, kw, cin, _ = outputs[0].dims
    return 2 * inputs[1].size * kh * kw * cin


def _input_grad_flops(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: ConvGradParams) -> int:
    kh, kw, cin, _ = inputs[0].dims
    return 2 * inputs[1].size * kh * kw * cin


def _depthwise_flops(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: ConvGradParams) -> int:
    kh, kw = (inputs[0] if outputs[0].dims == params.shape else outputs[0]).dims[:2]
    return 2 * inputs[1].size * kh * kw


_SUMMED = Tolerance(2e-6, 2e-6, scale_by_reduction=True)

CONV2D_INPUT_GRAD: Contract[ConvGradParams] = Contract(
    "conv2d_input_grad",
    """dx[n, h, w, c] = sum over u, v, o with h = i*sh + u*dh - top, w = j*sw + v*dw - left of dy[n, i, j, o] * f[u, v, c, o].

    Inputs: filter f (height, width, in, out), dy NHWC. Result NHWC of ``params.shape``.""",
    partial(_infer_conv_grad, "conv2d_input_grad", CONV2D, False), ConvGradParams, arity=(2, 2), flops=_input_grad_flops,
    tolerance=_SUMMED,
)  # fmt: skip

CONV2D_FILTER_GRAD: Contract[ConvGradParams] = Contract(
    "conv2d_filter_grad",
    """df[u, v, c, o] = sum over n, i, j of x[n, i*sh + u*dh - top, j*sw + v*dw - left, c] * dy[n, i, j, o].

    Inputs: x NHWC, dy NHWC. Result (height, width, in, out) = ``params.shape``.""",
    partial(_infer_conv_grad, "conv2d_filter_grad", CONV2D, True), ConvGradParams, arity=(2, 2), flops=_filter_grad_flops,
    tolerance=_SUMMED,
)  # fmt: skip

DEPTHWISE_CONV2D_INPUT_GRAD: Contract[ConvGradParams] = Contract(
    "depthwise_conv2d_input_grad",
    """dx of depthwise_conv2d: as conv2d_input_grad, channel c summing over its multiplier only.

    Inputs: filter (height, width, in, multiplier), dy (N, OH, OW, in * multiplier). Result NHWC of ``params.shape``.""",
    partial(_infer_conv_grad, "depthwise_conv2d_input_grad", DEPTHWISE_CONV2D, False), ConvGradParams, arity=(2, 2),
    flops=_depthwise_flops, tolerance=_SUMMED,
)  # fmt: skip

DEPTHWISE_CONV2D_FILTER_GRAD: Contract[ConvGradParams] = Contract(
    "depthwise_conv2d_filter_grad",
    """df of depthwise_conv2d: df[u, v, c, q] = sum over n, i, j of x[n, ..., c] * dy[n, i, j, c*m + q].

    Inputs: x NHWC, dy (N, OH, OW, in * multiplier). Result (height, width, in, multiplier) = ``params.shape``.""",
    partial(_infer_conv_grad, "depthwise_conv2d_filter_grad", DEPTHWISE_CONV2D, True), ConvGradParams, arity=(2, 2),
    flops=_depthwise_flops, tolerance=_SUMMED,
)  # fmt: skip


def _infer_max_pool_grad(inputs: Sequence[TensorType], params: Pool2DParams) -> tuple[TensorType, ...]:
    x, y, dy = inputs
    dtype = require_same_dtype("max_pool2d_grad", inputs)
    require_dtype("max_pool2d_grad", "the input", dtype, FLOATS)
    (forward,) = MAX_POOL2D.infer([x], params)
    for what, t in (("y", y), ("dy", dy)):
        merge_shapes(f"max_pool2d_grad: {what} against the forward result", forward.shape, t.shape)
    return (x,)


MAX_POOL2D_GRAD: Contract[Pool2DParams] = Contract(
    "max_pool2d_grad",
    """Each dy[n, i, j, c] is added to dx at the first cell of its window (row by row) that equals y[n, i, j, c].

    Inputs x, y, dy, all NHWC; result like x. A window whose y is NaN adds to its first NaN.""",
    _infer_max_pool_grad, Pool2DParams, arity=(3, 3), tolerance=Tolerance(1e-6, 1e-6),
    flops=lambda inputs, outputs, params: inputs[1].size * params.window[0] * params.window[1],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AvgPool2DGradParams(Params):
    """``forward``: the pooling's own parameters. ``shape``: that of its input x."""

    forward: Pool2DParams
    shape: tuple[int, int, int, int]


def _infer_avg_pool_grad(inputs: Sequence[TensorType], params: AvgPool2DGradParams) -> tuple[TensorType, ...]:
    (dy,) = inputs
    require_dtype("avg_pool2d_grad", "dy", dy.dtype, FLOATS)
    (forward,) = AVG_POOL2D.infer([TensorType(dy.dtype, params.shape)], params.forward)
    merge_shapes("avg_pool2d_grad: dy against the forward result", forward.shape, dy.shape)
    return (TensorType(dy.dtype, params.shape),)


AVG_POOL2D_GRAD: Contract[AvgPool2DGradParams] = Contract(
    "avg_pool2d_grad",
    "Each dy[n, i, j, c], divided by its window's divisor (as in avg_pool2d), is added to all cells of the window inside x.",
    _infer_avg_pool_grad, AvgPool2DGradParams, tolerance=Tolerance(2e-6, 1e-6),
    flops=lambda inputs, outputs, params: inputs[0].size * params.forward.window[0] * params.forward.window[1],
)  # fmt: skip


def _infer_activation_grad(op: str, inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    dtype = require_same_dtype(op, inputs)
    require_dtype(op, "each input", dtype, FLOATS)
    return (TensorType(dtype, merge_shapes(op, inputs[0].shape, inputs[1].shape)),)


RELU_GRAD: Contract[Params] = Contract(
    "relu_grad", "dx = dy where x > 0, else 0. Inputs dy, x (relu's input or its result), of one shape.",
    partial(_infer_activation_grad, "relu_grad"), arity=(2, 2), tolerance=Tolerance(0, 0),
    flops=lambda inputs, outputs, params: outputs[0].size,
)  # fmt: skip

RELU6_GRAD: Contract[Params] = Contract(
    "relu6_grad", "dx = dy where 0 < x < 6, else 0. Inputs dy, x (relu6's input or its result), of one shape.",
    partial(_infer_activation_grad, "relu6_grad"), arity=(2, 2), tolerance=Tolerance(0, 0),
    flops=lambda inputs, outputs, params: outputs[0].size,
)  # fmt: skip


def _infer_cross_entropy(op: str, sparse: bool, inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    logits, labels = inputs
    require_dtype(op, "the logits", logits.dtype, FLOATS)
    rows, classes = require_rank(op, "the logits (rows, classes)", logits.shape, 2)
    if classes == 0:
        raise ShapeError(f"{op}: the logits have no classes: {shape_text(logits.shape)}")
    if sparse:
        require_dtype(op, "the labels", labels.dtype, INTEGERS)
        merged = merge_shapes(f"{op}: labels against logits", (rows,), labels.shape)
        rows = merged[0] if merged else rows
    else:
        require_same_dtype(op, inputs)
        merged = merge_shapes(f"{op}: labels against logits", logits.shape, labels.shape)
        rows, classes = merged if merged else (rows, classes)
    return TensorType(logits.dtype, (rows,)), TensorType(logits.dtype, (rows, classes))


SOFTMAX_CROSS_ENTROPY: Contract[Params] = Contract(
    "softmax_cross_entropy",
    """loss[i] = -sum over c of labels[i, c] * log_softmax(logits)[i, c]; d[i, c] = softmax(logits)[i, c] * sum(labels[i]) - labels[i, c].

    Inputs logits (rows, classes), labels of the same shape (each row usually sums to 1). Results: loss (rows,), and its
    gradient d with respect to the logits.""",
    partial(_infer_cross_entropy, "softmax_cross_entropy", False), arity=(2, 2), tolerance=Tolerance(4e-6, 2e-6),
    flops=lambda inputs, outputs, params: 8 * inputs[0].size,
)  # fmt: skip

SPARSE_SOFTMAX_CROSS_ENTROPY: Contract[Params] = Contract(
    "sparse_softmax_cross_entropy",
    """softmax_cross_entropy with the labels given as class numbers (rows,), any integer type.

    A label outside [0, classes) is an error. Results: loss (rows,), gradient with respect to the logits.""",
    partial(_infer_cross_entropy, "sparse_softmax_cross_entropy", True), arity=(2, 2), tolerance=Tolerance(4e-6, 2e-6),
    flops=lambda inputs, outputs, params: 8 * inputs[0].size,
)  # fmt: skip


def _infer_lrn_grad(inputs: Sequence[TensorType], params: LRNParams) -> tuple[TensorType, ...]:
    dtype = require_same_dtype("lrn_grad", inputs)
    require_dtype("lrn_grad", "each input", dtype, FLOATS)
    shape: Shape = (None,) * 4
    for what, t in zip(("dy", "x", "y"), inputs, strict=True):
        shape = merge_shapes("lrn_grad", shape, require_rank("lrn_grad", f"{what} (NHWC)", t.shape, 4))
    return (TensorType(dtype, shape),)


LRN_GRAD: Contract[LRNParams] = Contract(
    "lrn_grad",
    """dx[..., c] = dy[..., c] * n[..., c] ** -beta - 2 * alpha * beta * x[..., c] * sum over |j - c| <= depth_radius of (dy * y / n)[..., j].

    Inputs dy, x, y (the result of lrn), of one shape, NHWC. n and its power are those of lrn.""",
    _infer_lrn_grad, LRNParams, arity=(3, 3), tolerance=Tolerance(1e-5, 1e-5),
    flops=lambda inputs, outputs, params: outputs[0].size * (4 * params.reach(outputs[0].dims[-1]) + 12),
)  # fmt: skip


def _infer_statistics_grad(inputs: Sequence[TensorType], params: BatchNormParams) -> tuple[TensorType, ...]:
    op = "batch_norm_statistics_grad"
    dtype = require_same_dtype(op, inputs)
    require_dtype(op, "each input", dtype, FLOATS)
    shape = merge_shapes(f"{op}: dy and x", inputs[0].shape, inputs[1].shape)
    if shape == ():
        raise ShapeError(f"{op}: x must have a last axis of channels, got a scalar")
    channels = None if shape is None else shape[-1:]
    for t in inputs[2:]:
        channels = merge_shapes(f"{op}: channels", channels, require_rank(op, "every other input", t.shape, 1))
    whole = None if shape is None or channels is None else (*shape[:-1], *channels)
    return (TensorType(dtype, whole), TensorType(dtype, channels), TensorType(dtype, channels))


BATCH_NORM_STATISTICS_GRAD: Contract[BatchNormParams] = Contract(
    "batch_norm_statistics_grad",
    """dx, d_scale, d_offset of y = n * scale + offset with n = (x - mean) / sqrt(variance + epsilon), mean and variance those of x.

    d_offset[c] = sum of dy[..., c], d_scale[c] = sum of (dy * n)[..., c], dx = (dy - d_offset / rows - n * d_scale / rows) *
    scale / sqrt(variance + epsilon). Inputs dy, x of one shape, channels last, scale, mean, variance (C,).""",
    _infer_statistics_grad, BatchNormParams, arity=(5, 5), tolerance=Tolerance(2e-6, 1e-5, scale_by_reduction=True),
    flops=lambda inputs, outputs, params: 8 * outputs[0].size,
)  # fmt: skip

#: All of them; a backend for inference alone (cupy) has none.
BACKWARD: tuple[Contract[Any], ...] = (
    CONV2D_INPUT_GRAD, CONV2D_FILTER_GRAD, DEPTHWISE_CONV2D_INPUT_GRAD, DEPTHWISE_CONV2D_FILTER_GRAD, MAX_POOL2D_GRAD,
    AVG_POOL2D_GRAD, RELU_GRAD, RELU6_GRAD, SOFTMAX_CROSS_ENTROPY, SPARSE_SOFTMAX_CROSS_ENTROPY, LRN_GRAD,
    BATCH_NORM_STATISTICS_GRAD,
)  # fmt: skip
