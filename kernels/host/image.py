"""Encoded images: JPEG through simplejpeg (libjpeg-turbo), PNG, GIF and BMP through Pillow.

A JPEG decodes to the same pixels as TensorFlow's DecodeJpeg gives: its default is the fast integer DCT with fancy
upsampling. An image file is foreign data: its kind is told by content, its size is checked before anything is decoded,
damage and truncation are refused, and whatever a decoder raises leaves here as ImageError.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..contracts.strings import DECODE_IMAGE, ENCODE_JPEG, ENCODE_PNG, DecodeImageParams, EncodeJpegParams
from ..errors import ImageError, KernelError
from ..types import Array, Kernel, Params
from .support import numpy_kernel

__all__ = ["KERNELS", "MAX_PIXELS", "MAX_SCANS", "decode_image"]

#: Larger images are refused before they are decoded.
MAX_PIXELS = 50_000_000
#: A progressive JPEG of a few kB may repeat scans over all its pixels; cameras and encoders write about ten.
MAX_SCANS = 100

_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
)
_PILLOW_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def _library(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise KernelError(
            f"images need the package {package}, which cannot be imported ({error}). Remedy: pip install {package}"
        ) from None


def _check_size(kind: str, height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"decode_image: the {kind} image is empty ({height} x {width} pixels)")
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"decode_image: the {kind} image has {height} x {width} pixels; at most {MAX_PIXELS:,} are read. "
            "Remedy: scale it down first"
        )


def _has_adobe_marker(data: bytes) -> bool:
    """Whether an Adobe APP14 segment comes before the first scan: such files store CMYK inverted."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xEE and data[at + 4 : at + 9] == b"Adobe":
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _cmyk_to_rgb(cmyk: Array, inverted: bool) -> Array:
    """TensorFlow's conversion (tensorflow/core/lib/jpeg/jpeg_mem.cc): channel * black / 255 on inverted values."""
    inks = cmyk.astype(np.int32)
    if not inverted:
        inks = 255 - inks
    return (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)


