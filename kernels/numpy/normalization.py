"""bias_add and batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.normalization import BATCH_NORM, BIAS_ADD, BatchNormParams
from ..host.support import numpy_kernel, wider
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


KERNELS = (
    numpy_kernel(BIAS_ADD, "numpy", _bias_add),
    numpy_kernel(BATCH_NORM, "numpy", _batch_norm),
)
