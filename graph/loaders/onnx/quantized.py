"""Quantised layers as ops on int8 and uint8 tensors, with ONNX Runtime's rounding: one, in float32, halves to the even number.

Each function returns None where there is no integer op: scales or zero points that are computed, weights around another zero point
than 0 (int8) or 128 (uint8), other element types. quant.py then computes with real numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from ....kernels.tensor import DType
from ...builder import Tensor
from .conv import checked, conv_attrs
from .node import Node
from .windows import from_nhwc, to_nhwc, window_of

__all__ = [
    "Grid",
    "Weights",
    "averaged",
    "convolved",
    "dequantized",
    "grid_of",
    "joined",
    "limits",
    "multiplied",
    "quantized",
    "scaled",
]

_INT8, _UINT8, _F32 = np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.float32)
#: Output channels of a layer.
_MOST = 1 << 20
Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """Scale and zero point of a tensor of int8 or uint8."""

    scale: np.float32
    zero: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Weights:
    """Constant weights as int8 around 0; ``scale``: one, or one for each result."""

    w: Tensor
    scale: Numbers

    @staticmethod
    def of(n: Node, w: Tensor, scale: Tensor, zero: Tensor | None) -> Weights | None:
        """None for those that have no such integers."""
        dtype, scales, zeros = n.dtype(w), _known(n, scale), _zeros(n, zero)
        shift = {_INT8: 0, _UINT8: 128}.get(dtype)
        if w.op.type != "Const" or n.importer.narrow(w) is not None or shift is None or zeros is None or scales is None:
            return None
        if scales.dtype != _F32 or scales.ndim > 1 or (zeros != shift).any() or (zero is None and shift):
            return None
        if shift:
            w = n.cast(n.op("Sub", n.cast(w, "int16"), n.const(shift, "int16")), _INT8)
        return Weights(w, scales.reshape(-1))


def _known(n: Node, t: Tensor) -> Numbers | None:
    """Constant scales or zero points, one for each channel at most."""
    literal = t.op.attrs["value"] if t.op.type == "Const" else None
    found: Numbers | None = n.value(t) if literal is None or literal.type.size > _MOST else literal.array()
    return found


def _zeros(n: Node, zero: Tensor | None) -> Numbers | None:
    return np.zeros(1, np.int64) if zero is None else _known(n, zero)


def grid_of(n: Node, scale: Tensor, zero: Tensor | None, dtype: DType) -> Grid | None:
    """That of a tensor with one constant scale and zero point."""
    scales, zeros = _known(n, scale), _zeros(n, zero)
    if dtype not in (_INT8, _UINT8) or scales is None or zeros is None or scales.dtype != _F32:
        return None
    if zero is not None and (n.importer.narrow(zero) is not None or zeros.dtype != dtype):
        return None
    if scales.size != 1 or zeros.size != 1 or not 0 < scales.item() < np.inf:
        return None
    return Grid(np.float32(scales.item()), int(zeros.item()), dtype)


def limits(n: Node, dtype: DType) -> tuple[int, int]:
    """The least and the greatest integer of the node's result, within the bounds of an activation that it has taken over."""
    info = np.iinfo(dtype)
    low, high = n.importer.clamps.get(n.proto.output[0], (info.min, info.max)) if n.first else (info.min, info.max)
    return max(low, int(info.min)), min(high, int(info.max))


def _result(n: Node, y: Grid) -> dict[str, Any]:
    low, high = limits(n, y.dtype)
    return {"y_zero": y.zero, "low": low, "high": high, "out_type": y.dtype}


def _over(scales: Sequence[Numbers | np.float32], by: np.float32) -> Numbers | None:
    """The product of scales by another one, in float32 as ONNX Runtime computes it; None if float32 does not hold it."""
    with np.errstate(over="ignore", under="ignore"):
        product: Any = np.float32(1)
        for scale in scales:
            product = np.float32(scale) * product if np.ndim(scale) == 0 else scale * product
        found: Numbers = np.asarray(product / by, np.float32)
    return found if np.isfinite(found).all() else None


# --- into integers, out of them, to others -----------------------------------------------------------------------------------


