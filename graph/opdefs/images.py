"""Encoded images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.contracts.strings import (
    DECODE_IMAGE,
    ENCODE_JPEG,
    ENCODE_PNG,
    DecodeImageParams,
    EncodeJpegParams,
    ImageFormat,
)
from ..errors import GraphError
from .base import Lowered, NeedsValue, OpDef, Site, attr_dtype

__all__ = ["DEFS"]


def _decode(image_format: ImageFormat) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        params = DecodeImageParams(
            image_format,
            int(site.attr("channels", 0)),
            int(site.attr("ratio", 1)),
            bool(site.attr("fancy_upscaling", True)),
            _text(site.attr("dct_method", "")),
            # acceptable_fraction is not looked at: without recovery a truncated file is refused
            bool(site.attr("try_recover_truncated", False)),
            attr_dtype(site, "dtype", np.dtype(np.uint8)),
            bool(site.attr("expand_animations", True)),
        )
        return Lowered(DECODE_IMAGE, params)

    return lower


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


DEFS: tuple[OpDef, ...] = (
    OpDef("DecodeJpeg", _decode("jpeg")),
    OpDef("DecodePng", _decode("png")),
    OpDef("DecodeBmp", _decode("bmp")),
    OpDef("DecodeGif", _decode("gif")),
    OpDef("DecodeWebP", _decode("webp")),
    OpDef("DecodeImage", _decode("")),
    OpDef("EncodeJpeg", _encode_jpeg),
    OpDef("EncodePng", lambda site: Lowered(ENCODE_PNG)),
)
