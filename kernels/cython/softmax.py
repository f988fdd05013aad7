"""Softmax and its logarithm along any axis; the C side is c/softmax.h."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..checks import refuse_dtypes
from ..contracts.base import normalize_axis
from ..contracts.softmax import LOG_SOFTMAX, SOFTMAX, SoftmaxParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .loops import bind_softmax, dtypes_of
from .support import Bound, dtypes

__all__ = ["KERNELS"]


def _prepare(logarithm: bool, query: Query[SoftmaxParams], constants: Constants) -> Bound:
    params, x = query.params, query.inputs[0]
    axis = normalize_axis(query.contract.name, params.axis, len(x.dims))

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_softmax(inputs[0], outputs[0], x, axis, logarithm=logarithm, threads=query.threads)

    return Bound(bind)


def _supports(query: Query) -> str | None:
    return refuse_dtypes(query, dtypes(dtypes_of("softmax")))


KERNELS: tuple[Kernel, ...] = (
    Kernel(SOFTMAX, "cython", "softmax", prepare=partial(_prepare, False), supports=_supports),
    Kernel(LOG_SOFTMAX, "cython", "log_softmax", prepare=partial(_prepare, True), supports=_supports),
)
