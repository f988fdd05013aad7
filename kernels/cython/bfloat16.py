"""Elementwise kernels, conversion and means of tensors that are bfloat16 in memory; the C side is c/bfloat16.h.

Numbers are widened when they are loaded, computed with in float32, and rounded once when they are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts import elementwise as ops
from ..contracts.base import Contract
from ..contracts.layout import CAST, CastParams
from ..contracts.reduce import REDUCE_MEAN, ReduceParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import BFLOAT16, Array
from .loops import MAX_MAP_RANK, bind_bf16_mean, bind_map
from .support import Bound

__all__ = ["KERNELS"]

_FLOAT32 = np.dtype(np.float32)


def _map_of(query: Query) -> str:
    """The map's name in c/bfloat16.c."""
    if query.contract is CAST:
        return "narrow" if query.outputs[0].dtype == BFLOAT16 else "widen"
    mixed = len(query.inputs) > 1 and query.inputs[1].dtype == _FLOAT32
    return f"{query.contract.name}_f32" if mixed else query.contract.name


def _prepare_map(query: Query, constants: Constants) -> Bound:
    op, y = _map_of(query), query.outputs[0]

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_map(op, inputs, query.inputs, outputs[0], y, threads=query.threads, pitched=True, stored=True)

    return Bound(bind)


def _supports_map(query: Query) -> str | None:
    if query.inputs[0].dtype != BFLOAT16:
        return "is for bfloat16 in memory"
    return f"takes at most {MAX_MAP_RANK} axes" if len(query.outputs[0].dims) > MAX_MAP_RANK else None


def _supports_cast(query: Query[CastParams]) -> str | None:
    if {query.inputs[0].dtype, query.outputs[0].dtype} != {BFLOAT16, _FLOAT32}:
        return "converts between float32 and bfloat16 in memory"
    if query.params.truncate:
        return "rounds, does not truncate"
    return f"takes at most {MAX_MAP_RANK} axes" if len(query.outputs[0].dims) > MAX_MAP_RANK else None


def _prepare_mean(query: Query[ReduceParams], constants: Constants) -> Bound:
    x, y = query.inputs[0], query.outputs[0]

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_bf16_mean(inputs[0], x, outputs[0], y, threads=query.threads)

    return Bound(bind)


def _supports_mean(query: Query[ReduceParams]) -> str | None:
    x = query.inputs[0]
    if x.dtype != BFLOAT16:
        return "is for bfloat16 in memory"
    if len(x.dims) != 4 or query.params.normalized(4) != (1, 2):
        return "takes the mean over height and width of NHWC images"
    return None


def _kernel(
    contract: Contract[Any],
    name: str,
    prepare: Callable[..., Bound] = _prepare_map,
    supports: Callable[[Query[Any]], str | None] = _supports_map,
) -> Kernel:
    return Kernel(
        contract, "cython", f"{name}_bfloat16", prepare=prepare, supports=supports, strided_inputs=True,
        strided_outputs=contract is not REDUCE_MEAN, bfloat16=True,
    )  # fmt: skip


KERNELS: tuple[Kernel, ...] = (
    *(_kernel(contract, contract.name) for contract in (ops.RELU, ops.RELU6, ops.ADD, ops.MUL, ops.MAXIMUM)),
    _kernel(CAST, "cast", supports=_supports_cast),
    _kernel(REDUCE_MEAN, "mean", _prepare_mean, _supports_mean),
)