def quantized(n: Node, x: Tensor, y: Grid) -> Tensor:
    """Integers for float32 numbers."""
    low, high = limits(n, y.dtype)
    attrs = {"scale": float(y.scale), "zero": y.zero, "low": low, "high": high, "out_type": y.dtype, "divide": True}
    return n.op("KiQuantize", x, **attrs)


def dequantized(n: Node, q: Tensor, x: Grid) -> Tensor:
    """Float32 numbers for integers."""
    return n.op("KiDequantize", q, scale=float(x.scale), zero=x.zero)


def _rescaled(n: Node, q: Tensor, x: Grid, y: Grid) -> Tensor | None:
    result, info = _result(n, y), np.iinfo(y.dtype)
    if x == y and (result["low"], result["high"]) == (info.min, info.max):
        return q
    factor = _over([x.scale], y.scale)
    if factor is None:
        return None
    exact = _multiplier(x, y, factor.item(), n.dtype(q))
    if exact is None:
        return quantized(n, dequantized(n, q, x), y)
    return n.op("KiRequantize", q, x_zero=x.zero, multiplier=exact, **result)


def _multiplier(x: Grid, y: Grid, near: float, dtype: DType) -> float | None:
    """The number near to the quotient of two scales that gives all 256 integers as dequantising and dividing do; None without one."""
    info = np.iinfo(dtype)
    steps = (np.arange(info.min, info.max + 1) - x.zero).astype(np.float32)
    limits_of_y = np.iinfo(y.dtype).min - y.zero, np.iinfo(y.dtype).max - y.zero
    wanted = np.clip(np.rint(steps * np.float32(x.scale) / np.float32(y.scale)), *limits_of_y)
    bits = int(np.float32(near).view(np.int32))
    for away in sorted(range(-8, 9), key=abs):
        factor = np.int32(bits + away).view(np.float32)
        if np.array_equal(np.clip(np.rint(steps * factor), *limits_of_y), wanted):
            return float(factor)
    return None


def joined(n: Node, parts: Sequence[tuple[Tensor, Grid | None]], y: Grid | None, axis: int) -> Tensor | None:
    """Parts along an axis; each is rescaled if it has another grid."""
    found = [None if x is None or y is None else _rescaled(n, q, x, y) for q, x in parts]
    known = [q for q in found if q is not None]
    if len(known) != len(found):
        return None
    return n.op("ConcatV2", *known, n.const(axis)) if len(known) > 1 else known[0]


# --- products ------------------------------------------------------------------------------------------------------------


def _bias(n: Node, bias: Tensor | None, units: int) -> Tensor | None:
    if bias is None:
        return n.const(np.zeros(units), "int32")
    return bias if n.dtype(bias) == np.int32 and n.shape(bias) == (units,) else None


def _factors(n: Node, x: Grid | None, w: Weights, y: Grid | None, units: int, alpha: float) -> Tensor | None:
    scales: list[Numbers | np.float32] = [w.scale, np.float32(alpha)] if alpha != 1 else [w.scale]
    found = _over([*scales, x.scale] if x is not None else [], np.float32(1) if y is None else y.scale)
    if found is None or found.size not in (1, units):
        return None
    return n.const(np.broadcast_to(found.reshape(-1), units), "float32")


def _product_attrs(n: Node, x: Grid, y: Grid | None, dtype: DType) -> dict[str, Any]:
    return {"x_zero": x.zero, **(_result(n, y) if y is not None else {"out_type": dtype})}


