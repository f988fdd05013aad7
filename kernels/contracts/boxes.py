"""Non-maximum suppression: the best of many boxes, without those that overlap a better one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import Dim, Params, TensorType
from .base import FLOATS, Contract, Tolerance, merge_shapes, require_dtype, require_rank, shape_text

__all__ = [
    "CLASS_SUPPRESSION", "COMBINED_SUPPRESSION", "SUPPRESSION", "ClassSuppressionParams", "CombinedParams", "SuppressionParams",
]  # fmt: skip

INT32 = np.dtype(np.int32)


@dataclass(frozen=True, slots=True)
class SuppressionParams(Params):
    """``most``: boxes at most. ``iou``: overlap above which the worse box goes. ``score``: boxes at or below it are out.

    ``sigma`` above 0: instead of that, overlap lowers the score by e ** (-overlap ** 2 / (2 * sigma)) (soft suppression).
    ``padded``: always ``most`` entries, 0 after the last box. ``scored``, ``counted``: whether the second and the third
    result are given.
    """

    most: int
    iou: float = 0.5
    score: float = float("-inf")
    sigma: float = 0.0
    padded: bool = False
    scored: bool = True
    counted: bool = True

    def __post_init__(self) -> None:
        if self.most < 0:
            raise ShapeError(f"suppression: the number of boxes must not be negative, got {self.most}")
        if not 0 <= self.iou <= 1:
            raise ShapeError(f"suppression: the overlap must be from 0 to 1, got {self.iou}")
        if not self.sigma >= 0:
            raise ShapeError(f"suppression: sigma must not be negative, got {self.sigma}")


def _infer(inputs: Sequence[TensorType], params: SuppressionParams) -> tuple[TensorType, ...]:
    op = "suppression"
    boxes, scores = inputs
    require_dtype(op, "the boxes", boxes.dtype, FLOATS)
    if scores.dtype != boxes.dtype:
        raise DTypeError(f"{op}: boxes are {boxes.dtype}, scores {scores.dtype}; both must have one type")
    count, four = require_rank(op, "the boxes (count, 4)", boxes.shape, 2)
    if four not in (None, 4):
        raise ShapeError(f"{op}: a box has 4 numbers, got shape {shape_text(boxes.shape)}")
    merge_shapes(f"{op}: scores against boxes", (count,), scores.shape)
    found: Dim = params.most if params.padded else None
    results = (TensorType(INT32, (found,)), TensorType(scores.dtype, (found,)), TensorType(INT32, ()))
    return tuple(t for t, given in zip(results, (True, params.scored, params.counted), strict=True) if given)


SUPPRESSION: Contract[SuppressionParams] = Contract(
    "suppression",
    """Numbers of the chosen boxes by falling score, their scores, and how many they are.

    Boxes (count, 4) of two opposite corners (y, x, y, x), in any order, and scores (count,). Of equal scores the first box
    is better. The best box left is chosen if no better one overlaps it by more than ``iou``: the area of the intersection
    as a share of that of the union, 0 where an area is 0.""",
    _infer, SuppressionParams, arity=(2, 2), tolerance=Tolerance(1e-6, 1e-6), hot=False, dynamic=True,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CombinedParams(Params):
    """``per_class``, ``total``: boxes at most. ``padded``: no more than per_class * classes entries. ``clip`` to 0 and 1."""

    per_class: int
    total: int
    iou: float = 0.5
    score: float = float("-inf")
    padded: bool = False
    clip: bool = True

    def __post_init__(self) -> None:
        if self.per_class < 1 or self.total < 1:
            raise ShapeError(f"suppression: sizes must be above 0, got {self.per_class} per class and {self.total}")
        if not 0 <= self.iou <= 1:
            raise ShapeError(f"suppression: the overlap must be from 0 to 1, got {self.iou}")


def _infer_combined(inputs: Sequence[TensorType], params: CombinedParams) -> tuple[TensorType, ...]:
    op = "combined_suppression"
    real = np.dtype(np.float32)
    if any(t.dtype != real for t in inputs):
        raise DTypeError(f"{op}: takes float32 boxes and scores, got {', '.join(map(str, inputs))}")
    boxes = require_rank(op, "the boxes (N, count, 1 or classes, 4)", inputs[0].shape, 4)
    scores = require_rank(op, "the scores (N, count, classes)", inputs[1].shape, 3)
    batch, _ = merge_shapes(f"{op}: scores against boxes", boxes[:2], scores[:2]) or (None, None)
    classes = scores[2]
    if boxes[3] not in (None, 4) or (None not in (boxes[2], classes) and boxes[2] not in (1, classes)):
        raise ShapeError(f"{op}: boxes {shape_text(boxes)} do not fit scores {shape_text(scores)}")
    most: Dim = params.total
    if params.padded:
        most = None if classes is None else min(params.total, params.per_class * classes)
    return (
        TensorType(real, (batch, most, 4)), TensorType(real, (batch, most)), TensorType(real, (batch, most)),
        TensorType(INT32, (batch,)),
    )  # fmt: skip


COMBINED_SUPPRESSION: Contract[CombinedParams] = Contract(
    "combined_suppression",
    """Suppression of each class of each image alone, then the best boxes of all classes: boxes, scores, classes (0 after
    the last), and how many they are.""",
    _infer_combined, CombinedParams, arity=(2, 2), tolerance=Tolerance(0, 0), hot=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassSuppressionParams(Params):
    """``most``: boxes of one class of one image at most. ``iou``, ``score``: as of SuppressionParams."""

    most: int
    iou: float = 0.0
    score: float = float("-inf")

    def __post_init__(self) -> None:
        if self.most < 0 or not 0 <= self.iou <= 1:
            raise ShapeError(
                f"suppression: at most {self.most} boxes with an overlap of {self.iou}; expected at least 0, and 0 to 1"
            )


def _infer_classes(inputs: Sequence[TensorType], params: ClassSuppressionParams) -> tuple[TensorType, ...]:
    op = "class_suppression"
    boxes, scores = inputs
    require_dtype(op, "the boxes", boxes.dtype, FLOATS)
    if scores.dtype != boxes.dtype:
        raise DTypeError(f"{op}: boxes are {boxes.dtype}, scores {scores.dtype}; both must have one type")
    batch, count, four = require_rank(op, "the boxes (N, count, 4)", boxes.shape, 3)
    images, _, each = require_rank(op, "the scores (N, classes, count)", scores.shape, 3)
    if four not in (None, 4):
        raise ShapeError(f"{op}: a box has 4 numbers, got shape {shape_text(boxes.shape)}")
    merge_shapes(f"{op}: scores against boxes", (batch, count), (images, each))
    return (TensorType(np.dtype(np.int64), (None, 3)),)


CLASS_SUPPRESSION: Contract[ClassSuppressionParams] = Contract(
    "class_suppression",
    """One row (image, class, number of the box) for every chosen box (N, count, 4), by image, class and falling score
    (N, classes, count); boxes are chosen as by ``suppression``, each class by itself.""",
    _infer_classes, ClassSuppressionParams, arity=(2, 2), tolerance=Tolerance(0, 0), hot=False, dynamic=True,
)  # fmt: skip
