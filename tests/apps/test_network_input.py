"""Resizing and normalising in one pass of C code: the bits of the plain program, whatever the rule and the instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kigraph.errors import ImageError, KernelError, ShapeError
from kigraph.kernels.cython.loops import resize_pixels
from kigraph.vision import RESIZE_RULES, Normalization, Preprocessing, central_crop, resize
from kigraph.vision.normalize import IMAGENET, INCEPTION, INCEPTION_2015, PIXELS

Array = np.ndarray[Any, Any]
SHAPES = ((40, 56), (1, 1), (3, 70), (64, 5), (31, 31), (200, 150))
ODD = Normalization((1.25, -3.0, 255.0), (0.1, 7.0, 1e-3))


def plain_bilinear(pixels: Array, size: tuple[int, int], half_pixel: bool) -> Array:
    """Columns first, then rows, each number in float32, rounded after every step."""

    def cells(length: int, out: int) -> tuple[Array, Array, Array]:
        scale, target = np.float32(length) / np.float32(out), np.arange(out, dtype=np.float32)
        source = (target + np.float32(0.5)) * scale - np.float32(0.5) if half_pixel else target * scale
        low = np.floor(source)
        return (
            np.maximum(low, 0).astype(int),
            np.minimum(np.ceil(source).astype(int), length - 1),
            (source - low).astype(np.float32),
        )

    (y0, y1, wy), (x0, x1, wx) = cells(pixels.shape[0], size[0]), cells(pixels.shape[1], size[1])
    values = pixels.astype(np.float32)
    wide = values[:, x0] + (values[:, x1] - values[:, x0]) * wx[None, :, None]
    return wide[y0] + (wide[y1] - wide[y0]) * wy[:, None, None]


def plain(pixels: Array, size: tuple[int, int], rule: str) -> Array:
    if rule in ("legacy", "half_pixel"):
        return plain_bilinear(pixels, size, rule == "half_pixel")
    image, (height, width) = Image.fromarray(pixels), pixels.shape[:2]
    if rule == "torchvision":
        short = round(size[0] * 342 / 299)
        long = int(short * max(height, width) / min(height, width))
        h, w = (long, short) if width <= height else (short, long)
        scaled = np.asarray(image.resize((w, h), Image.Resampling.BILINEAR)).astype(np.float32)
        top, left = round((h - size[0]) / 2), round((w - size[1]) / 2)
        return scaled[top : top + size[0], left : left + size[1]]
    kind = Image.Resampling.NEAREST if rule == "keras_nearest" else Image.Resampling.BILINEAR
    return np.asarray(image.resize((size[1], size[0]), kind)).astype(np.float32)


@pytest.mark.parametrize("rule", list(RESIZE_RULES))
@pytest.mark.parametrize("normalization", [INCEPTION, INCEPTION_2015, IMAGENET, PIXELS, ODD], ids=str)
def test_bits_of_the_plain_program(rule: str, normalization: Normalization) -> None:
    rng = np.random.default_rng()
    mean, std = np.array(normalization.mean, np.float32), np.array(normalization.std, np.float32)
    for shape in SHAPES:
        pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
        for size in ((29, 29), (1, 1), (64, 64)) if rule == "torchvision" else ((29, 31), (1, 7), (80, 1), (64, 64)):
            for crop in (1.0, 0.875):
                kept = central_crop(pixels, crop)
                wanted = (plain(kept, size, rule) - mean) / std
                for channels in ("RGB", "BGR"):
                    step = -1 if channels == "BGR" else 1
                    got = Preprocessing(size, rule, normalization, crop, channels)(pixels)
                    assert got.dtype == np.float32
                    assert np.array_equal(got, wanted[..., ::step]), (shape, size, crop, channels)
                assert np.array_equal(resize(kept, size, rule), plain(kept, size, rule)), (shape, size, crop)


@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
def test_written_into_a_row_of_a_batch_and_nowhere_else(channels: str) -> None:
    pixels = np.random.default_rng().integers(0, 256, (50, 41, 3), np.uint8)
    rule = Preprocessing((23, 37), "half_pixel", INCEPTION, channels=channels)
    batch = np.full((3, 23, 37, 1 if channels == "L" else 3), 7, np.float32)
    assert np.shares_memory(rule(pixels, batch[1]), batch)
    assert np.array_equal(batch[1], rule(pixels))
    assert (batch[[0, 2]] == 7).all()


@pytest.mark.parametrize(
    "view", [lambda p: p[::-1], lambda p: p[:, ::-1], lambda p: p[..., ::-1], lambda p: p[::2, 3:]]
)
def test_pixels_in_any_layout(view: Any) -> None:
    pixels = view(np.random.default_rng().integers(0, 256, (40, 41, 3), np.uint8))
    pixels.flags.writeable = False
    for rule in RESIZE_RULES:
        assert np.array_equal(resize(pixels, (20, 20), rule), plain(np.ascontiguousarray(pixels), (20, 20), rule))


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_other_arrays_are_refused(pixels: Array) -> None:
    with pytest.raises(ImageError, match=r"expected uint8 pixels of shape \(height, width, 3\), got"):
        resize(pixels, (5, 5), "legacy")


def test_the_kernel_checks_what_it_is_given() -> None:
    x, y = np.zeros((4, 5, 3), np.uint8), np.zeros((2, 2, 3), np.float32)
    line = np.zeros(6, np.float32)

    def cells(top: int, weights: int) -> tuple[Array, Array, Array]:
        return np.array([0, top], np.int32), np.array([0, top], np.int32), np.zeros(weights, np.float32)

    resize_pixels(x, (cells(3, 2), cells(4, 6)), line, line + 1, y)
    for rows, columns in (((4, 2), (4, 6)), ((3, 2), (5, 6)), ((-1, 2), (4, 6))):
        with pytest.raises(KernelError, match="outside"):
            resize_pixels(x, (cells(*rows), cells(*columns)), line, line + 1, y)
    with pytest.raises(ShapeError, match="the weights"):
        resize_pixels(x, (cells(3, 2), cells(4, 2)), line, line + 1, y)
    with pytest.raises(ShapeError, match="the mean"):
        resize_pixels(x, (cells(3, 2), cells(4, 6)), line[:3], line + 1, y)
    with pytest.raises(KernelError, match="dense"):
        resize_pixels(x, (cells(3, 2), cells(4, 6)), line, line + 1, np.zeros((2, 4, 3), np.float32)[:, ::2])
    y.flags.writeable = False
    with pytest.raises(KernelError, match="read-only"):
        resize_pixels(x, (cells(3, 2), cells(4, 6)), line, line + 1, y)


@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_the_same_bits_on_every_instruction_set(isa: str) -> None:
    from kigraph.kernels.cython import core

    if isa not in core.ISAS:
        pytest.skip(f"this processor has no {isa}")
    program = (
        "import hashlib, numpy as np; from kigraph.vision import Preprocessing\n"
        "pixels = np.random.default_rng(5).integers(0, 256, (333, 500, 3), np.uint8)\n"
        "print(hashlib.sha256(Preprocessing((299, 299), 'legacy')(pixels).tobytes()).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "KIGRAPH_ISA": chosen}, capture_output=True, check=True
        ).stdout
        for chosen in (isa, "auto")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("rule", list(RESIZE_RULES))
def test_without_the_c_code_the_bits_are_the_same(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng()
    cases = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in SHAPES]
    made = [Preprocessing((29, 29), rule, norm, 1.0, order) for norm in (IMAGENET, ODD) for order in ("RGB", "BGR")]
    wanted = [prepare(pixels) for prepare in made for pixels in cases]
    monkeypatch.setattr(sys.modules["kigraph.vision.resize"], "compiled", lambda name: None)
    out = np.empty((29, 29, 3), np.float32)
    for found, (prepare, pixels) in zip(wanted, [(p, x) for p in made for x in cases], strict=True):
        assert np.array_equal(prepare(pixels), found)
        assert prepare(pixels, out=out) is out
        assert np.array_equal(out, found)
