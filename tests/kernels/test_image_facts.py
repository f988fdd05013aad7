"""Pixels of TensorFlow 2.21 for files of every kind, as checksums: image_facts.json, written by this file run with TensorFlow.

    python -m tests.kernels.test_image_facts

tests/interop has the comparison itself, with more options and with the arrays.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.kernels.contracts.strings import DecodeImageParams
from kigraph.kernels.errors import ImageError
from kigraph.kernels.host.image import decode_image
from tests.interop.image_files import files

FACTS = Path(__file__).with_name("image_facts.json")
#: JPEGs are kept as bytes: encoders change. WebP is left out.
JPEGS = (
    "422-9x40", "420-9x40", "440-9x40", "411-9x40", "grey-9x40", "420-65x7", "progressive-1", "restart", "rgb", "cmyk",
    "cmyk-no-adobe", "ycck", "arithmetic", "stray",
)  # fmt: skip
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "jpeg": [
        {"format": "jpeg", "channels": c, "ratio": r, "fancy_upscaling": f, "dct_method": m}
        for c in (0, 1, 3)
        for r, f, m in ((1, True, ""), (1, False, "INTEGER_ACCURATE"), (2, True, "INTEGER_FAST"), (8, True, ""))
    ],
    "png": [{"format": "png", "channels": c, "dtype": d} for c in (0, 1, 3, 4) for d in ("uint8", "uint16")]
    + [{"format": "", "channels": 3, "dtype": "float32"}, {"format": "gif"}],
    "gif": [{}, {"expand_animations": False}, {"format": "gif"}, {"format": "jpeg"}, {"dtype": "float32"}],
    "bmp": [{"channels": c} for c in (0, 3, 4)] + [{"format": "bmp"}],
}
TRUNCATED = ("422-9x40", "420-9x40", "411-9x40", "grey-9x40", "420-65x7", "restart", "rgb", "cmyk", "stray")
Decode = Callable[[bytes, dict[str, Any]], np.ndarray[Any, Any] | None]


def checksum(data: bytes, kind: str, decode: Decode) -> str:
    """Of shapes, types and pixels under all options; a refusal is a part of it."""
    total = 0
    for options in OPTIONS[kind]:
        pixels = decode(data, options)
        text = "refused" if pixels is None else f"{pixels.dtype} {pixels.shape}"
        total = zlib.crc32(b"" if pixels is None else pixels.tobytes(), zlib.crc32(text.encode(), total))
    return f"{total:08x}"


def cut_checksums(data: bytes, decode: Decode) -> list[str]:
    """Of a file cut at six positions after its header, where no 0xff is the last byte: there TensorFlow hangs."""
    found, start = [], data.index(b"\xff\xda") + 16
    for part in (0.05, 0.3, 0.5, 0.7, 0.9, 0.98):
        end = start + int(part * (len(data) - start))
        while data[end - 1] == 0xFF:
            end += 1
        pixels = decode(data[:end], {"format": "jpeg", "channels": 3, "try_recover_truncated": True})
        found.append("refused" if pixels is None else f"{zlib.crc32(pixels.tobytes()):08x}")
    return found


def ours(data: bytes, options: dict[str, Any]) -> np.ndarray[Any, Any] | None:
    try:
        pixels: np.ndarray[Any, Any] = decode_image(
            data, DecodeImageParams(**(options | {"dtype": np.dtype(options.get("dtype", "uint8"))}))
        )
    except ImageError:
        return None
    return pixels


def own_bytes() -> Iterator[tuple[str, str, bytes]]:
    """Files whose bytes are written here, so their pixels do not depend on an encoder's version."""
    for kind, name, data in files():
        if kind in ("png", "gif", "bmp") and "pillow" not in name:
            yield kind, name, data


def test_pixels_are_tensorflows() -> None:
    facts = json.loads(FACTS.read_text())
    seen = set()
    for kind, name, data in own_bytes():
        assert checksum(data, kind, ours) == facts[kind][name], f"{kind} {name}"
        seen.add((kind, name))
    assert seen == {(kind, name) for kind in ("png", "gif", "bmp") for name in facts[kind]}


