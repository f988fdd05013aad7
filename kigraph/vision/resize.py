"""The resizing rules that published weights were trained and measured with.

They differ by whole pixels, and a wrong one costs percents of accuracy without any error: a rule therefore belongs to the
weights and is named in their card, never guessed.

==================  ==============================================================================================
rule                what it does, pixels (height, width, 3) uint8 -> float32 of the target size, still 0 to 255
==================  ==============================================================================================
legacy              TensorFlow 1 ``resize_bilinear``: source = target * in / out, no antialiasing
half_pixel          TensorFlow 2 / ONNX bilinear: source = (target + 0.5) * in / out - 0.5, no antialiasing
torchvision         shorter side to ``round(size * 342 / 299)`` by Pillow's antialiased bilinear, centre crop
keras_nearest       Pillow's nearest neighbour straight to the target size (``load_img``'s default)
keras_bilinear      Pillow's antialiased bilinear straight to the target size
==================  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from ..errors import ImageError
from ..kernels.backends import compiled
from ..kernels.records import dataclass
from .decode import Pixels

__all__ = [
    "RESIZE_RULES",
    "TORCHVISION_RATIO",
    "Placed",
    "central_crop",
    "half_pixel_bilinear",
    "keras_bilinear",
    "keras_nearest",
    "legacy_bilinear",
    "resize",
    "resized",
    "torchvision",
]

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: Lower cells and upper cells (int32), and weights of the upper ones (float32), for each row or column of a result.
Cells: TypeAlias = "tuple[np.ndarray[Any, np.dtype[np.int32]], np.ndarray[Any, np.dtype[np.int32]], Floats]"
Rule: TypeAlias = "Callable[[Pixels, tuple[int, int]], Placed]"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a resized image is in ``pixels``: each value lies between the cells of its row and of its column."""

    pixels: Pixels
    rows: Cells
    columns: Cells


#: torchvision evaluates Inception v3 with resize 342, crop 299 (Inception_V3_Weights.IMAGENET1K_V1.transforms).
TORCHVISION_RATIO = 342 / 299


def legacy_bilinear(pixels: Pixels, size: tuple[int, int]) -> Placed:
    """TensorFlow's ``resize_bilinear`` with align_corners and half_pixel_centers both False; (height, width)."""
    return _bilinear(pixels, size, half_pixel=False)


def half_pixel_bilinear(pixels: Pixels, size: tuple[int, int]) -> Placed:
    """TensorFlow's ``resize_bilinear`` with half_pixel_centers."""
    return _bilinear(pixels, size, half_pixel=True)


def torchvision(pixels: Pixels, size: tuple[int, int]) -> Placed:
    """torchvision's evaluation transform for Inception v3: Resize(342), CenterCrop(299), for any target size.

    The long side is truncated, the crop offset rounded, both as torchvision does for Pillow images.
    """
    height, width = pixels.shape[:2]
    if size[0] != size[1]:
        raise ImageError(f"the torchvision rule needs a square target, got {size}")
    short = round(size[0] * TORCHVISION_RATIO)
    if width <= height:
        resized_w, resized_h = short, int(short * height / width)
    else:
        resized_w, resized_h = int(short * width / height), short
    top, left = round((resized_h - size[0]) / 2.0), round((resized_w - size[1]) / 2.0)
    scaled = _pillow(pixels, (resized_h, resized_w), "BILINEAR")
    return _as_they_are(scaled[top : top + size[0], left : left + size[1]])


def keras_nearest(pixels: Pixels, size: tuple[int, int]) -> Placed:
    """``keras.utils.load_img(target_size=...)`` with its default interpolation."""
    return _as_they_are(_pillow(pixels, size, "NEAREST"))


def keras_bilinear(pixels: Pixels, size: tuple[int, int]) -> Placed:
    """``keras.utils.load_img(target_size=..., interpolation="bilinear")``."""
    return _as_they_are(_pillow(pixels, size, "BILINEAR"))


RESIZE_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "legacy": legacy_bilinear,
        "half_pixel": half_pixel_bilinear,
        "torchvision": torchvision,
        "keras_nearest": keras_nearest,
        "keras_bilinear": keras_bilinear,
    }
)


