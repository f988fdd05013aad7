"""Colours of pixels."""

from __future__ import annotations

from ...kernels.contracts.colours import ADJUST_CONTRAST, ADJUST_HUE, ADJUST_SATURATION, HSV_TO_RGB, RGB_TO_HSV
from .attributes import Row, of, types
from .base import OpDef, simple

__all__ = ["DEFS"]

_T: Row = {"T": of(0, types("float32")[0])}

DEFS: tuple[OpDef, ...] = (
    simple("RGBToHSV", RGB_TO_HSV, _T),
    simple("HSVToRGB", HSV_TO_RGB, _T),
    simple("AdjustHue", ADJUST_HUE, _T),
    simple("AdjustSaturation", ADJUST_SATURATION, _T),
    simple("AdjustContrastv2", ADJUST_CONTRAST, _T),
)
