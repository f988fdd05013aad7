"""JPEGs on which libjpeg stops with an error, after a warning and when all pixels are there."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from kigraph.kernels.contracts.strings import DecodeImageParams
from kigraph.kernels.errors import ImageError
from kigraph.kernels.host.image import decode_image


def _encoded(progressive: bool) -> bytes:
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8))
    file = io.BytesIO()
    small.resize((60, 40), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90, progressive=progressive)
    return file.getvalue()


_JPEG, _PROGRESSIVE = _encoded(False), _encoded(True)


def _frame_type(data: bytes, marker: int) -> bytes:
    at = re.search(rb"\xff[\xc0-\xc2]\x00\x11", data)
    assert at is not None
    return data[: at.start() + 1] + bytes([marker]) + data[at.start() + 2 :]


def _within(data: bytes, segment: bytes, part: float) -> bytes:
    """A segment in the middle of the coded pixels, or after them."""
    start = data.rindex(b"\xff\xda") + 14
    at = start + int(part * (len(data) - 2 - start))
    at += data[at - 1] == 0xFF
    return data[:at] + segment + data[at:]


@pytest.mark.parametrize("channels", [0, 1, 3])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        *((_frame_type(_PROGRESSIVE, m), "a second scan at byte") for m in (0xC0, 0xC1)),
        *(
            (_within(_JPEG, bytes([0xFF, m]), part), f"the reserved marker 0x{m:02x} at byte")
            for m in (0x02, 0x2B, 0xBF, 0xC8, 0xDE, 0xF0, 0xFD)
            for part in (0.5, 1)
        ),
        (_within(_JPEG, _JPEG[_JPEG.index(b"\xff\xc0") :][:19], 1), "a second frame at byte"),
        (_within(_JPEG, _JPEG[_JPEG.rindex(b"\xff\xda") :][:14], 1), "a second scan at byte"),
        (_within(_JPEG, b"x\xff\xc4\0\x13\x05" + bytes(16), 1), "tables after its only scan"),
    ],
)
def test_jpegs_on_which_libjpeg_stops_behind_the_pixels(data: bytes, message: str, channels: int) -> None:
    """Its error comes when all pixels are there; TensorFlow gives none of them."""
    with pytest.raises(ImageError, match=message):
        decode_image(data, DecodeImageParams("jpeg", channels))
