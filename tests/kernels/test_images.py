"""Decoding and encoding images: the right pixels, and one clear error for whatever is not an image."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kigraph.kernels.contracts.strings import DECODE_IMAGE, ENCODE_JPEG, ENCODE_PNG, DecodeImageParams, EncodeJpegParams
from kigraph.kernels.errors import ImageError, KernelError, ShapeError
from kigraph.kernels.host.image import MAX_PIXELS, MAX_SCANS, decode_image

NDArray = np.ndarray[Any, Any]
Call = Callable[..., list[NDArray]]
PHOTOS = Path(__file__).resolve().parents[2].parent / "shared" / "photos"


def smooth(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes, **params: Any) -> NDArray:
    pixels: NDArray = decode_image(data, DecodeImageParams(**params))
    return pixels


JPEG = encoded(smooth(40, 60), "JPEG", quality=90)
PNG = encoded(smooth(40, 60), "PNG")
FILES = {
    "jpeg": JPEG,
    "jpeg-progressive": encoded(smooth(40, 60), "JPEG", progressive=True),
    "jpeg-gray": encoded(smooth(40, 60, "L"), "JPEG"),
    "jpeg-cmyk": encoded(smooth(40, 60, "CMYK"), "JPEG"),
    "png": PNG,
    "png-palette": encoded(smooth(40, 60, "P"), "PNG"),
    "png-alpha": encoded(smooth(40, 60, "RGBA"), "PNG"),
    "png-grey-alpha": encoded(smooth(40, 60, "LA"), "PNG"),
    "gif": encoded(smooth(40, 60, "P"), "GIF"),
    "bmp": encoded(smooth(40, 60), "BMP"),
    "bmp-alpha": encoded(smooth(40, 60, "RGBA"), "BMP"),
    "bmp-grey": encoded(smooth(40, 60, "L"), "BMP"),
    "webp": encoded(smooth(40, 60), "WEBP"),
}


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photographs of ../shared")
def test_photographs_with_the_accurate_dct_are_pillows() -> None:
    files = sorted(PHOTOS.rglob("*.jpg"))[::6]
    assert len(files) >= 10
    differ = 0
    for file in files:
        data = file.read_bytes()
        with Image.open(file) as image:
            pillow = np.array(image.convert("RGB"))
        np.testing.assert_array_equal(decode(data, channels=3, dct_method="INTEGER_ACCURATE"), pillow)
        fast = decode(data, channels=3).astype(int)
        difference = np.abs(fast - pillow)
        differ += bool(difference.any())
        assert difference.mean() < 3
    assert differ == len(files)  # the default is TensorFlow's fast DCT, which is another one


def test_default_dct_is_the_fast_one() -> None:
    fast, default, accurate = (decode(JPEG, dct_method=m) for m in ("INTEGER_FAST", "", "INTEGER_ACCURATE"))
    np.testing.assert_array_equal(fast, default)
    assert (fast != accurate).any()


def test_fancy_upscaling_matters_for_subsampled_colour() -> None:
    data = encoded(smooth(40, 60), "JPEG", subsampling=2)
    assert (decode(data) != decode(data, fancy_upscaling=False)).any()
    full = encoded(smooth(40, 60), "JPEG", subsampling=0)
    np.testing.assert_array_equal(decode(full), decode(full, fancy_upscaling=False))


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(40, 60), (41, 57), (8, 8), (100, 9), (17, 33)])
def test_ratio_rounds_up(ratio: int, size: tuple[int, int]) -> None:
    image = smooth(*size)
    pixels = decode(encoded(image, "JPEG", quality=95), ratio=ratio)
    assert pixels.shape == (-(-size[0] // ratio), -(-size[1] // ratio), 3)


def test_ratio_is_a_faithful_reduction() -> None:
    data = encoded(smooth(64, 96), "JPEG", quality=98)
    whole, half = decode(data).astype(float), decode(data, ratio=2).astype(float)
    mean = whole.reshape(32, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(mean - half).mean() < 3


def test_channels() -> None:
    gray = FILES["jpeg-gray"]
    assert decode(gray).shape == (40, 60, 1)
    np.testing.assert_array_equal(decode(gray, channels=3), decode(gray).repeat(3, axis=2))
    assert decode(JPEG, channels=1).shape == (40, 60, 1)
    with pytest.raises(ImageError, match="a JPEG has no alpha; expected channels 0, 1 or 3, got 4"):
        decode(JPEG, channels=4)
    with pytest.raises(ShapeError, match="channels must be 0, 1, 3 or 4, got 2"):
        DecodeImageParams(channels=2)
    own = {
        "png": 3,
        "png-palette": 3,
        "png-alpha": 4,
        "png-grey-alpha": 2,
        "gif": 3,
        "bmp": 3,
        "bmp-alpha": 4,
        "bmp-grey": 1,
    }
    for kind, count in own.items():
        frames = (1,) if kind == "gif" else ()
        assert decode(FILES[kind]).shape == (*frames, 40, 60, count)
        for channels in {"gif": (3,), "bmp": (3, 4)}.get(kind[:3], (1, 3, 4)):
            assert decode(FILES[kind], channels=channels).shape == (*frames, 40, 60, channels)
    for kind, channels, message in (
        ("gif", 1, "expected channels 0 or 3, got 1"),
        ("bmp", 1, "expected channels 0, 3 or 4"),
    ):
        with pytest.raises(ImageError, match=message):
            decode(FILES[kind], channels=channels)


def test_cmyk_is_converted_as_tensorflow_does() -> None:
    flat = Image.new("CMYK", (16, 16), (200, 10, 30, 5))
    r, g, b = ((255 - ink) * (255 - 5) // 255 for ink in (200, 10, 30))
    np.testing.assert_array_equal(decode(encoded(flat, "JPEG", quality=100))[5, 5], [r, g, b])
    with pytest.raises(ImageError, match="a CMYK JPEG does not decode to 1 channel; expected channels 0 or 3"):
        decode(FILES["jpeg-cmyk"], channels=1)


def test_lossless_files_keep_their_pixels() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 7, 4), np.uint8)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(pixels), "PNG")), pixels)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(pixels), "PNG"), channels=3), pixels[..., :3])
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(pixels[..., :3]), "BMP")), pixels[..., :3])
    deep = np.arange(35, dtype=np.uint16).reshape(5, 7) * 1800
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(deep), "PNG"))[..., 0], deep >> 8)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dct_method": "FLOAT"}, "dct_method must be '', INTEGER_FAST or INTEGER_ACCURATE, got 'FLOAT'"),
        ({"format": "jpeg", "dtype": np.dtype("uint16")}, "decodes to uint8, got uint16"),
        ({"format": "png", "dtype": np.dtype("float32")}, "decodes to uint8 or uint16, got float32"),
        ({"dtype": np.dtype("int32")}, "decodes to uint8 or uint16 or float32, got int32"),
    ],
)
def test_wrong_options(params: dict[str, Any], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        DecodeImageParams(**params)


def test_frames_of_a_gif() -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data)[:, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert decode(data, expand_animations=False)[0, 0].tolist() == [255, 0, 0]
    assert decode(data, format="gif").shape == (2, 6, 8, 3)
    with pytest.raises(ImageError, match="DecodePng takes a GIF of one frame, found 2"):
        decode(data, format="png")


def test_format_is_told_by_content() -> None:
    """What each of TensorFlow's ops takes, and with which shape."""
    still, frames = (40, 60, 3), (1, 40, 60, 3)
    for op in ("jpeg", "png"):
        for kind in ("jpeg", "png", "gif"):
            assert decode(FILES[kind], format=op).shape == still
        for kind in ("bmp", "webp"):
            with pytest.raises(ImageError, match=f"takes jpeg, png, gif; found {kind}. Remedy: DecodeImage"):
                decode(FILES[kind], format=op)
    for kind in ("jpeg", "png", "gif", "webp"):
        assert decode(FILES[kind], format="gif").shape == frames
        with pytest.raises(ImageError, match=f"DecodeBmp takes bmp; found {kind}"):
            decode(FILES[kind], format="bmp")
        assert decode(FILES[kind]).shape == (frames if kind in ("gif", "webp") else still)
        assert decode(FILES[kind], expand_animations=False).shape == still
    assert decode(FILES["webp"], format="webp").shape == frames


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a JPEG, PNG, GIF, BMP or WebP file: it is empty"),
        (b"hello world", "it starts with b'hello wo'"),
        (b"II*\x00" + bytes(100), "not a JPEG, PNG, GIF, BMP or WebP file"),
        (b"RIFF\x00\x00\x00\x00WEBP", "not a JPEG, PNG, GIF, BMP or WebP file"),
        (b"RIFF\x00\x00\x00\x00WEBPxxxx", "the webp image is damaged or truncated: it has 16 bytes"),
        (b"\xff\xd8\xff", "not a readable JPEG"),
        (b"BM", "the bmp image is damaged or truncated: it has 2 bytes"),
        (b"GIF89a", "the gif image is damaged or truncated: it has no frame"),
        (PNG[:20], "the png image is damaged or truncated: chunk IHDR has 13 bytes, the file ends before them"),
        (PNG[:-12], "the png image is damaged or truncated: it ends without IEND"),
    ],
)
def test_what_is_no_image(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode(data)


@pytest.mark.parametrize("kind", FILES)
def test_truncated_files_are_refused(kind: str) -> None:
    data = FILES[kind]
    for length in (len(data) // 4, len(data) // 2, len(data) * 9 // 10, len(data) - 60):
        with pytest.raises(ImageError):
            decode(data[:length])


def test_a_jpeg_without_its_end_is_refused_or_recovered() -> None:
    with pytest.raises(ImageError, match=r"it ends without its end marker.*try_recover_truncated=True"):
        decode(JPEG[:-2])
    np.testing.assert_array_equal(decode(JPEG[:-2], try_recover_truncated=True), decode(JPEG))
    half = decode(JPEG[: len(JPEG) * 9 // 10], try_recover_truncated=True)
    np.testing.assert_array_equal(half[:8], decode(JPEG)[:8])
    with pytest.raises(ImageError, match="not a readable JPEG"):
        decode(JPEG[:100], try_recover_truncated=True)


def test_stray_bytes_in_a_jpeg_are_forgiven_as_in_tensorflow() -> None:
    np.testing.assert_array_equal(decode(JPEG[:-2] + bytes(99) + JPEG[-2:]), decode(JPEG))
    np.testing.assert_array_equal(decode(JPEG + b"trailing"), decode(JPEG))


def png_header(height: int, width: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + bytes(50)


def gif_header(height: int, width: int, frames: int = 1) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08\0"
    return b"GIF89a" + bytes(7) + frame * frames + b"\x3b"


def sized_jpeg(height: int, width: int) -> bytes:
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


@pytest.mark.parametrize(
    "data",
    [
        png_header(10_000, 10_000),
        png_header(2**31 - 1, 2**31 - 1),
        sized_jpeg(60_000, 60_000),
        sized_jpeg(MAX_PIXELS // 1000 + 1, 1000),
        gif_header(60_000, 60_000),
        gif_header(3_000, 3_000, frames=6),
        b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 100_000, -100_000, 1, 24) + bytes(100),
        b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + b"\xff" * 6 + bytes(9),
        b"RIFF" + bytes(4) + b"WEBPVP8L" + bytes(4) + b"\x2f" + b"\xff" * 4 + bytes(9),
        b"RIFF" + bytes(4) + b"WEBPVP8 " + bytes(10) + b"\xff\x3f\xff\x3f" + bytes(9),
    ],
    ids=[
        "png",
        "png-huge",
        "jpeg",
        "jpeg-just-over",
        "gif",
        "gif-frames",
        "bmp",
        "webp",
        "webp-lossless",
        "webp-lossy",
    ],
)
def test_too_many_pixels_are_refused_before_decoding(data: bytes, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(ImageError, match="at most 50,000,000 are read"):
        decode(data)
    assert not recwarn.list


def test_empty_sizes_are_refused() -> None:
    with pytest.raises(ImageError, match=r"the png image is empty \(0 x 5 pixels\)"):
        decode(png_header(0, 5))


def test_a_progressive_jpeg_of_endless_scans_is_refused() -> None:
    data = FILES["jpeg-progressive"]
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match=rf"scans; at most {MAX_SCANS} are read"):
        decode(data[:-2] + scan * MAX_SCANS + data[-2:])


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_give_pixels_or_our_error(kind: str, seed: int) -> None:
    """Random damage: whatever happens, it is an image of the declared kind or an ImageError."""
    data = FILES[kind]
    rng = np.random.default_rng([seed, len(data)])
    refused: list[ImageError] = []
    for _ in range(300):
        damaged = bytearray(data[: rng.integers(8, len(data) + 1)] if rng.random() < 0.3 else data)
        for _ in range(int(rng.integers(1, 8))):
            damaged[rng.integers(0, len(damaged))] = rng.integers(0, 256)
        try:
            pixels = decode(bytes(damaged))
        except ImageError as error:
            refused.append(error)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3 + (kind in ("gif", "webp"))
            assert pixels.size <= 4 * MAX_PIXELS
    assert len(refused) > 30
    assert all(str(error).startswith("decode_image: ") and error.__cause__ is None for error in refused)


def test_the_input_must_be_bytes(call: Call) -> None:
    (pixels,) = call(DECODE_IMAGE, [np.array(PNG, object)], DecodeImageParams())
    assert pixels.shape == (40, 60, 3)
    with pytest.raises(ImageError, match="the encoded image must be bytes, got str"):
        call(DECODE_IMAGE, [np.array("photo.jpg", object)], DecodeImageParams())


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_round_trip(channels: int, call: Call) -> None:
    pixels = np.array(smooth(33, 47))[..., :channels].copy()
    (best,) = call(ENCODE_JPEG, [pixels], EncodeJpegParams(100))
    (worst,) = call(ENCODE_JPEG, [pixels], EncodeJpegParams(10))
    # The anchor is Pillow's own file of the same quality and chroma subsampling (2 = 4:2:0, as in TensorFlow).
    source = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    pillow = encoded(source, "JPEG", quality=100, subsampling=2)
    assert np.abs(decode(best.item()).astype(int) - decode(pillow)).mean() < 0.5
    assert len(worst.item()) < len(best.item())
    with Image.open(io.BytesIO(best.item())) as image:
        assert (image.format, image.size, len(image.getbands())) == ("JPEG", (47, 33), channels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_round_trip(channels: int, call: Call, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (11, 13, channels), np.uint8)
    (data,) = call(ENCODE_PNG, [pixels])
    np.testing.assert_array_equal(decode(data.item()), pixels)


def test_what_cannot_be_encoded(call: Call) -> None:
    with pytest.raises(
        ImageError, match=r"encode_jpeg: takes 1 to 65500 pixels a side and 1 or 3 channels.*\(2, 2, 4\)"
    ):
        call(ENCODE_JPEG, [np.zeros((2, 2, 4), np.uint8)], EncodeJpegParams())
    with pytest.raises(ImageError, match=r"got shape \(0, 2, 3\)"):
        call(ENCODE_PNG, [np.zeros((0, 2, 3), np.uint8)])
    with pytest.raises(ImageError, match="quality must be 0 to 100, got 101"):
        call(ENCODE_JPEG, [np.zeros((2, 2, 3), np.uint8)], EncodeJpegParams(101))


@pytest.mark.parametrize(("name", "data"), [("simplejpeg", JPEG), ("PIL.Image", PNG)])
def test_a_missing_library_is_named_with_its_remedy(name: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, name, None)
    package = "pillow" if name.startswith("PIL") else name
    with pytest.raises(KernelError, match=f"images need the package {package}.*Remedy: pip install {package}"):
        decode(data)
