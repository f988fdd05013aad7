"""Convolutions, pooling, normalisation, activations, image resizing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...kernels.contracts import elementwise as e
from ...kernels.contracts.base import Contract
from ...kernels.contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams, Padding
from ...kernels.contracts.normalization import (
    BATCH_NORM,
    BATCH_NORM_STATISTICS,
    BIAS_ADD,
    LRN,
    BatchNormParams,
    BatchStatisticsParams,
)
from ...kernels.contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from ...kernels.contracts.resize import RESIZE_BILINEAR, ResizeParams
from ...kernels.contracts.siblings import SIBLING_CONV2D, Sibling, SiblingParams
from ...kernels.contracts.softmax import LOG_SOFTMAX, SOFTMAX
from ...kernels.tensor import TensorType
from ..errors import GraphError
from .attributes import ACTIVATION, FALSE, FINISH, FORMAT, TRUE, Attr, Row, T, of, types
from .base import Lowered, OpDef, Site, attr_ints, entries, ints, simple

__all__ = [
    "AVG_POOL",
    "CONV",
    "DEFS",
    "DEPTHWISE",
    "LRN_ROW",
    "MAX_POOL",
    "NORM",
    "batch_norm_types",
    "conv2d_params",
    "conv2d_types",
    "groups_of",
    "is_mixed",
    "pool2d_params",
]


def _spatial(site: Site, name: str, default: tuple[int, ...] | None = None) -> tuple[int, int]:
    """Height and width of a 4-entry NHWC attribute; batch and channels must be 1."""
    n, h, w, c = attr_ints(site, name, 4, default)
    if n != 1 or c != 1:
        raise site.unsupported(f"{name} {(n, h, w, c)} over batch or channels", "they must be 1 there")
    return h, w


def _padding(site: Site) -> Padding:
    padding = site.attr("padding")
    if padding != "EXPLICIT" and site.attr("explicit_paddings", ()):
        raise GraphError(
            f"{site.op} '{site.name}': explicit_paddings {site.attrs['explicit_paddings']} with padding {padding!r}; "
            "they are for padding EXPLICIT only"
        )
    if padding == "SAME" or padding == "VALID":
        return padding  # type: ignore[no-any-return]
    if padding == "EXPLICIT":
        pads = attr_ints(site, "explicit_paddings", 8)
        if pads[:2] != (0, 0) or pads[6:] != (0, 0):
            raise site.unsupported(f"padding {pads} of batch or channels", "pad height and width only")
        return pads[2], pads[3], pads[4], pads[5]
    raise GraphError(f"{site.op} '{site.name}': padding must be SAME, VALID or EXPLICIT, got {padding!r}")


def conv2d_params(site: Site) -> Conv2DParams:
    """Strides, padding, dilations and activation of a convolution (forward and backward ops)."""
    return Conv2DParams(
        _spatial(site, "strides"),
        _padding(site),
        _spatial(site, "dilations", (1, 1, 1, 1)),
        site.attr("activation", "none"),
        bool(site.attr("narrow", False)),
        site.attr("finish", ""),
    )


def pool2d_params(site: Site) -> Pool2DParams:
    """Window, strides, padding and activation of a pooling op (forward and backward)."""
    return Pool2DParams(
        _spatial(site, "ksize"),
        _spatial(site, "strides"),
        _padding(site),
        bool(site.attr("count_include_pad", False)),
        site.attr("activation", "none"),
    )


def groups_of(x: TensorType, w: TensorType) -> int:
    """How many groups of channels a Conv2D has: 1 unless the image has a multiple of the filter's input channels."""
    if x.shape is None or w.shape is None or len(x.shape) != 4 or len(w.shape) != 4:
        return 1
    cin, taken = x.shape[3], w.shape[2]
    return cin // taken if cin and taken and cin % taken == 0 else 1


def _conv2d(site: Site) -> Lowered:
    groups = groups_of(*site.inputs[:2])
    if groups > 1:  # what the plan could, it has split already
        raise site.unsupported(
            f"a grouped convolution (groups = {groups})",
            "give the image a known number of channels, so that it is split into one convolution per group, and no gradient",
        )
    return Lowered(CONV2D, conv2d_params(site))


def conv2d_types(site: Site) -> tuple[TensorType, ...]:
    """Types of a Conv2D: every group is a convolution of its own channels."""
    x, w = site.inputs[:2]
    groups = groups_of(x, w)
    if groups > 1 and x.shape is not None and w.shape is not None:
        if w.shape[3] is not None and w.shape[3] % groups:
            raise GraphError(
                f"Conv2D '{site.name}': {groups} groups ({x} with a filter {w}) do not divide {w.shape[3]} output channels"
            )
        x = TensorType(x.dtype, (*x.shape[:3], w.shape[2]))
    return CONV2D.check([x, w], conv2d_params(site))


