"""Non-maximum suppression: sizes and thresholds are inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...kernels.contracts.boxes import (
    CLASS_SUPPRESSION,
    COMBINED_SUPPRESSION,
    SUPPRESSION,
    ClassSuppressionParams,
    CombinedParams,
    SuppressionParams,
)
from ...kernels.tensor import TensorType
from ..errors import GraphError
from .attributes import FALSE, TRUE, Attr, Row, of, types
from .base import Lowered, OpDef, Site, one_int

__all__ = ["DEFS"]

INT32 = np.dtype(np.int32)
#: No score is at or below it but -inf, which is never chosen.
_LOWEST = float(np.finfo(np.float32).min)


def _number(site: Site, index: int, what: str) -> float:
    value = site.value(index)
    if value.shape != () or value.dtype.kind != "f":
        raise GraphError(f"{site.op} '{site.name}': {what} must be a float, got {value.dtype} of shape {value.shape}")
    return float(value)


def _lower(scored: bool, counted: bool) -> Callable[[Site], Lowered]:
    """(boxes, scores, number of boxes[, overlap[, least score[, sigma]]])"""

    def lower(site: Site) -> Lowered:
        count = len(site.inputs)
        params = SuppressionParams(
            one_int(site, 2, "the number of boxes"),
            _number(site, 3, "the overlap") if count > 3 else float(site.attr("iou_threshold", 0.5)),
            _number(site, 4, "the least score") if count > 4 else _LOWEST,
            _number(site, 5, "sigma") if count > 5 else 0.0,
            bool(site.attr("pad_to_max_output_size", False)),
            scored,
            counted,
        )
        return Lowered(SUPPRESSION, params, (0, 1))

    return lower


def _unknown(scored: bool, counted: bool) -> Callable[[Site], tuple[TensorType, ...]]:
    def infer(site: Site) -> tuple[TensorType, ...]:
        results = (TensorType(INT32, (None,)), TensorType(site.inputs[1].dtype, (None,)), TensorType(INT32, ()))
        return tuple(t for t, given in zip(results, (True, scored, counted), strict=True) if given)

    return infer


def _combined(site: Site) -> Lowered:
    """(boxes, scores, boxes per class, boxes in all, overlap, least score)"""
    params = CombinedParams(
        one_int(site, 2, "the number of boxes per class"),
        one_int(site, 3, "the number of boxes"),
        _number(site, 4, "the overlap"),
        _number(site, 5, "the least score"),
        bool(site.attr("pad_per_class", False)),
        bool(site.attr("clip_boxes", True)),
    )
    return Lowered(COMBINED_SUPPRESSION, params, (0, 1))


def _unknown_combined(site: Site) -> tuple[TensorType, ...]:
    shape = site.inputs[0].shape
    batch = shape[0] if shape else None
    real = np.dtype(np.float32)
    return (
        TensorType(real, (batch, None, 4)), TensorType(real, (batch, None)), TensorType(real, (batch, None)),
        TensorType(INT32, (batch,)),
    )  # fmt: skip


def _by_class(site: Site) -> Lowered:
    """Of ONNX: (boxes of every image, scores of every class, boxes per class, overlap, least score)"""
    params = ClassSuppressionParams(
        one_int(site, 2, "the number of boxes"), _number(site, 3, "the overlap"), _number(site, 4, "the least score")
    )
    return Lowered(CLASS_SUPPRESSION, params, (0, 1))


def _op(name: str, count: int, attributes: Row, scored: bool = False, counted: bool = False) -> OpDef:
    return OpDef(
        name, _lower(scored, counted), arity=(count, count), values=tuple(range(2, count)),
        unknown=_unknown(scored, counted), attributes=attributes, dynamic=True,
    )  # fmt: skip


_F32 = types("float32")[0]
_T: Row = {"T": of(0, _F32)}
_THRESHOLD: Row = {**_T, "T_threshold": of(3, _F32)}
_PADDED: Row = {"pad_to_max_output_size": FALSE}

DEFS: tuple[OpDef, ...] = (
    _op("NonMaxSuppression", 3, {"iou_threshold": Attr("float", 0.5)}),
    _op("NonMaxSuppressionV2", 4, _THRESHOLD),
    _op("NonMaxSuppressionV3", 5, _THRESHOLD),
    _op("NonMaxSuppressionV4", 5, {**_THRESHOLD, **_PADDED}, counted=True),
    _op("NonMaxSuppressionV5", 6, {**_T, **_PADDED}, scored=True, counted=True),
    OpDef(
        "KiNonMaxSuppression",
        _by_class,
        arity=(5, 5),
        values=(2, 3, 4),
        unknown=lambda site: (TensorType(np.dtype(np.int64), (None, 3)),),
        attributes={"T": of(0, _F32)},
        dynamic=True,
    ),
    OpDef(
        "CombinedNonMaxSuppression",
        _combined,
        arity=(6, 6),
        values=(2, 3, 4, 5),
        unknown=_unknown_combined,
        attributes={"pad_per_class": FALSE, "clip_boxes": TRUE},
    ),
)
