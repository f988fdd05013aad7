"""Cases of reductions, argmax and argmin, top_k."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import reduce as ops
from ...contracts.base import FLOATS, INTEGERS, NUMBERS, Contract
from ...tensor import DType, is_int
from ..case import F16, F32, F64, MEMORIES, Case, Memory, tensor
from ..values import any_bits, few, normal, positive, sparse_nan

__all__ = ["CASES"]

_DTYPES: dict[Contract[Any], frozenset[DType]] = {
    ops.REDUCE_SUM: NUMBERS,
    ops.REDUCE_PROD: NUMBERS,
    ops.REDUCE_MEAN: FLOATS,
    ops.REDUCE_MAX: FLOATS | INTEGERS,
    ops.REDUCE_MIN: FLOATS | INTEGERS,
    ops.REDUCE_ALL: frozenset([np.dtype(bool)]),
    ops.REDUCE_ANY: frozenset([np.dtype(bool)]),
}


def _case(
    contract: Contract[Any],
    name: str,
    shape: tuple[int, ...],
    params: Any,
    *,
    dtype: DType = F32,
    values: Any = normal,
    memory: Memory = "dense",
    tags: tuple[str, ...] = (),
    threads: int = 1,
    measure: bool = False,
) -> Case:
    x = tensor(shape, values, dtype, memory=memory)
    return Case(contract, name, (x,), params, frozenset(tags), threads=threads, measure=measure)


def _reductions(contract: Contract[Any]) -> Iterator[Case]:
    dtypes = _DTYPES[contract]
    dtype = F32 if F32 in dtypes else np.dtype(bool)
    # Products of many normal numbers vanish or explode, and tell nothing.
    values = positive if contract is ops.REDUCE_PROD else normal

    def case(
        name: str, shape: tuple[int, ...], axes: tuple[int, ...] | None = None, keepdims: bool = False, **rest: Any
    ) -> Case:
        rest = {"dtype": dtype, "values": values} | rest
        return _case(contract, name, shape, ops.ReduceParams(axes, keepdims), **rest)

    for size in (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130, 1225):
        if contract is not ops.REDUCE_PROD or size < 64:
            yield case(f"n{size}", (size,), tags=("tail",))
            yield case(f"last-n{size}", (3, size), (-1,), tags=("tail",))
            yield case(f"first-n{size}", (size, 5), (0,), tags=("tail",))
    for axes in ((0,), (1,), (2,), (3,), (1, 2), (0, 2), (1, 3), (-1, 0), (0, 1, 2, 3), (0, 2, 3)):
        for keepdims in (False, True):
            label = "".join(map(str, axes)) + ("-keepdims" if keepdims else "")
            yield case(f"axes{label}", (2, 3, 4, 5), axes, keepdims)
    yield case("all", (3, 4, 5))
    yield case("all-keepdims", (3, 4, 5), None, True)
    yield case("no-axes", (3, 4), ())
    yield case("scalar", ())
    yield case("empty", (0,), tags=("empty",))
    yield case("empty-axis", (3, 0, 2), (1,), tags=("empty",))
    yield case("empty-result", (0, 3), (1,), tags=("empty",))
    yield case("size1", (1, 1, 7, 1), (1, 3))
    yield case("threads2", (64, 33), (1,), threads=2, tags=("threads",))
    if dtype == F32:
        yield case("nan", (9, 40), (1,), values=sparse_nan, tags=("nan",))
        yield case("nan-first", (40, 9), (0,), values=sparse_nan, tags=("nan",))
        yield case("inception", (1, 8, 8, 2048) if contract is not ops.REDUCE_PROD else (1, 2, 2, 2048), (1, 2), True,
                   tags=("inception",))  # fmt: skip
    else:
        yield case("rows", (2048, 2048), (1,), measure=True)
    for memory in MEMORIES:
        yield case(memory, (4, 5, 9), (1,), memory=memory, tags=("strided",))
    for other in sorted(dtypes - {F32, np.dtype(bool)}, key=str):
        yield case(f"{other}", (4, 9, 3), (1,), dtype=other)
        if is_int(other):
            yield case(f"{other}-range", (4, 9, 3), (1,), dtype=other, values=any_bits, tags=("large",))
            yield case(f"{other}-empty", (4, 0, 3), (1,), dtype=other, tags=("empty",))


def _arguments(contract: Contract[Any]) -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], axis: int = -1, output: Any = "int64", **rest: Any) -> Case:
        return _case(contract, name, shape, ops.ArgParams(axis, output), **rest)

    for size in (1, 7, 8, 17, 1001):
        yield case(f"n{size}", (3, size), tags=("tail",))
    yield case("n1000-batch1024", (1024, 1000), measure=True)
    yield case("axis0", (7, 5), 0)
    yield case("axis1", (2, 7, 5), 1)
    yield case("rank1", (19,), 0)
    for output in ("int32", "int16", "uint16"):
        yield case(f"to-{output}", (3, 9), output=output)
    yield case("bool", (4, 9), dtype=np.dtype(bool))
    yield case("ties", (20, 12), values=few)
    yield case("nan", (9, 40), values=sparse_nan, tags=("nan",))
    yield case("empty", (0, 9), tags=("empty",))
    for dtype in sorted((FLOATS | INTEGERS) - {F32}, key=str):
        yield case(f"{dtype}", (4, 9), dtype=dtype, values=any_bits if is_int(dtype) else normal)


def _top_k() -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], k: int, **rest: Any) -> Case:
        return _case(ops.TOP_K, name, shape, ops.TopKParams(k), **rest)

    yield case("1-of-9", (3, 9), 1)
    yield case("5-of-1001", (2, 1001), 5)
    yield case("5-of-1000-batch1024", (1024, 1000), 5, measure=True)
    yield case("all", (3, 17), 17)
    yield case("none", (3, 17), 0, tags=("empty",))
    yield case("rank1", (11,), 4)
    yield case("rank3", (2, 3, 8), 3)
    yield case("ties", (30, 12), 7, values=few)
    yield case("nan", (9, 40), 6, values=sparse_nan, tags=("nan",))
    yield case("empty", (0, 9), 3, tags=("empty",))
    for index in ("int16", "int64"):
        yield _case(ops.TOP_K, f"index-{index}", (3, 9), ops.TopKParams(4, index))
    for dtype in (F16, F64, *sorted(INTEGERS, key=str)):
        yield case(f"{dtype}", (4, 9), 4, dtype=dtype, values=any_bits if is_int(dtype) else normal)


CASES: tuple[Case, ...] = (
    *(case for contract in ops.REDUCTIONS for case in _reductions(contract)),
    *_arguments(ops.ARGMAX),
    *_arguments(ops.ARGMIN),
    *_top_k(),
)
