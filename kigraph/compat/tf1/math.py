"""Arithmetic, comparisons, matrix products and reductions under TensorFlow 1's names."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from ...graph import ops
from .building import apply, convert, convert_all, graph_of, is_tensor, one, several, via
from .dtypes import numpy_dtype
from .graph import OPERATORS, Tensor, get_default_graph

__all__ = [
    "FUNCTIONS", "accumulate_n", "add_n", "argmax", "argmin", "cast",     "count_nonzero", "cumprod", "cumsum", "div", "divide", "einsum", "floordiv",     "linspace", "logical_xor", "matmul", "range", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "round", "scalar_mul", "tensordot", "to_bfloat16",
    "to_double", "to_float", "to_int32", "to_int64", "trace", "truediv",
]  # fmt: skip

_FLOAT_OF_INT = {"int8": "float32", "int16": "float32", "uint8": "float32", "uint16": "float32"}


def _unary(type: str, argument: str) -> Callable[..., Tensor]:
    def function(x: Any, name: str | None = None, **other: Any) -> Tensor:
        return one(apply(type, name, {argument: _named(x, other, argument)}))

    return function


def _named(value: Any, other: dict[str, Any], argument: str) -> Any:
    """An argument that may be given by the name that TensorFlow has for it."""
    if not other:
        return value
    raise TypeError(f"unexpected arguments {', '.join(other)}; expected {argument} and name")


def _binary(type: str, first: str, second: str, default: str | None = None) -> Callable[..., Tensor]:
    def function(*values: Any, name: str | None = None, **given: Any) -> Tensor:
        if len(values) == 3 and name is None:
            *values, name = values  # type: ignore[assignment]
        named = [*values, *(given.pop(key) for key in (first, second)[len(values) :] if key in given)]
        if given or len(named) != 2:
            raise TypeError(
                f"expected the arguments {first}, {second} and name, got {len(values)} and {', '.join(given)}"
            )
        pair = dict(zip((first, second), named, strict=True))
        return one(apply(type, name, pair, alike=(first, second), default=default))

    return function


#: Op type -> functions of it, of one argument. The first word after the colon is the argument's name in TensorFlow.
_UNARY = """
    Abs: x abs; Acos: x acos; Acosh: x acosh; Asin: x asin; Asinh: x asinh; Atan: x atan; Atanh: x atanh; Ceil: x ceil; Cos: x cos;
    Cosh: x cosh; Erf: x erf; Erfc: x erfc; Exp: x exp; Expm1: x expm1; Floor: x floor; IsFinite: x is_finite; IsInf: x is_inf;
    IsNan: x is_nan; Log: x log; Log1p: x log1p; LogicalNot: x logical_not; Neg: x negative neg; Reciprocal: x reciprocal;
    Rint: x rint; Rsqrt: x rsqrt; Sigmoid: x sigmoid; Sign: x sign; Sin: x sin; Sinh: x sinh; Sqrt: x sqrt; Square: x square;
    Tan: x tan; Tanh: x tanh; InvertPermutation: x invert_permutation; Elu: features elu; Relu: features relu;
    Relu6: features relu6; Selu: features selu; Softplus: features softplus; Softsign: features softsign; L2Loss: t l2_loss
"""
#: Op type -> functions of two arguments of one type, with default names of their own after '='.
_BINARY = """
    AddV2: x y add=Add; Atan2: y x atan2; Equal: x y equal; FloorMod: x y floormod mod; Greater: x y greater;
    GreaterEqual: x y greater_equal; Less: x y less; LessEqual: x y less_equal; LogicalAnd: x y logical_and;
    LogicalOr: x y logical_or; Maximum: x y maximum; Minimum: x y minimum; Mul: x y multiply mul; NotEqual: x y not_equal;
    Pow: x y pow; RealDiv: x y realdiv; SquaredDifference: x y squared_difference; Sub: x y subtract sub;
    TruncateDiv: x y truncatediv; TruncateMod: x y truncatemod; DivNoNan: x y div_no_nan=div_no_nan; Xdivy: x y xdivy;
    Xlogy: x y xlogy; Xlog1py: x y xlog1py; BitwiseAnd: x y bitwise_and; BitwiseOr: x y bitwise_or; BitwiseXor: x y bitwise_xor
