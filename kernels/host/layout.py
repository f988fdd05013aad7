"""Ops that move or reinterpret elements. Any dtype, strings too."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..backends import compiled
from ..bfloat16 import narrowed
from ..contracts import layout as ops
from ..errors import KernelError
from ..tensor import BFLOAT16, STRING, Array, DType, Params, TensorType, is_float, is_int
from .support import in_float32, numpy_kernel

__all__ = ["KERNELS"]


def _identity(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    outputs[0][...] = inputs[0]


def _reshape(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.ReshapeParams) -> None:
    outputs[0][...] = inputs[0].reshape(outputs[0].shape)


def _transpose(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.TransposeParams) -> None:
    (x,), (y,) = inputs, outputs
    axes = params.axes(x.ndim)
    move = compiled("channels_last") if axes == (0, 2, 3, 1) and _is_image(x) and y.flags.c_contiguous else None
    if move is not None:
        move(x, y, TensorType(x.dtype, x.shape), TensorType(y.dtype, y.shape))
    else:
        y[...] = x.transpose(axes)


def _is_image(x: Array) -> bool:
    """Whether C moves channels faster, one of the images of 3 x 299 x 299 in 0.04 instead of 0.24 ms; more channels it does not."""
    return (
        x.dtype == np.float32 and x.shape[1] in (3, 4) and x.size >= _BLOCK and x.flags.c_contiguous and x.flags.aligned
    )


def _scalar(value: complex, dtype: DType) -> Any:
    """The parameter ``value`` as an element of ``dtype``; the empty string for strings."""
    if dtype == STRING:
        return b""
    if dtype == BFLOAT16:
        return narrowed(np.asarray(value.real, np.float32))[()]
    return np.asarray(value if dtype.kind == "c" else value.real).astype(dtype)


def _pad(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.PadParams) -> None:
    (x,), (y,) = inputs, outputs
    if params.mode != "constant" and x.ndim:
        _pad_mirrored(x, y, params)
        return
    _fill_around(x, y, params)
    y[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, params.paddings, strict=True))] = x


def _fill_around(x: Array, y: Array, params: ops.PadParams) -> None:
    """The value into what x does not cover: along each axis before and after it, for the part that axes before leave."""
    value, inside = _scalar(params.value, y.dtype), list[slice]()
    for n, (before, after) in zip(x.shape, params.paddings, strict=True):
        if before:
            y[(*inside, slice(before))] = value
        if after:
            y[(*inside, slice(before + n, None))] = value
        inside.append(slice(before, before + n))


def _pad_mirrored(x: Array, y: Array, params: ops.PadParams) -> None:
    """The middle, then the edges axis by axis, each a mirror of what is there; np.pad where an edge is longer than x."""
    skip = 1 if params.mode == "reflect" else 0
    if any(max(pair) > n - skip for n, pair in zip(x.shape, params.paddings, strict=True)):
        y[...] = np.pad(x, params.paddings, mode=params.mode)  # type: ignore[call-overload]
        return
    y[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, params.paddings, strict=True))] = x
    # What is outside along later axes is filled when these have their turn.
    inside = [slice(before, before + n) for n, (before, _) in zip(x.shape, params.paddings, strict=True)]
    for axis, (n, (before, after)) in enumerate(zip(x.shape, params.paddings, strict=True)):
        lines = np.moveaxis(y[(*[slice(None)] * axis, slice(None), *inside[axis + 1 :])], axis, 0)
        if before:
            lines[:before] = lines[before + skip : 2 * before + skip][::-1]
        if after:
            end = before + n
            lines[end:] = lines[end - skip - after : end - skip][::-1]


def _slice(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.SliceParams) -> None:
    (x,), (y,) = inputs, outputs
    box = []
    for begin, n, step in zip(params.begin, y.shape, params.steps or (1,) * y.ndim, strict=True):
        stop = begin + n * step
        # Counting down to the first element ends at index -1, which Python spells None.
        box.append(slice(begin, None if stop < 0 else stop, step) if n else slice(0))
    y[...] = x[tuple(box)]


def _split(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.SplitParams) -> None:
    (x,) = inputs
    first = 0
    for y, n in zip(outputs, params.sizes, strict=True):
        np.moveaxis(y, params.axis, 0)[...] = np.moveaxis(x, params.axis, 0)[first : first + n]
        first += n


def _gather(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.GatherParams) -> None:
    x, indices = inputs
    batch = params.batch(indices.ndim)
    size = x.shape[params.axis]
    wrong = indices[(indices < 0) | (indices >= size)]
    if wrong.size:
        raise KernelError(
            f"gather: index {wrong.flat[0]} is out of range for axis {params.axis} of shape {x.shape}; "
            f"expected 0 to {size - 1}"
        )
    if batch:
        outputs[0][...] = _take_by_item(x, indices.astype(np.intp), batch, params.axis % x.ndim).reshape(
            outputs[0].shape
        )
    else:
        (y,) = outputs
        if y.flags.c_contiguous and y.dtype == x.dtype and y.size:
            np.take(
                x, indices.astype(np.intp), axis=params.axis, out=y, mode="clip"
            )  # all are in range; 'raise' buffers
        else:
            y[...] = np.take(x, indices.astype(np.intp), axis=params.axis)


def _take_by_item(x: Array, indices: Array, batch: int, axis: int) -> Array:
    """(items, before the axis, picks, after it): every item has its own indices."""
    items = prod(x.shape[:batch])
    parts = x.reshape(items, prod(x.shape[batch:axis]), x.shape[axis], prod(x.shape[axis + 1 :]))
    picks = indices.reshape(items, 1, prod(indices.shape[batch:]))
    result: Array = parts[np.arange(items)[:, None, None], np.arange(parts.shape[1])[:, None], picks]
    return result


def _tile(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.TileParams) -> None:
    (x,), (y,) = inputs, outputs
    # Every axis of y as (copies, size); the copies are a broadcast axis of x.
    sizes = [n for pair in zip(params.multiples, x.shape, strict=True) for n in pair]
    if y.size and y.flags.c_contiguous:
        y.reshape(sizes)[...] = x.reshape([n for size in x.shape for n in (1, size)])
    else:
        y[...] = np.tile(x, params.multiples)


def _broadcast_to(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.BroadcastParams) -> None:
    outputs[0][...] = inputs[0]


def _pack(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.PackParams) -> None:
    np.stack(inputs, axis=params.axis, out=outputs[0])


def _fill(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.FillParams) -> None:
    outputs[0][...] = inputs[0]


def _range(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.RangeParams) -> None:
    (y,) = outputs
    y[...] = (params.start + params.step * np.arange(y.size)).astype(y.dtype)


#: Bits of a float's mantissa.
_MANTISSA = {np.dtype(np.float16): 10, np.dtype(np.float32): 23, np.dtype(np.float64): 52}


def _truncated(x: Array, dtype: DType) -> Array:
    """x with the bits of the mantissa cleared that do not fit into ``dtype``; NaN stays."""
    if x.dtype.kind == "c" and dtype.kind == "c":
        real = np.empty(0, dtype).real.dtype
        return _truncated(x.real, real) + 1j * _truncated(x.imag, real)
    bits = _MANTISSA.get(x.dtype, 0) - _MANTISSA.get(dtype, 99)
    if bits <= 0:
        return x
    words = np.ascontiguousarray(x).view(f"u{x.itemsize}")
    cleared: Array = (words & ~words.dtype.type((1 << bits) - 1)).view(x.dtype)
    return np.where(np.isnan(x), x, cleared)


def _to_integers(x: Array, y: Array) -> None:
    """Floats to integers where some are out of range, which NumPy leaves to the instruction that it happens to use."""
    x = x.astype(np.float64)  # exact
    if y.dtype.kind == "i" or y.itemsize < 8:
        end = 2.0**63 if y.itemsize == 8 or y.dtype == np.uint32 else 2.0**31
        inside = (x >= -end) & (x < end) if end > 2.0**31 else (x > -end - 1) & (x < end)
        y[...] = np.where(inside, x, -end).astype(np.int64).astype(y.dtype)
        return
    low = np.where((x >= -(2.0**63)) & (x < 2.0**63), x, -(2.0**63)).astype(np.int64).astype(np.uint64)
    upper = (x >= 2.0**63) & (x < 2.0**64)
    high = np.where(upper, x - 2.0**63, 0).astype(np.int64).astype(np.uint64) + np.uint64(1 << 63)
    y[...] = np.where(upper, high, low)


#: Elements that are checked and converted together, so that they are in the cache for both.
_BLOCK = 1 << 15


#: What no integer type of 32 bits holds, or not all: the ends of the types, the numbers beside them, fractions, NaN.
_TRIED = [np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**63, -(2.0**63), 2.0**64, 2.0**32, 2.0**31, 2.0**31 - 128, -(2.0**31), -(2.0**31) - 256] + [
    sign * (2.0**bits + more) for sign in (1, -1) for bits in (7, 8, 15, 16, 20) for more in (-1, -0.5, 0, 0.5, 1)
]  # fmt: skip


@functools.cache
def _converts(source: DType, target: DType) -> bool:
    """Whether the loops of this NumPy convert what is out of range as ``_to_integers`` does: they do on x86, for up to 4 bytes."""
    if source not in (np.float32, np.float64) or target.itemsize > 4 or target == np.uint32:
        return False
    values, want = np.array(_TRIED, source), np.empty(len(_TRIED), target)
    _to_integers(values, want)
    for n in (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130):
        for shift in range(0, len(_TRIED), 3):
            at = (np.arange(n) + shift) % len(_TRIED)
            if not np.array_equal(values[at].astype(target), want[at]):
                return False
    return True


def _part_to_integers(x: Array, y: Array) -> None:
    bounds = np.iinfo(y.dtype)
    if x.min() > bounds.min - 1.0 and x.max() < bounds.max + 1.0:  # False for NaN, too
        np.copyto(y, x, casting="unsafe")
    else:
        _to_integers(x, y)


def _cast(inputs: Sequence[Array], outputs: Sequence[Array], params: ops.CastParams) -> None:
    (x,), (y,) = inputs, outputs
    if x.dtype.kind == "c" and y.dtype.kind != "c":
        x = x.real
    if params.truncate:
        x = _truncated(x, y.dtype)
    if is_float(x.dtype) and is_int(y.dtype) and not _converts(x.dtype, y.dtype):
        if x.flags.c_contiguous and y.flags.c_contiguous:
            source, target = x.reshape(-1), y.reshape(-1)
            for at in range(0, x.size, _BLOCK):
                _part_to_integers(source[at : at + _BLOCK], target[at : at + _BLOCK])
        elif x.size:
            _part_to_integers(x, y)
        return
    np.copyto(y, x, casting="unsafe")


KERNELS = (
    numpy_kernel(ops.RESHAPE, "host", _reshape, bfloat16=True),
    numpy_kernel(ops.IDENTITY, "host", _identity, bfloat16=True),
    numpy_kernel(ops.TRANSPOSE, "host", _transpose, bfloat16=True),
    numpy_kernel(ops.PAD, "host", _pad, bfloat16=True),
    numpy_kernel(ops.SLICE, "host", _slice, bfloat16=True),
    numpy_kernel(ops.SPLIT, "host", _split, bfloat16=True),
    numpy_kernel(ops.GATHER, "host", _gather, bfloat16=True),
    numpy_kernel(ops.TILE, "host", _tile, bfloat16=True),
    numpy_kernel(ops.PACK, "host", _pack, bfloat16=True),
    numpy_kernel(ops.BROADCAST_TO, "host", _broadcast_to, bfloat16=True),
    numpy_kernel(ops.FILL, "host", _fill),
    numpy_kernel(ops.RANGE, "host", _range),
    numpy_kernel(ops.CAST, "host", in_float32(_cast), bfloat16=True),
)
