"""Gradients of arithmetic, matrix products and reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...kernels.contracts import elementwise as e
from ...kernels.contracts import reduce as r
from ...kernels.contracts.layout import CAST
from ...kernels.contracts.matmul import MATMUL
from .. import ops
from ..builder import Tensor
from ..errors import GraphError
from ..ops.building import add_op, constant
from .registry import Use, gradient_of, rank_of, shape_of, sum_to

__all__: list[str] = []

Grads = Sequence[Tensor]
Result = Sequence[Tensor | None]


def _scalar(value: float, like: Tensor) -> Tensor:
    return constant(np.asarray(value, like.dtype))


def _unary(contract: object, derivative: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Registers dx = dy * derivative(x, y)."""

    @gradient_of(contract)  # type: ignore[arg-type]
    def gradient(use: Use, grads: Grads) -> Result:
        return [ops.multiply(grads[0], derivative(use.x, use.y))]


_unary(e.ABS, lambda x, y: ops.sign(x))
_unary(e.SQUARE, lambda x, y: ops.multiply(x, _scalar(2, x)))
_unary(e.SQRT, lambda x, y: ops.divide(_scalar(0.5, x), y))
_unary(e.RSQRT, lambda x, y: ops.multiply(ops.multiply(_scalar(-0.5, x), y), ops.square(y)))
_unary(e.RECIPROCAL, lambda x, y: ops.negative(ops.square(y)))
_unary(e.EXP, lambda x, y: y)
_unary(e.LOG, lambda x, y: ops.reciprocal(x))
_unary(e.LOG1P, lambda x, y: ops.reciprocal(ops.add(x, _scalar(1, x))))
_unary(e.ERF, lambda x, y: ops.multiply(_scalar(2 / np.sqrt(np.pi), x), ops.exp(ops.negative(ops.square(x)))))
_unary(e.SIN, lambda x, y: ops.cos(x))
_unary(e.COS, lambda x, y: ops.negative(ops.sin(x)))
_unary(e.SIGMOID, lambda x, y: ops.multiply(y, ops.subtract(_scalar(1, y), y)))
_unary(e.TANH, lambda x, y: ops.subtract(_scalar(1, y), ops.square(y)))
_unary(e.SOFTPLUS, lambda x, y: ops.sigmoid(x))


@gradient_of(e.NEG)
def _neg(use: Use, grads: Grads) -> Result:
    return [ops.negative(grads[0])]


@gradient_of(e.SIGN, e.FLOOR, e.CEIL, e.ROUND)
def _steps(use: Use, grads: Grads) -> Result:
    return [None]


@gradient_of(e.RELU)
def _relu(use: Use, grads: Grads) -> Result:
    return [add_op("ReluGrad", [grads[0], use.y], None)]


@gradient_of(e.RELU6)
def _relu6(use: Use, grads: Grads) -> Result:
    return [add_op("Relu6Grad", [grads[0], use.y], None)]


def _pair(use: Use, left: Tensor | None, right: Tensor | None) -> Result:
    """The gradients of both operands, summed over what broadcasting repeated."""
    a, b = use.inputs
    return [None if left is None else sum_to(left, a), None if right is None else sum_to(right, b)]


@gradient_of(e.ADD)
def _add(use: Use, grads: Grads) -> Result:
    return _pair(use, grads[0], grads[0])


@gradient_of(e.SUB)
def _sub(use: Use, grads: Grads) -> Result:
    return _pair(use, grads[0], ops.negative(grads[0]))


@gradient_of(e.MUL)
def _mul(use: Use, grads: Grads) -> Result:
    a, b = use.inputs
    return _pair(use, ops.multiply(grads[0], b), ops.multiply(grads[0], a))


@gradient_of(e.DIV)
def _div(use: Use, grads: Grads) -> Result:
    a, b = use.inputs
    share = ops.divide(grads[0], b)
    return _pair(use, share, ops.negative(ops.divide(ops.multiply(share, a), b)))


@gradient_of(e.POW)
def _pow(use: Use, grads: Grads) -> Result:
    a, b = use.inputs
    left = ops.multiply(grads[0], ops.multiply(b, ops.pow(a, ops.subtract(b, _scalar(1, b)))))
    # log(a) only where a > 0: the derivative with respect to the exponent exists nowhere else.
    positive = ops.greater(a, _scalar(0, a))
    log = ops.where(positive, ops.log(ops.where(positive, a, _scalar(1, a))), _scalar(0, a))
    return _pair(use, left, ops.multiply(grads[0], ops.multiply(use.y, log)))


def _extreme(first_wins: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Use, Grads], Result]:
    def gradient(use: Use, grads: Grads) -> Result:
        a, b = use.inputs
        zero = _scalar(0, grads[0])
        takes = first_wins(a, b)
        return _pair(use, ops.where(takes, grads[0], zero), ops.where(takes, zero, grads[0]))

    return gradient


