"""Chains of elementwise ops: the definition, one NumPy call after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..contracts.chains import CHAIN, ChainParams, parse_chain
from ..kernel import Kernel
from ..tensor import Array
from .support import activated, numpy_kernel, wider

__all__ = ["KERNELS"]


def _activated(name: str) -> Callable[[Array], Array]:
    def run(x: Array) -> Array:
        y = np.empty_like(x)
        activated(x, y, name)
        return y

    return run


def _sigmoid(x: Array) -> Array:
    power = np.exp(-np.abs(x))  # at most 1: nothing overflows
    return np.asarray(np.where(x >= 0, 1, power) / (1 + power))


def _of_libm(function: Callable[[float], float]) -> Callable[[Array], Array]:
    of_array = np.vectorize(function, otypes=[np.float64])
    return lambda x: np.asarray(of_array(x))


def _elu(x: Array) -> Array:
    return np.asarray(np.where(x < 0, np.expm1(np.minimum(x, 0)), x))


def _selu(x: Array) -> Array:
    low, high = x.dtype.type(1.7580993408473768), x.dtype.type(1.0507009873554805)
    return np.asarray(np.where(x < 0, low * np.expm1(np.minimum(x, 0)), high * x))


def _extreme(ufunc: np.ufunc) -> Callable[[Array, Array], Array]:
    """Of equal numbers the second, as the contracts of maximum and minimum have it."""
    return lambda a, b: np.asarray(np.where(a == b, b, ufunc(a, b)))


_UNARY: dict[str, Callable[[Array], Array]] = {
    "neg": np.negative, "abs": np.absolute, "square": np.square, "floor": np.floor, "ceil": np.ceil, "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "reciprocal": np.reciprocal, "exp": np.exp, "log": np.log, "tanh": np.tanh,
    "relu": _activated("relu"), "relu6": _activated("relu6"), "sigmoid": _sigmoid, "elu": _elu, "selu": _selu,
    "softsign": lambda x: x / (1 + np.abs(x)), "erf": _of_libm(math.erf), "erfc": _of_libm(math.erfc),
}  # fmt: skip
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": _extreme(np.maximum),
    "minimum": _extreme(np.minimum), "squared_difference": lambda a, b: np.square(a - b),
    "leaky_relu": lambda a, b: np.where(a < 0, a * b, a),
}  # fmt: skip


def _chain(inputs: Sequence[Array], outputs: Sequence[Array], params: ChainParams) -> None:
    x, *operands = inputs
    dtype = wider(x.dtype)
    values: dict[str | float, Array] = {"x": x.astype(dtype, copy=False)}
    values.update((f"a{i}", a.astype(dtype, copy=False)) for i, a in enumerate(operands))
    for number, step in enumerate(parse_chain(params.steps)):
        # A number is rounded to the type of x, whose steps these are.
        given = [np.asarray(x.dtype.type(v)).astype(dtype) if isinstance(v, float) else values[v] for v in step.values]
        made = _UNARY[step.op](given[0]) if len(given) == 1 else _BINARY[step.op](given[0], given[1])
        values[f"t{number}"] = made.astype(dtype, copy=False)
        result = values[f"t{number}"]
    outputs[0][...] = result


KERNELS: tuple[Kernel, ...] = (numpy_kernel(CHAIN, "host", _chain),)
