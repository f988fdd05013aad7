"""bias_add, batch normalisation with given statistics (inference) or the batch's own, local response normalisation."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import Params, TensorType
from .base import (
    FLOATS,
    NUMBERS,
    Contract,
    Tolerance,
    items_of_first,
    merge_shapes,
    require_dtype,
    require_rank,
    require_same_dtype,
    shape_text,
)

__all__ = [
    "BATCH_NORM", "BATCH_NORM_STATISTICS", "BIAS_ADD", "LRN", "BatchNormParams", "BatchStatisticsParams", "LRNParams",
]  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class LRNParams(Params):
    """``depth_radius``: channels on either side that are summed, from 0 to 2**31 - 2 as in TensorFlow."""

    depth_radius: int = 5
    bias: float = 1.0
    alpha: float = 1.0
    beta: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.depth_radius < 2**31 - 1:
            raise ShapeError(f"lrn: depth_radius is {self.depth_radius}; expected 0 to {2**31 - 2}")

    def reach(self, channels: int) -> int:
        """The radius as far as there are channels."""
        return max(min(self.depth_radius, channels - 1), 0)


def _infer_lrn(inputs: Sequence[TensorType], params: LRNParams) -> tuple[TensorType, ...]:
    require_dtype("lrn", "the input", inputs[0].dtype, FLOATS)
    return (TensorType(inputs[0].dtype, require_rank("lrn", "the input (NHWC)", inputs[0].shape, 4)),)


LRN: Contract[LRNParams] = Contract(
    "lrn",
    """y[..., c] = x[..., c] * n[..., c] ** -beta with n[..., c] = bias + alpha * sum over |j - c| <= depth_radius of x[..., j] ** 2.

    NHWC. n ** -beta is 1 / n if beta is 1, else e ** (-beta * log(n)): NaN for n < 0, and for beta = 0 if n is 0 or infinite.
    A NaN or infinity in x reaches the channels whose sum has it, and no others.""",
    _infer_lrn,
    LRNParams,
    flops=lambda inputs, outputs, params: outputs[0].size * (2 * params.reach(outputs[0].dims[-1]) + 6),
    tolerance=Tolerance(6e-6, 2e-6),
    by_item=items_of_first,
)


@dataclass(frozen=True, slots=True)
class BatchStatisticsParams(Params):
    """``epsilon``: added to the variance. ``factor``: share of the batch in the running statistics, 1: the batch alone."""

    epsilon: float = 1e-3
    factor: float = 1.0


def _infer_statistics(inputs: Sequence[TensorType], params: BatchStatisticsParams) -> tuple[TensorType, ...]:
    op = "batch_norm_statistics"
    x, running = inputs[0], inputs[3:]
    require_dtype(op, "the input", x.dtype, FLOATS)
    dtype = require_same_dtype(op, inputs[1:])
    if dtype not in (x.dtype, np.float32):
        raise DTypeError(f"{op}: scale and statistics must be float32 or {x.dtype}, got {dtype}")
    if len(running) != (0 if params.factor == 1 else 2):
        raise ShapeError(
            f"{op}: takes running statistics where factor is not 1, and only there; factor is {params.factor}"
        )
    shape = x.shape
    if shape is not None and not shape:
        raise ShapeError(f"{op}: the input must have a last axis of channels, got a scalar")
    channels = None if shape is None else shape[-1:]
    for t in inputs[1:]:
        channels = merge_shapes(f"{op}: channels", channels, require_rank(op, "every other input", t.shape, 1))
    whole = None if shape is None or channels is None else (*shape[:-1], *channels)
    return (TensorType(x.dtype, whole), *[TensorType(dtype, channels)] * 4)


BATCH_NORM_STATISTICS: Contract[BatchStatisticsParams] = Contract(
    "batch_norm_statistics",
    """y[..., c] = (x[..., c] - m[c]) / sqrt(v[c] + epsilon) * scale[c] + offset[c] with the mean m and variance v of x itself.

    Inputs x of any rank >= 1 with channels last, scale, offset (C,), and for factor f other than 1 the running mean and
    variance. Results y, running mean (1 - f) * old + f * m, running variance, which counts v * n / (n - 1), then m and v.""",
    _infer_statistics,
    BatchStatisticsParams,
    arity=(3, 5),
    hot=False,
    flops=lambda inputs, outputs, params: 6 * outputs[0].size,
    tolerance=Tolerance(1e-5, 1e-5),
)
