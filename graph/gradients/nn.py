"""Gradients of convolutions, pooling, normalisation, softmax and cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernels.contracts import conv2d as c
from ...kernels.contracts import gradients as g
from ...kernels.contracts import normalization as n
from ...kernels.contracts import pool2d as p
from ...kernels.contracts import softmax as s
from .. import ops
from ..builder import Tensor
from ..ops.building import add_op, constant
from .registry import Use, gradient_of, shape_of

__all__: list[str] = []

Grads = Sequence[Tensor]
Result = Sequence[Tensor | None]

_CONV_ATTRS = ("strides", "padding", "explicit_paddings", "dilations", "data_format")
_POOL_ATTRS = ("ksize", "strides", "padding", "explicit_paddings", "data_format", "count_include_pad")

_LRN_ATTRS = ("depth_radius", "bias", "alpha", "beta")


def _attrs(use: Use, names: Sequence[str]) -> dict[str, object]:
    return {k: use.attrs[k] for k in names if k in use.attrs}


def _conv(use: Use, dy: Tensor, input_op: str, filter_op: str) -> Result:
    x, w = use.inputs
    attrs = _attrs(use, _CONV_ATTRS)
    return [
        add_op(input_op, [shape_of(x), w, dy], None, **attrs),
        add_op(filter_op, [x, shape_of(w), dy], None, **attrs),
    ]


@gradient_of(c.CONV2D)
def _conv2d(use: Use, grads: Grads) -> Result:
    return _conv(use, grads[0], "Conv2DBackpropInput", "Conv2DBackpropFilter")


@gradient_of(c.DEPTHWISE_CONV2D)
def _depthwise(use: Use, grads: Grads) -> Result:
    return _conv(use, grads[0], "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter")


@gradient_of(g.CONV2D_INPUT_GRAD)
def _conv2d_input_grad(use: Use, grads: Grads) -> Result:
    """The input gradient is linear in the filter and in dy; grads[0] has the shape of the convolution's input."""
    w, dy = use.inputs
    attrs = _attrs(use, _CONV_ATTRS)
    return [
        add_op("Conv2DBackpropFilter", [grads[0], shape_of(w), dy], None, **attrs),
        add_op("Conv2D", [grads[0], w], None, **attrs),
    ]


@gradient_of(g.CONV2D_FILTER_GRAD)
def _conv2d_filter_grad(use: Use, grads: Grads) -> Result:
    """The filter gradient is linear in x and in dy; grads[0] has the shape of the filter."""
    x, dy = use.inputs
    attrs = _attrs(use, _CONV_ATTRS)
    return [
        add_op("Conv2DBackpropInput", [shape_of(x), grads[0], dy], None, **attrs),
        add_op("Conv2D", [x, grads[0]], None, **attrs),
    ]


@gradient_of(p.MAX_POOL2D)
def _max_pool(use: Use, grads: Grads) -> Result:
    return [add_op("MaxPoolGrad", [use.x, use.y, grads[0]], None, **_attrs(use, _POOL_ATTRS))]


@gradient_of(p.AVG_POOL2D)
def _avg_pool(use: Use, grads: Grads) -> Result:
    return [add_op("AvgPoolGrad", [shape_of(use.x), grads[0]], None, **_attrs(use, _POOL_ATTRS))]


@gradient_of(g.RELU_GRAD)
def _relu_grad(use: Use, grads: Grads) -> Result:
    return [add_op("ReluGrad", [grads[0], use.inputs[1]], None), None]


@gradient_of(g.RELU6_GRAD)
def _relu6_grad(use: Use, grads: Grads) -> Result:
    return [add_op("Relu6Grad", [grads[0], use.inputs[1]], None), None]


@gradient_of(n.BIAS_ADD)
def _bias_add(use: Use, grads: Grads) -> Result:
    return [grads[0], add_op("BiasAddGrad", [grads[0]], None)]


