"""Elementwise ops as NumPy ufuncs, which take any strides and an output that is one of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts import elementwise as ops
from ..contracts.base import Contract
from ..host.support import activate, numpy_kernel, wider
from ..kernel import Kernel
from ..tensor import Array, Params

__all__ = ["KERNELS"]


def _ufunc(contract: Contract[Params], ufunc: Callable[..., Any]) -> Kernel:
    """Kernel of one ufunc. NumPy itself computes float16 functions in float32."""

    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        ufunc(*inputs, out=outputs[0])

    return numpy_kernel(contract, "numpy", run)


def _rsqrt(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    outputs[0][...] = 1 / np.sqrt(inputs[0].astype(wider(inputs[0].dtype), copy=False))


def _relu(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    outputs[0][...] = inputs[0]
    activate(outputs[0], "relu")


def _relu6(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    outputs[0][...] = inputs[0]
    activate(outputs[0], "relu6")


def _maximum(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    a, b = inputs
    outputs[0][...] = np.where((a > b) | (a != a), a, b)


def _minimum(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    a, b = inputs
    outputs[0][...] = np.where((a < b) | (a != a), a, b)


def _sigmoid(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x = inputs[0].astype(wider(inputs[0].dtype), copy=False)
    small = np.exp(-np.abs(x))  # at most 1: nothing overflows, and small results keep their digits
    outputs[0][...] = np.where(x >= 0, 1, small) / (1 + small)


def _squared_difference(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    (y,) = outputs
    np.subtract(inputs[0], inputs[1], out=y)
    if y.dtype.kind == "c":
        y[...] = np.square(y.real) + np.square(y.imag)
    else:
        np.square(y, out=y)


KERNELS = (
    _ufunc(ops.NEG, np.negative),
    _ufunc(ops.ABS, np.absolute),
    _ufunc(ops.SQUARE, np.square),
    _ufunc(ops.SQRT, np.sqrt),
    numpy_kernel(ops.RSQRT, "numpy", _rsqrt),
    _ufunc(ops.RECIPROCAL, np.reciprocal),
    _ufunc(ops.EXP, np.exp),
    _ufunc(ops.LOG, np.log),
    numpy_kernel(ops.RELU, "numpy", _relu),
    numpy_kernel(ops.RELU6, "numpy", _relu6),
    numpy_kernel(ops.SIGMOID, "numpy", _sigmoid),
    _ufunc(ops.TANH, np.tanh),
    _ufunc(ops.ADD, np.add),
    _ufunc(ops.SUB, np.subtract),
    _ufunc(ops.MUL, np.multiply),
    _ufunc(ops.DIV, np.divide),
    numpy_kernel(ops.MAXIMUM, "numpy", _maximum),
    numpy_kernel(ops.MINIMUM, "numpy", _minimum),
    numpy_kernel(ops.SQUARED_DIFFERENCE, "numpy", _squared_difference),
)
