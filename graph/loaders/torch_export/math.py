"""ATen's arithmetic, comparisons and reductions, and the arithmetic of sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from .call import Call, Converter

__all__ = ["CONVERTERS"]

Function = Callable[..., Tensor]


def _unary(function: Function) -> Converter:
    return lambda c: function(c.tensor("self"))


def _operands(c: Call) -> tuple[Tensor, Tensor]:
    """Both sides, a number or a scalar in the type of the other."""
    left, right = c.raw("self", c.raw("a", c.raw("0"))), c.raw("other", c.raw("b", c.raw("1")))
    names = [next((n for n in names if c.has(n)), names[0]) for names in (("self", "a", "0"), ("other", "b", "1"))]
    if isinstance(left, Tensor):
        return left, c.like(names[1], left)
    if isinstance(right, Tensor):
        return c.like(names[0], right), right
    return c.tensor(names[0]), c.like(names[1], c.tensor(names[0]))


def _binary(function: Function) -> Converter:
    """With ``alpha``, by which ATen's add and sub multiply the second side."""

    def convert(c: Call) -> Tensor:
        a, b = _operands(c)
        alpha = c.number("alpha", 1.0)
        return function(a, b if alpha == 1 else ops.multiply(b, np.asarray(alpha, b.dtype)))

    return convert


def _divide(c: Call) -> Tensor:
    a, b = _operands(c)
    mode = c.raw("rounding_mode")
    if mode == "floor":
        return ops.floordiv(a, b)
    if mode is not None:
        raise c.unsupported(f"rounding_mode {mode!r}")
    if a.dtype.kind in "iu":
        a, b = (ops.cast(t, np.float32) for t in (a, b))
    return ops.divide(a, b)


def _rsub(c: Call) -> Tensor:
    a, b = _operands(c)
    alpha = c.number("alpha", 1.0)
    return ops.subtract(b, a if alpha == 1 else ops.multiply(a, np.asarray(alpha, a.dtype)))


def _truncate_mod(a: Tensor, b: Tensor) -> Tensor:
    return a.graph.create_op("TruncateMod", [a, b], {}).outputs[0]


def _pow(c: Call) -> Tensor:
    exponent = c.raw("exponent")
    x = c.tensor("self")
    if exponent == 2:
        return ops.square(x)
    if exponent in (0.5, 1):
        return ops.sqrt(x) if exponent == 0.5 else x
    return ops.pow(x, c.like("exponent", x))


def _clamp(c: Call) -> Tensor:
    x = c.tensor("self")
    if c.has("min"):
        x = ops.maximum(x, c.like("min", x))
    return ops.minimum(x, c.like("max", x)) if c.has("max") else x


def _reduce(function: Function) -> Converter:
    def convert(c: Call) -> Tensor:
        x = c.tensor("self")
        if c.has("dtype") and x.dtype.kind != "f":
            raise c.unsupported("a reduction into another type")
        return function(x, list(c.axes("dim", x)), keepdims=c.flag("keepdim"))

    return convert


def _argmax(c: Call) -> Tensor:
    x = c.tensor("self")
    if not c.has("dim"):
        return ops.argmax(ops.reshape(x, [-1]), 0)
    axis = c.axis("dim", x)
    found = ops.argmax(x, axis)
    return ops.expand_dims(found, axis) if c.flag("keepdim") else found


def _var(c: Call) -> Tensor:
    x = c.tensor("self")
    axes = c.axes("dim", x)
    centred = ops.subtract(x, ops.reduce_mean(x, list(axes), keepdims=True))
    squares = ops.square(centred)
    less = int(c.number("correction", 1.0)) if c.has("correction") else int(c.flag("unbiased", True))
    if not less:
        return ops.reduce_mean(squares, list(axes), keepdims=c.flag("keepdim"))
    count = 1
    for a in axes:
        size = c.dims(x)[a]
        if size is None:
            raise c.unsupported("a variance over an unknown size")
        count *= size
    return ops.divide(ops.reduce_sum(squares, list(axes), keepdims=c.flag("keepdim")), float(count - less))


