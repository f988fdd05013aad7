"""Grey of a PNG whose chunks on colour are wrong, doubled or contradictory: libpng drops some of them and what follows."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from kigraph.kernels.contracts.strings import DecodeImageParams
from kigraph.kernels.errors import ImageError
from kigraph.kernels.host.image import decode_image

_SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_CHROMATICITIES = {
    "srgb": _SRGB,
    "adobe": (*_SRGB[:4], 21000, 71000, *_SRGB[6:]),
    "zero": (0,) * 8,
    "blue": (*_SRGB[:6], 15000, 90000),
    "flat": (*_SRGB[:2], *_SRGB[2:4] * 3),
    "prophoto": (34570, 35850, 73470, 26530, 15960, 84040, 3660, 10),
}
_ROW = bytes([0, 10, 60, 200, 90, 30, 250, 255, 128, 0])


def _chunk(text: str) -> bytes:
    name, _, value = text.partition("=")
    content = {
        "gAMA": lambda: struct.pack(">I", int(value)),
        "sRGB": lambda: bytes([int(value)]),
        "cHRM": lambda: struct.pack(">8I", *_CHROMATICITIES[value]),
        "PLTE": lambda: bytes(int(value)),
        "IDAT": lambda: zlib.compress(_ROW),
    }[name]()
    kind = name.encode()
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def grey(chunks: str) -> list[int]:
    """Three pixels of an 8-bit RGB file with these chunks, as grey."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 3, 1, 8, 2, 0, 0, 0)
    names = chunks.split() if "IDAT" in chunks else [*chunks.split(), "IDAT"]
    body = b"".join(_chunk(name) for name in names)
    head = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header))
    pixels = decode_image(
        head + body + b"\0\0\0\0IEND\xaeB`\x82", DecodeImageParams("png", 1, dtype=np.dtype(np.uint8))
    )
    assert pixels.shape == (1, 3, 1)
    values: list[int] = pixels.ravel().tolist()
    return values


#: TensorFlow 2.21's values.
_NONE, _STANDARD, _OTHER = [61, 73, 151], [85, 106, 173], [75, 91, 165]


@pytest.mark.parametrize(
    ("chunks", "want"),
    [
        ("", _NONE),
        ("sRGB=0", _STANDARD),
        ("sRGB=3", _STANDARD),
        ("sRGB=4", _NONE),
        ("sRGB=255", _NONE),
        ("gAMA=60000", _OTHER),
        ("gAMA=0 sRGB=0", _NONE),
        ("gAMA=3 gAMA=60000", _NONE),
        ("gAMA=2147483648 sRGB=0", _NONE),
        ("gAMA=60000 gAMA=60000 sRGB=0", _OTHER),
        ("gAMA=60000 gAMA=0 sRGB=0", _OTHER),
        ("gAMA=60000 sRGB=9 sRGB=0", _OTHER),
        ("sRGB=4 gAMA=60000", _NONE),
        ("sRGB=0 sRGB=0 gAMA=60000", _STANDARD),
        ("cHRM=zero sRGB=0", _NONE),
        ("cHRM=blue gAMA=60000", _NONE),
        ("cHRM=srgb gAMA=60000", _OTHER),
        ("cHRM=srgb sRGB=0", _STANDARD),
        ("cHRM=adobe gAMA=60000", _OTHER),
        ("cHRM=srgb cHRM=srgb sRGB=0", _NONE),
        ("gAMA=60000 cHRM=zero", _OTHER),
        ("gAMA=60000 cHRM=zero sRGB=0", _OTHER),
        ("cHRM=flat", _NONE),
        ("cHRM=prophoto", _NONE),
        ("cHRM=prophoto gAMA=60000", _OTHER),
        ("PLTE=3", _NONE),
        ("PLTE=4", _NONE),
        ("PLTE=771", _NONE),
        ("PLTE=4 gAMA=60000", _NONE),
        ("IDAT PLTE=3", _NONE),
        ("IDAT PLTE=3 PLTE=3", _NONE),
        ("IDAT PLTE=0", _NONE),
    ],
)
def test_a_wrong_statement_on_colour_voids_those_behind_it(chunks: str, want: list[int]) -> None:
    assert grey(chunks) == want


def test_doubtful_chromaticities_are_refused_where_a_gamma_follows() -> None:
    with pytest.raises(ImageError, match=r"unusual chromaticities \(cHRM\).*Remedy: decode to 3 channels"):
        grey("cHRM=flat sRGB=0")


@pytest.mark.parametrize("chunks", ["PLTE=0", "PLTE=3 PLTE=3", "PLTE=4 PLTE=3", "PLTE=3 IDAT PLTE=3"])
def test_an_empty_or_a_second_palette_is_refused_for_colour_as_well(chunks: str) -> None:
    with pytest.raises(ImageError, match="palette"):
        grey(chunks)
