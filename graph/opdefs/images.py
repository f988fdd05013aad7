"""Encoded images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ...kernels.contracts.strings import (
    DECODE_IMAGE,
    ENCODE_JPEG,
    ENCODE_PNG,
    DecodeImageParams,
    EncodeJpegParams,
)
from .base import Lowered, OpDef, Site

__all__ = ["DEFS"]


def _decode(image_format: Literal["", "jpeg", "png", "gif", "bmp"]) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        dtype = site.attr("dtype")
        if dtype is not None and dtype != "uint8":
            raise site.unsupported(f"decoding to {dtype}", "decode to uint8 and cast")
        params = DecodeImageParams(
            image_format,
            int(site.attr("channels", 0)),
            int(site.attr("ratio", 1)),
            bool(site.attr("fancy_upscaling", True)),
            site.attr("dct_method", ""),
        )
        return Lowered(DECODE_IMAGE, params)

    return lower


def _encode_jpeg(site: Site) -> Lowered:
    if site.attr("format", "") not in ("", "rgb", "grayscale"):
        raise site.unsupported(f"format {site.attr('format')!r}", "leave it empty")
    return Lowered(ENCODE_JPEG, EncodeJpegParams(int(site.attr("quality", 95))))


DEFS: tuple[OpDef, ...] = (
    OpDef("DecodeJpeg", _decode("jpeg")),
    OpDef("DecodePng", _decode("png")),
    OpDef("DecodeBmp", _decode("bmp")),
    OpDef("DecodeImage", _decode("")),
    OpDef("EncodeJpeg", _encode_jpeg),
    OpDef("EncodePng", lambda site: Lowered(ENCODE_PNG)),
)
