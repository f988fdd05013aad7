"""Files made to cost time or memory, and random damage: an answer or an ImageError, soon, and nothing on standard error."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kigraph.errors import ImageError
from kigraph.kernels.contracts.strings import DecodeImageParams
from kigraph.kernels.host.image import decode_image as decode_in_graph
from kigraph.vision import decode_image, image_header
from tests.interop.image_files import chunk, encoded, files, gif, gif_frame, png, recoded

JPEG = encoded(Image.new("RGB", (8, 8)), "JPEG")
PNG = png(np.zeros((4, 4, 3), int), 8, 2)
HEAD, TAIL = PNG[:33], PNG[33:]
ONE = gif_frame(np.zeros((1, 1), int), bits=2)


def in_graph(data: bytes) -> Any:
    return decode_in_graph(data, DecodeImageParams())


def flat_webp(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "WEBP", lossless=True, quality=0, method=0)
    return file.getvalue()


HOSTILE = {
    "png-chunks": HEAD + chunk(b"abCd", b"") * 1_000_000 + TAIL,
    "png-texts": HEAD + chunk(b"tEXt", b"a\0b") * 300_000 + TAIL,
    "png-text-bomb": HEAD + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 << 20))) + TAIL,
    "png-profile-bomb": HEAD + chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50 << 20))) + TAIL,
    "png-large-chunk": HEAD + chunk(b"abCd", bytes(30 << 20)) + TAIL,
    "png-data-bomb": HEAD + chunk(b"IDAT", zlib.compress(bytes(200 << 20))) + PNG[-12:],
    "gif-frames": gif([ONE] * 200_000, 1, 1, bytes(24)),
    "gif-blocks": b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\x01a" * 3_000_000 + b"\0\x3b",
    "jpeg-comments": JPEG[:2] + b"\xff\xfe\0\2" * 1_000_000 + JPEG[2:],
    "jpeg-fill": JPEG[:-2] + b"\xff" * 20_000_000 + JPEG[-2:],
    "jpeg-restarts": JPEG[:-2] + b"\xff\xd0" * 5_000_000 + JPEG[-2:],
    "jpeg-zeros": JPEG[:-2] + bytes(20_000_000) + JPEG[-2:],
    "bmp-runs": b"BM"
    + struct.pack("<IHHIIiiHHI", 0, 0, 0, 1078, 40, 6000, 6000, 1, 8, 1)
    + bytes(1044)
    + b"\1\0" * 5_000_000,
    "webp-large": flat_webp(7_200),
}


@pytest.mark.parametrize("decode", [decode_image, in_graph])
@pytest.mark.parametrize("name", HOSTILE)
def test_time_does_not_run_away(name: str, decode: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Each takes less than 1 s here; without its guard a file of this kind can take as long as it likes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start = time.process_time()
        with contextlib.suppress(ImageError):
            decode(HOSTILE[name])
        assert time.process_time() - start < 5
    assert capfd.readouterr() == ("", "")


def test_size_is_judged_before_a_decoder_has_memory_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = flat_webp(3_000)
    assert len(data) < 100
    assert image_header(data).width == 3_000
    monkeypatch.setattr(Image, "open", lambda *args, **kwargs: pytest.fail("a decoder saw the file"))
    for call in (lambda: decode_image(data, max_pixels=8_999_999), lambda: image_header(data, max_pixels=8_999_999)):
        with pytest.raises(ImageError, match="3,000 x 3,000 pixels are more than 8,999,999, the limit"):
            call()


def test_a_float_output_is_bounded_by_its_bytes() -> None:
    data = encoded(Image.new("L", (5_000, 4_000)), "PNG")
    assert in_graph(data).shape == (4_000, 5_000, 1)
    with pytest.raises(ImageError, match="4000 x 5000 pixels; at most 16,666,666 are read"):
        decode_in_graph(data, DecodeImageParams(channels=3, dtype=np.dtype("float32")))


def test_random_damage(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(seed)
    everything = [data for _, _, data in files() if len(data) > 20]
    everything += [recoded(JPEG, 0xC3), JPEG.replace(b"\xff\xc0\x00\x11\x08\x00\x08", b"\xff\xc0\x00\x11\x08\xff\xff")]
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(1500):
            damaged = bytearray(everything[rng.integers(len(everything))])
            if rng.random() < 0.3:
                del damaged[int(rng.integers(len(damaged))) :]
            for _ in range(int(rng.integers(0, 6))):
                if damaged:
                    damaged[int(rng.integers(min(len(damaged), 10 ** int(rng.integers(1, 5)))))] = int(
                        rng.integers(256)
                    )
            for decode in (in_graph, lambda data: decode_image(data, max_pixels=2_000_000)):
                try:
                    assert decode(bytes(damaged)).dtype == np.uint8
                except ImageError:
                    refused += 1
    assert refused > 300
    assert capfd.readouterr() == ("", "")