gradient_of(e.MAXIMUM)(_extreme(ops.greater_equal))
gradient_of(e.MINIMUM)(_extreme(ops.less_equal))


@gradient_of(e.SQUARED_DIFFERENCE)
def _squared_difference(use: Use, grads: Grads) -> Result:
    a, b = use.inputs
    slope = ops.multiply(ops.multiply(grads[0], _scalar(2, grads[0])), ops.subtract(a, b))
    return _pair(use, slope, ops.negative(slope))


@gradient_of(e.SELECT_ROWS)
def _select_rows(use: Use, grads: Grads) -> Result:
    zeros = ops.multiply(grads[0], _scalar(0, grads[0]))
    condition = use.inputs[0]
    return [
        None,
        add_op("Select", [condition, grads[0], zeros], None),
        add_op("Select", [condition, zeros, grads[0]], None),
    ]


@gradient_of(e.SELECT)
def _select(use: Use, grads: Grads) -> Result:
    condition, x, y = use.inputs
    zero = _scalar(0, grads[0])
    left, right = ops.where(condition, grads[0], zero), ops.where(condition, zero, grads[0])
    return [None, sum_to(left, x), sum_to(right, y)]


@gradient_of(CAST)
def _cast(use: Use, grads: Grads) -> Result:
    return [ops.cast(grads[0], use.x.dtype) if use.x.dtype.kind in "fc" else None]


@gradient_of(MATMUL)
def _matmul(use: Use, grads: Grads) -> Result:
    a, b = use.inputs
    dy, ta, tb = grads[0], use.params.transpose_a, use.params.transpose_b
    da = ops.matmul(b, dy, tb, True) if ta else ops.matmul(dy, b, False, not tb)
    db = ops.matmul(dy, a, True, ta) if tb else ops.matmul(a, dy, not ta, False)
    return _pair(use, da, db)


def _spread(use: Use, value: Tensor) -> Tensor:
    """A reduced value spread over the input's shape."""
    rank = rank_of(use)
    if not use.params.keepdims:
        for axis in use.params.normalized(rank):
            value = ops.expand_dims(value, axis)
    return ops.broadcast_to(value, shape_of(use.x))


@gradient_of(r.REDUCE_SUM)
def _reduce_sum(use: Use, grads: Grads) -> Result:
    return [_spread(use, grads[0])]


@gradient_of(r.REDUCE_MEAN)
def _reduce_mean(use: Use, grads: Grads) -> Result:
    count = ops.divide(ops.cast(ops.size(use.x), use.x.dtype), ops.cast(ops.size(use.y), use.x.dtype))
    return [_spread(use, ops.divide(grads[0], count))]


@gradient_of(r.REDUCE_MAX, r.REDUCE_MIN)
def _reduce_extreme(use: Use, grads: Grads) -> Result:
    """Equal extremes share the gradient."""
    hit = ops.cast(ops.equal(use.x, _spread(use, use.y)), use.x.dtype)
    rank = rank_of(use)
    count = ops.reduce_sum(hit, list(use.params.normalized(rank)), use.params.keepdims)
    return [ops.multiply(_spread(use, ops.divide(grads[0], count)), hit)]


@gradient_of(r.REDUCE_PROD)
def _reduce_prod(use: Use, grads: Grads) -> Result:
    """Without a zero: y / x. With one zero on a line only that element has a gradient: the product of the others."""
    x = use.x
    zero = ops.equal(x, _scalar(0, x))
    filled = ops.where(zero, ops.ones_like(x), x)
    rank = rank_of(use)
    axes = list(use.params.normalized(rank))
    zeros = ops.reduce_sum(ops.cast(zero, x.dtype), axes, use.params.keepdims)
    others = _spread(use, ops.reduce_prod(filled, axes, use.params.keepdims))
    count = _spread(use, zeros)
    plain = ops.where(ops.equal(count, _scalar(0, x)), ops.divide(others, filled), ops.zeros_like(x))
    single = ops.where(ops.logical_and(zero, ops.equal(count, _scalar(1, x))), others, ops.zeros_like(x))
    return [ops.multiply(_spread(use, grads[0]), ops.add(plain, single))]


@gradient_of(r.TOP_K)
def _top_k(use: Use, grads: Grads) -> Result:
    """Back to the positions that the values came from, by a one-hot comparison of indices."""
    last = (use.x.shape or (None,))[-1]
    if last is None:
        raise GraphError(
            f"gradients: the last axis of '{use.x.name}' {use.x.type} must be known for {use.op.type} '{use.op.name}'"
        )
    places = ops.equal(ops.expand_dims(use.outputs[1], -1), np.arange(last, dtype=np.int32))
    return [ops.reduce_sum(ops.multiply(ops.expand_dims(grads[0], -1), ops.cast(places, use.x.dtype)), -2)]
