"""Picking slices by an array of indices."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Params, TensorType
from .base import INTEGERS, Contract, Tolerance, merge_shapes, normalize_axis, require_dtype, shape_text

__all__ = ["GATHER", "GatherParams"]


@dataclass(frozen=True, slots=True)
class GatherParams(Params):
    """``axis`` of the first input that the indices count along.

    ``batch_dims``: number of leading axes that both inputs share, each item of them with its own indices; negative ones count
    from the rank of the indices.
    """

    axis: int = 0
    batch_dims: int = 0

    def batch(self, rank: int) -> int:
        """The number of common axes, for indices of this rank."""
        return self.batch_dims + rank if self.batch_dims < 0 else self.batch_dims


def _infer(inputs: Sequence[TensorType], params: GatherParams) -> tuple[TensorType, ...]:
    x, indices = inputs
    require_dtype("gather", "the indices", indices.dtype, INTEGERS)
    if x.shape is None or indices.shape is None:
        return (TensorType(x.dtype),)
    axis = normalize_axis("gather", params.axis, len(x.shape))
    batch = params.batch(len(indices.shape))
    if not 0 <= batch <= min(axis, len(indices.shape)):
        raise ShapeError(
            f"gather: batch_dims {params.batch_dims} is out of range for indices of shape {shape_text(indices.shape)} "
            f"and axis {axis} of {shape_text(x.shape)}; expected 0 to {min(axis, len(indices.shape))}"
        )
    common = merge_shapes("gather, batch axes", x.shape[:batch], indices.shape[:batch]) or ()
    return (TensorType(x.dtype, common + x.shape[batch:axis] + indices.shape[batch:] + x.shape[axis + 1 :]),)


GATHER: Contract[GatherParams] = Contract(
    "gather",
    "Slices of x along an axis, picked by an array of indices; an index out of range is an error.",
    _infer,
    GatherParams,
    arity=(2, 2),
    tolerance=Tolerance(0, 0),
    hot=False,
)
