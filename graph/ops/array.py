"""Ops that move, pick, join or describe elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import GraphError
from ..handles import Tensor
from .core import TensorLike, add_op, constant, convert, convert_all

__all__ = [
    "broadcast_to", "concat", "expand_dims", "fill", "gather", "getitem", "ones_like", "pad", "range", "rank", "reshape", "shape", "size", "slice", "split", "squeeze",
    "stack", "strided_slice", "tile", "transpose", "unstack", "zeros_like",
]  # fmt: skip


def _ints(value: TensorLike, name: str) -> Tensor:
    """A vector of integers: a tensor, or a constant int32."""
    return value if isinstance(value, Tensor) else constant(np.asarray(value, np.int32), name=name)


def shape(input: TensorLike, out_type: Any = "int32", name: str | None = None) -> Tensor:
    """The sizes of a tensor as a vector."""
    return add_op("Shape", [convert(input)], name, out_type=np.dtype(out_type))


def size(input: TensorLike, out_type: Any = "int32", name: str | None = None) -> Tensor:
    """The number of elements."""
    return add_op("Size", [convert(input)], name, out_type=np.dtype(out_type))


def rank(input: TensorLike, name: str | None = None) -> Tensor:
    """The number of axes."""
    return add_op("Rank", [convert(input)], name)


def reshape(tensor: TensorLike, shape: TensorLike, name: str | None = None) -> Tensor:
    """The same elements under another shape; one size may be -1."""
    return add_op("Reshape", [convert(tensor), _ints(shape, "shape")], name)


def squeeze(input: TensorLike, axis: int | Sequence[int] | None = None, name: str | None = None) -> Tensor:
    """Drops axes of size 1: the given ones, or all."""
    axes = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    return add_op("Squeeze", [convert(input)], name, squeeze_dims=axes)


def expand_dims(input: TensorLike, axis: int, name: str | None = None) -> Tensor:
    """Inserts an axis of size 1."""
    return add_op("ExpandDims", [convert(input), constant(axis, "int32", name="dim")], name)


def transpose(a: TensorLike, perm: Sequence[int] | None = None, name: str | None = None) -> Tensor:
    """Permutes the axes; without ``perm`` reverses them."""
    t = convert(a)
    if perm is None:
        if t.type.rank is None:
            raise GraphError(f"give perm: the rank of {t!r} is not known while the graph is built")
        perm = tuple(reversed(np.arange(t.type.rank).tolist()))
    return add_op("Transpose", [t, _ints(perm, "perm")], name or "transpose")


def concat(values: Sequence[TensorLike], axis: int, name: str | None = None) -> Tensor:
    """The tensors one after the other along an axis."""
    tensors = convert_all(values)
    if not tensors:
        raise GraphError("concat needs at least one tensor")
    return add_op("ConcatV2", [*tensors, constant(axis, "int32", name="axis")], name or "concat")


def stack(values: Sequence[TensorLike], axis: int = 0, name: str | None = None) -> Tensor:
    """Tensors of one shape along a new axis."""
    tensors = convert_all(values)
    if not tensors:
        raise GraphError("stack needs at least one tensor")
    return add_op("Pack", tensors, name or "stack", axis=axis)


def unstack(value: TensorLike, num: int | None = None, axis: int = 0, name: str | None = None) -> list[Tensor]:
    """The slices of a tensor along an axis, as a list."""
    t = convert(value)
    if num is None:
        num = None if t.shape is None else t.shape[axis]
        if num is None:
            raise GraphError(f"give num: axis {axis} of {t!r} is not known while the graph is built")
    return list(add_op("Unpack", [t], name or "unstack", num=num, axis=axis).op.outputs) if num else []


def split(
    value: TensorLike, num_or_size_splits: int | Sequence[int], axis: int = 0, name: str | None = None
) -> list[Tensor]:
    """Parts along an axis: a number of equal ones, or a list of sizes."""
    t = convert(value)
    where = constant(axis, "int32", name="split_dim")
    if isinstance(num_or_size_splits, int):
        if num_or_size_splits < 1:
            raise GraphError(f"split needs at least one part, got {num_or_size_splits}")
        return list(add_op("Split", [where, t], name or "split", num_split=num_or_size_splits).op.outputs)
    sizes = list(num_or_size_splits)
    return list(add_op("SplitV", [t, _ints(sizes, "sizes"), where], name or "split", num_split=len(sizes)).op.outputs)


def pad(
    tensor: TensorLike, paddings: TensorLike, mode: str = "CONSTANT", constant_values: Any = 0, name: str | None = None
) -> Tensor:
    """Adds a border. paddings: (before, after) for every axis; mode CONSTANT, REFLECT or SYMMETRIC."""
    t, pairs = convert(tensor), _ints(paddings, "paddings")
    if mode.upper() in ("REFLECT", "SYMMETRIC"):
        return add_op("MirrorPad", [t, pairs], name, mode=mode.upper())
    if mode.upper() != "CONSTANT":
        raise GraphError(f"pad: mode must be CONSTANT, REFLECT or SYMMETRIC, got {mode!r}")
    if isinstance(constant_values, (int, float)) and constant_values == 0:
        return add_op("Pad", [t, pairs], name)
    return add_op("PadV2", [t, pairs, convert(constant_values, t.dtype)], name or "Pad")


def slice(input_: TensorLike, begin: TensorLike, size: TensorLike, name: str | None = None) -> Tensor:
    """A box: ``size`` elements from ``begin`` on every axis (-1: all that remain)."""
    return add_op("Slice", [convert(input_), _ints(begin, "begin"), _ints(size, "size")], name)


def strided_slice(
    input_: TensorLike, begin: TensorLike, end: TensorLike, strides: TensorLike | None = None, name: str | None = None,
    **masks: int,
) -> Tensor:  # fmt: skip
    """Python's slicing with TensorFlow's bit masks (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)."""
    first = _ints(begin, "begin")
    steps = np.ones(first.type.dims, np.int32) if strides is None else strides
    return add_op("StridedSlice", [convert(input_), first, _ints(end, "end"), _ints(steps, "strides")], name, **masks)


def getitem(tensor: Tensor, key: Any) -> Tensor:
    """``tensor[key]`` for integers, slices, ``...`` and None (a new axis)."""
    keys = key if isinstance(key, tuple) else (key,)
    begin, end, steps = [], [], []
    masks = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)
    for i, k in enumerate(keys):
        first, last, step, bit = 0, 0, 1, 1 << i
        if k is Ellipsis:
            masks["ellipsis_mask"] |= bit
        elif k is None:
            masks["new_axis_mask"] |= bit
        elif isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            first, last = int(k), int(k) + 1
            masks["shrink_axis_mask"] |= bit
        elif isinstance(k, type(np.s_[:])):
            masks["begin_mask"] |= bit * (k.start is None)
            masks["end_mask"] |= bit * (k.stop is None)
            first, last, step = k.start or 0, k.stop or 0, 1 if k.step is None else k.step
        else:
            raise GraphError(f"{tensor!r} cannot be indexed by {k!r}; use integers, slices, ... or None, or ki.gather")
        begin.append(first)
        end.append(last)
        steps.append(step)
    return strided_slice(tensor, begin, end, steps, None, **masks)


def gather(params: TensorLike, indices: TensorLike, axis: int = 0, name: str | None = None) -> Tensor:
    """Slices along an axis, picked by an integer tensor; an index out of range is an error."""
    return add_op("GatherV2", [convert(params), convert(indices), constant(axis, "int32", name="axis")], name)


def tile(input: TensorLike, multiples: TensorLike, name: str | None = None) -> Tensor:
    """The tensor repeated along every axis."""
    return add_op("Tile", [convert(input), _ints(multiples, "multiples")], name)


def broadcast_to(input: TensorLike, shape: TensorLike, name: str | None = None) -> Tensor:
    """The tensor repeated along new axes and axes of size 1 until it has the given shape."""
    return add_op("BroadcastTo", [convert(input), _ints(shape, "shape")], name)


def zeros_like(tensor: TensorLike, name: str | None = None) -> Tensor:
    """Zeros of the shape and dtype of a tensor."""
    return _filled_like(convert(tensor), 0, name or "zeros_like")


def ones_like(tensor: TensorLike, name: str | None = None) -> Tensor:
    """Ones of the shape and dtype of a tensor."""
    return _filled_like(convert(tensor), 1, name or "ones_like")


def _filled_like(tensor: Tensor, value: int, name: str) -> Tensor:
    dims = constant(np.asarray(tensor.type.dims, np.int32), name="shape") if tensor.type.known else shape(tensor)
    return add_op("Fill", [dims, constant(np.asarray(value, tensor.dtype))], name)


def fill(dims: TensorLike, value: TensorLike, name: str | None = None) -> Tensor:
    """A tensor filled with one value."""
    return add_op("Fill", [_ints(dims, "dims"), convert(value)], name)


def range(start: TensorLike, limit: TensorLike | None = None, delta: TensorLike = 1, name: str | None = None) -> Tensor:
    """Numbers start, start + delta, ... below limit; ``range(n)`` counts from 0."""
    first, last = (0, start) if limit is None else (start, limit)
    return add_op("Range", convert_all([first, last, delta]), name or "range")
