"""ATen's ops that move elements, make constants or tell sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from .call import Call, Converter, Size
from .program import DTYPES

__all__ = ["CONVERTERS"]

#: A split into more parts than layers have channels is no network's.
_MOST_PARTS = 1 << 14
_END = np.iinfo(np.int64).max
#: Elements of an axis that is padded with its own, and those that are added at one end.
_MOST_EDGE = 1 << 16


def _vector(sizes: Sequence[Size]) -> Any:
    """Sizes as what Reshape takes: numbers, or a tensor where one is computed."""
    if all(isinstance(s, int) for s in sizes):
        return [int(s) for s in sizes]  # type: ignore[arg-type]
    return ops.stack([ops.cast(s, np.int64) if isinstance(s, Tensor) else ops.constant(np.int64(s)) for s in sizes])


def _size_of(x: Tensor, axis: int) -> Size:
    known = x.shape[axis] if x.shape is not None else None
    return known if known is not None else ops.cast(ops.shape(x)[axis], np.int64)


def _view(c: Call) -> Tensor:
    sizes = c.sizes("size" if c.has("size") else "shape")
    return ops.reshape(c.tensor("self"), _vector(sizes))


def _flatten(c: Call) -> Tensor:
    x = c.tensor("self")
    if not c.rank(x):
        return ops.reshape(x, [1])
    start, end = c.axis("start_dim", x, 0), c.axis("end_dim", x, -1)
    kept = [_size_of(x, a) for a in range(c.rank(x))]
    middle = kept[start : end + 1]
    joined: Size = -1
    if all(isinstance(s, int) for s in middle):
        joined = int(np.prod([int(s) for s in middle]))  # type: ignore[arg-type]
    return ops.reshape(x, _vector([*kept[:start], joined, *kept[end + 1 :]]))


def _unflatten(c: Call) -> Tensor:
    x = c.tensor("self")
    axis = c.axis("dim", x)
    kept = [_size_of(x, a) for a in range(c.rank(x))]
    return ops.reshape(x, _vector([*kept[:axis], *c.sizes("sizes"), *kept[axis + 1 :]]))


def _transpose(c: Call) -> Tensor:
    x = c.tensor("self")
    order = list(range(c.rank(x)))
    if c.target == "t":
        return ops.transpose(x, order[::-1])
    a, b = c.axis("dim0", x), c.axis("dim1", x)
    order[a], order[b] = order[b], order[a]
    return ops.transpose(x, order)


def _permute(c: Call) -> Tensor:
    x = c.tensor("self")
    return ops.transpose(x, list(c.axes("dims", x)))


def _expand(c: Call) -> Tensor:
    x, sizes = c.tensor("self"), c.sizes("size")
    more = len(sizes) - c.rank(x)
    if more < 0:
        raise c.wrong(f"{len(sizes)} sizes for {c.rank(x)} axes")
    wanted = [_size_of(x, i - more) if isinstance(s, int) and s == -1 and i >= more else s for i, s in enumerate(sizes)]
    return ops.broadcast_to(x, _vector(wanted))


def _select(c: Call) -> Tensor:
    x = c.tensor("self")
    axis, index = c.axis("dim", x), c.integer("index")
    return x[(*(slice(None),) * axis, index)]


def _slice(c: Call) -> Tensor:
    x = c.tensor("self")
    axis = c.axis("dim", x, 0)
    bounds = [c.raw("start"), c.raw("end"), c.integer("step", 1)]
    known = [None if v is None or (isinstance(v, int) and v >= _END) else v for v in bounds]
    return x[(*(slice(None),) * axis, slice(*known))]


def _narrow(c: Call) -> Tensor:
    x = c.tensor("self")
    axis, start, length = c.axis("dim", x), c.integer("start"), c.integer("length")
    return x[(*(slice(None),) * axis, slice(start, start + length))]


def _squeeze(c: Call) -> Tensor:
    x = c.tensor("self")
    dims = c.dims(x)
    axes = c.axes("dim", x) if c.has("dim") else tuple(range(len(dims)))
    if any(dims[a] is None for a in axes):
        raise c.unsupported("a squeeze of an axis of unknown size")
    ones = [a for a in axes if dims[a] == 1]
    return ops.squeeze(x, ones) if ones else x


def _unsqueeze(c: Call) -> Tensor:
    x = c.tensor("self")
    return ops.expand_dims(x, c.axis("dim", x, more=1))


def _cat(c: Call) -> Tensor:
    parts = c.tensors("tensors")
    return ops.concat(parts, c.axis("dim", parts[0], 0)) if parts else _empty(c)


def _empty(c: Call) -> Tensor:
    raise c.wrong("a join of nothing")


def _stack(c: Call) -> Tensor:
    parts = c.tensors("tensors")
    return ops.stack(parts, c.axis("dim", parts[0], 0, more=1)) if parts else _empty(c)


def _parts(c: Call, x: Tensor, axis: int) -> int:
    size = c.dims(x)[axis]
    if size is None:
        raise c.unsupported("a split of an axis of unknown size")
    return size


def _counted(c: Call, parts: int) -> None:
    """What a file says in a few bytes must not become a list of any length."""
    if parts > _MOST_PARTS:
        raise c.wrong(f"{parts} pieces; expected at most {_MOST_PARTS:,}")


def _split(c: Call) -> list[Tensor]:
    """Pieces of one size, the last may be smaller; or of stated sizes."""
    x = c.tensor("self")
    axis = c.axis("dim", x, 0)
    size = _parts(c, x, axis)
    if c.target == "chunk":
        count = c.integer("chunks")
        step = -(-size // max(count, 1))
    else:
        stated = c.raw("split_size", c.raw("split_sizes"))
        if isinstance(stated, list | tuple):
            sizes = [int(s) for s in stated]
            return ops.split(x, sizes, axis) if sum(sizes) == size else _wrong_split(c, sizes, size)
        step = c.integer("split_size")
    if step < 1:
        raise c.wrong(f"pieces of {step}")
    _counted(c, -(-size // step))
    sizes = [min(step, size - at) for at in range(0, size, step)]
    return ops.split(x, sizes, axis)


def _wrong_split(c: Call, sizes: list[int], size: int) -> list[Tensor]:
    raise c.wrong(f"pieces {sizes} of {size}")


def _unbind(c: Call) -> list[Tensor]:
    x = c.tensor("self")
    axis = c.axis("dim", x, 0)
    _counted(c, _parts(c, x, axis))
    return list(ops.unstack(x, axis=axis))


def _repeat(c: Call) -> Tensor:
    x, times = c.tensor("self"), c.integers("repeats")
    more = len(times) - c.rank(x)
    if more < 0:
        raise c.wrong(f"{len(times)} repeats for {c.rank(x)} axes")
    for _ in range(more):
        x = ops.expand_dims(x, 0)
    return ops.tile(x, list(times))


def _pad(c: Call) -> Tensor:
    """Pairs for the last axes first."""
    x, pads = c.tensor("self"), c.integers("pad")
    mode = c.text("mode", "constant")
    if len(pads) % 2 or len(pads) > 2 * c.rank(x) or mode not in ("constant", "reflect", "replicate", "circular"):
        raise c.unsupported(f"padding {pads} in mode {mode!r}")
    pairs = [[0, 0] for _ in range(c.rank(x))]
    for i in range(len(pads) // 2):
        pairs[-1 - i] = [pads[2 * i], pads[2 * i + 1]]
    cut = tuple(slice(max(-a, 0), min(b, 0) or None) for a, b in pairs)
    if any(s != slice(0, None) for s in cut):  # padding below 0 takes away
        x, pairs = x[cut], [[max(a, 0), max(b, 0)] for a, b in pairs]
    if mode == "reflect":
        return ops.pad(x, pairs, "REFLECT")
    if mode != "constant":
        return _edges(c, x, pairs, mode)
    value = c.number("value", 0.0) if c.has("value") else 0.0
    return ops.pad(x, pairs, "CONSTANT", constant_values=np.asarray(value, x.dtype))


def _edges(c: Call, x: Tensor, pairs: list[list[int]], mode: str) -> Tensor:
    """Padded with the values at the edges, or with those at the other end."""
    for axis, (before, after) in enumerate(pairs):
        size = c.dims(x)[axis]
        if not before and not after:
            continue
        most = min(size or 0, _MOST_EDGE) if mode == "circular" else _MOST_EDGE
        if not size or size > _MOST_EDGE or max(before, after) > most:
            raise c.unsupported(f"padding {before}, {after} in mode {mode!r} of {size} elements")
        places = np.arange(-before, size + after)
        places = places % size if mode == "circular" else np.clip(places, 0, size - 1)
        x = ops.gather(x, ops.constant(places.astype(np.int32)), axis)
    return x


def _flip(c: Call) -> Tensor:
    x = c.tensor("self")
    axes = set(c.axes("dims", x))
    return x[tuple(slice(None, None, -1) if a in axes else slice(None) for a in range(c.rank(x)))]


def _pixel_shuffle(c: Call) -> Tensor:
    x, factor = c.tensor("self"), c.integer("upscale_factor")
    channels = c.dims(x)[1]
    if factor < 1 or channels is None or channels % (factor * factor):
        raise c.wrong(f"a factor of {factor} for {channels} channels")
    kept = [_size_of(x, a) for a in (0, 2, 3)]
    deep = channels // (factor * factor)
    parts = ops.reshape(x, _vector([kept[0], deep, factor, factor, kept[1], kept[2]]))
    moved = ops.transpose(parts, [0, 1, 4, 2, 5, 3])
    return ops.reshape(moved, _vector([kept[0], deep, *(s * factor for s in kept[1:])]))


def _channel_shuffle(c: Call) -> Tensor:
    x, groups = c.tensor("self"), c.integer("groups")
    channels = c.dims(x)[1]
    if channels is None or groups < 1 or channels % groups:
        raise c.wrong(f"{groups} groups of {channels} channels")
    kept = [_size_of(x, a) for a in (0, 2, 3)]
    parts = ops.transpose(ops.reshape(x, _vector([kept[0], groups, channels // groups, *kept[1:]])), [0, 2, 1, 3, 4])
    return ops.reshape(parts, _vector([kept[0], channels, *kept[1:]]))


def _same(c: Call) -> Tensor:
    return c.tensor("self" if c.has("self") else "input")


def _dropout(c: Call) -> Any:
    if c.flag("train"):
        raise c.unsupported("training mode; export the model in eval() mode")
    return (_same(c), None) if c.target == "native_dropout" else _same(c)


def _cast(c: Call) -> Tensor:
    x, code = c.tensor("self"), c.raw("dtype")
    if code is None or type(code) is not int:
        return x
    if code not in DTYPES or code == 13:
        raise c.unsupported(f"element type {code}")
    return x if x.dtype == DTYPES[code] else ops.cast(x, DTYPES[code])


def _filled(c: Call) -> Tensor:
    kind = c.target.removesuffix("_like").removeprefix("new_")
    value = {"ones": 1, "zeros": 0}.get(kind, c.raw("fill_value", 0))
    code = c.raw("dtype", 7 if isinstance(value, float) or kind in ("ones", "zeros") else 5)
    like = c.tensor("self") if kind != c.target else None
    dtype = DTYPES.get(code) if like is None or c.has("dtype") else like.dtype
    if dtype is None or type(value) not in (int, float, bool):
        raise c.unsupported("a constant of this type")
    shape = ops.shape(like) if like is not None and c.target.endswith("_like") else _vector(c.sizes("size"))
    return ops.fill(shape, np.asarray(value, dtype))


def _index(c: Call) -> Tensor:
    """x[:, i] with one tensor of indices; negative ones count from the end."""
    x, indices = c.tensor("self"), c.raw("indices")
    given = [(a, i) for a, i in enumerate(indices if isinstance(indices, list) else []) if isinstance(i, Tensor)]
    if len(given) != 1 or given[0][1].dtype.kind not in "iu":
        raise c.unsupported("indexing by several tensors, or by bools")
    ((axis, index),) = given
    size = ops.cast(_size_of(x, axis), index.dtype) if not isinstance(_size_of(x, axis), int) else _size_of(x, axis)
    return ops.gather(x, ops.where(ops.less(index, np.asarray(0, index.dtype)), ops.add(index, size), index), axis=axis)


def _index_select(c: Call) -> Tensor:
    return ops.gather(c.tensor("self"), c.tensor("index"), axis=c.axis("dim", c.tensor("self")))


def _arange(c: Call) -> Tensor:
    numbers = [c.raw(n, d) for n, d in (("start", 0), ("end", None), ("step", 1))]
    code = c.raw("dtype", 7 if any(isinstance(n, float) for n in numbers) else 5)
    if code not in DTYPES or any(type(n) not in (int, float) for n in numbers):
        raise c.unsupported("a range of computed bounds")
    if abs((numbers[1] - numbers[0]) / (numbers[2] or 1)) > 1 << 24:
        raise c.unsupported("a range of so many numbers")
    return ops.constant(np.arange(*numbers, dtype=DTYPES[code]))


def _roll(c: Call) -> Tensor:
    x, shifts = c.tensor("self"), c.integers("shifts")
    if not c.has("dims"):
        raise c.unsupported("a roll of the flat tensor")
    for axis, shift in zip(c.axes("dims", x), shifts, strict=True):
        before = (slice(None),) * axis
        size = _parts(c, x, axis)
        at = -shift % size if size else 0
        if at:
            x = ops.concat([x[(*before, slice(at, None))], x[(*before, slice(None, at))]], axis)
    return x


def _masked_fill(c: Call) -> Tensor:
    x = c.tensor("self")
    return ops.where(c.tensor("mask"), c.like("value", x), x)


def _fill(c: Call) -> Tensor:
    x = c.tensor("self")
    return ops.broadcast_to(c.like("value", x), ops.shape(x))


def _copy(c: Call) -> Tensor:
    x, source = c.tensor("self"), c.tensor("src")
    value = ops.cast(source, x.dtype) if source.dtype != x.dtype else source
    return ops.broadcast_to(value, ops.shape(x))


def _slice_scatter(c: Call) -> Tensor:
    x, source = c.tensor("self"), c.tensor("src")
    axis = c.axis("dim", x, 0)
    size, step = _parts(c, x, axis), c.integer("step", 1)
    if step != 1:
        raise c.unsupported("a scatter with a step")
    bounds = (c.integer(n, d) if c.has(n) else d for n, d in (("start", 0), ("end", size)))
    start, stop, _ = slice(*bounds).indices(size)
    before = (slice(None),) * axis
    return ops.concat([x[(*before, slice(None, start))], source, x[(*before, slice(max(start, stop), None))]], axis)


def _select_scatter(c: Call) -> Tensor:
    x, source = c.tensor("self"), c.tensor("src")
    axis = c.axis("dim", x)
    size, at = _parts(c, x, axis), c.integer("index")
    if not -size <= at < size:
        raise c.wrong(f"index {at} of {size}")
    at %= size
    before = (slice(None),) * axis
    parts = [x[(*before, slice(None, at))], ops.expand_dims(source, axis), x[(*before, slice(at + 1, None))]]
    return ops.concat(parts, axis)


def _scalar(c: Call) -> Tensor:
    value, code = c.raw("s"), c.raw("dtype", 7)
    if code not in DTYPES or type(value) not in (int, float, bool):
        raise c.unsupported("a constant of this type")
    return ops.constant(np.asarray(value, DTYPES[code]))


def _embedding(c: Call) -> Tensor:
    return ops.gather(c.tensor("weight"), c.tensor("indices"))


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "view_copy", "_reshape_copy"), _view), "flatten": _flatten,
    "unflatten": _unflatten, "transpose": _transpose, "t": _transpose, "permute": _permute, "expand": _expand,
    "select": _select, "slice": _slice, "narrow": _narrow, "squeeze": _squeeze, "unsqueeze": _unsqueeze, "cat": _cat,
    "stack": _stack, "split": _split, "split_with_sizes": _split, "chunk": _split, "unbind": _unbind, "repeat": _repeat,
    "pad": _pad, "constant_pad_nd": _pad, "flip": _flip, "pixel_shuffle": _pixel_shuffle, "channel_shuffle": _channel_shuffle,
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "native_dropout"), _dropout),
    **dict.fromkeys(("contiguous", "clone", "alias", "detach", "lift_fresh_copy", "identity"), _same),
    **dict.fromkeys(("to", "_to_copy", "type_as"), _cast),
    **dict.fromkeys(("full", "ones", "zeros", "full_like", "ones_like", "zeros_like"), _filled), "embedding": _embedding,
    "scalar_tensor": _scalar,
    **dict.fromkeys(("new_zeros", "new_ones", "new_full"), _filled), "index": _index, "roll": _roll, "index_select": _index_select, "arange": _arange, "masked_fill": _masked_fill,
    "fill": _fill, "copy": _copy, "slice_scatter": _slice_scatter, "select_scatter": _select_scatter,
    "sym_size": lambda c: _size_of(c.tensor("self"), c.axis("dim", c.tensor("self"))),
    "getitem": lambda c: c.raw("0", c.raw("a"))[c.integer("1" if c.has("1") else "b")],
}  # fmt: skip
