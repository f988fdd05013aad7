"""Softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.softmax import LOG_SOFTMAX, SOFTMAX, SoftmaxParams
from ..host.support import in_lines, numpy_kernel, wider
from ..tensor import Array

__all__ = ["KERNELS"]


def _shifted(x: Array, axis: int) -> Array:
    """x less its largest value along the axis, so that no exponential overflows; NaN spreads over its line."""
    x = x.astype(wider(x.dtype), copy=False)
    return x - x.max(axis=axis, keepdims=True)


def _softmax(inputs: Sequence[Array], outputs: Sequence[Array], params: SoftmaxParams) -> None:
    (x,), (y,) = inputs, outputs

    def lines(part: Array, result: Array) -> None:
        powers = _shifted(part, axis)
        np.exp(powers, out=powers)
        np.divide(powers, powers.sum(axis=axis, keepdims=True), out=result, casting="same_kind")

    axis = params.axis % y.ndim
    if y.size and axis == y.ndim - 1:
        axis = -1
        in_lines(lines, x, y)
    elif y.size:
        lines(x, y)


def _log_softmax(inputs: Sequence[Array], outputs: Sequence[Array], params: SoftmaxParams) -> None:
    if outputs[0].size:
        shifted = _shifted(inputs[0], params.axis)
        outputs[0][...] = shifted - np.log(np.exp(shifted).sum(axis=params.axis, keepdims=True))


KERNELS = (
    numpy_kernel(SOFTMAX, "numpy", _softmax),
    numpy_kernel(LOG_SOFTMAX, "numpy", _log_softmax),
)