"""


def _functions() -> dict[str, Callable[..., Tensor]]:
    found: dict[str, Callable[..., Tensor]] = {}
    for text, arguments in ((_UNARY, 1), (_BINARY, 2)):
        for row in text.split(";"):
            type, _, rest = row.strip().partition(": ")
            words = rest.split()
            for word in words[arguments:]:
                name, _, default = word.partition("=")
                function = (
                    _unary(type, words[0]) if arguments == 1 else _binary(type, words[0], words[1], default or None)
                )
                function.__name__ = function.__qualname__ = name
                function.__doc__ = f"{type} of {' and '.join(words[:arguments])}, element by element."
                found[name] = function
    return found


#: The functions of one op each, by name.
FUNCTIONS = _functions()


# --- division --------------------------------------------------------------------------------------------------------


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y; integers are divided as float32 (up to 16 bits) or float64."""
    graph = graph_of(x, y)
    with graph.as_default(), graph.name_scope(name or "truediv") as scope:
        x, y = convert_all([x, y], ["x", "y"])
        if x.dtype.is_integer:
            wide = _FLOAT_OF_INT.get(x.dtype.name, "float64")
            x, y = cast(x, wide), cast(y, wide)
        return graph.create("RealDiv", [x, y], None, scope).outputs[0]


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python divides."""
    return truediv(x, y, name)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 2 divides: floats are divided, integers rounded down."""
    graph = graph_of(x, y)
    with graph.as_default(), graph.name_scope(name or "div") as scope:
        x, y = convert_all([x, y], ["x", "y"])
        type = "FloorDiv" if x.dtype.is_integer else "RealDiv"
        return graph.create(type, [x, y], None, scope).outputs[0]


