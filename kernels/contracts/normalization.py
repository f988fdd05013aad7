"""bias_add and batch normalisation with given statistics (inference)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..errors import ShapeError
from ..tensor import Params, TensorType
from .base import (
    FLOATS,
    NUMBERS,
    Contract,
    Tolerance,
    items_of_first,
    merge_shapes,
    require_dtype,
    require_same_dtype,
    shape_text,
)

__all__ = ["BATCH_NORM", "BIAS_ADD", "BatchNormParams"]


@dataclass(frozen=True, slots=True)
class BatchNormParams(Params):
    """``epsilon``: added to the variance."""

    epsilon: float = 1e-3


def _infer_channels(op: str, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
    dtype = require_same_dtype(op, inputs)
    x = inputs[0].shape
    if x is None:
        return (TensorType(dtype),)
    if not x:
        raise ShapeError(f"{op}: the input must have a last axis of channels, got a scalar")
    channels = x[-1:]
    for i, t in enumerate(inputs[1:], 1):
        try:
            channels = merge_shapes(op, channels, t.shape) or channels
        except ShapeError:
            raise ShapeError(
                f"{op}: input {i} must have shape ({channels[0]},) for an input of shape {shape_text(x)}, got {shape_text(t.shape)}"
            ) from None
    return (TensorType(dtype, (*x[:-1], *channels)),)


def _infer_bias(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    require_dtype("bias_add", "the input", inputs[0].dtype, NUMBERS)
    return _infer_channels("bias_add", inputs)


def _infer_norm(inputs: Sequence[TensorType], params: BatchNormParams) -> tuple[TensorType, ...]:
    require_dtype("batch_norm", "the input", inputs[0].dtype, FLOATS)
    return _infer_channels("batch_norm", inputs)


def _by_item(inputs: Sequence[TensorType], params: Params, items: Collection[int]) -> bool:
    return items_of_first(inputs, params, items) and len(inputs[0].dims) > 1


BIAS_ADD: Contract[Params] = Contract(
    "bias_add",
    "y[..., c] = x[..., c] + b[c]; x of any rank >= 1, b (C,).",
    _infer_bias,
    arity=(2, 2),
    inplace=True,
    flops=lambda inputs, outputs, params: outputs[0].size,
    tolerance=Tolerance(0, 0),
    by_item=_by_item,
)

BATCH_NORM: Contract[BatchNormParams] = Contract(
    "batch_norm",
    """y[..., c] = (x[..., c] - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + offset[c].

    Inputs x, mean, variance, offset and optionally scale (1 if absent); x of any rank >= 1 with channels last, the
    others (C,).""",
    _infer_norm,
    BatchNormParams,
    arity=(4, 5),
    inplace=True,
    flops=lambda inputs, outputs, params: 2 * outputs[0].size,
    tolerance=Tolerance(4e-6, 4e-6),
    by_item=_by_item,
)
