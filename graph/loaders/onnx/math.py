"""Arithmetic, comparisons, logic, matrix products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from ....kernels.tensor import is_int
from ...builder import Tensor
from .node import Converter, Node

__all__ = ["CONVERTERS", "batch_product", "fold_inputs", "gemm"]


def _same(type: str, count: int) -> Converter:
    """An op of TensorFlow that is ONNX's."""

    def convert(n: Node) -> Tensor:
        return n.op(type, *(operands(n) if count == 2 else [n.input(0)]))

    return convert


def operands(n: Node) -> tuple[Tensor, Tensor]:
    """Two operands. In version 6 the second one broadcasts if the attribute says so, from an axis of the first one on."""
    x, y = n.input(0), n.input(1)
    if n.version >= 7:
        return x, y
    axis = n.integer("axis", 1 << 30)
    if n.flag("broadcast") and axis != 1 << 30:
        after = n.rank(x) - n.axis(axis, n.rank(x)) - n.rank(y)
        if after < 0:
            raise n.wrong(f"{n.type_of(y)} from axis {axis} of {n.type_of(x)} on", "fewer axes")
        if after:
            y = n.op("Reshape", y, n.vector([*(n.size(y, i) for i in range(n.rank(y))), *[1] * after]))
    return x, y


def _div(n: Node) -> Tensor:
    """Integers are rounded towards zero."""
    x, y = operands(n)
    return n.op("TruncateDiv" if is_int(n.dtype(x)) else "RealDiv", x, y)


def _pow(n: Node) -> Tensor:
    """The result has the type of the base; types may differ from version 12 on."""
    x, y = operands(n)
    dtype, other = n.dtype(x), n.dtype(y)
    if dtype == other:
        known = n.value(y)
        if known is not None and known.size == 1 and known.reshape(-1)[0] == 2 and n.rank(y) <= n.rank(x):
            return n.op("Square", x)
        return n.op("Pow", x, y)
    wide = np.result_type(dtype, other)
    if wide.kind not in "iuf":
        raise n.unsupported(f"{dtype} to the power of {other}")
    return n.cast(n.op("Pow", n.cast(x, wide), n.cast(y, wide)), dtype)


def _mod(n: Node) -> Tensor:
    """fmod = 1: the sign is that of the first operand, as in C; otherwise that of the second."""
    return n.op("TruncateMod" if n.flag("fmod") else "FloorMod", n.input(0), n.input(1))


def fold_inputs(type: str) -> Converter:
    """An op of two operands for any number of them."""

    def convert(n: Node) -> Tensor:
        return reduce(lambda a, b: n.op(type, a, b), n.all_inputs)

    return convert


def _mean(n: Node) -> Tensor:
    inputs = n.all_inputs
    total = reduce(lambda a, b: n.op("AddV2", a, b), inputs)
    return n.op("RealDiv", total, n.like(total, len(inputs)))


def _xor(n: Node) -> Tensor:
    return n.op("NotEqual", *operands(n))


def _where(n: Node) -> Tensor:
    return n.op("SelectV2", n.input(0), n.input(1), n.input(2))


def _is_nan(n: Node) -> Tensor:
    return n.op("NotEqual", n.input(0), n.input(0))


def _is_inf(n: Node) -> Tensor:
    x, up, down = n.input(0), n.flag("detect_positive", True), n.flag("detect_negative", True)
    if up and down:
        return n.op("Equal", n.op("Abs", x), n.like(x, np.inf))
    if not up and not down:
        return n.op("Less", n.op("Abs", x), n.like(x, 0))
    return n.op("Equal", x, n.like(x, np.inf if up else -np.inf))


# --- matrix products -----------------------------------------------------------------------------------------------------


