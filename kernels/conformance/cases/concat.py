"""Cases of concatenation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts.concat import CONCAT, ConcatParams
from ...tensor import STRING, DType
from ..case import F32, MEMORIES, PLACEMENTS, Case, Memory, tensor
from ..values import normal, sparse_nan

__all__ = ["CASES"]


def _case(
    name: str,
    axis: int,
    *shapes: tuple[int, ...],
    dtype: DType = F32,
    values: Any = normal,
    memory: Memory = "dense",
    x_memory: Memory | None = None,
    tags: tuple[str, ...] = (),
    threads: int = 1,
) -> Case:
    """``x_memory``: of the inputs, if it is not that of the output."""
    inputs = tuple(tensor(shape, values, dtype, memory=x_memory or memory) for shape in shapes)
    return Case(CONCAT, name, inputs, ConcatParams(axis), frozenset(tags), memory, threads)


def _cases() -> Iterator[Case]:
    yield _case("one", 0, (3, 4))
    yield _case("rank1", 0, (3,), (1,), (9,))
    yield _case("last", -1, (2, 3, 5), (2, 3, 1), (2, 3, 17))
    yield _case("first", 0, (2, 3, 5), (1, 3, 5), (7, 3, 5))
    yield _case("middle", 1, (2, 3, 5), (2, 1, 5), (2, 9, 5))
    yield _case("negative", -2, (2, 3, 5), (2, 1, 5))
    yield _case("channels", 3, (2, 5, 5, 7), (2, 5, 5, 8), (2, 5, 5, 33), tags=("tail",))
    yield _case("empty-part", 1, (2, 3), (2, 0), (2, 4), tags=("empty",))
    yield _case("all-empty", 1, (0, 3), (0, 4), tags=("empty",))
    yield _case("nan", -1, (9, 8), (9, 7), values=sparse_nan, tags=("nan",))
    yield _case("threads2", -1, (17, 17, 192), (17, 17, 64), threads=2, tags=("threads",))
    for memory in MEMORIES:
        yield _case(memory, -1, (4, 5, 8), (4, 5, 3), memory=memory, tags=("strided",))
        yield _case(f"middle-{memory}", 1, (2, 3, 4, 5), (2, 1, 4, 5), (2, 0, 4, 5), memory=memory, tags=("strided",))
        yield _case(f"first-{memory}", 0, (2, 3, 5), (4, 3, 5), memory=memory, threads=2, tags=("strided",))
    for x_memory, memory in PLACEMENTS:
        for axis, second in ((-1, (3, 4, 9)), (1, (3, 2, 6)), (0, (1, 4, 6))):
            yield _case(f"{x_memory}-to-{memory}-axis{axis}", axis, (3, 4, 6), second, x_memory=x_memory, memory=memory,
                        tags=("strided",))  # fmt: skip
    for name in ("float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool",
                 "complex64", "complex128"):  # fmt: skip
        yield _case(name, 1, (2, 3, 2), (2, 5, 2), dtype=np.dtype(name))
    yield _case("string", 0, (3,), (2,), dtype=STRING)
    yield _case("inception-A0", 3, *((1, 35, 35, c) for c in (64, 64, 96, 32)), tags=("inception",))
    yield _case("inception-E0", 3, *((1, 8, 8, c) for c in (320, 384, 384, 384, 384, 192)), tags=("inception",))


CASES: tuple[Case, ...] = tuple(_cases())
