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
from .support import choose, in_blocks, numpy_kernel, wider

__all__ = ["KERNELS"]


def _ufunc(contract: Contract[Params], ufunc: Callable[..., Any]) -> Kernel:
    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        ufunc(*inputs, out=outputs[0])

    return numpy_kernel(contract, "host", run)


def _of_libm(contract: Contract[Params], function: Callable[[float], float]) -> Kernel:
    """What NumPy lacks: the C library's function, which is exact to an ulp in float64, of one number after the other."""
    of_object = np.frompyfunc(function, 1, 1)

    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        outputs[0][...] = of_object(inputs[0].astype(np.float64))

    return numpy_kernel(contract, "host", run)


def _of_wider(contract: Contract[Params], function: Callable[[Array, Array], None]) -> Kernel:
    """A formula of several steps into an array of the same type, in float32 for float16."""

    def block(x: Array, y: Array) -> None:
        if wider(x.dtype) == x.dtype:
            function(x, y)
        else:
            wide = x.astype(wider(x.dtype))
            function(wide, wide)
            y[...] = wide

    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        in_blocks(block, inputs, outputs[0])

    return numpy_kernel(contract, "host", run)


def _elu(x: Array, y: Array) -> None:
    choose(x < 0, np.expm1(np.minimum(x, 0)), x, y)


#: alpha * scale and scale of the paper.
_SELU_LOW, _SELU = 1.7580993408473768599402175208123, 1.0507009873554804934193349852946


def _selu(x: Array, y: Array) -> None:
    kind = x.dtype.type
    choose(x < 0, kind(_SELU_LOW) * np.expm1(np.minimum(x, 0)), kind(_SELU) * x, y)


def _softsign(x: Array, y: Array) -> None:
    below = np.abs(x)
    below += 1
    np.divide(x, below, out=y)


def _softplus(x: Array, y: Array) -> None:
    small = np.abs(x)
    np.exp(np.negative(small, out=small), out=small)
    np.add(np.maximum(x, 0), np.log1p(small, out=small), out=y)


def _zero_where(contract: Contract[Params], function: Callable[[Array, Array, Array], Any], number: int) -> Kernel:
    """0 where input ``number`` is 0, whatever the other one is, NaN too. function: writes into the third, which may be the first."""

    def block(a: Array, b: Array, y: Array) -> None:
        zero = np.equal((a, b)[number], 0)
        function(a, b, y)
        if zero.any():
            np.copyto(y, 0, where=zero)

    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        in_blocks(block, inputs, outputs[0])

    return numpy_kernel(contract, "host", run)


def _shift(contract: Contract[Params], shift: Callable[..., Any]) -> Kernel:
    """C leaves shifts by more bits than there are open; TensorFlow and this stop at all but one."""

    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        x, bits = inputs
        most = 8 * x.itemsize - 1
        # One comparison for both ends: a negative number is a huge one without a sign.
        if bits.size and np.maximum.reduce(bits.view(f"u{bits.itemsize}"), axis=None) > most:
            bits = np.clip(bits, 0, most)
        shift(x, bits, out=outputs[0])

    return numpy_kernel(contract, "host", run)


def _leaky_relu(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.LeakyReluParams) -> None:
    alpha = inputs[0].dtype.type(params.alpha)
    in_blocks(lambda x, y: choose(x < 0, x * alpha, x, y), inputs, outputs[0])


def _add_n(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    """float16 is rounded once."""
    (y,) = outputs
    if wider(y.dtype) == y.dtype and len(inputs) > 1:
        np.add(inputs[0], inputs[1], out=y)
        for x in inputs[2:]:
            np.add(y, x, out=y)
    else:
        total = inputs[0].astype(wider(y.dtype))
        for x in inputs[1:]:
            total += x
        y[...] = total


def _approximate_equal(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.ApproximateEqualParams) -> None:
    x0, x1 = inputs
    difference = np.abs(x0 - x1)
    outputs[0][...] = difference < difference.dtype.type(params.tolerance)


def _clip(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    np.clip(*inputs, out=outputs[0])  # np.minimum(np.maximum(x, low), high), a NaN of a bound, too


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
    """For integers floor division, plus 1 where the signs differ and something remains: nowhere if none is negative."""
    x0, x1 = inputs
    _check_divisor("truncdiv", x1)
    if is_int(x0.dtype) and (x0.dtype.kind == "u" or (x0.min(initial=0) >= 0 and x1.min(initial=0) >= 0)):
        np.floor_divide(x0, x1, out=outputs[0])
        return
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
    in_blocks(choose, inputs, outputs[0])


def _select_rows(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    condition, x, y = inputs
    choose(condition.reshape(-1, *[1] * (x.ndim - 1)), x, y, outputs[0])


KERNELS = (
    _ufunc(ops.SIGN, np.sign),
    _ufunc(ops.LOG1P, np.log1p),
    _ufunc(ops.EXPM1, np.expm1),
    _of_libm(ops.ERF, math.erf),
    _of_libm(ops.ERFC, math.erfc),
    _ufunc(ops.SIN, np.sin),
    _ufunc(ops.COS, np.cos),
    _ufunc(ops.TAN, np.tan),
    _ufunc(ops.ASIN, np.arcsin),
    _ufunc(ops.ACOS, np.arccos),
    _ufunc(ops.ATAN, np.arctan),
    _ufunc(ops.SINH, np.sinh),
    _ufunc(ops.COSH, np.cosh),
    _ufunc(ops.ASINH, np.arcsinh),
    _ufunc(ops.ACOSH, np.arccosh),
    _ufunc(ops.ATANH, np.arctanh),
    _of_wider(ops.ELU, _elu),
    _of_wider(ops.SELU, _selu),
    _of_wider(ops.SOFTSIGN, _softsign),
    numpy_kernel(ops.LEAKY_RELU, "host", _leaky_relu),
    numpy_kernel(ops.ADD_N, "host", _add_n),
    numpy_kernel(ops.CLIP, "host", _clip),
    numpy_kernel(ops.APPROXIMATE_EQUAL, "host", _approximate_equal),
    _ufunc(ops.IS_NAN, np.isnan),
    _ufunc(ops.IS_INF, np.isinf),
    _ufunc(ops.IS_FINITE, np.isfinite),
    _ufunc(ops.INVERT, np.invert),
    _ufunc(ops.FLOOR, np.floor),
    _ufunc(ops.CEIL, np.ceil),
    _ufunc(ops.ROUND, np.round),
    _of_wider(ops.SOFTPLUS, _softplus),
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
    _ufunc(ops.ATAN2, np.arctan2),
    _zero_where(ops.DIV_NO_NAN, np.divide, 1),
    _zero_where(ops.MUL_NO_NAN, np.multiply, 1),
    _zero_where(ops.XLOGY, lambda a, b, y: np.multiply(a, np.log(b), out=y), 0),
    _zero_where(ops.XLOG1PY, lambda a, b, y: np.multiply(a, np.log1p(b), out=y), 0),
    _zero_where(ops.XDIVY, np.divide, 0),
    _ufunc(ops.BITWISE_AND, np.bitwise_and),
    _ufunc(ops.BITWISE_OR, np.bitwise_or),
    _ufunc(ops.BITWISE_XOR, np.bitwise_xor),
    _shift(ops.LEFT_SHIFT, np.left_shift),
    _shift(ops.RIGHT_SHIFT, np.right_shift),
    numpy_kernel(ops.SELECT, "host", _select),
    numpy_kernel(ops.SELECT_ROWS, "host", _select_rows),
)
