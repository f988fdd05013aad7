"""Ops that move, pick, join or describe elements."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.contracts.base import normalize_axis
from ...kernels.tensor import is_int
from ..builder import Tensor
from ..errors import GraphError
from ..values import as_dtype
from .building import TensorLike, add_op, convert, convert_all, integers, whole_numbers

__all__ = [
    "broadcast_to", "concat", "expand_dims", "fill", "gather", "ones_like", "pad", "range", "rank", "reshape", "shape", "size", "slice", "split", "squeeze",
    "stack", "strided_slice", "tile", "transpose", "unstack", "zeros_like",
]  # fmt: skip


def shape(input: TensorLike, out_type: Any = "int32", name: str | None = None) -> Tensor:
    """The sizes of a tensor as a vector."""
    return add_op("Shape", [convert(input)], name, out_type=as_dtype(out_type))


def size(input: TensorLike, out_type: Any = "int32", name: str | None = None) -> Tensor:
    """The number of elements."""
    return add_op("Size", [convert(input)], name, out_type=as_dtype(out_type))


def rank(input: TensorLike, name: str | None = None) -> Tensor:
    """The number of axes."""
    return add_op("Rank", [convert(input)], name)


def reshape(tensor: TensorLike, shape: TensorLike, name: str | None = None) -> Tensor:
    """The same elements under another shape; one size may be -1."""
    t = convert(tensor)
    return add_op("Reshape", [t, integers(shape, "shape", t)], name)


def squeeze(input: TensorLike, axis: int | Sequence[int] | None = None, name: str | None = None) -> Tensor:
    """Drops axes of size 1: the given ones, or all."""
    axes = () if axis is None else whole_numbers("squeeze: axis", axis)
    return add_op("Squeeze", [convert(input)], name, squeeze_dims=axes)


def expand_dims(input: TensorLike, axis: int, name: str | None = None) -> Tensor:
    """Inserts an axis of size 1."""
    t = convert(input)
    return add_op("ExpandDims", [t, integers(axis, "dim", t)], name)


def transpose(a: TensorLike, perm: Sequence[int] | None = None, name: str | None = None) -> Tensor:
    """Permutes the axes; without ``perm`` reverses them."""
    t = convert(a)
    if perm is None:
        if t.type.rank is None:
            raise GraphError(f"give perm: the rank of {t!r} is not known while the graph is built")
        perm = tuple(reversed(np.arange(t.type.rank).tolist()))
    return add_op("Transpose", [t, integers(perm, "perm", t)], name or "transpose")


def concat(values: Sequence[TensorLike], axis: int, name: str | None = None) -> Tensor:
    """The tensors one after the other along an axis."""
    tensors = convert_all(values)
    if not tensors:
        raise GraphError("concat needs at least one tensor")
    return add_op("ConcatV2", [*tensors, integers(axis, "axis", tensors[0])], name or "concat")


def stack(values: Sequence[TensorLike], axis: int = 0, name: str | None = None) -> Tensor:
    """Tensors of one shape along a new axis."""
    tensors = convert_all(values)
    if not tensors:
        raise GraphError("stack needs at least one tensor")
    return add_op("Pack", tensors, name or "stack", axis=axis)


def unstack(value: TensorLike, num: int | None = None, axis: int = 0, name: str | None = None) -> list[Tensor]:
    """The slices of a tensor along an axis, as a list."""
    t = convert(value)
    (axis,) = whole_numbers("unstack: axis", axis, 1)
    if num is not None:
        (num,) = whole_numbers("unstack: num", num, 1)
    if num is None:
        num = None if t.shape is None else t.shape[normalize_axis("unstack", axis, len(t.shape))]
        if num is None:
            raise GraphError(f"give num: axis {axis} of {t!r} is not known while the graph is built")
    return list(add_op("Unpack", [t], name or "unstack", num=num, axis=axis).op.outputs) if num else []


def split(
    value: TensorLike, num_or_size_splits: int | Sequence[int], axis: int = 0, name: str | None = None
) -> list[Tensor]:
    """Parts along an axis: a number of equal ones, or a list of sizes."""
    t = convert(value)
    where = integers(axis, "split_dim", t)
    sizes = whole_numbers("split: num_or_size_splits", num_or_size_splits)
    if np.ndim(num_or_size_splits) == 0:
        (count,) = sizes
        if count < 1:
            raise GraphError(f"split needs at least one part, got {count}")
        return list(add_op("Split", [where, t], name or "split", num_split=count).op.outputs)
    if not sizes:
        raise GraphError("split needs at least one part, got an empty list of sizes")
    return list(
        add_op("SplitV", [t, integers(sizes, "sizes", t), where], name or "split", num_split=len(sizes)).op.outputs
    )


def pad(
    tensor: TensorLike, paddings: TensorLike, mode: str = "CONSTANT", constant_values: Any = 0, name: str | None = None
) -> Tensor:
    """Pads every axis. paddings: (before, after) for every axis; mode CONSTANT, REFLECT or SYMMETRIC."""
    t = convert(tensor)
    pairs = integers(paddings, "paddings", t)
    if not isinstance(mode, str):
        raise GraphError(f"pad: mode must be CONSTANT, REFLECT or SYMMETRIC, got {mode!r}")
    if mode.upper() in ("REFLECT", "SYMMETRIC"):
        return add_op("MirrorPad", [t, pairs], name, mode=mode.upper())
    if mode.upper() != "CONSTANT":
        raise GraphError(f"pad: mode must be CONSTANT, REFLECT or SYMMETRIC, got {mode!r}")
    if isinstance(constant_values, (int, float)) and constant_values == 0:
        return add_op("Pad", [t, pairs], name)
    return add_op("PadV2", [t, pairs, convert(constant_values, t.dtype, beside=t)], name or "Pad")


def slice(input_: TensorLike, begin: TensorLike, size: TensorLike, name: str | None = None) -> Tensor:
    """A box: ``size`` elements from ``begin`` on every axis (-1: all that remain)."""
    t = convert(input_)
    return add_op("Slice", [t, integers(begin, "begin", t), integers(size, "size", t)], name)


def strided_slice(
    input_: TensorLike, begin: TensorLike, end: TensorLike, strides: TensorLike | None = None, name: str | None = None,
    **masks: int,
) -> Tensor:  # fmt: skip
    """Python's slicing with TensorFlow's bit masks (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)."""
    t = convert(input_)
    first, last = integers(begin, "begin", t), integers(end, "end", t)
    if strides is None and not first.type.known:
        raise GraphError(f"give strides: how many bounds {first!r} has is not known while the graph is built")
    steps = integers(np.ones(first.type.dims, np.int32) if strides is None else strides, "strides", t)
    return add_op("StridedSlice", [t, first, last, steps], name, **masks)


def getitem(tensor: Tensor, key: Any) -> Tensor:
    """``tensor[key]`` for integers, slices, ``...`` and None (a new axis); integers may be scalar tensors."""
    keys = key if isinstance(key, tuple) else (key,)
    begin: list[Any] = []
    end: list[Any] = []
    steps: list[Any] = []
    masks = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)
    for i, k in enumerate(keys):
        first: Any = 0
        last: Any = 0
        step: Any = 1
        bit = 1 << i
        if k is Ellipsis:
            masks["ellipsis_mask"] |= bit
        elif k is None:
            masks["new_axis_mask"] |= bit
        elif isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            first, last = int(k), int(k) + 1
            masks["shrink_axis_mask"] |= bit
        elif isinstance(k, Tensor) and k.shape == () and is_int(k.dtype):
            first, last = k, k + 1
            masks["shrink_axis_mask"] |= bit
        elif isinstance(k, type(np.s_[:])):
            masks["begin_mask"] |= bit * (k.start is None)
            masks["end_mask"] |= bit * (k.stop is None)
            first, last, step = (d if v is None else v for v, d in ((k.start, 0), (k.stop, 0), (k.step, 1)))
        else:
            raise GraphError(
                f"{tensor!r} cannot be indexed by {reprlib.repr(k)}; use integers, slices, ... or None, or ki.gather"
            )
        begin.append(first)
        end.append(last)
        steps.append(step)
    return strided_slice(tensor, begin, end, steps, None, **masks)


def gather(params: TensorLike, indices: TensorLike, axis: int = 0, name: str | None = None) -> Tensor:
    """Slices along an axis, picked by an integer tensor; an index out of range is an error."""
    t = next((v for v in (params, indices) if isinstance(v, Tensor)), None)
    picked = [convert(params, beside=t), convert(indices, beside=t)]
    return add_op("GatherV2", [*picked, integers(axis, "axis", t)], name)


def tile(input: TensorLike, multiples: TensorLike, name: str | None = None) -> Tensor:
    """The tensor repeated along every axis."""
    t = convert(input)
    return add_op("Tile", [t, integers(multiples, "multiples", t)], name)


def broadcast_to(input: TensorLike, shape: TensorLike, name: str | None = None) -> Tensor:
    """The tensor repeated along new axes and axes of size 1 until it has the given shape."""
    t = convert(input)
    return add_op("BroadcastTo", [t, integers(shape, "shape", t)], name)


def zeros_like(tensor: TensorLike, name: str | None = None) -> Tensor:
    """Zeros of the shape and dtype of a tensor."""
    return _filled_like(convert(tensor), 0, name or "zeros_like")


def ones_like(tensor: TensorLike, name: str | None = None) -> Tensor:
    """Ones of the shape and dtype of a tensor."""
    return _filled_like(convert(tensor), 1, name or "ones_like")


def _filled_like(tensor: Tensor, value: int, name: str) -> Tensor:
    dims = integers(tensor.type.dims, "shape", tensor) if tensor.type.known else shape(tensor)
    return add_op("Fill", [dims, convert(np.asarray(value, tensor.dtype), beside=tensor)], name)


def fill(dims: TensorLike, value: TensorLike, name: str | None = None) -> Tensor:
    """A tensor filled with one value."""
    sizes = integers(dims, "dims", value if isinstance(value, Tensor) else None)
    return add_op("Fill", [sizes, convert(value, beside=sizes)], name)


def range(start: TensorLike, limit: TensorLike | None = None, delta: TensorLike = 1, name: str | None = None) -> Tensor:
    """Numbers start, start + delta, ... below limit; ``range(n)`` counts from 0."""
    first, last = (0, start) if limit is None else (start, limit)
    return add_op("Range", convert_all([first, last, delta]), name or "range")
