"""The steps before and after the blocks of a built-in network: scaling, pooling, dense layers, activations.

A step is data; ``add_steps`` makes nodes of a chain of them. Every step is exact: a layer that has no step here is
refused by the module that translates it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ..builder import Tensor
from ..errors import GraphError
from ..ir import Literal
from .nodes import FLOAT32, INT32, Nodes

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "ConvStep",
    "Dense",
    "Flatten",
    "GlobalPool",
    "Resize",
    "Scale",
    "Step",
    "Window",
    "add_steps",
]


@dataclass(frozen=True, slots=True)
class Scale:
    """One arithmetic operation with a constant, a scalar or one number per channel. ``op``: Mul, AddV2, Sub, RealDiv."""

    name: str
    op: str
    value: Literal


@dataclass(frozen=True, slots=True)
class Resize:
    """Bilinear, half-pixel centres, no antialiasing, to (height, width)."""

    name: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """'avg' or 'max' over height and width; ``keep``: as axes of size 1."""

    name: str
    kind: str
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """Pooling over windows, 'avg' or 'max'; an average at the edges is over the pixels that exist."""

    name: str
    kind: str
    size: tuple[int, int]
    strides: tuple[int, int]
    padding: str


@dataclass(frozen=True, slots=True)
class Flatten:
    """To (batch, all others), or to (batch, *shape)."""

    name: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Dense:
    """Matrix product with a kernel (inputs x units) along the last axis, and a bias."""

    name: str
    kernel: Literal
    bias: Literal | None = None


@dataclass(frozen=True, slots=True)
class ConvStep:
    """Convolution, kernel height x width x inputs x filters, and a bias."""

    name: str
    kernel: Literal
    bias: Literal | None
    strides: tuple[int, int]
    padding: str


@dataclass(frozen=True, slots=True)
class Activation:
    """One of ACTIVATIONS, by Keras' name, with its parameters."""

    name: str
    kind: str
    parameters: tuple[float, ...] = ()


Step: TypeAlias = "Scale | Resize | GlobalPool | Window | Flatten | Dense | ConvStep | Activation"


def add_steps(nodes: Nodes, x: Tensor, steps: Sequence[Step]) -> Tensor:
    """The output of the chain. GraphError names the step whose shapes do not fit."""
    for step in steps:
        x = _ADD[type(step)](nodes, step, x)
    return x


def _scale(nodes: Nodes, step: Scale, x: Tensor) -> Tensor:
    return nodes.op(step.op, [x, nodes.const(f"{step.name}/by", step.value)], step.name, T=FLOAT32)


def _resize(nodes: Nodes, step: Resize, x: Tensor) -> Tensor:
    size = nodes.const(f"{step.name}/size", np.array(step.size, np.int32))
    return nodes.op("ResizeBilinear", [x, size], step.name, T=FLOAT32, align_corners=False, half_pixel_centers=True)


def _global_pool(nodes: Nodes, step: GlobalPool, x: Tensor) -> Tensor:
    _, height, width, channels = _image(x, step.name)
    if height is None or width is None:
        axes = nodes.const(f"{step.name}/axes", np.array([1, 2], np.int32))
        kind = "Mean" if step.kind == "avg" else "Max"
        return nodes.op(kind, [x, axes], step.name, T=FLOAT32, Tidx=INT32, keep_dims=step.keep)
    x = _pool(nodes, step.name, x, step.kind, (height, width), (1, 1), "VALID")
    if step.keep:
        return x
    shape = nodes.const(f"{step.name}/_reshape/shape", np.array([-1, channels], np.int32))
    return nodes.op("Reshape", [x, shape], f"{step.name}/_reshape", T=FLOAT32, Tshape=INT32)


def _window(nodes: Nodes, step: Window, x: Tensor) -> Tensor:
    _image(x, step.name)
    return _pool(nodes, step.name, x, step.kind, step.size, step.strides, step.padding)


def _pool(
    nodes: Nodes, name: str, x: Tensor, kind: str, size: tuple[int, int], strides: tuple[int, int], padding: str
) -> Tensor:
    return nodes.op(
        "AvgPool" if kind == "avg" else "MaxPool",
        [x],
        name,
        T=FLOAT32,
        ksize=(1, *size, 1),
        strides=(1, *strides, 1),
        padding=padding,
        data_format="NHWC",
    )


def _flatten(nodes: Nodes, step: Flatten, x: Tensor) -> Tensor:
    sizes = (x.shape or ())[1:]
    if step.shape is None and len(sizes) == 1:
        return x
    known = [d for d in sizes if d is not None]
    if len(known) != len(sizes):
        raise GraphError(f"'{step.name}' needs a fixed input size, and the network's is any")
    shape = step.shape if step.shape is not None else (prod(known),)
    if prod(shape) != prod(known):
        raise GraphError(f"'{step.name}' makes {shape} of {tuple(sizes)}, which has another number of elements")
    value = nodes.const(f"{step.name}/shape", np.array([-1, *shape], np.int32))
    return nodes.op("Reshape", [x, value], step.name, T=FLOAT32, Tshape=INT32)


