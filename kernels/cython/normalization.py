"""Batch normalisation, also by the batch's own statistics, local response normalisation; bias_add is an elementwise map.

The C sides are c/normalization.h, c/batch_statistics.h and c/lrn.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import nan, prod
from typing import Any

from ..checks import refuse_dtypes
from ..contracts.normalization import BATCH_NORM, BATCH_NORM_STATISTICS, LRN, BatchNormParams, LRNParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .loops import (
    bind_batch_norm,
    bind_batch_statistics,
    bind_lrn,
    dtypes_of,
    lrn_scratch,
    statistics_scratch,
)
from .support import Bound, dtypes

__all__ = ["KERNELS", "prepare_lrn", "prepare_statistics", "supports_lrn", "supports_statistics"]


def _prepare(query: Query[BatchNormParams], constants: Constants) -> Bound:
    params, y = query.params, query.outputs[0]
    epsilon = params.epsilon

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_batch_norm(inputs, query.inputs, outputs[0], y, workspace, epsilon=epsilon, threads=query.threads)

    return Bound(bind, workspace_bytes=y.dims[-1] * y.dtype.itemsize)


def prepare_lrn(query: Query[LRNParams], constants: Constants) -> Bound:
    """Of lrn, and of lrn_grad."""
    params, y = query.params, query.outputs[0]
    channels, threads = y.dims[-1], max(1, min(query.threads, prod(y.dims[:-1])))
    reach = params.reach(channels)

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_lrn(
            inputs, query.inputs, outputs[0], y, workspace, reach=reach, bias=params.bias, alpha=params.alpha,
            beta=params.beta, threads=threads,
        )  # fmt: skip

    return Bound(bind, workspace_bytes=lrn_scratch(channels, reach, threads) * y.dtype.itemsize)


def supports_lrn(query: Query) -> str | None:
    return refuse_dtypes(query, dtypes(dtypes_of("lrn")))


def prepare_statistics(query: Query[Any], constants: Constants) -> Bound:
    """Of batch_norm_statistics, and of its gradient."""
    params, image = query.params, query.outputs[0]
    gradient = query.contract is not BATCH_NORM_STATISTICS
    rows, channels = prod(image.dims[:-1]), image.dims[-1]
    factor = 1.0 if gradient else params.factor

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        if not rows:
            return partial(_fill, outputs, 0.0 if gradient else nan)
        return bind_batch_statistics(
            inputs, query.inputs, outputs, query.outputs, workspace, gradient=gradient, epsilon=params.epsilon,
            factor=factor, threads=query.threads,
        )  # fmt: skip

    return Bound(bind, workspace_bytes=statistics_scratch(rows, channels, image.dtype.itemsize) if rows else 0)


def _fill(outputs: Sequence[Array], value: float) -> None:
    """The mean of nothing, or sums of nothing."""
    for y in outputs:
        y.fill(value)


def supports_statistics(query: Query) -> str | None:
    return refuse_dtypes(query, dtypes(dtypes_of("batch_statistics")))


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        BATCH_NORM,
        "cython",
        "batch_norm",
        prepare=_prepare,
        supports=lambda query: refuse_dtypes(query, dtypes(dtypes_of("batch_norm"))),
        strided_outputs=True,
        strided_inputs=True,
    ),
    Kernel(
        BATCH_NORM_STATISTICS,
        "cython",
        "batch_norm_statistics",
        prepare=prepare_statistics,
        supports=supports_statistics,
        strided_outputs=True,
        strided_inputs=True,
    ),
    Kernel(
        LRN,
        "cython",
        "lrn",
        prepare=prepare_lrn,
        supports=supports_lrn,
        strided_outputs=True,
        strided_inputs=True,
    ),
)