def _where(c: Call) -> Tensor:
    a, b = c.tensor("self"), c.tensor("other")
    return ops.where(c.tensor("condition"), a, b)


def _product(c: Call) -> Tensor:
    a, b = (c.tensor(n) for n in (("self", "mat2") if c.has("mat2") else ("self", "other")))
    if 1 in (c.rank(a), c.rank(b)):
        raise c.unsupported("a product with a vector")
    return ops.matmul(a, b)


def _sizes(function: Callable[[Any, Any], Any], tensors: Function) -> Converter:
    """Of two known numbers a number, else a tensor."""

    def convert(c: Call) -> Any:
        a, b = (c.raw(n, c.raw(other)) for n, other in (("a", "0"), ("b", "1")))
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            return tensors(*_operands(c))
        return function(a, b)

    return convert


def _max(function: Function, arg: Function) -> Converter:
    """Values, or values and places along an axis."""

    def convert(c: Call) -> Any:
        x = c.tensor("self")
        if c.has("other"):
            return {ops.reduce_max: ops.maximum}.get(function, ops.minimum)(*_operands(c))
        if not c.has("dim"):
            return function(x, list(range(c.rank(x))))
        axis, keep = c.axis("dim", x), c.flag("keepdim")
        places = arg(x, axis)
        return function(x, [axis], keepdims=keep), ops.expand_dims(places, axis) if keep else places

    return convert


CONVERTERS: dict[str, Converter] = {
    **{
        name: _unary(function)
        for name, function in (
            ("sigmoid", ops.sigmoid), ("tanh", ops.tanh), ("exp", ops.exp), ("sqrt", ops.sqrt), ("rsqrt", ops.rsqrt),
            ("abs", ops.abs), ("neg", ops.negative), ("log", ops.log), ("log1p", ops.log1p), ("erf", ops.erf), ("sin", ops.sin),
            ("cos", ops.cos), ("floor", ops.floor), ("ceil", ops.ceil), ("round", ops.round), ("sign", ops.sign),
            ("reciprocal", ops.reciprocal), ("logical_not", ops.logical_not), ("square", ops.square),
        )
    },
    "add": _binary(ops.add), "sub": _binary(ops.subtract), "mul": _binary(ops.multiply), "div": _divide, "rsub": _rsub,
    "maximum": _binary(ops.maximum), "minimum": _binary(ops.minimum), "floor_divide": _binary(ops.floordiv),
    "remainder": _binary(ops.floormod), "fmod": _binary(_truncate_mod), "eq": _binary(ops.equal), "ne": _binary(ops.not_equal), "gt": _binary(ops.greater),
    "ge": _binary(ops.greater_equal), "lt": _binary(ops.less), "le": _binary(ops.less_equal),
    "logical_and": _binary(ops.logical_and), "logical_or": _binary(ops.logical_or), "pow": _pow, "clamp": _clamp,
    "clamp_min": _clamp, "clamp_max": _clamp, "mean": _reduce(ops.reduce_mean), "sum": _reduce(ops.reduce_sum),
    "amax": _reduce(ops.reduce_max), "amin": _reduce(ops.reduce_min), "prod": _reduce(ops.reduce_prod), "argmax": _argmax,
    "var": _var, "where": _where, "mm": _product, "bmm": _product, "matmul": _product,
    "max": _max(ops.reduce_max, ops.argmax), "min": _max(ops.reduce_min, ops.argmin),
    "floordiv": _sizes(lambda a, b: a // b, ops.floordiv), "mod": _sizes(lambda a, b: a % b, ops.floormod),
    "sym_max": _sizes(max, ops.maximum), "sym_min": _sizes(min, ops.minimum),
}  # fmt: skip
