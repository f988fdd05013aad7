"""Colours of pixels, channels last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.colours import ADJUST_CONTRAST, ADJUST_HUE, ADJUST_SATURATION, HSV_TO_RGB, RGB_TO_HSV
from ..tensor import Array, Params
from .support import numpy_kernel, wider

__all__ = ["KERNELS"]


def _hue(x: Array, low: Array, high: Array) -> Array:
    """0 to 6: which channel is the largest, and where the middle one lies between the others; 0 for grey."""
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    extent = high - low
    hue = np.where(
        high == red,
        (green - blue) / extent,
        np.where(high == green, (blue - red) / extent + 2, (red - green) / extent + 4),
    )
    hue = np.where(extent > 0, hue, 0)
    return np.where(hue < 0, hue + 6, hue).astype(x.dtype)


def _shares(hue: Array) -> Array:
    """How far each channel is from the smallest to the largest one, for a hue from 0 to 6."""
    parts = (np.abs(hue - 3) - 1, 2 - np.abs(hue - 2), 2 - np.abs(hue - 4))
    return np.clip(np.stack(parts, -1), 0, 1)


def _wide(x: Array) -> Array:
    return x.astype(wider(x.dtype), copy=False)


def _rgb_to_hsv(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x = _wide(inputs[0])
    low, high = x.min(-1), x.max(-1)
    saturation = np.where(high > 0, (high - low) / high, 0)
    outputs[0][...] = np.stack([_hue(x, low, high) / 6, saturation, high], -1)


def _hsv_to_rgb(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x = _wide(inputs[0])
    saturation, value = x[..., 1:2], x[..., 2:]
    outputs[0][...] = (1 - saturation + saturation * _shares(x[..., 0] * 6)) * value


def _adjust_hue(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x = _wide(inputs[0])
    low, high = x.min(-1), x.max(-1)
    hue = np.mod(_hue(x, low, high) + inputs[1] * x.dtype.type(6), x.dtype.type(6))
    outputs[0][...] = low[..., None] + _shares(hue) * (high - low)[..., None]


def _adjust_saturation(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x = _wide(inputs[0])
    low, high = x.min(-1), x.max(-1)
    saturation = np.clip(np.where(high > 0, (high - low) / high, 0) * inputs[1], 0, 1)[..., None]
    outputs[0][...] = (1 - saturation + saturation * _shares(_hue(x, low, high))) * high[..., None]


def _adjust_contrast(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x = _wide(inputs[0])
    mean = x.mean((-3, -2), keepdims=True, dtype=np.promote_types(x.dtype, np.float64)).astype(x.dtype)
    outputs[0][...] = (x - mean) * inputs[1].astype(x.dtype) + mean


KERNELS = (
    numpy_kernel(RGB_TO_HSV, "host", _rgb_to_hsv),
    numpy_kernel(HSV_TO_RGB, "host", _hsv_to_rgb),
    numpy_kernel(ADJUST_HUE, "host", _adjust_hue),
    numpy_kernel(ADJUST_SATURATION, "host", _adjust_saturation),
    numpy_kernel(ADJUST_CONTRAST, "host", _adjust_contrast),
)
