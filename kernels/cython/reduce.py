"""Sums, means and extremes over any axes; the C side is c/reduce.h."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..checks import refuse_dtypes
from ..contracts.base import Contract
from ..contracts.reduce import REDUCE_MAX, REDUCE_MEAN, REDUCE_MIN, REDUCE_SUM, ReduceParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .loops import MAX_REDUCE_RANK, bind_reduce, dtypes_of
from .support import Bound, dtypes

__all__ = ["KERNELS"]


def _prepare(query: Query[ReduceParams], constants: Constants) -> Bound:
    params, x, y = query.params, query.inputs[0], query.outputs[0]
    axes = params.normalized(len(x.dims))

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_reduce(query.contract.name, inputs[0], x, outputs[0], y, axes, threads=query.threads)

    return Bound(bind)


def _supports(name: str, query: Query) -> str | None:
    if len(query.inputs[0].dims) > MAX_REDUCE_RANK:
        return f"takes at most {MAX_REDUCE_RANK} axes"
    return refuse_dtypes(query, dtypes(dtypes_of(name)))


def _kernel(contract: Contract[ReduceParams]) -> Kernel:
    return Kernel(contract, "cython", contract.name, prepare=_prepare, supports=partial(_supports, contract.name))


KERNELS: tuple[Kernel, ...] = tuple(map(_kernel, (REDUCE_SUM, REDUCE_MEAN, REDUCE_MAX, REDUCE_MIN)))
