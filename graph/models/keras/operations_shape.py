"""Functions of models that move, pick, join and resize: part of operations.py."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .arguments import Arguments, operand, whole, wholes
from .building import Building
from .shapes import resize, scaled

__all__ = ["MOVING"]

Made = Callable[[Building, Any], Any]


def _sizes(b: Building, value: Any) -> list[Any]:
    """Sizes of a shape argument: numbers, and scalars that are computed."""
    if isinstance(value, Tensor):
        raise b.error("a shape that is computed", "a list of sizes")
    found = list(value) if isinstance(value, (list, tuple)) else [value]
    for v in found:
        if not (type(v) is int or (isinstance(v, Tensor) and v.shape == ())):
            raise b.error(f"the shape {brief(value)}", "sizes")
    return found


def _reshape(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("shape",))
    shape = _sizes(b, a.take("newshape", "shape"))
    a.end()
    x = operand(b, x)
    known = b.shape(x)
    if shape and shape[0] == -1 and all(type(s) is int for s in shape) and shape.count(-1) == 1:
        return ops.reshape(x, shape)
    if shape and shape[0] is None:
        shape[0] = -1 if known and known[0] is None else known[0]
    return ops.reshape(x, shape)


def _transpose(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("perm",))
    axes = a.take("axes", "perm")
    a.end()
    return ops.transpose(operand(b, x), None if axes is None else wholes(b, axes))


def _expand(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("axis",))
    axis = a.take("axis")
    a.end()
    made = operand(b, x)
    found = wholes(b, axis)
    rank = len(b.shape(made)) + len(found)
    for at in sorted(v % rank for v in found if -rank <= v < rank):
        made = ops.expand_dims(made, at)
    return made


def _squeeze(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("axis",))
    axis = a.take("axis")
    a.end()
    return ops.squeeze(operand(b, x), None if axis is None else wholes(b, axis))


def _list(b: Building, x: Any) -> list[Tensor]:
    if not isinstance(x, (list, tuple)) or not x or len(x) > 10_000:
        raise b.error(f"the inputs {brief(x)}", "a list of tensors")
    first = next((t for t in x if isinstance(t, Tensor)), None)
    return [operand(b, t, first) for t in x]


def _concatenate(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("axis",))
    axis = whole(b, a.take("axis", default=0))
    a.end()
    return ops.concat(_list(b, x), axis)


def _stack(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("axis",))
    axis = whole(b, a.take("axis", default=0))
    a.end()
    return ops.stack(_list(b, x), axis)


def _split(b: Building, x: Any) -> list[Tensor]:
    """Keras 3 takes a number or the places to cut at, TensorFlow a number or sizes."""
    a = Arguments(b, ("parts", "axis"))
    parts, axis = a.take("indices_or_sections", "num_or_size_splits", "parts"), whole(b, a.take("axis", default=0))
    a.take("num")
    a.end()
    x = operand(b, x)
    if isinstance(parts, (list, tuple)) and b.layer.kind == "Split":
        ends = [0, *wholes(b, parts), b.fixed(x, axis)[0]]
        parts = [end - start for start, end in pairwise(ends)]
    sizes = parts if type(parts) is int else wholes(b, parts)
    return ops.split(x, sizes, axis)


def _unstack(b: Building, x: Any) -> list[Tensor]:
    a = Arguments(b, ("num", "axis"))
    a.take("num")
    axis = whole(b, a.take("axis", default=0))
    a.end()
    return ops.unstack(operand(b, x), axis=axis)


def _get_item(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("key",))
    key = a.take("key", "slice_spec")
    a.end()
    keys = list(key) if isinstance(key, (list, tuple)) else [key]
    picked: Tensor = operand(b, x)[tuple(_key(b, k) for k in keys)]
    return picked


def _key(b: Building, key: Any) -> Any:
    """One index. Keras 2 writes slices as {'start', 'stop', 'step'} and '...' as text."""
    if isinstance(key, dict) and set(key) == {"start", "stop", "step"}:
        key = slice(key["start"], key["stop"], key["step"])
    if key is None or key is Ellipsis or type(key) is int or isinstance(key, Tensor):
        return key
    if key == "...":
        return Ellipsis
    parts = (key.start, key.stop, key.step) if isinstance(key, slice) else (key,)
    if not isinstance(key, slice) or any(not (p is None or type(p) is int or isinstance(p, Tensor)) for p in parts):
        raise b.error(f"the index {brief(key)}", "whole numbers and slices")
    return key


def _pad(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("pads", "mode", "constant_values"))
    pads, mode = a.take("pad_width", "paddings", "pads"), str(a.take("mode", default="constant")).upper()
    value = a.take("constant_values", default=0)
    a.end()
    x = operand(b, x)
    rank = len(b.shape(x))
    if isinstance(pads, int):
        pads = [[pads, pads]] * rank
    pairs = (
        [wholes(b, p, 2) for p in pads]
        if isinstance(pads, (list, tuple)) and pads and not isinstance(pads[0], int)
        else None
    )
    pairs = [wholes(b, pads, 2)] * rank if pairs is None else pairs
    pairs = pairs * rank if len(pairs) == 1 else pairs
    return ops.pad(x, pairs, mode, value)


def _tile(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("multiples",))
    times = wholes(b, a.take("repeats", "multiples"))
    a.end()
    x = operand(b, x)
    while len(b.shape(x)) < len(times):
        x = ops.expand_dims(x, 0)
    return ops.tile(x, [1] * (len(b.shape(x)) - len(times)) + times)


def _repeat(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("repeats", "axis"))
    times, axis = whole(b, a.take("repeats")), a.take("axis")
    a.end()
    x = operand(b, x)
    (axis,) = b.axes(axis, len(b.shape(x)))
    sizes = b.sizes(x)
    more = [1] * (axis + 1) + [times] + [1] * (len(sizes) - axis - 1)
    y = ops.tile(ops.expand_dims(x, axis + 1), more)
    return b.reshape(y, [*sizes[:axis], sizes[axis] * times, *sizes[axis + 1 :]])


def _flip(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("axis",))
    axis = a.take("axis")
    a.end()
    x = operand(b, x)
    rank = len(b.shape(x))
    axes = b.axes(list(range(rank)) if axis is None else axis, rank)
    turned: Tensor = x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(rank))]
    return turned


def _take(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("indices", "validate_indices", "axis"))
    index, axis = a.take("indices"), a.take("axis", default=0 if b.layer.kind == "TFOpLambda" else None)
    a.take("validate_indices")
    a.end()
    x = operand(b, x)
    if axis is None:
        x, axis = ops.reshape(x, [-1]), 0
    (axis,) = b.axes(axis, len(b.shape(x)))
    if not isinstance(index, Tensor):
        found = np.asarray(index, np.int64)
        (n,) = b.fixed(x, axis)
        if ((found < -n) | (found >= n)).any():
            raise b.error(f"the indices {brief(index)}", f"less than {n}")
        index = ops.constant(np.where(found < 0, found + n, found).astype(np.int32))
    return ops.gather(x, index, axis)


def _swap(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("axis1", "axis2"))
    x = operand(b, x)
    rank = len(b.shape(x))
    first, second = (b.axes(a.take(n), rank)[0] for n in ("axis1", "axis2"))
    a.end()
    order = list(range(rank))
    order[first], order[second] = second, first
    return ops.transpose(x, order)


def _move(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("source", "destination"))
    x = operand(b, x)
    rank = len(b.shape(x))
    source, target = (b.axes(a.take(n), rank)[0] for n in ("source", "destination"))
    a.end()
    order = [i for i in range(rank) if i != source]
    order.insert(target, source)
    return ops.transpose(x, order)


def _broadcast(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("shape",))
    shape = _sizes(b, a.take("shape"))
    a.end()
    return ops.broadcast_to(operand(b, x), ops.stack(shape) if any(isinstance(s, Tensor) for s in shape) else shape)


def _shape(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("out_type",))
    a.take("out_type")
    a.end()
    return ops.shape(operand(b, x))


def _resize(b: Building, x: Any) -> Tensor:
    a = Arguments(b, ("size", "method"))
    size, rule = wholes(b, a.take("size"), 2), str(a.take("interpolation", "method", default="bilinear")).lower()
    first = a.take("data_format", default="channels_last") == "channels_first"
    antialias = bool(a.take("antialias", default=False))
    a.take("fill_mode"), a.take("fill_value")
    a.end()
    known = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
    x = operand(b, x)
    if rule not in known or len(b.shape(x)) != 4 or min(size) < 1 or max(size) > 1 << 20:
        raise b.error(f"{brief(rule)} to {size}", f"images, and one of {', '.join(known)}")
    x = b.first_last(x) if first else x
    if antialias and rule not in ("nearest", "area"):
        x = scaled(b, x, ops.constant(size), {"bilinear": "triangle", "bicubic": "keyscubic"}.get(rule, rule), True)
    else:
        x = resize(b, x, size, rule)
    return b.last_first(x) if first else x


def _pool(kind: str) -> Made:
    def make(b: Building, x: Any) -> Tensor:
        a = Arguments(b, ("ksize", "strides", "padding"))
        size, strides = a.take("pool_size", "ksize"), a.take("strides")
        padding = str(a.take("padding", default="valid")).upper()
        layout = a.take("data_format", default="channels_last")
        a.end()
        x = operand(b, x)
        if len(b.shape(x)) != 4 or layout not in ("channels_last", "NHWC") or padding not in ("SAME", "VALID"):
            raise b.error(
                f"a pool of {brief(size)}, {brief(layout)}, {brief(padding)}", "images with the channels last"
            )
        pool = ops.avg_pool if kind == "avg" else ops.max_pool
        window = wholes(b, size)
        steps = window if strides is None else wholes(b, strides)
        window, steps = (v * 2 if len(v) == 1 else v for v in (window, steps))
        return pool(x, window, steps, padding)

    return make


MOVING: dict[str, Made] = {
    **dict.fromkeys(("Reshape", "reshape"), _reshape),
    **dict.fromkeys(("Transpose", "transpose", "compat.v1.transpose"), _transpose),
    **dict.fromkeys(("ExpandDims", "expand_dims"), _expand),
    **dict.fromkeys(("Squeeze", "squeeze"), _squeeze),
    **dict.fromkeys(("Concatenate", "concat"), _concatenate),
    **dict.fromkeys(("Stack", "stack"), _stack),
    **dict.fromkeys(("Split", "split"), _split),
    **dict.fromkeys(("Unstack", "unstack"), _unstack),
    **dict.fromkeys(("GetItem", "__operators__.getitem"), _get_item),
    **dict.fromkeys(("Pad", "pad"), _pad),
    **dict.fromkeys(("Tile", "tile"), _tile),
    **dict.fromkeys(("Repeat", "repeat"), _repeat),
    **dict.fromkeys(("Flip", "reverse"), _flip),
    **dict.fromkeys(("Take", "gather"), _take),
    "Swapaxes": _swap,
    "Moveaxis": _move,
    **dict.fromkeys(("BroadcastTo", "broadcast_to"), _broadcast),
    **dict.fromkeys(("Shape", "shape", "compat.v1.shape"), _shape),
    **dict.fromkeys(("Resize", "image.resize"), _resize),
    **dict.fromkeys(("AveragePool", "nn.avg_pool", "nn.avg_pool2d"), _pool("avg")),
    **dict.fromkeys(("MaxPool", "nn.max_pool", "nn.max_pool2d"), _pool("max")),
}
