"""Colours next to Python's colorsys, on every backend."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.ops.building import add_op
from kigraph.kernels.errors import KigraphError

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Any]
F32 = np.dtype(np.float32)


def by_pixel(x: NDArray, function: Callable[..., tuple[float, float, float]]) -> NDArray:
    flat = [function(*map(float, p)) for p in x.reshape(-1, 3)]
    return np.array(flat).reshape(x.shape)


def pixels(rng: np.random.Generator) -> NDArray:
    """Few levels, so that grey, black and channels that are equal occur."""
    return (rng.integers(0, 4, (2, 9, 8, 3)) / 4).astype(F32)


def test_hue_saturation_and_value(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = pixels(rng)
    image = ops.placeholder("float32", (None, None, None, 3))
    hsv, back = add_op("RGBToHSV", [image], None), add_op("HSVToRGB", [image], None)
    found = session().run([hsv, back], {image: x})
    np.testing.assert_allclose(found[0], by_pixel(x, colorsys.rgb_to_hsv), atol=1e-6)
    np.testing.assert_allclose(found[1], by_pixel(x, colorsys.hsv_to_rgb), atol=1e-6)


def test_hue_and_saturation_are_changed(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = pixels(rng)
    for delta in (-0.8, 0.1, 0.5):

        def turned(r: float, g: float, b: float, delta: float = delta) -> tuple[float, float, float]:
            h, s, v = colorsys.rgb_to_hsv(r, g, b)
            return colorsys.hsv_to_rgb((h + delta) % 1, s, v)

        found = session().run(add_op("AdjustHue", [ops.constant(x), ops.constant(delta)], None))
        np.testing.assert_allclose(found, by_pixel(x, turned), atol=1e-5)
    for factor in (0.0, 0.6, 3.0):

        def stronger(r: float, g: float, b: float, factor: float = factor) -> tuple[float, float, float]:
            h, s, v = colorsys.rgb_to_hsv(r, g, b)
            return colorsys.hsv_to_rgb(h, min(s * factor, 1), v)

        found = session().run(add_op("AdjustSaturation", [ops.constant(x), ops.constant(factor)], None))
        np.testing.assert_allclose(found, by_pixel(x, stronger), atol=1e-5)


def test_contrast_is_changed_around_the_mean_of_each_image(
    graph: Graph, session: Make, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(2, 5, 4, 2)).astype(F32)
    found = session().run(add_op("AdjustContrastv2", [ops.constant(x), ops.constant(1.5)], None))
    mean = x.astype(np.float64).mean((1, 2), keepdims=True)
    np.testing.assert_allclose(found, (x - mean) * 1.5 + mean, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_refused(graph: Graph) -> None:
    with pytest.raises(KigraphError, match="must have 3 channels"):
        add_op("RGBToHSV", [ops.constant(np.zeros((2, 4), F32))], None)
    with pytest.raises(KigraphError, match="must be one float32 number"):
        add_op("AdjustHue", [ops.constant(np.zeros((2, 2, 3), F32)), ops.constant([0.1])], None)
    with pytest.raises(KigraphError, match="must have 3 axes or more"):
        add_op("AdjustContrastv2", [ops.constant(np.zeros((2, 3), F32)), ops.constant(0.1)], None)
