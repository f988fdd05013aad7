"""The small ops of quantised tensors: maps, average pools, depthwise convolution; the C side is c/quantized.h."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..checks import refuse_dtypes
from ..contracts.base import Contract
from ..contracts.geometry import WindowGeometry
from ..contracts.quantized import (
    DEQUANTIZE_LINEAR,
    QADD,
    QDEPTHWISE,
    QMUL,
    QPOOL,
    QUANTIZE_LINEAR,
    REQUANTIZE,
    DequantizeLinearParams,
    QAddParams,
    QConv2DParams,
    QMulParams,
    QPoolParams,
    QuantizeLinearParams,
    RequantizeParams,
)
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .loops import MAX_MAP_RANK, bind_scaled_map, dtypes_of
from .support import Bound, dtypes
from .windows import QuantizedWindow

__all__ = ["KERNELS"]

#: What a map takes of the parameters, by the names of bind_scaled_map.
Numbers = Callable[[Any], Mapping[str, Any]]


def _of_add(p: QAddParams) -> Mapping[str, Any]:
    return {
        "a_zero": p.a_zero, "b_zero": p.b_zero, "a_multiplier": p.a_multiplier, "b_multiplier": p.b_multiplier,
        "y_zero": p.y_zero, "low": p.low, "high": p.high,
    }  # fmt: skip


def _of_mul(p: QMulParams) -> Mapping[str, Any]:
    return {
        "a_zero": p.a_zero, "b_zero": p.b_zero, "a_multiplier": p.multiplier, "y_zero": p.y_zero, "low": p.low, "high": p.high,
    }  # fmt: skip


def _of_quantize(p: QuantizeLinearParams) -> Mapping[str, Any]:
    return {"a_multiplier": p.scale, "y_zero": p.zero, "low": p.low, "high": p.high, "divide": p.divide}


def _of_dequantize(p: DequantizeLinearParams) -> Mapping[str, Any]:
    return {"a_multiplier": p.scale, "a_zero": p.zero}


def _of_requantize(p: RequantizeParams) -> Mapping[str, Any]:
    return {"a_zero": p.x_zero, "a_multiplier": p.multiplier, "y_zero": p.y_zero, "low": p.low, "high": p.high}


def _prepare_map(op: str, numbers: Numbers, query: Query, constants: Constants) -> Bound:
    values = numbers(query.params)

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_scaled_map(op, inputs, query.inputs, outputs[0], query.outputs[0], threads=query.threads, **values)

    return Bound(bind)


def _supports_map(op: str, query: Query) -> str | None:
    if len(query.outputs[0].dims) > MAX_MAP_RANK:
        return f"takes at most {MAX_MAP_RANK} axes"
    return refuse_dtypes(query, dtypes(dtypes_of(op)))


def _map(contract: Contract[Any], op: str, numbers: Numbers) -> Kernel:
    return Kernel(
        contract,
        "cython",
        contract.name,
        prepare=partial(_prepare_map, op, numbers),
        supports=partial(_supports_map, op),
        strided_outputs=True,
        strided_inputs=True,
    )


def _bound(window: QuantizedWindow) -> Bound:
    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return window.bind(inputs, outputs[0])

    return Bound(bind)


def _prepare_pool(query: Query[QPoolParams], constants: Constants) -> Bound:
    p = query.params
    g = WindowGeometry.of(query.inputs, query.outputs, p.windows)
    window = QuantizedWindow(
        "average",
        query.inputs,
        query.outputs[0],
        window=g.window,
        strides=g.strides,
        before=g.before,
        count_padding=p.count_include_pad,
        multiplier=p.multiplier,
        x_zero=p.x_zero,
        y_zero=p.y_zero,
        low=p.low,
        high=p.high,
        halves=p.halves,
        threads=query.threads,
    )
    return _bound(window)


def _prepare_depthwise(query: Query[QConv2DParams], constants: Constants) -> Bound:
    p = query.params
    g = WindowGeometry.of(query.inputs, query.outputs, p.windows)
    window = QuantizedWindow(
        "depthwise",
        query.inputs,
        query.outputs[0],
        window=g.window,
        strides=g.strides,
        before=g.before,
        dilations=g.dilations,
        x_zero=p.x_zero,
        y_zero=p.y_zero,
        low=p.low,
        high=p.high,
        threads=query.threads,
    )
    return _bound(window)


KERNELS: tuple[Kernel, ...] = (
    _map(QUANTIZE_LINEAR, "quantize", _of_quantize),
    _map(DEQUANTIZE_LINEAR, "dequantize", _of_dequantize),
    _map(REQUANTIZE, "requantize", _of_requantize),
    _map(QADD, "quantized_add", _of_add),
    _map(QMUL, "quantized_mul", _of_mul),
    Kernel(
        QPOOL, "cython", QPOOL.name, prepare=_prepare_pool, strided_outputs=True, strided_inputs=True,
    ),
    Kernel(
        QDEPTHWISE, "cython", QDEPTHWISE.name, prepare=_prepare_depthwise, strided_outputs=True, strided_inputs=True,
    ),
)  # fmt: skip
