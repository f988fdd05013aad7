"""Cases of non-maximum suppression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...contracts.boxes import (
    CLASS_SUPPRESSION,
    COMBINED_SUPPRESSION,
    SUPPRESSION,
    ClassSuppressionParams,
    CombinedParams,
    SuppressionParams,
)
from ...tensor import DType
from ..case import F16, F32, F64, Case, tensor
from ..values import normal, positive

__all__ = ["CASES"]


def _cases() -> Iterator[Case]:
    def case(name: str, count: int, dtype: DType = F32, **params: Any) -> Case:
        boxes, scores = tensor((count, 4), normal, dtype), tensor((count,), positive, dtype)
        tags = frozenset(["empty"] if count == 0 else [])
        return Case(SUPPRESSION, name, (boxes, scores), SuppressionParams(**params), tags)

    for iou in (0.0, 0.3, 1.0):
        yield case(f"iou{iou}", 40, most=20, iou=iou)
    for dtype in (F16, F64):
        yield case(str(dtype), 30, dtype, most=30, iou=0.2)
    yield case("least-score", 40, most=40, score=1.0)
    yield case("padded", 10, most=30, padded=True)
    yield case("soft", 30, most=20, iou=1.0, sigma=0.5, score=0.1)
    yield case("soft-and-hard", 30, most=20, iou=0.3, sigma=0.5, padded=True)
    yield case("none", 0, most=5)
    yield case("most0", 5, most=0)

    def combined(name: str, boxes: tuple[int, ...], classes: int, **params: Any) -> Case:
        inputs = (tensor(boxes, positive), tensor((*boxes[:2], classes), positive))
        tags = frozenset(["empty"] if 0 in boxes else [])
        return Case(COMBINED_SUPPRESSION, name, inputs, CombinedParams(**params), tags)

    yield combined("one-box", (2, 12, 1, 4), 3, per_class=3, total=7)
    yield combined("box-per-class", (2, 12, 3, 4), 3, per_class=3, total=20, clip=False, iou=0.1, score=1.0)
    yield combined("padded", (1, 12, 1, 4), 2, per_class=3, total=20, padded=True)
    yield combined("empty", (0, 12, 1, 4), 2, per_class=3, total=20)

    def by_class(name: str, images: int, classes: int, count: int, dtype: DType = F32, **params: Any) -> Case:
        inputs = (tensor((images, count, 4), normal, dtype), tensor((images, classes, count), positive, dtype))
        tags = frozenset(["empty"] if 0 in (images, classes, count) else [])
        return Case(CLASS_SUPPRESSION, name, inputs, ClassSuppressionParams(**params), tags)

    # Few boxes, many comparisons: what is measured is the work for each pair, not bytes.
    boxes = (tensor((1000, 4), normal), tensor((1000,), positive))
    yield Case(SUPPRESSION, "thousand", boxes, SuppressionParams(most=100, iou=0.5), measure=True)
    inputs = (tensor((1, 1000, 1, 4), positive), tensor((1, 1000, 20), positive))
    yield Case(COMBINED_SUPPRESSION, "detector", inputs, CombinedParams(per_class=100, total=100), measure=True)
    inputs = (tensor((1, 1000, 4), normal), tensor((1, 20, 1000), positive))
    yield Case(CLASS_SUPPRESSION, "detector", inputs, ClassSuppressionParams(most=100, iou=0.5), measure=True)
    yield by_class("class", 2, 3, 20, most=5, iou=0.3)
    yield by_class("class-least", 1, 2, 20, F16, most=1 << 40, iou=1.0, score=1.0)
    yield by_class("class-none", 2, 2, 0, most=5)
    yield by_class("class-no-image", 0, 2, 4, most=5)


CASES: tuple[Case, ...] = tuple(_cases())
