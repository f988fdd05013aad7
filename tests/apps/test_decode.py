"""Decoding: the formats that are accepted, EXIF, and every way in which a file can be bad."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kigraph.errors import ImageError
from kigraph.vision import decode_image, image_header, read_image, to_pixels
from kigraph.vision.decode import MAX_EXIF_BYTES, apply_orientation

Encode = Callable[..., bytes]
Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("format_", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_give_back_the_pixels(format_: str, photo: Array, encode: Encode) -> None:
    options = {"lossless": True} if format_ == "WEBP" else {}
    assert np.array_equal(decode_image(encode(photo, format_, **options)), photo)


def test_jpeg_is_close(photo: Array, encode: Encode) -> None:
    decoded = decode_image(encode(photo, "JPEG", quality=95, subsampling=0))
    assert decoded.shape == photo.shape
    assert np.abs(decoded.astype(int) - photo).mean() < 4


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str, photo: Array, encode: Encode) -> None:
    data = encode(photo, "JPEG" if mode == "CMYK" else "PNG", mode=mode)
    decoded = decode_image(data)
    assert decoded.shape == photo.shape
    assert decoded.dtype == np.uint8
    if mode in ("L", "1", "LA"):
        assert np.array_equal(decoded[..., 0], decoded[..., 2])


def test_sixteen_bit_grey_keeps_the_high_byte(encode: Encode) -> None:
    # Pillow's own conversion would make everything above 255 white.
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    assert np.array_equal(decode_image(buffer.getvalue())[..., 1], (values >> 8).astype(np.uint8))


def test_transparency_is_dropped_not_blended(photo: Array, encode: Encode) -> None:
    rgba = np.dstack([photo, np.zeros(photo.shape[:2], np.uint8)])
    assert np.array_equal(decode_image(encode(rgba, "PNG")), photo)


def test_first_frame_of_an_animation(photo: Array) -> None:
    frames = [Image.fromarray(photo), Image.fromarray(255 - photo)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(decode_image(buffer.getvalue()), photo)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_exif_orientation(orientation: int, format_: str, photo: Array, encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = (
        {"lossless": True} if format_ == "WEBP" else {"subsampling": 0} if format_ == "JPEG" else {}
    )
    # What a camera stores is the upright picture, turned the other way.
    stored = {1: photo, 2: photo[:, ::-1], 3: photo[::-1, ::-1], 4: photo[::-1]}
    turned = {5: photo.swapaxes(0, 1), 6: np.rot90(photo), 7: np.rot90(photo, 2).swapaxes(0, 1), 8: np.rot90(photo, -1)}
    pixels = np.ascontiguousarray((stored | turned)[orientation])
    data = encode(pixels, format_, exif=exif, **options)
    assert image_header(data).orientation == orientation
    assert np.array_equal(apply_orientation(pixels, orientation), photo)
    decoded = decode_image(data)
    if format_ == "JPEG":
        assert np.abs(decoded.astype(int) - photo).mean() < 5
    else:
        assert np.array_equal(decoded, photo)
    assert decoded.flags.c_contiguous


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientation_is_ignored(value: int, photo: Array, encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert np.array_equal(decode_image(encode(photo, "PNG", exif=exif)), photo)


def test_huge_exif_is_refused(photo: Array, encode: Encode) -> None:
    data = encode(photo, "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + bytes(MAX_EXIF_BYTES))
    with pytest.raises(ImageError, match="EXIF block"):
        decode_image(data)


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(8000, 8000), (10000, 10000), (20000, 20000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_before_decoding(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the image was decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="pixels"):
            decode_image(_png_header(width, height))


def test_limits_are_those_of_the_decoder_inside_graphs() -> None:
    from kigraph.kernels.host import image_files
    from kigraph.vision import decode

    for name in ("MAX_PIXELS", "MAX_SCANS", "MAX_SCANNED"):
        assert getattr(decode, name) == getattr(image_files, name)


def test_a_jpeg_of_many_scans_is_refused(photo: Array, encode: Encode) -> None:
    data = encode(photo, "JPEG", progressive=True)
    assert decode_image(data).shape == photo.shape
    scan = data.index(b"\xff\xda")
    bomb = data[:-2] + data[scan:-2] * 60 + b"\xff\xd9"
    with pytest.raises(ImageError, match="scans"):
        decode_image(bomb)


def test_the_pixel_limit_can_be_changed(photo: Array, encode: Encode) -> None:
    data = encode(photo)
    assert decode_image(data, max_pixels=photo.shape[0] * photo.shape[1]).shape == photo.shape
    with pytest.raises(ImageError, match="80 x 60"):
        decode_image(data, max_pixels=photo.shape[0] * photo.shape[1] - 1)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.85])
def test_truncated(format_: str, keep: float, photo: Array, encode: Encode) -> None:
    data = encode(photo, format_)
    with pytest.raises(ImageError, match=r"photo\.x"):
        decode_image(data[: int(len(data) * keep)], name="photo.x")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8", b"hello, this is text", bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(50), b"GIF89a" + b"\xff" * 40],
)
def test_not_an_image(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode_image(data)


@pytest.mark.parametrize("format_", ["TIFF", "PPM", "ICO", "TGA", "PCX"])
def test_formats_outside_the_list_are_refused(format_: str, photo: Array, encode: Encode) -> None:
    with pytest.raises(ImageError, match=r"not an image that is accepted|too few"):
        decode_image(encode(photo[:32, :32], format_))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_damaged_files_give_pixels_or_image_error(format_: str, data: st.DataObject, encode: Encode) -> None:
    pixels = np.arange(24 * 20 * 3, dtype=np.uint32).reshape(24, 20, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = bytearray(encode(pixels, format_, **({"exif": exif} if format_ in ("PNG", "JPEG", "WEBP") else {})))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_image(bytes(raw), max_pixels=1_000_000)
    except ImageError:
        pass
    else:
        assert decoded.dtype == np.uint8
        assert decoded.shape[2] == 3
        assert decoded.size <= 3_000_000


def test_arrays_pillow_paths_and_bytes_agree(photo: Array, encode: Encode, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(encode(photo))
    for image in (photo, file, str(file), encode(photo), bytearray(encode(photo)), Image.fromarray(photo)):
        assert np.array_equal(to_pixels(image), photo)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_wrong_arrays(array: Array) -> None:
    with pytest.raises(ImageError):
        to_pixels(array)


@pytest.mark.parametrize("thing", [None, 3, object(), [1, 2]])
def test_wrong_kinds(thing: Any) -> None:
    with pytest.raises(ImageError, match="an image must be a path"):
        to_pixels(thing)


def test_reading_files(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for path, text in ((tmp_path / "no.jpg", "cannot be read"), (empty, "empty"), (tmp_path, "cannot be read")):
        with pytest.raises(ImageError, match=text):
            read_image(path)
    big = tmp_path / "big.jpg"
    big.write_bytes(bytes(100))
    with pytest.raises(ImageError, match="larger than 99"):
        read_image(big, max_bytes=99)


def test_threads_leave_the_warning_filters_alone(photo: Array, encode: Encode) -> None:
    data, before = encode(photo), list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode_image(data) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
