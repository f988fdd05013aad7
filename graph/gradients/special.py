"""Gradients of rarer activations and functions, of einsum, and of picking and placing by indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...kernels.contracts import arrange as a
from ...kernels.contracts import elementwise as e
from ...kernels.contracts import indexing as i
from ...kernels.contracts.einsum import EINSUM
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


def _one(x: Tensor, sign: float) -> Tensor:
    """1 + sign * x ** 2"""
    return ops.add(_scalar(1, x), ops.multiply(_scalar(sign, x), ops.square(x)))


def _below_zero(x: Tensor, inside: Tensor, outside: float) -> Tensor:
    return ops.where(ops.less(x, _scalar(0, x)), inside, _scalar(outside, x))


_unary(e.EXPM1, lambda x, y: ops.add(y, _scalar(1, y)))
_unary(e.ERFC, lambda x, y: ops.multiply(_scalar(-2 / np.sqrt(np.pi), x), ops.exp(ops.negative(ops.square(x)))))
_unary(e.TAN, lambda x, y: _one(y, 1))
_unary(e.ASIN, lambda x, y: ops.rsqrt(_one(x, -1)))
_unary(e.ACOS, lambda x, y: ops.negative(ops.rsqrt(_one(x, -1))))
_unary(e.ATAN, lambda x, y: ops.reciprocal(_one(x, 1)))
_unary(e.SINH, lambda x, y: ops.cosh(x))
_unary(e.COSH, lambda x, y: ops.sinh(x))
_unary(e.ASINH, lambda x, y: ops.rsqrt(_one(x, 1)))
_unary(e.ACOSH, lambda x, y: ops.reciprocal(ops.sinh(y)))
_unary(e.ATANH, lambda x, y: ops.reciprocal(_one(x, -1)))
_unary(e.ELU, lambda x, y: _below_zero(x, ops.add(y, _scalar(1, y)), 1))
#: scale and alpha * scale of selu.
_SCALE, _LOW = 1.0507009873554805, 1.7580993408473766
_unary(e.SELU, lambda x, y: _below_zero(x, ops.add(y, _scalar(_LOW, y)), _SCALE))
_unary(e.SOFTSIGN, lambda x, y: ops.square(ops.reciprocal(ops.add(_scalar(1, x), ops.abs(x)))))


@gradient_of(e.LEAKY_RELU)
def _leaky_relu(use: Use, grads: Grads) -> Result:
    return [ops.multiply(grads[0], _below_zero(use.x, _scalar(use.params.alpha, use.x), 1))]


@gradient_of(e.ADD_N)
def _add_n(use: Use, grads: Grads) -> Result:
    return [grads[0]] * len(use.inputs)


@gradient_of(e.CLIP)
def _clip(use: Use, grads: Grads) -> Result:
    """To the input inside of the bounds, to a bound where it is the result."""
    x, low, high = use.inputs
    zero = _scalar(0, grads[0])
    below = ops.less(x, low)
    above = ops.logical_and(ops.greater(x, high), ops.logical_not(below))
    inside = ops.where(ops.logical_or(below, above), zero, grads[0])
    return [
        sum_to(inside, x),
        sum_to(ops.where(below, grads[0], zero), low),
        sum_to(ops.where(above, grads[0], zero), high),
    ]


def _binary(
    contract: object, left: Callable[[Tensor, Tensor], Tensor], right: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Registers the factors of dy for both operands."""

    @gradient_of(contract)  # type: ignore[arg-type]
    def gradient(use: Use, grads: Grads) -> Result:
        x, y = use.inputs
        return [
            sum_to(ops.multiply(grads[0], left(x, y)), x),
            sum_to(ops.multiply(grads[0], right(x, y)), y),
        ]


def _nonzero(x: Tensor) -> Tensor:
    return ops.cast(ops.not_equal(x, _scalar(0, x)), x.dtype)


_binary(
    e.ATAN2,
    lambda y, x: ops.divide(x, ops.add(ops.square(x), ops.square(y))),
    lambda y, x: ops.negative(ops.divide(y, ops.add(ops.square(x), ops.square(y)))),
)
_binary(
    e.DIV_NO_NAN,
    lambda x, y: ops.divide_no_nan(_scalar(1, y), y),
    lambda x, y: ops.negative(ops.divide_no_nan(ops.divide_no_nan(x, y), y)),
)
_binary(e.MUL_NO_NAN, lambda x, y: y, lambda x, y: ops.multiply_no_nan(x, _nonzero(y)))
_binary(e.XLOGY, lambda x, y: ops.xlogy(_nonzero(x), y), ops.xdivy)
_binary(e.XLOG1PY, lambda x, y: ops.xlog1py(_nonzero(x), y), lambda x, y: ops.xdivy(x, ops.add(y, _scalar(1, y))))
_binary(e.XDIVY, lambda x, y: ops.xdivy(_nonzero(x), y), lambda x, y: ops.xdivy(ops.negative(x), ops.square(y)))


@gradient_of(a.L2_LOSS)
def _l2_loss(use: Use, grads: Grads) -> Result:
    return [ops.multiply(grads[0], use.x)]


