"""Elementwise kernels, bias_add and the conversion to float32; the C side is c/elementwise.h."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from ..tensor import Array, TensorType
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


def _prepare_leaky(op: str, query: Query[ops.LeakyReluParams], constants: Constants) -> Bound:
    """The slope is the second input of the map: one value for all."""
    slope = np.array(query.params.alpha, query.inputs[0].dtype)
    types = (*query.inputs, TensorType(slope.dtype, ()))

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        arrays = (inputs[0], slope)
        return bind_map(op, arrays, types, outputs[0], query.outputs[0], threads=query.threads, pitched=True)

    return Bound(bind)


def _chain(query: Query, arrays: Sequence[Array], output: Array, ops_: Sequence[str]) -> Run:
    """y = x0 op x1, then y = y op x2, ...: one map after the other."""
    (y,), threads = query.outputs, query.threads
    first = bind_map(ops_[0], arrays[:2], query.inputs[:2], output, y, threads=threads, pitched=True)
    later = [
        bind_map(op, (output, x), (y, t), output, y, threads=threads, pitched=True)
        for op, x, t in zip(ops_[1:], arrays[2:], query.inputs[2:], strict=True)
    ]

    def run() -> None:
        first()
        for following in later:
            following()

    return run


def _prepare_sum(op: str, query: Query, constants: Constants) -> Bound:
    return Bound(lambda inputs, outputs, workspace: _chain(query, inputs, outputs[0], ["add"] * (len(inputs) - 1)))


def _prepare_clip(op: str, query: Query, constants: Constants) -> Bound:
    return Bound(lambda inputs, outputs, workspace: _chain(query, inputs, outputs[0], ["maximum", "minimum"]))


def _supports_sum(op: str, query: Query) -> str | None:
    return _supports(op, query) if len(query.inputs) > 1 else "takes two inputs or more"


def _kernel(contract: Contract[Any], op: str, prepare: Callable[..., Bound] = _prepare) -> Kernel:
    return Kernel(
        contract,
        "cython",
        contract.name,
        prepare=partial(prepare, op),
        supports=_supports_cast
        if contract is CAST
        else partial(_supports_sum if contract is ops.ADD_N else _supports, op),
        strided_outputs=True,
        strided_inputs=True,
    )


_CONTRACTS = (
    ops.NEG, ops.ABS, ops.SIGN, ops.SQUARE, ops.FLOOR, ops.CEIL, ops.ROUND, ops.SQRT, ops.RSQRT, ops.RECIPROCAL, ops.EXP, ops.EXPM1,
    ops.LOG, ops.LOG1P, ops.RELU, ops.RELU6, ops.SIGMOID, ops.TANH, ops.SOFTPLUS, ops.SIN, ops.COS, ops.ATAN, ops.ELU, ops.SELU,
    ops.SOFTSIGN, ops.ERF, ops.ERFC, ops.IS_NAN, ops.IS_INF, ops.IS_FINITE, ops.INVERT, ops.ADD, ops.SUB, ops.MUL, ops.DIV,
    ops.FLOORMOD, ops.TRUNCMOD, ops.DIV_NO_NAN, ops.MUL_NO_NAN, ops.XDIVY, ops.XLOGY, ops.XLOG1PY, ops.MAXIMUM,
    ops.MINIMUM, ops.SQUARED_DIFFERENCE, *ops.COMPARISONS, ops.BITWISE_AND, ops.BITWISE_OR, ops.BITWISE_XOR, ops.LEFT_SHIFT,
    ops.RIGHT_SHIFT, ops.FLOORDIV, RELU_GRAD, RELU6_GRAD,
)  # fmt: skip

KERNELS: tuple[Kernel, ...] = (
    *(_kernel(contract, contract.name) for contract in _CONTRACTS),
    _kernel(ops.LEAKY_RELU, "leaky_relu", _prepare_leaky),
    _kernel(ops.ADD_N, "add", _prepare_sum),
    _kernel(ops.CLIP, "maximum", _prepare_clip),
    _kernel(BIAS_ADD, "add"),
    _kernel(CAST, "cast_f32"),
)
