"""Ops on whole arrays: other bits, constants, rolling, running sums, bands of matrices, bins, positions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import STRING, DType, Params, TensorType, dtype_name
from .base import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    Contract,
    Tolerance,
    items_of_first,
    normalize_axis,
    require_dtype,
    require_rank,
)

__all__ = [
    "BAND", "BITCAST", "BUCKETIZE", "CUMULATIVE", "FILLED", "INVERT_PERMUTATION", "L2_LOSS", "LINSPACE", "ROLL", "UNRAVEL_INDEX",
    "BandParams", "BitcastParams", "BucketizeParams", "CumulativeParams", "FilledParams", "LinspaceParams", "RollParams",
    "UnravelIndexParams",
]  # fmt: skip

EXACT = Tolerance(0, 0)


@dataclass(frozen=True, slots=True)
class BitcastParams(Params):
    """``dtype`` of the result."""

    dtype: DType


def _infer_bitcast(inputs: Sequence[TensorType], params: BitcastParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    for dtype in (x.dtype, params.dtype):
        if dtype == STRING or dtype.kind == "b":
            raise DTypeError(f"bitcast: takes numbers, got {dtype_name(dtype)}")
    old, new = x.dtype.itemsize, params.dtype.itemsize
    if x.shape is None or old == new:
        return (TensorType(params.dtype, x.shape),)
    if old > new:
        return (TensorType(params.dtype, (*x.shape, old // new)),)
    if not x.shape or x.shape[-1] not in (None, new // old):
        raise ShapeError(f"bitcast: the last axis of {x} must have {new // old} elements to become {params.dtype}")
    return (TensorType(params.dtype, x.shape[:-1]),)


BITCAST: Contract[BitcastParams] = Contract(
    "bitcast",
    "The same bytes as numbers of another type. A narrower type makes a new last axis, a wider one takes the last axis.",
    _infer_bitcast,
    BitcastParams,
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class FilledParams(Params):
    """``shape`` and ``dtype`` of the result; ``value`` of its elements, 0 or 1. Strings are empty."""

    shape: tuple[int, ...]
    dtype: DType
    value: int = 0


def _infer_filled(inputs: Sequence[TensorType], params: FilledParams) -> tuple[TensorType, ...]:
    if any(d < 0 for d in params.shape):
        raise ShapeError(f"filled: negative size in {params.shape}")
    return (TensorType(params.dtype, params.shape),)


FILLED: Contract[FilledParams] = Contract(
    "filled", "An array of zeros or ones.", _infer_filled, FilledParams, arity=(0, 0), tolerance=EXACT, hot=False
)


@dataclass(frozen=True, slots=True)
class LinspaceParams(Params):
    """``count`` of the numbers."""

    count: int


def _infer_linspace(inputs: Sequence[TensorType], params: LinspaceParams) -> tuple[TensorType, ...]:
    start, stop = inputs
    require_dtype("linspace", "the start", start.dtype, FLOATS)
    if start.dtype != stop.dtype:
        raise DTypeError(f"linspace: the start is {start}, the stop {stop}; both must have one dtype (use cast)")
    for t in inputs:
        require_rank("linspace", "start and stop", t.shape, 0)
    if params.count < 1:
        raise ShapeError(f"linspace: the number of values must be positive, got {params.count}")
    return (TensorType(start.dtype, (params.count,)),)


LINSPACE: Contract[LinspaceParams] = Contract(
    "linspace",
    "``count`` numbers from x0 to x1 at equal distances.",
    _infer_linspace,
    LinspaceParams,
    arity=(2, 2),
    hot=False,
)


@dataclass(frozen=True, slots=True)
class RollParams(Params):
    """``shifts``: by how many elements along each of ``axes``, which may name an axis twice."""

    shifts: tuple[int, ...]
    axes: tuple[int, ...]


def _infer_roll(inputs: Sequence[TensorType], params: RollParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    if len(params.shifts) != len(params.axes):
        raise ShapeError(f"roll: {len(params.shifts)} shifts for {len(params.axes)} axes")
    if x.shape is not None:
        for axis in params.axes:
            normalize_axis("roll", axis, len(x.shape))
    return (x,)


ROLL: Contract[RollParams] = Contract(
    "roll", "Elements moved along axes; what leaves at the end comes back at the beginning.", _infer_roll, RollParams,
    tolerance=EXACT, hot=False,
    by_item=lambda inputs, params, items: 0 not in [a % len(inputs[0].dims) for a in params.axes],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CumulativeParams(Params):
    """``of``: what is accumulated along ``axis``. ``exclusive``: without the element itself. ``reverse``: from the end."""

    of: Literal["sum", "prod", "logsumexp"]
    axis: int = 0
    exclusive: bool = False
    reverse: bool = False


def _infer_cumulative(inputs: Sequence[TensorType], params: CumulativeParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    require_dtype("cumulative", "the input", x.dtype, FLOATS if params.of == "logsumexp" else NUMBERS)
    if x.shape is not None:
        normalize_axis("cumulative", params.axis, len(x.shape))
    return (x,)


CUMULATIVE: Contract[CumulativeParams] = Contract(
    "cumulative",
    "Running sums (products; logarithms of sums of exponentials, of nothing -inf) along an axis.",
    _infer_cumulative,
    CumulativeParams,
    flops=lambda inputs, outputs, params: (
        outputs[0].size * max(inputs[0].dims[params.axis], 1) if inputs[0].dims else 0
    ),
    tolerance=Tolerance(1e-5, 1e-6, scale_by_reduction=True),
    hot=False,
    by_item=lambda inputs, params, items: params.axis % len(inputs[0].dims) != 0,
)


@dataclass(frozen=True, slots=True)
class BandParams(Params):
    """Diagonals from ``low`` to ``high`` stay, counted from the main one (0) to the right; None: no limit."""

    low: int | None = None
    high: int | None = None


def _infer_band(inputs: Sequence[TensorType], params: BandParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    if x.shape is not None and len(x.shape) < 2:
        raise ShapeError(f"band: the input must have 2 axes or more, got {x}")
    return (x,)


BAND: Contract[BandParams] = Contract(
    "band", "Matrices of the last two axes with zeros outside of a band of diagonals.", _infer_band, BandParams, tolerance=EXACT,
    hot=False, by_item=lambda inputs, params, items: len(inputs[0].dims) > 2,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BucketizeParams(Params):
    """``boundaries`` in ascending order."""

    boundaries: tuple[float, ...]


def _infer_bucketize(inputs: Sequence[TensorType], params: BucketizeParams) -> tuple[TensorType, ...]:
    require_dtype("bucketize", "the input", inputs[0].dtype, FLOATS | INTEGERS)
    if any(not a <= b for a, b in zip(params.boundaries, params.boundaries[1:], strict=False)):
        raise ShapeError("bucketize: the boundaries must be in ascending order")
    return (TensorType(np.dtype(np.int32), inputs[0].shape),)


BUCKETIZE: Contract[BucketizeParams] = Contract(
    "bucketize", "How many boundaries are not above x (int32).", _infer_bucketize, BucketizeParams, tolerance=EXACT, hot=False,
    by_item=items_of_first,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UnravelIndexParams(Params):
    """``dims``: the shape that the numbers count in."""

    dims: tuple[int, ...]


def _infer_unravel(inputs: Sequence[TensorType], params: UnravelIndexParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    require_dtype("unravel_index", "the indices", x.dtype, INTEGERS)
    if any(d < 1 for d in params.dims) or not 0 < prod(params.dims) < 1 << 63:
        raise ShapeError(f"unravel_index: the sizes {params.dims} must be positive, with a product below 2 ** 63")
    if x.shape is not None and len(x.shape) > 1:
        raise ShapeError(f"unravel_index: takes a number or a vector of numbers, got {x}")
    return (TensorType(x.dtype, None if x.shape is None else (len(params.dims), *x.shape)),)


UNRAVEL_INDEX: Contract[UnravelIndexParams] = Contract(
    "unravel_index", "Positions in row-major order as one index for every axis; one out of range is an error.", _infer_unravel,
    UnravelIndexParams, tolerance=EXACT, hot=False,
)  # fmt: skip


def _infer_permutation(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    (x,) = inputs
    require_dtype("invert_permutation", "the input", x.dtype, INTEGERS)
    return (TensorType(x.dtype, require_rank("invert_permutation", "the input", x.shape, 1)),)


INVERT_PERMUTATION: Contract[Params] = Contract(
    "invert_permutation", "y[x[i]] = i; anything but a permutation of 0 to n - 1 is an error.", _infer_permutation,
    tolerance=EXACT, hot=False,
)  # fmt: skip


def _infer_l2_loss(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    require_dtype("l2_loss", "the input", inputs[0].dtype, FLOATS)
    return (TensorType(inputs[0].dtype, ()),)


L2_LOSS: Contract[Params] = Contract(
    "l2_loss", "The sum of all x ** 2 / 2.", _infer_l2_loss, flops=lambda inputs, outputs, params: 2 * inputs[0].size,
    tolerance=Tolerance(2e-6, 1e-6, scale_by_reduction=True), hot=False,
)  # fmt: skip