def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y rounded down."""
    return one(apply("FloorDiv", name, {"x": x, "y": y}, alike=("x", "y"), default="floordiv"))


def round(x: Any, name: str | None = None) -> Tensor:
    """Rounds to the nearest integer, halves to even; integers stay."""
    x = convert(x, name="x")
    return x if x.dtype.is_integer else one(apply("Round", name, {"x": x}))


def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Tensor:
    """Whether one of the two is true."""
    f = FUNCTIONS
    both, neither = f["logical_or"](x, y), f["logical_not"](f["logical_and"](x, y))
    return f["logical_and"](both, neither, name=name)


# --- types -------------------------------------------------------------------------------------------------------------


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """The values as another element type; a tensor that has it already is returned as it is."""
    graph = graph_of(x)
    wanted = numpy_dtype(dtype)
    with graph.as_default(), graph.name_scope(name or "Cast") as scope:
        tensor = convert(x, name="x")
        if tensor.core.dtype == wanted:
            return tensor
        return graph.create("Cast", [tensor], {"SrcT": tensor.core.dtype, "DstT": wanted}, scope).outputs[0]


def to_float(x: Any, name: str = "ToFloat") -> Tensor:
    return cast(x, "float32", name)


def to_double(x: Any, name: str = "ToDouble") -> Tensor:
    return cast(x, "float64", name)


def to_int32(x: Any, name: str = "ToInt32") -> Tensor:
    return cast(x, "int32", name)


def to_int64(x: Any, name: str = "ToInt64") -> Tensor:
    return cast(x, "int64", name)


def to_bfloat16(x: Any, name: str = "ToBFloat16") -> Tensor:
    """Refused: kigraph has no bfloat16 tensors."""
    raise TypeError("kigraph has no tensors of bfloat16; tf.to_float, and a kigraph session's precision='bf16'")


# --- sums and products --------------------------------------------------------------------------------------------------


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """The sum of several tensors of one shape."""
    items = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not items:
        raise ValueError("inputs must be an iterable of at least one Tensor with the same dtype and shape")
    if len(items) == 1:
        tensor = convert(items[0])
        return one(apply("Identity", name, {"input": tensor})) if name else tensor
    return one(apply("AddN", name, {"inputs": several(items)}))


def accumulate_n(inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Tensor:
    """As add_n."""
    return add_n(inputs, name)


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor:
    return FUNCTIONS["multiply"](x, scalar, name=name)


def matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False, adjoint_b: bool = False,
    a_is_sparse: bool = False, b_is_sparse: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """a @ b: matrices, or batches of matrices whose leading axes broadcast."""
    if (transpose_a and adjoint_a) or (transpose_b and adjoint_b):
        raise ValueError("Only one of transpose and adjoint can be True.")
    graph = graph_of(a, b)
    with graph.as_default(), graph.name_scope(name or "MatMul") as scope:
        a, b = convert_all([a, b], ["a", "b"])
        ranks = [t.shape.ndims for t in (a, b)]
        if all(r is None or r > 2 for r in ranks) or any(r is not None and r > 2 for r in ranks):
            attrs = {"adj_x": transpose_a or adjoint_a, "adj_y": transpose_b or adjoint_b}
            return graph.create("BatchMatMulV2", [a, b], attrs, scope).outputs[0]
        attrs = {"transpose_a": transpose_a or adjoint_a, "transpose_b": transpose_b or adjoint_b}
        return graph.create("MatMul", [a, b], attrs, scope).outputs[0]


def _axes(x: Tensor, axis: Any) -> Any:
    """The axes to reduce; all of them where none is given."""
    if axis is not None:
        return axis
    rank = x.shape.ndims
    if rank is not None:
        return convert(np.arange(rank, dtype=np.int32), name="Const")
    return range(0, one(apply("Rank", None, {"input": x})))


def _reduction(type: str) -> Callable[..., Tensor]:
    def reduce(
        input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None, reduction_indices: Any = None,
        keep_dims: Any = None,
    ) -> Tensor:  # fmt: skip
        if axis is not None and reduction_indices is not None:
            raise ValueError("Cannot specify both 'axis' and 'reduction_indices'.")
        if keepdims is not None and keep_dims is not None:
            raise ValueError("Cannot specify both 'keep_dims' and 'keepdims'.")
        axis = reduction_indices if axis is None else axis
        graph = graph_of(input_tensor)
        with graph.as_default():
            dtype = "bool" if type in ("All", "Any") else None
            x = convert(input_tensor, dtype if not is_tensor(input_tensor) else None, name="input")
            attrs = {"keep_dims": bool(keep_dims if keepdims is None else keepdims)}
            axes = _axes(x, axis)
            if axis is None and x.shape.ndims is None and not attrs["keep_dims"]:
                # A gradient needs axes that are known: all elements are put along one.
                with graph.name_scope(f"{name or type}_all"):
                    x, axes = one(apply("Reshape", None, {"tensor": x, "shape": [-1]}, dtypes={"shape": "int32"})), [0]
            values = {"input": x, "reduction_indices": axes}
            return one(apply(type, name, values, attrs, dtypes={"reduction_indices": "int32"}))

    reduce.__doc__ = f"{type} over the axes ``axis`` (default: all), which keepdims keeps with size 1."
    return reduce


reduce_sum, reduce_mean, reduce_max = _reduction("Sum"), _reduction("Mean"), _reduction("Max")
reduce_min, reduce_prod, reduce_all, reduce_any = (
    _reduction("Min"), _reduction("Prod"), _reduction("All"), _reduction("Any"),
)  # fmt: skip


def reduce_logsumexp(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None, reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:  # fmt: skip
    """log(sum(exp(x))), from the largest value on."""
    keep = keepdims if keep_dims is None else keep_dims
    axis = reduction_indices if axis is None else axis
    f = FUNCTIONS
    with graph_of(input_tensor).as_default(), get_default_graph().name_scope(name or "ReduceLogSumExp") as scope:
        x = convert(input_tensor)
        top = reduce_max(x, axis, True)
        finite = f["is_finite"](top)
        top = one(apply("StopGradient", None, {"input": _select(finite, top)}))
        total = f["log"](reduce_sum(f["exp"](f["subtract"](x, top)), axis, keep))
        return f["add"](total, top if keep else reduce_sum(top, axis), name=scope)


def _select(condition: Tensor, x: Tensor) -> Tensor:
    """x, and 0 where the condition does not hold."""
    zeros = one(apply("ZerosLike", None, {"x": x}))
    return one(apply("SelectV2", None, {"condition": condition, "t": x, "e": zeros}))


def count_nonzero(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, dtype: Any = "int64", name: str | None = None,
) -> Tensor:  # fmt: skip
    """How many elements are not zero."""
    with get_default_graph().name_scope(name or "count_nonzero"):
        x = convert(input_tensor)
        zero = convert(np.zeros((), x.core.dtype))
        return reduce_sum(cast(FUNCTIONS["not_equal"](x, zero), dtype), axis, keepdims)


def _arg(type: str) -> Callable[..., Tensor]:
    def function(
        input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = "int64",
    ) -> Tensor:  # fmt: skip
        axis = dimension if axis is None else axis
        values = {"input": input, "dimension": 0 if axis is None else axis}
        return one(apply(type, name, values, {"output_type": numpy_dtype(output_type)}, dtypes={"dimension": "int32"}))

    function.__doc__ = f"{type}: the index along ``axis`` (default 0), the first one of several, as int64 by default."
    return function


argmax, argmin = _arg("ArgMax"), _arg("ArgMin")


def _running(type: str) -> Callable[..., Tensor]:
    def function(
        x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
    ) -> Tensor:
        attrs = {"exclusive": exclusive, "reverse": reverse}
        return one(apply(type, name, {"x": x, "axis": axis}, attrs, dtypes={"axis": "int32"}))

    function.__doc__ = f"{type} along an axis."
    return function


cumsum, cumprod = _running("Cumsum"), _running("Cumprod")


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """Numbers from start (0 where only the limit is given) to below the limit."""
    if limit is None:
        start, limit = 0, start
    graph = graph_of(start, limit, delta)
    with graph.as_default(), graph.name_scope(name) as scope:
        names = ["start", "limit", "delta"]
        given = [start, limit, delta]
        if dtype is None and not any(is_tensor(v) for v in given):
            found = [np.asarray(v).dtype.kind for v in given]
            dtype = "float32" if "f" in found else "int32"
        parts = [convert(v, None if is_tensor(v) else dtype, n) for v, n in zip(given, names, strict=True)]
        types = {t.dtype for t in parts}
        if len(types) > 1:
            order = ["int32", "int64", "float32", "float64"]
            widest = builtins.max(types, key=lambda t: order.index(t.name))
            parts = [cast(t, widest) for t in parts]
        return graph.create("Range", parts, None, scope).outputs[0]


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """``num`` numbers from start to stop, both included."""
    values = {"start": start, "stop": stop, "num": num}
    return one(apply("LinSpace", name, values, alike=("start", "stop"), dtypes={"num": "int32"}))


def einsum(equation: str, *inputs: Any, name: str | None = None) -> Tensor:
    """Sums of products by an equation such as 'ij,jk->ik'."""
    with graph_of(*inputs).as_default(), get_default_graph().name_scope(name or "einsum"):
        return via(lambda *a, name: ops.einsum(equation, *a, name=name), *inputs, default="Einsum")  # type: ignore[no-any-return]


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Sums over pairs of axes: a number n (the last n of a, the first n of b), or two lists of axes."""
    a, b = convert(a, name="a"), convert(b, name="b")
    ranks = [t.shape.ndims for t in (a, b)]
    if None in ranks:
        raise ValueError("tensordot: both ranks must be known while the graph is built; set_shape states them")
    if isinstance(axes, int):
        pairs = [list(builtins.range(ranks[0] - axes, ranks[0])), list(builtins.range(axes))]
    else:
        pairs = [[int(v) for v in np.reshape(part, -1)] for part in axes]
        pairs = [[v % rank for v in part] for part, rank in zip(pairs, ranks, strict=True)]
    letters = "abcdefghijklmnopqrstuvwxyz"
    first = list(letters[: ranks[0]])
    second = list(letters[ranks[0] : ranks[0] + ranks[1]])
    for i, j in zip(*pairs, strict=True):
        second[j] = first[i]
    kept = [c for i, c in enumerate(first) if i not in pairs[0]] + [
        c for j, c in enumerate(second) if j not in pairs[1]
    ]
    return einsum(f"{''.join(first)},{''.join(second)}->{''.join(kept)}", a, b, name=name or "Tensordot")


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sum along the main diagonal of the last two axes."""
    with get_default_graph().name_scope(name or "Trace"):
        return reduce_sum(one(apply("MatrixDiagPart", None, {"input": x})), [-1])


def _named_operator(name: str, default: str) -> Callable[..., Tensor]:
    function = FUNCTIONS[name]
    return lambda x, y: function(x, y, name=default)


OPERATORS.update(
    add=_named_operator("add", "add"), subtract=_named_operator("subtract", "sub"), multiply=_named_operator("multiply", "mul"),
    pow=_named_operator("pow", "pow"), floormod=_named_operator("floormod", "mod"), divide=lambda x, y: truediv(x, y),
    floordiv=lambda x, y: floordiv(x, y), matmul_operator=lambda a, b: matmul(a, b, name="matmul"),
    logical_and=_named_operator("logical_and", "and"), logical_or=_named_operator("logical_or", "or"),
    **{name: FUNCTIONS[name] for name in ("less", "less_equal", "greater", "greater_equal", "negative", "abs", "logical_not")},
)  # fmt: skip
