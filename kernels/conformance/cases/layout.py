"""Cases of the ops that move or reinterpret elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import layout as ops
from ...contracts.base import NUMBERS, Contract
from ...tensor import STRING, DType, is_float, is_int
from ..case import F16, F32, F64, Case, tensor
from ..values import any_bits, indices, normal, scaled, sparse_nan

__all__ = ["CASES"]

_BOOL = np.dtype(bool)
_DTYPES = (*sorted(NUMBERS | {_BOOL}, key=str), STRING)


def _case(
    contract: Contract[Any], name: str, shape: tuple[int, ...], params: Any, dtype: DType = F32, **rest: Any
) -> Case:
    tags = frozenset(["empty"] if 0 in shape else [])
    return Case(contract, name, (tensor(shape, rest.pop("values", normal), dtype),), params, tags, **rest)


def _every_dtype(contract: Contract[Any], shape: tuple[int, ...], params: Any) -> Iterator[Case]:
    for dtype in _DTYPES:
        yield _case(contract, "string" if dtype == STRING else str(dtype), shape, params, dtype)


def _moves() -> Iterator[Case]:
    yield from _every_dtype(ops.RESHAPE, (2, 3, 4), ops.ReshapeParams((4, -1)))
    yield _case(ops.RESHAPE, "scalar", (1, 1), ops.ReshapeParams(()))
    yield _case(ops.RESHAPE, "empty", (0, 3), ops.ReshapeParams((3, 0, 2)))
    yield from _every_dtype(ops.IDENTITY, (2, 3), ops.IDENTITY.params())
    yield from _every_dtype(ops.TRANSPOSE, (2, 3, 4), ops.TransposeParams((2, 0, 1)))
    for perm in (None, (0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 3, 2)):
        label = "reversed" if perm is None else "".join(map(str, perm))
        yield _case(ops.TRANSPOSE, label, (2, 3, 5, 17), ops.TransposeParams(perm))
    yield _case(ops.TRANSPOSE, "scalar", (), ops.TransposeParams(()))
    yield _case(ops.TRANSPOSE, "empty", (0, 3), ops.TransposeParams((1, 0)))
    yield from _every_dtype(ops.PAD, (2, 3), ops.PadParams(((1, 0), (0, 2))))
    for mode in ("constant", "reflect", "symmetric"):
        yield _case(ops.PAD, mode, (2, 5, 6, 3), ops.PadParams(((0, 0), (2, 1), (0, 3), (0, 0)), mode))
        yield _case(ops.PAD, f"{mode}-nothing", (2, 3), ops.PadParams(((0, 0), (0, 0)), mode))
    yield _case(ops.PAD, "reflect-most", (3, 4), ops.PadParams(((2, 2), (3, 3)), "reflect"))
    yield _case(ops.PAD, "symmetric-most", (3, 4), ops.PadParams(((3, 3), (4, 4)), "symmetric"))
    yield _case(ops.PAD, "value", (2, 3), ops.PadParams(((1, 1), (1, 1)), value=-2.5))
    yield _case(ops.PAD, "complex-value", (2,), ops.PadParams(((1, 1),), value=1 + 2j), np.dtype(np.complex64))
    yield _case(ops.PAD, "empty", (0, 3), ops.PadParams(((1, 1), (0, 0))))
    yield from _every_dtype(ops.SLICE, (4, 5), ops.SliceParams((1, 0), (2, -1)))
    for name, begin, size, steps in (
        ("all", (0, 0, 0), (-1, -1, -1), None),
        ("inside", (1, 2, 3), (2, 1, 4), None),
        ("nothing", (4, 0, 0), (0, 2, 2), None),
        ("step2", (0, 1, 0), (-1, -1, -1), (2, 3, 1)),
        ("backwards", (3, 4, 8), (-1, 2, -1), (-1, -2, -3)),
        ("last", (3, 4, 8), (1, 1, 1), None),
    ):
        yield _case(ops.SLICE, name, (4, 5, 9), ops.SliceParams(begin, size, steps))
    yield from _every_dtype(ops.SPLIT, (2, 6), ops.SplitParams(1, (1, 3, 2)))
    for axis in (0, 1, -1):
        yield _case(ops.SPLIT, f"axis{axis}", (6, 6, 6), ops.SplitParams(axis, (2, 4)))
    yield _case(ops.SPLIT, "empty-part", (5, 3), ops.SplitParams(0, (0, 5)))
    yield from _every_dtype(ops.TILE, (2, 3), ops.TileParams((2, 3)))
    yield from _every_dtype(ops.BROADCAST_TO, (3, 1), ops.BroadcastParams((2, 3, 4)))
    yield _case(ops.BROADCAST_TO, "scalar", (), ops.BroadcastParams((2, 3)))
    yield _case(ops.BROADCAST_TO, "same", (2, 3), ops.BroadcastParams((2, 3)))
    yield _case(ops.BROADCAST_TO, "empty", (1, 3), ops.BroadcastParams((0, 3)))
    yield _case(ops.TILE, "zero", (2, 3), ops.TileParams((0, 2)))
    yield _case(ops.TILE, "scalar", (), ops.TileParams(()))
    yield from _every_dtype(ops.FILL, (), ops.FillParams((3, 4)))
    yield _case(ops.FILL, "empty", (), ops.FillParams((0, 4)))


def _million() -> Iterator[Case]:
    """What benchmarks time: 4 MB of float32, where the op says by its parameters how large it is."""
    shape = (8, 35, 35, 100)
    for contract, x, params in (
        (ops.RESHAPE, shape, ops.ReshapeParams((8, -1))),
        (ops.TRANSPOSE, shape, ops.TransposeParams((0, 3, 1, 2))),
        (ops.SLICE, (8, 70, 70, 100), ops.SliceParams((0, 0, 0, 0), (-1, -1, -1, -1), (1, 2, 2, 1))),
        (ops.SPLIT, shape, ops.SplitParams(3, (36, 64))),
        (ops.TILE, (8, 35, 35, 25), ops.TileParams((1, 1, 1, 4))),
        (ops.BROADCAST_TO, (8, 1, 1, 100), ops.BroadcastParams(shape)),
        (ops.FILL, (), ops.FillParams(shape)),
    ):
        yield _case(contract, "million", x, params, measure=True)
    yield Case(ops.PACK, "million", (tensor(shape[1:], normal),) * 8, ops.PackParams(0), measure=True)
    rows = (tensor((10_000, 100), normal), tensor((10_000,), indices(10_000), np.dtype(np.int32)))
    yield Case(ops.GATHER, "million", rows, ops.GatherParams(0), measure=True)
    yield Case(ops.RANGE, "million", (), ops.RangeParams(0, 1_000_000, 1, np.dtype(np.int32)), measure=True)


def _gathers() -> Iterator[Case]:
    def case(
        name: str, x: tuple[int, ...], picks: tuple[int, ...], axis: int, dtype: DType = F32, index: str = "int32"
    ) -> Case:
        inputs = (tensor(x, normal, dtype), tensor(picks, indices(x[axis]), np.dtype(index)))
        return Case(ops.GATHER, name, inputs, ops.GatherParams(axis), frozenset(["empty"] if 0 in picks else []))

    for dtype in _DTYPES:
        yield case("string" if dtype == STRING else str(dtype), (5, 3), (4,), 0, dtype)
    for index in ("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64"):
        yield case(f"by-{index}", (5, 3), (4,), 0, index=index)
    yield case("scalar", (5, 3), (), 0)
    yield case("matrix", (5, 3), (2, 4), 0)
    yield case("axis1", (2, 7, 3), (4,), 1)
    yield case("axis-1", (2, 7, 3), (2, 2), -1)
    yield case("nothing", (5, 3), (0,), 0)
    for name, x, picks, axis, batch in (
        ("batch1", (2, 7, 3), (2, 4), 1, 1), ("batch1-last", (2, 7, 3), (2, 4, 2), -1, 1), ("batch2", (2, 3, 5, 4), (2, 3, 6), 2, 2),
        ("batch-all", (2, 3, 5), (2, 3), 2, 2), ("batch-negative", (2, 3, 5), (2, 4), 2, -1), ("batch-empty", (0, 3), (0, 2), 1, 1),
        ("batch-vector", (4, 6), (4,), 1, 1),
    ):  # fmt: skip
        inputs = (tensor(x, normal), tensor(picks, indices(x[axis]), np.dtype(np.int32)))
        tags = frozenset(["empty"] if 0 in picks else [])
        yield Case(ops.GATHER, name, inputs, ops.GatherParams(axis, batch), tags, oracle=_gathered)


def _gathered(inputs: Any, params: Any) -> Any:
    """Item by item, in plain Python."""
    x, picks = inputs
    batch, axis = params.batch(picks.ndim), params.axis % x.ndim
    shape = x.shape[:axis] + picks.shape[batch:] + x.shape[axis + 1 :]
    result = np.empty(shape, x.dtype)
    for at in np.ndindex(x.shape[:batch]):
        result[at] = np.take(x[at], picks[at], axis - batch)
    return (result,)


def _packs() -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], count: int, axis: int, dtype: DType = F32) -> Case:
        return Case(ops.PACK, name, (tensor(shape, normal, dtype),) * count, ops.PackParams(axis))

    for dtype in _DTYPES:
        yield case("string" if dtype == STRING else str(dtype), (2, 3), 3, 0, dtype)
    for axis in (0, 1, 2, -1):
        yield case(f"axis{axis}", (2, 3), 4, axis)
    yield case("scalars", (), 5, 0)
    yield case("one", (4,), 1, 0)


def _ranges() -> Iterator[Case]:
    for name, start, limit, step, dtype in (
        ("int32", 0, 10, 1, "int32"), ("int64-back", 10, -5, -3, "int64"), ("float32", 0.5, 4, 0.25, "float32"),
        ("float64", -1, 1, 0.125, "float64"), ("nothing", 5, 5, 1, "int32"),
    ):  # fmt: skip
        yield Case(ops.RANGE, name, (), ops.RangeParams(start, limit, step, np.dtype(dtype)))


def _casts() -> Iterator[Case]:
    for source in sorted(NUMBERS | {_BOOL}, key=str):
        for target in sorted(NUMBERS | {_BOOL}, key=str):
            # Floats outside an integer's range are undefined in C, so are negative ones for an unsigned type.
            values: Any = any_bits if is_int(source) else normal
            if source.kind in "fc" and is_int(target):
                values = _small_positive if target.kind == "u" else scaled(30)
            yield _case(ops.CAST, f"{source}-to-{target}", (3, 7), ops.CastParams(target), source, values=values)
    for source in (F16, F32, F64):
        for target in sorted((t for t in NUMBERS if is_int(t)), key=str):
            yield _case(ops.CAST, f"out-of-range-{source}-to-{target}", (len(_EDGES),), ops.CastParams(target), source,
                        values=_edges, oracle=_as_x86)  # fmt: skip
    pixels = np.dtype(np.uint8)
    yield _case(ops.CAST, "pixels", (8, 299, 299, 3), ops.CastParams(F32), pixels, values=any_bits, measure=True)
    yield _case(ops.CAST, "string", (3,), ops.CastParams(STRING), STRING)
    for source, target in ((F32, F16), (F64, F32), (F64, F16), (F32, F64), (F32, np.dtype(np.int32))):
        for name, values in (("", scaled(30)), ("-nan", sparse_nan)) if is_float(target) else (("", scaled(30)),):
            params = ops.CastParams(target, truncate=True)
            yield _case(
                ops.CAST, f"truncate-{source}-to-{target}{name}", (3, 40), params, source, values=values, oracle=_cut
            )
    for target in (F16, F64, _BOOL):
        yield _case(ops.CAST, f"nan-to-{target}", (3, 9), ops.CastParams(target), values=sparse_nan)


#: Numbers around the limits of the integers.
_POWERS = [2.0**bits for bits in (0, 7, 8, 15, 16, 31, 32, 63, 64, 80)]
_LIMITS = [y for x in _POWERS for y in (x - 1, x - 0.5, x, x + 0.5, x * 1.5)]
_EDGES = [*_LIMITS, *(-x for x in _LIMITS), np.nan, np.inf, -np.inf, 0.0, -0.0, -0.9]


def _edges(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        return rng.permutation(np.array(_EDGES)).astype(dtype).reshape(shape)


def _as_x86(inputs: Any, params: Any) -> Any:
    """Number by number in Python's integers: through int32 or int64, of which the low bits are kept."""
    bits = 8 * params.dtype.itemsize
    wide, unsigned64 = params.dtype.name in ("int64", "uint32", "uint64"), params.dtype.name == "uint64"
    lowest = -(2**63) if wide else -(2**31)
    found = []
    for x in inputs[0].ravel().tolist():
        whole = int(x) if np.isfinite(x) else None
        if whole is None or not (lowest <= whole < -lowest or (unsigned64 and 0 <= whole < 2**64)):
            whole = lowest
        low = whole % 2**bits
        found.append(low - 2**bits if params.dtype.kind == "i" and low >= 2 ** (bits - 1) else low)
    return (np.array(found, params.dtype).reshape(inputs[0].shape),)


def _cut(inputs: Any, params: Any) -> Any:
    """Towards zero: what rounding made larger is taken back to the neighbour."""
    (x,) = inputs
    with np.errstate(all="ignore"):
        y = x.astype(params.dtype)
        if is_float(y.dtype) and y.itemsize < x.itemsize:
            y = np.where(np.abs(y.astype(x.dtype)) > np.abs(x), np.nextafter(y, np.zeros(1, y.dtype)), y)
    return (y,)


def _small_positive(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Any:
    return rng.uniform(0, 100, shape).astype(dtype)


CASES: tuple[Case, ...] = (*_moves(), *_million(), *_gathers(), *_packs(), *_ranges(), *_casts())
