"""Resampling of one axis after the other: nearest, linear, cubic, area and antialiased kinds of every convention.

Each axis has a rule. A rule and the size of the axis give, for every target, a few source cells and their weights
(kernels/host/resample_taps.py); the result is their weighted sum. Boxes of images (crop_and_resize) are here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Literal

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import Dim, DType, Params, TensorType, is_float, is_int
from .base import (
    FLOATS,
    INTEGERS,
    Contract,
    Tolerance,
    merge_shapes,
    normalize_axis,
    require_dtype,
    require_rank,
    shape_text,
)

__all__ = [
    "COORDINATES", "CROP_AND_RESIZE", "FILTERS", "KINDS", "MOST_CELLS", "RESAMPLE", "ROUNDINGS", "AxisRule", "CropParams",
    "ResampleParams",
]  # fmt: skip

#: How targets are placed on the source; the names are ONNX's.
COORDINATES = (
    "asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric", "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)  # fmt: skip
KINDS = ("nearest", "linear", "cubic", "cubic_table", "area", "span")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
#: Filters of kind span, with their radius.
FILTERS = {
    "lanczos1": 1.0, "lanczos3": 3.0, "lanczos5": 5.0, "gaussian": 1.5, "box": 1.0, "triangle": 1.0, "keyscubic": 2.0,
    "mitchellcubic": 2.0,
}  # fmt: skip
#: Cells times targets of an axis: a filter that covers more is refused instead of filling the memory with weights.
MOST_CELLS = 1 << 26


@dataclass(frozen=True, slots=True)
class AxisRule:
    """``axis`` becomes ``size`` cells. ``scale``: targets per source cell; 0: size / input size.

    ``kind``: nearest (``rounding``), linear, cubic (``cubic_a``), cubic_table (cubic with weights of 1,024 positions, as
    TensorFlow's), area (overlaps of cells), span (``filter`` around the target, as ScaleAndTranslate).
    ``coordinates``: see COORDINATES; area takes asymmetric and align_corners; span has ``scale`` and ``translation``
    instead. ``roi``: begin and end as a share of the axis, for tf_crop_and_resize.
    ``antialias``: the filter is widened where the axis shrinks. ``exclude_outside``: cells outside weigh 0 and the others
    are scaled to a sum of 1, else outside means the edge. ``extrapolate``: targets beyond the source get the record's value.
    ``single``: positions in float32, as TensorFlow computes them.
    """

    axis: int
    size: int
    kind: Literal["nearest", "linear", "cubic", "cubic_table", "area", "span"] = "linear"
    coordinates: str = "half_pixel"
    scale: float = 0.0
    rounding: Literal["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"] = "round_prefer_floor"
    cubic_a: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False
    extrapolate: bool = False
    roi: tuple[float, float] = (0.0, 1.0)
    single: bool = False
    filter: str = "triangle"
    translation: float = 0.0

    def __post_init__(self) -> None:
        for what, given, known in (
            ("kind", self.kind, KINDS),
            ("coordinates", self.coordinates, COORDINATES),
            ("rounding", self.rounding, ROUNDINGS),
            ("filter", self.filter, FILTERS),
        ):
            if given not in known:
                raise ShapeError(f"resample: {what} must be one of {', '.join(known)}, got {given!r}")
        if self.size < 0:
            raise ShapeError(f"resample: axis {self.axis} would have {self.size} cells; expected at least 0")
        if not all(map(isfinite, (self.scale, self.cubic_a, self.translation, *self.roi))) or self.scale < 0:
            raise ShapeError(
                f"resample: scale {self.scale}, cubic_a {self.cubic_a}, roi {self.roi} and translation {self.translation} "
                "must be finite numbers, the scale not negative"
            )
        if self.kind == "area" and self.coordinates not in ("asymmetric", "align_corners"):
            raise ShapeError(
                f"resample: kind area takes coordinates asymmetric or align_corners, got {self.coordinates}"
            )
        if self.kind == "span" and not self.scale > 0:
            raise ShapeError(f"resample: kind span needs a scale above 0, got {self.scale}")


@dataclass(frozen=True, slots=True)
class ResampleParams(Params):
    """``rules``: one per axis that changes, in the order in which they are applied. ``value``: of extrapolated targets.

    ``dtype`` of the result; None: the input's. Sums are in float32, of float64 in float64.
    """

    rules: tuple[AxisRule, ...]
    dtype: DType | None = None
    value: float = 0.0


def _infer_resample(inputs: Sequence[TensorType], params: ResampleParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    dtype = x.dtype if params.dtype is None else params.dtype
    if any(r.kind != "nearest" for r in params.rules):
        require_dtype("resample", "the input", x.dtype, FLOATS | INTEGERS)
        if not is_float(dtype):
            raise DTypeError(f"resample: a weighted sum of {x.dtype} is a float, not {dtype}; give the result's dtype")
    elif dtype != x.dtype and not (is_float(dtype) and (is_float(x.dtype) or is_int(x.dtype))):
        raise DTypeError(f"resample: no conversion from {x.dtype} to {dtype}")
    if x.shape is None:
        return (TensorType(dtype),)
    shape = list(x.shape)
    seen: set[int] = set()
    for rule in params.rules:
        axis = normalize_axis("resample", rule.axis, len(shape))
        if axis in seen:
            raise ShapeError(f"resample: axis {axis} has two rules")
        seen.add(axis)
        if shape[axis] == 0 and rule.size:
            raise ShapeError(f"resample: axis {axis} of {shape_text(x.shape)} has no cells to sample")
        shape[axis] = rule.size
    return (TensorType(dtype, tuple(shape)),)


RESAMPLE: Contract[ResampleParams] = Contract(
    "resample",
    """y[.., i, ..] = sum over k of weight[i, k] * x[.., cell[i, k], ..] along each axis that has a rule, one after the other.

    Cells and weights follow from the rule and the size of the axis alone. A cell of weight 0 is not read, so a NaN there
    does not matter. Nearest picks one cell and keeps every bit, of any element type.""",
    _infer_resample, ResampleParams, tolerance=Tolerance(2e-6, 3e-5), hot=False,
    flops=lambda inputs, outputs, params: 2 * outputs[0].size * len(params.rules),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CropParams(Params):
    """``size`` (height, width) of every crop. ``method`` bilinear or nearest. ``value`` of what is outside the image."""

    size: tuple[int, int]
    method: Literal["bilinear", "nearest"] = "bilinear"
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in ("bilinear", "nearest"):
            raise ShapeError(f"crop_and_resize: method must be bilinear or nearest, got {self.method!r}")
        if min(self.size) < 1:
            raise ShapeError(f"crop_and_resize: crops must have at least one pixel, got {self.size}")


def _infer_crop(inputs: Sequence[TensorType], params: CropParams) -> tuple[TensorType, ...]:
    op = "crop_and_resize"
    image, boxes, owners = inputs
    require_dtype(op, "the image", image.dtype, FLOATS | INTEGERS)
    if boxes.dtype != np.float32 or owners.dtype != np.int32:
        raise DTypeError(f"{op}: takes float32 boxes and int32 numbers of images, got {boxes} and {owners}")
    _, h, w, channels = require_rank(op, "the image (NHWC)", image.shape, 4)
    if h == 0 or w == 0:
        raise ShapeError(f"{op}: the image must have at least one pixel, got {shape_text(image.shape)}")
    count: Dim
    count, four = require_rank(op, "the boxes (count, 4)", boxes.shape, 2)
    if four not in (None, 4):
        raise ShapeError(f"{op}: a box has 4 numbers (y1, x1, y2, x2), got shape {shape_text(boxes.shape)}")
    merged = merge_shapes(f"{op}: boxes against their images", (count,), owners.shape)
    return (TensorType(np.dtype(np.float32), (merged[0] if merged else count, *params.size, channels)),)


CROP_AND_RESIZE: Contract[CropParams] = Contract(
    "crop_and_resize",
    """Boxes of images, each resized to one size: image NHWC, boxes (count, 4) as shares (y1, x1, y2, x2) of height - 1 and
    width - 1, the image that each is of (count,). Result (count, *size, C), float32.

    Corner pixels lie on the corners of the box; a size of 1 takes its middle. Positions in float32.""",
    _infer_crop, CropParams, arity=(3, 3), tolerance=Tolerance(2e-6, 3e-5), hot=False,
    flops=lambda inputs, outputs, params: 6 * outputs[0].size,
)  # fmt: skip
