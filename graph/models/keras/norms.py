"""Normalisations, all as at inference, and the layers that rescale their input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from ...ir import Literal
from .building import Building, constant_of

__all__ = ["NORMS"]


def _batch_norm(b: Building, x: Tensor) -> Tensor:
    b.refuse(renorm=False, virtual_batch_size=None, adjustment=None)
    known = b.shape(x)
    axes = b.axes(b.get("axis", -1), len(known))
    if len(axes) != 1:
        raise b.error(f"axis {brief(b.config.get('axis'))}", "one axis")
    (axis,) = axes
    (n,) = b.fixed(x, axis)
    epsilon = b.number("epsilon", 1e-3)
    last = axis == len(known) - 1
    to = None if last else [n, *[1] * (len(known) - 1 - axis)]
    mean, variance = (b.weight(v, n, to=to) for v in ("moving_mean", "moving_variance"))
    gamma = b.weight("gamma", n, to=to) if b.flag("scale", True) else None
    beta = b.weight("beta", n, to=to) if b.flag("center", True) else None
    if last and len(known) == 4 and x.dtype == np.float32:
        gamma = b.constant(Literal.of(np.ones(n, np.float32)), "ones") if gamma is None else gamma
        beta = b.constant(Literal.of(np.zeros(n, np.float32)), "zeros") if beta is None else beta
        return ops.fused_batch_norm(x, gamma, beta, mean, variance, epsilon)
    factor = ops.rsqrt(ops.add(variance, epsilon))
    factor = factor if gamma is None else ops.multiply(factor, gamma)
    shift = ops.negative(ops.multiply(mean, factor))
    return ops.add(ops.multiply(x, factor), shift if beta is None else ops.add(shift, beta))


def _layer_norm(b: Building, x: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the axes; with rms_scaling the mean stays."""
    known = b.shape(x)
    axes = b.axes(b.get("axis", -1), len(known))
    sizes = b.fixed(x, *axes)
    to = [d if i in axes else 1 for i, d in enumerate(known)][axes[0] :]
    shape = [d or 1 for d in to]
    mean = ops.reduce_mean(x, list(axes), keepdims=True)
    centred = ops.subtract(x, mean)
    variance = ops.reduce_mean(ops.square(centred), list(axes), keepdims=True)
    factor = ops.rsqrt(ops.add(variance, b.number("epsilon", 1e-3)))
    scaling = b.flag("rms_scaling")
    x = ops.multiply(x if scaling else centred, factor)
    if b.flag("scale", True) or scaling:
        x = ops.multiply(x, b.weight("gamma", *sizes, to=shape))
    if b.flag("center", True) and not scaling:
        x = ops.add(x, b.weight("beta", *sizes, to=shape))
    return x


