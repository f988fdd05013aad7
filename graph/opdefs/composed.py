"""Activations that are no op of their own, spelled once with ops: loaders, models and passes compose them here.

So the same activation has the same bits and is found by the same patterns, whatever file it came from.
"""

from __future__ import annotations

import math
from typing import Protocol, TypeVar

__all__ = ["Writer", "gelu", "hard_sigmoid", "hard_swish", "mish", "silu"]

V = TypeVar("V")


class Writer(Protocol[V]):
    """What adds ops to some graph. V: its handle of a tensor."""

    def op(self, type: str, /, *inputs: V) -> V:
        """The first output of a new op of TensorFlow's type."""
        ...

    def like(self, x: V, value: float) -> V:
        """A scalar constant of the element type of ``x``."""
        ...


def gelu(write: Writer[V], x: V, *, approximate: bool = False) -> V:
    """x / 2 * (1 + erf(x / sqrt(2))), x times the probability that a normal variable is below it.

    approximate: with tanh(sqrt(2 / pi) * (x + 0.044715 x ** 3)) in place of erf.
    """
    if approximate:
        cube = write.op("Mul", write.op("Mul", x, write.op("Square", x)), write.like(x, 0.044715))
        curve = write.op("Tanh", write.op("Mul", write.op("AddV2", x, cube), write.like(x, math.sqrt(2 / math.pi))))
    else:
        curve = write.op("Erf", write.op("Mul", x, write.like(x, math.sqrt(0.5))))
    return write.op("Mul", write.op("Mul", x, write.like(x, 0.5)), write.op("AddV2", curve, write.like(x, 1.0)))


def _gate(write: Writer[V], x: V) -> V:
    return write.op("Relu6", write.op("AddV2", x, write.like(x, 3.0)))


def hard_sigmoid(write: Writer[V], x: V) -> V:
    """min(max(x + 3, 0), 6) / 6."""
    return write.op("Mul", _gate(write, x), write.like(x, 1 / 6))


def hard_swish(write: Writer[V], x: V, *, last: bool = False) -> V:
    """x * min(max(x + 3, 0), 6) / 6; last: divided after the product, as TensorFlow Lite does, which rounds otherwise."""
    if last:
        return write.op("Mul", write.op("Mul", x, _gate(write, x)), write.like(x, 1 / 6))
    return write.op("Mul", x, hard_sigmoid(write, x))


def mish(write: Writer[V], x: V) -> V:
    """x * tanh(log(1 + e ** x))."""
    return write.op("Mul", x, write.op("Tanh", write.op("Softplus", x)))


def silu(write: Writer[V], x: V) -> V:
    """x / (1 + e ** -x), also called swish."""
    return write.op("Mul", x, write.op("Sigmoid", x))