def batch_product(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """NumPy's matmul: vectors get an axis that is dropped again."""
    ranks = n.rank(a), n.rank(b)
    if 0 in ranks:
        raise n.wrong("a matrix product of a scalar", "vectors or matrices")
    if ranks == (2, 2):
        return n.op("MatMul", a, b)
    if ranks[0] == 1:
        a = n.op("ExpandDims", a, n.const(0))
    if ranks[1] == 1:
        b = n.op("ExpandDims", b, n.const(1))
    y = n.op("BatchMatMulV2" if max(ranks) > 2 else "MatMul", a, b)
    drop = [*([-2] if ranks[0] == 1 else []), *([-1] if ranks[1] == 1 else [])]
    return n.op("Squeeze", y, squeeze_dims=tuple(drop)) if drop else y


def _matmul(n: Node) -> Tensor:
    return batch_product(n, n.input(0), n.input(1))


def gemm(n: Node, a: Tensor, b: Tensor, c: Tensor | None) -> Tensor:
    """alpha * a' b' + beta * c by the attributes of the node."""
    if n.rank(a) != 2 or n.rank(b) != 2:
        raise n.wrong(f"operands of {n.rank(a)} and {n.rank(b)} axes", "matrices")
    alpha, beta = n.number("alpha", 1.0), n.number("beta", 1.0)
    n.ignore("broadcast")  # of version 6; c broadcasts in any case
    y = n.op("MatMul", a, b, transpose_a=n.flag("transA"), transpose_b=n.flag("transB"))
    if alpha != 1:
        y = _scaled(n, y, alpha)
    if c is None or beta == 0:
        return y
    if beta != 1:
        c = _scaled(n, c, beta)
    return n.op("BiasAdd" if n.rank(c) == 1 and _is_bias(n, y, c) else "AddV2", y, c)


def _is_bias(n: Node, y: Tensor, c: Tensor) -> bool:
    columns, size = n.shape(y)[-1], n.shape(c)[0]
    return columns is not None and columns == size and n.dtype(y).kind == "f"


def _scaled(n: Node, x: Tensor, factor: float) -> Tensor:
    dtype = n.dtype(x)
    if is_int(dtype) and factor != int(factor):
        raise n.unsupported(f"a factor of {factor} for integers")
    return n.op("Mul", x, n.const(int(factor) if is_int(dtype) else factor, dtype))


def _gemm(n: Node) -> Tensor:
    return gemm(n, n.input(0), n.input(1), n.optional(2))


def _one_of(pairs: Mapping[str, tuple[str, int]]) -> dict[str, Converter]:
    return {onnx: _same(type, count) for onnx, (type, count) in pairs.items()}


_UNARY: Sequence[str] = (
    "Neg", "Abs", "Sign", "Sqrt", "Exp", "Log", "Floor", "Ceil", "Reciprocal", "Erf", "Sin", "Cos", "Tan", "Asin",
    "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
)  # fmt: skip

CONVERTERS: Mapping[str, Converter] = {
    **_one_of({name: (name, 1) for name in _UNARY}),
    **_one_of({
        "Add": ("AddV2", 2), "Sub": ("Sub", 2), "Mul": ("Mul", 2), "Equal": ("Equal", 2), "Less": ("Less", 2),
        "Greater": ("Greater", 2), "LessOrEqual": ("LessEqual", 2), "GreaterOrEqual": ("GreaterEqual", 2),
        "And": ("LogicalAnd", 2), "Or": ("LogicalOr", 2), "Not": ("LogicalNot", 1), "Round": ("Rint", 1),
        "BitwiseAnd": ("BitwiseAnd", 2), "BitwiseOr": ("BitwiseOr", 2), "BitwiseXor": ("BitwiseXor", 2),
        "BitwiseNot": ("Invert", 1),
    }),
    "Div": _div,
    "Pow": _pow,
    "Mod": _mod,
    "Sum": fold_inputs("AddV2"),
    "Max": fold_inputs("Maximum"),
    "Min": fold_inputs("Minimum"),
    "Mean": _mean,
    "Xor": _xor,
    "Where": _where,
    "IsNaN": _is_nan,
    "IsInf": _is_inf,
    "MatMul": _matmul,
    "Det": _same("MatrixDeterminant", 1),
    "Gemm": _gemm,
}  # fmt: skip
