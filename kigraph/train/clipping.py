"""Gradients brought below a limit, by element or by their Euclidean norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import ops
from ..graph.builder import Tensor

__all__ = ["clip"]


def clip(
    gradients: Sequence[Tensor],
    clip_value: float | None = None,
    clip_norm: float | None = None,
    global_clip_norm: float | None = None,
) -> list[Tensor]:
    """The gradients, each element within [-clip_value, clip_value], or each one or all together scaled to a norm.

    A gradient is scaled only if its norm is larger. If a norm is infinite or NaN, so is what is scaled by it.
    """
    if clip_value is not None:
        return [
            ops.clip_by_value(g, np.asarray(-clip_value, g.dtype), np.asarray(clip_value, g.dtype)) for g in gradients
        ]
    if clip_norm is not None:
        return [ops.multiply(g, _factor(ops.sqrt(_squares(g)), clip_norm)) for g in gradients]
    if global_clip_norm is not None:
        total = ops.cast(_squares(gradients[0]), "float64")
        for g in gradients[1:]:
            total = ops.add(total, ops.cast(_squares(g), "float64"))
        factor = _factor(ops.sqrt(total), global_clip_norm)
        return [ops.multiply(g, ops.cast(factor, g.dtype)) for g in gradients]
    return list(gradients)


def _squares(gradient: Tensor) -> Tensor:
    return ops.reduce_sum(ops.square(gradient))


def _factor(norm: Tensor, limit: float) -> Tensor:
    most = np.asarray(limit, norm.dtype)
    return ops.divide(most, ops.maximum(norm, most))
