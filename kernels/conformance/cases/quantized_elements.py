"""Cases of the elementwise ops of quantised tensors; quantized.py has them in its list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import quantized as q
from ...contracts.base import Contract
from ...tensor import DType, Params
from ..case import F32, MEMORIES, Case, Memory, Values, tensor
from ..values import any_bits, scaled, special

__all__ = ["CASES", "I8", "I32", "U8", "ends"]

NDArray = np.ndarray[Any, Any]
Rng = np.random.Generator
I8, U8, I32 = (np.dtype(name) for name in ("int8", "uint8", "int32"))
#: Around vectors of 16, 32 and 64 elements.
_SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 127, 130, 257)
#: All pairs of numbers of a byte, in order.
_PAIRS = 65536


def ends(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    """The least and the greatest integer of the type, nothing else."""
    info = np.iinfo(dtype)
    return rng.choice(np.array([info.min, info.max], dtype), shape)


def _first(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    """With _second all pairs."""
    return np.repeat(np.arange(256, dtype=np.uint8), 256).view(dtype)


def _second(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    return np.tile(np.arange(256, dtype=np.uint8), 256).view(dtype)


def _all_of(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    """Every number of a byte."""
    return np.arange(256, dtype=np.uint8).view(dtype)


def _halfway(scale: float) -> Values:
    """Numbers at, and next to, halves of the scale, and beyond what a byte holds."""

    def make(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
        x = ((rng.integers(-300, 300, shape) + 0.5) * scale).astype(dtype)
        return np.where(rng.random(shape) < 0.5, x, np.nextafter(x, rng.choice(np.array([-9e9, 9e9], dtype), shape)))

    return make


def _unary(
    contract: Contract[Any], name: str, shape: tuple[int, ...], params: Params, dtype: DType, *, values: Values = any_bits,
    memory: Memory = "dense", to: Memory = "dense", tags: tuple[str, ...] = (), threads: int = 1, inplace: int | None = None,
    measure: bool = False,
) -> Case:  # fmt: skip
    inputs = (tensor(shape, values, dtype, memory=memory),)
    return Case(contract, name, inputs, params, frozenset(tags), to, threads, inplace, measure=measure)


def _bounds(dtype: DType) -> dict[str, Any]:
    info = np.iinfo(dtype)
    return {"low": info.min, "high": info.max, "dtype": dtype}


def _sweep(contract: Contract[Any], params: Params, dtype: DType, values: Values) -> Iterator[Case]:
    """Sizes, layouts, threads."""
    for n in _SIZES:
        yield _unary(contract, f"n{n}", (n,), params, dtype, values=values, tags=("tail",))
    yield _unary(contract, "scalar", (), params, dtype, values=values)
    yield _unary(contract, "empty", (3, 0, 5), params, dtype, values=values, tags=("empty",))
    for threads in (1, 2, 3):
        yield _unary(
            contract, f"threads{threads}", (2, 50, 40, 30), params, dtype, values=values, threads=threads, tags=("threads",)
        )  # fmt: skip
    for memory in MEMORIES:
        yield _unary(contract, memory, (2, 5, 6, 21), params, dtype, values=values, memory=memory, tags=("strided",))
        yield _unary(contract, f"to-{memory}", (2, 5, 6, 21), params, dtype, values=values, to=memory, tags=("strided",))  # fmt: skip
    yield _unary(contract, "million", (16, 35, 35, 100), params, dtype, values=values, measure=True)


def _quantize() -> Iterator[Case]:
    usual = q.QuantizeLinearParams(0.02, 5)
    yield from _sweep(q.QUANTIZE_LINEAR, usual, F32, scaled(1.5))
    for divide in (False, True):
        way = "divide" if divide else "multiply"
        for dtype, zero in ((I8, -128), (I8, 127), (U8, 0), (U8, 255), (U8, 128)):
            for scale in (0.0235, 0.5, 1e-40, 3e38):
                params = q.QuantizeLinearParams(scale, zero, divide=divide, **_bounds(dtype))
                yield _unary(
                    q.QUANTIZE_LINEAR, f"{way}-{dtype}-{zero}-{scale}", (3, 130), params, F32, values=_halfway(min(scale, 1e35))
                )  # fmt: skip
            params = q.QuantizeLinearParams(0.1, zero, divide=divide, **_bounds(dtype))
            yield _unary(
                q.QUANTIZE_LINEAR, f"{way}-{dtype}-{zero}-special", (5, 70), params, F32, values=special, tags=("nan",)
            )  # fmt: skip
    bounded = q.QuantizeLinearParams(0.1, 5, -3, 40)
    yield _unary(q.QUANTIZE_LINEAR, "bounds", (5, 70), bounded, F32, values=scaled(9))


def _dequantize() -> Iterator[Case]:
    yield from _sweep(q.DEQUANTIZE_LINEAR, q.DequantizeLinearParams(0.02, 5), U8, any_bits)
    for dtype, zeros in ((I8, (-128, 0, 127)), (U8, (0, 128, 255))):
        for zero in zeros:
            for scale in (0.0235, 1e-42, 3e38):
                params = q.DequantizeLinearParams(scale, zero)
                yield _unary(q.DEQUANTIZE_LINEAR, f"{dtype}-{zero}-{scale}", (256,), params, dtype, values=_all_of)


def _requantize() -> Iterator[Case]:
    yield from _sweep(q.REQUANTIZE, q.RequantizeParams(3, -4, 0.7), I8, any_bits)
    for dtype, x_zero in ((I8, -128), (I8, 127), (U8, 0), (U8, 255)):
        for result, y_zero in ((I8, 127), (U8, 0), (U8, 77)):
            for multiplier in (0.0, 0.25, 0.5, 0.999, 1.0, 3.7, 1e30):
                params = q.RequantizeParams(x_zero, y_zero, multiplier, **_bounds(result))
                name = f"{dtype}-{x_zero}-{result}-{y_zero}-x{multiplier}"
                yield _unary(q.REQUANTIZE, name, (256,), params, dtype, values=_all_of)
    yield _unary(q.REQUANTIZE, "bounds", (256,), q.RequantizeParams(0, 1, 1.0, -7, 9), I8, values=_all_of)
    yield _unary(q.REQUANTIZE, "inplace", (5, 70), q.RequantizeParams(0, 1, 0.9), I8, inplace=0)


def _pair(
    contract: Contract[Any], name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: DType, result: DType, *,
    values: tuple[Values, Values] = (any_bits, any_bits), memory: Memory = "dense", to: Memory = "dense",
    tags: tuple[str, ...] = (), threads: int = 1, inplace: int | None = None, measure: bool = False, **numbers: Any,
) -> Case:  # fmt: skip
    bounds = _bounds(result)
    if contract is q.QADD:
        usual: dict[str, Any] = {"a_zero": 3, "b_zero": 9, "a_multiplier": 0.61, "b_multiplier": 0.43, "y_zero": 2}
        params: Params = q.QAddParams(**{**usual, **bounds, **numbers})
    else:
        params = q.QMulParams(**{"a_zero": 3, "b_zero": 9, "multiplier": 0.013, "y_zero": 2, **bounds, **numbers})
    inputs = tuple(tensor(s, v, dtype, memory=memory) for s, v in zip(shapes, values, strict=True))
    return Case(contract, name, inputs, params, frozenset(tags), to, threads, inplace, measure=measure)


def _pairs(contract: Contract[Any]) -> Iterator[Case]:
    every = (_first, _second)
    factors: tuple[dict[str, Any], ...] = (
        ({"a_multiplier": 0.5, "b_multiplier": 0.5}, {"a_multiplier": 1.7, "b_multiplier": 1e-3})
        if contract is q.QADD
        else ({"multiplier": 0.5}, {"multiplier": 1 / 255})
    )
    for dtype in (I8, U8):
        info = np.iinfo(dtype)
        for result in (I8, U8):
            for number, factor in enumerate(factors):
                ways: tuple[dict[str, Any], ...] = (
                    {"a_zero": info.min, "b_zero": info.max, "y_zero": np.iinfo(result).max, **factor},
                    {"a_zero": info.max, "b_zero": info.max, "y_zero": np.iinfo(result).min, **factor},
                )
                for way, numbers in enumerate(ways):
                    yield _pair(
                        contract, f"all-{dtype}-{result}-{number}-{way}", ((_PAIRS,), (_PAIRS,)), dtype, result, values=every, tags=("large",),
                        **numbers,
                    )  # fmt: skip
        for name, a, b in (
            ("scalar", (5, 33), ()), ("row", (2, 5, 33), (33,)), ("column", (5, 33), (5, 1)), ("both", (5, 1), (1, 33)),
            ("scalar-first", (), (5, 33)), ("channels", (2, 4, 5, 21), (1, 1, 1, 21)),
        ):  # fmt: skip
            yield _pair(contract, f"{name}-{dtype}", (a, b), dtype, dtype, tags=("broadcast",))
        yield _pair(contract, f"inplace-{dtype}", ((5, 70), (5, 70)), dtype, dtype, inplace=0)
    for n in _SIZES:
        yield _pair(contract, f"n{n}", ((n,), (n,)), I8, I8, tags=("tail",))
    yield _pair(contract, "bounds", ((400,), (400,)), U8, U8, low=30, high=99, y_zero=30)
    yield _pair(contract, "empty", ((3, 0, 5), (3, 0, 5)), I8, I8, tags=("empty",))
    yield _pair(contract, "empty-broadcast", ((3, 0, 5), (5,)), I8, I8, tags=("empty",))
    for threads in (1, 2, 3):
        yield _pair(contract, f"threads{threads}", ((2, 50, 40, 30), (2, 50, 40, 30)), U8, U8, threads=threads, tags=("threads",))  # fmt: skip
    for memory in MEMORIES:
        shapes = ((2, 5, 6, 21), (2, 5, 6, 21))
        yield _pair(contract, memory, shapes, I8, I8, memory=memory, tags=("strided",))
        yield _pair(contract, f"to-{memory}", shapes, I8, I8, to=memory, tags=("strided",))
    yield _pair(contract, "million", ((16, 35, 35, 100), (16, 35, 35, 100)), U8, U8, measure=True)


CASES: tuple[Case, ...] = (*_quantize(), *_dequantize(), *_requantize(), *_pairs(q.QADD), *_pairs(q.QMUL))
