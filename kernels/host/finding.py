"""Ops that find: where, unique, sums of sorted segments, bytes as numbers, values by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts.base import Contract
from ..contracts.finding import (
    DECODE_RAW,
    LOOKUP,
    NONZERO,
    SORTED_SEGMENTS,
    UNIQUE,
    DecodeRawParams,
    SortedSegmentsParams,
    UniqueParams,
)
from ..errors import KernelError
from ..kernel import Kernel
from ..room import require
from ..tensor import Array, Params
from .support import numpy_kernel, wider

__all__ = ["KERNELS"]


def _nonzero(inputs: Sequence[Array], params: Params) -> tuple[Array, ...]:
    return (np.argwhere(inputs[0]).astype(np.int64, copy=False),)


def _unique_of_few(x: Array, params: UniqueParams) -> tuple[Array, ...] | None:
    """Whole numbers of a range no wider than there are elements: by a table of that range instead of by sorting."""
    x = x.reshape(-1)
    low, high = int(x.min()), int(x.max())
    if high - low >= max(x.size, 1024):
        return None
    places = (x.astype(np.int64) - low) if x.dtype != np.uint64 else (x - np.uint64(low)).astype(np.int64)
    table = np.full(high - low + 1, x.size, np.int64)
    # From the last to the first: of equal numbers the first place stays.
    table[places[::-1]] = np.arange(x.size - 1, -1, -1)
    there = np.flatnonzero(table < x.size)
    first = table[there]
    if not params.sorted:
        order = np.argsort(first, kind="stable")
        there, first = there[order], first[order]
    made: dict[str, Callable[[], Array]] = {
        "first": lambda: first, "inverse": lambda: _numbered(there, table)[places],
        "counts": lambda: np.bincount(places, minlength=table.size)[there],
    }  # fmt: skip
    return (x[first], *(made[name]().astype(params.index) for name in params.outputs))


def _numbered(there: Array, table: Array) -> Array:
    numbers = np.empty_like(table)
    numbers[there] = np.arange(there.size)
    return numbers


def _unique(inputs: Sequence[Array], params: UniqueParams) -> tuple[Array, ...]:
    x = inputs[0]
    if x.size == 0 and params.axis is not None and x.shape[params.axis]:
        # NumPy has no rule for slices without elements: all are equal.
        count = x.shape[params.axis]
        found = np.take(x, [0], axis=params.axis)
        first, inverse, counts = np.zeros(1, np.int64), np.zeros(count, np.int64), np.full(1, count)
    else:
        if params.axis is None and x.dtype.kind in "iub" and x.size:
            quick = _unique_of_few(x, params)
            if quick is not None:
                return quick
        found, first, inverse, counts = np.unique(
            x, return_index=True, return_inverse=True, return_counts=True, axis=params.axis, equal_nan=False
        )
        if not params.sorted:
            order = np.argsort(first, kind="stable")
            found = np.take(found, order, axis=params.axis or 0)
            first, counts = first[order], counts[order]
            place = np.empty_like(order)
            place[order] = np.arange(order.size)
            inverse = place[inverse.reshape(-1)]
    made = {"first": first, "inverse": inverse.reshape(-1), "counts": counts}
    return (found, *(made[name].astype(params.index) for name in params.outputs))


_UFUNCS: dict[str, Any] = {
    "sum": np.add, "mean": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _sorted_segments(inputs: Sequence[Array], params: SortedSegmentsParams) -> tuple[Array, ...]:
    x, ids = inputs
    ids = ids.astype(np.int64)
    if ids.size and (ids[0] < 0 or (np.diff(ids) < 0).any()):
        raise KernelError("sorted_segments: the segments must ascend from 0 or more")
    count = int(ids[-1]) + 1 if ids.size else 0
    size = x[:1].nbytes or x.itemsize
    if count * size >= 1 << 63:
        raise KernelError(f"sorted_segments: segment {count - 1:,} makes a result that no array can be")
    require(count * size, "sorted_segments needs")
    rest = x.shape[1:]
    y = np.full((count, *rest), 1 if params.mode == "prod" else 0, x.dtype)
    if not x.size:
        return (y,)
    starts = np.flatnonzero(np.r_[True, np.diff(ids) > 0])
    kind = wider(x.dtype)
    with np.errstate(all="ignore"):
        made = _UFUNCS[params.mode].reduceat(x.astype(kind, copy=False), starts, axis=0)
        if params.mode == "mean":
            lengths = np.diff(np.r_[starts, ids.size]).reshape(-1, *[1] * len(rest))
            made = made / lengths if kind.kind in "fc" else np.trunc(made / lengths)
    y[ids[starts]] = made.astype(x.dtype)
    return (y,)


def _decode_raw(inputs: Sequence[Array], params: DecodeRawParams) -> tuple[Array, ...]:
    x = np.asarray(inputs[0], object)
    texts = [bytes(v) for v in x.reshape(-1)]
    length = len(texts[0]) if texts else 0
    if any(len(t) != length for t in texts) or length % params.dtype.itemsize:
        raise KernelError(
            f"decode_raw: strings must have one length, a multiple of {params.dtype.itemsize} bytes, got lengths "
            f"{sorted({len(t) for t in texts})[:8]}"
        )
    data = np.frombuffer(b"".join(texts), np.uint8).reshape(*x.shape, length)
    if params.dtype.kind == "b":
        return (data != 0,)
    dtype = params.dtype.newbyteorder("<" if params.little else ">")
    return (data.view(dtype).astype(params.dtype) if length else np.zeros((*x.shape, 0), params.dtype),)


def _lookup(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    keys, values, query, default = inputs
    (y,) = outputs
    y[...] = default
    places = {key: i for i, key in enumerate(keys.tolist())}
    found = np.fromiter((places.get(key, -1) for key in query.reshape(-1).tolist()), np.int64, query.size)
    there = found >= 0
    y.reshape(query.size, *values.shape[1:])[there] = values[found[there]]


def _kernel(contract: Contract[Any], evaluate: Callable[..., tuple[Array, ...]]) -> Kernel:
    return Kernel(contract, "host", contract.name, evaluate=evaluate, strided_inputs=True)


KERNELS = (
    _kernel(NONZERO, _nonzero),
    _kernel(UNIQUE, _unique),
    _kernel(SORTED_SEGMENTS, _sorted_segments),
    _kernel(DECODE_RAW, _decode_raw),
    numpy_kernel(LOOKUP, "host", _lookup),
)