def resize(pixels: Pixels, size: tuple[int, int], rule: str) -> Floats:
    """Resizes to ``size`` = (height, width) by one of RESIZE_RULES."""
    return resized(pixels, size, rule, (0.0,) * 3, (1.0,) * 3)


def resized(
    pixels: Pixels,
    size: tuple[int, int],
    rule: str,
    mean: Sequence[float],
    deviation: Sequence[float],
    *,
    mirrored: bool = False,
    out: Floats | None = None,
) -> Floats:
    """Resized by one of RESIZE_RULES and normalised, (value - mean) / deviation in float32, in one pass of C code, or by NumPy where that is not built.

    pixels: uint8 (height, width, 3). mean, deviation: of red, green, blue. mirrored: the result has blue, green, red.
    out: dense float32 (*size, 3) that the result is written into; default: a new array.
    Raises ImageError for an unknown rule and for pixels of another shape or element type.
    """
    if rule not in RESIZE_RULES:
        raise ImageError(f"unknown resize rule {rule!r}; known: {', '.join(RESIZE_RULES)}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(f"expected uint8 pixels of shape (height, width, 3), got {pixels.dtype} {pixels.shape}")
    found = RESIZE_RULES[rule](pixels, size)
    step = -1 if mirrored else 1
    result: Floats = np.empty((*size, 3), np.float32) if out is None else out
    resize_pixels = compiled("resize_pixels")
    if resize_pixels is None:
        return _in_numpy(found, np.array(mean, np.float32), np.array(deviation, np.float32), step, result)
    low, high, weight = found.columns
    resize_pixels(
        found.pixels if found.pixels.strides[1:] == (3, 1) else np.ascontiguousarray(found.pixels),
        (found.rows, (low, high, np.repeat(weight, 3))),
        np.tile(np.array(mean[::step], np.float32), size[1]),
        np.tile(np.array(deviation[::step], np.float32), size[1]),
        result,
        mirrored=mirrored,
    )
    return result


def _in_numpy(found: Placed, mean: Floats, deviation: Floats, step: int, result: Floats) -> Floats:
    """As the C code, to the same bits: columns, then rows, each number rounded to float32 after every step."""
    (top, bottom, down), (left, right, across) = found.rows, found.columns
    values = found.pixels.astype(np.float32)
    wide = values[:, left] + (values[:, right] - values[:, left]) * across[:, None]
    resized = wide[top] + (wide[bottom] - wide[top]) * down[:, None, None]
    result[...] = ((resized - mean) / deviation)[..., ::step]
    return result


def central_crop(pixels: Pixels, fraction: float) -> Pixels:
    """The centre of an image, as ``tf.image.central_crop``: (n - n * fraction) / 2, truncated, is cut from each end."""
    if not 0.0 < fraction <= 1.0:
        raise ImageError(f"the crop fraction must be above 0 and at most 1, got {fraction}")
    height, width = pixels.shape[:2]
    top, left = int((height - height * fraction) / 2), int((width - width * fraction) / 2)
    return pixels[top : height - top, left : width - left]


def _bilinear(pixels: Pixels, size: tuple[int, int], *, half_pixel: bool) -> Placed:
    height, width = pixels.shape[:2]
    return Placed(pixels, _cells(height, size[0], half_pixel), _cells(width, size[1], half_pixel))


def _as_they_are(pixels: Pixels) -> Placed:
    height, width = pixels.shape[:2]
    return Placed(pixels, _every(height), _every(width))


@lru_cache(64)
def _every(length: int) -> Cells:
    cells = np.arange(length, dtype=np.int32)
    return cells, cells, np.zeros(length, np.float32)


@lru_cache(64)
def _cells(length: int, out: int, half_pixel: bool) -> Cells:
    """Lower cell, upper cell and weight of the upper one, coordinates in float32 as TensorFlow computes them."""
    scale = np.float32(length) / np.float32(out)
    target = np.arange(out, dtype=np.float32)
    source = (target + np.float32(0.5)) * scale - np.float32(0.5) if half_pixel else target * scale
    lower = np.floor(source)
    low = np.maximum(lower, 0).astype(np.int32)
    high = np.minimum(np.ceil(source).astype(np.int32), length - 1)
    return low, high, (source - lower).astype(np.float32)


def _pillow(pixels: Pixels, size: tuple[int, int], filter_name: str) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling[filter_name]))
