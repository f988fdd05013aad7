"""Sums, means and extremes over axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..contracts.reduce import REDUCE_MAX, REDUCE_MEAN, REDUCE_MIN, REDUCE_SUM, ReduceParams
from ..host.support import highest, in_float32, lowest, numpy_kernel
from ..tensor import Array

__all__ = ["KERNELS"]

#: NumPy adds pairwise along the last axis only; a wider sum is exact enough along every axis.
_SUM_TYPES = {
    np.dtype(np.float16): np.dtype(np.float32),
    np.dtype(np.float32): np.dtype(np.float64),
    np.dtype(np.complex64): np.dtype(np.complex128),
}


def _sum(x: Array, params: ReduceParams) -> Array:
    axes = params.normalized(x.ndim)
    return x.sum(axis=axes, keepdims=params.keepdims, dtype=_SUM_TYPES.get(x.dtype, x.dtype))


def _reduce_sum(inputs: Sequence[Array], outputs: Sequence[Array], params: ReduceParams) -> None:
    outputs[0][...] = _sum(inputs[0], params)


def _reduce_mean(inputs: Sequence[Array], outputs: Sequence[Array], params: ReduceParams) -> None:
    (x,) = inputs
    outputs[0][...] = np.divide(_sum(x, params), prod(x.shape[a] for a in params.normalized(x.ndim)))


def _reduce_max(inputs: Sequence[Array], outputs: Sequence[Array], params: ReduceParams) -> None:
    (x,), (y,) = inputs, outputs
    axes = params.normalized(x.ndim)
    np.maximum.reduce(x, axes, out=y, keepdims=params.keepdims, initial=lowest(x.dtype))


def _reduce_min(inputs: Sequence[Array], outputs: Sequence[Array], params: ReduceParams) -> None:
    (x,), (y,) = inputs, outputs
    axes = params.normalized(x.ndim)
    np.minimum.reduce(x, axes, out=y, keepdims=params.keepdims, initial=highest(x.dtype))


KERNELS = (
    numpy_kernel(REDUCE_SUM, "numpy", _reduce_sum),
    numpy_kernel(REDUCE_MEAN, "numpy", in_float32(_reduce_mean), bfloat16=True),
    numpy_kernel(REDUCE_MAX, "numpy", _reduce_max),
    numpy_kernel(REDUCE_MIN, "numpy", _reduce_min),
)
