"""Elementwise ops outside the hot set: rounding, rarer functions, comparisons, logic, select."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts import elementwise as ops
from ..contracts.base import Contract
from ..errors import KernelError
from ..kernel import Kernel
from ..tensor import Array, Params, is_float, is_int
from .support import numpy_kernel, wider

__all__ = ["KERNELS"]


def _ufunc(contract: Contract[Params], ufunc: Callable[..., Any]) -> Kernel:
    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        ufunc(*inputs, out=outputs[0])

    return numpy_kernel(contract, "host", run)


_erf_of_object = np.frompyfunc(math.erf, 1, 1)


def _erf(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    # NumPy has no erf; the C library's is exact to an ulp in float64.
    outputs[0][...] = _erf_of_object(inputs[0].astype(np.float64))


def _softplus(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x = inputs[0].astype(wider(inputs[0].dtype), copy=False)
    outputs[0][...] = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _check_divisor(op: str, x: Array) -> None:
    if is_int(x.dtype) and not x.all():
        raise KernelError(f"{op}: integer division by zero; the divisor of shape {x.shape} has a 0")


def _floordiv(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x0, x1 = inputs
    _check_divisor("floordiv", x1)
    if is_int(x0.dtype):
        np.floor_divide(x0, x1, out=outputs[0])
    else:
        np.floor(np.divide(x0, x1), out=outputs[0])


def _floormod(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    """The exact remainder with the divisor's sign; the formula taken literally would round three times."""
    _check_divisor("floormod", inputs[1])
    np.mod(inputs[0], inputs[1], out=outputs[0])


def _truncdiv(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    """For integers floor division, plus 1 where the signs differ and something remains."""
    x0, x1 = inputs
    _check_divisor("truncdiv", x1)
    if is_float(x0.dtype):
        np.trunc(np.divide(x0, x1), out=outputs[0])
        return
    quotient = np.floor_divide(x0, x1)
    outputs[0][...] = quotient + ((np.fmod(x0, x1) != 0) & ((x0 < 0) != (x1 < 0)))


def _truncmod(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    _check_divisor("truncmod", inputs[1])
    np.fmod(inputs[0], inputs[1], out=outputs[0])


def _pow(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    x0, x1 = inputs
    if x1.dtype.kind == "i" and x1.size and x1.min() < 0:
        raise KernelError(f"pow: integers cannot be raised to the negative power {x1.min()}; cast to a float type")
    np.power(x0, x1, out=outputs[0])


def _select(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    outputs[0][...] = np.where(*inputs)


def _select_rows(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    condition, x, y = inputs
    outputs[0][...] = np.where(condition.reshape(-1, *[1] * (x.ndim - 1)), x, y)


KERNELS = (
    _ufunc(ops.SIGN, np.sign),
    _ufunc(ops.LOG1P, np.log1p),
    numpy_kernel(ops.ERF, "host", _erf),
    _ufunc(ops.SIN, np.sin),
    _ufunc(ops.COS, np.cos),
    _ufunc(ops.FLOOR, np.floor),
    _ufunc(ops.CEIL, np.ceil),
    _ufunc(ops.ROUND, np.round),
    numpy_kernel(ops.SOFTPLUS, "host", _softplus),
    _ufunc(ops.LOGICAL_NOT, np.logical_not),
    numpy_kernel(ops.FLOORDIV, "host", _floordiv),
    numpy_kernel(ops.FLOORMOD, "host", _floormod),
    numpy_kernel(ops.TRUNCDIV, "host", _truncdiv),
    numpy_kernel(ops.TRUNCMOD, "host", _truncmod),
    numpy_kernel(ops.POW, "host", _pow),
    _ufunc(ops.EQUAL, np.equal),
    _ufunc(ops.NOT_EQUAL, np.not_equal),
    _ufunc(ops.LESS, np.less),
    _ufunc(ops.LESS_EQUAL, np.less_equal),
    _ufunc(ops.GREATER, np.greater),
    _ufunc(ops.GREATER_EQUAL, np.greater_equal),
    _ufunc(ops.LOGICAL_AND, np.logical_and),
    _ufunc(ops.LOGICAL_OR, np.logical_or),
    numpy_kernel(ops.SELECT, "host", _select),
    numpy_kernel(ops.SELECT_ROWS, "host", _select_rows),
)
