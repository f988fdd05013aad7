"""Layers of quantised models: ops on int8 and uint8 tensors, NHWC. Attributes are named like the contracts' parameters.

Loaders make them of quantised files; TensorFlow has none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ...kernels.contracts import quantized as q
from ...kernels.contracts.base import Contract
from ...kernels.tensor import Params
from ..errors import GraphError
from .attributes import FALSE, TRUE, Attr, Row, T, types
from .base import Lowered, OpDef, Site, attr_dtype
from .nn import DEPTHWISE, conv2d_params, pool2d_params

__all__ = ["DEFS", "QUANTIZED"]

_I8 = types("int8")[0]
_BYTE: Row = {
    "low": Attr("int", -128), "high": Attr("int", 127), "out_type": Attr("type", _I8, allowed=types("int8", "uint8")),
}  # fmt: skip
_ONE = Attr("float", 1.0)
_ZERO = Attr("int", 0)
_PRODUCT: Row = {
    **T, "x_zero": _ZERO, "y_zero": _ZERO, **_BYTE,
    "out_type": Attr("type", _I8, allowed=types("int8", "uint8", "int32", "float32")),
}  # fmt: skip
_CONV: Row = {**{k: v for k, v in DEPTHWISE.items() if k != "data_format"}, **_PRODUCT}
_POOL: Row = {
    **T, "ksize": Attr("ints"), "strides": Attr("ints"), "padding": Attr("string"), "explicit_paddings": Attr("ints", ()),
    "count_include_pad": FALSE, "x_zero": _ZERO, "y_zero": _ZERO, "low": Attr("int", -128), "high": Attr("int", 127),
    "multiplier": _ONE, "halves": Attr("string", "even", allowed=("even", "away", "up")),
}  # fmt: skip
_ADD: Row = {
    **T, "a_zero": _ZERO, "b_zero": _ZERO, "a_multiplier": _ONE, "b_multiplier": _ONE, "y_zero": _ZERO, **_BYTE,
}  # fmt: skip
_MUL: Row = {**T, "a_zero": _ZERO, "b_zero": _ZERO, "multiplier": _ONE, "y_zero": _ZERO, **_BYTE}
_QUANTIZE: Row = {**T, "scale": Attr("float"), "zero": _ZERO, **_BYTE, "divide": TRUE}
_DEQUANTIZE: Row = {**T, "scale": Attr("float"), "zero": _ZERO}
_REQUANTIZE: Row = {**T, "x_zero": _ZERO, "y_zero": _ZERO, "multiplier": _ONE, **_BYTE}


def _numbers(site: Site, row: Row, params: type[Params]) -> dict[str, Any]:
    """The attributes that are parameters as they are."""
    kinds: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "bool": bool}
    return {
        f.name: kinds[row[f.name].kind](site.attrs[f.name] if f.name in site.attrs else row[f.name].default)
        for f in fields(params)
        if f.name in row and row[f.name].kind in kinds
    }


def _lowering(contract: Contract[Any], row: Row) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        if "scale" in row and "scale" not in site.attrs:
            raise GraphError(
                f"{site.op} '{site.name}': the attribute scale is missing; expected a positive number, the size of a step"
            )
        given = _numbers(site, row, contract.params)
        if "out_type" in row:
            given["dtype"] = attr_dtype(site, "out_type", _I8)
        if contract is q.QPOOL:
            windows = pool2d_params(site)
            halves = site.attr("halves", "even")
            given |= {
                "window": windows.window, "strides": windows.strides, "padding": windows.padding,
                "halves": halves.decode("latin-1") if isinstance(halves, bytes) else halves,
            }  # fmt: skip
        elif "strides" in row:
            conv = conv2d_params(site)
            given |= {"strides": conv.strides, "padding": conv.padding, "dilations": conv.dilations}
        return Lowered(contract, contract.params(**given))

    return lower


def _op(name: str, contract: Contract[Any], row: Row) -> OpDef:
    return OpDef(name, _lowering(contract, row), arity=contract.arity, attributes=row)


DEFS: tuple[OpDef, ...] = (
    _op("KiQuantizedConv2D", q.QCONV2D, _CONV),
    _op("KiQuantizedDepthwiseConv2D", q.QDEPTHWISE, _CONV),
    _op("KiQuantizedMatMul", q.QMATMUL, _PRODUCT),
    _op("KiQuantizedAvgPool", q.QPOOL, _POOL),
    _op("KiQuantizedAdd", q.QADD, _ADD),
    _op("KiQuantizedMul", q.QMUL, _MUL),
    _op("KiQuantize", q.QUANTIZE_LINEAR, _QUANTIZE),
    _op("KiDequantize", q.DEQUANTIZE_LINEAR, _DEQUANTIZE),
    _op("KiRequantize", q.REQUANTIZE, _REQUANTIZE),
)
#: Op types of quantised layers: a graph with one of them is a quantised model.
QUANTIZED = frozenset(d.name for d in DEFS)
