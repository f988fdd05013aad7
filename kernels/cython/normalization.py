"""Batch normalisation with given statistics; bias_add is an elementwise map. The C side is c/normalization.h."""

from __future__ import annotations

from collections.abc import Sequence

from ..checks import refuse_dtypes
from ..contracts.normalization import BATCH_NORM, BatchNormParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .loops import bind_batch_norm, dtypes_of
from .support import Bound, dtypes

__all__ = ["KERNELS"]


def _prepare(query: Query[BatchNormParams], constants: Constants) -> Bound:
    params, y = query.params, query.outputs[0]
    epsilon = params.epsilon

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_batch_norm(inputs, query.inputs, outputs[0], y, workspace, epsilon=epsilon, threads=query.threads)

    return Bound(bind, workspace_bytes=y.dims[-1] * y.dtype.itemsize)


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
)
