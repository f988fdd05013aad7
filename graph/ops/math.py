"""Arithmetic, comparisons, matrix products and reductions on tensors.

All functions take tensors or Python/NumPy values; a value next to a tensor takes the tensor's dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Tensor
from ..errors import GraphError
from ..values import as_dtype
from .building import TensorLike, add_op, convert, convert_all, integers

__all__ = [
    "abs", "add", "argmax", "argmin", "cast", "ceil", "cos", "divide", "equal", "erf", "exp", "floor", "floordiv", "floormod", "greater",
    "greater_equal", "less", "less_equal", "log", "log1p", "logical_and", "logical_not", "logical_or", "matmul", "maximum",
    "minimum", "multiply", "negative", "not_equal", "pow", "reciprocal", "reduce_all", "reduce_any", "reduce_max", "reduce_mean",
    "reduce_min", "reduce_prod", "reduce_sum", "round", "rsqrt", "sign", "sin", "sqrt", "square", "squared_difference", "subtract",
    "top_k", "where",
]  # fmt: skip


def _unary(type: str, x: TensorLike, name: str | None) -> Tensor:
    return add_op(type, [convert(x)], name)


def _binary(type: str, x: TensorLike, y: TensorLike, name: str | None) -> Tensor:
    return add_op(type, convert_all([x, y]), name)


def add(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x + y with broadcasting."""
    return _binary("AddV2", x, y, name or "add")