def _conv(contract: Contract[Conv2DParams]) -> Callable[[Site], Lowered]:
    return lambda site: Lowered(contract, conv2d_params(site))


def _pool(contract: Contract[Pool2DParams]) -> Callable[[Site], Lowered]:
    return lambda site: Lowered(contract, pool2d_params(site))


def _siblings(site: Site) -> Lowered:
    """x, then w and perhaps a bias of every sibling; attributes ``biases`` and ``activations`` have an entry for each."""
    pairs = zip(site.attr("biases", ()), site.attr("activations", ()), strict=True)
    return Lowered(
        SIBLING_CONV2D, SiblingParams(tuple(Sibling(bool(b), a) for b, a in pairs), bool(site.attr("narrow", False)))
    )


def _bias_add(site: Site) -> Lowered:
    return Lowered(BIAS_ADD)


def _old_batch_norm(site: Site) -> Lowered:
    """x, mean, variance, beta, gamma; gamma is ignored unless scale_after_normalization."""
    missing = [k for k in ("scale_after_normalization", "variance_epsilon") if k not in site.attrs]
    if missing:
        raise GraphError(f"{site.op} '{site.name}': attribute {missing[0]} is missing; it has no default")
    scaled, epsilon = bool(site.attrs["scale_after_normalization"]), float(site.attrs["variance_epsilon"])
    return Lowered(BATCH_NORM, BatchNormParams(epsilon), (0, 1, 2, 3, 4) if scaled else (0, 1, 2, 3))


def _fused_batch_norm(site: Site) -> Lowered:
    """x, scale, offset, mean, variance."""
    epsilon = float(site.attr("epsilon", 1e-4))
    if site.attr("is_training", True):
        factor = float(site.attr("exponential_avg_factor", 1.0))
        inputs = (0, 1, 2) if factor == 1 else (0, 1, 2, 3, 4)
        return Lowered(BATCH_NORM_STATISTICS, BatchStatisticsParams(epsilon, factor), inputs)
    return Lowered(BATCH_NORM, BatchNormParams(epsilon), (0, 3, 4, 2, 1))


def is_mixed(x: TensorType, scale: TensorType) -> bool:
    """Whether a FusedBatchNorm has a float16 image and float32 statistics."""
    return x.dtype == np.float16 and scale.dtype == np.float32


def batch_norm_types(site: Site) -> tuple[TensorType, ...]:
    """Types of the result and of four statistics; the third version has one more output."""
    x, scale = site.inputs[:2]
    lowered = _fused_batch_norm(site)
    # float16 with float32 statistics is computed in float32 (passes/expand_fused.py).
    wide = replace(site, inputs=(TensorType(scale.dtype, x.shape), *site.inputs[1:]))
    made = lowered.contract.check(lowered.pick((wide if is_mixed(x, scale) else site).inputs), lowered.params)
    x = TensorType(x.dtype, made[0].shape)
    statistics = TensorType(scale.dtype, scale.shape)
    extra = (TensorType(np.dtype(np.float32)),) if site.op in ("FusedBatchNormV3", "_FusedBatchNormEx") else ()
    return (x, statistics, statistics, statistics, statistics, *extra)


def _resize_bilinear(site: Site) -> Lowered:
    size = ints(site, 1, "the size (height, width)")
    if len(size) != 2:
        raise GraphError(f"{site.op} '{site.name}': size must be (height, width), got {size}")
    params = ResizeParams(
        (size[0], size[1]), bool(site.attr("align_corners", False)), bool(site.attr("half_pixel_centers", False))
    )
    return Lowered(RESIZE_BILINEAR, params, (0,))


def _unknown_resize(site: Site) -> tuple[TensorType, ...]:
    shape = site.inputs[0].shape
    ends = (None, None) if shape is None or len(shape) != 4 else (shape[0], shape[3])
    size = entries(site, 1)
    height, width = size if size is not None and len(size) == 2 else (None, None)
    return (TensorType(np.dtype(np.float32), (ends[0], height, width, ends[1])),)


_ACTIVATIONS: tuple[tuple[str, Contract[Any]], ...] = (
    ("Relu", e.RELU), ("Relu6", e.RELU6), ("Sigmoid", e.SIGMOID), ("Tanh", e.TANH), ("Softplus", e.SOFTPLUS),
    ("Elu", e.ELU), ("Selu", e.SELU), ("Softsign", e.SOFTSIGN),
)  # fmt: skip


