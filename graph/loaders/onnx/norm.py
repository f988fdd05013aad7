"""Normalisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...builder import Tensor
from .node import Converter, Node, Outputs
from .reduce import leading_size
from .windows import from_nhwc, to_nhwc

__all__ = ["CONVERTERS", "layer_norm", "rms_norm"]


def _trained(
    n: Node,
    x: Tensor,
    scale: Tensor,
    offset: Tensor,
    running: tuple[Tensor, Tensor],
    momentum: float,
    epsilon: float,
) -> Outputs:
    """By the statistics of the batch itself; the running ones follow."""
    rank = n.rank(x)
    axes = n.const([i for i in range(rank) if i != 1])
    wide = n.cast(x, n.dtype(running[0]))
    mean = n.op("Mean", wide, axes, keep_dims=True)
    centred = n.op("Sub", wide, mean)
    variance = n.op("Mean", n.op("Square", centred), axes, keep_dims=True)
    y = n.op("Mul", centred, n.op("Rsqrt", n.op("AddV2", variance, n.like(variance, epsilon))))
    y = n.op("Mul", y, n.cast(n.channels(scale, rank), n.dtype(y)))
    y = n.op("AddV2", y, n.cast(n.channels(offset, rank), n.dtype(y)))
    after = []
    for old, new in zip(running, (mean, variance), strict=True):
        share = n.op("Mul", n.reshape(new, [-1]), n.like(new, 1 - momentum))
        after.append(n.op("AddV2", n.op("Mul", old, n.like(old, momentum)), share))
    return n.cast(y, n.dtype(x)), *after


def _batch_norm(n: Node) -> Outputs:
    x, scale, offset, mean, variance = (n.input(i) for i in range(5))
    epsilon = n.number("epsilon", 1e-5)
    momentum = n.number("momentum", 0.9)
    trained = n.version < 7 and not n.flag("is_test")
    if not n.flag("spatial", True) or trained:
        raise n.unsupported("training mode, or statistics for each position", "export the model for inference")
    if n.flag("training_mode"):
        return _trained(n, x, scale, offset, (mean, variance), momentum, epsilon)
    if n.version < 14 and any(n.wants(i) for i in range(1, 5)):
        raise n.unsupported("training mode", "export the model for inference")
    rank = n.rank(x)
    same = len({n.dtype(t) for t in (x, scale, offset, mean, variance)}) == 1
    if rank == 4 and same and n.dtype(x) == np.float32:
        y = n.ops(
            "FusedBatchNormV3", [to_nhwc(n, x), scale, offset, mean, variance], 6, is_training=False, epsilon=epsilon
        )[0]
        return from_nhwc(n, y, rank)
    wide = n.dtype(mean)
    factor = n.op("Mul", n.cast(scale, wide), n.op("Rsqrt", n.op("AddV2", variance, n.like(variance, epsilon))))
    shift = n.op("Sub", n.cast(offset, wide), n.op("Mul", mean, factor))
    if rank == 1:
        raise n.unsupported("a batch norm of one axis")
    y = n.op("Mul", n.cast(x, wide), n.channels(factor, rank))
    return n.cast(n.op("AddV2", y, n.channels(shift, rank)), n.dtype(x))


def _moments(n: Node, x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """x with mean 0 and variance 1 over the axes; its mean, and what it was multiplied by."""
    where = n.const(list(axes))
    mean = n.op("Mean", x, where, keep_dims=True)
    centred = n.op("Sub", x, mean)
    variance = n.op("Mean", n.op("Square", centred), where, keep_dims=True)
    factor = n.op("Rsqrt", n.op("AddV2", variance, n.like(x, epsilon)))
    return n.op("Mul", centred, factor), mean, factor


def layer_norm(
    n: Node, x: Tensor, scale: Tensor, offset: Tensor | None, axis: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Over all axes from ``axis`` on, in float32 at least; the mean, and 1 / deviation."""
    dtype, rank = n.dtype(x), n.rank(x)
    wide = n.cast(x, "float32") if dtype == np.float16 else x
    y, mean, factor = _moments(n, wide, range(n.axis(axis, rank), rank), epsilon)
    y = n.op("Mul", n.cast(y, dtype), scale)
    return y if offset is None else n.op("AddV2", y, offset), mean, factor


def _layer_norm(n: Node) -> Outputs:
    n.ignore("stash_type")  # float32 is the least that is taken
    return layer_norm(n, n.input(0), n.input(1), n.optional(2), n.integer("axis", -1), n.number("epsilon", 1e-5))


