"""Operators on int8 and uint8 tensors that stand for reals, in these integers: what XNNPACK's kernels compute.

A converter returns None for a use that has no integer op; it goes on in numbers of steps (quantization.py) or in reals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....kernels.tensor import DType
from ...builder import Tensor
from .build import Build, Use
from .constants import KINDS, Change, Constant
from .quantization import bounded
from .windows import BOUNDS, padding, strides

__all__ = ["INTEGERS", "MOVED", "Grid", "grid_of"]

#: Numbers of element types.
_INT32 = 2
_INT8, _UINT8 = np.dtype(np.int8), np.dtype(np.uint8)
#: Operators that only move elements, with ops that take integers of a byte. Their converters serve integers and reals alike.
_MOVED = """
    RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE SLICE STRIDED_SLICE SPLIT SPLIT_V PACK UNPACK GATHER GATHER_ND TILE MIRROR_PAD PADV2
    BROADCAST_TO REVERSE_V2 REVERSE_SEQUENCE SPACE_TO_DEPTH DEPTH_TO_SPACE BATCH_TO_SPACE_ND RESIZE_NEAREST_NEIGHBOR
    EMBEDDING_LOOKUP
"""
MOVED = frozenset(_MOVED.split())

Attrs = dict[str, Any]
Made = Callable[[Use], Tensor | None]


@dataclass(frozen=True, slots=True)
class Grid:
    """Scale and zero point of a tensor of int8 or uint8."""

    scale: np.float32
    zero: int
    dtype: DType
    #: Bounds of a result, with a fused activation.
    low: int
    high: int

    @property
    def result(self) -> Attrs:
        """Attributes of an op whose result it is."""
        return {"y_zero": self.zero, "low": self.low, "high": self.high, "out_type": self.dtype}


def grid_of(build: Build, index: int, activation: tuple[float, float] = (-math.inf, math.inf)) -> Grid | None:
    """The grid of a computed or constant tensor with one scale, None if it has no integers of a byte."""
    if not build.byte_grid(index):
        return None
    q, dtype = build.grid(index), KINDS[build.tensor(index).kind]
    zero = int(q.zero_point[0])
    low, high = bounded(q, dtype, *activation)
    if low > high:
        return None
    return Grid(np.float32(q.scale[0]), zero, dtype, int(low) + zero, int(high) + zero)


def _grids(use: Use, inputs: tuple[int, ...], activation: int = 0) -> tuple[Grid, ...] | None:
    """Those of inputs and then of the result, None if one has none."""
    if activation not in BOUNDS:
        return None
    given = [grid_of(use.build, use.index(i)) for i in inputs]
    given.append(grid_of(use.build, use.operator.outputs[0], BOUNDS[activation]))
    found = tuple(g for g in given if g is not None)
    return found if len(found) == len(given) else None


def _factor(*scales: np.float32) -> float | None:
    """first * ... / last in float32; None if float32 does not hold it."""
    with np.errstate(over="ignore", under="ignore"):
        product = np.float32(1)
        for scale in scales[:-1]:
            product = np.float32(product * scale)
        found = float(np.float32(product / scales[-1]))
    return found if math.isfinite(found) else None


# --- products ------------------------------------------------------------------------------------------------------------


def _weights(constant: Constant | None, axis: int, units: int) -> np.ndarray[Any, Any] | None:
    """Scales of weights that are int8 around 0, or uint8 around 128; None for others."""
    q = None if constant is None else constant.quantization
    if constant is None or q is None or q.scale.size not in (1, units):
        return None
    shift = {_INT8: 0, _UINT8: 128}.get(KINDS[constant.kind])
    if shift is None or (q.zero_point != shift).any() or (q.scale.size > 1 and q.axis != axis):
        return None
    return q.scale.astype(np.float32)


def _product(use: Use, op: str, x: Tensor, change: Change, units: int, attrs: Attrs, activation: int) -> Tensor | None:
    """Input 0 in integers (``x``) by the weights (input 1), and a bias (input 2). units: results for each position."""
    found, constant = _grids(use, (0,), activation), use.constant(1)
    scales = _weights(constant, len(use.given(1).shape) - 1 if "Depthwise" in op else 0, units)
    if found is None or scales is None or constant is None:
        return None
    given, result = found
    build = use.build
    with np.errstate(over="ignore", under="ignore"):  # in float32, as XNNPACK computes it
        multiplier = given.scale * scales / result.scale
    if not np.isfinite(multiplier).all():
        return None
    if use.has(2):
        bias = use.constant(2)
        if bias is None or bias.kind != _INT32 or bias.shape != (units,):
            return None
        biases = build.stored(use.index(2))
    else:
        biases = build.known(np.zeros(units, np.int32), np.int32)
    attrs = {**attrs, "x_zero": given.zero, **result.result}
    inputs = [x, build.weights(use.index(1), change), biases]
    inputs.append(build.known(np.broadcast_to(multiplier, units), np.float32, f"{use.name}/multiplier"))
    return use.add(op, inputs, attrs)


def _conv2d(use: Use) -> Tensor | None:
    units, _, _, taken = use.given(1).shape if len(use.given(1).shape) == 4 else (0, 0, 0, -1)
    if use.given(0).shape[-1:] != (taken,):  # groups
        return None
    attrs = {
        "strides": strides(use, 1),
        "padding": padding(use),
        "dilations": (1, use.option(5, default=1), use.option(4, default=1), 1),
    }
    x = use.build.integer(use.index(0))
    return _product(use, "KiQuantizedConv2D", x, Change((1, 2, 3, 0)), units, attrs, use.option(3, "int8"))


def _depthwise(use: Use) -> Tensor | None:
    shape, channels = use.given(1).shape, use.given(0).shape[-1:]
    if len(shape) != 4 or shape[0] != 1 or not channels or not channels[0] or shape[3] % channels[0]:
        return None
    attrs = {
        "strides": strides(use, 1),
        "padding": padding(use),
        "dilations": (1, use.option(6, default=1), use.option(5, default=1), 1),
    }
    change = Change(None, (shape[1], shape[2], channels[0], shape[3] // channels[0]))
    x = use.build.integer(use.index(0))
    return _product(use, "KiQuantizedDepthwiseConv2D", x, change, shape[3], attrs, use.option(4, "int8"))


def _fully_connected(use: Use) -> Tensor | None:
    weights, given = use.given(1).shape, use.given(0).shape
    if use.option(1, "int8") or len(weights) != 2 or _grids(use, (0,)) is None:
        return None
    keeps = use.option(2, "bool", False) and len(given) != 2
    if keeps and given[-1:] != (weights[1],):
        return None
    x = use.build.integer(use.index(0))
    if not keeps and (len(given) != 2 or given[1] != weights[1]):
        x = use.add("Reshape", [x, use.ints((-1, weights[1]))])
    return _product(use, "KiQuantizedMatMul", x, Change((1, 0)), weights[0], {}, use.option(0, "int8"))


# --- pools and means -------------------------------------------------------------------------------------------------------


def _windows(use: Use) -> Attrs:
    return {"ksize": (1, use.option(4), use.option(3), 1), "strides": strides(use, 1), "padding": padding(use)}


def _mean_of(use: Use, x: Tensor, found: tuple[Grid, ...], attrs: Attrs) -> Tensor | None:
    given, result = found
    multiplier = _factor(given.scale, result.scale)
    if multiplier is None or given.dtype != result.dtype:
        return None
    bounds = {"y_zero": result.zero, "low": result.low, "high": result.high}
    return use.add("KiQuantizedAvgPool", [x], {**attrs, **bounds, "x_zero": given.zero, "multiplier": multiplier})


def _average_pool(use: Use) -> Tensor | None:
    found = _grids(use, (0,), use.option(5, "int8"))
    if found is None:
        return None
    return _mean_of(use, use.build.integer(use.index(0)), found, {**_windows(use), "halves": "away"})


def _over_image(use: Use, x: Tensor) -> tuple[int, int] | None:
    """Height and width of an image of known size, where the axes (input 1) are these two."""
    axes, sizes = use.constant(1) if use.has(1) else None, x.shape
    if axes is None or axes.count != 2 or sizes is None or len(sizes) != 4 or not sizes[1] or not sizes[2]:
        return None
    return (sizes[1], sizes[2]) if sorted(int(a) % 4 for a in axes.stored().reshape(-1)) == [1, 2] else None


def _mean(use: Use) -> Tensor | None:
    """Over height and width: the pool with one window."""
    found = _grids(use, (0,))
    x = None if found is None else use.build.integer(use.index(0))
    window = None if x is None else _over_image(use, x)
    if found is None or x is None or window is None:
        return None
    attrs = {"ksize": (1, *window, 1), "strides": (1, 1, 1, 1), "padding": "VALID", "halves": "even"}
    y = _mean_of(use, x, found, attrs)
    if y is None or use.option(0, "bool", False):
        return y
    return use.add("Squeeze", [y], {"squeeze_dims": (1, 2)})


def _max_pool(use: Use) -> Tensor | None:
    found = _grids(use, (0,), use.option(5, "int8"))
    if found is None or found[0].dtype != found[1].dtype:
        return None
    attrs = {**_windows(use), "data_format": "NHWC"}
    return _rescaled(use, use.add("MaxPool", [use.build.integer(use.index(0))], attrs), found[0], found[1])


# --- elements --------------------------------------------------------------------------------------------------------------


def _rescaled(use: Use, x: Tensor, given: Grid, result: Grid) -> Tensor | None:
    """Integers of one grid as those of another, within its bounds; x itself if that changes nothing."""
    limits = np.iinfo(result.dtype)
    whole = (result.low, result.high) == (limits.min, limits.max)
    if whole and (given.scale, given.zero, given.dtype) == (result.scale, result.zero, result.dtype):
        return x
    multiplier = _factor(given.scale, result.scale)
    if multiplier is None:
        return None
    return use.add("KiRequantize", [x], {"x_zero": given.zero, "multiplier": multiplier, **result.result})


def _clamped(activation: tuple[float, float]) -> Made:
    def convert(use: Use) -> Tensor | None:
        given = grid_of(use.build, use.index(0))
        result = grid_of(use.build, use.operator.outputs[0], activation)
        if given is None or result is None:
            return None
        return _rescaled(use, use.build.integer(use.index(0)), given, result)

    return convert


def _quantize(use: Use) -> Tensor | None:
    """From reals (Build.store does it), or from other integers."""
    found = _grids(use, (0,))
    return None if found is None else _rescaled(use, use.build.integer(use.index(0)), *found)


def _pair(use: Use) -> tuple[Grid, Grid, Grid] | None:
    found = _grids(use, (0, 1), use.option(0, "int8"))
    return None if found is None or found[0].dtype != found[1].dtype else (found[0], found[1], found[2])


def _sum(sign: float) -> Made:
    def convert(use: Use) -> Tensor | None:
        found = _pair(use)
        if found is None:
            return None
        a, b, y = found
        first, second = _factor(a.scale, y.scale), _factor(b.scale, y.scale)
        if first is None or second is None:
            return None
        attrs = {"a_zero": a.zero, "b_zero": b.zero, "a_multiplier": first, "b_multiplier": sign * second, **y.result}
        return use.add("KiQuantizedAdd", [use.build.integer(use.index(i)) for i in (0, 1)], attrs)

    return convert


def _mul(use: Use) -> Tensor | None:
    found = _pair(use)
    if found is None:
        return None
    a, b, y = found
    multiplier = _factor(a.scale, b.scale, y.scale)
    if multiplier is None:
        return None
    attrs = {"a_zero": a.zero, "b_zero": b.zero, "multiplier": multiplier, **y.result}
    return use.add("KiQuantizedMul", [use.build.integer(use.index(i)) for i in (0, 1)], attrs)


def _concatenation(use: Use) -> Tensor | None:
    """Parts of another grid are rescaled first."""
    found = _grids(use, tuple(range(use.count)), use.option(1, "int8"))
    if found is None:
        return None
    *given, result = found
    parts = []
    for i, grid in enumerate(given):
        part = _rescaled(use, use.build.integer(use.index(i)), grid, result)
        if part is None:
            return None
        parts.append(part)
    return use.add("ConcatV2", [*parts, use.ints(use.option(0))], {"N": len(parts)}) if len(parts) > 1 else parts[0]


def _pad(use: Use) -> Tensor | None:
    """With the zero point, which stands for 0."""
    found = _grids(use, (0,))
    if found is None or found[0] != found[1]:
        return None
    zero = use.build.known(found[0].zero, found[0].dtype)
    return use.add("PadV2", [use.build.integer(use.index(0)), use.x(1), zero])


INTEGERS: Mapping[str, Made] = {
    "CONV_2D": _conv2d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": _average_pool,
    "MAX_POOL_2D": _max_pool,
    "MEAN": _mean,
    "RELU": _clamped((0, math.inf)),
    "RELU6": _clamped((0, 6)),
    "RELU_N1_TO_1": _clamped((-1, 1)),
    "RELU_0_TO_1": _clamped((0, 1)),
    "QUANTIZE": _quantize,
    "ADD": _sum(1),
    "SUB": _sum(-1),
    "MUL": _mul,
    "CONCATENATION": _concatenation,
    "PAD": _pad,
}