def convolved(
    n: Node, q: Tensor, x: Grid | None, weights: Weights | None, bias: Tensor | None, y: Grid | None
) -> Tensor | None:
    """The convolution that the attributes describe; without ``y`` the sums, int32."""
    if x is None or weights is None:
        return None
    sizes, shape, group = checked(n, q, weights.w)
    rank, units = len(sizes), shape[0]
    if rank == 5 or sizes[1] != shape[1] * group or units % group:
        return None
    window = window_of(n, shape[2:], sizes[2:])
    biases, factors = _bias(n, bias, units), _factors(n, x, weights, y, units, 1.0)
    if biases is None or factors is None:
        return None
    attrs: Mapping[str, Any] = {**conv_attrs(window.in_plane()), **_product_attrs(n, x, y, np.dtype(np.int32))}
    image, w = to_nhwc(n, q), weights.w
    if rank == 3:
        w, shape = n.op("ExpandDims", w, n.const(2)), (*shape[:2], 1, shape[2])
    if group > 1 and shape[1] > 1:
        made = _groups(n, group, (image, n.transpose(w, (2, 3, 1, 0)), biases, factors), attrs)
    elif group > 1:
        filter = n.transpose(n.reshape(w, [group, units // group, *shape[2:]]), (2, 3, 0, 1))
        made = n.op("KiQuantizedDepthwiseConv2D", image, filter, biases, factors, **attrs)
    else:
        made = n.op("KiQuantizedConv2D", image, n.transpose(w, (2, 3, 1, 0)), biases, factors, **attrs)
    return from_nhwc(n, made, rank)


def _groups(n: Node, group: int, inputs: Sequence[Tensor], attrs: Mapping[str, Any]) -> Tensor:
    """Each group of channels by its own filters."""
    n.importer.budget.nodes(f"groups of {n.place}", group)
    axes = (3, 3, 0, 0)
    split = [
        n.ops("Split", [n.const(a, "int32"), x], group, num_split=group) for a, x in zip(axes, inputs, strict=True)
    ]
    parts = [n.op("KiQuantizedConv2D", *of, **attrs) for of in zip(*split, strict=True)]
    return n.op("ConcatV2", *parts, n.const(3))


def multiplied(
    n: Node, q: Tensor, x: Grid | None, weights: Weights | None, bias: Tensor | None, y: Grid | None,
    dtype: DType = _F32, *, swap: bool = False, alpha: float = 1.0,
) -> Tensor | None:  # fmt: skip
    """q (..., k) by weights (k, units), or (units, k) with ``swap``; without ``y`` the sums (int32), or reals (float32)."""
    if x is None or weights is None or n.rank(q) < 2 or n.rank(weights.w) != 2:
        return None
    taken, units = n.shape(weights.w)[::-1] if swap else n.shape(weights.w)
    if units is None or n.shape(q)[-1] != taken:
        return None
    biases, factors = _bias(n, bias, units), _factors(n, x, weights, y, units, alpha)
    if biases is None or factors is None:
        return None
    w = n.transpose(weights.w, (1, 0)) if swap else weights.w
    return n.op("KiQuantizedMatMul", q, w, biases, factors, **_product_attrs(n, x, y, dtype))


# --- elements and pools ----------------------------------------------------------------------------------------------------


def scaled(n: Node, type: str, a: Tensor, x: Grid | None, b: Tensor, z: Grid | None, y: Grid | None) -> Tensor | None:
    """a + b (``type`` AddV2) or a * b (Mul)."""
    if x is None or z is None or y is None or x.dtype != z.dtype:
        return None
    zeros = {"a_zero": x.zero, "b_zero": z.zero, **_result(n, y)}
    if type == "Mul":
        factor = _over([x.scale, z.scale], y.scale)
        return None if factor is None else n.op("KiQuantizedMul", a, b, multiplier=factor.item(), **zeros)
    first, second = _over([x.scale], y.scale), _over([z.scale], y.scale)
    if first is None or second is None:
        return None
    return n.op("KiQuantizedAdd", a, b, a_multiplier=first.item(), b_multiplier=second.item(), **zeros)


def averaged(n: Node, q: Tensor, x: Grid | None, y: Grid | None, attrs: Mapping[str, Any] | None) -> Tensor | None:
    """Means over windows of an NHWC image; ``attrs``: of AvgPool, None if there are none."""
    if x is None or y is None or attrs is None or x.dtype != y.dtype:
        return None
    factor = _over([x.scale], y.scale)
    if factor is None or not isfinite(factor.item()):
        return None
    result = _result(n, y)
    del result["out_type"]
    return n.op("KiQuantizedAvgPool", q, x_zero=x.zero, multiplier=factor.item(), **result, **attrs)
