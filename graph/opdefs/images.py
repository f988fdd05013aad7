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
from .base import Lowered, OpDef, Site, attr_dtype

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
    if site.attr("format", "") not in ("", "rgb", "grayscale"):
        raise site.unsupported(f"format {site.attr('format')!r}", "leave it empty")
    return Lowered(ENCODE_JPEG, EncodeJpegParams(int(site.attr("quality", 95))))


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
