"""Layers: small recipes of graph ops with variables. ``build`` makes the variables once, ``apply`` adds the ops.

All take batches: (batch, features) or NHWC images. ``initial`` and ``initial_bias``: names or functions of initializers.py. ``apply`` is called once for training and once for inference; both
graphs share the variables. A layer that changes state while training (BatchNorm) returns it in ``updates``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..graph import ops
from ..graph.builder import Tensor
from ..graph.errors import GraphError
from ..graph.ops.building import add_op
from .initializers import Initial, initial_values

__all__ = [
    "Activation",
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2D",
    "Layer",
    "MaxPool2D",
]

ActivationName = Literal["none", "relu", "relu6", "sigmoid", "tanh", "softplus"]
PaddingName = Literal["SAME", "VALID"]
Pair = int | tuple[int, int]

_ACTIVATIONS = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "softplus": ops.softplus,
}


def _activate(x: Tensor, activation: str) -> Tensor:
    if activation == "none":
        return x
    if activation not in _ACTIVATIONS:
        raise GraphError(f"unknown activation {activation!r}; known: none, {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[activation](x)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _weights(
    initial: Initial, rng: np.random.Generator, shape: tuple[int, ...], fans: tuple[int, int], name: str = "weights"
) -> Tensor:
    return ops.variable(initial_values(initial, rng, shape, fans), name=name)


def _bias(initial: Initial, rng: np.random.Generator, size: int) -> Tensor:
    return _weights(initial, rng, (size,), (size, size), "bias")


@dataclass(slots=True)
class Layer:
    """Base class. ``name`` becomes a name scope."""

    name: str | None = field(default=None, kw_only=True)
    updates: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def build(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        """Makes the variables for inputs of the given shape (without the batch)."""

    def apply(self, x: Tensor, training: bool) -> Tensor:
        """Adds the layer's ops after ``x``."""
        raise NotImplementedError


