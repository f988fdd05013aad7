"""Sparse tensors of TensorFlow Lite, dense: levels of all entries or of those that segments and indices name.

Levels are the axes in ``order``; axes from the rank on are blocks inside of the axes that ``blocks`` names (TACO's format,
as tensorflow/lite/kernels/internal/utils/sparsity_format_converter.cc reads it).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...formats.flatbuffers.tflite import Axis, Sparsity
from ...formats.limits import load_error

__all__ = ["densify"]


def densify(
    values: np.ndarray[Any, Any], shape: tuple[int, ...], sparsity: Sparsity, file: str
) -> np.ndarray[Any, Any]:
    """The dense array of ``shape``; LoadError if the levels do not describe one."""

    def fail(found: str, expected: str) -> Exception:
        return load_error(file, "a sparse tensor", found, expected)

    rank = len(shape)
    order, blocks, axes = sparsity.order, sparsity.blocks, sparsity.axes
    levels = rank + len(blocks)
    if sorted(order) != list(range(levels)) or len(axes) != levels or not all(0 <= b < rank for b in blocks):
        raise fail(f"order {order} of {len(axes)} levels with blocks {blocks}", f"{levels} levels, each once")
    # Where every stored element is: one row of coordinates for each level so far.
    places: list[np.ndarray[Any, Any]] = []
    parents = np.zeros(1, np.int64)
    for axis in axes:
        steps = _entries(axis, parents.size, max(values.size, prod(shape)))
        if steps is None:
            raise fail("a level whose segments and indices do not fit", f"{parents.size} segments that end in order")
        owner, entry = steps
        places = [p[owner] for p in places]
        places.append(entry)
        parents = np.zeros(owner.size, np.int64)
    if parents.size != values.size:
        raise fail(f"{values.size} values for {parents.size} places", "equal numbers")
    where = [np.zeros(values.size, np.int64)] * levels
    for level, axis_number in enumerate(order):
        where[axis_number] = places[level]
    sizes = [0] * levels
    for level, axis_number in enumerate(order):
        sizes[axis_number] = axes[level].size
    index = where[:rank]
    for i, block in enumerate(blocks):
        index[block] = index[block] * sizes[rank + i] + where[rank + i]
    if any(((i < 0) | (i >= d)).any() for i, d in zip(index, shape, strict=True)):
        raise fail("an index beyond the shape", f"indices inside of {shape}")
    dense = np.zeros(shape, values.dtype)
    dense[tuple(index)] = values
    return dense


def _entries(axis: Axis, parents: int, most: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """(which parent, which entry of this level) of all children; None if there are more than ``most``, or none fit."""
    if axis.segments is None or axis.indices is None:
        if axis.size < 0 or parents * axis.size > most:
            return None
        return np.repeat(np.arange(parents), axis.size), np.tile(np.arange(axis.size), parents)
    ends = axis.segments
    counts = np.diff(ends)
    if ends.size != parents + 1 or ends[0] != 0 or (counts < 0).any() or ends[-1] != axis.indices.size:
        return None
    if axis.indices.size > most:
        return None
    return np.repeat(np.arange(parents), counts), axis.indices
