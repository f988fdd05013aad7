"""Encoded images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.contracts.strings import (
    DECODE_IMAGE,
    ENCODE_JPEG,
    ENCODE_PNG,
    JPEG_SHAPE,
    DecodeImageParams,
    EncodeJpegParams,
    ImageFormat,
    JpegShapeParams,
)
from ...kernels.tensor import TensorType
from ..errors import GraphError
from .attributes import FALSE, I32, I64, TRUE, Attr, Row, of, types
from .base import Lowered, NeedsValue, OpDef, Site, attr_dtype, entries, ints

__all__ = ["DEFS"]


def _decode(image_format: ImageFormat) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        params = DecodeImageParams(
            image_format,
            int(site.attr("channels", 0)),
            int(site.attr("ratio", 1)),
            bool(site.attr("fancy_upscaling", True)),
            _text(site.attr("dct_method", "")),
            # acceptable_fraction is ignored: without recovery a truncated file is refused
            bool(site.attr("try_recover_truncated", False)),
            attr_dtype(site, "dtype", np.dtype(np.uint8)),
            bool(site.attr("expand_animations", True)),
            _crop(site) if site.op == "DecodeAndCropJpeg" else None,
        )
        return Lowered(DECODE_IMAGE, params, (0,))

    return lower


def _crop(site: Site) -> tuple[int, int, int, int]:
    window = ints(site, 1, "the crop (first row, first column, height, width)")
    if len(window) != 4:
        raise GraphError(f"{site.op} '{site.name}': the crop must have 4 numbers, got {window}")
    return window[0], window[1], window[2], window[3]


def _unknown_crop(site: Site) -> tuple[TensorType, ...]:
    window = entries(site, 1)
    height, width = window[2:] if window is not None and len(window) == 4 else (None, None)
    return (TensorType(U8, (height, width, int(site.attr("channels", 0)) or None)),)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _encode_jpeg(site: Site) -> Lowered:
    params = EncodeJpegParams(
        int(site.attr("quality", 95)),
        bool(site.attr("chroma_downsampling", True)),
        bool(site.attr("progressive", False)),
        bool(site.attr("optimize_size", False)),
        (int(site.attr("x_density", 300)), int(site.attr("y_density", 300))),
    )
    if not all(0 < n < 1 << 16 for n in params.density):
        raise site.unsupported(f"a density of {params.density}", "give pixels per inch from 1 to 65535")
    wanted, shape = {"rgb": 3, "grayscale": 1}.get(_text(site.attr("format", ""))), site.inputs[0].shape
    if wanted is not None and shape is not None and len(shape) == 3 and shape[2] != wanted:
        if shape[2] is None:
            raise NeedsValue(0)
        raise GraphError(
            f"EncodeJpeg '{site.name}': format {site.attr('format')!r} is for {wanted} channels, not for {site.inputs[0]}"
        )
    return Lowered(ENCODE_JPEG, params)


(U8,) = types("uint8")
_CHANNELS: Row = {"channels": Attr("int", 0)}
_DTYPE: Row = {"dtype": Attr("type", U8)}
_DECODE_JPEG: Row = {
    **_CHANNELS, "ratio": Attr("int", 1), "fancy_upscaling": TRUE, "try_recover_truncated": FALSE,
    "acceptable_fraction": Attr("float", 1.0), "dct_method": Attr("string", ""),
}  # fmt: skip
_ENCODE_JPEG: Row = {
    "format": Attr("string", "", allowed=("", "rgb", "grayscale")), "quality": Attr("int", 95), "progressive": FALSE,
    "optimize_size": FALSE, "chroma_downsampling": TRUE, "density_unit": Attr("string", "in", allowed=("in",)),
    "x_density": Attr("int", 300), "y_density": Attr("int", 300), "xmp_metadata": Attr("string", "", allowed=("",)),
}  # fmt: skip

DEFS: tuple[OpDef, ...] = (
    OpDef("DecodeJpeg", _decode("jpeg"), attributes=_DECODE_JPEG),
    OpDef(
        "DecodeAndCropJpeg",
        _decode("jpeg"),
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_crop,
        attributes=_DECODE_JPEG,
        dynamic=True,
    ),
    OpDef(
        "ExtractJpegShape",
        lambda site: Lowered(JPEG_SHAPE, JpegShapeParams(attr_dtype(site, "output_type", I32))),
        attributes={"output_type": Attr("type", I32, allowed=(I32, I64))},
    ),
    OpDef("DecodePng", _decode("png"), attributes={**_CHANNELS, **_DTYPE}),
    OpDef("DecodeBmp", _decode("bmp"), attributes=_CHANNELS),
    OpDef("DecodeGif", _decode("gif"), attributes={}),
    OpDef("DecodeWebP", _decode("webp"), attributes={**_CHANNELS, **_DTYPE}),
    OpDef("DecodeImage", _decode(""), attributes={**_CHANNELS, **_DTYPE, "expand_animations": TRUE}),
    OpDef("EncodeJpeg", _encode_jpeg, attributes=_ENCODE_JPEG),
    OpDef(
        "EncodePng",
        lambda site: Lowered(ENCODE_PNG),
        attributes={"compression": Attr("int", -1, allowed=tuple(range(-1, 10))), "T": of(0, U8)},
    ),
)
