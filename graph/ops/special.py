"""Activations and functions of one or two numbers that are not in math.py; einsum, add_n, clipping, identities of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Tensor
from ..errors import GraphError
from ..values import as_dtype, as_shape
from .building import TensorLike, add_op, convert, convert_all

__all__ = [
    "acos", "acosh", "add_n", "asin", "asinh", "atan", "atan2", "atanh", "bitcast", "clip_by_value", "cosh", "divide_no_nan",
    "einsum", "elu", "ensure_shape", "erfc", "expm1", "identity_n", "is_finite", "is_inf", "is_nan", "l2_loss", "leaky_relu",
    "multiply_no_nan", "selu", "sinh", "softsign", "tan", "xdivy", "xlog1py", "xlogy",
]  # fmt: skip


def _unary(type: str, x: TensorLike, name: str | None) -> Tensor:
    return add_op(type, [convert(x)], name)


def _binary(type: str, x: TensorLike, y: TensorLike, name: str | None) -> Tensor:
    return add_op(type, convert_all([x, y]), name)


def elu(features: TensorLike, name: str | None = None) -> Tensor:
    """x, or e ** x - 1 below 0."""
    return _unary("Elu", features, name)


def selu(features: TensorLike, name: str | None = None) -> Tensor:
    """1.0507 * x, or 1.7581 * (e ** x - 1) below 0."""
    return _unary("Selu", features, name)


def leaky_relu(features: TensorLike, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """x, or alpha * x below 0."""
    return add_op("LeakyRelu", [convert(features)], name, alpha=alpha)


def softsign(features: TensorLike, name: str | None = None) -> Tensor:
    """x / (1 + |x|)"""
    return _unary("Softsign", features, name)


def erfc(x: TensorLike, name: str | None = None) -> Tensor:
    """1 - erf(x), exact where that cancels."""
    return _unary("Erfc", x, name)


def expm1(x: TensorLike, name: str | None = None) -> Tensor:
    """e ** x - 1, exact near 0."""
    return _unary("Expm1", x, name)


def tan(x: TensorLike, name: str | None = None) -> Tensor:
    """Tangent."""
    return _unary("Tan", x, name)


def asin(x: TensorLike, name: str | None = None) -> Tensor:
    """The angle whose sine is x; NaN beyond 1."""
    return _unary("Asin", x, name)


def acos(x: TensorLike, name: str | None = None) -> Tensor:
    """The angle whose cosine is x; NaN beyond 1."""
    return _unary("Acos", x, name)


def atan(x: TensorLike, name: str | None = None) -> Tensor:
    """The angle whose tangent is x."""
    return _unary("Atan", x, name)


def atan2(y: TensorLike, x: TensorLike, name: str | None = None) -> Tensor:
    """The angle of the point (x, y), from -pi to pi, with broadcasting."""
    return _binary("Atan2", y, x, name)


def sinh(x: TensorLike, name: str | None = None) -> Tensor:
    """Hyperbolic sine."""
    return _unary("Sinh", x, name)


def cosh(x: TensorLike, name: str | None = None) -> Tensor:
    """Hyperbolic cosine."""
    return _unary("Cosh", x, name)


def asinh(x: TensorLike, name: str | None = None) -> Tensor:
    """The inverse of sinh."""
    return _unary("Asinh", x, name)


def acosh(x: TensorLike, name: str | None = None) -> Tensor:
    """The inverse of cosh; NaN below 1."""
    return _unary("Acosh", x, name)


def atanh(x: TensorLike, name: str | None = None) -> Tensor:
    """The inverse of tanh; NaN beyond 1."""
    return _unary("Atanh", x, name)


def is_nan(x: TensorLike, name: str | None = None) -> Tensor:
    """Whether x is NaN (bool)."""
    return _unary("IsNan", x, name)


def is_inf(x: TensorLike, name: str | None = None) -> Tensor:
    """Whether x is an infinity (bool)."""
    return _unary("IsInf", x, name)


def is_finite(x: TensorLike, name: str | None = None) -> Tensor:
    """Whether x is neither NaN nor an infinity (bool)."""
    return _unary("IsFinite", x, name)


def divide_no_nan(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x / y, 0 where y is 0, with broadcasting."""
    return _binary("DivNoNan", x, y, name)


def multiply_no_nan(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x * y, 0 where y is 0 even if x is NaN or infinite, with broadcasting."""
    return _binary("MulNoNan", x, y, name)


def xlogy(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x * log(y), 0 where x is 0, with broadcasting."""
    return _binary("Xlogy", x, y, name)


def xlog1py(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x * log(1 + y), 0 where x is 0, with broadcasting."""
    return _binary("Xlog1py", x, y, name)


def xdivy(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x / y, 0 where x is 0, with broadcasting."""
    return _binary("Xdivy", x, y, name)


def l2_loss(t: TensorLike, name: str | None = None) -> Tensor:
    """sum(t ** 2) / 2"""
    return _unary("L2Loss", t, name)


def add_n(inputs: Sequence[TensorLike], name: str | None = None) -> Tensor:
    """The sum of tensors of one shape."""
    tensors = convert_all(inputs)
    if not tensors:
        raise GraphError("add_n needs at least one tensor")
    return add_op("AddN", tensors, name)


def clip_by_value(
    t: TensorLike, clip_value_min: TensorLike, clip_value_max: TensorLike, name: str | None = None
) -> Tensor:
    """min(max(t, clip_value_min), clip_value_max); the bounds are scalars or have the shape of t."""
    return add_op("ClipByValue", convert_all([t, clip_value_min, clip_value_max]), name)


def einsum(equation: str, *inputs: TensorLike, name: str | None = None) -> Tensor:
    """Sums of products over named axes: ``einsum('ab,bc->ac', x, y)``. '...' stands for axes that broadcast."""
    if not isinstance(equation, str):
        raise GraphError(f"einsum: the equation must be a str, got {equation!r}")
    tensors = convert_all(inputs)
    if not tensors:
        raise GraphError("einsum needs at least one tensor")
    return add_op("Einsum", tensors, name or "einsum", equation=equation)


def identity_n(input: Sequence[TensorLike], name: str | None = None) -> list[Tensor]:
    """The same values under other names, as outputs of one op; no kernel runs."""
    if not isinstance(input, (list, tuple)) or not input:
        raise GraphError(f"identity_n needs a list of at least one tensor, got {type(input).__name__}")
    first = next((t for t in input if isinstance(t, Tensor)), None)
    tensors = [convert(t, beside=first) for t in input]
    return list(add_op("IdentityN", tensors, name, T=tuple(t.dtype for t in tensors)).op.outputs)


def ensure_shape(x: TensorLike, shape: Any, name: str | None = None) -> Tensor:
    """The same value; an error if its shape does not fit. shape: None (anything), or a list with None for unknown sizes."""
    return add_op("EnsureShape", [convert(x)], name, shape=as_shape(shape))


def bitcast(input: TensorLike, type: Any, name: str | None = None) -> Tensor:
    """The same bytes as another element type. A narrower one makes a new last axis, a wider one takes the last axis."""
    x = convert(input)
    return x.graph.create_op("Bitcast", [x], {"type": as_dtype(type)}, name).outputs[0]
