"""Bilinear resizing in TensorFlow's three conventions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.resize import RESIZE_BILINEAR, ResizeParams
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, DType
from .arrays import NUMBERS, pitch
from .jit import array_type, carray, compiled, int64, pointer, void
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

_F32 = np.float32
_AXIS = array_type(np.dtype([("lower", np.int64), ("upper", np.int64), ("weight", np.float32)], align=True))


def _cells(size: int, out: int, params: ResizeParams) -> np.ndarray[Any, Any]:
    """Per target cell: the two source cells and the weight of the upper one, computed in float32 as TensorFlow does."""
    target = np.arange(out, dtype=_F32)
    if params.align_corners:
        source = target * (_F32(size - 1) / _F32(out - 1) if out > 1 else _F32(0))
    elif params.half_pixel_centers:
        source = (target + _F32(0.5)) * (_F32(size) / _F32(out)) - _F32(0.5)
    else:
        source = target * (_F32(size) / _F32(out))
    cells = np.zeros(out, np.dtype([("lower", np.int64), ("upper", np.int64), ("weight", np.float32)], align=True))
    cells["lower"] = np.clip(np.floor(source), 0, size - 1)
    cells["upper"] = np.clip(np.ceil(source), 0, size - 1)
    cells["weight"] = source - np.floor(source)
    return cells


@functools.cache
def _resize_kernel(dtype: DType) -> Any:
    """``run(x, y, rows, columns, height, width, channels, x_pitch, y_pitch, first, end)``: output rows [first, end)."""
    size = dtype.itemsize

    @compiled(f"resize_bilinear-{dtype}", void(int64, int64, _AXIS, _AXIS, *[int64] * 7))
    def run(
        x: int,
        y: int,
        rows: Any,
        columns: Any,
        height: int,
        width: int,
        channels: int,
        x_pitch: int,
        y_pitch: int,
        first: int,
        end: int,
    ) -> None:
        for row in range(first, end):
            image, i = row // len(rows), row % len(rows)
            upper = (image * height + rows[i].lower) * width
            lower = (image * height + rows[i].upper) * width
            wy = rows[i].weight
            for j in range(len(columns)):
                left, right, wx = columns[j].lower, columns[j].upper, columns[j].weight
                x00 = carray(pointer(x + (upper + left) * x_pitch * size), channels, dtype)
                x01 = carray(pointer(x + (upper + right) * x_pitch * size), channels, dtype)
                x10 = carray(pointer(x + (lower + left) * x_pitch * size), channels, dtype)
                x11 = carray(pointer(x + (lower + right) * x_pitch * size), channels, dtype)
                to = carray(pointer(y + (row * len(columns) + j) * y_pitch * 4), channels, np.float32)
                for c in range(channels):
                    a, b = _F32(x00[c]), _F32(x01[c])
                    d, e = _F32(x10[c]), _F32(x11[c])
                    top = a + (b - a) * wx
                    bottom = d + (e - d) * wx
                    to[c] = top + (bottom - top) * wy

    return run


@dataclass(frozen=True, slots=True)
class _Resize:
    query: Query
    kernel: Any
    rows: np.ndarray[Any, Any]
    columns: np.ndarray[Any, Any]
    workspace_bytes: int = 0
    absorbed: frozenset[int] = frozenset()

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, (out,) = self.query, self.query.outputs
        x, x_pitch = pitch("input 0 of resize_bilinear", inputs[0], query.inputs[0])
        y, y_pitch = pitch("the output of resize_bilinear", outputs[0], out)
        _, height, width, channels = query.inputs[0].dims
        runs: list[Run] = []
        if out.size:
            for first, end in shares(out.dims[0] * out.dims[1], min(query.threads, out.size // 16384)):
                place = x, y, self.rows, self.columns, height, width, channels, x_pitch, y_pitch, first, end
                runs.append(functools.partial(self.kernel, *place))
        return sequence([parallel(runs)], (inputs, outputs))


def _prepare(query: Query[ResizeParams], constants: Constants) -> _Resize:
    params, x = query.params, query.inputs[0]
    _, height, width, _ = x.dims
    rows, columns = _cells(height, params.size[0], params), _cells(width, params.size[1], params)
    return _Resize(query, _resize_kernel(x.dtype), rows, columns)


KERNELS = (
    Kernel(
        RESIZE_BILINEAR,
        "numba",
        "resize_bilinear",
        prepare=_prepare,
        supports=lambda query: refuse_dtypes(query, NUMBERS),
        strided_inputs=True,
        strided_outputs=True,
    ),
)