def _dense(nodes: Nodes, step: Dense, x: Tensor) -> Tensor:
    shape = x.shape or ()
    if len(shape) == 4:  # along the last axis: a 1x1 convolution
        return _conv(nodes, ConvStep(step.name, _as_image(step.kernel), step.bias, (1, 1), "VALID"), x)
    if len(shape) != 2 or shape[1] != step.kernel.shape[0]:
        raise GraphError(f"'{step.name}' has a kernel {step.kernel.shape} and gets {tuple(shape)}")
    whole = step.name if step.bias is None else f"{step.name}/MatMul"
    kernel = nodes.const(f"{step.name}/kernel", step.kernel)
    x = nodes.op("MatMul", [x, kernel], whole, T=FLOAT32, transpose_a=False, transpose_b=False)
    return _bias(nodes, step.name, step.bias, x)


def _as_image(kernel: Literal) -> Literal:
    shape = (1, 1, *kernel.shape)
    return Literal.lazy(FLOAT32, shape, lambda: kernel.array().reshape(shape), ("1x1", kernel.key))


def _conv(nodes: Nodes, step: ConvStep, x: Tensor) -> Tensor:
    if _image(x, step.name)[3] != step.kernel.shape[2]:
        raise GraphError(f"'{step.name}' has a kernel {step.kernel.shape} and gets {x.shape}")
    whole = step.name if step.bias is None else f"{step.name}/Conv2D"
    x = nodes.op(
        "Conv2D",
        [x, nodes.const(f"{step.name}/kernel", step.kernel)],
        whole,
        T=FLOAT32,
        strides=(1, *step.strides, 1),
        padding=step.padding,
        data_format="NHWC",
        dilations=(1, 1, 1, 1),
    )
    return _bias(nodes, step.name, step.bias, x)


def _bias(nodes: Nodes, name: str, bias: Literal | None, x: Tensor) -> Tensor:
    if bias is None:
        return x
    return nodes.op("BiasAdd", [x, nodes.const(f"{name}/bias", bias)], name, T=FLOAT32, data_format="NHWC")


def _image(x: Tensor, name: str) -> tuple[Any, Any, Any, Any]:
    shape = x.shape or ()
    if len(shape) != 4:
        raise GraphError(f"'{name}' takes (batch, height, width, channels) and gets {tuple(shape)}")
    return (shape[0], shape[1], shape[2], shape[3])


# --- activations ------------------------------------------------------------------------------------------------------------


class _Formula:
    """Small expressions with constants, under one name."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.nodes, self.name, self.count = nodes, name, 0

    def __call__(self, op: str, *operands: Tensor | float, last: bool = False, **attrs: Any) -> Tensor:
        values = [o if isinstance(o, Tensor) else self._number(o) for o in operands]
        self.count += 1
        return self.nodes.op(op, values, self.name if last else f"{self.name}/{self.count}", T=FLOAT32, **attrs)

    def _number(self, value: float) -> Tensor:
        self.count += 1
        return self.nodes.const(f"{self.name}/number_{self.count}", np.array(value, np.float32))


def _plain(op: str) -> Callable[..., Tensor]:
    return lambda f, x: f(op, x, last=True)


def _bent_relu(f: _Formula, x: Tensor, most: float = np.inf, slope: float = 0.0, threshold: float = 0.0) -> Tensor:
    """min(x, most) above the threshold, slope * (x - threshold) below it."""
    top = f("SelectV2", f("Greater", x, threshold), x, 0.0) if threshold else f("Relu", x)
    if most != np.inf:
        top = f("Minimum", top, most)
    if not slope:
        return f("Identity", top, last=True)
    below = f("Minimum", f("Sub", x, threshold) if threshold else x, 0.0)
    return f("AddV2", top, f("Mul", below, slope), last=True)


def _elu(f: _Formula, x: Tensor, alpha: float = 1.0, scale: float = 1.0, divisor: float = 1.0) -> Tensor:
    low = f("Minimum", x, 0.0)
    below = f("Sub", f("Exp", f("RealDiv", low, divisor) if divisor != 1 else low), 1.0)
    return f("AddV2", f("Mul", f("Relu", x), scale), f("Mul", below, scale * alpha), last=True)


def _gelu(f: _Formula, x: Tensor) -> Tensor:
    return f("Mul", f("Mul", x, 0.5), f("AddV2", f("Erf", f("Mul", x, 2**-0.5)), 1.0), last=True)


#: Keras' name -> nodes(formula, x, *parameters). Leaky ReLU and the like are 'relu' with parameters.
ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "relu": _plain("Relu"),
    "relu6": _plain("Relu6"),
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "softmax": _plain("Softmax"),
    "log_softmax": _plain("LogSoftmax"),
    "softplus": _plain("Softplus"),
    "exponential": _plain("Exp"),
    "bent_relu": _bent_relu,
    "elu": _elu,
    "selu": lambda f, x: _elu(f, x, 1.6732632423543772, 1.0507009873554805),
    "celu": lambda f, x, alpha=1.0: _elu(f, x, alpha, 1.0, alpha),
    "softsign": lambda f, x: f("RealDiv", x, f("AddV2", f("Abs", x), 1.0), last=True),
    "swish": lambda f, x: f("Mul", x, f("Sigmoid", x), last=True),
    "gelu": _gelu,
    "mish": lambda f, x: f("Mul", x, f("Tanh", f("Softplus", x)), last=True),
}


def _activation(nodes: Nodes, step: Activation, x: Tensor) -> Tensor:
    return ACTIVATIONS[step.kind](_Formula(nodes, step.name), x, *step.parameters)


_ADD: dict[type, Callable[..., Tensor]] = {
    Scale: _scale,
    Resize: _resize,
    GlobalPool: _global_pool,
    Window: _window,
    Flatten: _flatten,
    Dense: _dense,
    ConvStep: _conv,
    Activation: _activation,
}
