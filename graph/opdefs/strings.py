"""Strings and encoded images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ...kernels.contracts.strings import (
    AS_STRING,
    DECODE_IMAGE,
    ENCODE_JPEG,
    ENCODE_PNG,
    STRING_JOIN,
    AsStringParams,
    DecodeImageParams,
    EncodeJpegParams,
    StringJoinParams,
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


def _as_string(site: Site) -> Lowered:
    if site.attr("scientific", False) or site.attr("shortest", False) or site.attr("width", -1) not in (-1, 0):
        raise site.unsupported("scientific, shortest or width", "use precision alone")
    return Lowered(AS_STRING, AsStringParams(int(site.attr("precision", -1))))


def _join(site: Site) -> Lowered:
    separator = site.attr("separator", b"")
    return Lowered(
        STRING_JOIN, StringJoinParams(separator.encode() if isinstance(separator, str) else bytes(separator))
    )


DEFS: tuple[OpDef, ...] = (
    OpDef("DecodeJpeg", _decode("jpeg")),
    OpDef("DecodePng", _decode("png")),
    OpDef("DecodeBmp", _decode("bmp")),
    OpDef("DecodeImage", _decode("")),
    OpDef("EncodeJpeg", _encode_jpeg),
    OpDef("EncodePng", lambda site: Lowered(ENCODE_PNG)),
    OpDef("AsString", _as_string),
    OpDef("StringJoin", _join, arity=(1, None)),
)
