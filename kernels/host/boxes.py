"""Non-maximum suppression: one chosen box at a time, its overlaps with all that remain in one step."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contracts.boxes import (
    CLASS_SUPPRESSION,
    COMBINED_SUPPRESSION,
    SUPPRESSION,
    ClassSuppressionParams,
    CombinedParams,
    SuppressionParams,
)
from ..kernel import Kernel
from ..tensor import Array
from .support import numpy_kernel, wider

__all__ = ["KERNELS"]


def _corners(boxes: Array) -> tuple[Array, Array]:
    """(low corners, high corners), each (count, 2)."""
    return np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])


def _overlaps(low: Array, high: Array, one: int, others: Any) -> Array:
    """The share of the union that box ``one`` has in common with each of the others."""
    sides = np.maximum(np.minimum(high[others], high[one]) - np.maximum(low[others], low[one]), 0)
    common = sides[..., 0] * sides[..., 1]
    size = high - low
    area, own = size[others][..., 0] * size[others][..., 1], size[one, 0] * size[one, 1]
    union = area + own - common
    return np.where((area <= 0) | (own <= 0), union.dtype.type(0), common / union)


def _hard(boxes: Array, scores: Array, most: int, iou: float, least: float) -> Array:
    """Numbers of the chosen boxes, best first."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > least]
    # Rows in the order of scores: y and x of the low corners, then of the high ones, and the areas.
    low, high = (c[order].T for c in _corners(boxes))
    area = (high[0] - low[0]) * (high[1] - low[1])
    alive = np.ones(len(order), bool)
    chosen: list[int] = []
    at = 0
    while at < len(order) and len(chosen) < most:
        chosen.append(int(order[at]))
        # The share of the union as _overlaps computes it, for all that follow.
        rest = slice(at + 1, None)
        down = np.minimum(high[0, rest], high[0, at]) - np.maximum(low[0, rest], low[0, at])
        across = np.minimum(high[1, rest], high[1, at]) - np.maximum(low[1, rest], low[1, at])
        common = np.maximum(down, 0) * np.maximum(across, 0)
        union = area[rest] + area[at] - common
        share = common / union
        alive[rest] &= ~(share > iou) if iou >= 0 and area[at] > 0 else ~(_flat(share, area[rest], area[at]) > iou)
        following = np.flatnonzero(alive[rest])
        if not following.size:
            break
        at += 1 + int(following[0])
    return np.array(chosen, np.int64)


def _flat(share: Array, area: Array, own: Any) -> Array:
    """Boxes without an area have nothing in common."""
    return np.where((area <= 0) | (own <= 0), share.dtype.type(0), share)


def _soft(boxes: Array, scores: Array, params: SuppressionParams) -> tuple[Array, Array]:
    """Scores fall with the overlap; a box whose score has fallen waits for its new turn."""
    low, high = _corners(boxes)
    real = scores.dtype.type
    scale = real(-0.5 / params.sigma)
    # (-score, box, number of chosen boxes whose overlap its score already has)
    queue = [(-scores[i], i, 0) for i in np.flatnonzero(scores > params.score).tolist()]
    heapq.heapify(queue)
    chosen: list[int] = []
    found: list[Any] = []
    while queue and len(chosen) < params.most:
        negative, box, seen = heapq.heappop(queue)
        score = before = -negative
        if len(chosen) > seen:
            # From the box chosen last on, one product after the other, to the first that is too low.
            overlaps = _overlaps(low, high, box, np.array(chosen[seen:][::-1]))
            scores_then = np.multiply.accumulate(np.append(score, np.exp(scale * overlaps * overlaps)))[1:]
            under = scores_then <= params.score
            score = scores_then[under.argmax() if under.any() else -1]
        if score == before:
            chosen.append(box)
            found.append(score)
        elif score > params.score:
            heapq.heappush(queue, (-score, box, len(chosen)))
    return np.array(chosen, np.int64), np.array(found, scores.dtype)


def _suppression(inputs: Sequence[Array], params: SuppressionParams) -> tuple[Array, ...]:
    given = np.asarray(inputs[1]).dtype
    boxes, scores = (np.asarray(a).astype(wider(a.dtype), copy=False) for a in inputs)
    with np.errstate(all="ignore"):
        if params.sigma > 0:
            chosen, best = _soft(boxes, scores, params)
        else:
            chosen = _hard(boxes, scores, params.most, params.iou, params.score)
            best = scores[chosen]
    count = len(chosen)
    entries = params.most if params.padded else count
    numbers, found = np.zeros(entries, np.int32), np.zeros(entries, given)
    numbers[:count], found[:count] = chosen, best
    results = (numbers, found, np.array(count, np.int32))
    return tuple(r for r, wanted in zip(results, (True, params.scored, params.counted), strict=True) if wanted)


def _combined(inputs: Sequence[Array], outputs: Sequence[Array], params: CombinedParams) -> None:
    boxes, scores = inputs
    for output in outputs:
        output[...] = 0
    most = outputs[1].shape[1]
    for image in range(len(boxes)):
        parts = []
        for c in range(scores.shape[2]):
            own = boxes[image, :, min(c, boxes.shape[2] - 1)]
            rank = np.ascontiguousarray(scores[image, :, c])
            chosen = _hard(own, rank, params.per_class, params.iou, params.score)
            parts.append((own[chosen], rank[chosen], np.full(len(chosen), c)))
        if not parts:
            continue
        all_boxes, all_scores, classes = (np.concatenate(p) for p in zip(*parts, strict=True))
        best = np.argsort(-all_scores, kind="stable")[:most]
        count = len(best)
        picked = all_boxes[best]
        outputs[0][image, :count] = np.clip(picked, 0, 1) if params.clip else picked
        outputs[1][image, :count], outputs[2][image, :count] = all_scores[best], classes[best]
        outputs[3][image] = count


def _by_class(inputs: Sequence[Array], params: ClassSuppressionParams) -> tuple[Array, ...]:
    boxes, scores = (np.asarray(a).astype(wider(a.dtype), copy=False) for a in inputs)
    rows = [np.empty((0, 3), np.int64)]
    with np.errstate(all="ignore"):
        for image in range(scores.shape[0]):
            for number in range(scores.shape[1]):
                chosen = _hard(boxes[image], scores[image, number], params.most, params.iou, params.score)
                row = np.empty((len(chosen), 3), np.int64)
                row[:, 0], row[:, 1], row[:, 2] = image, number, chosen
                rows.append(row)
    return (np.concatenate(rows),)


KERNELS = (
    Kernel(CLASS_SUPPRESSION, "host", "class_suppression", evaluate=_by_class, strided_inputs=True),
    Kernel(SUPPRESSION, "host", "suppression", evaluate=_suppression, strided_inputs=True),
    numpy_kernel(COMBINED_SUPPRESSION, "host", _combined),
)
