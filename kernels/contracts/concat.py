"""Concatenation along one axis."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Dim, Params, TensorType
from .base import Contract, Tolerance, merge_shapes, normalize_axis, require_same_dtype, shape_text

__all__ = ["CONCAT", "ConcatParams"]


@dataclass(frozen=True, slots=True)
class ConcatParams(Params):
    """``axis``: where the inputs are joined; negative counts from the end."""

    axis: int


def _infer(inputs: Sequence[TensorType], params: ConcatParams) -> tuple[TensorType, ...]:
    dtype = require_same_dtype("concat", inputs)
    known = [t.shape for t in inputs if t.shape is not None]
    if not known:
        return (TensorType(dtype),)
    axis = normalize_axis("concat", params.axis, len(known[0]))
    total: Dim = 0 if len(known) == len(inputs) else None
    merged = known[0]
    for shape in known:
        if len(shape) != len(merged):
            raise ShapeError(f"concat: ranks differ: {shape_text(known[0])} and {shape_text(shape)}")
        total = None if total is None or shape[axis] is None else total + (shape[axis] or 0)
        hidden = (*shape[:axis], None, *shape[axis + 1 :])
        merged = (
            merge_shapes(f"concat along axis {axis}", (*merged[:axis], None, *merged[axis + 1 :]), hidden) or merged
        )
    return (TensorType(dtype, (*merged[:axis], total, *merged[axis + 1 :])),)


def _by_item(inputs: Sequence[TensorType], params: ConcatParams, items: Collection[int]) -> bool:
    return len(items) == len(inputs) and normalize_axis("concat", params.axis, len(inputs[0].dims)) > 0


CONCAT: Contract[ConcatParams] = Contract(
    "concat",
    "The inputs one after the other along the axis; all other sizes and the dtype are equal. In a plan most concats cost nothing: "
    "their inputs are written straight into slices of the output.",
    _infer,
    ConcatParams,
    arity=(1, None),
    tolerance=Tolerance(0, 0),
    by_item=_by_item,
)
