"""Bilinear resizing (cuda/resize.cu)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from ..checks import pitch_of
from ..contracts.resize import RESIZE_BILINEAR, ResizeParams
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array, DType
from .launch import (
    C_TYPES,
    THREADS,
    Build,
    Function,
    Launch,
    Launcher,
    LaunchPrepared,
    grid_for,
    launched,
    pointer,
    types_only,
)

__all__ = ["BUILDS", "KERNELS", "ResizeShape"]

_REALS = frozenset(d for d in C_TYPES if d.kind in "fiu")


class ResizeShape(ctypes.Structure):
    """Mirrors ResizeShape of resize.cu."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("h", "w", "c", "oh", "ow", "mode", "x_pitch", "y_pitch")),
        ("total", ctypes.c_longlong),
    )


def _build(dtype: DType) -> Build:
    return Build("resize.cu", (("ELEMENT", C_TYPES[dtype]),))


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple(
    (_build(d), ("resize_bilinear",)) for d in C_TYPES if d in _REALS
)


def _prepare(launcher: Launcher, query: Query[ResizeParams], constants: Constants) -> Prepared:
    params = query.params
    _, h, w, c = query.inputs[0].dims
    _, oh, ow, _ = query.outputs[0].dims
    mode = 1 if params.align_corners else 2 if params.half_pixel_centers else 0
    function = Function(_build(query.inputs[0].dtype), "resize_bilinear")

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (x,), (y,) = inputs, outputs
        if not y.size:
            return []
        pitches = {"x_pitch": pitch_of("cupy: the input", x), "y_pitch": pitch_of("cupy: the output", y)}
        shape = ResizeShape(h=h, w=w, c=c, oh=oh, ow=ow, mode=mode, total=y.size, **pitches)
        return [Launch(function, grid_for(y.size), THREADS, (pointer(launcher, x), pointer(launcher, y), shape))]

    return LaunchPrepared(launcher, launches)


def _supports(query: Query) -> str | None:
    return types_only(query, _REALS)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        RESIZE_BILINEAR,
        "cupy",
        "resize_bilinear",
        prepare=launched(_prepare),
        supports=_supports,
        strided_outputs=True,
        strided_inputs=True,
    ),
)
