"""Picking and placing by arrays of indices: gather_nd, scatter_nd, updates, one_hot, segments, reversed sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import Dim, Params, Shape, TensorType
from .base import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    Contract,
    Tolerance,
    merge_shapes,
    normalize_axis,
    require_dtype,
    require_same_dtype,
    shape_text,
)

__all__ = [
    "GATHER_ND", "ONE_HOT", "REVERSE_SEQUENCE", "SCATTER_ND", "SEGMENTS", "TENSOR_SCATTER", "GatherNdParams", "OneHotParams",
    "ReverseSequenceParams", "ScatterNdParams", "SegmentsParams", "TensorScatterParams",
]  # fmt: skip

EXACT = Tolerance(0, 0)
BOOL = np.dtype(bool)


@dataclass(frozen=True, slots=True)
class GatherNdParams(Params):
    """``batch_dims``: number of leading axes that both inputs share."""

    batch_dims: int = 0


def _picked(op: str, x: Shape, indices: TensorType, batch: int = 0) -> tuple[Shape, Dim]:
    """The axes of x that one row of indices picks, and how many axes it counts along."""
    require_dtype(op, "the indices", indices.dtype, INTEGERS)
    if indices.shape is not None and len(indices.shape) <= batch:
        raise ShapeError(f"{op}: indices of shape {shape_text(indices.shape)} must have more than {batch} axes")
    depth = None if indices.shape is None else indices.shape[-1]
    if x is None or depth is None:
        return None, depth
    if batch + depth > len(x):
        raise ShapeError(f"{op}: rows of {depth} indices for an array of shape {shape_text(x)}")
    return x[batch + depth :], depth


def _infer_gather_nd(inputs: Sequence[TensorType], params: GatherNdParams) -> tuple[TensorType, ...]:
    x, indices = inputs
    batch = params.batch_dims
    if batch < 0 or (x.shape is not None and batch > len(x.shape)):
        raise ShapeError(f"gather_nd: batch_dims {batch} for an input of shape {shape_text(x.shape)}")
    rest, _ = _picked("gather_nd", x.shape, indices, batch)
    if rest is None or indices.shape is None or x.shape is None:
        return (TensorType(x.dtype),)
    common = merge_shapes("gather_nd, batch axes", x.shape[:batch], indices.shape[:batch]) or ()
    return (TensorType(x.dtype, common + indices.shape[batch:-1] + rest),)


GATHER_ND: Contract[GatherNdParams] = Contract(
    "gather_nd",
    "y[i, ...] = x[indices[i], ...]: every row of the last axis of the indices picks a slice; one out of range is an error.",
    _infer_gather_nd,
    GatherNdParams,
    arity=(2, 2),
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class ScatterNdParams(Params):
    """``shape`` of the result."""

    shape: tuple[int, ...]


def _check_updates(op: str, shape: Shape, indices: TensorType, updates: TensorType) -> None:
    rest, _ = _picked(op, shape, indices)
    if rest is not None and indices.shape is not None:
        merge_shapes(f"{op}, the updates", updates.shape, indices.shape[:-1] + rest)


def _infer_scatter_nd(inputs: Sequence[TensorType], params: ScatterNdParams) -> tuple[TensorType, ...]:
    indices, updates = inputs
    require_dtype("scatter_nd", "the updates", updates.dtype, NUMBERS | {BOOL})
    if any(d < 0 for d in params.shape):
        raise ShapeError(f"scatter_nd: negative size in {params.shape}")
    _check_updates("scatter_nd", params.shape, indices, updates)
    return (TensorType(updates.dtype, params.shape),)


SCATTER_ND: Contract[ScatterNdParams] = Contract(
    "scatter_nd",
    "Zeros to which the updates (x1) are added where the indices (x0) say; one out of range is an error.",
    _infer_scatter_nd,
    ScatterNdParams,
    arity=(2, 2),
    tolerance=Tolerance(2e-6, 1e-6),
    hot=False,
)


@dataclass(frozen=True, slots=True)
class TensorScatterParams(Params):
    """``mode``: what an update does to the element that is there."""

    mode: Literal["update", "add", "sub", "mul", "max", "min"] = "update"


def _infer_tensor_scatter(inputs: Sequence[TensorType], params: TensorScatterParams) -> tuple[TensorType, ...]:
    x, indices, updates = inputs
    require_same_dtype("tensor_scatter", [x, updates])
    if params.mode != "update":
        require_dtype("tensor_scatter", f"for mode {params.mode} the input", x.dtype, NUMBERS)
    if params.mode in ("max", "min") and x.dtype.kind == "c":
        raise DTypeError(f"tensor_scatter: complex numbers have no {params.mode}, got {x}")
    _check_updates("tensor_scatter", x.shape, indices, updates)
    return (x,)


TENSOR_SCATTER: Contract[TensorScatterParams] = Contract(
    "tensor_scatter",
    "x0 with the updates (x2) where the indices (x1) say; of equal indices the last update wins. One out of range is an error.",
    _infer_tensor_scatter,
    TensorScatterParams,
    arity=(3, 3),
    tolerance=Tolerance(2e-6, 1e-6),
    hot=False,
)


@dataclass(frozen=True, slots=True)
class OneHotParams(Params):
    """``depth``: size of the new axis. ``axis``: where it is inserted."""

    depth: int
    axis: int = -1


def _infer_one_hot(inputs: Sequence[TensorType], params: OneHotParams) -> tuple[TensorType, ...]:
    indices, on, off = inputs
    require_dtype("one_hot", "the indices", indices.dtype, INTEGERS)
    dtype = require_same_dtype("one_hot", [on, off])
    for t in (on, off):
        merge_shapes("one_hot, the values", t.shape, ())
    if params.depth < 0:
        raise ShapeError(f"one_hot: depth must not be negative, got {params.depth}")
    if indices.shape is None:
        return (TensorType(dtype),)
    axis = normalize_axis("one_hot", params.axis, len(indices.shape) + 1)
    return (TensorType(dtype, (*indices.shape[:axis], params.depth, *indices.shape[axis:])),)


ONE_HOT: Contract[OneHotParams] = Contract(
    "one_hot",
    "x1 where a new axis counts what the index says, x2 elsewhere; an index out of range gives x2 everywhere.",
    _infer_one_hot,
    OneHotParams,
    arity=(3, 3),
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class SegmentsParams(Params):
    """``count`` of the segments; ``mode``: what becomes of the rows of one."""

    count: int
    mode: Literal["sum", "prod", "max", "min"] = "sum"


def _infer_segments(inputs: Sequence[TensorType], params: SegmentsParams) -> tuple[TensorType, ...]:
    x, ids = inputs
    require_dtype("segments", "the input", x.dtype, NUMBERS if params.mode in ("sum", "prod") else FLOATS | INTEGERS)
    require_dtype("segments", "the segments", ids.dtype, INTEGERS)
    if params.count < 0:
        raise ShapeError(f"segments: their number must not be negative, got {params.count}")
    if x.shape is None or ids.shape is None:
        return (TensorType(x.dtype),)
    rank = len(ids.shape)
    merge_shapes("segments, the first axes", x.shape[:rank], ids.shape)
    return (TensorType(x.dtype, (params.count, *x.shape[rank:])),)


SEGMENTS: Contract[SegmentsParams] = Contract(
    "segments",
    """y[i, ...] = the sum (product, greatest, least) of x[n, ...] with segments[n] = i. A segment below 0 is left out, one that is
    not below the count is an error. Of nothing: 0, 1, the lowest, the highest number of the type.""",
    _infer_segments,
    SegmentsParams,
    arity=(2, 2),
    tolerance=Tolerance(2e-6, 1e-6, scale_by_reduction=True),
    flops=lambda inputs, outputs, params: inputs[0].size,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class ReverseSequenceParams(Params):
    """``sequence``: the axis that is reversed. ``batch``: the axis of which every index has its own length."""

    sequence: int
    batch: int = 0


def _infer_reverse_sequence(inputs: Sequence[TensorType], params: ReverseSequenceParams) -> tuple[TensorType, ...]:
    x, lengths = inputs
    require_dtype("reverse_sequence", "the lengths", lengths.dtype, INTEGERS)
    if x.shape is not None:
        sequence, batch = (normalize_axis("reverse_sequence", a, len(x.shape)) for a in (params.sequence, params.batch))
        if sequence == batch:
            raise ShapeError(f"reverse_sequence: axis {batch} is both that of the items and that of the sequences")
        merge_shapes("reverse_sequence, the lengths", lengths.shape, (x.shape[batch],))
    return (x,)


REVERSE_SEQUENCE: Contract[ReverseSequenceParams] = Contract(
    "reverse_sequence",
    "The first ``lengths[n]`` elements of item n in reverse order, the others as they are; a length out of range is an error.",
    _infer_reverse_sequence,
    ReverseSequenceParams,
    arity=(2, 2),
    tolerance=EXACT,
    hot=False,
)
