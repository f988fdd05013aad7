"""Functions that models call on tensors: Keras 3's operations, and what Keras 2 wraps as TFOpLambda.

The arguments of a function are those of the call and of its config, by name; the names of both libraries are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from ...values import as_dtype
from .activations import NAMED, bent_relu, elu, gelu, leaky
from .arguments import Arguments, operand, real, whole
from .building import FLOATS, Building
from .operations_shape import MOVING

__all__ = ["OPERATIONS"]

Made = Callable[[Building, Any], Any]


def _binary(function: Callable[[Any, Any], Tensor], *, floats: bool = False) -> Made:
    def make(b: Building, x: Any) -> Tensor:
        a = Arguments(b, ("y",))
        y = a.take("y", "x2")
        a.end()
        left, right = operand(b, x, y), operand(b, y, x)
        if left.dtype != right.dtype:
            wide = np.result_type(left.dtype, right.dtype)
            wide = np.dtype(np.float32) if wide == np.float64 and np.float64 not in (left.dtype, right.dtype) else wide
            left, right = ops.cast(left, wide), ops.cast(right, wide)
        if floats and left.dtype.kind in "iub":
            left, right = ops.cast(left, np.float32), ops.cast(right, np.float32)
        return function(left, right)

    return make


def _unary(function: Callable[[Any], Tensor]) -> Made:
    def make(b: Building, x: Any) -> Tensor:
        Arguments(b, ()).end()
        return function(operand(b, x))

    return make


def _activation(name: str) -> Made:
    def make(b: Building, x: Any) -> Tensor:
        a = Arguments(b, ("alpha",))
        axis, slope = a.take("axis"), a.take("negative_slope", "alpha")
        approximate = a.take("approximate")
        x = operand(b, x)
        if name in ("softmax", "log_softmax"):
            a.end()
            return (ops.softmax if name == "softmax" else ops.log_softmax)(x, -1 if axis is None else whole(b, axis))
        if axis not in (None, -1):
            raise b.error(f"axis {brief(axis)}", "the last one")
        if name == "relu":
            most, threshold = a.take("max_value"), a.take("threshold", default=0.0)
            a.end()
            return bent_relu(
                b, x, float("inf") if most is None else real(b, most), real(b, slope or 0.0), real(b, threshold)
            )
        a.end()
        if name == "gelu":
            default = b.layer.kind == "Gelu"
            return gelu(b, x, default if approximate is None else bool(approximate))
        if name == "leaky_relu":
            return leaky(b, x, real(b, 0.2 if slope is None else slope))
        if name == "elu" and slope is not None:
            return elu(b, x, real(b, slope))
        if slope is not None:
            raise b.error(f"alpha {brief(slope)}", "none")
        return NAMED[name](b, x)

    return make


def _reduction(kind: str) -> Made:
    def make(b: Building, x: Any) -> Tensor:
        a = Arguments(b, ("axis", "keepdims"))
        axis, keep = a.take("axis"), bool(a.take("keepdims", "keep_dims", default=False))
        if a.take("initial") is not None:
            raise b.error("an initial value", "none")
        a.end()
        x = operand(b, x)
        axes = list(range(len(b.shape(x)))) if axis is None else list(b.axes(axis, len(b.shape(x))))
        if kind in ("var", "std"):
            centred = ops.subtract(x, ops.reduce_mean(x, axes, keepdims=True))
            x = ops.reduce_mean(ops.square(centred), axes, keepdims=keep)
            return ops.sqrt(x) if kind == "std" else x
        if kind == "norm":
            return ops.sqrt(ops.reduce_sum(ops.square(x), axes, keepdims=keep))
        if kind == "mean" and x.dtype.kind in "iub":
            x = ops.cast(x, np.float32)
        return getattr(ops, f"reduce_{kind}")(x, axes, keepdims=keep)  # type: ignore[no-any-return]

    return make


def _clip(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("low", "high"))
    low, high = a.take("x_min", "clip_value_min", "low"), a.take("x_max", "clip_value_max", "high")
    a.end()
    x = operand(b, x)
    return ops.minimum(ops.maximum(x, operand(b, low, x)), operand(b, high, x))


def _cast(b: Building, x: Any) -> Tensor:
    dtype = b.config.get("dtype") if b.layer.kind == "Cast" else b.kwargs.get("dtype", b.args[0] if b.args else None)
    if not isinstance(dtype, str) or dtype not in (*FLOATS, "bool", "int8", "int16", "int32", "int64", "uint8"):
        raise b.error(f"dtype {brief(dtype)}", "numbers")
    return ops.cast(operand(b, x), as_dtype(FLOATS.get(dtype, dtype)))


def _matmul(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("y", "transpose_a", "transpose_b"))
    y = a.take("y", "x2", "b")
    turned = bool(a.take("transpose_a", default=False)), bool(a.take("transpose_b", default=False))
    a.end()
    return ops.matmul(operand(b, x, y), operand(b, y, x), *turned)


def _einsum(b: Building, x: Any) -> Tensor:
    equation, operands = b.config.get("subscripts"), [x, *b.args]
    if isinstance(x, str):
        equation, operands = x, list(b.args)
    if not isinstance(equation, str) or len(equation) > 100:
        raise b.error(f"the equation {brief(equation)}", "text")
    found = [operand(b, o) for o in operands]
    return b.raw("Einsum", *found, equation=equation.encode(), N=len(found))


def _where(b: Building, condition: Any) -> Tensor:
    a = Arguments(b, ("x", "y"))
    x, y = a.take("x", "x1"), a.take("y", "x2")
    a.end()
    return ops.where(operand(b, condition), operand(b, x, y), operand(b, y, x))


def _normalize(b: Building, x: Any) -> Tensor:
    """x / its length along an axis."""
    a = Arguments(b, ("axis", "epsilon"))
    axis, order, epsilon = a.take("axis", default=-1), a.take("order", default=2), a.take("epsilon")
    a.end()
    if order != 2:
        raise b.error(f"order {brief(order)}", "2")
    x = operand(b, x)
    total = ops.reduce_sum(ops.square(x), list(b.axes(axis, len(b.shape(x)))), keepdims=True)
    if b.layer.kind == "Normalize":
        return ops.multiply(x, ops.minimum(ops.rsqrt(total), 1e7 if epsilon is None else 1 / real(b, epsilon)))
    return ops.multiply(x, ops.rsqrt(ops.maximum(total, real(b, 1e-12 if epsilon is None else epsilon))))


def _arg(function: Callable[..., Tensor]) -> Made:
    def make(b: Building, x: Any) -> Tensor:
        a = Arguments(b, ("axis",))
        axis, keep = a.take("axis", "dimension"), bool(a.take("keepdims", default=False))
        out = a.take("output_type", default=None)
        a.end()
        x = operand(b, x)
        (axis,) = b.axes(axis, len(b.shape(x)))
        wide = "int64" if b.layer.kind == "TFOpLambda" and out in (None, "int64") else "int32"
        found = function(x, axis, output_type=wide)
        return ops.expand_dims(found, axis) if keep else found

    return make


_BINARY: dict[Callable[..., Tensor], tuple[str, ...]] = {
    ops.add: ("Add", "__operators__.add", "math.add"),
    ops.subtract: ("Subtract", "math.subtract", "__operators__.sub"),
    ops.multiply: ("Multiply", "math.multiply", "__operators__.mul"),
    ops.floordiv: ("FloorDivide", "math.floordiv", "__operators__.floordiv"),
    ops.floormod: ("Mod", "math.floormod", "__operators__.mod"),
    ops.pow: ("Power", "math.pow", "__operators__.pow"),
    ops.maximum: ("Maximum", "math.maximum"),
    ops.minimum: ("Minimum", "math.minimum"),
    ops.squared_difference: ("math.squared_difference", "SquaredDifference"),
    ops.equal: ("Equal", "math.equal", "__operators__.eq"),
    ops.not_equal: ("NotEqual", "math.not_equal", "__operators__.ne"),
    ops.less: ("Less", "math.less", "__operators__.lt"),
    ops.less_equal: ("LessEqual", "math.less_equal", "__operators__.le"),
    ops.greater: ("Greater", "math.greater", "__operators__.gt"),
    ops.greater_equal: ("GreaterEqual", "math.greater_equal", "__operators__.ge"),
    ops.logical_and: ("LogicalAnd", "math.logical_and"),
    ops.logical_or: ("LogicalOr", "math.logical_or"),
}
_UNARY: dict[Callable[..., Tensor], tuple[str, ...]] = {
    ops.negative: ("Negative", "math.negative", "__operators__.neg"),
    ops.abs: ("Absolute", "Abs", "math.abs", "__operators__.abs"),
    ops.exp: ("Exp", "math.exp"),
    ops.log: ("Log", "math.log"),
    ops.log1p: ("Log1p", "math.log1p"),
    ops.sqrt: ("Sqrt", "math.sqrt"),
    ops.rsqrt: ("Rsqrt", "math.rsqrt"),
    ops.square: ("Square", "math.square"),
    ops.reciprocal: ("Reciprocal", "math.reciprocal"),
    ops.sin: ("Sin", "math.sin"),
    ops.cos: ("Cos", "math.cos"),
    ops.sign: ("Sign", "math.sign"),
    ops.floor: ("Floor", "math.floor"),
    ops.ceil: ("Ceil", "math.ceil"),
    ops.round: ("Round", "math.round"),
    ops.erf: ("Erf", "math.erf"),
    ops.logical_not: ("LogicalNot", "math.logical_not"),
    ops.ones_like: ("OnesLike", "ones_like"),
    ops.zeros_like: ("ZerosLike", "zeros_like"),
    ops.identity: ("Identity", "identity", "StopGradient", "stop_gradient"),
}
_REDUCTIONS = {
    "mean": ("Mean", "math.reduce_mean"), "sum": ("Sum", "math.reduce_sum"), "max": ("Max", "Amax", "math.reduce_max"),
    "min": ("Min", "Amin", "math.reduce_min"), "prod": ("Prod", "math.reduce_prod"), "var": ("Var", "math.reduce_variance"),
    "std": ("Std", "math.reduce_std"), "norm": ("norm", "linalg.norm", "math.reduce_euclidean_norm"),
    "any": ("Any", "math.reduce_any"), "all": ("All", "math.reduce_all"),
}  # fmt: skip
_ACTIVATIONS = {
    "relu": ("Relu", "nn.relu"), "relu6": ("Relu6", "nn.relu6"), "leaky_relu": ("LeakyRelu", "nn.leaky_relu"),
    "elu": ("Elu", "nn.elu"), "selu": ("Selu", "nn.selu"), "gelu": ("Gelu", "nn.gelu"),
    "silu": ("Silu", "Swish", "nn.silu", "nn.swish"), "sigmoid": ("Sigmoid", "math.sigmoid", "nn.sigmoid"),
    "tanh": ("Tanh", "math.tanh", "nn.tanh"), "softplus": ("Softplus", "math.softplus", "nn.softplus"),
    "softsign": ("Softsign", "nn.softsign"), "softmax": ("Softmax", "nn.softmax", "math.softmax"),
    "log_softmax": ("LogSoftmax", "nn.log_softmax"), "hard_sigmoid": ("HardSigmoid",), "hard_silu": ("HardSilu",),
    "hard_tanh": ("HardTanh",), "log_sigmoid": ("LogSigmoid", "math.log_sigmoid"), "mish": ("Mish",), "glu": ("Glu",),
    "squareplus": ("Squareplus",), "sparse_plus": ("SparsePlus",), "tanh_shrink": ("TanhShrink",),
}  # fmt: skip

OPERATIONS: dict[str, Made] = {
    **{name: _binary(function) for function, names in _BINARY.items() for name in names},
    **{name: _unary(function) for function, names in _UNARY.items() for name in names},
    **{name: _reduction(kind) for kind, names in _REDUCTIONS.items() for name in names},
    **{name: _activation(kind) for kind, names in _ACTIVATIONS.items() for name in names},
    **dict.fromkeys(
        ("TrueDivide", "Divide", "math.truediv", "math.divide", "__operators__.truediv"),
        _binary(ops.divide, floats=True),
    ),
    **dict.fromkeys(("Clip", "clip_by_value"), _clip),
    **dict.fromkeys(("Cast", "cast"), _cast),
    **dict.fromkeys(("Matmul", "linalg.matmul"), _matmul),
    **dict.fromkeys(("Einsum", "einsum"), _einsum),
    **dict.fromkeys(("Where", "where"), _where),
    **dict.fromkeys(("Normalize", "math.l2_normalize", "linalg.l2_normalize"), _normalize),
    **dict.fromkeys(("Argmax", "math.argmax"), _arg(ops.argmax)),
    **dict.fromkeys(("Argmin", "math.argmin"), _arg(ops.argmin)),
    **MOVING,
}