@gradient_of(n.BATCH_NORM)
def _batch_norm(use: Use, grads: Grads) -> Result:
    """With given statistics: x, mean, variance, offset and maybe scale are all plain inputs."""
    x, mean, variance, _, *scale = use.inputs
    dy = grads[0]
    inverse = ops.rsqrt(ops.add(variance, constant(use.params.epsilon, x.dtype)))
    factor = ops.multiply(inverse, scale[0]) if scale else inverse
    centred = ops.multiply(ops.subtract(x, mean), inverse)
    sum_dy = add_op("BiasAddGrad", [dy], None)
    sum_dy_centred = add_op("BiasAddGrad", [ops.multiply(dy, centred)], None)
    half = constant(-0.5, x.dtype)
    result: list[Tensor | None] = [
        ops.multiply(dy, factor),
        ops.negative(ops.multiply(sum_dy, factor)),
        ops.multiply(half, ops.multiply(sum_dy_centred, ops.multiply(factor, inverse))),
        sum_dy,
    ]
    return [*result, sum_dy_centred] if scale else result


@gradient_of(n.BATCH_NORM_STATISTICS)
def _batch_norm_statistics(use: Use, grads: Grads) -> Result:
    """x, scale, offset, and for a factor other than 1 the running statistics; flows through all five results."""
    x, scale, _, *running = use.inputs
    wide, factor = scale.dtype, use.params.factor
    mean, variance = use.outputs[3:5]
    image, dy = ops.cast(x, wide), ops.cast(grads[0], wide)
    dx, d_scale, d_offset = add_op(
        "KiBatchNormGrad", [dy, image, scale, mean, variance], None, epsilon=use.params.epsilon
    ).op.outputs
    result: list[Tensor | None] = [dx, d_scale, d_offset, *[None for _ in running]]
    if any(not _is_zeros(g) for g in grads[1:5]):
        rows = ops.cast(ops.reduce_prod(shape_of(x)[:-1]), wide)
        unbiased = ops.divide(rows, ops.maximum(ops.subtract(rows, constant(1, wide)), constant(1, wide)))
        share = constant(factor, wide)
        for_mean = ops.add(grads[3], ops.multiply(grads[1], share))
        for_variance = ops.add(grads[4], ops.multiply(grads[2], ops.multiply(unbiased, share)))
        slope = ops.multiply(ops.multiply(constant(2, wide), ops.subtract(image, mean)), for_variance)
        result[0] = ops.add(dx, ops.divide(ops.add(for_mean, slope), rows))
        result[3:] = [ops.multiply(g, constant(1 - factor, wide)) for g, _ in zip(grads[1:3], running, strict=False)]
    result[0] = ops.cast(result[0], x.dtype)
    return result


def _is_zeros(gradient: Tensor) -> bool:
    """Whether a gradient is the zeros that stand for none."""
    if gradient.op.type != "Fill" or gradient.op.inputs[1].op.type != "Const":
        return False
    return not gradient.op.inputs[1].op.attrs["value"].array().any()


@gradient_of(n.LRN)
def _lrn(use: Use, grads: Grads) -> Result:
    return [add_op("LRNGrad", [grads[0], use.x, use.y], None, **_attrs(use, _LRN_ATTRS))]


@gradient_of(s.SOFTMAX)
def _softmax(use: Use, grads: Grads) -> Result:
    dot = ops.reduce_sum(ops.multiply(grads[0], use.y), use.params.axis, keepdims=True)
    return [ops.multiply(ops.subtract(grads[0], dot), use.y)]


@gradient_of(s.LOG_SOFTMAX)
def _log_softmax(use: Use, grads: Grads) -> Result:
    total = ops.reduce_sum(grads[0], use.params.axis, keepdims=True)
    return [ops.subtract(grads[0], ops.multiply(ops.exp(use.y), total))]


@gradient_of(g.SOFTMAX_CROSS_ENTROPY)
def _cross_entropy(use: Use, grads: Grads) -> Result:
    logits, _ = use.inputs
    rows = ops.expand_dims(grads[0], 1)

    return [ops.multiply(rows, use.outputs[1]), ops.negative(ops.multiply(rows, ops.log_softmax(logits)))]


@gradient_of(g.SPARSE_SOFTMAX_CROSS_ENTROPY)
def _sparse_cross_entropy(use: Use, grads: Grads) -> Result:
    return [ops.multiply(ops.expand_dims(grads[0], 1), use.outputs[1]), None]
