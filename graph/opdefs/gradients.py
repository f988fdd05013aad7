"""Backward ops, under TensorFlow's names where it has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...kernels.contracts import gradients as g
from ...kernels.contracts.base import Contract, broadcast_shapes
from ...kernels.contracts.conv2d import Conv2DParams
from ...kernels.contracts.layout import IDENTITY
from ...kernels.contracts.normalization import BatchNormParams
from ...kernels.contracts.pool2d import Pool2DParams
from ...kernels.contracts.reduce import REDUCE_SUM, ReduceParams
from ...kernels.tensor import TensorType
from ..errors import GraphError
from .attributes import FORMAT, I64, Attr, T, of
from .base import Lowered, NeedsValue, OpDef, Site, entries, ints, simple
from .nn import AVG_POOL, CONV, DEPTHWISE, LRN_ROW, MAX_POOL, conv2d_params, pool2d_params

__all__ = ["DEFS"]


def _four(site: Site, index: int) -> tuple[int, int, int, int]:
    sizes = ints(site, index, "the shape of the gradient")
    if len(sizes) != 4:
        raise GraphError(f"{site.op} '{site.name}': the shape of the gradient must have 4 sizes, got {sizes}")
    return sizes[0], sizes[1], sizes[2], sizes[3]


def _input_grad(contract: Contract[g.ConvGradParams]) -> Callable[[Site], Lowered]:
    """(sizes of x, filter, dy); the sizes may be height and width alone."""

    def lower(site: Site) -> Lowered:
        forward = conv2d_params(site)
        sizes = ints(site, 0, "the shape of the gradient")
        shape = _of_input(site, sizes) if len(sizes) == 2 else _four(site, 0)
        if None in shape:
            raise NeedsValue(2)
        return Lowered(contract, g.ConvGradParams(_plain(forward), tuple(d or 0 for d in shape)), (1, 2))  # type: ignore[arg-type]

    return lower


def _of_input(site: Site, sizes: Sequence[int | None] | None) -> tuple[int | None, ...]:
    """What is known of (N, H, W, C) of a convolution's input: of its sizes, the filter and the result."""
    w, dy = (t.shape if t.shape is not None and len(t.shape) == 4 else (None,) * 4 for t in site.inputs[1:])
    if sizes is None or len(sizes) not in (2, 4):
        return dy[0], None, None, w[2]
    n, h, width, c = (None, *sizes, None) if len(sizes) == 2 else sizes
    return (dy[0] if n is None else n, h, width, w[2] if c is None else c)


def _unknown_input(site: Site) -> tuple[TensorType, ...]:
    return (TensorType(site.inputs[2].dtype, _of_input(site, entries(site, 0))),)


def _filter_grad(contract: Contract[g.ConvGradParams]) -> Callable[[Site], Lowered]:
    """(x, sizes of the filter, dy)"""

    def lower(site: Site) -> Lowered:
        forward = conv2d_params(site)
        return Lowered(contract, g.ConvGradParams(_plain(forward), _four(site, 1)), (0, 2))

    return lower


def _plain(forward: Conv2DParams) -> Conv2DParams:
    return Conv2DParams(forward.strides, forward.padding, forward.dilations)


def _unknown_4d(source: int) -> Callable[[Site], tuple[TensorType, ...]]:
    return lambda site: (TensorType(site.inputs[source].dtype, (None,) * 4),)


def _max_pool_grad(site: Site) -> Lowered:
    return Lowered(g.MAX_POOL2D_GRAD, pool2d_params(site))


def _avg_pool_grad(site: Site) -> Lowered:
    """(sizes of x, dy)"""
    forward: Pool2DParams = pool2d_params(site)
    return Lowered(g.AVG_POOL2D_GRAD, g.AvgPool2DGradParams(forward, _four(site, 0)), (1,))


def _bias_add_grad(site: Site) -> Lowered:
    rank = site.inputs[0].rank
    if rank is None:
        raise NeedsValue(0)
    return Lowered(REDUCE_SUM, ReduceParams(tuple(range(rank - 1))), (0,))