@pytest.mark.parametrize("name", JPEGS)
def test_pixels_of_jpegs_are_tensorflows(name: str) -> None:
    encoded, want = json.loads(FACTS.read_text())["jpeg"][name]
    assert checksum(base64.b64decode(encoded), "jpeg", ours) == want


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated_jpegs_are_recovered_as_tensorflow_does(name: str) -> None:
    facts = json.loads(FACTS.read_text())
    assert cut_checksums(base64.b64decode(facts["jpeg"][name][0]), ours) == facts["truncated"][name]


def write() -> None:
    import tensorflow as tf  # type: ignore[import-not-found, unused-ignore]

    ops = {"": "DecodeImage", "jpeg": "DecodeJpeg", "png": "DecodePng", "gif": "DecodeGif", "bmp": "DecodeBmp"}

    def theirs(data: bytes, options: dict[str, Any]) -> np.ndarray[Any, Any] | None:
        attrs = {k: getattr(tf, v) if k == "dtype" else v for k, v in options.items() if k != "format"}
        try:
            pixels: np.ndarray[Any, Any] = getattr(tf.raw_ops, ops[options.get("format", "")])(
                contents=data, **attrs
            ).numpy()
        except tf.errors.OpError:
            return None
        return pixels

    facts: dict[str, dict[str, Any]] = {"jpeg": {}, "png": {}, "gif": {}, "bmp": {}}
    for kind, name, data in own_bytes():
        facts[kind][name] = checksum(data, kind, theirs)
    for kind, name, data in files():
        if kind == "jpeg" and name in JPEGS:
            facts[kind][name] = [base64.b64encode(data).decode(), checksum(data, kind, theirs)]
    facts["truncated"] = {name: cut_checksums(base64.b64decode(facts["jpeg"][name][0]), theirs) for name in TRUNCATED}
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    write()


#: Shape, quality, attributes, and length and SHA-256 of the file that TensorFlow 2.21 makes.
ENCODED = [
    ((37, 53, 3), 95, {}, 3454, "06a25fde3ef1b6b7"),
    ((37, 53, 3), 0, {}, 728, "fdc6632a96d37d94"),
    ((37, 53, 3), 10, {}, 882, "c843447023096b3d"),
    ((37, 53, 3), 50, {"chroma_downsampling": False}, 2473, "c3bcbfad2bd3774d"),
    ((37, 53, 3), 90, {"progressive": True}, 2596, "0681842e03b3886f"),
    ((37, 53, 3), 90, {"optimize_size": True}, 2355, "363b1240318bdf51"),
    ((37, 53, 3), 90, {"x_density": 72, "y_density": 100}, 2784, "b1e4a3970283f8e7"),
    ((19, 8, 1), 95, {}, 522, "a97d4cfca09bbfa1"),
    ((19, 8, 1), 0, {}, 351, "f8f63506cdf8105d"),
    ((19, 8, 1), 10, {}, 363, "750e5f46eb418bd7"),
    ((19, 8, 1), 50, {"chroma_downsampling": False}, 413, "844c7b17ecd7c437"),
    ((19, 8, 1), 90, {"progressive": True}, 439, "ffd285043610f660"),
    ((19, 8, 1), 90, {"optimize_size": True}, 304, "92db7bafe2e48394"),
    ((19, 8, 1), 90, {"x_density": 72, "y_density": 100}, 479, "ea440a54d1befd4f"),
]


@pytest.mark.parametrize(("shape", "quality", "attrs", "length", "digest"), ENCODED)
def test_encode_jpeg_writes_the_bytes_of_tensorflow(
    shape: tuple[int, ...], quality: int, attrs: dict[str, Any], length: int, digest: str
) -> None:
    x = (np.arange(math.prod(shape)) ** 2 * 7919 // 13 % 256).astype(np.uint8).reshape(shape)
    with ki.Graph().as_default() as graph:
        y = graph.create_op("EncodeJpeg", [ki.constant(x)], {"quality": quality, **attrs}).outputs[0]
    with ki.Session(graph, backend="numpy") as session:
        data = session.run(y)
    assert (len(data), hashlib.sha256(data).hexdigest()[:16]) == (length, digest)
