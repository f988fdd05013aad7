"""Cases of strings and of decoding images."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...contracts.strings import (
    AS_STRING,
    BASE64_DECODE,
    BASE64_ENCODE,
    DECODE_IMAGE,
    JPEG_SHAPE,
    STRING_JOIN,
    AsStringParams,
    Base64Params,
    DecodeImageParams,
    JpegShapeParams,
    StringJoinParams,
)
from ...tensor import STRING, DType
from ..case import F16, F32, F64, Case, Oracle, Values, tensor
from ..values import normal, sparse_nan, text

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]


def _picture(kind: str, mode: str, size: tuple[int, int] = (53, 37), **options: Any) -> Values:
    """A file of a random smooth picture of ``size`` (width, height), written by Pillow."""

    def make(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> NDArray:
        from PIL import Image

        small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
        file = io.BytesIO()
        small.resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, kind, **options)
        encoded = np.empty((), object)
        encoded[()] = file.getvalue()
        return encoded

    return make


def _pillow(mode: str) -> Oracle:
    """The truth of Pillow, which decodes a JPEG with the accurate DCT and fancy upsampling."""

    def oracle(inputs: Sequence[NDArray], params: DecodeImageParams) -> Sequence[NDArray]:
        from PIL import Image

        with Image.open(io.BytesIO(inputs[0].item())) as image:
            pixels = np.array(image.convert(mode))
        return [pixels.reshape(*pixels.shape[:2], -1)]

    return oracle


def _images() -> Iterator[Case]:
    def case(name: str, values: Values, oracle: Oracle, measure: bool = False, **params: Any) -> Case:
        file = tensor((), values, STRING)
        return Case(DECODE_IMAGE, name, (file,), DecodeImageParams(**params), oracle=oracle, measure=measure)

    for subsampling in (0, 1, 2):
        jpeg = _picture("JPEG", "RGB", quality=90, subsampling=subsampling)
        yield case(f"jpeg-accurate-{subsampling}", jpeg, _pillow("RGB"), dct_method="INTEGER_ACCURATE")
    yield case(
        "jpeg-progressive", _picture("JPEG", "RGB", progressive=True), _pillow("RGB"), dct_method="INTEGER_ACCURATE"
    )
    yield case("jpeg-gray", _picture("JPEG", "L"), _pillow("L"), dct_method="INTEGER_ACCURATE")
    yield case("jpeg-gray-as-rgb", _picture("JPEG", "L"), _pillow("RGB"), channels=3, dct_method="INTEGER_ACCURATE")
    for mode in ("L", "RGB", "RGBA", "LA", "P", "1"):
        yield case(f"png-{mode}", _picture("PNG", mode), _pillow({"P": "RGB", "1": "L"}.get(mode, mode)))
    yield case("png-rgba-as-rgb", _picture("PNG", "RGBA"), _pillow("RGB"), channels=3, format="png")
    yield case("png-gray-as-rgba", _picture("PNG", "L"), _pillow("RGBA"), channels=4)
    photo = _picture("JPEG", "RGB", (800, 600), quality=90, subsampling=2)
    yield case("jpeg-800x600", photo, _pillow("RGB"), measure=True, dct_method="INTEGER_ACCURATE")
    yield case("gif", _picture("GIF", "P"), _pillow("RGB"), expand_animations=False)
    yield case("bmp", _picture("BMP", "RGB"), _pillow("RGB"))
    yield case("bmp-gray", _picture("BMP", "L"), _pillow("L"))


def _encoded(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> NDArray:
    """Random texts in base64."""
    found = text(rng, shape, dtype)
    for index in np.ndindex(shape):
        found[index] = base64.urlsafe_b64encode(bytes(found[index]))
    return found


def _strings() -> Iterator[Case]:
    for name, shape in (("scalar", ()), ("many", (2, 9)), ("empty", (0, 3))):
        tags = frozenset(["empty"] if 0 in shape else [])
        yield Case(BASE64_ENCODE, name, (tensor(shape, text, STRING),), Base64Params(), tags)
        yield Case(BASE64_ENCODE, f"{name}-filled", (tensor(shape, text, STRING),), Base64Params(True), tags)
        yield Case(BASE64_DECODE, name, (tensor(shape, _encoded, STRING),), tags=tags)
    yield Case(BASE64_ENCODE, "thousands", (tensor((5000,), text, STRING),), Base64Params(), measure=True)
    yield Case(BASE64_DECODE, "thousands", (tensor((5000,), _encoded, STRING),), measure=True)
    file = tensor((), _picture("JPEG", "RGB"), STRING)
    yield Case(JPEG_SHAPE, "one", (file,), JpegShapeParams(np.dtype(np.int32)), measure=True)
    for dtype in map(np.dtype, ("int32", "int64")):
        shape_of = lambda inputs, params: [np.array([37, 53, 3], params.dtype)]  # noqa: E731
        yield Case(JPEG_SHAPE, str(dtype), (file,), JpegShapeParams(dtype), oracle=shape_of)
    for dtype in map(np.dtype, ("bool", "int8", "uint8", "int32", "int64", "uint64", "complex64")):
        yield Case(AS_STRING, f"{dtype}", (tensor((2, 3), normal, dtype),), AsStringParams())
    for dtype in (F16, F32, F64):
        yield Case(AS_STRING, f"{dtype}", (tensor((2, 9), normal, dtype),), AsStringParams())
        yield Case(AS_STRING, f"{dtype}-precision", (tensor((2, 9), normal, dtype),), AsStringParams(2))
    for form in ("f", "e", "g"):
        yield Case(AS_STRING, f"form-{form}", (tensor((2, 9), normal, F64),), AsStringParams(3, form, 12, "+"))
    yield Case(AS_STRING, "nan", (tensor((40,), sparse_nan),), AsStringParams(), frozenset(["nan"]))
    yield Case(AS_STRING, "batch10000", (tensor((10_000,), normal),), AsStringParams(), measure=True)
    yield Case(AS_STRING, "empty", (tensor((0,), normal),), AsStringParams(), frozenset(["empty"]))
    for name, shapes in (
        ("scalars", ((), ())), ("same", ((2, 3), (2, 3), (2, 3))), ("broadcast", ((2, 1), (3,))), ("one", ((4,),)),
        ("empty", ((0,), ())),
    ):  # fmt: skip
        for separator in (b"", b", "):
            inputs = tuple(tensor(shape, text, STRING) for shape in shapes)
            yield Case(STRING_JOIN, f"{name}{'-separated' if separator else ''}", inputs, StringJoinParams(separator))
    yield Case(STRING_JOIN, "batch10000", (tensor((10_000,), text, STRING),) * 2, StringJoinParams(b", "), measure=True)


CASES: tuple[Case, ...] = (*_images(), *_strings())
