"""Arithmetic, comparisons, matrix products, reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.contracts import elementwise as e
from ...kernels.contracts import reduce as r
from ...kernels.contracts.arrange import L2_LOSS
from ...kernels.contracts.base import Contract, merge_shapes
from ...kernels.contracts.chains import CHAIN, ChainParams
from ...kernels.contracts.einsum import EINSUM, EinsumParams
from ...kernels.contracts.layout import CAST, IDENTITY, CastParams
from ...kernels.contracts.matmul import MATMUL, MatMulParams
from ...kernels.contracts.strings import STRING_JOIN, StringJoinParams
from ...kernels.errors import ShapeError
from ...kernels.tensor import STRING, DType, Params, TensorType, dtype_name, is_int
from .attributes import ACTIVATION, FALSE, FINISH, I32, I64, TRUE, Attr, Row, T, of, types
from .base import Lowered, NeedsValue, OpDef, Site, attr_dtype, ints, one_int, required, simple

__all__ = ["DEFS"]

_SIMPLE: tuple[tuple[str, Contract[Any]], ...] = (
    ("Neg", e.NEG), ("Abs", e.ABS), ("Sign", e.SIGN), ("Square", e.SQUARE), ("Sqrt", e.SQRT),
    ("Rsqrt", e.RSQRT), ("Reciprocal", e.RECIPROCAL), ("Inv", e.RECIPROCAL), ("Exp", e.EXP), ("Log", e.LOG),
    ("Log1p", e.LOG1P), ("Erf", e.ERF), ("Sin", e.SIN), ("Cos", e.COS),
    ("Expm1", e.EXPM1), ("Erfc", e.ERFC), ("Tan", e.TAN), ("Asin", e.ASIN), ("Acos", e.ACOS), ("Atan", e.ATAN), ("Sinh", e.SINH),
    ("Cosh", e.COSH), ("Asinh", e.ASINH), ("Acosh", e.ACOSH), ("Atanh", e.ATANH), ("Atan2", e.ATAN2), ("IsNan", e.IS_NAN),
    ("IsInf", e.IS_INF), ("IsFinite", e.IS_FINITE), ("Invert", e.INVERT), ("BitwiseAnd", e.BITWISE_AND),
    ("BitwiseOr", e.BITWISE_OR), ("BitwiseXor", e.BITWISE_XOR), ("LeftShift", e.LEFT_SHIFT), ("RightShift", e.RIGHT_SHIFT),
    ("DivNoNan", e.DIV_NO_NAN), ("MulNoNan", e.MUL_NO_NAN), ("Xlogy", e.XLOGY), ("Xlog1py", e.XLOG1PY), ("Xdivy", e.XDIVY),
    ("Floor", e.FLOOR), ("Ceil", e.CEIL), ("Rint", e.ROUND), ("Round", e.ROUND),
    ("AddV2", e.ADD), ("Sub", e.SUB), ("Mul", e.MUL), ("FloorDiv", e.FLOORDIV),
    ("FloorMod", e.FLOORMOD), ("RealDiv", e.DIV), ("Pow", e.POW), ("Maximum", e.MAXIMUM), ("Minimum", e.MINIMUM),
    ("SquaredDifference", e.SQUARED_DIFFERENCE), ("Less", e.LESS),
    ("LessEqual", e.LESS_EQUAL), ("Greater", e.GREATER), ("GreaterEqual", e.GREATER_EQUAL),
    ("TruncateDiv", e.TRUNCDIV), ("TruncateMod", e.TRUNCMOD), ("Mod", e.TRUNCMOD),
)  # fmt: skip


def _div(site: Site) -> Lowered:
    """TensorFlow's first division is that of C: integers are rounded towards zero."""
    return Lowered(e.TRUNCDIV if is_int(site.inputs[0].dtype) else e.DIV)


def _add(site: Site) -> Lowered:
    """The first Add joins strings; AddV2 does not."""
    return Lowered(STRING_JOIN, StringJoinParams()) if site.inputs[0].dtype == STRING else Lowered(e.ADD)


