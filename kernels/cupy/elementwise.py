"""Elementwise kernels: one input over rows of any pitch, two and three inputs with broadcasting (cuda/elementwise.cu)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..contracts import elementwise as ops
from ..contracts.base import Contract
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array, DType, is_float, is_int
from .launch import (
    C_TYPES,
    THREADS,
    Build,
    Function,
    Launch,
    Launcher,
    LaunchPrepared,
    element_strides,
    grid_for,
    launched,
    pointer,
    rows_of,
    scalar,
    strided,
    types_only,
)

__all__ = ["BUILDS", "KERNELS"]

_FLOATING = frozenset(d for d in C_TYPES if is_float(d))
_INTEGER = frozenset(d for d in C_TYPES if is_int(d))
_REAL = _FLOATING | _INTEGER
_BOOLEAN = frozenset([np.dtype(np.bool_)])
_ANY = _REAL | _BOOLEAN

#: Contract: element types that it has a kernel for, and what elementwise.cu calls it (a C function owns the plain name).
_UNARY: dict[Contract[Any], tuple[frozenset[DType], str]] = {
    ops.NEG: (_REAL, "neg"),
    ops.ABS: (_REAL, "abs_"),
    ops.SIGN: (_REAL, "sign"),
    ops.SQUARE: (_REAL, "square"),
    ops.RELU: (_REAL, "relu"),
    ops.RELU6: (_REAL, "relu6"),
    ops.SQRT: (_FLOATING, "sqrt_"),
    ops.RSQRT: (_FLOATING, "rsqrt_"),
    ops.RECIPROCAL: (_FLOATING, "reciprocal"),
    ops.EXP: (_FLOATING, "exp_"),
    ops.LOG: (_FLOATING, "log_"),
    ops.LOG1P: (_FLOATING, "log1p_"),
    ops.EXPM1: (_FLOATING, "expm1_"),
    ops.ERF: (_FLOATING, "erf_"),
    ops.ERFC: (_FLOATING, "erfc_"),
    ops.ELU: (_FLOATING, "elu"),
    ops.SELU: (_FLOATING, "selu"),
    ops.SOFTSIGN: (_FLOATING, "softsign"),
    ops.SIN: (_FLOATING, "sin_"),
    ops.COS: (_FLOATING, "cos_"),
    ops.FLOOR: (_FLOATING, "floor_"),
    ops.CEIL: (_FLOATING, "ceil_"),
    ops.ROUND: (_FLOATING, "round_"),
    ops.SIGMOID: (_FLOATING, "sigmoid"),
    ops.TANH: (_FLOATING, "tanh_"),
    ops.SOFTPLUS: (_FLOATING, "softplus"),
    ops.LOGICAL_NOT: (_BOOLEAN, "logical_not"),
}
_BINARY: dict[Contract[Any], tuple[frozenset[DType], str]] = {
    ops.ADD: (_REAL, "add_"),
    ops.SUB: (_REAL, "sub"),
    ops.MUL: (_REAL, "mul"),
    ops.DIV: (_FLOATING, "div_"),
    ops.MAXIMUM: (_REAL, "maximum"),
    ops.MINIMUM: (_REAL, "minimum"),
    ops.SQUARED_DIFFERENCE: (_REAL, "squared_difference"),
    ops.EQUAL: (_ANY, "equal"),
    ops.NOT_EQUAL: (_ANY, "not_equal"),
    ops.LESS: (_REAL, "less"),
    ops.LESS_EQUAL: (_REAL, "less_equal"),
    ops.GREATER: (_REAL, "greater"),
    ops.GREATER_EQUAL: (_REAL, "greater_equal"),
    ops.LOGICAL_AND: (_BOOLEAN, "logical_and"),
    ops.LOGICAL_OR: (_BOOLEAN, "logical_or"),
}


def _build(dtype: DType) -> Build:
    group = "FLOATING" if dtype in _FLOATING else "INTEGER" if dtype in _INTEGER else "BOOLEAN"
    return Build("elementwise.cu", (("ELEMENT", C_TYPES[dtype]), (group, 1)))


def _names(dtype: DType) -> tuple[str, ...]:
    leaky = ("leaky_relu",) if dtype in _FLOATING else ()
    return ("select_", *leaky, *(name for types, name in (*_UNARY.values(), *_BINARY.values()) if dtype in types))


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple((_build(dtype), _names(dtype)) for dtype in C_TYPES)


def _prepare_unary(launcher: Launcher, name: str, query: Query, constants: Constants) -> Prepared:
    function = Function(_build(query.inputs[0].dtype), name)

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (x,), (y,) = inputs, outputs
        rows = rows_of(x, y)
        if not rows.total:
            return []
        return [Launch(function, grid_for(rows.total), THREADS, (pointer(launcher, x), pointer(launcher, y), rows))]

    return LaunchPrepared(launcher, launches)


def _prepare_leaky(launcher: Launcher, name: str, query: Query, constants: Constants) -> Prepared:
    dtype = query.inputs[0].dtype
    function, slope = Function(_build(dtype), name), scalar(dtype, query.params.alpha)

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (x,), (y,) = inputs, outputs
        rows = rows_of(x, y)
        if not rows.total:
            return []
        arguments = (pointer(launcher, x), pointer(launcher, y), rows, slope)
        return [Launch(function, grid_for(rows.total), THREADS, arguments)]

    return LaunchPrepared(launcher, launches)


def _chained(
    launcher: Launcher, names: Callable[[Query], Sequence[str]], query: Query, constants: Constants
) -> Prepared:
    """y = x0 op x1, then y = y op x2, ...: one launch after the other."""
    build, called = _build(query.inputs[0].dtype), names(query)

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (y,) = outputs
        found: list[Launch] = []
        left = inputs[0]
        for name, right in zip(called, inputs[1:], strict=True) if y.size else ():
            geometry = strided(y.shape, [_broadcast_strides(a, y.shape) for a in (left, right, y)])
            arguments = (*(pointer(launcher, a) for a in (left, right, y)), geometry)
            found.append(Launch(Function(build, name), grid_for(y.size), THREADS, arguments))
            left = y
        return found

    return LaunchPrepared(launcher, launches)


def _additions(query: Query) -> Sequence[str]:
    return ["add_"] * (len(query.inputs) - 1)


def _bounds(query: Query) -> Sequence[str]:
    return ("maximum", "minimum")


def _supports_sum(query: Query) -> str | None:
    return types_only(query, _REAL) or (None if len(query.inputs) > 1 else "takes two inputs or more")


def _broadcast_strides(array: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of ``array`` when it is traversed as ``shape``; 0 along broadcast axes."""
    missing = len(shape) - array.ndim
    own = zip(array.shape, element_strides(array), strict=True)
    return (*((0,) * missing), *(0 if size == 1 else stride for size, stride in own))


