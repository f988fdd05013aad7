"""Arithmetic, comparisons, choices, casts, reductions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...builder import Tensor
from .activations import activated
from .build import Converter, Use

__all__ = ["CONVERTERS"]

_UNARY = {
    "ABS": "Abs", "NEG": "Neg", "SIGN": "Sign", "SQUARE": "Square", "SQRT": "Sqrt", "RSQRT": "Rsqrt", "EXP": "Exp", "LOG": "Log",
    "SIN": "Sin", "COS": "Cos", "FLOOR": "Floor", "CEIL": "Ceil", "ROUND": "Round", "LOGICAL_NOT": "LogicalNot",
    "ZEROS_LIKE": "ZerosLike",
}  # fmt: skip
_BINARY = {
    "MAXIMUM": "Maximum", "MINIMUM": "Minimum", "POW": "Pow", "FLOOR_DIV": "FloorDiv", "FLOOR_MOD": "FloorMod", "ATAN2": "Atan2",
    "SQUARED_DIFFERENCE": "SquaredDifference", "EQUAL": "Equal", "NOT_EQUAL": "NotEqual", "LESS": "Less",
    "LESS_EQUAL": "LessEqual", "GREATER": "Greater", "GREATER_EQUAL": "GreaterEqual", "LOGICAL_AND": "LogicalAnd",
    "LOGICAL_OR": "LogicalOr", "BITWISE_XOR": "BitwiseXor", "RIGHT_SHIFT": "RightShift",
}  # fmt: skip
#: With an activation in their options. Div of integers rounds towards zero, as in TensorFlow Lite.
_ARITHMETIC = {"ADD": "AddV2", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}
_REDUCTIONS = {
    "MEAN": "Mean", "SUM": "Sum", "REDUCE_PROD": "Prod", "REDUCE_MAX": "Max", "REDUCE_MIN": "Min", "REDUCE_ANY": "Any",
    "REDUCE_ALL": "All",
}  # fmt: skip


def _plain(op: str, count: int) -> Converter:
    return lambda use: use.add(op, [use.x(i) for i in range(count)])


def _arithmetic(op: str) -> Converter:
    return lambda use: activated(use, use.add(op, [use.x(0), use.x(1)]), use.option(0, "int8"))


def _reduction(op: str) -> Converter:
    return lambda use: use.add(op, [use.x(0), use.x(1)], {"keep_dims": use.option(0, "bool", False)})


def _argument(op: str) -> Converter:
    return lambda use: use.add(op, [use.x(0), use.x(1)], {"output_type": use.out_dtype()})


def _cast(use: Use) -> Tensor:
    """Of the elements as the file has them: integers that stand for reals are cast as integers."""
    return use.add("Cast", [use.raw(0)], {"DstT": use.out_dtype()})


def _bitcast(use: Use) -> Tensor:
    return use.add("Bitcast", [use.raw(0)], {"type": use.out_dtype()})


def _select(use: Use) -> Tensor:
    """The condition is a scalar, of the operands' shape, or one for every row."""
    return use.add("Select", [use.x(i) for i in range(3)])


def _where(use: Use) -> Tensor:
    return use.add("Where", [use.x(0)])


def _add_n(use: Use) -> Tensor:
    return use.add("AddN", use.xs(), {"N": use.count})


def _cumsum(use: Use) -> Tensor:
    attrs = {"exclusive": use.option(0, "bool", False), "reverse": use.option(1, "bool", False)}
    return use.add("Cumsum", [use.x(0), use.x(1)], attrs)


def _top_k(use: Use) -> tuple[Tensor, ...]:
    return use.all("TopKV2", [use.x(0), use.x(1)], {"sorted": True, "index_type": np.dtype(np.int32)}, 2)


CONVERTERS: Mapping[str, Converter] = {
    **{name: _plain(op, 1) for name, op in _UNARY.items()},
    **{name: _plain(op, 2) for name, op in _BINARY.items()},
    **{name: _arithmetic(op) for name, op in _ARITHMETIC.items()},
    **{name: _reduction(op) for name, op in _REDUCTIONS.items()},
    "ARG_MAX": _argument("ArgMax"),
    "ARG_MIN": _argument("ArgMin"),
    "CAST": _cast,
    "BITCAST": _bitcast,
    "SELECT": _select,
    "SELECT_V2": _plain("SelectV2", 3),
    "WHERE": _where,
    "ADD_N": _add_n,
    "CUMSUM": _cumsum,
    "TOPK_V2": _top_k,
    "COMPLEX_ABS": _plain("ComplexAbs", 1),
    "REAL": _plain("Real", 1),
    "IMAG": _plain("Imag", 1),
}
