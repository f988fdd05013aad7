"""Non-maximum suppression next to a loop over all pairs of boxes, on every backend."""

from __future__ import annotations

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


def overlap(a: NDArray, b: NDArray) -> float:
    (ay, ax, az, aw), (by, bx, bz, bw) = (
        (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])) for v in (a, b)
    )
    common = max(min(az, bz) - max(ay, by), 0) * max(min(aw, bw) - max(ax, bx), 0)
    sizes = (az - ay) * (aw - ax), (bz - by) * (bw - bx)
    return common / (sum(sizes) - common) if min(sizes) > 0 else 0.0


def chosen(boxes: NDArray, scores: NDArray, most: int, iou: float, least: float) -> list[int]:
    found: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if scores[i] > least and len(found) < most and all(overlap(boxes[i], boxes[j]) <= iou for j in found):
            found.append(i)
    return found


def some_boxes(rng: np.random.Generator, count: int) -> tuple[NDArray, NDArray]:
    corners = rng.uniform(0, 1, (count, 2))
    return np.concatenate([corners, corners + rng.normal(size=(count, 2)) * 0.4], 1).astype(F32), np.round(
        rng.normal(size=count), 1
    ).astype(F32)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_best_boxes_by_thresholds_that_are_fed(
    graph: Graph, session: Make, rng: np.random.Generator, count: int
) -> None:
    boxes, scores = some_boxes(rng, count)
    b, s = ops.placeholder("float32", (None, 4)), ops.placeholder("float32", (None,))
    most, iou, least = ops.placeholder("int32", ()), ops.placeholder("float32", ()), ops.placeholder("float32", ())
    y = add_op("NonMaxSuppressionV3", [b, s, most, iou, least], None)
    assert y.shape == (None,)
    made = session()
    for values in ((5, 0.3, -0.5), (100, 0.0, -9.0), (0, 0.5, -9.0)):
        feeds = {b: boxes, s: scores, most: values[0], iou: F32.type(values[1]), least: F32.type(values[2])}
        assert made.run(y, feeds).tolist() == chosen(boxes, scores, *values)
        gathered = ops.gather(b, y)
        np.testing.assert_array_equal(made.run(gathered, feeds), boxes[chosen(boxes, scores, *values)])


def test_padded_results_have_a_count(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    boxes, scores = some_boxes(rng, 20)
    inputs = [ops.constant(v) for v in (boxes, scores, np.int32(30), F32.type(0.2), F32.type(-9), F32.type(0))]
    node = graph.create_op("NonMaxSuppressionV5", inputs, {"pad_to_max_output_size": True}, num_outputs=3)
    numbers, best, count = session().run(list(node.outputs))
    want = chosen(boxes, scores, 30, 0.2, -9)
    assert numbers.shape == best.shape == (30,) == node.outputs[0].shape
    assert numbers[:count].tolist() == want
    assert best[:count].tolist() == scores[want].tolist()
    assert not numbers[count:].any()


def test_soft_suppression_lowers_scores(graph: Graph, session: Make) -> None:
    """The second box is the first one moved by half: a third of the union. Its score falls below that of the last one."""
    boxes = np.array([[0, 0, 1, 1], [0, 0.5, 1, 1.5], [5, 5, 6, 6]], F32)
    inputs = [
        ops.constant(v)
        for v in (boxes, np.array([1, 0.9, 0.85], F32), np.int32(3), F32.type(0.5), F32.type(0), F32.type(0.5))
    ]
    node = graph.create_op("NonMaxSuppressionV5", inputs, {}, num_outputs=3)
    numbers, best, count = session().run(list(node.outputs))
    assert (numbers.tolist(), int(count)) == ([0, 2, 1], 3)
    np.testing.assert_allclose(best, [1, 0.85, 0.9 * np.exp(-1 / 9)], rtol=1e-6)


def test_boxes_of_several_classes(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    boxes = rng.uniform(-0.2, 1.2, (2, 15, 1, 4)).astype(F32)
    scores = rng.uniform(size=(2, 15, 3)).astype(F32)
    inputs = [ops.constant(v) for v in (boxes, scores, np.int32(4), np.int32(9), F32.type(0.2), F32.type(0.3))]
    node = graph.create_op("CombinedNonMaxSuppression", inputs, {}, num_outputs=4)
    found = session().run(list(node.outputs))
    for n in range(2):
        every = [
            (scores[n, i, c], c, boxes[n, i, 0])
            for c in range(3)
            for i in chosen(boxes[n, :, 0], scores[n, :, c], 4, 0.2, 0.3)
        ]
        every = sorted(every, key=lambda e: -e[0])[:9]
        count = int(found[3][n])
        assert count == len(every)
        np.testing.assert_array_equal(found[1][n, :count], [e[0] for e in every])
        np.testing.assert_array_equal(found[2][n, :count], [e[1] for e in every])
        np.testing.assert_array_equal(found[0][n, :count], np.clip([e[2] for e in every], 0, 1))
        assert not found[1][n, count:].any()


@pytest.mark.parametrize(
    ("boxes", "scores", "most", "iou", "found"),
    [
        ((5, 3), (5,), 2, 0.5, "a box has 4 numbers"),
        ((5, 4), (4,), 2, 0.5, "contradict"),
        ((5, 4), (5,), -1, 0.5, "must not be negative"),
        ((5, 4), (5,), 2, 1.5, "must be from 0 to 1"),
        ((5, 4), (5,), 2, float("nan"), "must be from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    graph: Graph, boxes: tuple[int, ...], scores: tuple[int, ...], most: int, iou: float, found: str
) -> None:
    inputs = [ops.constant(v) for v in (np.zeros(boxes, F32), np.zeros(scores, F32), np.int32(most), F32.type(iou))]
    with pytest.raises(KigraphError, match=found):
        add_op("NonMaxSuppressionV2", inputs, None)
