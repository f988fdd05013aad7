"""Elementwise kernels, bias_add and the conversion to float32; the C side is c/elementwise.h."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts import elementwise as ops
from ..contracts.base import Contract
from ..contracts.gradients import RELU6_GRAD, RELU_GRAD
from ..contracts.layout import CAST, CastParams
from ..contracts.normalization import BIAS_ADD
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .loops import MAX_MAP_RANK, bind_map, dtypes_of
from .support import Bound, dtypes

__all__ = ["KERNELS"]

_FLOAT32 = np.dtype(np.float32)


def _prepare(op: str, query: Query, constants: Constants) -> Bound:
    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_map(op, inputs, query.inputs, outputs[0], query.outputs[0], threads=query.threads, pitched=True)

    return Bound(bind)


def _supports(op: str, query: Query) -> str | None:
    if len(query.outputs[0].dims) > MAX_MAP_RANK:
        return f"takes at most {MAX_MAP_RANK} axes"
    return refuse_dtypes(query, dtypes(dtypes_of(op)))


def _supports_cast(query: Query[CastParams]) -> str | None:
    if query.params.dtype != _FLOAT32:
        return "converts to float32 only"
    if query.params.truncate:
        return "rounds, does not truncate"
    return _supports("cast_f32", query)


def _kernel(contract: Contract[Any], op: str) -> Kernel:
    return Kernel(
        contract,
        "cython",
        contract.name,
        prepare=partial(_prepare, op),
        supports=_supports_cast if contract is CAST else partial(_supports, op),
        strided_outputs=True,
        strided_inputs=True,
    )


_CONTRACTS = (
    ops.NEG, ops.ABS, ops.SIGN, ops.SQUARE, ops.FLOOR, ops.CEIL, ops.SQRT, ops.RSQRT, ops.RECIPROCAL, ops.EXP, ops.LOG, ops.RELU,
    ops.RELU6, ops.SIGMOID, ops.TANH, ops.ADD, ops.SUB, ops.MUL, ops.DIV, ops.MAXIMUM, ops.MINIMUM, ops.SQUARED_DIFFERENCE,
    RELU_GRAD, RELU6_GRAD,
)  # fmt: skip

KERNELS: tuple[Kernel, ...] = (
    *(_kernel(contract, contract.name) for contract in _CONTRACTS),
    _kernel(BIAS_ADD, "add"),
    _kernel(CAST, "cast_f32"),
)