def _prepare_broadcast(launcher: Launcher, name: str, query: Query, constants: Constants) -> Prepared:
    function = Function(_build(query.inputs[-1].dtype), name)

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (y,) = outputs
        if not y.size:
            return []
        geometry = strided(y.shape, [_broadcast_strides(a, y.shape) for a in (*inputs, y)])
        arguments = (*(pointer(launcher, a) for a in (*inputs, y)), geometry)
        return [Launch(function, grid_for(y.size), THREADS, arguments)]

    return LaunchPrepared(launcher, launches)


def _supports(types: frozenset[DType], query: Query) -> str | None:
    return types_only(query, types)


def _supports_select(query: Query) -> str | None:
    dtype = query.inputs[1].dtype
    return types_only(query, _BOOLEAN) or (None if dtype in _ANY else f"no kernel for element type {dtype}")


def _record(contract: Contract[Any], prepare: Callable[..., Prepared], name: Any, supports: Any) -> Kernel:
    return Kernel(
        contract,
        "cupy",
        contract.name,
        prepare=launched(prepare, name),
        supports=supports,
        strided_outputs=True,
        strided_inputs=True,
    )


KERNELS: tuple[Kernel, ...] = (
    *(_record(c, _prepare_unary, name, partial(_supports, types)) for c, (types, name) in _UNARY.items()),
    *(_record(c, _prepare_broadcast, name, partial(_supports, types)) for c, (types, name) in _BINARY.items()),
    _record(ops.SELECT, _prepare_broadcast, "select_", _supports_select),
    _record(ops.LEAKY_RELU, _prepare_leaky, "leaky_relu", partial(_supports, _FLOATING)),
    _record(ops.ADD_N, _chained, _additions, _supports_sum),
    _record(ops.CLIP, _chained, _bounds, partial(_supports, _REAL)),
)
