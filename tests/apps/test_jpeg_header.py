"""The own reader of JPEG headers says what Pillow says, or leaves the file to Pillow."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from kigraph.errors import ImageError
from kigraph.vision import image_header
from kigraph.vision.jpeg_header import read_jpeg_header


def jpeg(mode: str = "RGB", size: tuple[int, int] = (37, 23), **options: object) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    from PIL import Image

    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 2}, {"dpi": (300, 300)}])
def test_it_agrees_with_pillow(mode: str, options: dict[str, object]) -> None:
    from PIL import Image

    data = jpeg(mode, **options)
    header = read_jpeg_header(data)
    image = Image.open(io.BytesIO(data))
    assert header is not None
    assert (header.width, header.height, header.mode, header.exif) == (*image.size, image.mode, b"")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    data = jpeg(exif=exif(orientation))
    assert read_jpeg_header(data) is not None
    assert image_header(data).orientation == orientation


def test_photographs_agree_with_pillow() -> None:
    from PIL import Image

    folder = Path(__file__).resolve().parents[3] / "shared" / "photos"
    found = sorted(folder.rglob("*.jpg"))
    if not found:
        pytest.skip("the folder ../shared with photographs is not here")
    for path in found:
        header, image = read_jpeg_header(path.read_bytes()), Image.open(path)
        assert header is not None
        assert (header.width, header.height, header.mode) == (*image.size, image.mode)


def test_whatever_is_not_plain_is_left_to_pillow() -> None:
    good = jpeg(exif=exif(6))
    assert read_jpeg_header(b"") is None
    assert read_jpeg_header(b"\x89PNG\r\n\x1a\n") is None
    scan = good.index(b"\xff\xda")
    for cut in range(0, scan + 3):
        assert read_jpeg_header(good[:cut]) is None
    frame = good.index(b"\xff\xc0")
    for at, value in ((frame + 1, 0xC3), (frame + 1, 0xC9), (frame + 4, 12), (frame + 9, 2), (2, 0)):
        bad = bytearray(good)
        bad[at] = value
        assert read_jpeg_header(bytes(bad)) is None
    app1 = good.index(b"\xff\xe1")
    length = 2 + int.from_bytes(good[app1 + 2 : app1 + 4], "big")
    segment = good[app1 : app1 + length]
    assert read_jpeg_header(good[:app1] + segment + good[app1:]) is None, "two EXIF blocks"
    filled = good[:app1] + b"\xff\xff" + good[app1:]
    assert read_jpeg_header(filled) == read_jpeg_header(good)


def test_no_bytes_break_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    good = jpeg(exif=exif(3))
    for _ in range(2000):
        data = bytearray(good)
        for at in rng.integers(0, min(len(data), 700), rng.integers(1, 6)):
            data[at] = rng.integers(256)
        read_jpeg_header(bytes(data))
        with contextlib.suppress(ImageError):
            image_header(bytes(data))
