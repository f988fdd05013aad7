"""Windows over volumes (N, depth, height, width, C): convolution, its gradient by its input, max and average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Literal

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Dim, Params, TensorType
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
)
from .conv2d import explicit_padding, require_reachable, window_output

__all__ = ["AVG_POOL3D", "CONV3D", "CONV3D_INPUT_GRAD", "MAX_POOL3D", "Conv3DGradParams", "VolumeParams"]

Three = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class VolumeParams(Params):
    """Triples are (depth, height, width). ``window``: of a pool, of a convolution that of its filter (1, 1, 1 here)."""

    window: Three = (1, 1, 1)
    strides: Three = (1, 1, 1)
    padding: Literal["SAME", "VALID"] = "VALID"
    dilations: Three = (1, 1, 1)

    def __post_init__(self) -> None:
        if min(*self.window, *self.strides, *self.dilations) < 1:
            raise ShapeError(
                f"windows: window {self.window}, strides {self.strides} and dilations {self.dilations} must be at least 1"
            )
        for triple in (self.window, self.strides, self.dilations):
            require_reachable("windows", sizes=triple[:2])
            require_reachable("windows", sizes=triple[1:])

    def before(self, size: Sequence[int], window: Sequence[int]) -> list[int]:
        """The padding before each axis."""
        return [
            explicit_padding(self.padding, (n, n), (k, k), (s, s), (d, d))[0]
            for n, k, s, d in zip(size, window, self.strides, self.dilations, strict=True)
        ]


def _output(op: str, size: Sequence[Dim], window: Sequence[Dim], params: VolumeParams) -> list[Dim]:
    axes = zip(size, window, params.strides, params.dilations, strict=True)
    return [window_output(op, (n, n), (k, k), (s, s), params.padding, (d, d))[0] for n, k, s, d in axes]


def _infer_conv(inputs: Sequence[TensorType], params: VolumeParams) -> tuple[TensorType, ...]:
    dtype = require_same_dtype("conv3d", inputs)
    require_dtype("conv3d", "the input", dtype, FLOATS)
    n, *size, cin = require_rank("conv3d", "the input (N, depth, height, width, C)", inputs[0].shape, 5)
    *window, kin, cout = require_rank("conv3d", "the filter (depth, height, width, in, out)", inputs[1].shape, 5)
    if cin is not None and kin is not None and cin != kin:
        raise ShapeError(
            f"conv3d: the input has {cin} channels {shape_text(inputs[0].shape)} but the filter takes {kin}"
        )
    return (TensorType(dtype, (n, *_output("conv3d", size, window, params), cout)),)


def _flops_conv(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: VolumeParams) -> int:
    return 2 * outputs[0].size * prod(inputs[1].dims[:4])


CONV3D: Contract[VolumeParams] = Contract(
    "conv3d",
    """y[n, z, i, j, o] = sum over t, u, v, c of x[n, z*sd + t*dd - front, i*sh + u*dh - top, j*sw + v*dw - left, c] * w[t, u, v, c, o].

    x (N, depth, height, width, in), w (depth, height, width, in, out). Cells outside x are not read. SAME as in conv2d.""",
    _infer_conv, VolumeParams, arity=(2, 2), flops=_flops_conv, hot=False, by_item=items_of_first,
    tolerance=Tolerance(2e-6, 1e-5, scale_by_reduction=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conv3DGradParams(Params):
    """``forward``: the convolution's own parameters. ``shape``: that of its input."""

    forward: VolumeParams
    shape: tuple[int, int, int, int, int]


def _infer_grad(inputs: Sequence[TensorType], params: Conv3DGradParams) -> tuple[TensorType, ...]:
    op = "conv3d_input_grad"
    dtype = require_same_dtype(op, inputs)
    require_dtype(op, "each input", dtype, FLOATS)
    dy = require_rank(op, "dy", inputs[1].shape, 5)
    wanted = TensorType(dtype, params.shape)
    if min(params.shape) < 0:
        raise ShapeError(f"{op}: the result would have shape {params.shape}; no size can be negative")
    (y,) = _infer_conv([wanted, inputs[0]], params.forward)
    merge_shapes(f"{op}: dy against the forward result", y.shape, dy)
    return (wanted,)


def _flops_grad(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: Conv3DGradParams) -> int:
    return 2 * inputs[1].size * prod(inputs[0].dims[:4])


CONV3D_INPUT_GRAD: Contract[Conv3DGradParams] = Contract(
    "conv3d_input_grad",
    """Transposed convolution: what each dy was made of gets its share back.

    Inputs: the filter of conv3d, dy. Result of ``params.shape``.""",
    _infer_grad, Conv3DGradParams, arity=(2, 2), flops=_flops_grad, hot=False,
    tolerance=Tolerance(2e-6, 1e-5, scale_by_reduction=True),
)  # fmt: skip


def _infer_pool(op: str, inputs: Sequence[TensorType], params: VolumeParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    require_dtype(op, "the input", x.dtype, FLOATS | INTEGERS if op == "max_pool3d" else FLOATS)
    n, *size, c = require_rank(op, "the input (N, depth, height, width, C)", x.shape, 5)
    out = _output(op, size, params.window, params)
    if 0 in size and 0 not in out:
        raise ShapeError(f"{op}: the input {shape_text(x.shape)} has no cells, so windows are wholly in padding")
    return (TensorType(x.dtype, (n, *out, c)),)


def _flops_pool(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: VolumeParams) -> int:
    return outputs[0].size * prod(params.window)


MAX_POOL3D: Contract[VolumeParams] = Contract(
    "max_pool3d", "The largest cell of each window inside x, per channel. A NaN in the window gives NaN.",
    partial(_infer_pool, "max_pool3d"), VolumeParams, flops=_flops_pool, hot=False, tolerance=Tolerance(0, 0),
    by_item=items_of_first,
)  # fmt: skip

AVG_POOL3D: Contract[VolumeParams] = Contract(
    "avg_pool3d", "The mean of the cells of each window inside x, per channel.",
    partial(_infer_pool, "avg_pool3d"), VolumeParams, flops=_flops_pool, hot=False, by_item=items_of_first,
)  # fmt: skip