def subtract(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x - y with broadcasting."""
    return _binary("Sub", x, y, name or "sub")


def multiply(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x * y with broadcasting."""
    return _binary("Mul", x, y, name or "mul")


def divide(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x / y with broadcasting. Integers are converted to float64 first, as Python does it."""
    a, b = convert_all([x, y])
    if a.dtype.kind in "iub":
        a, b = cast(a, "float64"), cast(b, "float64")
    return add_op("RealDiv", [a, b], name or "truediv")


def floordiv(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """floor(x / y) with broadcasting; integer division by 0 is an error."""
    return _binary("FloorDiv", x, y, name or "floordiv")


def floormod(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x - floor(x / y) * y with broadcasting."""
    return _binary("FloorMod", x, y, name or "mod")


def pow(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x ** y with broadcasting."""
    return _binary("Pow", x, y, name)


def maximum(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """Elementwise larger value; NaN if either is NaN."""
    return _binary("Maximum", x, y, name)


def minimum(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """Elementwise smaller value; NaN if either is NaN."""
    return _binary("Minimum", x, y, name)


def squared_difference(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """(x - y) ** 2 with broadcasting."""
    return _binary("SquaredDifference", x, y, name)


def equal(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x == y elementwise (bool)."""
    return _binary("Equal", x, y, name)


def not_equal(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x != y elementwise (bool)."""
    return _binary("NotEqual", x, y, name)


def less(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x < y elementwise (bool)."""
    return _binary("Less", x, y, name)


def less_equal(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x <= y elementwise (bool)."""
    return _binary("LessEqual", x, y, name)


def greater(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x > y elementwise (bool)."""
    return _binary("Greater", x, y, name)


def greater_equal(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x >= y elementwise (bool)."""
    return _binary("GreaterEqual", x, y, name)


def logical_and(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x and y elementwise (bool)."""
    return _binary("LogicalAnd", x, y, name)


def logical_or(x: TensorLike, y: TensorLike, name: str | None = None) -> Tensor:
    """x or y elementwise (bool)."""
    return _binary("LogicalOr", x, y, name)


def logical_not(x: TensorLike, name: str | None = None) -> Tensor:
    """not x elementwise (bool)."""
    return _unary("LogicalNot", x, name)


def where(condition: TensorLike, x: TensorLike = None, y: TensorLike = None, name: str | None = None) -> Tensor:
    """x where the condition holds, else y, with broadcasting; without x and y the indices of what holds, (n, axes) int64."""
    if x is None or y is None:
        if x is not y:
            raise GraphError("where: give both x and y, or neither")
        return add_op("Where", [convert(condition)], name)
    mask = next(
        (convert(condition, as_dtype(bool), beside=v) for v in (condition, x, y) if isinstance(v, Tensor)), None
    )
    if mask is None:
        mask = convert(condition, as_dtype(bool))
    with mask.graph.as_default():
        return add_op("SelectV2", [mask, *convert_all([x, y])], name)


def negative(x: TensorLike, name: str | None = None) -> Tensor:
    """-x"""
    return _unary("Neg", x, name)


def abs(x: TensorLike, name: str | None = None) -> Tensor:
    """|x|; the modulus of complex numbers."""
    t = convert(x)
    return add_op("ComplexAbs" if t.dtype.kind == "c" else "Abs", [t], name)


def sign(x: TensorLike, name: str | None = None) -> Tensor:
    """-1, 0 or 1."""
    return _unary("Sign", x, name)


def square(x: TensorLike, name: str | None = None) -> Tensor:
    """x * x"""
    return _unary("Square", x, name)


def sqrt(x: TensorLike, name: str | None = None) -> Tensor:
    """Square root; NaN below 0."""
    return _unary("Sqrt", x, name)


def rsqrt(x: TensorLike, name: str | None = None) -> Tensor:
    """1 / sqrt(x)"""
    return _unary("Rsqrt", x, name)


def reciprocal(x: TensorLike, name: str | None = None) -> Tensor:
    """1 / x"""
    return _unary("Reciprocal", x, name)


def exp(x: TensorLike, name: str | None = None) -> Tensor:
    """e ** x"""
    return _unary("Exp", x, name)


def log(x: TensorLike, name: str | None = None) -> Tensor:
    """Natural logarithm."""
    return _unary("Log", x, name)


def log1p(x: TensorLike, name: str | None = None) -> Tensor:
    """log(1 + x), exact near 0."""
    return _unary("Log1p", x, name)


def erf(x: TensorLike, name: str | None = None) -> Tensor:
    """The error function."""
    return _unary("Erf", x, name)


def sin(x: TensorLike, name: str | None = None) -> Tensor:
    """Sine."""
    return _unary("Sin", x, name)


def cos(x: TensorLike, name: str | None = None) -> Tensor:
    """Cosine."""
    return _unary("Cos", x, name)


def floor(x: TensorLike, name: str | None = None) -> Tensor:
    """Largest whole number <= x."""
    return _unary("Floor", x, name)


def ceil(x: TensorLike, name: str | None = None) -> Tensor:
    """Smallest whole number >= x."""
    return _unary("Ceil", x, name)


def round(x: TensorLike, name: str | None = None) -> Tensor:
    """Nearest whole number, ties to even."""
    return _unary("Round", x, name)


def cast(x: TensorLike, dtype: Any, name: str | None = None) -> Tensor:
    """x converted to another element type, as C does it."""
    t, target = convert(x), as_dtype(dtype)
    return t if t.dtype == target else add_op("Cast", [t], name, SrcT=t.dtype, DstT=target)


def matmul(
    a: TensorLike, b: TensorLike, transpose_a: bool = False, transpose_b: bool = False, name: str | None = None
) -> Tensor:
    """Matrix product of a (..., M, K) and b (..., K, N); leading axes broadcast."""
    x, y = convert_all([a, b])
    if (x.type.rank or 2) == 2 and (y.type.rank or 2) == 2:
        return add_op("MatMul", [x, y], name, transpose_a=transpose_a, transpose_b=transpose_b)
    return add_op("BatchMatMulV2", [x, y], name or "MatMul", adj_x=transpose_a, adj_y=transpose_b)


def matmul_operator(a: TensorLike, b: TensorLike) -> Tensor:
    """What ``a @ b`` means, as in NumPy: a vector is a row on the left and a column on the right, and its axis is not kept.

    (K) @ (K) -> (); (..., M, K) @ (K) -> (..., M); (K) @ (..., K, N) -> (..., N); else as ``matmul``, which refuses vectors.
    """
    x, y = convert_all([a, b])
    ranks = x.type.rank, y.type.rank
    if 0 in ranks:
        raise GraphError(f"@ needs vectors or matrices, got {x!r} and {y!r}; a number is multiplied with *")
    # Axes of length 1, from the end of the result, that the vectors had not.
    added = [axis for axis, rank in zip((-2, -1), ranks, strict=True) if rank == 1]
    if ranks[0] == 1:
        x = add_op("ExpandDims", [x, integers(0, "dim", x)], None)
    if ranks[1] == 1:
        y = add_op("ExpandDims", [y, integers(1, "dim", y)], None)
    product = matmul(x, y)
    return add_op("Squeeze", [product], None, squeeze_dims=tuple(added)) if added else product


def _axes(x: Tensor, axis: TensorLike | None) -> Tensor:
    if axis is None:
        rank = x.type.rank
        if rank is None:
            raise GraphError(f"give the axes: the rank of {x!r} is not known while the graph is built")
        axis = list(range(rank))
    return integers(axis, "reduction_indices", x)


def _reduce(type: str, x: TensorLike, axis: int | Sequence[int] | None, keepdims: bool, name: str | None) -> Tensor:
    t = convert(x)
    return add_op(type, [t, _axes(t, axis)], name, keep_dims=keepdims)


def reduce_sum(
    x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Sum over axes (None: all)."""
    return _reduce("Sum", x, axis, keepdims, name)


def reduce_mean(
    x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Mean over axes (None: all); floats only."""
    return _reduce("Mean", x, axis, keepdims, name)


def reduce_max(
    x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Largest value over axes (None: all)."""
    return _reduce("Max", x, axis, keepdims, name)


def reduce_min(
    x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Smallest value over axes (None: all)."""
    return _reduce("Min", x, axis, keepdims, name)


def reduce_prod(
    x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Product over axes (None: all)."""
    return _reduce("Prod", x, axis, keepdims, name)


def reduce_all(
    x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Logical and over axes (None: all)."""
    return _reduce("All", x, axis, keepdims, name)


def reduce_any(
    x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Logical or over axes (None: all)."""
    return _reduce("Any", x, axis, keepdims, name)


def argmax(x: TensorLike, axis: int = 0, output_type: Any = "int64", name: str | None = None) -> Tensor:
    """Index of the largest value along an axis; the first of equals."""
    t = convert(x)
    return add_op("ArgMax", [t, integers(axis, "dimension", t)], name, output_type=as_dtype(output_type))


def argmin(x: TensorLike, axis: int = 0, output_type: Any = "int64", name: str | None = None) -> Tensor:
    """Index of the smallest value along an axis; the first of equals."""
    t = convert(x)
    return add_op("ArgMin", [t, integers(axis, "dimension", t)], name, output_type=as_dtype(output_type))


def top_k(input: TensorLike, k: int = 1, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The k largest values along the last axis in descending order, and their int32 indices."""
    t = convert(input)
    values = add_op("TopKV2", [t, integers(k, "k", t)], name or "TopK", sorted=True)
    return values, values.op.outputs[1]
