"""Elementwise ops as NumPy ufuncs, which take any strides and an output that is one of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts import elementwise as ops
from ..contracts.base import Contract
from ..host.support import activated, gives_second, in_blocks, in_float32, numpy_kernel, wider
from ..kernel import Kernel
from ..tensor import Array, Params

__all__ = ["KERNELS"]


#: Of two inputs, and taken where these are bfloat16 in memory.
_STORED = (ops.ADD, ops.MUL, ops.MAXIMUM)


def _ufunc(contract: Contract[Params], ufunc: Callable[..., Any]) -> Kernel:
    """Kernel of one ufunc. NumPy itself computes float16 functions in float32."""

    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        ufunc(*inputs, out=outputs[0])

    stored = contract in _STORED
    return numpy_kernel(contract, "numpy", in_float32(run) if stored else run, bfloat16=stored)


def _rsqrt(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    def block(x: Array, y: Array) -> None:
        if wider(x.dtype) != x.dtype:
            y[...] = 1 / np.sqrt(x.astype(wider(x.dtype)))
            return
        np.sqrt(x, out=y)
        np.divide(y.dtype.type(1), y, out=y)

    in_blocks(block, inputs, outputs[0])


def _relu(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    activated(inputs[0], outputs[0], "relu")


def _relu6(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    activated(inputs[0], outputs[0], "relu6")


def _extreme(contract: Contract[Params], ufunc: Any) -> Kernel:
    """The larger or smaller number, NaN if either is; of equal ones the second, which np.maximum does not promise for -0 and 0."""

    def block(a: Array, b: Array, y: Array) -> None:
        equal = a == b
        second = b[equal] if b.shape == equal.shape else np.broadcast_to(b, equal.shape)[equal]
        ufunc(a, b, out=y)
        y[equal] = second

    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        if outputs[0].dtype.kind != "f" or gives_second(ufunc, outputs[0].dtype):
            ufunc(*inputs, out=outputs[0])
        else:
            in_blocks(block, inputs, outputs[0])

    stored = contract in _STORED
    return numpy_kernel(contract, "numpy", in_float32(run) if stored else run, bfloat16=stored)


#: Above it e ** -x is no infinity in float32.
_SAFE = -80.0


def _sigmoid(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    def block(x: Array, y: Array) -> None:
        wide = x.astype(wider(x.dtype), copy=False)
        if wide.size and wide.min() > _SAFE:  # False for NaN
            power = np.negative(wide, out=y if y.dtype == wide.dtype else None)
            np.exp(power, out=power)
            power += 1
            np.divide(wide.dtype.type(1), power, out=y, casting="same_kind")
            return
        small = np.abs(wide)
        np.negative(small, out=small)
        np.exp(small, out=small)  # at most 1: nothing overflows, and small results keep their digits
        top = np.maximum((wide >= 0).astype(wide.dtype), small)
        small += 1
        np.divide(top, small, out=y, casting="same_kind")

    in_blocks(block, inputs, outputs[0])


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
    numpy_kernel(ops.RELU, "numpy", in_float32(_relu), bfloat16=True),
    numpy_kernel(ops.RELU6, "numpy", in_float32(_relu6), bfloat16=True),
    numpy_kernel(ops.SIGMOID, "numpy", _sigmoid),
    _ufunc(ops.TANH, np.tanh),
    _ufunc(ops.ADD, np.add),
    _ufunc(ops.SUB, np.subtract),
    _ufunc(ops.MUL, np.multiply),
    _ufunc(ops.DIV, np.divide),
    _extreme(ops.MAXIMUM, np.maximum),
    _extreme(ops.MINIMUM, np.minimum),
    numpy_kernel(ops.SQUARED_DIFFERENCE, "numpy", _squared_difference),
)
