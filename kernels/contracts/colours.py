"""Colours of pixels, channels last: RGB to hue, saturation and value and back; hue, saturation and contrast changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..errors import DTypeError, ShapeError
from ..tensor import Params, TensorType
from .base import FLOATS, Contract, Tolerance, require_dtype, shape_text

__all__ = ["ADJUST_CONTRAST", "ADJUST_HUE", "ADJUST_SATURATION", "HSV_TO_RGB", "RGB_TO_HSV"]


def _infer(op: str, rank: int, three: bool, inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    x = inputs[0]
    require_dtype(op, "the image", x.dtype, FLOATS)
    if x.shape is not None and len(x.shape) < rank:
        raise ShapeError(f"{op}: the image must have {rank} axes or more, got shape {shape_text(x.shape)}")
    if three and x.shape is not None and x.shape[-1] not in (None, 3):
        raise ShapeError(f"{op}: the image must have 3 channels, got shape {shape_text(x.shape)}")
    if len(inputs) > 1 and (inputs[1].dtype != np.float32 or inputs[1].shape not in (None, ())):
        raise DTypeError(f"{op}: the amount must be one float32 number, got {inputs[1]}")
    return (x,)


_CLOSE = Tolerance(1e-5, 1e-5)

RGB_TO_HSV: Contract[Params] = Contract(
    "rgb_to_hsv",
    """Hue (0 to 1, red 0, green 1/3, blue 2/3), saturation (range / largest) and value (largest) of the last axis.

    Grey has hue 0, black saturation 0.""",
    partial(_infer, "rgb_to_hsv", 1, True), tolerance=_CLOSE, hot=False,
)  # fmt: skip
HSV_TO_RGB: Contract[Params] = Contract(
    "hsv_to_rgb", "The inverse of rgb_to_hsv for hues from 0 to 1.",
    partial(_infer, "hsv_to_rgb", 1, True), tolerance=_CLOSE, hot=False,
)  # fmt: skip
ADJUST_HUE: Contract[Params] = Contract(
    "adjust_hue", "The hue plus the second input, modulo 1; the smallest and the largest channel stay.",
    partial(_infer, "adjust_hue", 3, True), arity=(2, 2), tolerance=_CLOSE, hot=False,
)  # fmt: skip
ADJUST_SATURATION: Contract[Params] = Contract(
    "adjust_saturation", "The saturation times the second input, from 0 to 1; hue and value stay.",
    partial(_infer, "adjust_saturation", 3, True), arity=(2, 2), tolerance=_CLOSE, hot=False,
)  # fmt: skip
ADJUST_CONTRAST: Contract[Params] = Contract(
    "adjust_contrast", "(x - m) * factor + m with the mean m of each channel over the height and width of its image.",
    partial(_infer, "adjust_contrast", 3, False), arity=(2, 2), tolerance=_CLOSE, hot=False,
)  # fmt: skip
