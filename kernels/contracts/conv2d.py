"""2-D convolution and depthwise convolution on NHWC, with optional bias and activation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Dim, Params, TensorType
from .base import (
    Contract,
    Tolerance,
    merge_shapes,
    require_rank,
    shape_text,
    stored_dtype,
)
from .chains import MOST_OPERANDS, chain_items, check_chain
from .matmul import Activation

__all__ = [
    "CONV2D",
    "DEPTHWISE_CONV2D",
    "FAST_TOLERANCES",
    "Conv2DParams",
    "Padding",
    "explicit_padding",
    "require_reachable",
    "window_output",
]

#: The farthest that windows, strides, dilations and padding reach, so that every position is a 64-bit number.
_FARTHEST = 2**62

#: 'SAME', 'VALID' or explicit (top, bottom, left, right).
Padding = Literal["SAME", "VALID"] | tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Conv2DParams(Params):
    """Strides and dilations are (height, width). ``narrow``: the result is bfloat16 in memory. ``finish``: a chain of elementwise
    ops (contracts/chains.py) on the result; its operands follow the bias."""

    strides: tuple[int, int] = (1, 1)
    padding: Padding = "VALID"
    dilations: tuple[int, int] = (1, 1)
    activation: Activation = "none"
    narrow: bool = False
    finish: str = ""

    def __post_init__(self) -> None:
        if min(self.strides) < 1 or min(self.dilations) < 1:
            raise ShapeError(f"conv2d: strides {self.strides} and dilations {self.dilations} must be at least 1")
        if not isinstance(self.padding, str) and min(self.padding) < 0:
            raise ShapeError(f"conv2d: padding {self.padding} must not be negative")
        require_reachable("conv2d", strides=self.strides, dilations=self.dilations, padding=self.padding)


def require_reachable(op: str, **numbers: Padding | tuple[int, int]) -> None:
    """ShapeError for strides, dilations, paddings or windows beyond 2**62."""
    for what, values in numbers.items():
        if not isinstance(values, str) and max(values) > _FARTHEST:
            raise ShapeError(f"{op}: {what} {values} must be at most 2**62 = {_FARTHEST}")


def explicit_padding(
    padding: Padding,
    size: tuple[int, int],
    window: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int] = (1, 1),
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) for a spatial input ``size``; SAME puts the odd pixel at the bottom and right."""
    if padding == "VALID":
        return (0, 0, 0, 0)
    if padding != "SAME":
        return padding
    pads: list[int] = []
    for n, k, s, d in zip(size, window, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        pads += [total // 2, total - total // 2]
    return pads[0], pads[1], pads[2], pads[3]


def window_output(
    op: str,
    size: tuple[Dim, Dim],
    window: tuple[Dim, Dim],
    strides: tuple[int, int],
    padding: Padding,
    dilations: tuple[int, int] = (1, 1),
) -> tuple[Dim, Dim]:
    """Spatial output size of a sliding window."""
    result: list[Dim] = []
    for axis, (n, k, s, d) in enumerate(zip(size, window, strides, dilations, strict=True)):
        side = "height" if axis == 0 else "width"
        if k == 0:
            raise ShapeError(f"{op}: the window has no cells along its {side}; expected at least 1")
        before, after = (0, 0) if isinstance(padding, str) else padding[2 * axis : 2 * axis + 2]
        padded, extent = (n or 0) + int(before) + int(after), ((k or 1) - 1) * d + 1
        if max(padded, extent) > _FARTHEST:
            raise ShapeError(
                f"{op}: along the {side} a window of {extent} over {padded} (padding included) reaches beyond "
                f"2**62 = {_FARTHEST}"
            )
        if n is None or (k is None and padding != "SAME"):
            result.append(None)
        elif padding == "SAME":
            result.append(-(-n // s))
        else:
            if padded < extent:
                raise ShapeError(f"{op}: a window of {extent} does not fit into {side} {n} (with padding {padded})")
            result.append((padded - extent) // s + 1)
    return result[0], result[1]


def _infer_bias(op: str, inputs: Sequence[TensorType], channels: Dim) -> Dim:
    if len(inputs) < 3:
        return channels
    merged = merge_shapes(f"{op} bias", inputs[2].shape, (channels,))
    return merged[0] if merged else channels


def _infer_conv(inputs: Sequence[TensorType], params: Conv2DParams) -> tuple[TensorType, ...]:
    operands, inputs = inputs[3:], inputs[:3]
    dtype = stored_dtype("conv2d", inputs, params.narrow)
    n, h, w, cin = require_rank("conv2d", "the input (NHWC)", inputs[0].shape, 4)
    kh, kw, kin, cout = require_rank("conv2d", "the filter (height, width, in, out)", inputs[1].shape, 4)
    if cin is not None and kin is not None and cin != kin:
        raise ShapeError(
            f"conv2d: the input has {cin} channels {shape_text(inputs[0].shape)} but the filter takes {kin} "
            f"{shape_text(inputs[1].shape)}"
        )
    oh, ow = window_output("conv2d", (h, w), (kh, kw), params.strides, params.padding, params.dilations)
    output = TensorType(dtype, (n, oh, ow, _infer_bias("conv2d", inputs, cout)))
    check_chain("conv2d", params.finish, output, operands)
    return (output,)


def _infer_depthwise(inputs: Sequence[TensorType], params: Conv2DParams) -> tuple[TensorType, ...]:
    op = "depthwise_conv2d"
    operands, inputs = inputs[3:], inputs[:3]
    dtype = stored_dtype(op, inputs, params.narrow)
    n, h, w, cin = require_rank(op, "the input (NHWC)", inputs[0].shape, 4)
    kh, kw, kin, multiplier = require_rank(op, "the filter (height, width, in, multiplier)", inputs[1].shape, 4)
    (channels,) = merge_shapes(f"{op} channels", (cin,), (kin,)) or (None,)
    cout = None if channels is None or multiplier is None else channels * multiplier
    oh, ow = window_output(op, (h, w), (kh, kw), params.strides, params.padding, params.dilations)
    output = TensorType(dtype, (n, oh, ow, _infer_bias(op, inputs, cout)))
    check_chain(op, params.finish, output, operands)
    return (output,)


def _by_item(inputs: Sequence[TensorType], params: Conv2DParams, items: Collection[int]) -> bool:
    """x, and the operands of a chain that have a value for each image."""
    return set(items) == {0} | chain_items(inputs[0], inputs[3:], 3)


def _flops_conv(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: Conv2DParams) -> int:
    kh, kw, cin, _ = inputs[1].dims
    return 2 * outputs[0].size * kh * kw * cin


def _flops_depthwise(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: Conv2DParams) -> int:
    kh, kw, _, _ = inputs[1].dims
    return 2 * outputs[0].size * kh * kw


CONV2D: Contract[Conv2DParams] = Contract(
    "conv2d",
    """y[n, i, j, o] = activation(bias[o] + sum over u, v, c of x[n, i*sh + u*dh - top, j*sw + v*dw - left, c] * w[u, v, c, o]).

    x NHWC, w (height, width, in, out), optional bias (out,), y NHWC. Elements outside x are zeros that are multiplied like
    any other: a NaN or infinite weight makes every output NaN whose tap is over padding. It is cross-correlation: the
    filter is not flipped. SAME: output size ceil(size / stride), the odd pixel of padding at the bottom and right. Cin = 0
    gives activation(bias). FLOPs count padding taps as if they were computed. Strides, dilations, paddings and what they
    add up to reach to 2**62 at most; whatever they skip takes no time.

    With ``finish`` a chain of elementwise ops (contracts/chains.py) follows the activation, in y's dtype, and multiplies the error
    as it multiplies its input; the inputs are then x, w, bias and the chain's operands.

    x may be bfloat16 in memory with float32 weights and bias; the sums are float32 at least, and y is float32, or with
    ``narrow`` bfloat16, rounded once.

    A kernel may multiply less (Winograd, Cook-Toom) where the query allows it. It then computes outputs tile by tile with
    the larger error bounds of FAST_TOLERANCES, and a NaN or infinity in an input may reach all outputs of its tile. Weights
    that are not finite, or beyond 2**64 when they are transformed, are never computed so. In a session of a lower precision
    x and w may be rounded first (contracts/precisions.py).""",
    _infer_conv,
    Conv2DParams,
    arity=(2, 3 + MOST_OPERANDS),
    flops=_flops_conv,
    tolerance=Tolerance(1e-6, 2e-6, scale_by_reduction=True),
    by_item=_by_item,
)

#: Error bounds of the algorithms that multiply less, F(outputs, taps) of a tile along one axis, or along both with an x.
FAST_TOLERANCES: Mapping[str, Tolerance] = {
    "winograd_2x2_3x3": Tolerance(1e-6, 2e-6, scale_by_reduction=True),
    "winograd_4x4_3x3": Tolerance(1e-6, 5e-6, scale_by_reduction=True),
    "winograd_2x2_5x5": Tolerance(1e-6, 3e-6, scale_by_reduction=True),
    "winograd_4x4_5x5": Tolerance(1e-6, 1e-5, scale_by_reduction=True),
    "cook_toom_2_3": Tolerance(1e-6, 2e-6, scale_by_reduction=True),
    "cook_toom_4_3": Tolerance(1e-6, 3e-6, scale_by_reduction=True),
    "cook_toom_2_7": Tolerance(1e-6, 6e-6, scale_by_reduction=True),
    "cook_toom_4_7": Tolerance(1e-6, 1e-5, scale_by_reduction=True),
    "cook_toom_6_7": Tolerance(1e-6, 2e-5, scale_by_reduction=True),
}

DEPTHWISE_CONV2D: Contract[Conv2DParams] = Contract(
    "depthwise_conv2d",
    """y[n, i, j, c*m + q] = activation(bias[c*m + q] + sum over u, v of x[n, i*sh + u*dh - top, j*sw + v*dw - left, c] * w[u, v, c, q]).

    x NHWC, w (height, width, in, multiplier m), optional bias (in*m,), y NHWC. Padding, limits,
    ``finish`` and bfloat16 as in conv2d.""",
    _infer_depthwise,
    Conv2DParams,
    arity=(2, 3 + MOST_OPERANDS),
    flops=_flops_depthwise,
    tolerance=Tolerance(1e-6, 2e-6, scale_by_reduction=True),
    by_item=_by_item,
)
