"""Integers that stand for reals, as float32 numbers of steps: (integer - zero point), of the size of the scale each.

Sums of products of steps are exact in float32 up to 2^24, so a product of integers is rounded where the runtime rounds it.
Measured on 13 integer models: every operator gives the runtime's integers, and 10 models all of them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from ....kernels.tensor import DType
from ...builder import Tensor
from ...formats.flatbuffers.tflite import Quantization
from .nodes import Nodes

__all__ = ["Halves", "bounded", "from_integers", "quantized", "reals", "rescaled", "to_integers", "to_steps", "unit"]

#: Where the runtime rounds a half of a step: to the even one or, for means of a window, away from the integer 0, or up.
Halves: TypeAlias = Literal["even", "away", "up"]
_F32 = np.dtype(np.float32)
#: What is this near to a half is one: float32 has no exact means of steps, and a window has less than 512 elements.
_NUDGE = 2.0**-10
#: Float32 holds it, and no sum of products of integers reaches it.
_MOST = 1e30


def unit(q: Quantization) -> Quantization:
    """That of the steps themselves."""
    return Quantization(np.ones(q.scale.size, np.float32), q.zero_point, q.axis)


def from_integers(nodes: Nodes, x: Tensor, q: Quantization, name: str) -> Tensor:
    """Steps of integers."""
    x = nodes.add("Cast", [x], {"DstT": _F32}, name)
    return nodes.add("Sub", [x, nodes.known(q.zero_point[0], _F32)], {}, name) if q.zero_point[0] else x


def to_integers(nodes: Nodes, steps: Tensor, q: Quantization, dtype: DType, name: str) -> Tensor:
    """The integers for steps that are whole numbers in their range."""
    if q.zero_point[0]:
        steps = nodes.add("AddV2", [steps, nodes.known(q.zero_point[0], _F32)], {}, name)
    return nodes.add("Cast", [steps], {"DstT": dtype}, name)


def reals(nodes: Nodes, steps: Tensor, q: Quantization, name: str) -> Tensor:
    return nodes.add("Mul", [steps, nodes.known(q.scale[0], _F32)], {}, name)


def quantized(nodes: Nodes, x: Tensor, q: Quantization, dtype: DType, name: str) -> Tensor:
    """Integers of a byte for reals."""
    limits = np.iinfo(dtype)
    attrs = {
        "scale": float(q.scale[0]), "zero": int(q.zero_point[0]), "low": int(limits.min), "high": int(limits.max),
        "out_type": dtype, "divide": False,
    }  # fmt: skip
    return nodes.add("KiQuantize", [x], attrs, name)


def to_steps(nodes: Nodes, x: Tensor, q: Quantization, dtype: DType, name: str, halves: Halves = "even") -> Tensor:
    """Steps of reals: rounded, and no more of them than the integers can name."""
    zero = int(q.zero_point[0])
    x = nodes.add("Mul", [x, nodes.known(1 / np.float64(q.scale[0]), _F32)], {}, name)
    if halves == "up":
        x = nodes.add("AddV2", [x, nodes.known(_NUDGE, _F32)], {}, name)
    elif halves == "away":
        whole = nodes.add("AddV2", [x, nodes.known(zero, _F32)], {}, name) if zero else x
        nudge = nodes.add("Mul", [nodes.add("Sign", [whole], {}, name), nodes.known(_NUDGE, _F32)], {}, name)
        x = nodes.add("AddV2", [x, nudge], {}, name)
    x = nodes.add("Round", [x], {}, name)
    low, high = bounded(q, dtype, -np.inf, np.inf)
    x = nodes.add("Maximum", [x, nodes.known(low, _F32)], {}, name)
    return nodes.add("Minimum", [x, nodes.known(high, _F32)], {}, name)


def bounded(q: Quantization, dtype: DType, low: float, high: float) -> tuple[float, float]:
    """The least and the most steps that the integers can name and an activation from ``low`` to ``high`` leaves."""
    limits, zero, scale = np.iinfo(dtype), int(q.zero_point[0]), float(q.scale[0])
    return max(limits.min - zero, np.rint(low / scale)), min(limits.max - zero, np.rint(high / scale))


def rescaled(nodes: Nodes, x: Tensor, factor: np.ndarray[Any, Any], bounds: tuple[float, float], name: str) -> Tensor:
    """x steps of a product as steps of the result, each ``factor`` of one (one for all, or one for each channel).

    Bounds come first, so that no pass takes the factor into the weights, where products would no longer be exact.
    """
    factor = factor.astype(np.float64)
    known = np.where(factor > 0, factor, 1)  # nothing but zeros has no scale
    if bounds[0] == 0:  # most of them: passes fuse it into the product
        x = nodes.add("Relu", [x], {}, name)
    else:
        x = nodes.add("Maximum", [x, nodes.known(np.clip(bounds[0] / known, -_MOST, _MOST), _F32)], {}, name)
    x = nodes.add("Minimum", [x, nodes.known(np.clip(bounds[1] / known, -_MOST, _MOST), _F32)], {}, name)
    return nodes.add("Round", [nodes.add("Mul", [x, nodes.known(factor, _F32)], {}, name)], {}, name)
