"""Cases of ops on whole arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import arrange as ops
from ...contracts.base import FLOATS, INTEGERS, NUMBERS
from ...tensor import STRING, DType
from ..case import F32, F64, Case, tensor
from ..values import any_bits, indices, nonzero, normal, positive, sparse_nan

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]
Rng = np.random.Generator
I32 = np.dtype(np.int32)
_DTYPES = sorted(NUMBERS | {np.dtype(bool), STRING}, key=str)
_LARGE = (8, 35, 35, 100)


def _name(dtype: DType) -> str:
    return "string" if dtype == STRING else str(dtype)


def _case(
    contract: Any, name: str, shape: tuple[int, ...], params: Any, dtype: DType = F32, values: Any = normal, **rest: Any
) -> Case:
    tags = frozenset(["empty"] if 0 in shape else [])
    return Case(contract, name, (tensor(shape, values, dtype),), params, tags, **rest)


def _bits() -> Iterator[Case]:
    for old, new, shape in (
        ("float32", "int32", (3, 5)), ("int32", "uint8", (3, 5)), ("uint8", "float32", (3, 4)), ("int64", "uint16", (2,)),
        ("uint8", "int8", (7,)), ("complex64", "float32", (3,)), ("uint16", "float16", ()), ("int16", "int64", (0, 4)),
    ):  # fmt: skip
        dtype = np.dtype(old)
        values = (
            any_bits if dtype.kind in "iu" and np.dtype(new).kind != "f" else positive if dtype.kind != "c" else normal
        )
        yield _case(ops.BITCAST, f"{old}-to-{new}", shape, ops.BitcastParams(np.dtype(new)), dtype, values)
    yield _case(ops.BITCAST, "million", (1_000_000,), ops.BitcastParams(np.dtype(np.uint8)), measure=True)


def _made() -> Iterator[Case]:
    for dtype in _DTYPES:
        for value in (0, 1):
            yield Case(ops.FILLED, f"{_name(dtype)}-{value}", (), ops.FilledParams((3, 4), dtype, value))
    yield Case(ops.FILLED, "scalar", (), ops.FilledParams((), F32, 1))
    yield Case(ops.FILLED, "empty", (), ops.FilledParams((0, 4), F32), frozenset(["empty"]))
    yield Case(ops.FILLED, "million", (), ops.FilledParams((1000, 1000), F32), measure=True)
    for dtype in sorted(FLOATS, key=str):
        for count in (1, 2, 7):
            inputs = (tensor((), normal, dtype), tensor((), normal, dtype))
            yield Case(ops.LINSPACE, f"{dtype}-{count}", inputs, ops.LinspaceParams(count))
    yield Case(
        ops.LINSPACE, "million", (tensor((), normal), tensor((), normal)), ops.LinspaceParams(1_000_000), measure=True
    )


def _moved() -> Iterator[Case]:
    for dtype in _DTYPES:
        yield _case(ops.ROLL, _name(dtype), (3, 4), ops.RollParams((1,), (-1,)), dtype)
    for name, shifts, axes in (
        ("nothing", (), ()), ("two", (1, -2), (0, 2)), ("twice", (1, 1), (1, 1)), ("far", (2**40 + 1, -(2**40)), (0, 1)),
    ):  # fmt: skip
        yield _case(ops.ROLL, name, (3, 4, 5), ops.RollParams(shifts, axes))
    yield _case(ops.ROLL, "empty", (0, 4), ops.RollParams((3,), (0,)))
    yield _case(ops.ROLL, "million", _LARGE, ops.RollParams((3, 2), (1, 2)), measure=True)
    for dtype in _DTYPES:
        yield _case(ops.BAND, _name(dtype), (4, 5), ops.BandParams(-1, 2), dtype)
    for low, high in (
        (None, None),
        (0, 0),
        (None, 0),
        (0, None),
        (1, 3),
        (-3, -2),
        (9, None),
        (None, -9),
        (2, 1),
        (-(2**40), 2**40),
    ):
        yield _case(ops.BAND, f"{low}-{high}", (2, 4, 5), ops.BandParams(low, high))
    yield _case(ops.BAND, "empty", (0, 5), ops.BandParams(0, 1))
    yield _case(ops.BAND, "million", (1000, 1000), ops.BandParams(None, 0), measure=True)


def _sums() -> Iterator[Case]:
    kinds: tuple[Any, ...] = ("sum", "prod", "logsumexp")
    for of in kinds:
        values = nonzero if of == "prod" else normal
        for exclusive in (False, True):
            for reverse in (False, True):
                for axis in (0, 1, -1):
                    params = ops.CumulativeParams(of, axis, exclusive, reverse)
                    yield _case(
                        ops.CUMULATIVE,
                        f"{of}-{axis}-{exclusive:d}{reverse:d}",
                        (3, 5, 4),
                        params,
                        values=values,
                    )
        for dtype in sorted(FLOATS if of == "logsumexp" else NUMBERS, key=str):
            params = ops.CumulativeParams(of, 1)
            yield _case(ops.CUMULATIVE, f"{of}-{dtype}", (3, 7), params, dtype, values)
        yield _case(ops.CUMULATIVE, f"{of}-empty", (0, 3), ops.CumulativeParams(of, 0, True))
        yield _case(ops.CUMULATIVE, f"{of}-one", (3, 1), ops.CumulativeParams(of, 1, True, True))
    yield _case(ops.CUMULATIVE, "nan", (3, 40), ops.CumulativeParams("sum", 1), values=sparse_nan)
    yield _case(ops.CUMULATIVE, "million", _LARGE, ops.CumulativeParams("sum", 3), measure=True)
    for dtype in sorted(FLOATS, key=str):
        yield _case(ops.L2_LOSS, str(dtype), (3, 7), ops.L2_LOSS.params(), dtype)
    yield _case(ops.L2_LOSS, "empty", (0, 3), ops.L2_LOSS.params())
    yield _case(ops.L2_LOSS, "million", _LARGE, ops.L2_LOSS.params(), measure=True)


def _permutation(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    return rng.permutation(shape[0]).astype(dtype)


def _places() -> Iterator[Case]:
    bounds = ops.BucketizeParams((-1.0, 0.0, 0.0, 2.5))
    for dtype in (F32, F64, I32, np.dtype(np.int64)):
        yield _case(ops.BUCKETIZE, str(dtype), (3, 7), bounds, dtype)
    yield _case(ops.BUCKETIZE, "nan", (3, 40), bounds, values=sparse_nan)
    yield _case(ops.BUCKETIZE, "none", (3,), ops.BucketizeParams(()))
    yield _case(ops.BUCKETIZE, "million", _LARGE, bounds, measure=True)
    for dtype in sorted(INTEGERS, key=str):
        yield _case(ops.UNRAVEL_INDEX, str(dtype), (6,), ops.UnravelIndexParams((2, 3, 4)), dtype, indices(24))
        yield _case(ops.INVERT_PERMUTATION, str(dtype), (9,), ops.INVERT_PERMUTATION.params(), dtype, _permutation)
    yield _case(ops.UNRAVEL_INDEX, "scalar", (), ops.UnravelIndexParams((5, 7)), I32, indices(35))
    yield _case(
        ops.UNRAVEL_INDEX,
        "million",
        (300_000,),
        ops.UnravelIndexParams((100, 100, 100)),
        I32,
        indices(10**6),
        measure=True,
    )
    yield _case(
        ops.INVERT_PERMUTATION,
        "million",
        (1_000_000,),
        ops.INVERT_PERMUTATION.params(),
        I32,
        _permutation,
        measure=True,
    )


CASES: tuple[Case, ...] = (*_bits(), *_made(), *_moved(), *_sums(), *_places())
