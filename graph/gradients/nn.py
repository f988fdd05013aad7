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
