"""Bilinear resizing; the C side is c/resize.h. Cells and weights are computed here, in float32 as the contract says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.resize import RESIZE_BILINEAR, ResizeParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array, TensorType
from .loops import bind_resize, dtypes_of
from .support import Bound, dtypes

__all__ = ["KERNELS"]

_F32 = np.float32


def _cells(size: int, out: int, params: ResizeParams) -> tuple[np.ndarray[Any, Any], ...]:
    """Lower cell, upper cell (int32), and weight of the upper one (float32), for each target."""
    target = np.arange(out, dtype=_F32)
    if params.align_corners:
        source = target * (_F32(size - 1) / _F32(out - 1) if out > 1 else _F32(0))
    elif params.half_pixel_centers:
        source = (target + _F32(0.5)) * (_F32(size) / _F32(out)) - _F32(0.5)
    else:
        source = target * (_F32(size) / _F32(out))
    floor = np.floor(source)
    lower = np.clip(floor, 0, size - 1).astype(np.int32)
    upper = np.clip(np.ceil(source), 0, size - 1).astype(np.int32)
    return lower, upper, (source - floor).astype(_F32)


def _prepare(query: Query[ResizeParams], constants: Constants) -> Bound:
    params, x, y = query.params, query.inputs[0], query.outputs[0]
    cells: list[Any] = [_cells(x.dims[1 + i], y.dims[1 + i], params) for i in range(2)]
    types = [(TensorType(c[0].dtype, c[0].shape), TensorType(c[2].dtype, c[2].shape)) for c in cells]

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_resize(inputs[0], x, outputs[0], y, cells, types, threads=query.threads)

    return Bound(bind)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        RESIZE_BILINEAR,
        "cython",
        "resize_bilinear",
        prepare=_prepare,
        supports=lambda query: refuse_dtypes(query, dtypes(dtypes_of("resize"))),
    ),
)
