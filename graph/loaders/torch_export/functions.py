"""ATen's less common functions of single elements, activations and reductions, made of the common ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from .call import Call, Converter

__all__ = ["CONVERTERS"]


def _made(type: str, *inputs: Tensor, **attrs: Any) -> Tensor:
    return inputs[0].graph.create_op(type, list(inputs), attrs).outputs[0]


def _number(x: Tensor, value: float) -> Tensor:
    return ops.constant(np.asarray(value, x.dtype))


def _floats(c: Call, name: str = "self") -> Tensor:
    """The argument; PyTorch computes these functions of whole numbers in float32."""
    x = c.tensor(name)
    return x if x.dtype.kind == "f" else ops.cast(x, np.float32)


def _of(type: str) -> Converter:
    """An op of the graph with one input."""
    return lambda c: _made(type, _floats(c))


def _scaled_log(base: float) -> Converter:
    return lambda c: _times(ops.log(_floats(c)), 1 / math.log(base))


def _times(x: Tensor, value: float) -> Tensor:
    return ops.multiply(x, _number(x, value))


def _truncated(x: Tensor) -> Tensor:
    return ops.multiply(ops.sign(x), ops.floor(ops.abs(x)))


def _trunc(c: Call) -> Tensor:
    x = c.tensor("self")
    return x if x.dtype.kind != "f" else _truncated(x)


def _frac(c: Call) -> Tensor:
    x = c.tensor("self")
    return ops.subtract(x, _truncated(x))


def _atan2(c: Call) -> Tensor:
    return _made("Atan2", c.tensor("self"), c.tensor("other"))


def _hypot(c: Call) -> Tensor:
    a, b = ops.abs(c.tensor("self")), ops.abs(c.tensor("other"))
    large, small = ops.maximum(a, b), ops.minimum(a, b)
    ratio = _made("DivNoNan", small, large)
    length = ops.multiply(large, ops.sqrt(ops.add(ops.square(ratio), 1.0)))
    infinite = ops.logical_or(ops.equal(a, np.inf), ops.equal(b, np.inf))  # also beside NaN (IEEE 754)
    return ops.where(infinite, ops.add(ops.zeros_like(length), np.asarray(np.inf, length.dtype)), length)


def _lerp(c: Call) -> Tensor:
    start, end = c.tensor("self"), c.tensor("end")
    return ops.add(start, ops.multiply(ops.subtract(end, start), c.like("weight", start)))


def _addcmul(c: Call) -> Tensor:
    a, b = c.tensor("tensor1"), c.tensor("tensor2")
    y = ops.divide(a, b) if c.target.startswith("addcdiv") else ops.multiply(a, b)
    return ops.add(c.tensor("self"), ops.multiply(y, np.asarray(c.number("value", 1.0), y.dtype)))


def _logit(c: Call) -> Tensor:
    x = _floats(c)
    if c.has("eps"):
        eps = c.number("eps")
        x = ops.minimum(ops.maximum(x, _number(x, eps)), _number(x, 1 - eps))
    return ops.log(ops.divide(x, ops.subtract(_number(x, 1), x)))


def _nan_to_num(c: Call) -> Tensor:
    x = c.tensor("self")
    if x.dtype.kind != "f":
        return x
    most = float(np.finfo(x.dtype).max)
    high = c.number("posinf") if c.has("posinf") else most
    low = c.number("neginf") if c.has("neginf") else -most
    y = ops.where(
        _made("IsNan", x), ops.fill(ops.shape(x), np.asarray(c.number("nan") if c.has("nan") else 0.0, x.dtype)), x
    )
    y = ops.where(ops.equal(y, _number(x, np.inf)), ops.fill(ops.shape(x), np.asarray(high, x.dtype)), y)
    return ops.where(ops.equal(y, _number(x, -np.inf)), ops.fill(ops.shape(x), np.asarray(low, x.dtype)), y)


# --- activations --------------------------------------------------------------------------------------------------------


def _elu(c: Call) -> Tensor:
    """scale * (x where it is above 0, else alpha * (exp(input_scale * x) - 1))."""
    x, alpha = c.tensor("self"), c.number("alpha", 1.0)
    scale, inner = c.number("scale", 1.0), c.number("input_scale", 1.0)
    if c.target.removesuffix("_") == "celu":
        inner = 1 / alpha
    if (scale, inner, alpha) == (1, 1, 1):
        return _made("Elu", x)
    below = _made("Expm1", ops.multiply(ops.minimum(x, _number(x, 0)), _number(x, inner)))
    y = ops.add(ops.relu(x), ops.multiply(below, _number(x, alpha)))
    return y if scale == 1 else ops.multiply(y, _number(x, scale))


def _softplus(c: Call) -> Tensor:
    x, beta, threshold = c.tensor("self"), c.number("beta", 1.0), c.number("threshold", 20.0)
    scaled = x if beta == 1 else ops.multiply(x, _number(x, beta))
    y = ops.softplus(scaled)
    y = y if beta == 1 else ops.multiply(y, _number(x, 1 / beta))
    return y if threshold >= 20 else ops.where(ops.greater(scaled, _number(x, threshold)), x, y)


def _glu(c: Call) -> Tensor:
    x = c.tensor("self")
    value, gate = ops.split(x, 2, c.axis("dim", x, -1))
    return ops.multiply(value, ops.sigmoid(gate))


def _shrunk(soft: bool) -> Converter:
    def convert(c: Call) -> Tensor:
        x, size = c.tensor("self"), c.number("lambd", 0.5)
        if soft:
            return ops.subtract(x, ops.minimum(ops.maximum(x, _number(x, -size)), _number(x, size)))
        return ops.where(ops.greater(ops.abs(x), _number(x, size)), x, ops.zeros_like(x))

    return convert


def _threshold(c: Call) -> Tensor:
    x = c.tensor("self")
    instead = ops.fill(ops.shape(x), np.asarray(c.number("value"), x.dtype))
    return ops.where(ops.greater(x, _number(x, c.number("threshold"))), x, instead)


def _rrelu(c: Call) -> Tensor:
    """Outside of training the slope is the mean of both bounds."""
    if c.flag("training"):
        raise c.unsupported("training mode; export the model in eval() mode")
    slope = (c.number("lower", 1 / 8) + c.number("upper", 1 / 3)) / 2
    return _made("LeakyRelu", c.tensor("self"), alpha=slope)


# --- reductions and products --------------------------------------------------------------------------------------------


def _log_sum_exp(c: Call) -> Tensor:
    x = _floats(c)
    axes = list(c.axes("dim", x))
    most = ops.reduce_max(x, axes, keepdims=True)
    most = ops.where(_made("IsFinite", most), most, ops.zeros_like(most))
    total = ops.log(ops.reduce_sum(ops.exp(ops.subtract(x, most)), axes, keepdims=True))
    y = ops.add(total, most)
    return y if c.flag("keepdim") else ops.squeeze(y, axes)


def _truth(function: Callable[..., Tensor]) -> Converter:
    def convert(c: Call) -> Tensor:
        x = c.tensor("self")
        flags = x if x.dtype == bool else ops.not_equal(x, _number(x, 0))
        return function(flags, list(c.axes("dim", x)), keepdims=c.flag("keepdim"))

    return convert


def _baddbmm(c: Call) -> Tensor:
    y = ops.matmul(c.tensor("batch1"), c.tensor("batch2"))
    alpha, beta = c.number("alpha", 1.0), c.number("beta", 1.0)
    y = y if alpha == 1 else ops.multiply(y, _number(y, alpha))
    x = c.tensor("self")
    return ops.add(y, x if beta == 1 else ops.multiply(x, _number(x, beta)))


def _outer(c: Call) -> Tensor:
    return ops.multiply(ops.expand_dims(c.tensor("self"), 1), c.tensor("vec2"))


def _vector_product(c: Call) -> Tensor:
    """A matrix times a vector, or two vectors."""
    a, b = c.tensor("self"), c.tensor("vec" if c.has("vec") else "other" if c.has("other") else "tensor")
    return ops.reduce_sum(ops.multiply(a, b), [-1])


def _triangle(upper: bool) -> Converter:
    def convert(c: Call) -> Tensor:
        x, diagonal = c.tensor("self"), c.integer("diagonal", 0)
        rows, columns = c.dims(x)[-2:]
        if rows is None or columns is None:
            raise c.unsupported("a triangle of unknown sizes")
        c.makes(rows * columns)
        kept = (
            np.triu(np.ones((rows, columns), bool), diagonal)
            if upper
            else np.tril(np.ones((rows, columns), bool), diagonal)
        )
        return ops.where(ops.broadcast_to(ops.constant(kept), ops.shape(x)), x, ops.zeros_like(x))

    return convert


def _rms_norm(c: Call) -> Tensor:
    x, shape = c.tensor("input"), c.integers("normalized_shape")
    rank = c.rank(x)
    eps = c.number("eps") if c.has("eps") else float(np.finfo(x.dtype).eps)
    mean = ops.reduce_mean(ops.square(x), list(range(rank - len(shape), rank)), keepdims=True)
    y = ops.multiply(x, ops.rsqrt(ops.add(mean, _number(x, eps))))
    return ops.multiply(y, c.tensor("weight")) if c.has("weight") else y


def _weight_norm(c: Call) -> Tensor:
    """v * g / |v|, with one norm for every index of an axis."""
    v, axis = c.tensor("v"), c.integer("dim", 0)
    axes = [a for a in range(c.rank(v)) if a != axis]
    length = ops.sqrt(ops.reduce_sum(ops.square(v), axes, keepdims=True))
    return ops.multiply(v, ops.divide(c.tensor("g"), length))


def _pixel_unshuffle(c: Call) -> Tensor:
    x, factor = c.tensor("self"), c.integer("downscale_factor")
    dims = c.dims(x)
    if len(dims) != 4 or None in dims[1:] or factor < 1 or any((d or 0) % factor for d in dims[2:]):
        raise c.unsupported(f"a factor of {factor} for {dims}")
    channels, high, wide = (d or 0 for d in dims[1:])
    parts = ops.reshape(x, [-1, channels, high // factor, factor, wide // factor, factor])
    moved = ops.transpose(parts, [0, 1, 3, 5, 2, 4])
    return ops.reshape(moved, [-1, channels * factor * factor, high // factor, wide // factor])


def _meshgrid(c: Call) -> list[Tensor]:
    """Each vector along an axis of its own; 'xy' exchanges the first two."""
    vectors, swap = c.tensors("tensors"), c.text("indexing", "ij") == "xy" and len(c.tensors("tensors")) > 1
    order = [1, 0, *range(2, len(vectors))] if swap else list(range(len(vectors)))
    flat = [ops.reshape(v, [-1]) for v in vectors]
    shape = ops.concat([ops.shape(flat[i]) for i in order], 0)
    found = []
    for i, v in enumerate(flat):
        place = order.index(i)
        column = ops.reshape(v, [-1 if a == place else 1 for a in range(len(flat))])
        found.append(ops.broadcast_to(column, shape))
    return found


def _shaped_as(c: Call) -> Tensor:
    x, like = c.tensor("self"), ops.shape(c.tensor("other"))
    return ops.broadcast_to(x, like) if c.target == "expand_as" else ops.reshape(x, like)


CONVERTERS: dict[str, Converter] = {
    **{n: _of(n.title()) for n in ("tan", "atan", "asin", "acos", "sinh", "cosh", "asinh", "acosh", "atanh", "expm1", "erfc")},
    "isnan": lambda c: _made("IsNan", c.tensor("self")), "isinf": lambda c: _made("IsInf", c.tensor("self")),
    "isfinite": lambda c: _made("IsFinite", c.tensor("self")),
    "log2": _scaled_log(2), "log10": _scaled_log(10), "trunc": _trunc, "fix": _trunc, "frac": _frac, "atan2": _atan2, "arctan2": _atan2,
    "hypot": _hypot, "lerp": _lerp, "addcmul": _addcmul, "addcdiv": _addcmul, "logit": _logit, "nan_to_num": _nan_to_num,
    "elu": _elu, "celu": _elu, "softplus": _softplus, "glu": _glu, "softshrink": _shrunk(True), "hardshrink": _shrunk(False),
    "threshold": _threshold, "rrelu": _rrelu, "softsign": lambda c: _made("Softsign", c.tensor("self")),
    "log_sigmoid": lambda c: ops.negative(ops.softplus(ops.negative(c.tensor("self")))),
    "logsumexp": _log_sum_exp, "any": _truth(ops.reduce_any), "all": _truth(ops.reduce_all), "baddbmm": _baddbmm,
    "outer": _outer, "ger": _outer, "mv": _vector_product, "dot": _vector_product, "vdot": _vector_product,
    "tril": _triangle(False), "triu": _triangle(True), "rms_norm": _rms_norm, "_weight_norm": _weight_norm,
    "expand_as": _shaped_as, "view_as": _shaped_as, "reshape_as": _shaped_as, "pixel_unshuffle": _pixel_unshuffle, "meshgrid": _meshgrid,
    "cumprod": lambda c: ops.cumprod(c.tensor("self"), c.axis("dim", c.tensor("self"))),
    "bitwise_not": lambda c: ops.logical_not(c.tensor("self")) if c.tensor("self").dtype == bool else _made("Invert", c.tensor("self")),
}  # fmt: skip
