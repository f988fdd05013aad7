"""Picking and placing by arrays of indices."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..contracts.indexing import (
    GATHER_ND,
    ONE_HOT,
    REVERSE_SEQUENCE,
    SCATTER_ND,
    SEGMENTS,
    TENSOR_SCATTER,
    GatherNdParams,
    OneHotParams,
    ReverseSequenceParams,
    ScatterNdParams,
    SegmentsParams,
    TensorScatterParams,
)
from ..errors import KernelError
from ..tensor import Array
from .support import fill, numpy_kernel, wider

__all__ = ["KERNELS"]


def _flat(op: str, indices: Array, shape: Sequence[int]) -> Array:
    """Rows of indices (..., depth) into the first axes of ``shape`` as numbers in row-major order, (rows,)."""
    depth = indices.shape[-1]
    sizes = shape[:depth]
    rows = indices.reshape(prod(indices.shape[:-1]), depth)
    flat = np.zeros(rows.shape[0], np.int64)
    for axis, size in enumerate(sizes):
        column = rows[:, axis].astype(np.int64)  # beyond 2 ** 63 becomes negative
        # One comparison for both ends: a negative number is a huge one without a sign.
        if column.size and column.view(np.uint64).max() >= size:
            raise _out_of_range(op, rows, shape)
        if axis:
            flat *= size
            flat += column
        else:
            flat = column
    return flat


def _out_of_range(op: str, rows: Array, shape: Sequence[int]) -> KernelError:
    """Names the first row of indices that is out of range."""
    whole = rows.astype(np.int64)
    wrong = np.nonzero(((whole < 0) | (whole >= np.array(shape[: rows.shape[1]], np.int64))).any(axis=1))[0]
    found = f"row {wrong[0]} of the indices, {rows[wrong[0]].tolist()}"
    return KernelError(f"{op}: {found}, is out of range for shape {tuple(shape)}")


def _gather_nd(inputs: Sequence[Array], outputs: Sequence[Array], params: GatherNdParams) -> None:
    (x, indices), (y,) = inputs, outputs
    batch, depth = params.batch_dims, indices.shape[-1]
    if not y.size:
        if prod(indices.shape[:-1]):
            _flat("gather_nd", indices.reshape(-1, depth), x.shape[batch:])
        return
    flat = _flat("gather_nd", indices, x.shape[batch:])
    items, taken, rest = prod(x.shape[:batch]), prod(x.shape[batch : batch + depth]), prod(x.shape[batch + depth :])
    if batch:
        flat = (flat.reshape(items, -1) + np.arange(items)[:, None] * taken).reshape(-1)
    source = x.reshape(items * taken, rest)
    if y.flags.c_contiguous:
        np.take(source, flat, axis=0, out=y.reshape(flat.size, rest), mode="clip")  # all are in range; 'raise' buffers
    else:
        y[...] = np.take(source, flat, axis=0).reshape(y.shape)


def _place(op: str, y: Array, indices: Array, updates: Array, mode: str) -> None:
    """Applies updates to ``y``, which may be strided, in place."""
    depth = indices.shape[-1]
    flat = _flat(op, indices, y.shape)
    if not updates.size:
        return
    target = y if y.flags.c_contiguous else np.ascontiguousarray(y)
    rows = target.reshape(prod(y.shape[:depth]), prod(y.shape[depth:]))
    given = updates.reshape(flat.size, rows.shape[1])
    if mode == "update":
        rows[flat] = given
    else:
        _accumulate(mode, rows, flat, given)
    if target is not y:
        y[...] = target


_UFUNCS: dict[str, Any] = {
    "add": np.add, "sum": np.add, "sub": np.subtract, "mul": np.multiply, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _accumulate(mode: str, total: Array, places: Array, rows: Array) -> None:
    """Each row into the row of ``total`` at its place; in one type, as ufunc.at takes five times as long where it casts."""
    _UFUNCS[mode].at(total, places, rows.astype(total.dtype, copy=False))


def _scatter_nd(inputs: Sequence[Array], outputs: Sequence[Array], params: ScatterNdParams) -> None:
    (indices, updates), (y,) = inputs, outputs
    total = np.zeros(y.shape, wider(y.dtype))
    _place("scatter_nd", total, indices, updates, "add")
    y[...] = total


def _tensor_scatter(inputs: Sequence[Array], outputs: Sequence[Array], params: TensorScatterParams) -> None:
    (x, indices, updates), (y,) = inputs, outputs
    if params.mode in ("add", "sub") and wider(x.dtype) != x.dtype:
        total = x.astype(wider(x.dtype))
        _place("tensor_scatter", total, indices, updates, params.mode)
        y[...] = total
        return
    y[...] = x
    _place("tensor_scatter", y, indices, updates, params.mode)


def _one_hot(inputs: Sequence[Array], outputs: Sequence[Array], params: OneHotParams) -> None:
    (indices, on, off), (y,) = inputs, outputs
    fill(y, off)
    if not y.size:
        return
    target = y if y.flags.c_contiguous else np.ascontiguousarray(y)
    inner = prod(indices.shape[params.axis % y.ndim :])
    # One comparison for both ends: a negative number is a huge one without a sign.
    at = indices.reshape(-1).astype(np.int64)  # beyond 2 ** 63 becomes negative
    inside = at.view(np.uint64)
    # Where the first of an index's depth elements is, in the order of memory.
    if inner == 1:
        first = np.arange(0, y.size, params.depth)
    else:
        first = np.arange(at.size)
        first = first // inner * (inner * params.depth) + first % inner
    if np.maximum.reduce(inside) >= params.depth:
        at, first = at[inside < params.depth], first[inside < params.depth]
    at *= inner
    at += first
    target.reshape(-1)[at] = on
    if target is not y:
        y[...] = target


def _segments(inputs: Sequence[Array], outputs: Sequence[Array], params: SegmentsParams) -> None:
    (x, ids), (y,) = inputs, outputs
    flat = ids.reshape(-1).astype(np.int64)
    if flat.size and flat.max() >= params.count:
        raise KernelError(f"segments: segment {flat.max()} is out of range; expected at most {params.count - 1}")
    rows = x.reshape(flat.size, prod(x.shape[ids.ndim :]))
    if flat.size and flat.min() < 0:
        rows, flat = rows[flat >= 0], flat[flat >= 0]
    kind = wider(y.dtype) if params.mode in ("sum", "prod") else y.dtype
    start: Any = {"sum": 0, "prod": 1}.get(params.mode)
    if start is None:
        info: Any = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
        start = info.min if params.mode == "max" else info.max
    total = np.full((params.count, rows.shape[1]), start, kind)
    if rows.size:
        _accumulate(params.mode, total, flat, rows)
    y[...] = total.reshape(y.shape)


#: Elements of an item from which on items are reversed one by one: for fewer, Python's loop takes longer than indices.
_LONG = 1024


def _reverse_sequence(inputs: Sequence[Array], outputs: Sequence[Array], params: ReverseSequenceParams) -> None:
    (x, lengths), (y,) = inputs, outputs
    sequence, batch = params.sequence % x.ndim, params.batch % x.ndim
    size = x.shape[sequence]
    wrong = lengths[(lengths < 0) | (lengths > size)]
    if wrong.size:
        raise KernelError(f"reverse_sequence: length {wrong[0]} is out of range; expected 0 to {size}")
    ends = lengths.astype(np.int64)[:, None]
    at = np.arange(size)[None, :]
    if x.size >= _LONG * len(lengths):
        target, source = (np.moveaxis(a, (batch, sequence), (0, 1)) for a in (y, x))
        for row, given, end in zip(target, source, lengths.tolist(), strict=True):
            row[:end], row[end:] = given[:end][::-1], given[end:]
        return
    order = np.where(at < ends, ends - 1 - at, at)
    if sequence < batch:
        order = order.T
    shape = [1] * x.ndim
    shape[sequence], shape[batch] = size, x.shape[batch]
    y[...] = np.take_along_axis(x, order.reshape(shape), axis=sequence)


KERNELS = (
    numpy_kernel(GATHER_ND, "host", _gather_nd),
    numpy_kernel(SCATTER_ND, "host", _scatter_nd),
    numpy_kernel(TENSOR_SCATTER, "host", _tensor_scatter),
    numpy_kernel(ONE_HOT, "host", _one_hot),
    numpy_kernel(SEGMENTS, "host", _segments),
    numpy_kernel(REVERSE_SEQUENCE, "host", _reverse_sequence),
)
