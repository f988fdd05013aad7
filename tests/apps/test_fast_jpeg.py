"""JPEG decoded without Pillow's layers gives Pillow's pixels, and what Pillow refuses is refused."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from kigraph.errors import ImageError
from kigraph.vision import decode, decode_image
from kigraph.vision.decode import _fast_jpeg, _plain_jpeg

Array = np.ndarray[Any, Any]
SIZES = ((1, 1), (1, 9), (2, 3), (7, 16), (17, 8), (33, 47), (64, 80))


def seeds() -> Iterator[int]:
    seed = int(os.environ.get("KIGRAPH_TEST_SEED") or np.random.SeedSequence().entropy % 2**32)  # type: ignore[operator]
    print(f"KIGRAPH_TEST_SEED={seed}")
    yield from np.random.default_rng(seed).integers(0, 2**31, 1_000_000).tolist()


def picture(height: int, width: int, seed: int) -> Array:
    """Smooth with some noise, so that upsampling and the DCT have both to work on."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.clip(np.asarray(coarse).astype(int) + rng.integers(-20, 21, (height, width, 3)), 0, 255).astype(np.uint8)


def encoded(pixels: Array, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> Array | None:
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        return np.asarray(image.convert("RGB"))
    except Exception:
        return None


def fast(data: bytes) -> Array | None:
    header = _plain_jpeg(data, "it", 10**6)
    return None if header is None else _fast_jpeg(data, header)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2, "4:1:1"])
@pytest.mark.parametrize("mode", ["RGB", "L", "YCbCr"])
def test_pixels_are_those_of_pillow(mode: str, subsampling: int | str, progressive: bool) -> None:
    made = seeds()
    for height, width in SIZES:
        for quality in (10, 75, 95, 100):
            options = {"quality": quality, "progressive": progressive, "optimize": bool(next(made) % 2)}
            data = encoded(picture(height, width, next(made)), mode, subsampling=subsampling, **options)
            found = fast(data)
            assert found is not None, (height, width, options)
            assert np.array_equal(found, by_pillow(data)), (height, width, options)


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
def test_other_encoder(subsampling: str) -> None:
    made = seeds()
    for height, width in SIZES:
        data = simplejpeg.encode_jpeg(picture(height, width, next(made)), 80, "RGB", subsampling)
        assert np.array_equal(fast(data), by_pillow(data))  # type: ignore[arg-type]


def test_restarts_comments_and_other_marks() -> None:
    pixels = picture(40, 56, 1)
    for data in (
        encoded(pixels, restart_marker_blocks=2),
        encoded(pixels, comment=b"hello"),
        encoded(pixels, icc_profile=b"x" * 70_000),
        encoded(pixels, dpi=(300, 300)),
        encoded(pixels, keep_rgb=True),
        encoded(pixels) + b"after the end",
    ):
        assert np.array_equal(fast(data), by_pillow(data))  # type: ignore[arg-type]


def test_inks_are_left_to_pillow() -> None:
    assert fast(encoded(picture(20, 30, 2), "CMYK")) is None


def test_damaged_files_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut, flipped, with bytes out or more of them: the same pixels or the same words as without the quick way."""
    made = seeds()

    def outcome(data: bytes) -> object:
        try:
            return decode_image(data, max_pixels=10**6).tobytes()
        except ImageError as error:
            return str(error)

    quick = 0
    for number in range(600):
        rng = np.random.default_rng(next(made))
        options = {"progressive": bool(rng.integers(2)), "subsampling": int(rng.integers(3)), "quality": 60}
        data = bytearray(encoded(picture(24, 40, number), **options))
        at = int(rng.integers(2, len(data)))
        kind = number % 5
        if kind == 0:
            del data[at:]
        elif kind == 1:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 20))]
        elif kind == 3:
            data[at:at] = rng.integers(0, 256, int(rng.integers(1, 20)), np.uint8).tobytes()
        else:
            data[at : at + 2] = bytes([0xFF, int(rng.integers(0xC0, 0x100))])
        got = outcome(bytes(data))
        quick += fast_or_refused(bytes(data))
        with monkeypatch.context() as patch:
            patch.setattr(decode, "_fast_jpeg", lambda *_: None)
            wanted = outcome(bytes(data))
        assert got == wanted, (number, kind, at, options, len(data))
    assert 20 < quick < 600  # some damage is not seen by libjpeg: both ways are in use


def fast_or_refused(data: bytes) -> bool:
    try:
        return fast(data) is not None
    except ImageError:
        return False


def test_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = os.environ.get("KIGRAPH_SHARED")
    folder = Path(shared) if shared else Path(__file__).resolve().parents[3] / "shared"
    found = sorted((folder / "photos").rglob("*.jp*g"))[::4]
    if not found:
        pytest.skip("the folder ../shared with photographs is not here")
    for path in found:
        data = path.read_bytes()
        pixels = fast(data)
        assert pixels is not None, path
        assert np.array_equal(pixels, by_pillow(data)), path
