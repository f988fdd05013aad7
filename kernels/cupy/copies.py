"""Strided copies of elements of any type: what concat, transpose, slice, split, pack and tile are made of."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from ..kernel import Query
from ..tensor import STRING, Array, DType
from .launch import (
    MAX_RANK,
    THREADS,
    Build,
    Function,
    Launch,
    Launcher,
    grid_for,
    pointer,
    strided,
    too_large,
)

__all__ = ["BUILDS", "copy_build", "copy_launch", "supports_copy"]

_TYPES = {
    1: "unsigned char",
    2: "unsigned short",
    4: "unsigned int",
    8: "unsigned long long",
    16: "ulonglong2",
}


def copy_build(dtype: DType) -> Build:
    return Build("copy.cu", (("ELEMENT", _TYPES[dtype.itemsize]),))


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple(
    (Build("copy.cu", (("ELEMENT", name),)), ("copy", "pad")) for name in _TYPES.values()
)


def copy_launch(
    launcher: Launcher,
    x: Array,
    y: Array,
    shape: Sequence[int],
    x_strides: Sequence[int],
    y_strides: Sequence[int],
    x_offset: int = 0,
    y_offset: int = 0,
) -> Launch:
    """Copies a box of ``shape``; strides and offsets in elements, of x and of y."""
    geometry = strided(shape, [x_strides, y_strides])
    size = x.dtype.itemsize
    source = ctypes.c_void_p((pointer(launcher, x).value or 0) + x_offset * size)
    target = ctypes.c_void_p((pointer(launcher, y).value or 0) + y_offset * size)
    return Launch(Function(copy_build(x.dtype), "copy"), grid_for(geometry.total), THREADS, (source, target, geometry))


def supports_copy(query: Query) -> str | None:
    """A reason if an array has elements of no known size, too many of them, or too many axes."""
    for t in (*query.inputs, *query.outputs):
        if t.dtype == STRING or t.dtype.itemsize not in _TYPES:
            return f"no kernel for element type of {t}"
        if len(t.dims) > MAX_RANK:
            return f"{t} has more than {MAX_RANK} axes"
    return too_large(query)