def _text(value: Any) -> str:
    """An attribute that is a text; bytes that are not UTF-8 stay visible in errors."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _add_n(site: Site) -> Lowered:
    shape = site.inputs[0].shape
    for t in site.inputs[1:]:
        shape = merge_shapes(f"AddN '{site.name}'", shape, t.shape)
    return Lowered({1: IDENTITY, 2: e.ADD}.get(len(site.inputs), e.ADD_N))


def _clip(site: Site) -> Lowered:
    for t in site.inputs[1:]:
        if t.shape != ():
            merge_shapes(f"ClipByValue '{site.name}', the bounds", site.inputs[0].shape, t.shape)
    return Lowered(e.CLIP)


def _complex_abs(site: Site) -> Lowered:
    (y,) = e.ABS.check(site.inputs, Params())
    if attr_dtype(site, "Tout", y.dtype) != y.dtype:
        raise site.unsupported(
            f"Tout {dtype_name(site.attrs['Tout'])}", f"for {site.inputs[0]} it is {dtype_name(y.dtype)}"
        )
    return Lowered(e.ABS)


def _compare(contract: Contract[Any]) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        try:
            contract.check(site.inputs, Params())
        except ShapeError as error:
            if site.attr("incompatible_shape_error", True):
                raise
            raise site.unsupported(
                "incompatible_shape_error = False with such shapes", f"compare equal ones: {error}"
            ) from None
        return Lowered(contract)

    return lower


def _select(site: Site) -> Lowered:
    """Of TensorFlow 1: no broadcasting; the condition is a scalar, of the operands' shape, or one for every row."""
    condition, x, y = site.inputs
    merge_shapes(f"Select '{site.name}', the operands", x.shape, y.shape)
    if condition.shape is None:
        raise NeedsValue(0)
    if len(condition.shape) == 1:
        return Lowered(e.SELECT_ROWS)
    if condition.shape:
        shape = merge_shapes(f"Select '{site.name}', condition and operands", condition.shape, x.shape)
        merge_shapes(f"Select '{site.name}', condition and operands", shape, y.shape)
    return Lowered(e.SELECT)


def _unknown_select(site: Site) -> tuple[TensorType, ...]:
    _, x, y = site.inputs
    return (TensorType(x.dtype, merge_shapes(f"Select '{site.name}'", x.shape, y.shape)),)


def _matmul(transpose_a: str, transpose_b: str) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        if transpose_a == "adj_x":
            _check_batch(site)
        return Lowered(
            MATMUL,
            MatMulParams(
                bool(site.attr(transpose_a, False)),
                bool(site.attr(transpose_b, False)),
                site.attr("activation", "none"),
                site.attr("finish", ""),
            ),
        )

    return lower


def _check_batch(site: Site) -> None:
    """What one of the three ops of batches has and the contract does not."""
    x, y = site.inputs
    if x.dtype.kind == "c" and (site.attr("adj_x") or site.attr("adj_y")):
        raise site.unsupported("the adjoint of complex matrices", "transpose and conjugate them first")
    if attr_dtype(site, "Tout", x.dtype) != x.dtype:
        raise site.unsupported(f"Tout {dtype_name(site.attrs['Tout'])} of {x} and {y}", "cast the inputs first")
    if site.op == "BatchMatMul" and x.shape is not None and y.shape is not None:
        merge_shapes(f"BatchMatMul '{site.name}' does not broadcast (BatchMatMulV2 does)", x.shape[:-2], y.shape[:-2])


def _reduction(contract: Contract[r.ReduceParams]) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        keepdims = bool(site.attr("keep_dims", False))
        return Lowered(contract, r.ReduceParams(ints(site, 1, "the axes"), keepdims), (0,))

    return lower


def _unknown_reduction(site: Site) -> tuple[TensorType, ...]:
    x, kept = site.inputs[0], bool(site.attr("keep_dims", False))
    return (TensorType(x.dtype, (None,) * len(x.shape) if kept and x.shape is not None else None),)


def _argument(contract: Contract[r.ArgParams]) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        axis = one_int(site, 1, "the axis")
        output: Any = _index_dtype(site).name  # one of those that the op allows
        return Lowered(contract, r.ArgParams(axis, output), (0,))

    return lower


def _index_dtype(site: Site) -> DType:
    return attr_dtype(site, "output_type", np.dtype(np.int64))


def _unknown_argument(site: Site) -> tuple[TensorType, ...]:
    rank = site.inputs[0].rank
    return (TensorType(_index_dtype(site), (None,) * (rank - 1) if rank else None),)


def _top_k(site: Site) -> Lowered:
    k = one_int(site, 1, "k") if site.op == "TopKV2" else required(site, "k")
    return Lowered(r.TOP_K, r.TopKParams(k, _top_k_index(site)), (0,))


def _top_k_index(site: Site) -> Any:
    return attr_dtype(site, "index_type", np.dtype(np.int32)).name


def _unknown_top_k(site: Site) -> tuple[TensorType, ...]:
    values, indices = r.TOP_K.infer([TensorType(site.inputs[0].dtype)], r.TopKParams(0, _top_k_index(site)))
    shape = site.inputs[0].shape
    if not shape:
        return values, indices
    return tuple(TensorType(t.dtype, (*shape[:-1], None)) for t in (values, indices))


def _cast(site: Site) -> Lowered:
    target, truncate = attr_dtype(site, "DstT"), bool(site.attr("Truncate", False))
    if truncate and target.kind == "c" and site.inputs[0].dtype != target:
        raise site.unsupported("Truncate = True to complex numbers", "cast to a float type first")
    return Lowered(CAST, CastParams(target, truncate))


