"""Reductions over axes, argmax/argmin, top_k."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import BFLOAT16, DType, Params, TensorType
from .base import FLOATS, INTEGERS, NUMBERS, Contract, Tolerance, normalize_axis, require_dtype, shape_text

__all__ = [
    "ARGMAX",
    "ARGMIN",
    "REDUCE_ALL",
    "REDUCE_ANY",
    "REDUCE_MAX",
    "REDUCE_MEAN",
    "REDUCE_MIN",
    "REDUCE_PROD",
    "REDUCE_SUM",
    "REDUCTIONS",
    "TOP_K",
    "ArgParams",
    "IndexType",
    "ReduceParams",
    "TopKParams",
]


#: Element types that indices may have. A narrow one wraps where an axis is longer than it can count, as in TensorFlow.
IndexType = Literal["int16", "uint16", "int32", "int64"]


@dataclass(frozen=True, slots=True)
class ReduceParams(Params):
    """``axes``: axes to reduce, negative ones count from the end; None = all. ``keepdims``: they stay with size 1."""

    axes: tuple[int, ...] | None = None
    keepdims: bool = False

    def normalized(self, rank: int) -> tuple[int, ...]:
        """The axes as sorted non-negative numbers."""
        if self.axes is None:
            return tuple(range(rank))
        axes = sorted(normalize_axis("reduce", a, rank) for a in self.axes)
        if len(set(axes)) != len(axes):
            raise ShapeError(f"reduce: axes {self.axes} name an axis twice")
        return tuple(axes)


def _reduction(
    name: str, formula: str, dtypes: frozenset[DType], tolerance: Tolerance, *, hot: bool = True
) -> Contract[ReduceParams]:
    def infer(inputs: Sequence[TensorType], params: ReduceParams) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype == BFLOAT16 and name == "reduce_mean":
            x = TensorType(np.dtype(np.float32), x.shape)
        require_dtype(name, "the input", x.dtype, dtypes)
        if x.shape is None:
            return (TensorType(x.dtype, () if params.axes is None and not params.keepdims else None),)
        axes = params.normalized(len(x.shape))
        shape = tuple(1 if i in axes else d for i, d in enumerate(x.shape) if params.keepdims or i not in axes)
        return (TensorType(x.dtype, shape),)

    def by_item(inputs: Sequence[TensorType], params: ReduceParams, items: Collection[int]) -> bool:
        return 0 not in params.normalized(len(inputs[0].dims))

    return Contract(
        name,
        f"y = {formula} over the given axes; an empty list of axes copies. NaN in gives NaN out.",
        infer,
        ReduceParams,
        flops=lambda inputs, outputs, params: inputs[0].size,
        tolerance=tolerance,
        hot=hot,
        by_item=by_item,
    )


REALS = FLOATS | INTEGERS
_BOOL = frozenset([np.dtype(bool)])
_SUM = Tolerance(2e-6, 1e-6, scale_by_reduction=True)
REDUCE_SUM = _reduction("reduce_sum", "sum (0 for no elements; integers wrap)", NUMBERS, _SUM)
REDUCE_MEAN = _reduction("reduce_mean", "mean (NaN for no elements; float32 of bfloat16)", FLOATS, _SUM)
REDUCE_MAX = _reduction("reduce_max", "largest value (lowest of the type for no elements)", REALS, Tolerance(0, 0))
REDUCE_MIN = _reduction("reduce_min", "smallest value (highest of the type for no elements)", REALS, Tolerance(0, 0))
REDUCE_PROD = _reduction("reduce_prod", "product (1 for no elements)", NUMBERS, Tolerance(1e-5, 1e-6), hot=False)
REDUCE_ALL = _reduction("reduce_all", "logical and (True for no elements)", _BOOL, Tolerance(0, 0), hot=False)
REDUCE_ANY = _reduction("reduce_any", "logical or (False for no elements)", _BOOL, Tolerance(0, 0), hot=False)
REDUCTIONS = (REDUCE_SUM, REDUCE_MEAN, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD, REDUCE_ALL, REDUCE_ANY)


@dataclass(frozen=True, slots=True)
class ArgParams(Params):
    """``axis`` to search along; ``output``: element type of the indices."""

    axis: int = 0
    output: IndexType = "int64"


def _argument(name: str, what: str) -> Contract[ArgParams]:
    def infer(inputs: Sequence[TensorType], params: ArgParams) -> tuple[TensorType, ...]:
        (x,) = inputs
        require_dtype(name, "the input", x.dtype, REALS | _BOOL)
        dtype = np.dtype(params.output)
        if x.shape is None:
            return (TensorType(dtype),)
        axis = normalize_axis(name, params.axis, len(x.shape))
        if x.shape[axis] == 0:
            raise ShapeError(f"{name}: axis {axis} of {shape_text(x.shape)} is empty")
        return (TensorType(dtype, x.shape[:axis] + x.shape[axis + 1 :]),)

    return Contract(
        name, f"Index of the {what} value along one axis; the first of equals; a NaN wins.", infer, ArgParams, hot=False
    )


ARGMAX = _argument("argmax", "largest")
ARGMIN = _argument("argmin", "smallest")


@dataclass(frozen=True, slots=True)
class TopKParams(Params):
    """``k``: how many values of the last axis. ``index``: element type of the indices."""

    k: int = 1
    index: IndexType = "int32"


def _infer_top_k(inputs: Sequence[TensorType], params: TopKParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    require_dtype("top_k", "the input", x.dtype, REALS)
    if params.k < 0:
        raise ShapeError(f"top_k: k must not be negative, got {params.k}")
    if x.shape is None:
        return TensorType(x.dtype), TensorType(np.dtype(params.index))
    if not x.shape or (x.shape[-1] is not None and x.shape[-1] < params.k):
        raise ShapeError(f"top_k: the last axis of {shape_text(x.shape)} must have at least k = {params.k} elements")
    shape = (*x.shape[:-1], params.k)
    return TensorType(x.dtype, shape), TensorType(np.dtype(params.index), shape)


TOP_K: Contract[TopKParams] = Contract(
    "top_k",
    "The k largest values along the last axis in descending order, and their indices; of equals the lower index first.",
    _infer_top_k,
    TopKParams,
    hot=False,
)
