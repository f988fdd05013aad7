"""Strings (object arrays of bytes) and encoded images. All of them run in the shared CPU family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import DTypeError, KernelError, ShapeError
from ..records import dataclass
from ..tensor import STRING, DType, Params, TensorType, dtype_name
from .base import Contract, Tolerance, broadcast_shapes, require_rank

__all__ = [
    "AS_STRING",
    "BASE64_DECODE",
    "BASE64_ENCODE",
    "DECODE_IMAGE",
    "ENCODE_JPEG",
    "ENCODE_PNG",
    "JPEG_SHAPE",
    "STRING_JOIN",
    "AsStringParams",
    "Base64Params",
    "DecodeImageParams",
    "EncodeJpegParams",
    "ImageFormat",
    "JpegShapeParams",
    "StringJoinParams",
]

UINT8 = np.dtype(np.uint8)


def _require_string(op: str, t: TensorType) -> None:
    if t.dtype != STRING:
        raise DTypeError(f"{op}: takes strings (bytes), got {dtype_name(t.dtype)}")


ImageFormat = Literal["", "jpeg", "png", "gif", "bmp", "webp"]


@dataclass(frozen=True, slots=True)
class DecodeImageParams(Params):
    """What is decoded and to what; a file's format is recognised by its content.

    ``format`` names TensorFlow's op, which decides what is accepted and the rank of the result. 'jpeg' and 'png' take
    JPEG, PNG and a GIF of one frame; 'gif' takes these, animations and WebP as (frames, height, width, 3); 'bmp' takes
    BMP; 'webp' takes WebP as (frames, height, width, channels), JPEG and PNG; '' (DecodeImage) takes all of them, GIF and
    WebP with frames unless ``expand_animations`` is False: then their first frame.
    ``channels`` 0 keeps the file's own number (1, 2, 3 or 4). ``dtype``: uint8, uint16 ('png', '') or float32 ('': 0 to 1).
    ``ratio`` (1, 2, 4, 8), ``fancy_upscaling``, ``dct_method`` ('', INTEGER_FAST or INTEGER_ACCURATE; '' is INTEGER_FAST
    as in TensorFlow) and ``try_recover_truncated`` (what is missing of a truncated file is made up as TensorFlow does)
    apply to JPEG. ``crop`` (first row, first column, height, width) of a JPEG ('jpeg' alone).
    """

    format: ImageFormat = ""
    channels: int = 0
    ratio: int = 1
    fancy_upscaling: bool = True
    dct_method: Literal["", "INTEGER_FAST", "INTEGER_ACCURATE"] = ""
    try_recover_truncated: bool = False
    dtype: DType = UINT8
    expand_animations: bool = True
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.channels not in (0, 1, 3, 4):
            raise ShapeError(f"decode_image: channels must be 0, 1, 3 or 4, got {self.channels}")
        if self.ratio not in (1, 2, 4, 8):
            raise ShapeError(f"decode_image: ratio must be 1, 2, 4 or 8, got {self.ratio}")
        if self.dct_method not in ("", "INTEGER_FAST", "INTEGER_ACCURATE"):
            raise KernelError(
                f"decode_image: dct_method must be '', INTEGER_FAST or INTEGER_ACCURATE, got {self.dct_method!r}"
            )
        if self.crop is not None and (self.format != "jpeg" or min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise ShapeError(f"decode_image: a crop is of a JPEG, from 0, of at least one pixel, got {self.crop}")
        allowed = {"": ("uint8", "uint16", "float32"), "png": ("uint8", "uint16")}.get(self.format, ("uint8",))
        if self.dtype.name not in allowed:
            raise DTypeError(f"decode_image: decodes to {' or '.join(allowed)}, got {dtype_name(self.dtype)}")


def _infer_decode(inputs: Sequence[TensorType], params: DecodeImageParams) -> tuple[TensorType, ...]:
    _require_string("decode_image", inputs[0])
    require_rank("decode_image", "the encoded image", inputs[0].shape, 0)
    if params.format == "gif":
        return (TensorType(params.dtype, (None, None, None, 3)),)
    # One channel is only had of JPEG and PNG, which have no frames.
    if params.channels != 1 and (params.format == "webp" or (params.format == "" and params.expand_animations)):
        return (TensorType(params.dtype),)
    height, width = (None, None) if params.crop is None else params.crop[2:]
    return (TensorType(params.dtype, (height, width, params.channels or None)),)


DECODE_IMAGE: Contract[DecodeImageParams] = Contract(
    "decode_image",
    "Pixels ([frames,] height, width, channels) of an encoded image: a scalar string.",
    _infer_decode,
    DecodeImageParams,
    hot=False,
    dynamic=True,
    tolerance=Tolerance(0, 0),
)


@dataclass(frozen=True, slots=True)
class EncodeJpegParams(Params):
    """``quality``: 0 to 100. ``halved_colour``: colours at half the resolution (4:2:0). ``density``: pixels per inch, x and y."""

    quality: int = 95
    halved_colour: bool = True
    progressive: bool = False
    optimized: bool = False
    density: tuple[int, int] = (300, 300)


def _infer_encode(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    shape = require_rank("encode_image", "the image (height, width, channels)", inputs[0].shape, 3)
    if inputs[0].dtype != UINT8 or shape[2] not in (None, 1, 3, 4):
        raise DTypeError(f"encode_image: takes uint8 pixels with 1, 3 or 4 channels, got {inputs[0]}")
    return (TensorType(STRING, ()),)


ENCODE_JPEG: Contract[EncodeJpegParams] = Contract(
    "encode_jpeg",
    "JPEG file of an image, byte by byte as libjpeg's accurate DCT makes it.",
    _infer_encode,
    EncodeJpegParams,
    hot=False,
)
ENCODE_PNG: Contract[Params] = Contract("encode_png", "PNG file of an image.", _infer_encode, hot=False)


@dataclass(frozen=True, slots=True)
class AsStringParams(Params):
    """How C's printf would write it. ``precision``: digits, -1: printf's own 6. ``width``: least length, -1: none.

    ``form``: for floats 'f', 'e' or 'g', or '' for the shortest text that reads back the same (with a precision as 'f').
    ``fill``: at most one of printf's flags, from ' +-0#'. Bools have no format; of strings ``precision`` is the greatest length.
    """

    precision: int = -1
    form: Literal["", "f", "e", "g"] = ""
    width: int = -1
    fill: str = ""


AS_STRING: Contract[AsStringParams] = Contract(
    "as_string",
    "Numbers as text, elementwise.",
    lambda inputs, params: (TensorType(STRING, inputs[0].shape),),
    AsStringParams,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class StringJoinParams(Params):
    """``separator``: put between the strings."""

    separator: bytes = b""


def _infer_join(inputs: Sequence[TensorType], params: StringJoinParams) -> tuple[TensorType, ...]:
    for t in inputs:
        _require_string("string_join", t)
    return (TensorType(STRING, broadcast_shapes("string_join", [t.shape for t in inputs])),)


STRING_JOIN: Contract[StringJoinParams] = Contract(
    "string_join",
    "The inputs' strings joined elementwise, with broadcasting.",
    _infer_join,
    StringJoinParams,
    arity=(1, None),
    hot=False,
)


@dataclass(frozen=True, slots=True)
class JpegShapeParams(Params):
    """``dtype`` of the result, int32 or int64."""

    dtype: DType


def _infer_jpeg_shape(inputs: Sequence[TensorType], params: JpegShapeParams) -> tuple[TensorType, ...]:
    _require_string("jpeg_shape", inputs[0])
    require_rank("jpeg_shape", "the encoded image", inputs[0].shape, 0)
    return (TensorType(params.dtype, (3,)),)


JPEG_SHAPE: Contract[JpegShapeParams] = Contract(
    "jpeg_shape", "Height, width and channels of a JPEG file, of which only the head is read.",
    _infer_jpeg_shape, JpegShapeParams, hot=False, tolerance=Tolerance(0, 0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Base64Params(Params):
    """``pad``: whether the text is filled with = to a multiple of 4."""

    pad: bool = False


def _infer_base64(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    _require_string("base64", inputs[0])
    return (inputs[0],)


BASE64_ENCODE: Contract[Base64Params] = Contract(
    "base64_encode", "Bytes as text of A-Z, a-z, 0-9, - and _, elementwise.", _infer_base64, Base64Params, hot=False
)
BASE64_DECODE: Contract[Params] = Contract(
    "base64_decode",
    "The inverse of base64_encode; the text may be filled with = to a multiple of 4.",
    _infer_base64,
    hot=False,
)
