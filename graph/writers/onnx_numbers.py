"""Special functions, bits and safe divisions in ONNX, as several ops each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.tensor import is_float
from ..builder import Operation, Tensor
from ..errors import GraphError
from .onnx_parts import Parts
from .onnx_writer import Writer, data_type

__all__ = ["RULES"]

Rule = Callable[[Writer, Operation], None]


def _composed(write: Callable[..., Tensor]) -> Rule:
    """A rule from what gives the result for the inputs."""

    def rule(writer: Writer, op: Operation) -> None:
        p = Parts(writer, op)
        p.done(write(p, *op.inputs))

    return rule


def _expm1(p: Parts, x: Tensor) -> Tensor:
    """(u - 1) * x / log(u) with u = exp(x), which keeps the digits of small x (Kahan); x where u is 1, -1 where u - 1 is."""
    u = p("Exp", x)
    less = p("Sub", u, 1)
    ratio = p("Mul", less, p("RealDiv", x, p("Log", u)))
    plain = p("SelectV2", p("Equal", less, -1), less, ratio)
    whole = p("SelectV2", p("Equal", u, 1), x, plain)
    return p("SelectV2", p("IsInf", u), u, whole)


def _erfc(p: Parts, x: Tensor) -> Tensor:
    """The absolute error is that of Erf; the tail of large x has no digits, as in exporters of GELU."""
    return p("Sub", p.constant(1, x.dtype), p("Erf", x))


def _atan2(p: Parts, y: Tensor, x: Tensor) -> Tensor:
    """atan(y / x), and pi more or less where x is negative; the signs of zeros count."""
    far = p("LogicalAnd", p("IsInf", y), p("IsInf", x))
    quotient = p("SelectV2", far, p("RealDiv", p("Sign", y), p("Sign", x)), p("RealDiv", y, x))
    origin = p("LogicalAnd", p("Equal", y, 0), p("Equal", x, 0))
    angle = p("SelectV2", origin, p("Mul", y, 1), p("Atan", quotient))
    half = p("SelectV2", _negative(p, y), p.constant(-math.pi, x.dtype), p.constant(math.pi, x.dtype))
    turned = p("AddV2", angle, half)
    at_zero = p("SelectV2", origin, half, turned)
    return p("SelectV2", _negative(p, x), at_zero, angle)


def _negative(p: Parts, x: Tensor) -> Tensor:
    """Whether the sign is minus, also of -0."""
    return p("LogicalOr", p("Less", x, 0), p("Less", p("Reciprocal", x), 0))


def _safe(kind: str, zero_of: int) -> Callable[..., Tensor]:
    """0 where one of the operands is 0."""

    def write(p: Parts, a: Tensor, b: Tensor) -> Tensor:
        made = p("Mul", a, p(kind, b)) if kind.startswith("Log") else p(kind, a, b)
        return p("SelectV2", p("Equal", (a, b)[zero_of], 0), p.constant(0, a.dtype), made)

    return write


def _is_finite(p: Parts, x: Tensor) -> Tensor:
    return p("LogicalNot", p("LogicalOr", p("IsNan", x), p("IsInf", x)))


def _approximate(p: Parts, a: Tensor, b: Tensor) -> Tensor:
    return p("Less", p("Abs", p("Sub", a, b)), float(p.op.attrs.get("tolerance", 1e-5)))


def _l2_loss(p: Parts, x: Tensor) -> Tensor:
    flat = p("Reshape", p("Square", x), p.ints(-1))
    return p("Mul", p("Sum", flat, np.array([0], np.int32)), 0.5)


def _filled(value: int) -> Callable[..., Tensor]:
    def write(p: Parts, x: Tensor) -> Tensor:
        return p("Fill", p("Shape", x, out_type=np.dtype(np.int64)), p.constant(value, x.dtype))

    return write


def _bitwise(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        writer.set(op.outputs[0], writer.emit(onnx, [writer.get(t) for t in op.inputs], op.name))

    return rule


def _most_bits(p: Parts, count: Tensor) -> Tensor:
    """Shifts are by as many bits as the type has less one at most, and by none below 0."""
    most = count.dtype.itemsize * 8 - 1
    return p("Minimum", p("Maximum", p.cast(count, np.int64), 0), most)


def _left(p: Parts, x: Tensor, count: Tensor) -> Tensor:
    """x times a power of 2 from a table; what overflows wraps."""
    bits = x.dtype.itemsize * 8
    table = (np.ones(bits, np.uint64) << np.arange(bits, dtype=np.uint64)).astype(x.dtype)
    return p("Mul", x, p("GatherV2", p.constant(table), _most_bits(p, count), np.array(0)))


def _right(p: Parts, x: Tensor, count: Tensor) -> Tensor:
    """In two steps, so that every divisor is within int64; the quotients are rounded down, as the sign's bit demands."""
    if x.dtype == np.uint64:
        raise p.wrong("ONNX has no wider integers for shifts of uint64")
    table, wide = p.constant(np.left_shift(np.int64(1), np.arange(33))), p.cast(x, np.int64)
    by = _most_bits(p, count)
    half = p("FloorDiv", by, 2)
    for step in (half, p("Sub", by, half)):
        wide = p("FloorDiv", wide, p("GatherV2", table, step, np.array(0)))
    return p.cast(wide, x.dtype)


