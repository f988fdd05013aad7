"""Elementwise ops: one input (activations, roots, logs), two inputs with broadcasting, comparisons, select.

All of them take any shape, empty ones too. NaN in gives NaN out, also through relu, relu6, maximum and minimum. Zeros keep
their sign as IEEE 754 says, through odd functions (tanh, sin, erf, log1p), roots and rounding, too: round(-0.4) is -0.
relu and relu6 keep -0; maximum and minimum of equal numbers give the second; sign gives +0. Left open: the zero of floormod.

float32 functions of the C kernels (cython) are within 2 units in the last place of the exact value, tanh and sigmoid within 2.5,
erfc within 10, on every instruction set; results below the normal range may be 0. Other backends keep the tolerance that a contract states.

relu, relu6, add, mul and maximum take bfloat16 in memory: computed in float32 and rounded once; the second input may be float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import BFLOAT16, DType, Params, TensorType
from .base import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    Contract,
    Tolerance,
    aligned_items,
    broadcast_shapes,
    merge_shapes,
    require_dtype,
    require_rank,
    require_same_dtype,
    stored_dtype,
)

__all__ = [
    "ABS", "ACOS", "ACOSH", "ADD", "ADD_N", "APPROXIMATE_EQUAL", "ASIN", "ASINH", "ATAN", "ATAN2", "ATANH", "BINARY", "BITWISE_AND",
    "BITWISE_OR", "BITWISE_XOR", "CEIL", "CLIP", "COMPARISONS", "COS", "COSH", "DIV", "DIV_NO_NAN", "ELU", "EQUAL",
    "ERF", "ERFC", "EXP", "EXPM1", "FLOOR", "FLOORDIV", "FLOORMOD", "GREATER", "GREATER_EQUAL", "INVERT", "IS_FINITE",
    "IS_INF", "IS_NAN", "LEAKY_RELU", "LEFT_SHIFT", "LESS", "LESS_EQUAL", "LOG", "LOG1P", "LOGICAL_AND",
    "LOGICAL_NOT", "LOGICAL_OR", "MAXIMUM", "MINIMUM", "MUL", "MUL_NO_NAN", "NEG", "NOT_EQUAL", "POW", "RECIPROCAL",
    "RELU", "RELU6", "RIGHT_SHIFT", "ROUND", "RSQRT", "SELECT", "SELECT_ROWS", "SELU", "SIGMOID", "SIGN", "SIN",
    "SINH", "SOFTPLUS", "SOFTSIGN", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB", "TAN", "TANH", "TRUNCDIV",
    "TRUNCMOD", "UNARY", "XDIVY", "XLOG1PY", "XLOGY", "ApproximateEqualParams", "LeakyReluParams",
]  # fmt: skip

BOOL: DType = np.dtype(bool)
REALS = FLOATS | INTEGERS
INEXACT = FLOATS | frozenset(map(np.dtype, ("complex64", "complex128")))


def _unary(
    name: str,
    formula: str,
    dtypes: frozenset[DType],
    tolerance: Tolerance | None = None,
    *,
    hot: bool = True,
    result: DType | None = None,
    stored: tuple[DType, ...] = (),
) -> Contract[Params]:
    def infer(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        if inputs[0].dtype not in stored:
            require_dtype(name, "the input", inputs[0].dtype, dtypes)
        if result is not None:
            return (TensorType(result, inputs[0].shape),)
        if name == "abs" and inputs[0].dtype.kind == "c":
            return (TensorType(np.dtype(f"float{inputs[0].dtype.itemsize * 4}"), inputs[0].shape),)
        return (inputs[0],)

    return Contract(
        name,
        f"y = {formula}, elementwise; y has the shape {'' if result else 'and dtype '}of x.",
        infer,
        inplace=result is None,
        hot=hot,
        flops=lambda inputs, outputs, params: outputs[0].size,
        tolerance=tolerance or Tolerance(0, 0),
        by_item=aligned_items,
    )


def _binary(
    name: str,
    formula: str,
    dtypes: frozenset[DType],
    *,
    result: DType | None = None,
    hot: bool = True,
    tolerance: Tolerance | None = None,
    stored: tuple[DType, ...] = (),
) -> Contract[Params]:
    def infer(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        if inputs[0].dtype in stored and inputs[1].dtype != inputs[0].dtype:
            dtype = stored_dtype(name, inputs, narrow=True)
        else:
            dtype = require_same_dtype(name, inputs)
        if dtype not in stored:
            require_dtype(name, "the inputs", dtype, dtypes)
        return (TensorType(result or dtype, broadcast_shapes(name, [t.shape for t in inputs])),)

    return Contract(
        name,
        f"y = {formula}, elementwise with NumPy's broadcasting; x0 and x1 have one dtype.",
        infer,
        arity=(2, 2),
        inplace=result is None,
        hot=hot,
        flops=lambda inputs, outputs, params: outputs[0].size,
        tolerance=tolerance or Tolerance(0, 0),
        by_item=aligned_items,
    )


_STORED = (BFLOAT16,)
_CLOSE = Tolerance(rtol=2e-6, atol=1e-7)

NEG = _unary("neg", "-x", NUMBERS)
ABS = _unary("abs", "|x|", NUMBERS)
SIGN = _unary("sign", "-1, 0 or 1", REALS, hot=False)
SQUARE = _unary("square", "x * x", NUMBERS)
SQRT = _unary("sqrt", "sqrt(x); NaN below 0", INEXACT, _CLOSE)
RSQRT = _unary("rsqrt", "1 / sqrt(x)", INEXACT, _CLOSE)
RECIPROCAL = _unary("reciprocal", "1 / x", INEXACT, _CLOSE)
EXP = _unary("exp", "e ** x", INEXACT, _CLOSE)
LOG = _unary("log", "natural logarithm of x; -inf at 0, NaN below", INEXACT, _CLOSE)
LOG1P = _unary("log1p", "log(1 + x)", INEXACT, _CLOSE, hot=False)
EXPM1 = _unary("expm1", "e ** x - 1", INEXACT, _CLOSE, hot=False)
ERF = _unary("erf", "the error function", FLOATS, _CLOSE, hot=False)
ERFC = _unary("erfc", "1 - erf(x), exact where that cancels", FLOATS, Tolerance(2e-6, 1e-37), hot=False)
SIN = _unary("sin", "sin(x)", INEXACT, _CLOSE, hot=False)
COS = _unary("cos", "cos(x)", INEXACT, _CLOSE, hot=False)
TAN = _unary("tan", "tan(x)", INEXACT, _CLOSE, hot=False)
ASIN = _unary("asin", "the angle from -pi / 2 whose sine is x; NaN beyond 1", INEXACT, _CLOSE, hot=False)
ACOS = _unary("acos", "the angle from 0 whose cosine is x; NaN beyond 1", INEXACT, _CLOSE, hot=False)
ATAN = _unary("atan", "the angle whose tangent is x", INEXACT, _CLOSE, hot=False)
SINH = _unary("sinh", "(e ** x - e ** -x) / 2", INEXACT, _CLOSE, hot=False)
COSH = _unary("cosh", "(e ** x + e ** -x) / 2", INEXACT, _CLOSE, hot=False)
ASINH = _unary("asinh", "the inverse of sinh", INEXACT, _CLOSE, hot=False)
ACOSH = _unary("acosh", "the inverse of cosh; NaN below 1", INEXACT, _CLOSE, hot=False)
ATANH = _unary("atanh", "the inverse of tanh; NaN beyond 1", INEXACT, _CLOSE, hot=False)
FLOOR = _unary("floor", "largest integer <= x", FLOATS, hot=False)
CEIL = _unary("ceil", "smallest integer >= x", FLOATS, hot=False)
ROUND = _unary("round", "nearest integer, ties to even", REALS, hot=False)
RELU = _unary("relu", "max(x, 0)", REALS, stored=_STORED)
RELU6 = _unary("relu6", "min(max(x, 0), 6)", REALS, stored=_STORED)
SIGMOID = _unary("sigmoid", "1 / (1 + e ** -x), without overflow", FLOATS, _CLOSE)
TANH = _unary("tanh", "tanh(x)", FLOATS, _CLOSE)
SOFTPLUS = _unary("softplus", "log(1 + e ** x), without overflow", FLOATS, _CLOSE, hot=False)
ELU = _unary("elu", "x, or e ** x - 1 below 0", FLOATS, _CLOSE, hot=False)
SELU = _unary("selu", "1.0507 * x, or 1.7581 * (e ** x - 1) below 0 (Klambauer et al. 2017)", FLOATS, _CLOSE, hot=False)
SOFTSIGN = _unary("softsign", "x / (1 + |x|)", FLOATS, _CLOSE, hot=False)
LOGICAL_NOT = _unary("logical_not", "not x", frozenset([BOOL]), hot=False)
IS_NAN = _unary("is_nan", "whether x is NaN (bool)", FLOATS, hot=False, result=BOOL)
IS_INF = _unary("is_inf", "whether x is an infinity (bool)", FLOATS, hot=False, result=BOOL)
IS_FINITE = _unary("is_finite", "whether x is neither (bool)", FLOATS, hot=False, result=BOOL)
INVERT = _unary("invert", "all bits of x inverted", INTEGERS, hot=False)

ADD = _binary("add", "x0 + x1", NUMBERS, stored=_STORED)
SUB = _binary("sub", "x0 - x1", NUMBERS)
MUL = _binary("mul", "x0 * x1", NUMBERS, stored=_STORED)
DIV = _binary("div", "x0 / x1 (floats; division by 0 gives inf or NaN)", INEXACT)
FLOORDIV = _binary("floordiv", "floor(x0 / x1); integer division by 0 is an error", REALS, hot=False)
FLOORMOD = _binary("floormod", "x0 - floor(x0 / x1) * x1; integer division by 0 is an error", REALS, hot=False)
TRUNCDIV = _binary("truncdiv", "x0 / x1 rounded towards zero; integer division by 0 is an error", REALS, hot=False)
TRUNCMOD = _binary(
    "truncmod", "x0 - trunc(x0 / x1) * x1: the sign is that of x0; integer division by 0 is an error", REALS, hot=False
)
POW = _binary("pow", "x0 ** x1", NUMBERS, tolerance=_CLOSE, hot=False)
MAXIMUM = _binary("maximum", "max(x0, x1)", REALS, stored=_STORED)
MINIMUM = _binary("minimum", "min(x0, x1)", REALS)
SQUARED_DIFFERENCE = _binary("squared_difference", "(x0 - x1) ** 2, for complex numbers |x0 - x1| ** 2", NUMBERS)
_COMPARABLE = NUMBERS | frozenset([BOOL, np.dtype(object)])
EQUAL = _binary("equal", "x0 == x1 (bool)", _COMPARABLE, result=BOOL, hot=False)
NOT_EQUAL = _binary("not_equal", "x0 != x1 (bool)", _COMPARABLE, result=BOOL, hot=False)
LESS = _binary("less", "x0 < x1 (bool)", REALS, result=BOOL, hot=False)
LESS_EQUAL = _binary("less_equal", "x0 <= x1 (bool)", REALS, result=BOOL, hot=False)
GREATER = _binary("greater", "x0 > x1 (bool)", REALS, result=BOOL, hot=False)
GREATER_EQUAL = _binary("greater_equal", "x0 >= x1 (bool)", REALS, result=BOOL, hot=False)
LOGICAL_AND = _binary("logical_and", "x0 and x1", frozenset([BOOL]), hot=False)
LOGICAL_OR = _binary("logical_or", "x0 or x1", frozenset([BOOL]), hot=False)
ATAN2 = _binary("atan2", "the angle of the point (x1, x0), from -pi to pi", FLOATS, tolerance=_CLOSE, hot=False)
DIV_NO_NAN = _binary("div_no_nan", "x0 / x1, 0 where x1 is 0", INEXACT, hot=False)
MUL_NO_NAN = _binary("mul_no_nan", "x0 * x1, 0 where x1 is 0", INEXACT, hot=False)
XLOGY = _binary("xlogy", "x0 * log(x1), 0 where x0 is 0", INEXACT, tolerance=_CLOSE, hot=False)
XLOG1PY = _binary("xlog1py", "x0 * log(1 + x1), 0 where x0 is 0", INEXACT, tolerance=_CLOSE, hot=False)
XDIVY = _binary("xdivy", "x0 / x1, 0 where x0 is 0", INEXACT, hot=False)
BITWISE_AND = _binary("bitwise_and", "the bits that both have", INTEGERS, hot=False)
BITWISE_OR = _binary("bitwise_or", "the bits that either has", INTEGERS, hot=False)
BITWISE_XOR = _binary("bitwise_xor", "the bits in which they differ", INTEGERS, hot=False)
LEFT_SHIFT = _binary(
    "left_shift", "x0 shifted left by x1 bits, as many as the type has less 1 at most", INTEGERS, hot=False
)
RIGHT_SHIFT = _binary(
    "right_shift",
    "x0 shifted right by x1 bits, as many as the type has less 1 at most; the sign stays",
    INTEGERS,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class LeakyReluParams(Params):
    """``alpha``: the slope below 0."""

    alpha: float = 0.2


def _infer_leaky(inputs: Sequence[TensorType], params: LeakyReluParams) -> tuple[TensorType, ...]:
    require_dtype("leaky_relu", "the input", inputs[0].dtype, FLOATS)
    return (inputs[0],)


LEAKY_RELU: Contract[LeakyReluParams] = Contract(
    "leaky_relu", "y = x, or alpha * x below 0 (alpha in the dtype of x).", _infer_leaky, LeakyReluParams, inplace=True, hot=False,
    flops=lambda inputs, outputs, params: outputs[0].size, tolerance=Tolerance(0, 0), by_item=aligned_items,
)  # fmt: skip


def _infer_add_n(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    dtype = require_same_dtype("add_n", inputs)
    require_dtype("add_n", "the inputs", dtype, NUMBERS)
    shape = inputs[0].shape
    for t in inputs[1:]:
        shape = merge_shapes("add_n", shape, t.shape)
    return (TensorType(dtype, shape),)


ADD_N: Contract[Params] = Contract(
    "add_n", "y = x0 + x1 + ..., all of one shape, added in this order.", _infer_add_n, arity=(1, None), hot=False,
    flops=lambda inputs, outputs, params: (len(inputs) - 1) * outputs[0].size, tolerance=Tolerance(2e-6, 1e-6),
    by_item=aligned_items,
)  # fmt: skip


def _infer_clip(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    dtype = require_same_dtype("clip", inputs)
    require_dtype("clip", "the inputs", dtype, REALS)
    shape = broadcast_shapes("clip", [t.shape for t in inputs])
    return (TensorType(dtype, merge_shapes("clip, the input and the result", inputs[0].shape, shape)),)


CLIP: Contract[Params] = Contract(
    "clip", "y = min(max(x0, x1), x2); the bounds broadcast to the shape of x0. A NaN stays, of a bound, too.", _infer_clip,
    arity=(3, 3), flops=lambda inputs, outputs, params: 2 * outputs[0].size, tolerance=Tolerance(0, 0), hot=False,
    by_item=aligned_items,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ApproximateEqualParams(Params):
    """``tolerance``: from which difference on numbers are not equal."""

    tolerance: float = 1e-5


def _infer_approximate(inputs: Sequence[TensorType], params: ApproximateEqualParams) -> tuple[TensorType, ...]:
    require_dtype("approximate_equal", "the inputs", require_same_dtype("approximate_equal", inputs), FLOATS)
    return (TensorType(BOOL, merge_shapes("approximate_equal", inputs[0].shape, inputs[1].shape)),)


APPROXIMATE_EQUAL: Contract[ApproximateEqualParams] = Contract(
    "approximate_equal", "Whether |x0 - x1| is below the tolerance (bool); both have one shape.", _infer_approximate,
    ApproximateEqualParams, arity=(2, 2), tolerance=Tolerance(0, 0), hot=False, by_item=aligned_items,
)  # fmt: skip


def _infer_select(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    condition, x, y = inputs
    if condition.dtype != BOOL:
        raise DTypeError(f"select: the condition must be bool, got {condition}")
    require_same_dtype("select", [x, y])
    return (TensorType(x.dtype, broadcast_shapes("select", [condition.shape, x.shape, y.shape])),)


SELECT: Contract[Params] = Contract(
    "select", "y = x1 where x0 (bool) else x2, with NumPy's broadcasting.", _infer_select, arity=(3, 3), hot=False
)


def _infer_select_rows(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    condition, x, y = inputs
    if condition.dtype != BOOL:
        raise DTypeError(f"select_rows: the condition must be bool, got {condition}")
    require_same_dtype("select_rows", [x, y])
    (rows,) = require_rank("select_rows", "the condition", condition.shape, 1)
    shape = merge_shapes("select_rows", x.shape, y.shape)
    if shape is None:
        return (TensorType(x.dtype),)
    if not shape or (rows is not None and shape[0] not in (rows, None)):
        raise ShapeError(f"select_rows: a condition of {condition} for rows of {x}; expected one for every row")
    return (TensorType(x.dtype, (rows if shape[0] is None else shape[0], *shape[1:])),)


SELECT_ROWS: Contract[Params] = Contract(
    "select_rows", "y[i, ...] = x1[i, ...] where x0[i] else x2[i, ...]; x0 (n,) bool, x1 and x2 of one shape (n, ...).",
    _infer_select_rows, arity=(3, 3), tolerance=Tolerance(0, 0), hot=False,
)  # fmt: skip

#: Elementwise contracts of one input.
UNARY: tuple[Contract[Params], ...] = (
    NEG, ABS, SIGN, SQUARE, SQRT, RSQRT, RECIPROCAL, EXP, LOG, LOG1P, EXPM1, ERF, ERFC, SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH,
    ASINH, ACOSH, ATANH, FLOOR, CEIL, ROUND, RELU, RELU6, SIGMOID, TANH, SOFTPLUS, ELU, SELU, SOFTSIGN, LOGICAL_NOT, IS_NAN, IS_INF,
    IS_FINITE, INVERT,
)  # fmt: skip
COMPARISONS: tuple[Contract[Params], ...] = (EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL)
#: Elementwise contracts of two inputs.
BINARY: tuple[Contract[Params], ...] = (
    ADD, SUB, MUL, DIV, FLOORDIV, FLOORMOD, TRUNCDIV, TRUNCMOD, POW, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE, *COMPARISONS, LOGICAL_AND, LOGICAL_OR,
    ATAN2, DIV_NO_NAN, MUL_NO_NAN, XLOGY, XLOG1PY, XDIVY, BITWISE_AND, BITWISE_OR, BITWISE_XOR, LEFT_SHIFT, RIGHT_SHIFT,
)  # fmt: skip
