"""The composed activations (opdefs/composed.py) on tensors; for what builds networks, not part of the public functions."""

from __future__ import annotations

from ..builder import Tensor
from ..opdefs import composed
from .building import add_op, convert

__all__ = ["gelu", "hard_sigmoid", "hard_swish", "mish", "silu"]


class _OnTensors:
    """Adds ops to the graph of their inputs."""

    def op(self, type: str, /, *inputs: Tensor) -> Tensor:
        return add_op(type, inputs, None)

    def like(self, x: Tensor, value: float) -> Tensor:
        return convert(value, x.dtype, beside=x)


_ON_TENSORS = _OnTensors()


def gelu(x: Tensor, *, approximate: bool = False) -> Tensor:
    """Of a float tensor of any shape; approximate: by tanh instead of erf."""
    return composed.gelu(_ON_TENSORS, x, approximate=approximate)


def hard_sigmoid(x: Tensor) -> Tensor:
    """relu6(x + 3) / 6 of a float tensor of any shape."""
    return composed.hard_sigmoid(_ON_TENSORS, x)


def hard_swish(x: Tensor) -> Tensor:
    """x * relu6(x + 3) / 6 of a float tensor of any shape."""
    return composed.hard_swish(_ON_TENSORS, x)


def mish(x: Tensor) -> Tensor:
    """x * tanh(softplus(x)) of a float tensor of any shape."""
    return composed.mish(_ON_TENSORS, x)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x) of a float tensor of any shape."""
    return composed.silu(_ON_TENSORS, x)
