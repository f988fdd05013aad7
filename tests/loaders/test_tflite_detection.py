"""TFLite_Detection_PostProcess against NumPy; its rare forms stay operators that cannot run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.loaders import load
from kigraph.graph.opdefs import OPDEFS
from tests.loaders import tflite_files as files
from tests.loaders.test_tflite import RNG, reals, run
from tests.loaders.tflite_files import Lite

Write = Callable[..., Path]

DETECTION: dict[str, float] = {
    "max_detections": 5, "max_classes_per_detection": 1, "num_classes": 2, "nms_score_threshold": 0.5, "nms_iou_threshold": 0.4,
    "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
}  # fmt: skip


def detector(options: dict[str, float]) -> tuple[bytes, np.ndarray[Any, Any]]:
    model = Lite()
    anchors = np.concatenate([RNG.random((30, 2)), RNG.uniform(0.1, 0.5, (30, 2))], 1).astype(np.float32)
    offsets, scores = model.tensor("offsets", (1, 30, 4)), model.tensor("scores", (1, 30, 3))
    shapes = {"boxes": (1, 5, 4), "classes": (1, 5), "best": (1, 5), "count": (1,)}
    outputs = [model.tensor(name, shape) for name, shape in shapes.items()]
    inputs = [offsets, scores, model.constant("anchors", anchors)]
    model.op("TFLite_Detection_PostProcess", inputs, outputs, custom=files.flex(options))
    return model.bytes([offsets, scores], outputs), anchors


def overlap(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(sides.prod() / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - sides.prod()))


def test_the_end_of_a_detector(write: Write) -> None:
    if "NonMaxSuppressionV4" not in OPDEFS:
        pytest.skip("an op of another family of kernels")
    data, anchors = detector(DETECTION)
    offsets, scores = reals(1, 30, 4), RNG.random((1, 30, 3)).astype(np.float32)
    got = run(write(data), ["boxes", "classes", "best", "count"], {"offsets": offsets, "scores": scores})
    center = offsets[0, :, :2] / 10 * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(offsets[0, :, 2:] / 5) * anchors[:, 2:] / 2
    boxes, best = np.concatenate([center - half, center + half], 1), scores[0, :, 1:].max(1)
    kept: list[int] = []
    for i in np.argsort(-best, kind="stable"):
        if best[i] >= 0.5 and len(kept) < 5 and all(overlap(boxes[i], boxes[j]) <= 0.4 for j in kept):
            kept.append(int(i))
    assert got[3].tolist() == [len(kept)]
    np.testing.assert_allclose(got[0][0, : len(kept)], boxes[kept], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got[1][0, : len(kept)], scores[0, kept, 1:].argmax(1))
    np.testing.assert_array_equal(got[2][0, : len(kept)], best[kept])
    assert not any(a[0, len(kept) :].any() for a in got[:3])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"use_regular_nms": 1}, "one by one"),
        ({"num_classes": 4}, "4 classes"),
        ({"max_detections": -1}, "-1 boxes"),
        ({"y_scale": None}, "without the option y_scale"),
    ],
)
def test_detectors_of_other_forms_are_not_guessed(write: Write, change: dict[str, Any], found: str) -> None:
    options = {k: v for k, v in (DETECTION | change).items() if v is not None}
    graph = load(write(detector(options)[0])).graph
    assert graph is not None
    assert found in graph.metadata["unsupported"][0]
