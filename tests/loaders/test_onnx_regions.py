"""RoiAlign with as many samples in a cell as it has pixels (sampling_ratio 0), next to plain loops in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.loaders import load

Array = np.ndarray[Any, Any]


def _at(image: Array, y: float, x: float) -> Array:
    """Between four pixels; 0 beyond the image."""
    high, wide = image.shape[1:]
    if not (-1 <= y <= high and -1 <= x <= wide):
        return np.zeros(len(image))
    y, x = min(max(y, 0), high - 1), min(max(x, 0), wide - 1)
    a, b = int(y), int(x)
    c, d = min(a + 1, high - 1), min(b + 1, wide - 1)
    top = image[:, a, b] * (1 - x + b) + image[:, a, d] * (x - b)
    low = image[:, c, b] * (1 - x + b) + image[:, c, d] * (x - b)
    return np.asarray(top * (1 - y + a) + low * (y - a))


def _expected(x: Array, rois: Array, images: Array, pooled: tuple[int, int], scale: float, half: bool) -> Array:
    found = np.zeros((len(rois), x.shape[1], *pooled))
    for r, (roi, image) in enumerate(zip(rois.astype(np.float64), images, strict=True)):
        left, top, right, bottom = roi * scale - (0.5 if half else 0)
        sizes = [bottom - top, right - left] if half else [max(bottom - top, 1), max(right - left, 1)]
        cells = [s / p for s, p in zip(sizes, pooled, strict=True)]
        counts = [max(int(np.ceil(c)), 0) for c in cells]
        for i, j in np.ndindex(*pooled):
            for k, m in np.ndindex(*counts):
                y = top + cells[0] * (i + (k + 0.5) / counts[0])
                found[r, :, i, j] += _at(x[image].astype(np.float64), y, left + cells[1] * (j + (m + 0.5) / counts[1]))
            found[r, :, i, j] /= max(counts[0] * counts[1], 1)
    return found


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("count", [0, 1, 6])
def test_regions_of_any_size(half: bool, count: int, tmp_path: Path, seed: int) -> None:
    """Small and empty ones, one larger than the image, one outside of it."""
    helper = pytest.importorskip("onnx").helper
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, 17, 13)).astype(np.float32)
    begins = rng.uniform(-3, 20, (count, 2))
    rois = np.concatenate([begins, begins + rng.uniform(0, 15, (count, 2))], 1).astype(np.float32)
    if count > 3:
        rois[0], rois[1], rois[2] = (4, 5, 4, 5), (-20, -30, 60, 70), (90, 90, 99, 95)
    images = rng.integers(0, 2, count)
    node = helper.make_node(
        "RoiAlign", ["x", "r", "i"], ["y"], output_height=3, output_width=4, spatial_scale=0.75, sampling_ratio=0,
        coordinate_transformation_mode="half_pixel" if half else "output_half_pixel",
    )  # fmt: skip
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [value("x", 1, ["n", 3, 17, 13]), value("r", 1, ["r", 4]), value("i", 7, ["r"])],
        [helper.make_empty_tensor_value_info("y")],
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)]).SerializeToString())
    (found,) = ki.Session(load(path).graph).run(["y"], {"x": x, "r": rois, "i": images})
    np.testing.assert_allclose(found, _expected(x, rois, images, (3, 4), 0.75, half), rtol=1e-4, atol=1e-5)
