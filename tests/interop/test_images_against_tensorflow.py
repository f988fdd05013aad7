"""Every kind of image file through every decoding op of TensorFlow and of kigraph: the same bits, or refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts.strings import DecodeImageParams
from kigraph.kernels.errors import ImageError, KigraphError
from kigraph.kernels.host.image import decode_image
from tests.interop.image_files import files

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")

FORMATS = {
    "DecodeImage": "",
    "DecodeJpeg": "jpeg",
    "DecodePng": "png",
    "DecodeGif": "gif",
    "DecodeBmp": "bmp",
    "DecodeWebP": "webp",
}
#: Where kigraph refuses and TensorFlow does not. TurboJPEG has no such sampling factors and is told sizes, not ratios; a
#: WebP given to another op has one axis more than the op says.
REFUSED = ("sampling factors", "too small for ratio", "found webp")


def options(kind: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for channels in (0, 1, 3, 4):
        for op in ("DecodeImage", "DecodeJpeg", "DecodePng", "DecodeBmp"):
            yield op, {"channels": channels}
        yield "DecodeImage", {"channels": channels, "expand_animations": False}
        if not (kind == "bmp" and "top-down" in name):  # TensorFlow crashes
            yield "DecodePng", {"channels": channels, "dtype": "uint16"}
            yield "DecodeImage", {"channels": channels, "dtype": "uint16"}
            yield "DecodeImage", {"channels": channels, "dtype": "float32"}
        if kind == "webp":
            yield "DecodeWebP", {"channels": channels}
        for ratio in (1, 2, 4, 8) if kind == "jpeg" and channels != 4 else ():
            for fancy in (True, False):
                for method in ("", "INTEGER_ACCURATE"):
                    yield (
                        "DecodeJpeg",
                        {"channels": channels, "ratio": ratio, "fancy_upscaling": fancy, "dct_method": method},
                    )
    yield "DecodeGif", {}


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "webp", "none"])
def test_the_same_bits_or_refused(kind: str) -> None:
    compared = 0
    for found, name, data in files():
        for op, attrs in options(kind, name) if found == kind else ():
            dtype = np.dtype(attrs.get("dtype", "uint8"))
            try:
                typed = attrs | ({"dtype": tf.as_dtype(attrs["dtype"])} if "dtype" in attrs else {})
                want = getattr(tf.raw_ops, op)(contents=tf.constant(data), **typed).numpy()
            except (tf.errors.InvalidArgumentError, tf.errors.OpError):
                want = None
            try:
                got = decode_image(data, DecodeImageParams(FORMATS[op], **(attrs | {"dtype": dtype})))  # type: ignore[arg-type]
            except ImageError as error:
                assert want is None or any(text in str(error) for text in REFUSED), (name, op, attrs, error)
                continue
            except KigraphError as error:
                pytest.fail(f"{name} {op} {attrs}: {error!r}")
            assert want is not None, (name, op, attrs)
            assert (got.shape, got.dtype) == (want.shape, want.dtype), (name, op, attrs)
            np.testing.assert_array_equal(got, want, err_msg=f"{name} {op} {attrs}")
            compared += 1
    assert compared > 20 or kind == "none"
