"""bias_add, batch normalisation, local response normalisation (cuda/normalization.cu)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial

from ..checks import pitch_of
from ..contracts.normalization import BATCH_NORM, BIAS_ADD, LRN, BatchNormParams, LRNParams
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array, DType, is_float
from .launch import (
    C_TYPES,
    THREADS,
    Build,
    Function,
    Launch,
    Launcher,
    LaunchPrepared,
    grid_for,
    input_rows,
    launched,
    pointer,
    scalar,
    types_only,
)

__all__ = ["BUILDS", "KERNELS"]

_FLOATS = frozenset(d for d in C_TYPES if is_float(d))
_REALS = frozenset(d for d in C_TYPES if d.kind in "fiu")


def _build(dtype: DType) -> Build:
    return Build("normalization.cu", (("ELEMENT", C_TYPES[dtype]), *((("FLOATING", 1),) if dtype in _FLOATS else ())))


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple(
    (_build(dtype), ("bias_add", "batch_norm", "lrn")[: 3 if dtype in _FLOATS else 1])
    for dtype in C_TYPES
    if dtype in _REALS
)


def _prepare_bias(launcher: Launcher, query: Query, constants: Constants) -> Prepared:
    function = Function(_build(query.inputs[0].dtype), "bias_add")

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (x, bias), (y,) = inputs, outputs
        rows = input_rows(x, y)
        if not rows.total:
            return []
        pitch_of("cupy: the bias", bias)
        arguments = (*(pointer(launcher, a) for a in (x, bias, y)), rows)
        return [Launch(function, grid_for(rows.total), THREADS, arguments)]

    return LaunchPrepared(launcher, launches)


def _prepare_norm(launcher: Launcher, query: Query[BatchNormParams], constants: Constants) -> Prepared:
    params = query.params
    dtype = query.inputs[0].dtype
    function = Function(_build(dtype), "batch_norm")

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        x, mean, variance, offset = inputs[:4]
        scale = inputs[4] if len(inputs) > 4 else None
        (y,) = outputs
        rows = input_rows(x, y)
        if not rows.total:
            return []
        for array in inputs[1:]:
            pitch_of("cupy: an array of channels", array)
        pointers = (pointer(launcher, a) for a in (x, mean, variance, offset, scale, y))
        arguments = (*pointers, scalar(dtype, params.epsilon), rows)
        return [Launch(function, grid_for(rows.total), THREADS, arguments)]

    return LaunchPrepared(launcher, launches)


def _prepare_lrn(launcher: Launcher, query: Query[LRNParams], constants: Constants) -> Prepared:
    params = query.params
    (x_type,) = query.inputs
    dtype = x_type.dtype
    function = Function(_build(dtype), "lrn")

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (x,), (y,) = inputs, outputs
        rows = input_rows(x, y)
        if not rows.total:
            return []
        reach = ctypes.c_longlong(params.reach(x_type.dims[-1]))
        numbers = (scalar(dtype, v) for v in (params.bias, params.alpha, params.beta))
        arguments = (pointer(launcher, x), pointer(launcher, y), reach, *numbers, rows)
        return [Launch(function, grid_for(rows.total), THREADS, arguments)]

    return LaunchPrepared(launcher, launches)


def _supports(types: frozenset[DType], query: Query) -> str | None:
    return types_only(query, types)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        BIAS_ADD,
        "cupy",
        "bias_add",
        prepare=launched(_prepare_bias),
        supports=partial(_supports, _REALS),
        strided_outputs=True,
        strided_inputs=True,
    ),
    Kernel(
        BATCH_NORM,
        "cupy",
        "batch_norm",
        prepare=launched(_prepare_norm),
        supports=partial(_supports, _FLOATS),
        strided_outputs=True,
        strided_inputs=True,
    ),
    Kernel(
        LRN,
        "cupy",
        "lrn",
        prepare=launched(_prepare_lrn),
        supports=partial(_supports, _FLOATS),
        strided_outputs=True,
        strided_inputs=True,
    ),
)
