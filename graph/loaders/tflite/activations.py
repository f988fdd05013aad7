"""Activations, fused into other operators or alone, and normalisations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...builder import Tensor
from ...opdefs import composed
from .build import Converter, Refused, Use

__all__ = ["CONVERTERS", "activated"]


def activated(use: Use, x: Tensor, code: int) -> Tensor:
    """The activation that an operator's options name by number."""
    if code == 0:
        return x
    apply = {1: _one("Relu"), 2: _clipped(-1, 1), 3: _one("Relu6"), 4: _one("Tanh")}.get(code)
    if apply is None:
        raise Refused(f"fused activation {code}; expected NONE, RELU, RELU_N1_TO_1, RELU6 or TANH")
    return apply(use, x)


def _one(op: str) -> Callable[[Use, Tensor], Tensor]:
    return lambda use, x: use.add(op, [x])


def _clipped(low: float, high: float) -> Callable[[Use, Tensor], Tensor]:
    return lambda use, x: use.add("Minimum", [use.add("Maximum", [x, use.scalar(low, x)]), use.scalar(high, x)])


def _alone(apply: Callable[[Use, Tensor], Tensor]) -> Converter:
    return lambda use: apply(use, use.x(0))


def _prelu(use: Use) -> Tensor:
    """x where it is positive, else alpha * x."""
    x, alpha = use.x(0), use.x(1)
    zero = use.scalar(0, x)
    below = use.add("Mul", [alpha, use.add("Minimum", [x, zero])])
    return use.add("AddV2", [use.add("Maximum", [x, zero]), below])


def _leaky_relu(use: Use) -> Tensor:
    return use.add("LeakyRelu", [use.x(0)], {"alpha": use.option(0, "float", 0.0)})


@dataclass(frozen=True)
class _Writer:
    """Adds the ops of an operator that is composed."""

    use: Use

    def op(self, type: str, /, *inputs: Tensor) -> Tensor:
        return self.use.add(type, inputs)

    def like(self, x: Tensor, value: float) -> Tensor:
        return self.use.scalar(value, x)


def _hard_swish(use: Use) -> Tensor:
    return composed.hard_swish(_Writer(use), use.x(0), last=True)


def _gelu(use: Use) -> Tensor:
    return composed.gelu(_Writer(use), use.x(0), approximate=bool(use.option(0, "bool", False)))


def _softmax(use: Use) -> Tensor:
    """Of beta * x over the last axis."""
    x, beta = use.x(0), use.option(0, "float", 0.0)
    if beta != 1:
        x = use.add("Mul", [x, use.scalar(beta, x)])
    return use.add("Softmax", [x])


def _l2_normalization(use: Use) -> Tensor:
    """x over the root of the sum of squares of the last axis, which is at least 1e-6 (l2normalization.h)."""
    x = use.x(0)
    square = use.add("Sum", [use.add("Square", [x]), use.ints((-1,))], {"keep_dims": True})
    norm = use.add("Maximum", [use.add("Sqrt", [square]), use.scalar(1e-6, x)])
    return activated(use, use.add("RealDiv", [x, norm]), use.option(0, "int8"))


def _lrn(use: Use) -> Tensor:
    attrs = {
        "depth_radius": use.option(0),
        "bias": use.option(1, "float", 0.0),
        "alpha": use.option(2, "float", 0.0),
        "beta": use.option(3, "float", 0.0),
    }
    return use.add("LRN", [use.x(0)], attrs)


def _dequantize(use: Use) -> Tensor:
    """Integers are reals in the graph already; halves become float32."""
    x = use.x(0)
    return x if x.dtype == np.float32 else use.add("Cast", [x], {"DstT": np.dtype(np.float32)})


def _quantize(use: Use) -> Tensor:
    """The grid of the result does it."""
    if not use.build.activation_grid(use.operator.outputs[0]):
        raise Refused("a result without one scale and zero point")
    return use.x(0)


def _fake_quant(use: Use) -> Tensor:
    attrs = {
        "min": use.option(0, "float", 0.0),
        "max": use.option(1, "float", 0.0),
        "num_bits": use.option(2),
        "narrow_range": use.option(3, "bool", False),
    }
    return use.add("FakeQuantWithMinMaxArgs", [use.x(0)], attrs)


CONVERTERS: Mapping[str, Converter] = {
    "RELU": _alone(_one("Relu")),
    "RELU6": _alone(_one("Relu6")),
    "RELU_N1_TO_1": _alone(_clipped(-1, 1)),
    "RELU_0_TO_1": _alone(_clipped(0, 1)),
    "TANH": _alone(_one("Tanh")),
    "LOGISTIC": _alone(_one("Sigmoid")),
    "ELU": _alone(_one("Elu")),
    "PRELU": _prelu,
    "LEAKY_RELU": _leaky_relu,
    "HARD_SWISH": _hard_swish,
    "GELU": _gelu,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _alone(_one("LogSoftmax")),
    "L2_NORMALIZATION": _l2_normalization,
    "LOCAL_RESPONSE_NORMALIZATION": _lrn,
    "DEQUANTIZE": _dequantize,
    "QUANTIZE": _quantize,
    "FAKE_QUANT": _fake_quant,
}
