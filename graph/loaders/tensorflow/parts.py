"""A tensor that a checkpoint has in several parts, along one axis: how TensorFlow partitions a variable."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.limits import Budget
from ...formats.tensor_bundle import TensorSlice
from ..weights import TensorInfo

__all__ = ["extents", "joined"]

_DAMAGED = "The file is truncated or damaged: fetch it again."


def extents(part: TensorSlice, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...] | None:
    """Start and length along each axis; None if it is no part of the shape."""
    if len(part.extent) != len(shape):
        return None
    found = tuple(
        (e.start, size) if e.length is None else (e.start, e.length) for e, size in zip(part.extent, shape, strict=True)
    )
    inside = all(s >= 0 and n >= 0 and s + n <= size for (s, n), size in zip(found, shape, strict=True))
    return found if inside else None


def joined(
    parts: Sequence[tuple[TensorSlice, TensorInfo]], shape: tuple[int, ...], budget: Budget, place: str
) -> TensorInfo:
    """The whole of parts, which must follow each other without a gap. Raises LoadError."""
    placed: list[tuple[int, TensorInfo]] = []
    axis: int | None = None
    for part, tensor in parts:
        found = extents(part, shape)
        cut = [i for i, (e, size) in enumerate(zip(found or (), shape, strict=False)) if e != (0, size)]
        axis = cut[0] if cut and axis is None else axis
        if found is None or any(i != axis for i in cut):
            raise budget.error(place, "parts along several axes, or outside of it", f"parts of {shape}")
        if tensor.shape != tuple(length for _, length in found):
            raise budget.error(place, f"shape {tensor.shape} of a part", f"that of {found}", _DAMAGED)
        placed.append((found[axis][0] if axis is not None else 0, tensor))
    if axis is None:
        if len(placed) == 1:
            return placed[0][1]
        raise budget.error(place, f"the whole {len(placed)} times", "parts of it", _DAMAGED)
    placed.sort(key=lambda p: p[0])
    at = 0
    for start, tensor in placed:
        if start != at:
            raise budget.error(place, f"a part from {start} on", f"one from {at} on", _DAMAGED)
        at += tensor.shape[axis]
    if at != shape[axis]:
        raise budget.error(place, f"parts up to {at}", f"up to {shape[axis]}", _DAMAGED)
    return _whole([tensor for _, tensor in placed], axis, shape, budget, place)


def _whole(pieces: Sequence[TensorInfo], axis: int, shape: tuple[int, ...], budget: Budget, place: str) -> TensorInfo:
    first = pieces[0]
    budget.bytes(prod(shape) * first.dtype.itemsize, place)

    def load() -> np.ndarray[Any, Any]:
        result = np.empty(shape, first.dtype)
        at = 0
        for piece in pieces:
            stop = at + piece.shape[axis]
            result[(slice(None),) * axis + (slice(at, stop),)] = piece.load()
            at = stop
        return result

    return TensorInfo(first.dtype, shape, first.stored, load, ("joined", axis, tuple(p.key for p in pieces)))
