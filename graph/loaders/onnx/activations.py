"""Activations: what TensorFlow has not is composed of what it has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....kernels.tensor import is_int
from ...builder import Tensor
from ...opdefs import composed
from .node import Converter, Node
from .reduce import flattened

__all__ = ["CONVERTERS", "clamp", "gelu", "hard_sigmoid", "swish"]


def _same(type: str) -> Converter:
    return lambda n: n.op(type, n.input(0))


def clamp(n: Node, x: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    """min(max(x, low), high); a limit that is left out has no effect."""
    known = tuple(None if t is None else n.value(t) for t in (low, high))
    limits = tuple(None if v is None or v.size != 1 else float(v.reshape(-1)[0]) for v in known)
    if n.dtype(x).kind == "f" and limits[0] == 0:
        if limits[1] == 6:
            return n.op("Relu6", x)
        if high is None or (limits[1] is not None and limits[1] >= float(np.finfo(n.dtype(x)).max)):
            return n.op("Relu", x)
    if low is not None:
        x = n.op("Maximum", x, low)
    return x if high is None else n.op("Minimum", x, high)


def _clip(n: Node) -> Tensor:
    """From version 11 on the limits are inputs."""
    x = n.input(0)
    if n.version >= 11:
        return clamp(n, x, n.optional(1), n.optional(2))
    largest = float(np.finfo(np.float32).max)
    low, high = n.number("min", -largest), n.number("max", largest)
    given = [n.like(x, v) if v not in (-largest, largest) else None for v in (low, high)]
    return clamp(n, x, *given)


def _leaky_relu(n: Node) -> Tensor:
    return n.op("LeakyRelu", n.input(0), alpha=n.number("alpha", 0.01))


def _sloped(n: Node, x: Tensor, slope: Tensor) -> Tensor:
    """x from 0 on, slope * x below."""
    return n.op("SelectV2", n.op("Less", x, n.like(x, 0)), n.op("Mul", x, slope), x)


def _prelu(n: Node) -> Tensor:
    """Before version 7 the slope has one value per channel."""
    x, slope = n.input(0), n.input(1)
    if n.version < 7 and n.shape(slope) not in ((), (1,)):
        slope = n.channels(slope, n.rank(x))
    return _sloped(n, x, slope)


def _where_positive(n: Node, x: Tensor, positive: Tensor, other: Tensor) -> Tensor:
    return n.op("SelectV2", n.op("Greater", x, n.like(x, 0)), positive, other)


def _expm1(n: Node, x: Tensor) -> Tensor:
    """exp(min(x, 0)) - 1: what is above 0 is not taken, and must not overflow."""
    return n.op("Elu", n.op("Minimum", x, n.like(x, 0)))


def _elu(n: Node) -> Tensor:
    x, alpha = n.input(0), n.number("alpha", 1.0)
    if alpha == 1:
        return n.op("Elu", x)
    return _where_positive(n, x, x, n.op("Mul", _expm1(n, x), n.like(x, alpha)))


def _selu(n: Node) -> Tensor:
    x = n.input(0)
    alpha, gamma = n.number("alpha", 1.6732632423543772), n.number("gamma", 1.0507009873554805)
    below = n.op("Mul", _expm1(n, x), n.like(x, alpha))
    return n.op("Mul", _where_positive(n, x, x, below), n.like(x, gamma))


def _celu(n: Node) -> Tensor:
    x, alpha = n.input(0), n.number("alpha", 1.0)
    if alpha == 0:
        raise n.wrong("alpha = 0", "another number")
    below = n.op("Mul", _expm1(n, n.op("RealDiv", x, n.like(x, alpha))), n.like(x, alpha))
    return n.op("AddV2", n.op("Maximum", x, n.like(x, 0)), n.op("Minimum", below, n.like(x, 0)))


def hard_sigmoid(n: Node, x: Tensor, alpha: float, beta: float) -> Tensor:
    """max(0, min(1, alpha * x + beta))."""
    y = n.op("AddV2", n.op("Mul", x, n.like(x, alpha)), n.like(x, beta))
    return n.op("Maximum", n.op("Minimum", y, n.like(x, 1)), n.like(x, 0))


def _hard_sigmoid(n: Node) -> Tensor:
    return hard_sigmoid(n, n.input(0), n.number("alpha", 0.2), n.number("beta", 0.5))


def _hard_swish(n: Node) -> Tensor:
    """x * max(0, min(1, x / 6 + 1/2)), with one rounding less as x * relu6(x + 3) / 6."""
    return composed.hard_swish(n, n.input(0))


def _thresholded_relu(n: Node) -> Tensor:
    x, alpha = n.input(0), n.number("alpha", 1.0)
    return n.op("SelectV2", n.op("Greater", x, n.like(x, alpha)), x, n.like(x, 0))


def _shrink(n: Node) -> Tensor:
    x, bias, limit = n.input(0), n.number("bias", 0.0), n.number("lambd", 0.5)
    dtype = n.dtype(x)
    if is_int(dtype) and (bias != int(bias) or limit != int(limit)):
        wide = n.cast(x, "float64")
        return n.cast(_shrunk(n, wide, bias, limit), dtype)
    return _shrunk(n, x, bias, limit)


def _shrunk(n: Node, x: Tensor, bias: float, limit: float) -> Tensor:
    above = n.op("SelectV2", n.op("Greater", x, n.like(x, limit)), n.op("Sub", x, n.like(x, bias)), n.like(x, 0))
    return n.op("SelectV2", n.op("Less", x, n.like(x, -limit)), n.op("AddV2", x, n.like(x, bias)), above)


def gelu(n: Node, x: Tensor, approximate: str) -> Tensor:
    """x times the probability that a normal variable is below it, or its approximation by tanh."""
    if approximate not in ("none", "tanh"):
        raise n.wrong(f"approximate {approximate[:40]!r}", "'none' or 'tanh'")
    return composed.gelu(n, x, approximate=approximate == "tanh")


def _gelu(n: Node) -> Tensor:
    return gelu(n, n.input(0), n.text("approximate", "none"))


def _mish(n: Node) -> Tensor:
    return composed.mish(n, n.input(0))


def swish(n: Node, x: Tensor, alpha: float) -> Tensor:
    """x * sigmoid(alpha * x)."""
    scaled = x if alpha == 1 else n.op("Mul", x, n.like(x, alpha))
    return n.op("Mul", x, n.op("Sigmoid", scaled))


def _swish(n: Node) -> Tensor:
    return swish(n, n.input(0), n.number("alpha", 1.0))


def _softsign(n: Node) -> Tensor:
    return n.op("Softsign", n.input(0))


def _softmax(type: str) -> Converter:
    """Before version 13 over all axes from ``axis`` on, from then on over that axis."""

    def convert(n: Node) -> Tensor:
        x, axis = n.input(0), n.integer("axis", 1 if n.version < 13 else -1)
        if n.version >= 13:
            return n.op(type, x, axis=axis)
        return flattened(n, x, axis, lambda y: n.op(type, y))

    return convert


CONVERTERS: Mapping[str, Converter] = {
    **{name: _same(name) for name in ("Relu", "Sigmoid", "Tanh", "Softplus")},
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "ThresholdedRelu": _thresholded_relu,
    "Shrink": _shrink,
    "Gelu": _gelu,
    "Mish": _mish,
    "Swish": _swish,
    "Softsign": _softsign,
    "Softmax": _softmax("Softmax"),
    "LogSoftmax": _softmax("LogSoftmax"),
}
