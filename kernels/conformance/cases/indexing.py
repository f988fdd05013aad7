"""Cases of picking and placing by arrays of indices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import indexing as ops
from ...contracts.base import FLOATS, INTEGERS, NUMBERS, Tolerance
from ...tensor import STRING, DType
from ..case import F32, Case, tensor
from ..values import indices, normal

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]
Rng = np.random.Generator
I32 = np.dtype(np.int32)
_DTYPES = sorted(NUMBERS | {np.dtype(bool), STRING}, key=str)


def _name(dtype: DType) -> str:
    return "string" if dtype == STRING else str(dtype)


def rows(*limits: int) -> Any:
    """Rows of indices, each below its own limit."""

    def make(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
        columns = [rng.integers(0, n, shape[:-1]) for n in limits]
        return (np.stack(columns, axis=-1) if columns else np.zeros(shape)).astype(dtype)

    return make


def _gather_nd() -> Iterator[Case]:
    def case(
        name: str, x: tuple[int, ...], picks: tuple[int, ...], dtype: DType = F32, index: DType = I32, batch: int = 0, **rest: Any
    ) -> Case:  # fmt: skip
        values = rows(*x[batch : batch + picks[-1]])
        inputs = (tensor(x, normal, dtype), tensor(picks, values, index))
        return Case(ops.GATHER_ND, name, inputs, ops.GatherNdParams(batch), **rest)

    for dtype in _DTYPES:
        yield case(_name(dtype), (5, 3, 2), (4, 2), dtype)
    for index in ("int8", "int16", "int64", "uint8", "uint64"):
        yield case(f"by-{index}", (5, 3), (4, 1), index=np.dtype(index))
    for name, x, picks in (
        ("whole", (5, 3), (4, 0)), ("elements", (5, 3), (2, 4, 2)), ("one", (5, 3), (2,)), ("nothing", (5, 3), (0, 2)),
        ("slices", (2, 3, 4, 5), (6, 1)), ("empty-slices", (5, 0), (3, 1)),
    ):  # fmt: skip
        yield case(name, x, picks)
    yield case("batch1", (2, 7, 3), (2, 4, 1), batch=1)
    yield case("batch2", (2, 3, 5, 4), (2, 3, 2), batch=2)
    yield case("million", (100, 100, 100), (10_000, 2), measure=True)


def _scatters() -> Iterator[Case]:
    def case(
        contract: Any, name: str, shape: tuple[int, ...], picks: tuple[int, ...], dtype: DType = F32, mode: Any = "update", **rest: Any
    ) -> Case:  # fmt: skip
        where = tensor(picks, rows(*shape[: picks[-1]]), I32)
        updates = tensor((*picks[:-1], *shape[picks[-1] :]), normal, dtype)
        if contract is ops.SCATTER_ND:
            return Case(contract, name, (where, updates), ops.ScatterNdParams(shape), typed_by=1, **rest)
        inputs = (tensor(shape, normal, dtype), where, updates)
        return Case(contract, name, inputs, ops.TensorScatterParams(mode), **rest)

    shapes = (
        ("elements", (5, 3), (4, 2)), ("slices", (5, 3, 2), (2, 3, 1)), ("whole", (2, 3), (2, 0)), ("nothing", (5, 3), (0, 2)),
        ("repeated", (2, 3), (40, 2)), ("one", (5, 3), (2,)),
    )  # fmt: skip
    for contract in (ops.SCATTER_ND, ops.TENSOR_SCATTER):
        for name, shape, picks in shapes:
            yield case(contract, name, shape, picks)
        for dtype in _DTYPES:
            if contract is ops.TENSOR_SCATTER or dtype != STRING:
                yield case(contract, _name(dtype), (5, 3), (7, 1), dtype)
        yield case(contract, "million", (1000, 1000), (500, 1), measure=True)
    for mode in ("add", "sub", "mul", "max", "min"):
        for dtype in (F32, np.dtype(np.float16), np.dtype(np.int32)):
            yield case(ops.TENSOR_SCATTER, f"{mode}-{dtype}", (5, 3), (9, 1), dtype, mode)


def _one_hot() -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], depth: int, axis: int = -1, dtype: DType = F32, **rest: Any) -> Case:
        index = rest.pop("index", I32)
        low = -2 if index.kind == "i" else 0

        def make(rng: Rng, of: tuple[int, ...], kind: DType) -> NDArray:
            return rng.integers(low, depth + 2, of).astype(kind)

        inputs = (tensor(shape, make, index), tensor((), normal, dtype), tensor((), normal, dtype))
        return Case(ops.ONE_HOT, name, inputs, ops.OneHotParams(depth, axis), typed_by=1, **rest)

    for dtype in _DTYPES:
        yield case(_name(dtype), (3, 4), 5, dtype=dtype)
    for axis in (0, 1, 2, -1, -3):
        yield case(f"axis{axis}", (3, 4), 5, axis)
    yield case("scalar", (), 5)
    yield case("depth0", (3,), 0)
    yield case("empty", (0, 2), 4)
    yield case("by-uint8", (9,), 5, index=np.dtype(np.uint8))
    yield case("million", (10_000,), 100, measure=True)


def _segments() -> Iterator[Case]:
    def case(
        name: str, shape: tuple[int, ...], rank: int, count: int, mode: Any = "sum", dtype: DType = F32, **rest: Any
    ) -> Case:
        def make(rng: Rng, of: tuple[int, ...], kind: DType) -> NDArray:
            return rng.integers(-1, count, of).astype(kind) if count else np.full(of, -1, kind)

        inputs = (tensor(shape, normal, dtype), tensor(shape[:rank], make, I32))
        return Case(ops.SEGMENTS, name, inputs, ops.SegmentsParams(count, mode), **rest)

    for mode in ("sum", "prod", "max", "min"):
        for dtype in sorted(FLOATS | INTEGERS, key=str):
            exact = Tolerance(0, 0) if mode in ("max", "min") else None
            yield case(f"{mode}-{dtype}", (20, 3), 1, 6, mode, dtype, tolerance=exact)
    yield case("all-axes", (4, 5), 2, 3)
    yield case("none", (4, 5), 1, 0)
    yield case("no-rows", (0, 5), 1, 3, tags=frozenset(["empty"]))
    yield case("million", (10_000, 100), 1, 1000, measure=True)


def _reverse_sequence() -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], sequence: int, batch: int, dtype: DType = F32, **rest: Any) -> Case:
        inputs = (
            tensor(shape, normal, dtype),
            tensor((shape[batch],), indices(shape[sequence] + 1), np.dtype(np.int64)),
        )
        return Case(ops.REVERSE_SEQUENCE, name, inputs, ops.ReverseSequenceParams(sequence, batch), **rest)

    for dtype in _DTYPES:
        yield case(_name(dtype), (3, 5), 1, 0, dtype)
    for sequence, batch in ((0, 1), (2, 1), (-1, 0), (1, 2)):
        yield case(f"axes{sequence},{batch}", (3, 4, 5), sequence, batch)
    yield case("empty", (0, 4), 1, 0, tags=frozenset(["empty"]))
    yield case("million", (100, 100, 100), 1, 0, measure=True)


CASES: tuple[Case, ...] = (*_gather_nd(), *_scatters(), *_one_hot(), *_segments(), *_reverse_sequence())
