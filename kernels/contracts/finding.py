"""Ops that find: where, unique, sums of sorted segments, bytes as numbers, values by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import STRING, DType, Params, TensorType, dtype_name
from .base import FLOATS, INTEGERS, NUMBERS, Contract, Tolerance, normalize_axis, require_dtype, shape_text

__all__ = [
    "DECODE_RAW", "LOOKUP", "NONZERO", "SORTED_SEGMENTS", "UNIQUE", "DecodeRawParams", "SortedSegmentsParams", "UniqueParams",
]  # fmt: skip

EXACT = Tolerance(0, 0)


def _infer_nonzero(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    (x,) = inputs
    if x.dtype == STRING:
        raise DTypeError("nonzero: takes truth values or numbers, got strings")
    return (TensorType(np.dtype(np.int64), (None, x.rank)),)


NONZERO: Contract[Params] = Contract(
    "nonzero", "One row of indices (int64) for every element that is not 0, in row-major order. A NaN is not 0.", _infer_nonzero,
    dynamic=True, tolerance=EXACT, hot=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UniqueParams(Params):
    """``axis``: slices along it are compared; None: all elements. ``sorted``: else in the order of their first occurrence.

    ``outputs`` after the values: the number of the first occurrence, for every element the number of its value, counts.
    ``index``: their type.
    """

    outputs: tuple[Literal["first", "inverse", "counts"], ...] = ("inverse",)
    axis: int | None = None
    sorted: bool = False
    index: Literal["int32", "int64"] = "int32"


def _infer_unique(inputs: Sequence[TensorType], params: UniqueParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    index = np.dtype(params.index)
    if params.axis is None:
        length = x.size if x.known else None
        values = TensorType(x.dtype, (None,))
    elif x.shape is None:
        length, values = None, TensorType(x.dtype)
    else:
        if x.dtype == STRING and len(x.shape) > 1:
            raise DTypeError("unique: slices of strings are not compared; take strings one by one")
        axis = normalize_axis("unique", params.axis, len(x.shape))
        length = x.shape[axis]
        values = TensorType(x.dtype, (*x.shape[:axis], None, *x.shape[axis + 1 :]))
    sizes = {"first": None, "inverse": length, "counts": None}
    return (values, *(TensorType(index, (sizes[name],)) for name in params.outputs))


UNIQUE: Contract[UniqueParams] = Contract(
    "unique", "The different elements (or slices) of x. A NaN is like no other.", _infer_unique, UniqueParams, dynamic=True,
    tolerance=EXACT, hot=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SortedSegmentsParams(Params):
    """``mode``: what becomes of the rows of a segment."""

    mode: Literal["sum", "mean", "prod", "max", "min"] = "sum"


def _infer_sorted(inputs: Sequence[TensorType], params: SortedSegmentsParams) -> tuple[TensorType, ...]:
    x, ids = inputs
    require_dtype(
        "sorted_segments", "the input", x.dtype, FLOATS | INTEGERS if params.mode in ("max", "min") else NUMBERS
    )
    require_dtype("sorted_segments", "the segments", ids.dtype, INTEGERS)
    if ids.shape is not None and len(ids.shape) != 1:
        raise ShapeError(f"sorted_segments: the segments must be a vector, got {ids}")
    if x.shape is None:
        return (TensorType(x.dtype),)
    if not x.shape or (ids.shape and None not in (ids.shape[0], x.shape[0]) and ids.shape[0] != x.shape[0]):
        raise ShapeError(f"sorted_segments: {ids} segments for rows of {x}; expected one for every row")
    return (TensorType(x.dtype, (None, *x.shape[1:])),)


SORTED_SEGMENTS: Contract[SortedSegmentsParams] = Contract(
    "sorted_segments",
    """y[i] = the sum (mean, product, greatest, least) of the rows of segment i, up to the last one. The segments ascend; one
    without rows has 0, for products 1.""",
    _infer_sorted,
    SortedSegmentsParams,
    arity=(2, 2),
    dynamic=True,
    tolerance=Tolerance(2e-6, 1e-6),
    hot=False,
)


@dataclass(frozen=True, slots=True)
class DecodeRawParams(Params):
    """``dtype`` of the numbers; ``little``: their least byte comes first."""

    dtype: DType
    little: bool = True


def _infer_decode_raw(inputs: Sequence[TensorType], params: DecodeRawParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    if x.dtype != STRING or params.dtype.kind not in "biufc":
        raise DTypeError(f"decode_raw: decodes strings to numbers, got {x} and {dtype_name(params.dtype)}")
    return (TensorType(params.dtype, None if x.shape is None else (*x.shape, None)),)


DECODE_RAW: Contract[DecodeRawParams] = Contract(
    "decode_raw", "The bytes of strings, all of one length, as numbers along a new last axis.", _infer_decode_raw,
    DecodeRawParams, dynamic=True, tolerance=EXACT, hot=False,
)  # fmt: skip


def _infer_lookup(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    keys, values, query, default = inputs
    if keys.dtype != query.dtype or (keys.dtype != STRING and keys.dtype not in INTEGERS):
        raise DTypeError(f"lookup: keys are strings or whole numbers of one type, got {keys} and {query}")
    if values.dtype != default.dtype:
        raise DTypeError(f"lookup: the default has the type of the values, {values}, got {default}")
    if keys.shape is not None and len(keys.shape) != 1:
        raise ShapeError(f"lookup: the keys must be a vector, got {keys}")
    if values.shape is None:
        return (TensorType(values.dtype),)
    if not values.shape or (
        keys.shape and None not in (keys.shape[0], values.shape[0]) and keys.shape != values.shape[:1]
    ):
        raise ShapeError(f"lookup: {values} are the values of {keys} keys; expected one for every key")
    if query.shape is None:
        return (TensorType(values.dtype),)
    made = query.shape + values.shape[1:]
    if default.shape is not None and len(default.shape) > len(made):
        raise ShapeError(f"lookup: the default {default} does not fit a result of shape {shape_text(made)}")
    return (TensorType(values.dtype, made),)


LOOKUP: Contract[Params] = Contract(
    "lookup",
    """y[i] = the value of the key that equals query[i], or the default (broadcast to y) where there is none; of equal keys the
    last counts. Inputs: keys (n), values (n, ...), query, default.""",
    _infer_lookup,
    arity=(4, 4),
    tolerance=EXACT,
    hot=False,
)
