"""Products and logical reductions, argmax and argmin, top_k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts.base import Contract
from ..contracts.reduce import (
    ARGMAX,
    ARGMIN,
    REDUCE_ALL,
    REDUCE_ANY,
    REDUCE_PROD,
    TOP_K,
    ArgParams,
    ReduceParams,
    TopKParams,
)
from ..kernel import Kernel
from ..tensor import Array
from .support import numpy_kernel, wider

__all__ = ["KERNELS"]


def _reduction(contract: Contract[ReduceParams], ufunc: Any) -> Kernel:
    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: ReduceParams) -> None:
        (x,) = inputs
        axes = params.normalized(x.ndim)
        outputs[0][...] = ufunc.reduce(x, axis=axes, keepdims=params.keepdims, dtype=wider(x.dtype))

    return numpy_kernel(contract, "host", run)


def _argument(contract: Contract[ArgParams], find: Callable[..., Array]) -> Kernel:
    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: ArgParams) -> None:
        if outputs[0].size:
            outputs[0][...] = find(inputs[0], axis=params.axis)

    return numpy_kernel(contract, "host", run)


def _top_k(inputs: Sequence[Array], outputs: Sequence[Array], params: TopKParams) -> None:
    (x,) = inputs
    values, indices = outputs
    # A stable ascending sort of the reversed line, read backwards: descending, the lower index first among equals.
    order = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    indices[...] = order[..., : params.k]
    values[...] = np.take_along_axis(x, order[..., : params.k], axis=-1)


KERNELS = (
    _reduction(REDUCE_PROD, np.multiply),
    _reduction(REDUCE_ALL, np.logical_and),
    _reduction(REDUCE_ANY, np.logical_or),
    _argument(ARGMAX, np.argmax),
    _argument(ARGMIN, np.argmin),
    numpy_kernel(TOP_K, "host", _top_k),
)
