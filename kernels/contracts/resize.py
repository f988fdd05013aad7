"""Image resizing on NHWC in TensorFlow's three conventions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Params, TensorType
from .base import FLOATS, INTEGERS, Contract, Tolerance, items_of_first, require_dtype, require_rank, shape_text

__all__ = ["RESIZE_BILINEAR", "ResizeParams"]


@dataclass(frozen=True, slots=True)
class ResizeParams(Params):
    """``size`` is (height, width). Both flags False is TensorFlow's legacy rule: source = target * in / out."""

    size: tuple[int, int]
    align_corners: bool = False
    half_pixel_centers: bool = False

    def __post_init__(self) -> None:
        if self.align_corners and self.half_pixel_centers:
            raise ShapeError("resize_bilinear: align_corners and half_pixel_centers exclude each other")
        if min(self.size) < 1:
            raise ShapeError(f"resize_bilinear: size must be at least 1x1, got {self.size}")


def _infer(inputs: Sequence[TensorType], params: ResizeParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    require_dtype("resize_bilinear", "the input", x.dtype, FLOATS | INTEGERS)
    n, h, w, c = require_rank("resize_bilinear", "the input (NHWC)", x.shape, 4)
    if h == 0 or w == 0:
        raise ShapeError(f"resize_bilinear: the input must have at least one pixel, got {shape_text(x.shape)}")
    return (TensorType(np.dtype(np.float32), (n, *params.size, c)),)


RESIZE_BILINEAR: Contract[ResizeParams] = Contract(
    "resize_bilinear",
    """Bilinear interpolation, NHWC, float32 result, no antialiasing.

    Source coordinate of target i, computed in float32: legacy i * (in / out); align_corners i * ((in - 1) / (out - 1)),
    0 if out is 1; half_pixel_centers (i + 0.5) * (in / out) - 0.5. Lower cell floor(s) clamped to >= 0, upper cell
    ceil(s) clamped to in - 1 (so a cell of weight 0, which may be NaN, is not read), weight s - floor(s). Interpolates in x first, then in y: top + (bottom - top) * wy.""",
    _infer,
    ResizeParams,
    flops=lambda inputs, outputs, params: 6 * outputs[0].size,
    tolerance=Tolerance(1e-6, 3e-5),
    by_item=items_of_first,
)
