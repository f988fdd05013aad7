"""What the decoders of image files share: kinds recognised by content, limits, libraries, element types."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import ImageError, KernelError
from ..tensor import Array

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SCANNED",
    "MAX_SCANS",
    "bands",
    "check_size",
    "damaged",
    "file_kind",
    "library",
    "reason",
    "refused",
    "widened",
]

#: Larger images, all frames of an animation together, are refused before they are decoded.
MAX_PIXELS = 50_000_000
#: Most bytes of an output: 16-bit and float pixels reach it before MAX_PIXELS.
MAX_BYTES = 4 * MAX_PIXELS
#: A progressive JPEG of a few kB may repeat scans over all its pixels; cameras and encoders write about ten.
MAX_SCANS = 100
#: Scans times pixels that are read: 20 scans of 50 megapixels.
MAX_SCANNED = 1_000_000_000

_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
)


def library(name: str, package: str) -> ModuleType:
    """An optional library, imported where it is used; KernelError names the package to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise KernelError(
            f"images need the package {package}, which cannot be imported ({error}). Remedy: pip install {package}"
        ) from None


def refused(message: str) -> ImageError:
    return ImageError(f"decode_image: {message}")


def damaged(kind: str, what: str) -> ImageError:
    return refused(f"the {kind} image is damaged or truncated: {what}")


def reason(error: BaseException) -> str:
    """One short printable line; decoders put bytes of the file into their messages."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:160] or type(error).__name__


def file_kind(data: bytes) -> str:
    """The kind of file that the first bytes announce. Raises ImageError for a kind that is not read."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) > 12:
        return "webp"
    found = f"it starts with {data[:8]!r}" if data else "it is empty"
    raise refused(f"not a JPEG, PNG, GIF, BMP or WebP file: {found}")


def check_size(kind: str, height: int, width: int, frames: int = 1, pixel_bytes: int = 4) -> None:
    """Refuses empty and too large images, by what the header says."""
    if height < 1 or width < 1:
        raise refused(f"the {kind} image is empty ({height} x {width} pixels)")
    pixels = height * width * frames
    if pixels > MAX_PIXELS or pixels * pixel_bytes > MAX_BYTES:
        most = min(MAX_PIXELS, MAX_BYTES // pixel_bytes)
        many = f"{frames} frames of " if frames > 1 else ""
        raise refused(
            f"the {kind} image has {many}{height} x {width} pixels; at most {most:,} are read. "
            "Remedy: scale it down first"
        )


def bands(image: Any, out: Array) -> Array:
    """Copies a Pillow image to ``out`` a few rows at a time: a copy of the whole would need its memory three times."""
    for top in range(0, len(out), 64):
        part = out[top : top + 64]
        part[:] = np.asarray(image.crop((0, top, out.shape[1], top + len(part)))).reshape(part.shape)
    return out


def widened(pixels: Array, dtype: np.dtype[Any]) -> Array:
    """8-bit pixels as TensorFlow returns them: times 256 as uint16, times float32(1/255) as float32."""
    if dtype == np.uint16:
        wide: Array = pixels.astype(np.uint16) << 8
        return wide
    return pixels.astype(np.float32) * np.float32(1 / 255) if dtype == np.float32 else pixels
