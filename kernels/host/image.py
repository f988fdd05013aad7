"""Encoded images: JPEG, PNG, GIF, BMP and WebP to the pixels that TensorFlow's ops give, and pixels to JPEG and PNG.

An image file is foreign data: its kind is recognised by content, its size is checked before anything is decoded, damage and
truncation are refused, and whatever a decoder raises becomes an ImageError. What cannot be computed exactly as in
TensorFlow is refused. image_jpeg.py, image_png.py, image_gif.py (and WebP): the kinds; image_files.py: what they share.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contracts.strings import (
    DECODE_IMAGE,
    ENCODE_JPEG,
    ENCODE_PNG,
    JPEG_SHAPE,
    DecodeImageParams,
    EncodeJpegParams,
    JpegShapeParams,
)
from ..errors import ImageError
from ..kernel import Kernel
from ..tensor import Array, Params
from .image_files import MAX_BYTES, MAX_PIXELS, MAX_SCANS, check_size, damaged, file_kind, library, refused, widened
from .image_gif import decode_gif, decode_webp
from .image_jpeg import cropped_jpeg, decode_jpeg, jpeg_shape
from .image_png import decode_png
from .support import numpy_kernel

__all__ = ["KERNELS", "MAX_BYTES", "MAX_PIXELS", "MAX_SCANS", "decode_image"]

#: The kinds of files that each op takes, and the op's name.
_STILL = ("jpeg", "png", "gif")
_OPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "jpeg": ("DecodeJpeg", _STILL),
    "png": ("DecodePng", _STILL),
    "gif": ("DecodeGif", (*_STILL, "webp")),
    "bmp": ("DecodeBmp", ("bmp",)),
    "webp": ("DecodeWebP", ("webp", "jpeg", "png")),
    "": ("DecodeImage", (*_STILL, "bmp", "webp")),
}


def _decode_bmp(data: bytes, channels: int, dtype: np.dtype[Any]) -> Array:
    """Samples as stored in the file: 8 bits are grey whatever the palette says, and the compression field is ignored."""
    if channels == 1:
        raise refused("a BMP does not decode to 1 channel; expected channels 0, 3 or 4")
    if len(data) < 32:
        raise damaged("bmp", f"it has {len(data)} bytes")
    offset, width, height, bits = struct.unpack("<10xi4xii2xh", data[:30])
    count = bits // 8
    if count not in (1, 3, 4):
        raise refused(f"the bmp image has {bits} bits a pixel; read are 8, 24 and 32")
    channels = channels or count
    check_size("bmp", abs(height), width, pixel_bytes=channels * dtype.itemsize)
    row = -(-count * width // 4) * 4
    if offset < 0 or offset + row * abs(height) != len(data):
        raise damaged("bmp", f"expected {offset} + {abs(height)} x {row} bytes, got {len(data)}")
    if height < 0 and dtype != np.uint8:
        raise refused(f"a top-down BMP decodes to uint8 alone: TensorFlow has no answer for {dtype.name}. Remedy: cast")
    rows = np.frombuffer(data, np.uint8, row * abs(height), offset).reshape(-1, row)
    stored = (rows if height < 0 else rows[::-1])[:, : width * count].reshape(-1, width, count)
    pixels = np.full((abs(height), width, channels), 255, np.uint8)
    if count == 1:
        pixels[:, :, :3] = stored  # channels 1: the slice has one
    else:
        pixels[:, :, :3] = stored[:, :, 2::-1]
        if count == channels == 4:
            pixels[:, :, 3] = stored[:, :, 3]
    return pixels


def _decode_frames(data: bytes, kind: str, params: DecodeImageParams) -> Array:
    """GIF and WebP: (frames, height, width, channels), or without frames where the op gives none."""
    channels = 3 if params.format == "gif" else params.channels
    animated = params.format in ("gif", "webp") or (params.format == "" and params.expand_animations)
    if kind == "webp":
        if params.dtype != np.uint8:
            raise refused(f"a WebP decodes to uint8 alone, got {params.dtype.name}. Remedy: cast")
        frames = decode_webp(data, channels, animated)
        return frames if animated else frames[0]
    if channels not in (0, 3):
        raise refused(f"a GIF decodes to 3 channels; expected channels 0 or 3, got {channels}")
    still = params.format in ("jpeg", "png")
    frames = decode_gif(data, animated or still, 3 * params.dtype.itemsize)
    if still and len(frames) > 1:
        op = _OPS[params.format][0]
        raise refused(f"{op} takes a GIF of one frame, found {len(frames)}. Remedy: DecodeGif or DecodeImage")
    return widened(frames if animated else frames[0], params.dtype)


def decode_image(data: bytes, params: DecodeImageParams) -> Array:
    """Pixels of an encoded image, as the op that ``params`` names gives them. Raises ImageError.

    (height, width, channels); (frames, height, width, channels) of GIF and WebP, and of all that DecodeGif decodes.
    """
    kind = file_kind(data)
    op, accepted = _OPS[params.format] if params.crop is None else ("DecodeAndCropJpeg", ("jpeg",))
    if kind not in accepted:
        raise refused(f"{op} takes {', '.join(accepted)}; found {kind}. Remedy: DecodeImage")
    if kind in ("gif", "webp"):
        return _decode_frames(data, kind, params)
    channels = 3 if params.format == "gif" else params.channels
    if kind == "png":
        pixels = decode_png(data, channels, params.dtype)
    elif kind == "jpeg":
        decode = decode_jpeg if params.crop is None else cropped_jpeg
        pixels = widened(decode(data, channels, params), params.dtype)
    else:
        pixels = widened(_decode_bmp(data, channels, params.dtype), params.dtype)
    return pixels[np.newaxis] if params.format == "gif" else pixels


def _evaluate(inputs: Sequence[Array], params: DecodeImageParams) -> tuple[Array, ...]:
    data = np.asarray(inputs[0])[()]
    if not isinstance(data, bytes):
        raise ImageError(f"decode_image: the encoded image must be bytes, got {type(data).__name__}")
    return (decode_image(data, params),)


def _jpeg_shape(inputs: Sequence[Array], outputs: Sequence[Array], params: JpegShapeParams) -> None:
    data: Any = np.asarray(inputs[0])[()]
    if file_kind(data) != "jpeg":
        raise refused(f"ExtractJpegShape takes jpeg; found {file_kind(data)}")
    outputs[0][...] = jpeg_shape(data)


def _check_encodable(op: str, pixels: Array, channels: tuple[int, ...], limit: int) -> None:
    height, width, depth = pixels.shape
    if depth not in channels or not 0 < height <= limit or not 0 < width <= limit:
        raise ImageError(
            f"{op}: takes 1 to {limit} pixels a side and {' or '.join(map(str, channels))} channels, "
            f"got shape {pixels.shape}"
        )


def _encode_jpeg(inputs: Sequence[Array], outputs: Sequence[Array], params: EncodeJpegParams) -> None:
    # Pillow: below a quality of 96 simplejpeg takes the fast DCT, which TensorFlow does not.
    pillow: Any = library("PIL.Image", "pillow")
    pixels = np.ascontiguousarray(inputs[0])
    _check_encodable("encode_jpeg", pixels, (1, 3), 65_500)
    if not 0 <= params.quality <= 100:
        raise ImageError(f"encode_jpeg: quality must be 0 to 100, got {params.quality}")
    gray = pixels.shape[2] == 1
    sampling = {} if gray else {"subsampling": 2 if params.halved_colour else 0}
    file = io.BytesIO()
    pillow.fromarray(pixels[:, :, 0] if gray else pixels).save(
        file, "JPEG", quality=params.quality, progressive=params.progressive, optimize=params.optimized, dpi=params.density,
        **sampling,
    )  # fmt: skip
    outputs[0][()] = file.getvalue()


def _encode_png(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    pillow: Any = library("PIL.Image", "pillow")
    pixels = np.ascontiguousarray(inputs[0])
    _check_encodable("encode_png", pixels, (1, 3, 4), 2**31 - 1)
    file = io.BytesIO()
    pillow.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    outputs[0][()] = file.getvalue()


KERNELS = (
    Kernel(DECODE_IMAGE, "host", "decode_image", evaluate=_evaluate, strided_inputs=True),
    numpy_kernel(JPEG_SHAPE, "host", _jpeg_shape),
    numpy_kernel(ENCODE_JPEG, "host", _encode_jpeg),
    numpy_kernel(ENCODE_PNG, "host", _encode_png),
)
