"""The shape of a JPEG, a part of one, and base64 in graphs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.ops.building import add_op
from kigraph.kernels.errors import KigraphError

pillow = pytest.importorskip("PIL.Image")
pytest.importorskip("simplejpeg")

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Any]


def jpeg(rng: np.random.Generator, subsampling: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    small = pillow.fromarray(rng.integers(0, 256, (6, 7, 3), np.uint8))
    small.resize((45, 32)).convert(mode).save(file, "JPEG", quality=92, subsampling=subsampling)
    return file.getvalue()


def test_the_shape_of_a_jpeg(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    contents = ops.placeholder("string", [])
    y = add_op("ExtractJpegShape", [contents], None, output_type=np.dtype(np.int64))
    assert (y.shape, y.dtype) == ((3,), np.int64)
    for mode, channels in (("RGB", 3), ("L", 1)):
        data = jpeg(rng, 2, mode)
        assert session().run(y, {contents: data}).tolist() == [32, 45, channels]
        assert session().run(y, {contents: data[: len(data) // 2]}).tolist() == [32, 45, channels]
    for wrong in (b"", b"GIF89a", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff"):
        with pytest.raises(KigraphError):
            session().run(y, {contents: wrong})


def test_a_part_of_a_jpeg(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    contents, window = ops.placeholder("string", []), ops.placeholder("int32", [4])
    fixed = add_op("DecodeAndCropJpeg", [contents, ops.constant([3, 5, 20, 30])], None, channels=3)
    fed = add_op("DecodeAndCropJpeg", [contents, window], None)
    assert (fixed.shape, fed.shape) == ((20, 30, 3), (None, None, None))
    data = jpeg(rng, 0)
    whole = session().run(ops.decode_jpeg(contents), {contents: data})
    np.testing.assert_array_equal(session().run(fixed, {contents: data}), whole[3:23, 5:35])
    np.testing.assert_array_equal(session().run(fed, {contents: data, window: [31, 44, 1, 1]}), whole[31:, 44:])
    for wrong in ([0, 0, 33, 1], [0, 0, 0, 1], [-1, 0, 1, 1], [0, 40, 1, 6], [2**31 - 1] * 4):
        with pytest.raises(KigraphError, match="crop"):
            session().run(fed, {contents: data, window: wrong})


def test_a_part_that_tensorflow_smooths_otherwise_is_refused(
    graph: Graph, session: Make, rng: np.random.Generator
) -> None:
    """Of halved colours the edges of a part have other neighbours; whole rows and no smoothing are the same."""
    data = ops.constant(jpeg(rng, 2))
    whole = session().run(ops.decode_jpeg(data))
    part = ops.constant([2, 4, 9, 20])
    with pytest.raises(KigraphError, match="fancy_upscaling=False"):
        session().run(add_op("DecodeAndCropJpeg", [data, part], None))
    rows = session().run(add_op("DecodeAndCropJpeg", [data, ops.constant([2, 0, 9, 45])], None))
    np.testing.assert_array_equal(rows, whole[2:11])
    plain = session().run(ops.decode_jpeg(data, fancy_upscaling=False))
    found = session().run(add_op("DecodeAndCropJpeg", [data, part], None, fancy_upscaling=False))
    np.testing.assert_array_equal(found, plain[2:11, 4:24])
    with pytest.raises(KigraphError, match="DecodeAndCropJpeg takes jpeg; found gif"):
        session().run(add_op("DecodeAndCropJpeg", [ops.constant(b"GIF89a" + bytes(20)), part], None))


def test_base64(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    texts = np.array([rng.bytes(n) for n in range(9)], object).reshape(3, 3)
    x = ops.placeholder("string", [None, 3])
    filled, bare = add_op("EncodeBase64", [x], None, pad=True), add_op("EncodeBase64", [x], None)
    found = session().run(
        [filled, bare, add_op("DecodeBase64", [filled], None), add_op("DecodeBase64", [bare], None)], {x: texts}
    )
    for index in np.ndindex(3, 3):
        want = base64.urlsafe_b64encode(texts[index])
        assert (found[0][index], found[1][index]) == (want, want.rstrip(b"="))
        assert found[2][index] == found[3][index] == texts[index]


@pytest.mark.parametrize("wrong", [b"Q", b"QQ=", b"Q===", b"QU JD", b"QUJD\n", b"+/+/", b"Q=JD", b"=", b"QUJD===="])
def test_what_is_not_base64_is_refused(graph: Graph, session: Make, wrong: bytes) -> None:
    """As by TensorFlow."""
    with pytest.raises(KigraphError, match="not base64"):
        session().run(add_op("DecodeBase64", [ops.constant(wrong)], None))
