"""Random numbers: other ones in every run, and those of a seed are kigraph's own: ONNX does not say which a seed gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....kernels.tensor import DType
from ...builder import Tensor
from .node import Converter, Node

__all__ = ["CONVERTERS"]


def _seed(n: Node) -> int:
    """A whole number of the attribute's bits; 0 stands for no seed."""
    if not n.has("seed"):
        return 0
    return int(np.float32(n.number("seed", 0.0)).view(np.int32)) or 1


def _dtype(n: Node, like: Tensor | None) -> DType:
    """The type that the node states, else that of the input, else float32."""
    if n.has("dtype"):
        return n.element_type(n.integer("dtype", 1))
    return np.dtype(np.float32) if like is None else n.dtype(like)


def _shape(n: Node, like: Tensor | None) -> Tensor:
    if like is not None:
        return n.sizes(like)
    sizes = n.ints("shape")
    if sizes is None or min(sizes, default=0) < 0:
        raise n.wrong(f"shape {sizes}", "sizes from 0")
    return n.const(list(sizes))


def _drawn(type: str, like: bool) -> Converter:
    """Uniform between low and high, or normal with a mean and a deviation."""

    def convert(n: Node) -> Tensor:
        x = n.input(0) if like else None
        dtype = _dtype(n, x)
        if dtype.kind != "f":
            raise n.wrong(f"random numbers of type {dtype}", "a type of floats")
        y = n.op(type, _shape(n, x), dtype=dtype, seed=_seed(n))
        if type == "RandomUniform":
            low, high = n.number("low", 0.0), n.number("high", 1.0)
            factor, shift = high - low, low
        else:
            factor, shift = n.number("scale", 1.0), n.number("mean", 0.0)
        if factor != 1:
            y = n.op("Mul", y, n.const(factor, dtype))
        return n.op("AddV2", y, n.const(shift, dtype)) if shift else y

    return convert


def _bernoulli(n: Node) -> Tensor:
    """1 with the probability that each element states, else 0."""
    x = n.input(0)
    kind = _dtype(n, x)
    if n.dtype(x).kind != "f":
        raise n.wrong(f"probabilities of type {n.dtype(x)}", "floats")
    drawn = n.op("RandomUniform", n.sizes(x), dtype=n.dtype(x), seed=_seed(n))
    return n.cast(n.op("Less", drawn, x), kind)


CONVERTERS: Mapping[str, Converter] = {
    "RandomUniform": _drawn("RandomUniform", like=False),
    "RandomUniformLike": _drawn("RandomUniform", like=True),
    "RandomNormal": _drawn("RandomStandardNormal", like=False),
    "RandomNormalLike": _drawn("RandomStandardNormal", like=True),
    "Bernoulli": _bernoulli,
}
