"""Max and average pooling (cuda/pool2d.cu)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..checks import pitch_of
from ..contracts.base import Contract
from ..contracts.geometry import WindowGeometry
from ..contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array, DType, is_float
from .launch import (
    ACTIVATIONS,
    C_TYPES,
    THREADS,
    Build,
    Function,
    Launch,
    Launcher,
    LaunchPrepared,
    dense,
    grid_for,
    launched,
    pointer,
    scalar,
    types_only,
)
from .windows import reaches_too_far

__all__ = ["BUILDS", "KERNELS", "PoolShape"]

_FLOATS = frozenset(d for d in C_TYPES if is_float(d))
_REALS = frozenset(d for d in C_TYPES if d.kind in "fiu")

_INT_FIELDS = (
    "h", "w", "c", "oh", "ow", "window_h", "window_w", "stride_h", "stride_w", "pad_top", "pad_left",
    "x_pitch", "y_pitch", "count_pad", "count_h", "count_w", "activation",
)  # fmt: skip


class PoolShape(ctypes.Structure):
    """Mirrors PoolShape of pool2d.cu."""

    _fields_ = (*((name, ctypes.c_int) for name in _INT_FIELDS), ("total", ctypes.c_longlong))


def _build(dtype: DType) -> Build:
    return Build("pool2d.cu", (("ELEMENT", C_TYPES[dtype]), *((("AVERAGE", 1),) if is_float(dtype) else ())))


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple(
    (_build(dtype), ("max_pool2d", "avg_pool2d")[: 2 if is_float(dtype) else 1]) for dtype in C_TYPES if dtype in _REALS
)


def _prepare(launcher: Launcher, contract: Contract[Any], query: Query[Pool2DParams], constants: Constants) -> Prepared:
    params = query.params
    dtype = query.inputs[0].dtype
    g = WindowGeometry.of(query.inputs, query.outputs, params)
    function = Function(_build(dtype), contract.name)
    lowest = -np.inf if is_float(dtype) else np.iinfo(dtype).min

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        x, *bias = inputs
        (y,) = outputs
        if not y.size:
            return []
        shape = PoolShape(
            h=g.size[0], w=g.size[1], c=g.channels, oh=g.out[0], ow=g.out[1], window_h=g.window[0], window_w=g.window[1],
            stride_h=g.strides[0], stride_w=g.strides[1], pad_top=g.before[0], pad_left=g.before[1],
            x_pitch=pitch_of("cupy: the input", x), y_pitch=pitch_of("cupy: the output", y),
            count_pad=params.count_include_pad, count_h=g.size[0] + g.after[0], count_w=g.size[1] + g.after[1],
            activation=ACTIVATIONS[params.activation], total=y.size,
        )  # fmt: skip
        for array in bias:
            dense("the bias", array)
        last = scalar(dtype, lowest) if contract is MAX_POOL2D else pointer(launcher, bias[0] if bias else None)
        arguments = (pointer(launcher, x), pointer(launcher, y), last, shape)
        return [Launch(function, grid_for(y.size), THREADS, arguments)]

    return LaunchPrepared(launcher, launches)


def _supports(types: frozenset[DType], query: Query[Pool2DParams]) -> str | None:
    return types_only(query, types) or reaches_too_far(WindowGeometry.of(query.inputs, query.outputs, query.params))


KERNELS: tuple[Kernel, ...] = tuple(
    Kernel(
        contract,
        "cupy",
        contract.name,
        prepare=launched(_prepare, contract),
        supports=partial(_supports, types),
        strided_outputs=True,
        strided_inputs=True,
    )
    for contract, types in ((MAX_POOL2D, _REALS), (AVG_POOL2D, _FLOATS))
)