_C64, _F32 = types("complex64", "float32")
_EQUAL: Row = {**T, "incompatible_shape_error": TRUE}
#: grad_a, grad_b, grad_x and grad_y are hints for which gradient a product is computed; TensorFlow's CPU kernels ignore them.
_MATMUL: Row = {"transpose_a": FALSE, "transpose_b": FALSE, "grad_a": FALSE, "grad_b": FALSE, **T}
_BATCH_MATMUL: Row = {"adj_x": FALSE, "adj_y": FALSE, "grad_x": FALSE, "grad_y": FALSE}
#: Element types that BatchMatMulV3 gives.
_PRODUCTS = types("float16", "float32", "float64", "int16", "int32", "int64", "complex64", "complex128")
_REDUCTION: Row = {"keep_dims": FALSE, "Tidx": of(1, I32)}
_TOP_K_V2: Row = {
    **T, "sorted": TRUE, "Tk": of(1, I32),
    "index_type": Attr("type", I32, allowed=types("int16", "int32", "int64")),
}  # fmt: skip


def _argument_row(*outputs: str) -> Row:
    return {**T, "Tidx": of(1, I32), "output_type": Attr("type", I64, allowed=types(*outputs))}


DEFS: tuple[OpDef, ...] = (
    *(simple(name, contract) for name, contract in _SIMPLE),
    simple("LogicalNot", e.LOGICAL_NOT, attributes={}),
    simple("LogicalAnd", e.LOGICAL_AND, attributes={}),
    simple("LogicalOr", e.LOGICAL_OR, attributes={}),
    simple("SelectV2", e.SELECT, attributes={"T": of(1)}),
    simple("L2Loss", L2_LOSS),
    simple("ApproximateEqual", e.APPROXIMATE_EQUAL, {**T, "tolerance": Attr("float", 1e-5)}),
    OpDef("AddN", _add_n, arity=(1, None), attributes={**T, "N": Attr("int", count=0)}),
    OpDef("ClipByValue", _clip, arity=(3, 3)),
    OpDef(
        "KiChain",
        lambda site: Lowered(CHAIN, ChainParams(_text(site.attr("steps")))),
        arity=CHAIN.arity,
        attributes={"steps": Attr("string")},
    ),
    OpDef(
        "Einsum",
        lambda site: Lowered(EINSUM, EinsumParams(_text(site.attr("equation")))),
        arity=(1, None),
        attributes={**T, "N": Attr("int", count=0), "equation": Attr("string")},
    ),
    OpDef("Div", _div, arity=(2, 2)),
    OpDef("Add", _add, arity=(2, 2)),
    OpDef("ComplexAbs", _complex_abs, attributes={"T": of(0, _C64), "Tout": Attr("type", _F32)}),
    OpDef("Equal", _compare(e.EQUAL), arity=(2, 2), attributes=_EQUAL),
    OpDef("NotEqual", _compare(e.NOT_EQUAL), arity=(2, 2), attributes=_EQUAL),
    OpDef("Select", _select, arity=(3, 3), unknown=_unknown_select, attributes={"T": of(1)}),
    OpDef("MatMul", _matmul("transpose_a", "transpose_b"), arity=(2, 2), attributes=_MATMUL),
    OpDef(
        "KiFusedMatMul",
        _matmul("transpose_a", "transpose_b"),
        arity=MATMUL.arity,
        attributes={**_MATMUL, **ACTIVATION, **FINISH},
    ),
    OpDef("BatchMatMul", _matmul("adj_x", "adj_y"), arity=(2, 2), attributes={**_BATCH_MATMUL, **T}),
    OpDef("BatchMatMulV2", _matmul("adj_x", "adj_y"), arity=(2, 2), attributes={**_BATCH_MATMUL, **T}),
    OpDef(
        "BatchMatMulV3",
        _matmul("adj_x", "adj_y"),
        arity=(2, 2),
        attributes={**_BATCH_MATMUL, "Ta": of(0), "Tb": of(1), "Tout": Attr("type", allowed=_PRODUCTS)},
    ),
    *(
        OpDef(name, _reduction(contract), arity=(2, 2), values=(1,), unknown=_unknown_reduction, attributes=row)
        for name, contract, row in (
            ("Sum", r.REDUCE_SUM, {**_REDUCTION, **T}),
            ("Mean", r.REDUCE_MEAN, {**_REDUCTION, **T}),
            ("Max", r.REDUCE_MAX, {**_REDUCTION, **T}),
            ("Min", r.REDUCE_MIN, {**_REDUCTION, **T}),
            ("Prod", r.REDUCE_PROD, {**_REDUCTION, **T}),
            ("All", r.REDUCE_ALL, _REDUCTION),
            ("Any", r.REDUCE_ANY, _REDUCTION),
        )
    ),
    OpDef(
        "ArgMax",
        _argument(r.ARGMAX),
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_argument,
        attributes=_argument_row("int16", "uint16", "int32", "int64"),
    ),
    OpDef(
        "ArgMin",
        _argument(r.ARGMIN),
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_argument,
        attributes=_argument_row("int32", "int64"),
    ),
    OpDef("TopK", _top_k, unknown=_unknown_top_k, attributes={**T, "k": Attr("int"), "sorted": TRUE}),
    OpDef("TopKV2", _top_k, arity=(2, 2), values=(1,), unknown=_unknown_top_k, attributes=_TOP_K_V2),
    OpDef("Cast", _cast, attributes={"SrcT": of(0), "DstT": Attr("type"), "Truncate": FALSE}),
)
