"""Cases of bias_add, batch normalisation and local response normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts.base import NUMBERS
from ...contracts.normalization import (
    BATCH_NORM,
    BATCH_NORM_STATISTICS,
    BIAS_ADD,
    LRN,
    BatchNormParams,
    BatchStatisticsParams,
    LRNParams,
)
from ...tensor import DType, is_int
from ..case import F16, F32, F64, PLACEMENTS, Case, Memory, tensor
from ..values import any_bits, few, normal, positive, shifted, sparse_nan

__all__ = ["CASES"]


def _bias(
    name: str,
    shape: tuple[int, ...],
    *,
    dtype: DType = F32,
    constant: bool = True,
    values: Any = normal,
    x_memory: Memory = "dense",
    memory: Memory = "dense",
    threads: int = 1,
    inplace: int | None = None,
    tags: tuple[str, ...] = (),
) -> Case:
    inputs = (tensor(shape, values, dtype, memory=x_memory), tensor(shape[-1:], normal, dtype, constant=constant))
    return Case(BIAS_ADD, name, inputs, tags=frozenset(tags), memory=memory, threads=threads, inplace=inplace)


def _norm(
    name: str,
    shape: tuple[int, ...],
    *,
    dtype: DType = F32,
    constant: bool = True,
    scale: bool = True,
    epsilon: float = 1e-3,
    values: Any = normal,
    x_memory: Memory = "dense",
    memory: Memory = "dense",
    threads: int = 1,
    inplace: int | None = None,
    tags: tuple[str, ...] = (),
) -> Case:
    channels = shape[-1:]
    inputs = [tensor(shape, values, dtype, memory=x_memory)]
    for make in (normal, positive, normal, *((normal,) if scale else ())):
        inputs.append(tensor(channels, make, dtype, constant=constant))
    return Case(
        BATCH_NORM,
        name,
        tuple(inputs),
        BatchNormParams(epsilon),
        frozenset(tags),
        memory,
        threads,
        inplace,
    )


def _cases() -> Iterator[Case]:
    for make in (_bias, _norm):
        for channels in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130):
            yield make(f"c{channels}", (2, 3, 3, channels), tags=("tail",))
        yield make("rank1", (19,))
        yield make("rank2", (7, 33))
        yield make("rank5", (2, 1, 3, 2, 9))
        yield make("fed", (2, 5, 4, 18), constant=False, tags=("fed",))
        yield make("empty", (0, 5, 4, 18), tags=("empty",))
        yield make("channels0", (2, 5, 4, 0), tags=("empty",))
        yield make("nan", (2, 5, 4, 18), values=sparse_nan, tags=("nan",))
        yield make("inplace", (2, 5, 4, 18), inplace=0, tags=("inplace",))
        yield make("threads2", (3, 17, 17, 70), threads=2, tags=("threads",))
        for x_memory, memory in PLACEMENTS:
            yield make(f"{x_memory}-to-{memory}", (2, 5, 4, 18), x_memory=x_memory, memory=memory, tags=("strided",))
        for dtype in (F16, F64):
            yield make(f"{dtype}", (2, 5, 4, 18), dtype=dtype)
        yield make("inception-stem1", (1, 149, 149, 32), tags=("inception",))
        yield make("inception-C0.b1x1", (1, 17, 17, 192), tags=("inception",))
    yield _norm("no-scale", (2, 5, 4, 18), scale=False)
    yield _norm("no-scale-fed", (2, 5, 4, 18), scale=False, constant=False, tags=("fed",))
    yield _norm("epsilon", (2, 5, 4, 18), epsilon=0.5)
    for dtype in sorted(NUMBERS - {F16, F32, F64}, key=str):
        values = any_bits if is_int(dtype) else normal
        yield _bias(f"{np.dtype(dtype)}", (2, 5, 18), dtype=dtype, values=values)


def _lrn_cases() -> Iterator[Case]:
    def case(
        name: str, shape: tuple[int, ...], radius: int = 5, beta: float = 0.75, *tags: str, bias: float = 1.0,
        alpha: float = 0.5, dtype: DType = F32, values: Any = normal, x_memory: Memory = "dense", **rest: Any,
    ) -> Case:  # fmt: skip
        inputs = (tensor(shape, values, dtype, memory=x_memory),)
        return Case(LRN, name, inputs, LRNParams(radius, bias, alpha, beta), frozenset(tags), **rest)

    for channels in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130):
        yield case(f"c{channels}", (2, 3, 3, channels), 5, 0.75, "tail")
    for channels, radius in ((33, 8), (65, 20), (130, 64)):
        yield case(f"c{channels}-radius{radius}", (2, 3, 3, channels), radius, 0.75, "tail")
    for radius in (0, 1, 2, 3, 7, 16, 17, 18, 100, 2**31 - 2):
        yield case(f"radius{radius}", (2, 3, 5, 18), radius)
    for dtype in (F16, F32, F64):
        for beta in (-0.5, 0.0, 0.3, 0.5, 0.75, 1.0, 2.0):
            yield case(f"beta{beta}-{dtype}", (2, 3, 5, 21), 2, beta, dtype=dtype)
    for beta in (0.0, 0.5, 0.75, 1.0, 2.0):
        yield case(f"bias0-beta{beta}", (2, 3, 5, 21), 1, beta, bias=0.0, values=few)
        yield case(f"below0-beta{beta}", (2, 3, 5, 21), 1, beta, bias=-1.0, alpha=-1.0)
        yield case(f"nan-beta{beta}", (2, 3, 5, 40), 2, beta, "nan", values=sparse_nan)
    yield case("alpha-below0", (2, 3, 5, 21), bias=2.0, alpha=-0.01)
    yield case("alpha0", (2, 3, 5, 21), bias=2.0, alpha=0.0)
    yield case("batch0", (0, 3, 5, 18), 5, 0.75, "empty")
    yield case("pixels0", (2, 0, 2**40, 18), 5, 0.75, "empty")
    yield case("channels0", (2, 3, 5, 0), 5, 0.75, "empty")
    yield case("threads2", (3, 17, 17, 70), 5, 0.75, "threads", threads=2)
    for x_memory, memory in PLACEMENTS:
        yield case(f"{x_memory}-to-{memory}", (2, 5, 4, 18), 5, 0.75, "strided", x_memory=x_memory, memory=memory)
    yield case("googlenet-norm1", (1, 56, 56, 64), alpha=1e-4)
    yield case("googlenet-norm2", (8, 56, 56, 192), alpha=1e-4, measure=True)


def _statistics_cases() -> Iterator[Case]:
    def case(
        name: str, shape: tuple[int, ...], factor: float = 1.0, dtype: DType = F32, of: DType = F32, **rest: Any
    ) -> Case:
        channels = [tensor(shape[-1:], positive, of) for _ in range(2 if factor == 1 else 4)]
        tags = frozenset([*rest.pop("tags", ()), *(["empty"] if 0 in shape else [])])
        inputs = (tensor(shape, rest.pop("values", normal), dtype, memory=rest.pop("x_memory", "dense")), *channels)
        return Case(BATCH_NORM_STATISTICS, name, inputs, BatchStatisticsParams(1e-3, factor), tags, **rest)

    for factor in (1.0, 0.25):
        yield case(f"factor{factor}", (2, 5, 4, 18), factor)
        yield case(f"float16-factor{factor}", (2, 5, 4, 18), factor, F16)
    yield case("float64", (2, 5, 4, 18), dtype=F64, of=F64)
    for channels in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130):
        yield case(f"c{channels}", (2, 7, 5, channels), tags=("tail",))
    yield case("float64-factor0.25", (3, 9, 7, 5), 0.25, dtype=F64, of=F64)
    yield case("many-rows", (3, 67, 41, 5))
    yield case("far-from-zero", (4, 9, 7, 6), values=shifted)
    yield case("threads2", (3, 31, 17, 40), threads=2, tags=("threads",))
    for x_memory, memory in PLACEMENTS:
        yield case(f"{x_memory}-to-{memory}", (2, 5, 4, 18), x_memory=x_memory, memory=memory, tags=("strided",))
    yield case("one-value", (1, 1, 1, 3))
    yield case("rank1", (7,))
    yield case("rank5", (2, 3, 2, 2, 4))
    yield case("empty", (0, 5, 4, 18))
    yield case("channels0", (2, 5, 4, 0))
    yield case("nan", (2, 5, 4, 18), values=sparse_nan)
    yield case("images", (8, 56, 56, 64), measure=True)


CASES: tuple[Case, ...] = (*_cases(), *_lrn_cases(), *_statistics_cases())
