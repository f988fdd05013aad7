"""Max and average pooling on NHWC."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import BFLOAT16, Params, TensorType
from .base import (
    FLOATS,
    INTEGERS,
    Contract,
    Tolerance,
    items_of_first,
    merge_shapes,
    require_dtype,
    require_rank,
    require_same_dtype,
    shape_text,
    stored_dtype,
)
from .conv2d import Padding, require_reachable, window_output
from .matmul import Activation

__all__ = ["AVG_POOL2D", "MAX_POOL2D", "Pool2DParams"]


@dataclass(frozen=True, slots=True)
class Pool2DParams(Params):
    """Window and strides are (height, width). ``count_include_pad`` and ``activation`` are for averages only."""

    window: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "VALID"
    count_include_pad: bool = False
    activation: Activation = "none"

    def __post_init__(self) -> None:
        if min(self.window) < 1 or min(self.strides) < 1:
            raise ShapeError(f"pool2d: window {self.window} and strides {self.strides} must be at least 1")
        require_reachable("pool2d", window=self.window, strides=self.strides)
        if not isinstance(self.padding, str) and any(
            p < 0 or p >= self.window[i // 2] for i, p in enumerate(self.padding)
        ):
            raise ShapeError(
                f"pool2d: padding {self.padding} must be at least 0 and less than the window {self.window}"
            )


def _infer(op: str, inputs: Sequence[TensorType], params: Pool2DParams) -> tuple[TensorType, ...]:
    stored = inputs[0].dtype == BFLOAT16
    if not stored:
        require_dtype(op, "the input", inputs[0].dtype, FLOATS | INTEGERS if op == "max_pool2d" else FLOATS)
    n, h, w, c = require_rank(op, "the input (NHWC)", inputs[0].shape, 4)
    if op == "max_pool2d" and params.activation != "none":
        raise ShapeError(f"{op} has no activation, got {params.activation!r}")
    if len(inputs) > 1:
        (stored_dtype if stored else require_same_dtype)(op, inputs)
        (c,) = merge_shapes(f"{op} bias", inputs[1].shape, (c,)) or (c,)
    oh, ow = window_output(op, (h, w), params.window, params.strides, params.padding)
    if 0 in (h, w) and 0 not in (oh, ow):
        raise ShapeError(
            f"{op}: the input {shape_text(inputs[0].shape)} has no pixels, so windows are wholly in padding"
        )
    return (TensorType(inputs[0].dtype, (n, oh, ow, c)),)


def _flops(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: Pool2DParams) -> int:
    return outputs[0].size * params.window[0] * params.window[1]


MAX_POOL2D: Contract[Pool2DParams] = Contract(
    "max_pool2d",
    """y[n, i, j, c] = max of x[n, i*sh - top + u, j*sw - left + v, c] over the window's cells inside x.

    NHWC. Padding never wins. A NaN in the window gives NaN. Of zeros of both signs either may be the result. Every window
    has a cell inside x. Windows and strides reach to 2**62 at most, whatever x has; cells outside take no time.
    x and y may both be bfloat16 in memory.""",
    partial(_infer, "max_pool2d"),
    Pool2DParams,
    flops=_flops,
    tolerance=Tolerance(0, 0),
    by_item=items_of_first,
)

AVG_POOL2D: Contract[Pool2DParams] = Contract(
    "avg_pool2d",
    """y[n, i, j, c] = activation(bias[c] + mean of x[n, i*sh - top + u, j*sw - left + v, c] over the window).

    NHWC, optional bias (c,). Cells outside x count as zero; they count in the divisor only with count_include_pad (then
    the divisor is the window's area, clipped to the padded extent). The bias is added after the division. Every window has
    a cell inside x, so no divisor is 0. Limits as in max_pool2d. x and y may both be bfloat16 in
    memory: the bias and the sums are float32 then.""",
    partial(_infer, "avg_pool2d"),
    Pool2DParams,
    arity=(1, 2),
    flops=_flops,
    by_item=items_of_first,
)