def rms_norm(n: Node, x: Tensor, scale: Tensor, axis: int, epsilon: float) -> Tensor:
    """x / sqrt(mean of x ** 2) over all axes from ``axis`` on."""
    dtype, rank = n.dtype(x), n.rank(x)
    wide = n.cast(x, "float32") if dtype == np.float16 else x
    where = n.const(list(range(n.axis(axis, rank), rank)))
    square = n.op("Mean", n.op("Square", wide), where, keep_dims=True)
    y = n.op("Mul", wide, n.op("Rsqrt", n.op("AddV2", square, n.like(wide, epsilon))))
    return n.op("Mul", n.cast(y, dtype), scale)


def _rms_norm(n: Node) -> Tensor:
    n.ignore("stash_type")
    return rms_norm(n, n.input(0), n.input(1), n.integer("axis", -1), n.number("epsilon", 1e-5))


def _instance_norm(n: Node) -> Tensor:
    x, scale, offset = n.input(0), n.input(1), n.input(2)
    rank = n.rank(x)
    y = _moments(n, x, range(2, rank), n.number("epsilon", 1e-5))[0]
    return n.op("AddV2", n.op("Mul", y, n.channels(scale, rank)), n.channels(offset, rank))


def _group_norm(n: Node) -> Tensor:
    """Scale and offset are one per group in version 18, one per channel from 21 on."""
    x, scale, offset = n.input(0), n.input(1), n.input(2)
    n.ignore("stash_type")
    groups, epsilon, shape = n.integer("num_groups", 0), n.number("epsilon", 1e-5), n.shape(x)
    channels = shape[1]
    if channels is None:
        raise n.unsupported("a group norm of an unknown number of channels")
    if groups < 1 or channels % groups:
        raise n.wrong(f"{channels} channels in {groups} groups", "a multiple")
    split = n.op("Reshape", x, n.vector([leading_size(n, x, 1), groups, -1]))
    y = _moments(n, split, [2], epsilon)[0]
    if n.version < 21:
        y = n.op("AddV2", n.op("Mul", y, n.reshape(scale, [groups, 1])), n.reshape(offset, [groups, 1]))
        return n.op("Reshape", y, n.sizes(x))
    y = n.op("Reshape", y, n.sizes(x))
    return n.op("AddV2", n.op("Mul", y, n.channels(scale, len(shape))), n.channels(offset, len(shape)))


def _mean_variance(n: Node) -> Tensor:
    axes = n.ints("axes") or (0, 2, 3)
    x = n.input(0)
    where = n.const(list(axes))
    centred = n.op("Sub", x, n.op("Mean", x, where, keep_dims=True))
    deviation = n.op("Sqrt", n.op("Mean", n.op("Square", centred), where, keep_dims=True))
    return n.op("RealDiv", centred, n.op("AddV2", deviation, n.like(x, 1e-9)))


def _lp_norm(n: Node) -> Tensor:
    x, axis, p = n.input(0), n.integer("axis", -1), n.integer("p", 2)
    where = n.const([axis])
    if p == 1:
        norm = n.op("Sum", n.op("Abs", x), where, keep_dims=True)
    elif p == 2:
        norm = n.op("Sqrt", n.op("Sum", n.op("Square", x), where, keep_dims=True))
    else:
        raise n.wrong(f"p = {p}", "1 or 2")
    quotient = n.op("RealDiv", x, norm)
    return n.op("SelectV2", n.op("Equal", norm, n.like(x, 0)), n.op("Mul", x, n.like(x, 0)), quotient)


def _lrn(n: Node) -> Tensor:
    """Across ``size`` channels; ONNX divides alpha by their number. An even window has one channel more after the own."""
    x, size = n.input(0), n.integer("size", 0)
    if size < 1:
        raise n.wrong(f"size = {size}", "at least 1")
    if size % 2 == 0 or n.rank(x) != 4:
        raise n.unsupported("a normalisation over an even number of channels, or of other than 4 axes")
    alpha, beta, bias = n.number("alpha", 1e-4), n.number("beta", 0.75), n.number("bias", 1.0)
    y = n.op("LRN", to_nhwc(n, x), depth_radius=size // 2, bias=bias, alpha=alpha / size, beta=beta)
    return from_nhwc(n, y, 4)


CONVERTERS: Mapping[str, Converter] = {
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "MeanVarianceNormalization": _mean_variance,
    "LpNormalization": _lp_norm,
    "LRN": _lrn,
}
