"""Arithmetic, comparisons, matrix products, reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.contracts import elementwise as e
from ...kernels.contracts import reduce as r
from ...kernels.contracts.base import Contract
from ...kernels.contracts.layout import CAST, CastParams
from ...kernels.contracts.matmul import MATMUL, MatMulParams
from ...kernels.types import DType, TensorType
from .base import Lowered, OpDef, Site, attr_dtype, ints, simple

__all__ = ["DEFS"]

_SIMPLE: tuple[tuple[str, Contract[Any]], ...] = (
    ("Neg", e.NEG), ("Abs", e.ABS), ("ComplexAbs", e.ABS), ("Sign", e.SIGN), ("Square", e.SQUARE), ("Sqrt", e.SQRT),
    ("Rsqrt", e.RSQRT), ("Reciprocal", e.RECIPROCAL), ("Inv", e.RECIPROCAL), ("Exp", e.EXP), ("Log", e.LOG),
    ("Log1p", e.LOG1P), ("Erf", e.ERF), ("Sin", e.SIN), ("Cos", e.COS), ("Floor", e.FLOOR), ("Ceil", e.CEIL), ("Rint", e.ROUND), ("Round", e.ROUND),
    ("LogicalNot", e.LOGICAL_NOT), ("Add", e.ADD), ("AddV2", e.ADD), ("Sub", e.SUB), ("Mul", e.MUL), ("FloorDiv", e.FLOORDIV),
    ("FloorMod", e.FLOORMOD), ("RealDiv", e.DIV), ("Pow", e.POW), ("Maximum", e.MAXIMUM), ("Minimum", e.MINIMUM),
    ("SquaredDifference", e.SQUARED_DIFFERENCE), ("Equal", e.EQUAL), ("NotEqual", e.NOT_EQUAL), ("Less", e.LESS),
    ("LessEqual", e.LESS_EQUAL), ("Greater", e.GREATER), ("GreaterEqual", e.GREATER_EQUAL), ("LogicalAnd", e.LOGICAL_AND),
    ("LogicalOr", e.LOGICAL_OR), ("Select", e.SELECT), ("SelectV2", e.SELECT),
)  # fmt: skip


def _div(site: Site) -> Lowered:
    # TensorFlow's old Div is C division: it truncates for integers, where kigraph has floor only.
    if site.inputs[0].dtype.kind in "iu":
        raise site.unsupported("Div of integers (division towards zero)", "use FloorDiv or cast to float32")
    return Lowered(e.DIV)


def _matmul(transpose_a: str, transpose_b: str) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        if transpose_a == "adj_x" and site.inputs[0].dtype.kind == "c" and (site.attr("adj_x") or site.attr("adj_y")):
            raise site.unsupported("the adjoint of complex matrices", "transpose and conjugate them first")
        return Lowered(
            MATMUL,
            MatMulParams(
                bool(site.attr(transpose_a, False)),
                bool(site.attr(transpose_b, False)),
                site.attr("activation", "none"),
            ),
        )

    return lower


def _reduction(contract: Contract[r.ReduceParams]) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        keepdims = bool(site.attr("keep_dims", site.attr("keepdims", False)))
        return Lowered(contract, r.ReduceParams(ints(site, 1, "the axes"), keepdims), (0,))

    return lower


def _unknown_reduction(site: Site) -> tuple[TensorType, ...]:
    x, kept = site.inputs[0], bool(site.attr("keep_dims", site.attr("keepdims", False)))
    return (TensorType(x.dtype, (None,) * len(x.shape) if kept and x.shape is not None else None),)


def _argument(contract: Contract[r.ArgParams]) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        output = _index_dtype(site).name
        axis = ints(site, 1, "the axis")
        if len(axis) != 1 or output not in ("int32", "int64"):
            raise site.unsupported(f"axis {axis} with output type {output}", "give one axis and int32 or int64")
        return Lowered(contract, r.ArgParams(axis[0], "int32" if output == "int32" else "int64"), (0,))

    return lower


def _index_dtype(site: Site) -> DType:
    return attr_dtype(site, "output_type", np.dtype(np.int64))


def _unknown_argument(site: Site) -> tuple[TensorType, ...]:
    rank = site.inputs[0].rank
    return (TensorType(_index_dtype(site), (None,) * (rank - 1) if rank else None),)


def _top_k(site: Site) -> Lowered:
    (k,) = ints(site, 1, "k") if site.op == "TopKV2" else (int(site.attr("k", 1)),)
    return Lowered(r.TOP_K, r.TopKParams(k), (0,))


def _unknown_top_k(site: Site) -> tuple[TensorType, ...]:
    values, indices = r.TOP_K.infer([TensorType(site.inputs[0].dtype)], r.TopKParams(0))
    shape = site.inputs[0].shape
    if not shape:
        return values, indices
    return tuple(TensorType(t.dtype, (*shape[:-1], None)) for t in (values, indices))


def _cast(site: Site) -> Lowered:
    return Lowered(CAST, CastParams(attr_dtype(site, "DstT")))


DEFS: tuple[OpDef, ...] = (
    *(simple(name, contract) for name, contract in _SIMPLE),
    OpDef("Div", _div, arity=(2, 2)),
    OpDef("MatMul", _matmul("transpose_a", "transpose_b"), arity=(2, 2)),
    OpDef("KiFusedMatMul", _matmul("transpose_a", "transpose_b"), arity=(2, 3)),
    OpDef("BatchMatMul", _matmul("adj_x", "adj_y"), arity=(2, 2)),
    OpDef("BatchMatMulV2", _matmul("adj_x", "adj_y"), arity=(2, 2)),
    OpDef("BatchMatMulV3", _matmul("adj_x", "adj_y"), arity=(2, 2)),
    *(
        OpDef(name, _reduction(contract), arity=(2, 2), values=(1,), unknown=_unknown_reduction)
        for name, contract in (
            ("Sum", r.REDUCE_SUM),
            ("Mean", r.REDUCE_MEAN),
            ("Max", r.REDUCE_MAX),
            ("Min", r.REDUCE_MIN),
            ("Prod", r.REDUCE_PROD),
            ("All", r.REDUCE_ALL),
            ("Any", r.REDUCE_ANY),
        )
    ),
    OpDef("ArgMax", _argument(r.ARGMAX), arity=(2, 2), values=(1,), unknown=_unknown_argument),
    OpDef("ArgMin", _argument(r.ARGMIN), arity=(2, 2), values=(1,), unknown=_unknown_argument),
    OpDef("TopK", _top_k, unknown=_unknown_top_k),
    OpDef("TopKV2", _top_k, arity=(2, 2), values=(1,), unknown=_unknown_top_k),
    OpDef("Cast", _cast),
)
