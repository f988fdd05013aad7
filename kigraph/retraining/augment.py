"""Variants of a photograph: mirrored, cut, with other light and colour. What changes is drawn from the photograph's own digest."""

from __future__ import annotations

import numpy as np

from ..kernels.digest import blake2b
from ..vision.decode import Pixels

__all__ = ["varied"]

#: A cut keeps at least this share of each side; light, contrast and colour change by at most this share.
_LEAST_SIDE, _MOST_CHANGE = 0.8, 0.2
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def varied(pixels: Pixels, digest: str, variant: int) -> Pixels:
    """Variant 1, 2, ... of an upright photograph (height, width, 3) uint8; the same one whenever it is asked for."""
    seed = blake2b(f"{digest} variant {variant}".encode(), digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(seed, "big"))
    height, width = pixels.shape[:2]
    side = rng.uniform(_LEAST_SIDE, 1.0, 2)
    h, w = max(1, round(height * side[0])), max(1, round(width * side[1]))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    mirrored = bool(rng.integers(0, 2))
    light, contrast, colour = (float(v) for v in rng.uniform(1 - _MOST_CHANGE, 1 + _MOST_CHANGE, 3))
    part = pixels[top : top + h, left : left + w]
    values = (part[:, ::-1] if mirrored else part).astype(np.float32) * np.float32(light)
    middle = np.float32(values.mean(dtype=np.float64))
    values = (values - middle) * np.float32(contrast) + middle
    # Sums of three products, written out: a matrix product may round otherwise with another library.
    grey = values[..., :1] * _LUMA[0] + values[..., 1:2] * _LUMA[1] + values[..., 2:] * _LUMA[2]
    values = grey + (values - grey) * np.float32(colour)
    result: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return result
