"""Pixels to the range of numbers that weights were trained with."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.records import dataclass
from .decode import Pixels
from .resize import central_crop, resize, resized

__all__ = ["CHANNELS", "IMAGENET", "INCEPTION", "INCEPTION_2015", "PIXELS", "Normalization", "Preprocessing"]

#: Orders of channels that a network may take. L: one channel, the luma of ITU-R BT.601, as Pillow computes it.
CHANNELS = ("RGB", "BGR", "L")
_LUMA = np.array([19595, 38470, 7471], np.float64) / 65536


@dataclass(frozen=True, slots=True)
class Normalization:
    """(pixel - mean) / std per channel, pixels 0 to 255, in float32."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(..., 3) of any real dtype -> float32 of the same shape."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        result: np.ndarray[Any, np.dtype[np.float32]] = pixels.astype(np.float32)
        # One number is twice as fast as three that are alike.
        result -= mean[0] if len(set(self.mean)) == 1 else mean
        result /= std[0] if len(set(self.std)) == 1 else std
        return result

    def __str__(self) -> str:
        if len(set(self.mean)) == 1 and len(set(self.std)) == 1:
            return f"(pixel - {self.mean[0]:g}) / {self.std[0]:g}"
        return f"(pixel - {self.mean}) / {self.std}"


#: To [-1, 1]; slim, Keras, and torchvision's Inception v3 after its ``transform_input``.
INCEPTION = Normalization((127.5,) * 3, (127.5,) * 3)
#: What the graph of 2015 does itself, in its nodes Sub and Mul.
INCEPTION_2015 = Normalization((128.0,) * 3, (128.0,) * 3)
#: Pixels as they are, 0 to 255.
PIXELS = Normalization((0.0,) * 3, (1.0,) * 3)
#: Mean and deviation of ImageNet, as torchvision and timm use them for most networks.
IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Pixels of any size -> one float32 image (height, width, 3) as the weights expect it.

    ``crop`` is the central fraction that is kept before resizing (slim evaluates with 0.875), ``rule`` one of
    vision.RESIZE_RULES. ``channels``: one of CHANNELS, the order in which the network takes them; mean and std are those of
    red, green and blue whatever the order. With 'L' the result is (height, width, 1).
    """

    size: tuple[int, int]
    rule: str
    normalization: Normalization = INCEPTION
    crop: float = 1.0
    channels: str = "RGB"

    def __call__(
        self, pixels: Pixels, out: np.ndarray[Any, np.dtype[np.float32]] | None = None
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """out: dense float32 of the result's shape that it is written into, a row of a batch, say; default: a new array."""
        cropped, norm = central_crop(pixels, self.crop), self.normalization
        if self.channels != "L":
            mirrored = self.channels == "BGR"
            return resized(cropped, self.size, self.rule, norm.mean, norm.std, mirrored=mirrored, out=out)
        grey = (resize(cropped, self.size, self.rule) @ _LUMA).astype(np.float32)[..., None]
        one = norm(np.repeat(grey, 3, -1))[..., :1]
        if out is None:
            return one
        np.copyto(out, one)
        return out

    def __str__(self) -> str:
        crop = f"central {self.crop:.1%} -> " if self.crop < 1 else ""
        order = "" if self.channels == "RGB" else f", {self.channels}"
        return f"{crop}{self.size[0]}x{self.size[1]} by {self.rule} -> {self.normalization}{order}"
