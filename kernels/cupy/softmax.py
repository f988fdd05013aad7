"""Softmax and log-softmax (cuda/softmax.cu)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod
from typing import Any

from ..contracts.base import Contract
from ..contracts.softmax import LOG_SOFTMAX, SOFTMAX, SoftmaxParams
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array, DType, is_float
from .launch import C_TYPES, Build, Function, Launch, Launcher, LaunchPrepared, dense, launched, pointer, types_only

__all__ = ["BUILDS", "KERNELS"]

_FLOATS = frozenset(d for d in C_TYPES if is_float(d))
_THREADS = 128


def _build(dtype: DType) -> Build:
    return Build("softmax.cu", (("ELEMENT", C_TYPES[dtype]),))


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple(
    (_build(dtype), ("softmax", "log_softmax")) for dtype in C_TYPES if dtype in _FLOATS
)


def _prepare(
    launcher: Launcher, contract: Contract[Any], query: Query[SoftmaxParams], constants: Constants
) -> Prepared:
    params = query.params
    (x_type,) = query.inputs
    dims = x_type.dims
    axis = params.axis % len(dims)
    size, inner = dims[axis], prod(dims[axis + 1 :])
    lines = prod(dims[:axis]) * inner
    function = Function(_build(x_type.dtype), contract.name)

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (x,), (y,) = inputs, outputs
        dense("the input", x)
        dense("the output", y)
        if not x.size:
            return []
        sizes = (ctypes.c_longlong(lines), ctypes.c_int(size), ctypes.c_longlong(inner))
        arguments = (pointer(launcher, x), pointer(launcher, y), *sizes)
        scratch = _THREADS // 32 * x_type.dtype.itemsize
        return [Launch(function, (min(lines, 65536), 1, 1), _THREADS, arguments, scratch)]

    return LaunchPrepared(launcher, launches)


def _supports(query: Query) -> str | None:
    return types_only(query, _FLOATS)


KERNELS: tuple[Kernel, ...] = tuple(
    Kernel(contract, "cupy", contract.name, prepare=launched(_prepare, contract), supports=_supports)
    for contract in (SOFTMAX, LOG_SOFTMAX)
)
