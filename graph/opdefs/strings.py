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
from ..errors import GraphError
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
    """What TensorFlow's kernel refuses is refused; ``reads_back`` is kigraph's own: the shortest text that reads back."""
    precision, width = int(site.attr("precision", -1)), int(site.attr("width", -1))
    scientific, shortest = bool(site.attr("scientific", False)), bool(site.attr("shortest", False))
    given = site.attr("fill", "")
    fill = given.decode("latin-1") if isinstance(given, bytes) else given
    kind = site.inputs[0].dtype.kind
    if scientific and shortest:
        raise GraphError(f"AsString '{site.name}': scientific and shortest cannot both be True")
    if kind in "iub" and (scientific or shortest or precision >= 0):
        raise GraphError(
            f"AsString '{site.name}': precision, scientific and shortest are for floats, not for {site.inputs[0]}"
        )
    if fill not in ("", " ", "+", "-", "0", "#"):
        raise GraphError(f"AsString '{site.name}': fill must be empty or one of ' ', '+', '-', '0', '#', got {fill!r}")
    reads_back = precision < 0 and not scientific and not shortest and bool(site.attr("reads_back", False))
    form: Literal["", "f", "e", "g"] = "" if reads_back else "e" if scientific else "g" if shortest else "f"
    return Lowered(AS_STRING, AsStringParams(precision, form, width, fill))


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