def _decode_jpeg(data: bytes, params: DecodeImageParams) -> Array:
    jpeg: Any = _library("simplejpeg", "simplejpeg")
    if params.channels == 4:
        raise ImageError("decode_image: a JPEG has no alpha; expected channels 0, 1 or 3, got 4")
    try:
        height, width, space, _ = jpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise ImageError(f"decode_image: not a readable JPEG: {error}") from None
    _check_size("jpeg", height, width)
    if (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise ImageError(f"decode_image: the JPEG has {scans} scans; at most {MAX_SCANS} are read")
    cmyk = space in ("CMYK", "YCCK")
    channels = params.channels or (1 if space == "Gray" else 3)
    if cmyk and channels == 1:
        raise ImageError("decode_image: a CMYK JPEG does not decode to 1 channel; expected channels 0 or 3")
    options: dict[str, Any] = {
        "colorspace": "CMYK" if cmyk else "GRAY" if channels == 1 else "RGB",
        "fastdct": params.dct_method != "INTEGER_ACCURATE",
        "fastupsample": not params.fancy_upscaling,
    }
    if params.ratio > 1:
        # simplejpeg takes the smallest of libjpeg's sizes that is not below these: ceil(size / ratio), as in libjpeg.
        options |= {"min_height": -(-height // params.ratio), "min_width": -(-width // params.ratio)}
    try:
        pixels = jpeg.decode_jpeg(data, **options)
    except ValueError as error:
        # Stray bytes before a marker are a common flaw of cameras; TensorFlow reads such files, too.
        if "extraneous bytes before marker" not in str(error):
            raise ImageError(f"decode_image: the JPEG is damaged or truncated: {error}") from None
        try:
            pixels = jpeg.decode_jpeg(data, strict=False, **options)
        except ValueError as again:
            raise ImageError(f"decode_image: the JPEG is damaged: {again}") from None
    return _cmyk_to_rgb(pixels, _has_adobe_marker(data)) if cmyk else pixels


def _declared_size(data: bytes, kind: str) -> tuple[int, int]:
    """(height, width) from the file's header, read before Pillow sees it."""

    def number(at: int, size: int, order: Any, signed: bool = False) -> int:
        return int.from_bytes(data[at : at + size], order, signed=signed)

    if len(data) < 26:
        raise ImageError(f"decode_image: the {kind} image is truncated: it has {len(data)} bytes")
    if kind == "png":
        return number(20, 4, "big"), number(16, 4, "big")
    if kind == "gif":
        return number(8, 2, "little"), number(6, 2, "little")
    if number(14, 4, "little") == 12:  # OS/2 header
        return number(20, 2, "little"), number(18, 2, "little")
    return abs(number(22, 4, "little", signed=True)), number(18, 4, "little")


def _own_channels(image: Any, kind: str) -> int:
    """The file's own number of channels, as TensorFlow counts: a palette is 3, or 4 with transparency."""
    if kind == "gif":
        return 3
    if image.mode == "P":
        return 4 if "transparency" in image.info else 3
    return {"RGB": 3, "RGBA": 4, "LA": 4, "RGBX": 3}.get(image.mode, 1)


def _decode_pillow(data: bytes, kind: str, params: DecodeImageParams) -> Array:
    pillow: Any = _library("PIL.Image", "pillow")
    _check_size(kind, *_declared_size(data, kind))
    try:
        with pillow.open(io.BytesIO(data), formats=[kind.upper()]) as image:
            _check_size(kind, image.height, image.width)
            image.load()
            channels = params.channels or _own_channels(image, kind)
            if image.mode.startswith("I"):  # 16 bits: the high byte, as TensorFlow strips it
                image = pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            pixels = np.array(image.convert(_PILLOW_MODES[channels]))
    except ImageError:
        raise
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, struct.error, zlib.error, ...
        raise ImageError(f"decode_image: the {kind} image is damaged or truncated: {error}") from None
    return pixels.reshape(pixels.shape[0], pixels.shape[1], channels)


def decode_image(data: bytes, params: DecodeImageParams) -> Array:
    """Pixels (height, width, channels) uint8 of an encoded image; of a GIF its first frame. Raises ImageError."""
    kind = next((name for magic, name in _MAGIC if data.startswith(magic)), None)
    if kind is None:
        found = f"it starts with {data[:8]!r}" if data else "it is empty"
        raise ImageError(f"decode_image: not a JPEG, PNG, GIF or BMP file: {found}")
    if params.format not in ("", kind):
        raise ImageError(f"decode_image: expected a {params.format} file, found {kind}")
    return _decode_jpeg(data, params) if kind == "jpeg" else _decode_pillow(data, kind, params)


def _evaluate(inputs: Sequence[Array], params: DecodeImageParams) -> tuple[Array, ...]:
    data = np.asarray(inputs[0])[()]
    if not isinstance(data, bytes):
        raise ImageError(f"decode_image: the encoded image must be bytes, got {type(data).__name__}")
    return (decode_image(data, params),)


def _check_encodable(op: str, pixels: Array, channels: tuple[int, ...], limit: int) -> None:
    height, width, depth = pixels.shape
    if depth not in channels or not 0 < height <= limit or not 0 < width <= limit:
        raise ImageError(
            f"{op}: takes 1 to {limit} pixels a side and {' or '.join(map(str, channels))} channels, "
            f"got shape {pixels.shape}"
        )


def _encode_jpeg(inputs: Sequence[Array], outputs: Sequence[Array], params: EncodeJpegParams) -> None:
    jpeg: Any = _library("simplejpeg", "simplejpeg")
    pixels = np.ascontiguousarray(inputs[0])
    _check_encodable("encode_jpeg", pixels, (1, 3), 65_500)
    if not 0 <= params.quality <= 100:
        raise ImageError(f"encode_jpeg: quality must be 0 to 100, got {params.quality}")
    space, sampling = ("GRAY", "Gray") if pixels.shape[2] == 1 else ("RGB", "420")
    outputs[0][()] = jpeg.encode_jpeg(pixels, quality=params.quality, colorspace=space, colorsubsampling=sampling)


def _encode_png(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    pillow: Any = _library("PIL.Image", "pillow")
    pixels = np.ascontiguousarray(inputs[0])
    _check_encodable("encode_png", pixels, (1, 3, 4), 2**31 - 1)
    file = io.BytesIO()
    pillow.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    outputs[0][()] = file.getvalue()


KERNELS = (
    Kernel(DECODE_IMAGE, "host", "decode_image", evaluate=_evaluate, strided_inputs=True),
    numpy_kernel(ENCODE_JPEG, "host", _encode_jpeg),
    numpy_kernel(ENCODE_PNG, "host", _encode_png),
)
