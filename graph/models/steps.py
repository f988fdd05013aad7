"""What follows the blocks of a built-in network: pooling, a dense layer, softmax. A step is data; ``add_steps`` makes nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..builder import Tensor
from ..errors import GraphError
from ..ir import Literal
from .nodes import FLOAT32, INT32, Nodes

__all__ = ["Dense", "GlobalPool", "Softmax", "Step", "add_steps"]


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean over height and width."""

    name: str


@dataclass(frozen=True, slots=True)
class Dense:
    """Matrix product with a kernel (inputs x units), and a bias."""

    name: str
    kernel: Literal
    bias: Literal | None = None


@dataclass(frozen=True, slots=True)
class Softmax:
    """Probabilities along the last axis."""

    name: str


Step: TypeAlias = "GlobalPool | Dense | Softmax"


def add_steps(nodes: Nodes, x: Tensor, steps: Sequence[Step]) -> Tensor:
    """The output of the chain. GraphError names the step whose shapes do not fit."""
    for step in steps:
        x = _ADD[type(step)](nodes, step, x)
    return x


def _global_pool(nodes: Nodes, step: GlobalPool, x: Tensor) -> Tensor:
    _, height, width, channels = x.shape or (None,) * 4
    window = (1, height, width, 1)
    strides, layout = (1, 1, 1, 1), "NHWC"
    x = nodes.op(
        "AvgPool", [x], step.name, T=FLOAT32, ksize=window, strides=strides, padding="VALID", data_format=layout
    )
    shape = nodes.const(f"{step.name}/_reshape/shape", np.array([-1, channels], np.int32))
    return nodes.op("Reshape", [x, shape], f"{step.name}/_reshape", T=FLOAT32, Tshape=INT32)


def _dense(nodes: Nodes, step: Dense, x: Tensor) -> Tensor:
    shape = x.shape or ()
    if len(shape) != 2 or shape[1] != step.kernel.shape[0]:
        raise GraphError(f"'{step.name}' has a kernel {step.kernel.shape} and gets {tuple(shape)}")
    whole = step.name if step.bias is None else f"{step.name}/MatMul"
    kernel = nodes.const(f"{step.name}/kernel", step.kernel)
    x = nodes.op("MatMul", [x, kernel], whole, T=FLOAT32, transpose_a=False, transpose_b=False)
    if step.bias is None:
        return x
    bias = nodes.const(f"{step.name}/bias", step.bias)
    return nodes.op("BiasAdd", [x, bias], step.name, T=FLOAT32, data_format="NHWC")


_ADD: dict[type, Callable[..., Tensor]] = {
    GlobalPool: _global_pool,
    Dense: _dense,
    Softmax: lambda nodes, step, x: nodes.op("Softmax", [x], step.name, T=FLOAT32),
}