def _group_norm(b: Building, x: Tensor) -> Tensor:
    known = b.shape(x)
    rank = len(known)
    (axis,) = b.axes(b.get("axis", -1), rank)
    (n,) = b.fixed(x, axis)
    groups = b.config.get("groups", 32)
    groups = n if groups == -1 else b.whole("groups", 32)
    if n % groups:
        raise b.error(f"{groups} groups of {n} channels", "a divisor")
    sizes = b.sizes(x)
    y = b.reshape(x, [*sizes[:axis], groups, n // groups, *sizes[axis + 1 :]])
    axes = [a for a in range(1, rank + 1) if a != axis]
    centred = ops.subtract(y, ops.reduce_mean(y, axes, keepdims=True))
    variance = ops.reduce_mean(ops.square(centred), axes, keepdims=True)
    y = b.reshape(ops.multiply(centred, ops.rsqrt(ops.add(variance, b.number("epsilon", 1e-3)))), sizes)
    to = [n, *[1] * (rank - 1 - axis)]
    if b.flag("scale", True):
        y = ops.multiply(y, b.weight("gamma", n, to=to))
    return ops.add(y, b.weight("beta", n, to=to)) if b.flag("center", True) else y


def _rms_norm(b: Building, x: Tensor) -> Tensor:
    known = b.shape(x)
    axes = b.axes(b.get("axis", -1), len(known))
    sizes = b.fixed(x, *axes)
    square = ops.reduce_mean(ops.square(x), list(axes), keepdims=True)
    x = ops.multiply(x, ops.rsqrt(ops.add(square, b.number("epsilon", 1e-6))))
    to = [(d or 1) if i in axes else 1 for i, d in enumerate(known)][axes[0] :]
    return ops.multiply(x, b.weight("scale", *sizes, to=to))


def _unit_norm(b: Building, x: Tensor) -> Tensor:
    """x / its length; Keras 2 bounds the square of the length, Keras 3 its inverse."""
    axes = list(b.axes(b.get("axis", -1), len(b.shape(x))))
    total = ops.reduce_sum(ops.square(x), axes, keepdims=True)
    if b.shared.keras3:
        return ops.multiply(x, ops.minimum(ops.rsqrt(total), 1e12))
    return ops.multiply(x, ops.rsqrt(ops.maximum(total, 1e-12)))


def _normalization(b: Building, x: Tensor) -> Tensor:
    """(x - mean) / max(sqrt(variance), 1e-7); the statistics are in the config, or were learned by ``adapt``."""
    known = b.shape(x)
    axis = b.config.get("axis", -1)
    axes = () if axis is None or axis == [] else b.axes(axis, len(known))
    if b.config.get("mean") is not None:
        mean, variance = (_statistic(b, key, axes, known) for key in ("mean", "variance"))
    else:
        sizes = b.fixed(x, *axes) if axes else ()
        to = [(d or 1) if i in axes else 1 for i, d in enumerate(known)][min(axes, default=len(known)) :]
        mean, variance = (b.weight(v, *sizes, to=to) for v in ("mean", "variance"))
    deviation = ops.maximum(ops.sqrt(variance), 1e-7)
    if b.flag("invert"):
        return ops.add(ops.multiply(x, deviation), mean)
    return ops.divide(ops.subtract(x, mean), deviation)


def _statistic(b: Building, key: str, axes: tuple[int, ...], known: tuple[int | None, ...]) -> Tensor:
    value = constant_of(b, b.config.get(key), key)
    if key == "variance" and (value < 0).any():
        raise b.error(f"variance {brief(b.config[key])}", "0 or more")
    if value.size == 1:
        return ops.constant(value.reshape(()))
    if value.ndim > len(axes):
        # Keras keeps what was broadcast before: sizes of 1 for the axes that are not kept.
        shape = [(d or 1) if i in axes else 1 for i, d in enumerate(known)]
        if value.size != int(np.prod([shape[a] for a in axes])):
            raise b.error(f"{key} of shape {value.shape}", f"{tuple(shape)}")
        return ops.constant(value.reshape(shape))
    shape = [1] * len(known)
    for i in range(1, value.ndim + 1):
        shape[axes[-i]] = value.shape[-i]
    return ops.constant(value.reshape(shape))


def _rescaling(b: Building, x: Tensor) -> Tensor:
    scale, offset = constant_of(b, b.config.get("scale"), "scale"), constant_of(b, b.get("offset", 0.0), "offset")
    x = ops.multiply(x, ops.constant(scale))
    return ops.add(x, ops.constant(offset)) if offset.any() else x


def _spectral(b: Building, x: Tensor) -> Any:
    """The kernel in the file is the normalised one of the last step of training."""
    return b.call(b.layer.kids["layer"][0], x)


NORMS: dict[str, Callable[[Building, Tensor], Any]] = {
    "BatchNormalization": _batch_norm,
    "BatchNormalizationV1": _batch_norm,
    "SyncBatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "RMSNormalization": _rms_norm,
    "UnitNormalization": _unit_norm,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "SpectralNormalization": _spectral,
}
