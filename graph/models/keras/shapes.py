"""Layers that move, repeat, cut or add elements."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .building import Building

__all__ = ["SHAPES", "resize", "upsampled"]

Made = Callable[[Building, Tensor], Tensor]


def _flatten(b: Building, x: Tensor) -> Tensor:
    known = b.shape(x)
    if len(known) > 2 and b.channels_first:
        x = b.first_last(x)
    if len(known) < 2:
        return ops.expand_dims(x, -1)
    sizes = b.shape(x)[1:]
    if None in sizes:
        batch = known[0] if known[0] is not None else ops.shape(x)[0]
        return ops.reshape(x, [batch, -1])
    return b.reshape(x, [known[0], prod(d for d in sizes if d is not None)])


def _target(b: Building) -> list[int]:
    """The sizes of ``target_shape``; one of them may be -1."""
    shape = b.get("target_shape")
    shape = shape.get("items") if isinstance(shape, dict) else shape
    sizes: list[Any] = list(shape) if isinstance(shape, list) else [None]
    if not all(type(d) is int and -1 <= d < 1 << 31 for d in sizes) or sizes.count(-1) > 1:
        raise b.error(f"target_shape {brief(shape)}", "sizes, one of them perhaps -1")
    return sizes


def _reshape(b: Building, x: Tensor) -> Tensor:
    shape, known = _target(b), b.shape(x)
    if None in known[1:]:
        return ops.reshape(x, [ops.shape(x)[0] if known[0] is None else known[0], *shape])
    whole = prod(d for d in known[1:] if d is not None)
    rest = prod(d for d in shape if d != -1)
    if (whole != rest) if -1 not in shape else (rest == 0 or whole % rest):
        raise b.error(f"target_shape {brief(shape)} for {known[1:]}", "as many elements")
    return b.reshape(x, [known[0], *(whole // rest if d == -1 else d for d in shape)])


def _permute(b: Building, x: Tensor) -> Tensor:
    dims = b.get("dims")
    dims = dims.get("items") if isinstance(dims, dict) else dims
    rank = len(b.shape(x))
    if not isinstance(dims, list) or sorted(d for d in dims if type(d) is int) != list(range(1, rank)):
        raise b.error(f"dims {brief(dims)}", f"the axes 1 to {rank - 1}")
    return ops.transpose(x, [0, *dims])


def _repeat(b: Building, x: Tensor) -> Tensor:
    b.shape(x, 2)
    return ops.tile(ops.expand_dims(x, 1), [1, b.whole("n"), 1])


def _cropping(rank: int) -> Made:
    def make(b: Building, x: Tensor) -> Tensor:
        known = b.shape(x, rank + 2)
        pairs = b.pairs("cropping", rank, 1)
        start = 2 if rank > 1 and b.channels_first else 1
        begin, size = [0] * len(known), [-1] * len(known)
        lengths = b.sizes(x)
        for axis, (before, after) in enumerate(pairs, start):
            length = known[axis]
            if length is not None and before + after > length:
                raise b.error(f"cropping {pairs} of {known}", "less than the size")
            begin[axis] = before
            if after:
                size[axis] = lengths[axis] - before - after
        return ops.slice(x, begin, size)

    return make


def _padding(rank: int) -> Made:
    def make(b: Building, x: Tensor) -> Tensor:
        known = b.shape(x, rank + 2)
        pairs = [[0, 0] for _ in known]
        start = 2 if b.channels_first else 1
        pairs[start : start + rank] = [list(p) for p in b.pairs("padding", rank, 1)]
        return ops.pad(x, pairs)

    return make


def resize(b: Building, x: Tensor, size: Any, rule: str) -> Tensor:
    """(batch, height, width, channels) to another size, half-pixel centres, as tf.image.resize without antialiasing."""
    if rule == "bilinear":
        return ops.resize_bilinear(x, size, half_pixel_centers=True)
    target = size if isinstance(size, Tensor) else _sizes(size)
    if rule == "nearest":
        return b.raw("ResizeNearestNeighbor", x, target, align_corners=False, half_pixel_centers=True)
    if rule == "area":
        return b.raw("ResizeArea", x, target, align_corners=False)
    if rule == "bicubic":
        return b.raw("ResizeBicubic", x, target, align_corners=False, half_pixel_centers=True)
    return scaled(b, x, target, rule, False)


def scaled(b: Building, x: Tensor, target: Tensor, kernel: str, antialias: bool) -> Tensor:
    """TensorFlow's ScaleAndTranslate to a whole size, as tf.image.resize calls it."""
    size = ops.cast(target, "float32")
    known = b.shape(x, 4)[1:3]
    before = (
        ops.constant([float(d) for d in known if d is not None])
        if None not in known
        else ops.cast(ops.shape(x)[1:3], "float32")
    )
    zero = ops.constant([0.0, 0.0])
    return b.raw(
        "ScaleAndTranslate", x, target, ops.divide(size, before), zero, kernel_type=kernel, antialias=antialias
    )


def _sizes(size: Any) -> Tensor:
    return ops.stack(list(size)) if any(isinstance(s, Tensor) for s in size) else ops.constant([int(s) for s in size])


def upsampled(b: Building, x: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Every element of the axes after the first repeated."""
    if len(factors) == 2:
        sizes = b.sizes(x)
        return resize(b, x, [sizes[1] * factors[0], sizes[2] * factors[1]], "nearest")
    sizes = b.sizes(x)
    apart: list[Any] = [sizes[0]]
    times = [1]
    after: list[Any] = [sizes[0]]
    for n, factor in zip(sizes[1:-1], factors, strict=True):
        apart += [n, 1]
        times += [1, factor]
        after.append(n * factor)
    y = ops.tile(b.reshape(x, [*apart, sizes[-1]]), [*times, 1])
    return b.reshape(y, [*after, sizes[-1]])


def _upsampling(rank: int) -> Made:
    def make(b: Building, x: Tensor) -> Tensor:
        b.shape(x, rank + 2)
        factors = b.wholes("size", rank, 2)
        first = rank > 1 and b.channels_first
        x = b.first_last(x) if first else x
        known = ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
        rule = b.choice("interpolation", "nearest", *known) if rank == 2 else "nearest"
        if rule == "nearest":
            x = upsampled(b, x, factors)
        else:
            sizes = b.sizes(x)
            x = resize(b, x, [sizes[1] * factors[0], sizes[2] * factors[1]], rule)
        return b.last_first(x) if first else x

    return make


SHAPES: dict[str, Made] = {
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "RepeatVector": _repeat,
    **{f"Cropping{n}D": _cropping(n) for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": _padding(n) for n in (1, 2, 3)},
    **{f"UpSampling{n}D": _upsampling(n) for n in (1, 2, 3)},
}
