"""Softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.softmax import LOG_SOFTMAX, SOFTMAX, SoftmaxParams
from ..host.support import numpy_kernel, wider
from ..tensor import Array

__all__ = ["KERNELS"]


def _shifted(x: Array, axis: int) -> Array:
    """x less its largest value along the axis, so that no exponential overflows; NaN spreads over its line."""
    x = x.astype(wider(x.dtype), copy=False)
    return x - x.max(axis=axis, keepdims=True)


def _softmax(inputs: Sequence[Array], outputs: Sequence[Array], params: SoftmaxParams) -> None:
    if outputs[0].size:
        powers = np.exp(_shifted(inputs[0], params.axis))
        outputs[0][...] = powers / powers.sum(axis=params.axis, keepdims=True)


def _log_softmax(inputs: Sequence[Array], outputs: Sequence[Array], params: SoftmaxParams) -> None:
    if outputs[0].size:
        shifted = _shifted(inputs[0], params.axis)
        outputs[0][...] = shifted - np.log(np.exp(shifted).sum(axis=params.axis, keepdims=True))


KERNELS = (
    numpy_kernel(SOFTMAX, "numpy", _softmax),
    numpy_kernel(LOG_SOFTMAX, "numpy", _log_softmax),
)
