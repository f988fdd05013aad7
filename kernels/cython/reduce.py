"""Sums, means, products and extremes over any axes (c/reduce.h), and the largest numbers of lines in order (c/order.h)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..checks import refuse_dtypes
from ..contracts.base import Contract
from ..contracts.reduce import (
    REDUCE_MAX,
    REDUCE_MEAN,
    REDUCE_MIN,
    REDUCE_PROD,
    REDUCE_SUM,
    TOP_K,
    ReduceParams,
    TopKParams,
)
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .loops import MAX_REDUCE_RANK, bind_reduce, bind_top_k, dtypes_of, top_k_scratch
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


def _prepare_top_k(query: Query[TopKParams], constants: Constants) -> Bound:
    x, threads = query.inputs[0], query.threads

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_top_k(inputs[0], x, outputs, query.outputs, workspace, threads=threads)

    return Bound(bind, top_k_scratch(x.dims[-1], query.params.k, threads))


def _supports_top_k(query: Query[TopKParams]) -> str | None:
    if query.params.index not in ("int16", "int32", "int64"):
        return "writes indices of int16, int32 or int64"
    return refuse_dtypes(query, dtypes(dtypes_of("top_k")))


KERNELS: tuple[Kernel, ...] = (
    *map(_kernel, (REDUCE_SUM, REDUCE_MEAN, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD)),
    Kernel(
        TOP_K,
        "cython",
        "top_k",
        prepare=_prepare_top_k,
        supports=_supports_top_k,
    ),
)
