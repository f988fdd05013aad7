"""The small ops of quantised tensors: maps, average pools, depthwise convolution; the C side is c/quantized.h."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

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
from .windows import MEAN_CELLS, QuantizedWindow

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
        return window.bind(inputs, outputs[0], workspace)

    return Bound(bind, window.workspace_bytes)


def _counts(g: WindowGeometry) -> Array:
    """The numbers of cells inside x that the windows of the pool have."""
    sides = []
    for size, out, window, stride, before in zip(g.size, g.out, g.window, g.strides, g.before, strict=True):
        at = np.arange(out) * stride - before
        sides.append(np.unique(np.minimum(at + window, size) - np.maximum(at, 0)))
    return np.unique(np.multiply.outer(*sides))


def _rounded(v: Array, p: QPoolParams) -> Array:
    """Means in float32 as results less y_zero, as the contract says."""
    whole = np.floor(v)
    up = whole % 2 != 0 if p.halves == "even" else np.full(v.shape, True)
    if p.halves == "away":
        up = whole + p.y_zero >= 0
    rest = v - whole
    return np.clip(whole + ((rest > 0.5) | ((rest == 0.5) & up)), p.low - p.y_zero, p.high - p.y_zero)


def _scales_of_means(g: WindowGeometry, p: QPoolParams, lowest: int) -> tuple[Array, Array]:
    """By the number of cells: what gives their mean in one multiplication, tried with every sum; 0 where none does.

    int16 and float32 (MEAN_CELLS + 1,), for c/quantized_pool.c. ``lowest``: the least number of the type of x.
    """
    words, singles = np.zeros(MEAN_CELLS + 1, np.int16), np.zeros(MEAN_CELLS + 1, np.float32)
    low, high = p.low - p.y_zero, p.high - p.y_zero
    for n in map(int, _counts(g)):
        if n > MEAN_CELLS:
            continue
        sums = np.arange(n * (lowest - p.x_zero), n * (lowest + 255 - p.x_zero) + 1)
        count = np.float32(prod(g.window) if p.count_include_pad else n)
        with np.errstate(over="ignore", invalid="ignore"):
            wanted = _rounded(sums.astype(np.float32) * np.float32(p.multiplier) / count, p)
            single = np.float32(p.multiplier) / count
            if np.array_equal(np.clip(np.rint(sums.astype(np.float32) * single), low, high), wanted):
                singles[n] = single
        word = round(float(single) * 2**15)
        if 0 < word < 2**15 and np.array_equal(np.clip((sums * word + 2**14) >> 15, low, high), wanted):
            words[n] = word
    return words, singles


def _prepare_pool(query: Query[QPoolParams], constants: Constants) -> Bound:
    p = query.params
    g = WindowGeometry.of(query.inputs, query.outputs, p.windows)
    words, singles = _scales_of_means(g, p, int(np.iinfo(query.inputs[0].dtype).min))
    window = QuantizedWindow(
        "average",
        query.inputs,
        query.outputs[0],
        window=g.window,
        strides=g.strides,
        before=g.before,
        count_padding=p.count_include_pad,
        multiplier=p.multiplier,
        word_scales=words,
        scales=singles,
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