def _bitcast(p: Parts, x: Tensor) -> Tensor:
    """Integers of one size, with and without a sign; other bits have no op."""
    to = p.op.outputs[0].dtype
    if to == x.dtype:
        return p("Identity", x)
    if to.kind not in "iu" or x.dtype.kind not in "iu" or to.itemsize != x.dtype.itemsize or to.itemsize > 4:
        raise p.wrong(f"ONNX does not read the bits of {x.dtype} as {to}; cast instead")
    turn, wide = 1 << (8 * to.itemsize), p.cast(x, np.int64)
    if to.kind == "u":
        made = p("SelectV2", p("Less", wide, 0), p("AddV2", wide, turn), wide)
    else:
        made = p("SelectV2", p("GreaterEqual", wide, turn // 2), p("Sub", wide, turn), wide)
    return p.cast(made, to)


def _bucketize(p: Parts, x: Tensor) -> Tensor:
    """How many boundaries are not above; NaN is above all."""
    bounds = np.array(p.op.attrs.get("boundaries", ()), np.float32)
    wide = p.cast(x, np.float32) if not is_float(x.dtype) or x.dtype == np.float16 else x
    below = p("Less", p("ExpandDims", wide, np.array(-1, np.int32)), p.constant(bounds, wide.dtype))
    above = p("Sum", p("Cast", below, DstT=np.dtype(np.int32)), np.array([-1], np.int32))
    return p("Sub", p.constant(len(bounds), np.int32), above)


def _linspace(p: Parts, start: Tensor, stop: Tensor, count: Tensor) -> Tensor:
    n = int(p.writer.required(p.op, 2))
    steps = p.constant(np.arange(n), start.dtype)
    step = p("RealDiv", p("Sub", stop, start), max(n - 1, 1))
    return p("AddV2", p("Mul", steps, step), start)


def _determinant(writer: Writer, op: Operation) -> None:
    writer.set(op.outputs[0], writer.emit("Det", [writer.get(op.inputs[0])], op.name))


def _random(writer: Writer, op: Operation) -> None:
    """Other numbers in every run, as in TensorFlow without a seed; the numbers of a seed are TensorFlow's own."""
    if op.attrs.get("seed", 0) or op.attrs.get("seed2", 0):
        raise GraphError(
            f"ONNX: {op.type} '{op.name}' has a seed, and ONNX lacks the numbers that TensorFlow draws from it; freeze the graph "
            "without dropout, or begin the file after it (inputs=)"
        )
    number = data_type(op.outputs[0].dtype, f"'{op.name}'")
    shape = writer.emit("Cast", [writer.get(op.inputs[0])], f"{op.name}.shape", to=7)
    zeros = writer.emit("ConstantOfShape", [shape], f"{op.name}.zeros")
    name = writer.emit("RandomUniformLike", [zeros], op.name, dtype=number, low=0.0, high=1.0)
    writer.set(op.outputs[0], name)


_COMPOSED: dict[str, Callable[..., Any]] = {
    "Expm1": _expm1, "Erfc": _erfc, "Atan2": _atan2, "DivNoNan": _safe("RealDiv", 1), "MulNoNan": _safe("Mul", 1),
    "Xdivy": _safe("RealDiv", 0), "Xlogy": _safe("Log", 0), "Xlog1py": _safe("Log1p", 0), "IsFinite": _is_finite,
    "ApproximateEqual": _approximate, "L2Loss": _l2_loss, "OnesLike": _filled(1), "ZerosLike": _filled(0),
    "LeftShift": _left, "RightShift": _right, "Bitcast": _bitcast, "Bucketize": _bucketize, "LinSpace": _linspace,
}  # fmt: skip
RULES: dict[str, Rule] = {
    **{op: _composed(write) for op, write in _COMPOSED.items()},
    "BitwiseAnd": _bitwise("BitwiseAnd"), "BitwiseOr": _bitwise("BitwiseOr"), "BitwiseXor": _bitwise("BitwiseXor"),
    "Invert": _bitwise("BitwiseNot"), "MatrixDeterminant": _determinant,
    "RandomUniform": _random,
}  # fmt: skip
