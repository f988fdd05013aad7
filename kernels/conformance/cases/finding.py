"""Cases of ops whose output shapes depend on values, and of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import finding as ops
from ...contracts import matrices
from ...contracts.base import NUMBERS
from ...tensor import STRING, DType
from ..case import F32, F64, Case, tensor
from ..values import few, normal, sparse_nan, text

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]
Rng = np.random.Generator
I32 = np.dtype(np.int32)
BOOL = np.dtype(bool)
_DTYPES = sorted(NUMBERS | {BOOL, STRING}, key=str)


def _name(dtype: DType) -> str:
    return "string" if dtype == STRING else str(dtype)


def _unique_by_loops(inputs: Any, params: ops.UniqueParams) -> list[NDArray]:
    """Elements one after the other, or slices along an axis as tuples."""
    x = inputs[0].reshape(-1) if params.axis is None else np.moveaxis(inputs[0], params.axis, 0)
    rows = [(v if x.ndim == 1 else tuple(v.ravel().tolist())) for v in x]
    seen: list[Any] = []
    first: list[int] = []
    inverse: list[int] = []
    for i, row in enumerate(rows):
        at = next((n for n, other in enumerate(seen) if other == row), len(seen))
        if at == len(seen):
            seen.append(row)
            first.append(i)
        inverse.append(at)
    order = sorted(range(len(seen)), key=lambda n: seen[n]) if params.sorted else list(range(len(seen)))
    values = x[[first[n] for n in order]] if seen else x[:0]
    made = {
        "first": [first[n] for n in order],
        "inverse": [order.index(n) for n in inverse],
        "counts": [inverse.count(n) for n in order],
    }
    values = values if params.axis is None else np.moveaxis(values, 0, params.axis)
    return [values, *(np.array(made[k], params.index) for k in params.outputs)]


def _found() -> Iterator[Case]:
    for dtype in _DTYPES:
        if dtype != STRING:
            yield Case(ops.NONZERO, str(dtype), (tensor((3, 4, 2), few if dtype.kind in "iu" else normal, dtype),))
    for name, shape in (("scalar", ()), ("empty", (0, 3)), ("vector", (33,))):
        yield Case(
            ops.NONZERO, name, (tensor(shape, normal, BOOL),), tags=frozenset(["empty"] if name == "empty" else [])
        )
    yield Case(ops.NONZERO, "nan", (tensor((7, 40), sparse_nan),), tags=frozenset(["nan"]))
    yield Case(ops.NONZERO, "million", (tensor((1000, 1000), normal, BOOL),), measure=True)
    every: Any = ("first", "inverse", "counts")
    for dtype in _DTYPES:
        values = text if dtype == STRING else few
        for is_sorted in (False, True):
            if dtype.kind != "c":
                params = ops.UniqueParams(every, sorted=is_sorted)
                name = f"{_name(dtype)}-{is_sorted:d}"
                yield Case(ops.UNIQUE, name, (tensor((20,), values, dtype),), params, oracle=_unique_by_loops)
    for axis in (0, 1, -1):
        params = ops.UniqueParams(every, axis, index="int64")
        yield Case(ops.UNIQUE, f"axis{axis}", (tensor((6, 2, 5), few, I32),), params, oracle=_unique_by_loops)
    yield Case(ops.UNIQUE, "matrix", (tensor((4, 5), few),), oracle=_unique_by_loops, params=ops.UniqueParams())
    yield Case(ops.UNIQUE, "empty", (tensor((0,), few),), ops.UniqueParams(every), frozenset(["empty"]))
    yield Case(ops.UNIQUE, "million", (tensor((1_000_000,), few, I32),), ops.UniqueParams(), measure=True)


def _ascending(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    return np.sort(rng.integers(0, 6, shape)).astype(dtype)


def _raw(length: int) -> Any:
    def make(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
        words = np.empty(shape, object)
        for index in np.ndindex(shape):
            words[index] = rng.integers(0, 256, length).astype(np.uint8).tobytes()
        return words

    return make


def _sums() -> Iterator[Case]:
    modes: tuple[Any, ...] = ("sum", "mean", "prod", "max", "min")
    for mode in modes:
        for dtype in (F32, F64, np.dtype(np.float16), I32, np.dtype(np.uint8)):
            inputs = (tensor((20, 3), normal, dtype), tensor((20,), _ascending, I32))
            yield Case(ops.SORTED_SEGMENTS, f"{mode}-{dtype}", inputs, ops.SortedSegmentsParams(mode))
    for name, shape in (("empty", (0, 3)), ("vector", (9,)), ("thin", (5, 0))):
        inputs = (tensor(shape, normal), tensor(shape[:1], _ascending, np.dtype(np.int64)))
        yield Case(ops.SORTED_SEGMENTS, name, inputs, ops.SortedSegmentsParams())
    inputs = (tensor((10_000, 100), normal), tensor((10_000,), _ascending, I32))
    yield Case(ops.SORTED_SEGMENTS, "million", inputs, ops.SortedSegmentsParams(), measure=True)
    for kind in ("uint8", "int16", "int32", "uint16", "int64", "bool"):
        for little in (False, True):
            params = ops.DecodeRawParams(np.dtype(kind), little)
            yield Case(ops.DECODE_RAW, f"{kind}-{little:d}", (tensor((2, 3), _raw(8), STRING),), params)
    yield Case(ops.DECODE_RAW, "scalar", (tensor((), _raw(5), STRING),), ops.DecodeRawParams(np.dtype(np.uint8)))
    yield Case(ops.DECODE_RAW, "nothing", (tensor((2,), _raw(0), STRING),), ops.DecodeRawParams(F32))
    yield Case(ops.DECODE_RAW, "million", (tensor((4,), _raw(10**6), STRING),), ops.DecodeRawParams(F32), measure=True)


def _keys(count: int) -> Any:
    """Keys of which some are equal, and of which a query of the same kind finds some."""

    def make(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
        numbers = rng.integers(0, count, shape)
        if dtype != STRING:
            return np.asarray(numbers).astype(dtype)
        words = np.empty(shape, object)
        for index in np.ndindex(shape):
            words[index] = b"k%d" % numbers[index]
        return words

    return make


def _looked_up(inputs: Any, params: Any) -> list[NDArray]:
    keys, values, query, default = inputs
    y = np.array(np.broadcast_to(default, query.shape + values.shape[1:]))
    for index in np.ndindex(query.shape):
        for key, value in zip(keys, values, strict=True):
            if key == query[index]:
                y[index] = value
    return [y]


def _lookups() -> Iterator[Case]:
    for keys in (I32, np.dtype(np.int64), STRING):
        for values in (F32, np.dtype(np.int64), BOOL, STRING):
            for name, query, tail in (
                ("scalar", (), ()),
                ("matrix", (3, 4), ()),
                ("rows", (5,), (3,)),
                ("empty", (0, 2), ()),
            ):
                inputs = (
                    tensor((9,), _keys(12), keys), tensor((9, *tail), text if values == STRING else normal, values),
                    tensor(query, _keys(12), keys), tensor(tail, text if values == STRING else normal, values),
                )  # fmt: skip
                tags = frozenset(["empty"] if name == "empty" else [])
                yield Case(ops.LOOKUP, f"{_name(keys)}-{_name(values)}-{name}", inputs, tags=tags, oracle=_looked_up)
    none = (tensor((0,), text, STRING), tensor((0,), normal), tensor((4,), text, STRING), tensor((), normal))
    yield Case(ops.LOOKUP, "nothing", none, oracle=_looked_up)
    many = (
        tensor((10_000,), _keys(9_000), STRING),
        tensor((10_000,), normal),
        tensor((100_000,), _keys(9_000), STRING),
    )
    yield Case(ops.LOOKUP, "thousands", (*many, tensor((), normal)), measure=True)


def _by_loops(inputs: Any, params: Any) -> list[NDArray]:
    """Diagonals of matrices element by element."""
    x, low, high = inputs[0], params.low, params.high
    rows, columns = x.shape[-2:]
    longest = min(rows + min(high, 0), columns - max(low, 0))
    y = np.empty((*x.shape[:-2], high - low + 1, longest), x.dtype)
    y[...] = inputs[1] if len(inputs) > 1 else 0
    for d in range(low, high + 1):
        pairs = [(i, i + d) for i in range(rows) if 0 <= i + d < columns]
        left = (d >= 0 and params.left[0]) or (d <= 0 and params.left[1])
        for n, (i, j) in enumerate(pairs):
            y[..., high - d, n + (0 if left else longest - len(pairs))] = x[..., i, j]
    return [y[..., 0, :] if low == high else y]


def _matrices() -> Iterator[Case]:
    ranges = ((0, 0), (1, 1), (-2, -2), (-1, 1), (0, 2), (-2, 0), (1, 3), (-3, 4))
    sides = ((True, True), (True, False), (False, True), (False, False))
    for low, high in ranges:
        for left in sides if low < high else sides[:1]:
            params = matrices.Diagonals(low, high, left)
            name = f"{low}-{high}-{left[0]:d}{left[1]:d}"
            x = tensor((2, 4, 5), normal)
            yield Case(matrices.DIAGONALS, name, (x, tensor((), normal)), params, oracle=_by_loops)
            wide = (high - low + 1, params.longest(4, 5)) if low < high else (params.longest(4, 5),)
            diagonals = tensor((2, *wide), normal)
            yield Case(matrices.SET_DIAGONALS, name, (x, diagonals), params)
            made = matrices.FromDiagonalsParams(params, 4, 5)
            yield Case(matrices.FROM_DIAGONALS, name, (diagonals, tensor((), normal)), made)
    for dtype in _DTYPES:
        yield Case(matrices.DIAGONALS, _name(dtype), (tensor((3, 4), normal, dtype),), matrices.Diagonals())
        inputs = (tensor((3, 4), normal, dtype), tensor((3,), normal, dtype))
        yield Case(matrices.SET_DIAGONALS, _name(dtype), inputs, matrices.Diagonals())
        yield Case(
            matrices.FROM_DIAGONALS, _name(dtype), (tensor((3,), normal, dtype),), matrices.FromDiagonalsParams()
        )
    large = tensor((10, 300, 300), normal)
    yield Case(matrices.DIAGONALS, "million", (large,), matrices.Diagonals(-9, 9), measure=True)
    yield Case(
        matrices.SET_DIAGONALS, "million", (large, tensor((10, 300), normal)), matrices.Diagonals(), measure=True
    )
    yield Case(
        matrices.FROM_DIAGONALS, "million", (tensor((10, 300), normal),), matrices.FromDiagonalsParams(), measure=True
    )
    for dtype in (F32, F64, np.dtype(np.complex64), np.dtype(np.complex128)):
        for shape in ((3, 3), (2, 5, 5), (1, 1), (0, 0), (0, 3, 3)):
            name = f"{dtype}-{'x'.join(map(str, shape))}"
            yield Case(matrices.DETERMINANT, name, (tensor(shape, _regular, dtype),))
            yield Case(
                matrices.INVERSE, name, (tensor(shape, _regular, dtype),), matrices.InverseParams(shape == (3, 3))
            )
    yield Case(matrices.DETERMINANT, "million", (tensor((100, 100, 100), _regular),), measure=True)
    yield Case(
        matrices.INVERSE, "million", (tensor((100, 100, 100), _regular),), matrices.InverseParams(), measure=True
    )


def _regular(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    """Matrices far from singular ones."""
    return np.asarray(normal(rng, shape, dtype) * 0.3 + np.eye(shape[-1]) * 2).astype(dtype)


CASES: tuple[Case, ...] = (*_found(), *_sums(), *_lookups(), *_matrices())
