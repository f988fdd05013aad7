"""Ops whose output shapes depend on values: positions, different values, the best of many boxes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...builder import Tensor
from .node import Converter, Node, Outputs
from .shapes import scalar

__all__ = ["CONVERTERS"]


def _nonzero(n: Node) -> Tensor:
    """One column for every element that is not 0."""
    x = n.input(0)
    found = n.op("Where", n.reshape(x, [1]) if n.type_of(x).shape == () else x)
    return n.transpose(found, (1, 0))


def _compress(n: Node) -> Tensor:
    """The entries of an axis whose condition is true; the condition may be shorter than the axis."""
    x, condition = n.input(0), n.input(1)
    axis = n.integer("axis", 0)
    if n.has("axis"):
        axis = n.axis(axis, n.rank(x))
    else:
        x = n.reshape(x, [-1])
    places = n.op("Squeeze", n.op("Where", n.cast(condition, bool)), squeeze_dims=(1,))
    return n.op("GatherV2", x, places, n.const(axis))


def _unique(n: Node) -> Outputs:
    """Values, their first places, the number of the value of each element, and how often each occurs."""
    x, order = n.input(0), n.flag("sorted", True)
    attrs = {"sorted": order, "out_idx": np.dtype(np.int64)}
    if not n.has("axis"):
        return n.ops("KiUnique", [x], 4, **attrs)
    axis = n.axis(n.integer("axis", 0), n.rank(x))
    return n.ops("KiUnique", [x], 4, axis=axis, **attrs)


def _corners(n: Node, boxes: Tensor) -> Tensor:
    """Boxes of centre and size (x, y, width, height) as two corners (y, x, y, x)."""
    x, y, width, height = n.ops("Split", [n.const(2, "int32"), boxes], 4, num_split=4)
    half = n.like(boxes, 0.5)
    width, height = n.op("Mul", width, half), n.op("Mul", height, half)
    low = [n.op("Sub", c, s) for c, s in ((y, height), (x, width))]
    high = [n.op("AddV2", c, s) for c, s in ((y, height), (x, width))]
    return n.op("ConcatV2", *low, *high, n.const(2))


def _suppression(n: Node) -> Tensor:
    """Rows (image, class, box). Without a number of boxes none is chosen."""
    boxes, scores = n.input(0), n.input(1)
    if n.flag("center_point_box"):
        boxes = _corners(n, boxes)
    most, iou, least = n.optional(2), n.optional(3), n.optional(4)
    most = n.const(0) if most is None else scalar(n, most)
    iou = n.const(0.0, "float32") if iou is None else scalar(n, iou)
    least = n.const(-np.inf, "float32") if least is None else scalar(n, least)
    return n.op("KiNonMaxSuppression", boxes, scores, most, iou, least)


CONVERTERS: Mapping[str, Converter] = {
    "NonZero": _nonzero,
    "Compress": _compress,
    "Unique": _unique,
    "NonMaxSuppression": _suppression,
}