@dataclass(slots=True)
class Dense(Layer):
    """activation(x @ weights + bias); x (batch, features)."""

    units: int
    activation: ActivationName = "none"
    use_bias: bool = True
    initial: Initial = "glorot_uniform"
    initial_bias: Initial = "zeros"
    _w: Tensor | None = field(default=None, init=False, repr=False)
    _b: Tensor | None = field(default=None, init=False, repr=False)

    def build(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        if len(shape) != 1:
            raise GraphError(f"Dense takes (batch, features), got features of shape {shape}; put Flatten before it")
        self._w = _weights(self.initial, rng, (shape[0], self.units), (shape[0], self.units))
        self._b = _bias(self.initial_bias, rng, self.units) if self.use_bias else None

    def apply(self, x: Tensor, training: bool) -> Tensor:
        y = ops.matmul(x, self._w)
        return _activate(y if self._b is None else ops.bias_add(y, self._b), self.activation)


@dataclass(slots=True)
class Conv2D(Layer):
    """activation(conv2d(x, weights) + bias); x NHWC."""

    filters: int
    kernel: Pair = 3
    strides: Pair = 1
    padding: PaddingName = "SAME"
    activation: ActivationName = "none"
    use_bias: bool = True
    initial: Initial = "glorot_uniform"
    initial_bias: Initial = "zeros"
    _w: Tensor | None = field(default=None, init=False, repr=False)
    _b: Tensor | None = field(default=None, init=False, repr=False)

    def build(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        kh, kw = _pair(self.kernel)
        cin = _image(self, shape)[2]
        fans = kh * kw * cin, kh * kw * self.filters
        self._w = _weights(self.initial, rng, (kh, kw, cin, self.filters), fans)
        self._b = _bias(self.initial_bias, rng, self.filters) if self.use_bias else None

    def apply(self, x: Tensor, training: bool) -> Tensor:
        y = ops.conv2d(x, self._w, _pair(self.strides), self.padding)
        return _activate(y if self._b is None else ops.bias_add(y, self._b), self.activation)


@dataclass(slots=True)
class DepthwiseConv2D(Layer):
    """activation(depthwise_conv2d(x, weights) + bias); x NHWC."""

    kernel: Pair = 3
    strides: Pair = 1
    padding: PaddingName = "SAME"
    activation: ActivationName = "none"
    initial: Initial = "glorot_uniform"
    initial_bias: Initial = "zeros"
    _w: Tensor | None = field(default=None, init=False, repr=False)
    _b: Tensor | None = field(default=None, init=False, repr=False)

    def build(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        kh, kw = _pair(self.kernel)
        channels = _image(self, shape)[2]
        self._w = _weights(self.initial, rng, (kh, kw, channels, 1), (kh * kw, kh * kw))
        self._b = _bias(self.initial_bias, rng, channels)

    def apply(self, x: Tensor, training: bool) -> Tensor:
        y = ops.depthwise_conv2d(x, self._w, _pair(self.strides), self.padding)
        return _activate(ops.bias_add(y, self._b), self.activation)


@dataclass(slots=True)
class MaxPool2D(Layer):
    """Largest value of every window; strides default to the window."""

    window: Pair = 2
    strides: Pair | None = None
    padding: PaddingName = "VALID"

    def apply(self, x: Tensor, training: bool) -> Tensor:
        return ops.max_pool(x, _pair(self.window), _pair(self.strides or self.window), self.padding)


@dataclass(slots=True)
class AvgPool2D(Layer):
    """Mean of every window; strides default to the window."""

    window: Pair = 2
    strides: Pair | None = None
    padding: PaddingName = "VALID"

    def apply(self, x: Tensor, training: bool) -> Tensor:
        return ops.avg_pool(x, _pair(self.window), _pair(self.strides or self.window), self.padding)


@dataclass(slots=True)
class GlobalAvgPool2D(Layer):
    """Mean over height and width: NHWC -> (batch, channels)."""

    def apply(self, x: Tensor, training: bool) -> Tensor:
        return ops.reduce_mean(x, [1, 2])


@dataclass(slots=True)
class Flatten(Layer):
    """(batch, ...) -> (batch, features)."""

    def apply(self, x: Tensor, training: bool) -> Tensor:
        features = int(np.prod([d for d in (x.shape or ())[1:] if d is not None]))
        return ops.reshape(x, [-1, features])


@dataclass(slots=True)
class Activation(Layer):
    """An activation by itself."""

    function: ActivationName

    def apply(self, x: Tensor, training: bool) -> Tensor:
        return _activate(x, self.function)


@dataclass(slots=True)
class BatchNorm(Layer):
    """Normalises channels by the batch's statistics while training, by moving averages afterwards.

    Ioffe and Szegedy, 2015, arXiv:1502.03167. ``momentum``: share of the old average that is kept per step.
    """

    momentum: float = 0.9
    epsilon: float = 1e-3
    _variables: tuple[Tensor, ...] = field(default=(), init=False, repr=False)

    def build(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        start = {"scale": 1.0, "offset": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
        self._variables = tuple(
            ops.variable(np.full(shape[-1:], value, np.float32), name=name) for name, value in start.items()
        )

    def apply(self, x: Tensor, training: bool) -> Tensor:
        scale, offset, moving_mean, moving_variance = self._variables
        if not training:
            return ops.batch_normalization(x, moving_mean, moving_variance, offset, scale, self.epsilon)
        none = ops.constant(np.zeros(0, np.float32))  # statistics of other batches
        norm = add_op(
            "FusedBatchNormV3", [x, scale, offset, none, none], "norm", epsilon=self.epsilon, is_training=True
        ).op.outputs
        for average, new in ((moving_mean, norm[3]), (moving_variance, norm[4])):
            drift = ops.multiply(ops.subtract(average, ops.stop_gradient(new)), 1 - self.momentum)
            self.updates.append(ops.assign_sub(average, drift))
        return norm[0]


@dataclass(slots=True)
class Dropout(Layer):
    """Sets a share ``rate`` of the values to 0 while training and scales up the rest; nothing afterwards.

    The mask comes from the model's own seeded generator: ``noise`` is fed uniform numbers of [0, 1) in every step.
    Srivastava et al., JMLR 15, 2014.
    """

    rate: float = 0.5
    noise: Tensor | None = field(default=None, init=False, repr=False)

    def apply(self, x: Tensor, training: bool) -> Tensor:
        if not 0 <= self.rate < 1:
            raise GraphError(f"Dropout: rate must be at least 0 and less than 1, got {self.rate!r}")
        if not training or self.rate == 0:
            return x
        self.noise = ops.placeholder(x.dtype, x.shape, name="noise")
        kept = ops.cast(ops.greater_equal(self.noise, self.rate), x.dtype)
        return ops.multiply(x, ops.multiply(kept, 1 / (1 - self.rate)))


def _image(layer: Layer, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise GraphError(
            f"{type(layer).__name__} takes images (batch, height, width, channels), got {shape} per example"
        )
    return shape[0], shape[1], shape[2]
