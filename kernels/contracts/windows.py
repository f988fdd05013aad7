"""Windows over images (NHWC) that are neither convolutions nor plain pools: max with its place, dilation, patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import Dim, DType, Params, TensorType
from .base import (
    FLOATS,
    INTEGERS,
    Contract,
    Tolerance,
    items_of_first,
    require_dtype,
    require_rank,
    require_same_dtype,
    shape_text,
)
from .conv2d import require_reachable, window_output

__all__ = ["DILATION2D", "EXTRACT_PATCHES", "MAX_POOL_ARGMAX", "ArgmaxParams", "WindowParams"]

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class WindowParams(Params):
    """Pairs are (height, width). ``window``: 1x1 for dilation2d, which has that of its filter."""

    window: Pair = (1, 1)
    strides: Pair = (1, 1)
    rates: Pair = (1, 1)
    padding: Literal["SAME", "VALID"] = "VALID"

    def __post_init__(self) -> None:
        if min(*self.window, *self.strides, *self.rates) < 1:
            raise ShapeError(
                f"windows: window {self.window}, strides {self.strides} and rates {self.rates} must be at least 1"
            )
        require_reachable("windows", window=self.window, strides=self.strides, rates=self.rates)


@dataclass(frozen=True, slots=True)
class ArgmaxParams(Params):
    """``by_batch``: places count images, too. ``dtype`` of the places, int32 or int64."""

    window: WindowParams
    by_batch: bool = False
    dtype: DType = np.dtype(np.int64)

    def __post_init__(self) -> None:
        if self.dtype not in (np.int32, np.int64):
            raise DTypeError(f"max_pool_argmax: places are int32 or int64, got {self.dtype}")


def _places(op: str, x: TensorType, window: tuple[Dim, Dim], params: WindowParams) -> tuple[Dim, Dim, Dim, Dim]:
    n, h, w, c = require_rank(op, "the input (NHWC)", x.shape, 4)
    oh, ow = window_output(op, (h, w), window, params.strides, params.padding, params.rates)
    if 0 in (h, w) and 0 not in (oh, ow):
        raise ShapeError(f"{op}: the input {shape_text(x.shape)} has no pixels, so windows are wholly in padding")
    return n, oh, ow, c


def _infer_argmax(inputs: Sequence[TensorType], params: ArgmaxParams) -> tuple[TensorType, ...]:
    op = "max_pool_argmax"
    (x,) = inputs
    require_dtype(op, "the input", x.dtype, FLOATS | INTEGERS)
    shape = _places(op, x, params.window.window, params.window)
    if x.known and params.dtype == np.int32 and x.size > 2**31:
        raise ShapeError(f"{op}: {x} has places that int32 does not hold; take Targmax int64")
    return TensorType(x.dtype, shape), TensorType(params.dtype, shape)


MAX_POOL_ARGMAX: Contract[ArgmaxParams] = Contract(
    "max_pool_argmax",
    """The largest cell of each window inside x, per channel, and its place (row * width + column) * C + c in the image.

    Of equal cells the first, row by row. As in TensorFlow a NaN wins only where it is the first cell.""",
    _infer_argmax, ArgmaxParams, tolerance=Tolerance(0, 0), hot=False,
    flops=lambda inputs, outputs, params: outputs[0].size * params.window.window[0] * params.window.window[1],
)  # fmt: skip


def _infer_dilation(inputs: Sequence[TensorType], params: WindowParams) -> tuple[TensorType, ...]:
    op = "dilation2d"
    dtype = require_same_dtype(op, inputs)
    require_dtype(op, "the input", dtype, FLOATS | INTEGERS)
    kh, kw, depth = require_rank(op, "the filter (height, width, C)", inputs[1].shape, 3)
    n, oh, ow, c = _places(op, inputs[0], (kh, kw), params)
    if c is not None and depth is not None and c != depth:
        raise ShapeError(f"{op}: the input has {c} channels, the filter {depth}")
    return (TensorType(dtype, (n, oh, ow, depth if c is None else c)),)


DILATION2D: Contract[WindowParams] = Contract(
    "dilation2d",
    """y[n, i, j, c] = max over u, v of x[n, i*sh + u*rh - top, j*sw + v*rw - left, c] + w[u, v, c].

    x NHWC, w (height, width, C). Cells outside x and NaN never win; without any other cell the lowest number.""",
    _infer_dilation, WindowParams, arity=(2, 2), tolerance=Tolerance(0, 0), hot=False, by_item=items_of_first,
    flops=lambda inputs, outputs, params: 2 * outputs[0].size * inputs[1].dims[0] * inputs[1].dims[1],
)  # fmt: skip


def _infer_patches(inputs: Sequence[TensorType], params: WindowParams) -> tuple[TensorType, ...]:
    n, oh, ow, c = _places("extract_patches", inputs[0], params.window, params)
    area = params.window[0] * params.window[1]
    return (TensorType(inputs[0].dtype, (n, oh, ow, None if c is None else c * area)),)


EXTRACT_PATCHES: Contract[WindowParams] = Contract(
    "extract_patches",
    "y[n, i, j, (u * width + v) * C + c] = x[n, i*sh + u*rh - top, j*sw + v*rw - left, c], 0 outside; NHWC.",
    _infer_patches, WindowParams, tolerance=Tolerance(0, 0), hot=False, by_item=items_of_first,
)  # fmt: skip
