"""Sum, mean, largest and smallest over axes (cuda/reduce.cu)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..contracts.base import Contract
from ..contracts.reduce import REDUCE_MAX, REDUCE_MEAN, REDUCE_MIN, REDUCE_SUM, ReduceParams
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
    dense,
    element_strides,
    grid_for,
    launched,
    pointer,
    scalar,
    strided,
    types_only,
)

__all__ = ["BUILDS", "KERNELS"]

_FLOATS = frozenset(d for d in C_TYPES if is_float(d))
_REALS = frozenset(d for d in C_TYPES if d.kind in "fiu")
_CONTRACTS: dict[Contract[ReduceParams], frozenset[DType]] = {
    REDUCE_SUM: _REALS,
    REDUCE_MEAN: _FLOATS,
    REDUCE_MAX: _REALS,
    REDUCE_MIN: _REALS,
}


def _build(dtype: DType) -> Build:
    floating = dtype in _FLOATS
    accumulator = "double" if floating else C_TYPES[dtype]
    return Build(
        "reduce.cu",
        (("ELEMENT", C_TYPES[dtype]), ("ACCUMULATOR", accumulator), *((("FLOATING", 1),) if floating else ())),
    )


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple(
    (
        _build(d),
        tuple(f"{c.name}_{way}" for c, types in _CONTRACTS.items() if d in types for way in ("rows", "columns")),
    )
    for d in C_TYPES
    if d in _REALS
)


def _for_nothing(contract: Contract[Any], dtype: DType) -> Any:
    """The result for no elements, where a reduction starts."""
    if contract is REDUCE_MAX:
        return -np.inf if is_float(dtype) else np.iinfo(dtype).min
    if contract is REDUCE_MIN:
        return np.inf if is_float(dtype) else np.iinfo(dtype).max
    return 0


def _prepare(launcher: Launcher, contract: Contract[Any], query: Query[ReduceParams], constants: Constants) -> Prepared:
    params = query.params
    (x_type,) = query.inputs
    dims, dtype = x_type.dims, x_type.dtype
    axes = params.normalized(len(dims))
    others = [a for a in range(len(dims)) if a not in axes]
    # The last axis with more than one element is the dense one.
    long_axes = [a for a in range(len(dims)) if dims[a] != 1]
    by_rows = bool(long_axes) and long_axes[-1] in axes
    function = Function(_build(dtype), f"{contract.name}_{'rows' if by_rows else 'columns'}")
    empty = scalar(dtype, _for_nothing(contract, dtype))

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (x,), (y,) = inputs, outputs
        dense("the output", y)
        if not y.size:
            return []
        steps = element_strides(x)
        kept = strided([dims[a] for a in others], [[steps[a] for a in others]])
        reduced = strided([dims[a] for a in axes], [[steps[a] for a in axes]])
        arguments = (pointer(launcher, x), pointer(launcher, y), empty, kept, reduced)
        if not by_rows:
            return [Launch(function, grid_for(y.size), THREADS, arguments)]
        return [Launch(function, (min(y.size, 65536), 1, 1), THREADS, arguments, THREADS // 32 * 8)]

    return LaunchPrepared(launcher, launches)


def _supports(types: frozenset[DType], query: Query) -> str | None:
    return types_only(query, types)


KERNELS: tuple[Kernel, ...] = tuple(
    Kernel(
        contract,
        "cupy",
        contract.name,
        prepare=launched(_prepare, contract),
        supports=partial(_supports, types),
        strided_inputs=True,
    )
    for contract, types in _CONTRACTS.items()
)
