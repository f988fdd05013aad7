"""Layers that resize and cut images, and what is inactive at inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import ops
from ...builder import Tensor
from .building import Building
from .shapes import resize, scaled

__all__ = ["IMAGES", "INACTIVE"]

#: What does nothing at inference.
INACTIVE = frozenset(
    ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "AlphaDropout", "GaussianNoise",
     "ActivityRegularization", "Identity", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
     "RandomBrightness", "RandomHeight", "RandomWidth", "RandomSaturation", "RandomHue", "RandomShear", "RandomSharpness",
     "RandomGrayscale", "RandomColorJitter", "RandomPosterization", "RandomColorDegeneration", "RandomErasing",
     "RandomGaussianBlur", "RandomInvert", "RandomPerspective", "RandomElasticTransform", "MixUp", "CutMix", "AugMix",
     "RandAugment")
)  # fmt: skip
_RULES = ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


def _batched(b: Building, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """``compute`` gets images with the channels last."""
    b.shape(x, 4)
    if not b.channels_first:
        return compute(x)
    return b.last_first(compute(b.first_last(x)))


def _cut(x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    return ops.slice(x, [0, top, left, 0], [-1, height, width, -1])


def _cropped_to_ratio(b: Building, x: Tensor, height: int, width: int) -> Tensor:
    """The largest part in the middle that has the target's ratio."""
    rows, columns = b.fixed(x, 1, 2)
    crop_rows = max(min(rows, int(_float32(columns * height) / _float32(width))), 1)
    crop_columns = max(min(columns, int(_float32(rows * width) / _float32(height))), 1)
    return _cut(x, (rows - crop_rows) // 2, (columns - crop_columns) // 2, crop_rows, crop_columns)


def _float32(value: int) -> Any:
    import numpy as np

    return np.float32(value)


def _padded_to_ratio(b: Building, x: Tensor, height: int, width: int) -> Tensor:
    rows, columns = b.fixed(x, 1, 2)
    tall = max(rows, int(_float32(columns * height) / _float32(width)))
    wide = max(columns, int(_float32(rows * width) / _float32(height)))
    top, left = (tall - rows) // 2, (wide - columns) // 2
    # Keras adds the same on both sides, so an odd difference is not made up.
    pairs = [[0, 0], [top, top], [left, left], [0, 0]]
    return ops.pad(x, pairs, constant_values=b.number("fill_value", 0.0))


def _resizing(b: Building, x: Tensor) -> Tensor:
    b.refuse(fill_mode="constant")
    size = (b.whole("height"), b.whole("width"))
    rule = b.choice("interpolation", "bilinear", *_RULES)

    def compute(image: Tensor) -> Tensor:
        if b.flag("crop_to_aspect_ratio"):
            image = _cropped_to_ratio(b, image, *size)
        elif b.flag("pad_to_aspect_ratio"):
            image = _padded_to_ratio(b, image, *size)
        if b.flag("antialias") and rule not in ("nearest", "area"):
            kernel = {"bilinear": "triangle", "bicubic": "keyscubic"}.get(rule, rule)
            return scaled(b, image, ops.constant(list(size)), kernel, True)
        return resize(b, image, size, rule)

    return _batched(b, x, compute)


def _smart(b: Building, image: Tensor, height: int, width: int) -> Tensor:
    """Keras' smart_resize: the largest part of the target's ratio, resized."""
    return resize(b, _cropped_to_ratio(b, image, height, width), (height, width), "bilinear")


def _center_crop(b: Building, x: Tensor) -> Tensor:
    height, width = b.whole("height"), b.whole("width")

    def compute(image: Tensor) -> Tensor:
        rows, columns = b.fixed(image, 1, 2)
        if rows < height or columns < width:
            return _smart(b, image, height, width)
        # Keras 2 rounds the beginning down, too.
        return _cut(image, (rows - height) // 2, (columns - width) // 2, height, width)

    return _batched(b, x, compute)


def _random_crop(b: Building, x: Tensor) -> Tensor:
    """At inference Keras 2 resizes, and Keras 3 from 3.15 on leaves images as they are."""
    height, width = b.whole("height"), b.whole("width")
    if b.shared.keras3:
        if b.fixed(x, 1, 2) != (height, width) and not b.shared.version.startswith("3.15"):
            raise b.error(
                f"Keras {b.shared.version[:20]}, whose versions differ in it", "images of the size of the crop"
            )
        return x
    return _batched(b, x, lambda image: _smart(b, image, height, width))


IMAGES: dict[str, Callable[[Building, Any], Any]] = {
    "Resizing": _resizing,
    "CenterCrop": _center_crop,
    "RandomCrop": _random_crop,
    **dict.fromkeys(sorted(INACTIVE), lambda b, x: x),
}
