"""Cases of softmax and log_softmax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...contracts.base import Contract
from ...contracts.softmax import LOG_SOFTMAX, SOFTMAX, SoftmaxParams
from ...tensor import DType
from ..case import F16, F32, F64, MEMORIES, Case, Memory, tensor
from ..values import normal, scaled, sparse_nan

__all__ = ["CASES"]


def _cases(contract: Contract[SoftmaxParams]) -> Iterator[Case]:
    def case(
        name: str,
        shape: tuple[int, ...],
        axis: int = -1,
        *tags: str,
        values: Any = normal,
        dtype: DType = F32,
        memory: Memory = "dense",
        **rest: Any,
    ) -> Case:
        x = tensor(shape, values, dtype, memory=memory)
        return Case(contract, name, (x,), SoftmaxParams(axis), frozenset(tags), memory, **rest)

    for size in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130, 1001):
        yield case(f"n{size}", (3, size), -1, "tail")
    yield case("rank1", (10,))
    yield case("rank4", (2, 3, 4, 19))
    yield case("axis0", (9, 17), 0)
    yield case("axis1", (2, 9, 4, 5), 1)
    yield case("axis-2", (2, 9, 17), -2)
    yield case("empty-rows", (0, 9), -1, "empty")
    yield case("empty-axis", (4, 0), -1, "empty")
    yield case("large", (5, 33), -1, "large", values=scaled(1e4))
    for dtype in (F16, F64):
        yield case(f"large-{dtype}", (5, 33), -1, "large", values=scaled(100 if dtype == F16 else 1e4), dtype=dtype)
    yield case("large-axis0", (33, 5), 0, "large", values=scaled(1e4))
    yield case("spread", (5, 33), values=scaled(30))
    yield case("nan", (9, 40), -1, "nan", values=sparse_nan)
    yield case("inplace", (5, 33), -1, "inplace", inplace=0)
    yield case("inplace-axis0", (5, 33), 0, "inplace", inplace=0)
    yield case("threads2", (300, 129), -1, "threads", threads=2)
    for memory in MEMORIES:
        yield case(memory, (6, 21), -1, "strided", memory=memory)
    for dtype in (F16, F64):
        yield case(f"{dtype}", (5, 33), dtype=dtype)
    yield case("inception", (1, 1008), -1, "inception", values=scaled(4))
    yield case("inception-batch8", (8, 1001), -1, "inception", values=scaled(4))


CASES: tuple[Case, ...] = (*_cases(SOFTMAX), *_cases(LOG_SOFTMAX))