def _infer_bias_add_grad(site: Site) -> tuple[TensorType, ...]:
    shape = site.inputs[0].shape
    return (TensorType(site.inputs[0].dtype, None if shape is None else shape[-1:]),)


def _sum_to(site: Site) -> Lowered:
    """The sum over what broadcasting had repeated: the gradient of an operand of shape ``target``."""
    target = ints(site, 1, "the target shape")
    shape = site.inputs[0].shape
    if shape is None or None in shape:
        raise NeedsValue(0)
    if broadcast_shapes(f"{site.op} '{site.name}'", [shape, target]) != shape:
        raise GraphError(f"{site.op} '{site.name}': {target} does not broadcast to {shape}")
    offset = len(shape) - len(target)
    axes = tuple(i for i, d in enumerate(shape) if i < offset or (target[i - offset] == 1 and d != 1))
    if not axes:
        return Lowered(IDENTITY, inputs=(0,))
    return Lowered(REDUCE_SUM, ReduceParams(axes), (0,))


def _infer_sum_to(site: Site) -> tuple[TensorType, ...]:
    dtype = site.inputs[0].dtype
    try:
        target = ints(site, 1, "the target shape")
    except NeedsValue:
        rank = site.inputs[1].shape
        return (TensorType(dtype, (None,) * rank[0] if rank and rank[0] is not None else None),)
    return (TensorType(dtype, target),)


def _batch_norm_grad(site: Site) -> Lowered:
    return Lowered(g.BATCH_NORM_STATISTICS_GRAD, BatchNormParams(float(site.attr("epsilon", 1e-4))))


DEFS: tuple[OpDef, ...] = (
    simple("ReluGrad", g.RELU_GRAD),
    simple("Relu6Grad", g.RELU6_GRAD),
    simple("LRNGrad", g.LRN_GRAD, LRN_ROW),
    simple("SoftmaxCrossEntropyWithLogits", g.SOFTMAX_CROSS_ENTROPY),
    simple(
        "SparseSoftmaxCrossEntropyWithLogits", g.SPARSE_SOFTMAX_CROSS_ENTROPY,
        attributes={**T, "Tlabels": of(1, I64)},
    ),
    OpDef(
        "Conv2DBackpropInput", _input_grad(g.CONV2D_INPUT_GRAD), arity=(3, 3), values=(0,), unknown=_unknown_input,
        attributes={**CONV, "T": of(1)},
    ),
    OpDef(
        "Conv2DBackpropFilter", _filter_grad(g.CONV2D_FILTER_GRAD), arity=(3, 3), values=(1,), unknown=_unknown_4d(2),
        attributes=CONV,
    ),
    OpDef(
        "DepthwiseConv2dNativeBackpropInput", _input_grad(g.DEPTHWISE_CONV2D_INPUT_GRAD), arity=(3, 3), values=(0,),
        unknown=_unknown_input, attributes={**DEPTHWISE, "T": of(1)},
    ),
    OpDef(
        "DepthwiseConv2dNativeBackpropFilter", _filter_grad(g.DEPTHWISE_CONV2D_FILTER_GRAD), arity=(3, 3), values=(1,),
        unknown=_unknown_4d(2), attributes=DEPTHWISE,
    ),
    OpDef("MaxPoolGrad", _max_pool_grad, arity=(3, 3), attributes=MAX_POOL),
    OpDef(
        "AvgPoolGrad", _avg_pool_grad, arity=(2, 2), values=(0,), unknown=_unknown_4d(1),
        attributes={**AVG_POOL, "T": of(1)},
    ),
    OpDef(
        "BiasAddGrad", _bias_add_grad, infer=_infer_bias_add_grad, attributes={**T, "data_format": FORMAT}
    ),
    OpDef("KiBatchNormGrad", _batch_norm_grad, arity=(5, 5), attributes={"epsilon": Attr("float", 1e-4)}),
    OpDef("KiSumTo", _sum_to, arity=(2, 2), values=(1,), infer=_infer_sum_to),
)  # fmt: skip
