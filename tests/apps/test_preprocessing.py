"""Resize rules, crops and normalisation against independent formulations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kigraph.errors import ImageError
from kigraph.vision import RESIZE_RULES, Preprocessing, central_crop, resize, to_pixels
from kigraph.vision.normalize import INCEPTION, INCEPTION_2015, Normalization

Array = np.ndarray[Any, Any]
SIZES = [(60, 80), (299, 299), (30, 40), (7, 150), (1, 1), (61, 79)]


def slow_bilinear(pixels: Array, size: tuple[int, int], half_pixel: bool) -> Array:
    """The definition, one output at a time, in double precision but for the coordinates."""
    out = np.zeros((*size, 3))
    for axis_y in range(size[0]):
        for axis_x in range(size[1]):
            at = []
            for target, length, count in ((axis_y, pixels.shape[0], size[0]), (axis_x, pixels.shape[1], size[1])):
                scale = np.float32(length) / np.float32(count)
                s = np.float32((target + 0.5) * scale - 0.5) if half_pixel else np.float32(target) * scale
                lo = int(np.floor(s))
                at.append((max(lo, 0), min(lo + 1, length - 1), float(s) - lo))
            (y0, y1, wy), (x0, x1, wx) = at
            p = pixels.astype(float)
            top, bottom = p[y0, x0] * (1 - wx) + p[y0, x1] * wx, p[y1, x0] * (1 - wx) + p[y1, x1] * wx
            out[axis_y, axis_x] = top * (1 - wy) + bottom * wy
    return out


@pytest.mark.parametrize("rule", ["legacy", "half_pixel"])
@pytest.mark.parametrize("size", [(60, 80), (30, 40), (7, 150), (1, 1), (61, 79), (120, 40)])
def test_bilinear_is_the_definition(rule: str, size: tuple[int, int], photo: Array) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for pixels in (photo, noise):
        got = resize(pixels, size, rule)
        assert got.dtype == np.float32
        assert np.abs(got - slow_bilinear(pixels, size, rule == "half_pixel")).max() < 2e-3


@pytest.mark.parametrize("half_pixel", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_bilinear_is_the_reference_kernel(half_pixel: bool, size: tuple[int, int], photo: Array) -> None:
    import kigraph as ki

    graph = ki.Graph()
    with graph.as_default():
        image = ki.placeholder(ki.uint8, [1, None, None, 3], name="image")
        ki.resize_bilinear(image, list(size), half_pixel_centers=half_pixel, name="resized")
    expected = ki.Session(graph, backend="numpy").run("resized:0", {"image:0": photo[None]})[0]
    assert np.abs(resize(photo, size, "half_pixel" if half_pixel else "legacy") - expected).max() < 1e-3


def test_rules_differ_where_it_matters(photo: Array) -> None:
    results = {rule: resize(photo, (29, 29), rule) for rule in RESIZE_RULES}
    for name, a in results.items():
        for other, b in results.items():
            assert name == other or np.abs(a - b).max() > 1, (name, other)


@pytest.mark.parametrize("rule", RESIZE_RULES)
def test_every_rule_gives_size_and_range(rule: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (333, 512, 3), dtype=np.uint8)
    got = resize(noise, (299, 299), rule)
    assert got.shape == (299, 299, 3)
    assert got.dtype == np.float32
    assert got.min() >= 0
    assert got.max() <= 255


@pytest.mark.parametrize(("height", "width"), [(606, 517), (517, 606), (342, 342), (299, 1000), (50, 60)])
def test_torchvision_rule(height: int, width: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    # torchvision: the shorter edge becomes 342, the other int(342 * long / short); then the rounded centre.
    if width <= height:
        resized = image.resize((342, int(342 * height / width)), Image.Resampling.BILINEAR)
    else:
        resized = image.resize((int(342 * width / height), 342), Image.Resampling.BILINEAR)
    top, left = round((resized.height - 299) / 2.0), round((resized.width - 299) / 2.0)
    expected = np.asarray(resized.crop((left, top, left + 299, top + 299)), np.float32)
    assert np.array_equal(resize(pixels, (299, 299), "torchvision"), expected)


def test_torchvision_rule_needs_a_square(photo: Array) -> None:
    with pytest.raises(ImageError, match="square"):
        resize(photo, (10, 20), "torchvision")


def test_keras_nearest_only_copies(photo: Array) -> None:
    got = resize(photo, (31, 17), "keras_nearest")
    assert {tuple(p) for p in got.reshape(-1, 3)} <= {tuple(p) for p in photo.reshape(-1, 3).astype(np.float32)}


@pytest.mark.parametrize(("length", "kept"), [(16, 14), (100, 88), (299, 263), (8, 8), (1, 1)])
def test_central_crop_is_tensorflows(length: int, kept: int) -> None:
    line = np.zeros((length, length, 3), np.uint8)
    assert central_crop(line, 0.875).shape[:2] == (kept, kept)
    assert central_crop(line, 1.0).shape == line.shape


@pytest.mark.parametrize("fraction", [0, -1, 1.5])
def test_wrong_crop(fraction: float, photo: Array) -> None:
    with pytest.raises(ImageError, match="crop fraction"):
        central_crop(photo, fraction)


def test_unknown_rule(photo: Array) -> None:
    with pytest.raises(ImageError, match=r"legacy.*torchvision"):
        resize(photo, (9, 9), "bicubic")


def test_normalisations() -> None:
    ends = np.array([[[0, 0, 0], [255, 255, 255], [128, 128, 128]]], np.uint8)
    assert INCEPTION(ends)[0, :2].tolist() == [[-1, -1, -1], [1, 1, 1]]
    assert INCEPTION_2015(ends)[0].tolist() == [[-1] * 3, [127 / 128] * 3, [0] * 3]
    imagenet = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # 255 times torchvision's statistics
    assert np.allclose(imagenet(ends)[0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert str(INCEPTION) == "(pixel - 127.5) / 127.5"


def test_preprocessing_says_what_it_does(photo: Array) -> None:
    p = Preprocessing((299, 299), "legacy", INCEPTION, crop=0.875)
    assert p(photo).shape == (299, 299, 3)
    assert str(p) == "central 87.5% -> 299x299 by legacy -> (pixel - 127.5) / 127.5"
    assert np.array_equal(p(photo), INCEPTION(resize(central_crop(photo, 0.875), (299, 299), "legacy")))


def test_against_tensorflows_preprocessed_photograph(shared: Path) -> None:
    golden = np.load(shared / "models" / "mobilenet_v1_0.25_224" / "golden_tensorflow.npz")
    inputs = next(golden[k] for k in golden.files if golden[k].shape[1:] == (224, 224, 3))
    pixels = to_pixels(shared / "photos" / "grace_hopper.jpg")
    candidates = {
        (rule, crop): np.abs(Preprocessing((224, 224), rule, INCEPTION, crop)(pixels) - inputs[0]).mean()
        for rule in RESIZE_RULES
        for crop in (1.0, 0.875)
    }
    best = min(candidates, key=candidates.__getitem__)
    assert candidates[best] < 0.01, candidates
