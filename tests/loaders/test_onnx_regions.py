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


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_resizing_of_small_integers_cuts_fractions_off(mode: str, dtype: Any, tmp_path: Path, seed: int) -> None:
    """As ONNX Runtime's quantised models have it. Weights of a factor of 2 are whole in binary, so nothing is rounded twice."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    info = np.iinfo(dtype)
    x = np.random.default_rng(seed).integers(info.min, info.max + 1, (2, 3, 5, 4)).astype(dtype)
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode=mode)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_empty_tensor_value_info("y")], [onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")],
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    (found,) = ki.Session(load(path).graph).run(["y"], {"x": x})
    want = x.astype(np.float64)
    before = {"linear": (0.25, 0.75), "cubic": (-0.03515625, 0.26171875, 0.87890625, -0.10546875)}[mode]
    for axis in (2, 3):
        size = want.shape[axis]
        matrix = np.zeros((2 * size, size))
        for i, side in np.ndindex(size, 2):  # a quarter of a pixel before, and behind
            for k, weight in enumerate(before[::-1] if side else before):
                matrix[2 * i + side, min(max(i - len(before) // 2 + side + k, 0), size - 1)] += weight
        want = np.moveaxis(np.tensordot(matrix, want, (1, axis)), 0, axis)
    np.testing.assert_array_equal(found, np.trunc(np.clip(want, info.min, info.max)).astype(dtype))
