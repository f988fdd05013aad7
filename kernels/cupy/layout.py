"""Cast, transpose, pad, slice, split, pack and tile on the device, so that a graph need not leave it for them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts.base import Contract
from ..contracts.layout import (
    CAST,
    PACK,
    PAD,
    SLICE,
    SPLIT,
    TILE,
    TRANSPOSE,
    CastParams,
    PackParams,
    PadParams,
    SliceParams,
    SplitParams,
    TileParams,
    TransposeParams,
)
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array, DType
from . import copies
from .copies import copy_build, copy_launch, supports_copy
from .launch import (
    C_TYPES,
    MAX_RANK,
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
    too_large,
)

__all__ = ["BUILDS", "KERNELS", "PadShape"]

_INTS, _LONGS = ctypes.c_int * MAX_RANK, ctypes.c_longlong * MAX_RANK


class PadShape(ctypes.Structure):
    """Mirrors PadShape of copy.cu."""

    _fields_ = (
        ("total", ctypes.c_longlong),
        ("rank", ctypes.c_int),
        ("mode", ctypes.c_int),
        *((name, _INTS) for name in ("in_", "out", "before")),
        *((name, _LONGS) for name in ("x_stride", "y_stride")),
    )


class _Wide(ctypes.Structure):
    """ulonglong2."""

    _fields_ = (("x", ctypes.c_uint64), ("y", ctypes.c_uint64))


def _cast_build(source: DType, target: DType) -> Build:
    return Build("cast.cu", (("FROM", C_TYPES[source]), ("TO", C_TYPES[target])))


#: Casts to and from float32, which is what networks use; the other pairs are compiled in the same way when they occur.
BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = (
    *copies.BUILDS,
    *((_cast_build(np.dtype(a), np.dtype(b)), ("cast",)) for a, b in (("uint8", "float32"), ("float32", "int32"))),
)


def _cast(launcher: Launcher, params: CastParams, x: Array, outputs: Sequence[Array]) -> list[Launch]:
    (y,) = outputs
    rows = rows_of(x, y)
    arguments = (pointer(launcher, x), pointer(launcher, y), rows)
    return [Launch(Function(_cast_build(x.dtype, y.dtype), "cast"), grid_for(x.size), THREADS, arguments)]


def _transpose(launcher: Launcher, params: TransposeParams, x: Array, outputs: Sequence[Array]) -> list[Launch]:
    (y,) = outputs
    steps = element_strides(x)
    moved = [steps[a] for a in params.axes(x.ndim)]
    return [copy_launch(launcher, x, y, y.shape, moved, element_strides(y))]


def _slice(launcher: Launcher, params: SliceParams, x: Array, outputs: Sequence[Array]) -> list[Launch]:
    (y,) = outputs
    own = element_strides(x)
    jumps = params.steps or (1,) * x.ndim
    offset = sum(b * s for b, s in zip(params.begin, own, strict=True))
    steps = [j * s for j, s in zip(jumps, own, strict=True)]
    return [copy_launch(launcher, x, y, y.shape, steps, element_strides(y), offset)]


def _split(launcher: Launcher, params: SplitParams, x: Array, outputs: Sequence[Array]) -> list[Launch]:
    steps = element_strides(x)
    axis = params.axis % x.ndim
    result = []
    start = 0
    for y in outputs:
        if y.size:
            result.append(copy_launch(launcher, x, y, y.shape, steps, element_strides(y), start * steps[axis]))
        start += y.shape[axis]
    return result


def _tile(launcher: Launcher, params: TileParams, x: Array, outputs: Sequence[Array]) -> list[Launch]:
    """The output as (repeat, size) per axis; the input's stride along repeats is 0."""
    (y,) = outputs
    shape: list[int] = []
    x_steps: list[int] = []
    y_steps: list[int] = []
    for size, times, x_step, y_step in zip(
        x.shape, params.multiples, element_strides(x), element_strides(y), strict=True
    ):
        shape += [times, size]
        x_steps += [0, x_step]
        y_steps += [size * y_step, y_step]
    return [copy_launch(launcher, x, y, shape, x_steps, y_steps)]


def _pad(launcher: Launcher, params: PadParams, x: Array, outputs: Sequence[Array]) -> list[Launch]:
    (y,) = outputs
    shape = PadShape(total=y.size, rank=y.ndim, mode=("constant", "reflect", "symmetric").index(params.mode))
    shape.in_, shape.out = _INTS(*x.shape), _INTS(*y.shape)
    shape.before = _INTS(*(before for before, _ in params.paddings))
    shape.x_stride, shape.y_stride = _LONGS(*element_strides(x)), _LONGS(*element_strides(y))
    arguments = (pointer(launcher, x), pointer(launcher, y), _raw(params.value, x.dtype), shape)
    return [Launch(Function(copy_build(x.dtype), "pad"), grid_for(y.size), THREADS, arguments)]


def _raw(value: complex, dtype: DType) -> Any:
    """The bits of a value of that element type, as a kernel argument."""
    number = value if dtype.kind == "c" else complex(value).real
    bits = np.asarray(number).astype(dtype).tobytes()
    if len(bits) == 16:
        return _Wide.from_buffer_copy(bits)
    return {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}[len(bits)].from_buffer_copy(
        bits
    )


_Plan = Callable[[Launcher, Any, Array, Sequence[Array]], list[Launch]]


def _prepare(launcher: Launcher, plan: _Plan, query: Query, constants: Constants) -> Prepared:
    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        return plan(launcher, query.params, inputs[0], outputs) if any(y.size for y in outputs) else []

    return LaunchPrepared(launcher, launches)


def _prepare_pack(launcher: Launcher, query: Query[PackParams], constants: Constants) -> Prepared:
    params = query.params
    axis = params.axis % len(query.outputs[0].dims)

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (y,) = outputs
        steps = element_strides(y)
        others = (*steps[:axis], *steps[axis + 1 :])
        return [
            copy_launch(launcher, x, y, x.shape, element_strides(x), others, 0, number * steps[axis])
            for number, x in enumerate(inputs)
            if x.size
        ]

    return LaunchPrepared(launcher, launches)


def _supports_cast(query: Query[CastParams]) -> str | None:
    if query.params.truncate:
        return "rounds, does not truncate"
    for t in (*query.inputs, *query.outputs):
        if t.dtype not in C_TYPES:
            return f"no kernel for element type of {t}"
    return too_large(query)


_PLANS: dict[Contract[Any], tuple[_Plan, Callable[[Query], str | None]]] = {
    CAST: (_cast, _supports_cast),
    TRANSPOSE: (_transpose, supports_copy),
    SLICE: (_slice, supports_copy),
    SPLIT: (_split, supports_copy),
    TILE: (_tile, supports_copy),
    PAD: (_pad, supports_copy),
}


def _record(contract: Contract[Any], prepare: Any, supports: Callable[[Query], str | None]) -> Kernel:
    return Kernel(
        contract,
        "cupy",
        contract.name,
        prepare=prepare,
        supports=supports,
        strided_outputs=True,
        strided_inputs=True,
    )


KERNELS: tuple[Kernel, ...] = (
    *(_record(c, launched(_prepare, plan), supports) for c, (plan, supports) in _PLANS.items()),
    _record(PACK, launched(_prepare_pack), supports_copy),
)