@gradient_of(EINSUM)
def _einsum(use: Use, grads: Grads) -> Result:
    """The gradient of one input is the einsum of dy with the others; what is only in that input is spread."""
    terms, result = use.params.terms
    if any("." in t or len(set(t)) != len(t) for t in (*terms, result)):
        raise GraphError(
            f"gradients: Einsum '{use.op.name}': {use.params.equation!r} with '...' or an axis twice in one term has no gradient"
        )
    made: list[Tensor | None] = []
    for n, term in enumerate(terms):
        others = [(t, x) for k, (t, x) in enumerate(zip(terms, use.inputs, strict=True)) if k != n]
        sources = [(result, grads[0]), *others]
        found = [c for c in term if any(c in t for t, _ in sources)]
        part = ops.einsum(f"{','.join(t for t, _ in sources)}->{''.join(found)}", *(x for _, x in sources))
        for axis, c in enumerate(term):
            if c not in found:
                part = ops.expand_dims(part, axis)
        made.append(part if len(found) == len(term) else ops.broadcast_to(part, shape_of(use.inputs[n])))
    return made


def _indices(use: Use, number: int) -> Tensor:
    """The indices as scatter_nd takes them beside a shape: int32 or int64."""
    where = use.inputs[number]
    return where if where.dtype in (np.dtype(np.int32), np.dtype(np.int64)) else ops.cast(where, "int32")


def _sizes(like: Tensor, where: Tensor) -> Tensor:
    return ops.cast(shape_of(like), where.dtype)


@gradient_of(i.GATHER_ND)
def _gather_nd(use: Use, grads: Grads) -> Result:
    if use.params.batch_dims:
        raise GraphError(f"gradients: GatherNd '{use.op.name}' with batch_dims has no gradient")
    where = _indices(use, 1)
    return [ops.scatter_nd(where, grads[0], _sizes(use.x, where)), None]


@gradient_of(i.SCATTER_ND)
def _scatter_nd(use: Use, grads: Grads) -> Result:
    return [None, ops.gather_nd(grads[0], use.inputs[0])]


@gradient_of(i.TENSOR_SCATTER)
def _tensor_scatter(use: Use, grads: Grads) -> Result:
    """Of repeated indices every update gets the gradient, as in TensorFlow."""
    where, mode = _indices(use, 1), use.params.mode
    picked = ops.gather_nd(grads[0], where)
    if mode in ("add", "sub"):
        return [grads[0], None, picked if mode == "add" else ops.negative(picked)]
    if mode != "update":
        raise GraphError(f"gradients: {use.op.type} '{use.op.name}' cannot be differentiated")
    return [ops.tensor_scatter_nd_update(grads[0], where, ops.zeros_like(use.inputs[2])), None, picked]


@gradient_of(i.SEGMENTS)
def _segments(use: Use, grads: Grads) -> Result:
    """Every row has the gradient of its segment; rows that are left out have none."""
    if use.params.mode != "sum":
        raise GraphError(f"gradients: {use.op.type} '{use.op.name}' cannot be differentiated; only the sum can")
    ids = use.inputs[1]
    if ids.type.rank is None:
        raise GraphError(f"gradients: the rank of '{ids.name}' must be known for {use.op.type} '{use.op.name}'")
    kept = ops.greater_equal(ids, _scalar(0, ids))
    rows = ops.gather(grads[0], ops.maximum(ids, _scalar(0, ids)))
    for _ in range(rank_of(use) - ids.type.rank):
        kept = ops.expand_dims(kept, -1)
    return [ops.where(kept, rows, _scalar(0, rows)), None]


@gradient_of(i.ONE_HOT)
def _one_hot(use: Use, grads: Grads) -> Result:
    depth, axis = use.params.depth, use.params.axis
    hit = ops.one_hot(use.inputs[0], depth, _scalar(1, grads[0]), _scalar(0, grads[0]), axis)
    on = ops.multiply(grads[0], hit)
    return [None, *(ops.reduce_sum(ops.reshape(t, [-1]), 0) for t in (on, ops.subtract(grads[0], on)))]


@gradient_of(i.REVERSE_SEQUENCE)
def _reverse_sequence(use: Use, grads: Grads) -> Result:
    return [ops.reverse_sequence(grads[0], use.inputs[1], use.params.sequence, use.params.batch), None]


@gradient_of(a.ROLL)
def _roll(use: Use, grads: Grads) -> Result:
    return [ops.roll(grads[0], [-s for s in use.params.shifts], list(use.params.axes))]


@gradient_of(a.CUMULATIVE)
def _cumulative(use: Use, grads: Grads) -> Result:
    p = use.params
    if p.of != "sum":
        raise GraphError(f"gradients: {use.op.type} '{use.op.name}' cannot be differentiated; only the sum can")
    return [ops.cumsum(grads[0], p.axis, p.exclusive, not p.reverse)]


@gradient_of(a.BAND)
def _band(use: Use, grads: Grads) -> Result:
    """The same band of the gradient."""
    return [
        add_op(
            use.op.type, [grads[0], *use.op.inputs[1:]], None, **{k: v for k, v in use.op.attrs.items() if k == "upper"}
        )
    ]
