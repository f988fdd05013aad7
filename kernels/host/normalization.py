"""Batch normalisation with the statistics of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.normalization import BATCH_NORM_STATISTICS, BatchStatisticsParams
from ..tensor import Array
from .support import numpy_kernel, wider

__all__ = ["KERNELS"]


def _batch_norm_statistics(inputs: Sequence[Array], outputs: Sequence[Array], params: BatchStatisticsParams) -> None:
    x, scale, offset, *running = inputs
    y, new_mean, new_variance, mean, variance = outputs
    count = x.size // x.shape[-1] if x.shape[-1] else 0
    if count == 0:  # the mean of nothing
        for statistic in outputs[1:]:
            statistic[...] = np.nan
        return
    real = wider(x.dtype)
    rows = np.ascontiguousarray(x).reshape(count, -1)
    # NumPy adds down the rows one after the other: 25,000 in float32 lose five digits.
    m = rows.mean(0, dtype=np.float64).astype(real)
    centred = rows - m
    v = np.square(centred).mean(0, dtype=np.float64).astype(real)
    mean[...], variance[...] = m, v
    factor, unbiased = params.factor, v * real.type(count / max(count - 1, 1))
    for target, fresh, old in zip((new_mean, new_variance), (m, unbiased), running or (m, unbiased), strict=True):
        target[...] = fresh if factor == 1 else old * (1 - factor) + fresh * factor
    centred *= scale / np.sqrt(v + real.type(params.epsilon))
    centred += offset
    y[...] = centred.reshape(x.shape)


KERNELS = (numpy_kernel(BATCH_NORM_STATISTICS, "host", _batch_norm_statistics),)
