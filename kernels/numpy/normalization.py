"""bias_add, batch normalisation, local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.normalization import BATCH_NORM, BIAS_ADD, LRN, BatchNormParams, LRNParams
from ..host.support import in_lines, numpy_kernel, wider
from ..tensor import Array, Params

__all__ = ["KERNELS"]


def _bias_add(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    np.add(inputs[0], inputs[1], out=outputs[0])


def _batch_norm(inputs: Sequence[Array], outputs: Sequence[Array], params: BatchNormParams) -> None:
    x, mean, variance, offset, *scale = (a.astype(wider(a.dtype), copy=False) for a in inputs)
    factor = 1 / np.sqrt(variance + variance.dtype.type(params.epsilon))
    if scale:
        factor *= scale[0]
    outputs[0][...] = (x - mean) * factor + offset


def window_sums(values: Array, reach: int) -> Array:
    """The sum of the channels from c - reach to c + reach, for every channel c."""
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(reach, reach)])
    total = np.zeros_like(values)
    for i in range(2 * reach + 1):
        total += padded[..., i : i + values.shape[-1]]
    return total


def lrn_power(n: Array, beta: float) -> Array:
    """n ** -beta as the contract defines it."""
    return 1 / n if beta == 1 else np.exp(n.dtype.type(-beta) * np.log(n))


def _lrn(inputs: Sequence[Array], outputs: Sequence[Array], params: LRNParams) -> None:
    def lines(x: Array, y: Array) -> None:
        x = x.astype(wider(x.dtype), copy=False)
        sums = window_sums(x * x, params.reach(x.shape[-1]))
        sums *= params.alpha
        sums += params.bias
        y[...] = x * lrn_power(sums, params.beta)

    if outputs[0].size:
        in_lines(lines, inputs[0], outputs[0])


KERNELS = (
    numpy_kernel(BIAS_ADD, "numpy", _bias_add),
    numpy_kernel(BATCH_NORM, "numpy", _batch_norm),
    numpy_kernel(LRN, "numpy", _lrn),
)