def _statistics(attrs: Mapping[str, Any]) -> Mapping[int, int]:
    """With given statistics the outputs for mean and variance are the inputs; in training mode they are computed."""
    return {} if attrs.get("is_training", True) else {1: 3, 2: 4, 3: 3, 4: 4}


_WINDOW: Row = {"strides": Attr("ints"), "padding": Attr("string"), "data_format": FORMAT, **T}
_PADDINGS: Row = {"explicit_paddings": Attr("ints", ())}
DEPTHWISE: Row = {**_WINDOW, **_PADDINGS, "dilations": Attr("ints", (1, 1, 1, 1))}
CONV: Row = {**DEPTHWISE, "use_cudnn_on_gpu": TRUE}
_POOL: Row = {**_WINDOW, "ksize": Attr("ints")}
MAX_POOL: Row = {**_POOL, **_PADDINGS, "T": of(0, types("float32")[0])}
AVG_POOL: Row = {
    **_POOL, "explicit_paddings": Attr("ints", (), own=True), "count_include_pad": replace(FALSE, own=True),
}  # fmt: skip
NORM: Row = {
    "epsilon": Attr("float", 1e-4), "exponential_avg_factor": Attr("float", 1.0), "is_training": TRUE, **T,
    "data_format": FORMAT,
}  # fmt: skip
_SOFTMAX: Row = {**T, "axis": Attr("int", -1, own=True)}
LRN_ROW: Row = {
    "T": of(0, types("float32")[0]), "depth_radius": Attr("int", 5), "bias": Attr("float", 1.0),
    "alpha": Attr("float", 1.0), "beta": Attr("float", 0.5),
}  # fmt: skip

DEFS: tuple[OpDef, ...] = (
    *(simple(name, contract) for name, contract in _ACTIVATIONS),
    OpDef("Conv2D", _conv2d, arity=(2, 2), infer=conv2d_types, attributes=CONV),
    OpDef(
        "KiFusedConv2D",
        _conv(CONV2D),
        arity=CONV2D.arity,
        attributes={**CONV, **ACTIVATION, **FINISH, "narrow": FALSE},
    ),
    OpDef("DepthwiseConv2dNative", _conv(DEPTHWISE_CONV2D), arity=(2, 2), attributes=DEPTHWISE),
    OpDef(
        "KiFusedDepthwiseConv2D",
        _conv(DEPTHWISE_CONV2D),
        arity=DEPTHWISE_CONV2D.arity,
        attributes={**DEPTHWISE, **ACTIVATION, **FINISH, "narrow": FALSE},
    ),
    OpDef(
        "KiSiblingConv2D",
        _siblings,
        arity=(2, None),
        attributes={"biases": Attr("list"), "activations": Attr("list"), "narrow": FALSE},
    ),
    OpDef("MaxPool", _pool(MAX_POOL2D), attributes=MAX_POOL),
    OpDef("AvgPool", _pool(AVG_POOL2D), attributes=AVG_POOL),
    OpDef(
        "KiFusedAvgPool",
        _pool(AVG_POOL2D),
        arity=(1, 2),
        attributes={**MAX_POOL, **ACTIVATION, "count_include_pad": FALSE},
    ),
    OpDef("BiasAdd", _bias_add, arity=(2, 2), attributes={**T, "data_format": FORMAT}),
    OpDef("BiasAddV1", _bias_add, arity=(2, 2)),
    OpDef(
        "BatchNormWithGlobalNormalization",
        _old_batch_norm,
        arity=(5, 5),
        attributes={**T, "variance_epsilon": Attr("float"), "scale_after_normalization": Attr("bool")},
    ),
    *(
        OpDef(name, _fused_batch_norm, arity=(5, 5), infer=batch_norm_types, forwards=_statistics, attributes=row)
        for name, row in (
            ("FusedBatchNorm", NORM),
            ("FusedBatchNormV2", {**NORM, "U": of(1)}),
            ("FusedBatchNormV3", {**NORM, "U": of(1)}),
        )
    ),
    OpDef(
        "ResizeBilinear",
        _resize_bilinear,
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_resize,
        attributes={**T, "align_corners": FALSE, "half_pixel_centers": FALSE},
    ),
    simple("Softmax", SOFTMAX, _SOFTMAX),
    simple("LogSoftmax", LOG_SOFTMAX, _SOFTMAX),
    simple("LRN", LRN, LRN_ROW),
    simple("LeakyRelu", e.LEAKY_RELU, {"T": of(0, types("float32")[0]), "alpha": Attr("float", 0.200000003)}),
)
