"""Cases of quantised numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import quantization as ops
from ...contracts.base import FLOATS
from ...tensor import DType
from ..case import F32, Case, Input, tensor
from ..values import any_bits, normal, scaled

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]
Rng = np.random.Generator
_LARGE = (8, 35, 35, 100)
_QUANTISED = tuple(map(np.dtype, ("uint8", "int8", "uint16", "int16", "int32")))


def _lows(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    return np.asarray(-rng.uniform(0.5, 3, shape)).astype(dtype)


def _highs(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    return np.asarray(rng.uniform(0.5, 3, shape)).astype(dtype)


def _range(shape: tuple[int, ...] = (), dtype: DType = F32) -> tuple[Input, Input]:
    return tensor(shape, _lows, dtype), tensor(shape, _highs, dtype)


def _quantised() -> Iterator[Case]:
    modes: tuple[Any, ...] = ("MIN_COMBINED", "MIN_FIRST", "SCALED")
    for mode in modes:
        for dtype in _QUANTISED:
            inputs = (tensor((3, 7, 5), any_bits, dtype), *_range())
            yield Case(ops.DEQUANTIZE, f"{mode}-{dtype}", inputs, ops.DequantizeParams(mode))
            inputs = (tensor((3, 7, 5), normal), *_range())
            yield Case(ops.QUANTIZE, f"{mode}-{dtype}", inputs, ops.QuantizeParams(dtype, mode))
        inputs = (tensor((3, 7, 5), any_bits, np.dtype(np.int8)), *_range((7,)))
        yield Case(ops.DEQUANTIZE, f"{mode}-axis", inputs, ops.DequantizeParams(mode, axis=1))
        inputs = (tensor((3, 7, 5), normal), *_range((7,)))
        yield Case(ops.QUANTIZE, f"{mode}-axis", inputs, ops.QuantizeParams(np.dtype(np.int8), mode, axis=1))
    narrow = (tensor((3, 7), any_bits, np.dtype(np.int8)), *_range())
    yield Case(ops.DEQUANTIZE, "narrow", narrow, ops.DequantizeParams("SCALED", True))
    yield Case(ops.DEQUANTIZE, "empty", (tensor((0, 7), any_bits, np.dtype(np.int8)), *_range()), tags=frozenset(["empty"]),
               params=ops.DequantizeParams())  # fmt: skip
    params = ops.QuantizeParams(np.dtype(np.int8), "SCALED", True, True)
    yield Case(ops.QUANTIZE, "narrow-even", (tensor((3, 7), scaled(2)), *_range()), params)
    yield Case(ops.QUANTIZE, "empty", (tensor((0, 7), normal), *_range()), params, tags=frozenset(["empty"]))
    large = (tensor(_LARGE, any_bits, np.dtype(np.uint8)), *_range())
    yield Case(ops.DEQUANTIZE, "million", large, ops.DequantizeParams("MIN_FIRST"), measure=True)
    yield Case(ops.QUANTIZE, "million", (tensor(_LARGE, normal), *_range()), params, measure=True)


def _rounded() -> Iterator[Case]:
    for bits in (2, 8, 16):
        for narrow in (False, True):
            params = ops.FakeQuantParams(bits, narrow)
            yield Case(ops.FAKE_QUANT, f"bits{bits}-{narrow:d}", (tensor((5, 33), scaled(2)), *_range()), params)
    yield Case(ops.FAKE_QUANT, "channels", (tensor((5, 7), normal), *_range((7,))), ops.FakeQuantParams(channels=True))
    yield Case(ops.FAKE_QUANT, "given", (tensor((5, 7), normal),), ops.FakeQuantParams(given=(-1.0, 2.0)))
    yield Case(
        ops.FAKE_QUANT, "empty", (tensor((0, 7), normal), *_range()), ops.FakeQuantParams(), frozenset(["empty"])
    )
    yield Case(ops.FAKE_QUANT, "million", (tensor(_LARGE, normal), *_range()), ops.FakeQuantParams(), measure=True)


def _round_trips() -> Iterator[Case]:
    for dtype in sorted(FLOATS, key=str):
        for signed in (False, True):
            for given in (False, True):
                name = f"{dtype}-{signed:d}{given:d}"
                ranges = _range((), dtype) if given else ()
                params = ops.QuantizeDequantizeParams(signed, 8, given)
                yield Case(ops.QUANTIZE_DEQUANTIZE, name, (tensor((5, 33), normal, dtype), *ranges), params)
    for given in (False, True):
        params = ops.QuantizeDequantizeParams(given=given, half_to_even=False, narrow_range=True, axis=1)
        inputs = (tensor((5, 7, 3), normal), *(_range((7,)) if given else ()))
        yield Case(ops.QUANTIZE_DEQUANTIZE, f"axis-{given:d}", inputs, params)
    yield Case(ops.QUANTIZE_DEQUANTIZE, "million", (tensor(_LARGE, normal), *_range()), measure=True,
               params=ops.QuantizeDequantizeParams(given=True))  # fmt: skip


CASES: tuple[Case, ...] = (*_quantised(), *_rounded(), *_round_trips())
