"""Softmax and its logarithm along one axis."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..records import dataclass
from ..tensor import Params, TensorType
from .base import FLOATS, Contract, Tolerance, normalize_axis, require_dtype

__all__ = ["LOG_SOFTMAX", "SOFTMAX", "SoftmaxParams"]


@dataclass(frozen=True, slots=True)
class SoftmaxParams(Params):
    """``axis`` along which the results sum to 1."""

    axis: int = -1


def _contract(name: str, formula: str) -> Contract[SoftmaxParams]:
    def infer(inputs: Sequence[TensorType], params: SoftmaxParams) -> tuple[TensorType, ...]:
        require_dtype(name, "the input", inputs[0].dtype, FLOATS)
        if inputs[0].shape is not None:
            normalize_axis(name, params.axis, len(inputs[0].shape))
        return (inputs[0],)

    def by_item(inputs: Sequence[TensorType], params: SoftmaxParams, items: Collection[int]) -> bool:
        return normalize_axis(name, params.axis, len(inputs[0].dims)) > 0

    return Contract(
        name,
        f"y = {formula} along the axis, computed after subtracting the largest value. A NaN makes its whole line NaN.",
        infer,
        SoftmaxParams,
        inplace=True,
        flops=lambda inputs, outputs, params: 4 * outputs[0].size,
        tolerance=Tolerance(4e-6, 1e-6),
        by_item=by_item,
    )


SOFTMAX = _contract("softmax", "e ** x / sum(e ** x)")
LOG_SOFTMAX = _contract("log_softmax", "x - log(sum(e ** x))")
