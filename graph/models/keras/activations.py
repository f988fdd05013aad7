"""Activations: by name, as objects of a config, and the layers that are nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from ...ops import composed
from .building import Building

__all__ = ["ACTIVATION_LAYERS", "NAMED", "activate", "activation_name"]

Function = Callable[[Building, Tensor], Tensor]


def leaky(b: Building, x: Tensor, slope: float) -> Tensor:
    return ops.relu(x) if slope == 0 else b.raw("LeakyRelu", x, alpha=slope)


def bent_relu(b: Building, x: Tensor, most: float = inf, slope: float = 0.0, threshold: float = 0.0) -> Tensor:
    """min(x, most) from the threshold on, slope * (x - threshold) below it."""
    if threshold == 0 and slope == 0:
        return ops.relu6(x) if most == 6 else ops.relu(x) if most == inf else ops.minimum(ops.relu(x), most)
    if threshold == 0 and most == inf:
        return leaky(b, x, slope)
    top = ops.minimum(x, most) if most != inf else x
    below = ops.multiply(ops.subtract(x, threshold), slope) if slope else ops.multiply(x, 0.0)
    above = ops.greater_equal(x, threshold) if slope else ops.greater(x, threshold)
    return ops.where(above, top, below)


def elu(b: Building, x: Tensor, alpha: float = 1.0) -> Tensor:
    if alpha == 1:
        return b.raw("Elu", x)
    below = ops.multiply(b.raw("Elu", ops.minimum(x, 0.0)), alpha)
    return ops.add(ops.relu(x), below)


def celu(b: Building, x: Tensor, alpha: float = 1.0) -> Tensor:
    below = ops.multiply(b.raw("Elu", ops.divide(ops.minimum(x, 0.0), alpha)), alpha)
    return ops.add(ops.relu(x), below)


def gelu(b: Building, x: Tensor, approximate: bool = False) -> Tensor:
    return composed.gelu(x, approximate=approximate)


def silu(b: Building, x: Tensor) -> Tensor:
    return composed.silu(x)


def clip(x: Tensor, low: float, high: float) -> Tensor:
    return ops.minimum(ops.maximum(x, low), high)


def hard_sigmoid(b: Building, x: Tensor) -> Tensor:
    """Keras 3 cuts x / 6 + 1 / 2 to [0, 1], Keras 2 x / 5 + 1 / 2."""
    if b.shared.keras3:
        return composed.hard_sigmoid(x)
    return clip(ops.add(ops.multiply(x, 0.2), 0.5), 0.0, 1.0)


def hard_silu(b: Building, x: Tensor) -> Tensor:
    return composed.hard_swish(x)


def sparse_plus(b: Building, x: Tensor) -> Tensor:
    middle = ops.multiply(ops.square(ops.add(x, 1.0)), 0.25)
    return ops.where(ops.less_equal(x, -1.0), ops.multiply(x, 0.0), ops.where(ops.less(x, 1.0), middle, x))


def squareplus(b: Building, x: Tensor) -> Tensor:
    return ops.multiply(ops.add(x, ops.sqrt(ops.add(ops.square(x), 4.0))), 0.5)


def soft_shrink(b: Building, x: Tensor, threshold: float = 0.5) -> Tensor:
    return ops.subtract(ops.maximum(ops.subtract(x, threshold), 0.0), ops.maximum(ops.subtract(-threshold, x), 0.0))


def hard_shrink(b: Building, x: Tensor, threshold: float = 0.5) -> Tensor:
    return ops.where(ops.greater(ops.abs(x), threshold), x, ops.multiply(x, 0.0))


def glu(b: Building, x: Tensor) -> Tensor:
    first, second = ops.split(x, 2, axis=-1)
    return ops.multiply(first, ops.sigmoid(second))


#: Keras' names, and those that older versions wrote.
NAMED: dict[str, Function] = {
    "linear": lambda b, x: x,
    "relu": lambda b, x: ops.relu(x),
    "relu6": lambda b, x: ops.relu6(x),
    "leaky_relu": lambda b, x: leaky(b, x, 0.2),
    "elu": elu,
    "celu": celu,
    "selu": lambda b, x: b.raw("Selu", x),
    "gelu": gelu,
    "silu": silu,
    "swish": silu,
    "mish": lambda b, x: composed.mish(x),
    "sigmoid": lambda b, x: ops.sigmoid(x),
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_silu,
    "log_sigmoid": lambda b, x: ops.negative(ops.softplus(ops.negative(x))),
    "sparse_sigmoid": lambda b, x: clip(ops.multiply(ops.add(x, 1.0), 0.5), 0.0, 1.0),
    "tanh": lambda b, x: ops.tanh(x),
    "hard_tanh": lambda b, x: clip(x, -1.0, 1.0),
    "tanh_shrink": lambda b, x: ops.subtract(x, ops.tanh(x)),
    "soft_shrink": soft_shrink,
    "hard_shrink": hard_shrink,
    "softplus": lambda b, x: ops.softplus(x),
    "squareplus": squareplus,
    "sparse_plus": sparse_plus,
    "softsign": lambda b, x: ops.divide(x, ops.add(ops.abs(x), 1.0)),
    "exponential": lambda b, x: ops.exp(x),
    "softmax": lambda b, x: ops.softmax(x),
    "log_softmax": lambda b, x: ops.log_softmax(x),
    "glu": glu,
}
_OLD = {"softmax_v2": "softmax", "relu_v2": "relu", "exp": "exponential", "swish": "silu"}


def activation_name(value: Any) -> str | None:
    """The name of an activation of a config, or the class of one that is a layer; None for none."""
    if isinstance(value, Mapping):
        config = value.get("config")
        named = value.get("class_name") in ("function", "Function") and isinstance(config, str)
        value = config if named else value.get("class_name")
    return _OLD.get(value, value) if isinstance(value, str) else None


def activate(b: Building, x: Tensor, value: Any) -> Tensor:
    """Applies an ``activation`` argument: a name, or a layer object with its own config."""
    if value is None or value == "linear":
        return x
    name = activation_name(value)
    own = isinstance(value, Mapping) and value.get("registered_name") not in (
        None,
        "",
        "function",
        value.get("class_name"),
    )
    if isinstance(value, Mapping) and name in ACTIVATION_LAYERS and not own:
        config = value.get("config")
        if isinstance(config, dict):
            inner = b.of(b.layer)
            inner.config = config
            return ACTIVATION_LAYERS[str(name)](inner, x)
    if name is None or name not in NAMED or own:
        raise b.error(f"activation {brief(value)}", f"one of {', '.join(NAMED)}")
    return NAMED[name](b, x)


# --- layers -------------------------------------------------------------------------------------------------------------------


def _relu(b: Building, x: Tensor) -> Tensor:
    most = inf if b.config.get("max_value") is None else b.number("max_value")
    slope, threshold = b.number("negative_slope", 0.0), b.number("threshold", 0.0)
    return bent_relu(b, x, most, slope, threshold)


def _leaky_relu(b: Building, x: Tensor) -> Tensor:
    return leaky(b, x, b.number("alpha" if "alpha" in b.config else "negative_slope", 0.3))


def _prelu(b: Building, x: Tensor) -> Tensor:
    shared = b.get("shared_axes", [])
    known = b.shape(x)
    axes = {a - 1 for a in b.axes(shared, len(known))} if shared else set()
    shape = [1 if i in axes else d for i, d in enumerate(known[1:])]
    alpha = b.weight("alpha", *shape)
    return ops.add(ops.relu(x), ops.multiply(ops.minimum(x, 0.0), alpha))


def _thresholded(b: Building, x: Tensor) -> Tensor:
    return ops.where(ops.greater(x, b.number("theta", 1.0)), x, ops.multiply(x, 0.0))


def _softmax(b: Building, x: Tensor) -> Tensor:
    axis = b.get("axis", -1)
    axes = b.axes(axis, len(b.shape(x)))
    if len(axes) == 1:
        return ops.softmax(x, axes[0])
    e = ops.exp(ops.subtract(x, ops.reduce_max(x, list(axes), keepdims=True)))
    return ops.divide(e, ops.reduce_sum(e, list(axes), keepdims=True))


ACTIVATION_LAYERS: dict[str, Function] = {
    "Activation": lambda b, x: activate(b, x, b.config.get("activation")),
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": lambda b, x: elu(b, x, b.number("alpha", 1.0)),
    "PReLU": _prelu,
    "ThresholdedReLU": _thresholded,
    "Softmax": _softmax,
}
