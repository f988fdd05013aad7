"""Values between pixels: grids, regions, deformable convolutions. Rows of channels are gathered and weighted.

A tap is one pixel along one axis of what a value is made of: (index, weight or None for 1, whether it is inside or None).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import prod
from typing import TypeAlias

import numpy as np

from ...builder import Tensor
from .node import Converter, Node
from .windows import Window, window_of

__all__ = ["CONVERTERS"]

Tap: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None]
_MODES = {"bilinear": "linear", "linear": "linear", "nearest": "nearest", "bicubic": "cubic", "cubic": "cubic"}
_CUBIC = -0.75
#: Samples along an axis in a cell of a region; of a region with more the result is NaN.
_MOST_SAMPLES = 4096


def _sizes(n: Node, x: Tensor) -> list[int]:
    """The spatial sizes, which must be known."""
    sizes = [d for d in n.shape(x)[2:] if d is not None]
    if len(sizes) != n.rank(x) - 2:
        raise n.unsupported("an image of unknown size", "export it with a fixed size")
    if 0 in sizes:
        raise n.unsupported("an image without pixels")
    return sizes


def _rows(n: Node, x: Tensor) -> Tensor:
    """(batch, channels, ...) as one row of channels for every pixel."""
    rank = n.rank(x)
    last = n.transpose(x, [0, *range(2, rank), 1])
    return n.op("Reshape", last, n.vector([-1, n.size(x, 1)]))


def _ramp(n: Node, count: Tensor | int, axes: int) -> Tensor:
    """0, 1, ... along the first of so many axes."""
    end = n.const(count) if isinstance(count, int) else n.op("Reshape", count, n.const([], "int64"))
    return n.reshape(n.op("Range", n.const(0), end, n.const(1)), [-1] + [1] * (axes - 1))


def _inside(n: Node, place: Tensor, size: int) -> Tensor:
    below = n.op("LessEqual", place, n.like(place, size - 1))
    return n.op("LogicalAnd", n.op("GreaterEqual", place, n.like(place, 0)), below)


def _index(n: Node, place: Tensor, size: int) -> Tensor:
    """A whole number as a position that exists; NaN is one, too."""
    index = n.cast(place, "int64")
    return n.op("Minimum", n.op("Maximum", index, n.const(0)), n.const(size - 1))


def _reflected(n: Node, x: Tensor, size: int, aligned: bool) -> Tensor:
    """Mirrored at the first and the last pixel's centre, or at their outer edges, and kept within the centres."""
    low, high = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
    if high == low:
        return n.op("Mul", x, n.like(x, 0))
    span = n.like(x, high - low)
    away = n.op("Abs", n.op("Sub", x, n.like(x, low)))
    rest = n.op("FloorMod", away, span)
    odd = n.op("NotEqual", n.op("FloorMod", n.op("Floor", n.op("RealDiv", away, span)), n.like(x, 2)), n.like(x, 0))
    y = n.op("AddV2", n.op("SelectV2", odd, n.op("Sub", span, rest), rest), n.like(x, low))
    return _clamped(n, y, size)


def _clamped(n: Node, x: Tensor, size: int) -> Tensor:
    return n.op("Minimum", n.op("Maximum", x, n.like(x, 0)), n.like(x, size - 1))


def _linear(n: Node, x: Tensor, size: int) -> list[Tap]:
    """The pixels on both sides."""
    low = n.op("Floor", x)
    after, taps = n.op("Sub", x, low), list[Tap]()
    for place, weight in ((low, n.op("Sub", n.like(x, 1), after)), (n.op("AddV2", low, n.like(x, 1)), after)):
        taps.append((_index(n, place, size), weight, _inside(n, place, size)))
    return taps


def _cubic(n: Node, x: Tensor, size: int, place_of: Callable[[Tensor], Tensor] | None) -> list[Tap]:
    """Two pixels on both sides, by Keys' kernel."""
    low = n.op("Floor", x)
    t, a, taps = n.op("Sub", x, low), _CUBIC, list[Tap]()

    def polynomial(x: Tensor, *factors: float) -> Tensor:
        y = n.like(x, factors[0])
        for f in factors[1:]:
            y = n.op("AddV2", n.op("Mul", y, x), n.like(x, f))
        return y

    for shift in (-1, 0, 1, 2):
        distance = n.op("Abs", n.op("Sub", t, n.like(t, shift)))
        near = shift in (0, 1)
        weight = polynomial(distance, *((a + 2, -(a + 3), 0, 1) if near else (a, -5 * a, 8 * a, -4 * a)))
        place = n.op("AddV2", low, n.like(x, shift))
        inside = None if place_of else _inside(n, place, size)
        taps.append((_index(n, place_of(place) if place_of else place, size), weight, inside))
    return taps


def _taps(n: Node, x: Tensor, size: int, mode: str, padding: str, aligned: bool) -> list[Tap]:
    """The taps of positions along one axis."""
    kept: Callable[[Tensor], Tensor] | None = None
    if padding == "border":
        kept = lambda y: _clamped(n, y, size)  # noqa: E731
    elif padding == "reflection":
        kept = lambda y: _reflected(n, y, size, aligned)  # noqa: E731
    if mode == "cubic":
        return _cubic(n, x, size, kept)
    x = kept(x) if kept else x
    if mode == "linear":
        return _linear(n, x, size)
    place = n.op("Rint", x)
    return [(_index(n, place, size), None, _inside(n, place, size))]


def _gathered(n: Node, rows: Tensor, base: Tensor, sizes: Sequence[int], axes: Sequence[Sequence[Tap]]) -> list[Tensor]:
    """The weighted rows of all pixels that a value is made of. ``base``: number of the image."""
    n.importer.budget.nodes(f"pixels of {n.place}", prod(map(len, axes)))
    found = []
    for taps in itertools.product(*axes):
        place = base
        for (index, _, _), size in zip(taps, sizes, strict=True):
            place = n.op("AddV2", n.op("Mul", place, n.const(size)), index)
        value = n.op("GatherV2", rows, place, n.const(0))
        weights = [w for _, w, _ in taps if w is not None]
        if weights:
            weight = n.cast(reduce(lambda a, b: n.op("Mul", a, b), weights), n.dtype(rows))
            value = n.op("Mul", value, n.op("ExpandDims", weight, n.const(-1)))
        inside = [v for _, _, v in taps if v is not None]
        if inside:
            all_of = reduce(lambda a, b: n.op("LogicalAnd", a, b), inside)
            value = n.op("SelectV2", n.op("ExpandDims", all_of, n.const(-1)), value, n.like(rows, 0))
        found.append(value)
    return found


def _total(n: Node, values: Sequence[Tensor]) -> Tensor:
    return reduce(lambda a, b: n.op("AddV2", a, b), values)


def _channels_first(n: Node, y: Tensor) -> Tensor:
    rank = n.rank(y)
    return n.transpose(y, [0, rank - 1, *range(1, rank - 1)])


def _grid_sample(n: Node) -> Tensor:
    """The image at positions from -1 to 1, those of the last axis first."""
    x, grid = n.input(0), n.input(1)
    sizes, aligned = _sizes(n, x), n.flag("align_corners")
    mode, padding = n.text("mode", "linear"), n.text("padding_mode", "zeros")
    if mode not in _MODES or padding not in ("zeros", "border", "reflection"):
        raise n.wrong(
            f"mode {mode[:40]!r}, padding_mode {padding[:40]!r}",
            "linear, nearest or cubic; zeros, border or reflection",
        )
    axes, rank = len(sizes), n.rank(grid)
    if rank != axes + 2 or n.shape(grid)[-1] not in (None, axes) or n.dtype(x).kind != "f":
        raise n.wrong(f"a grid {n.type_of(grid)} for {n.type_of(x)}", "one position for every axis, of floats")
    parts = n.ops(
        "Split",
        [n.const(-1, "int32"), n.cast(grid, "float64" if n.dtype(x) == np.float64 else "float32")],
        axes,
        num_split=axes,
    )
    taps = []
    for size, part in zip(sizes, reversed(parts), strict=True):
        g = n.op("AddV2", n.op("Squeeze", part, squeeze_dims=(-1,)), n.like(part, 1))
        if aligned:
            place = n.op("Mul", n.op("Mul", g, n.like(g, 0.5)), n.like(g, size - 1))
        else:
            place = n.op("Mul", n.op("Sub", n.op("Mul", g, n.like(g, size)), n.like(g, 1)), n.like(g, 0.5))
        taps.append(_taps(n, place, size, _MODES[mode], padding, aligned))
    base = _ramp(n, n.size(x, 0), rank - 1)
    return _channels_first(n, _total(n, _gathered(n, _rows(n, x), base, sizes, taps)))


def _affine_grid(n: Node) -> Tensor:
    """Positions of the pixels of an image of a size from -1 to 1, each turned by a matrix."""
    theta, size, aligned = n.input(0), n.int_list(1, "the size of the image"), n.flag("align_corners")
    if size is None or len(size) not in (4, 5) or min(size) < 1 or n.shape(theta)[1:] != (len(size) - 2, len(size) - 1):
        raise n.wrong(f"{n.type_of(theta)} for the size {size}", "(batch, axes, axes + 1) and (batch, channels, ...)")
    spatial, dtype = size[2:], n.dtype(theta)
    n.importer.budget.item(f"positions of {n.place}", 0, prod(spatial))
    steps = []
    for d in spatial:
        whole = np.arange(d)
        steps.append(whole * (2 / max(d - 1, 1)) - 1 if aligned else (2 * whole + 1) / d - 1)
    planes = np.meshgrid(*steps, indexing="ij")
    points = np.stack([*reversed(planes), np.ones(spatial)], -1).reshape(-1, len(spatial) + 1)
    y = n.op("BatchMatMulV2", n.const(points[None], dtype), theta, adj_y=True)
    return n.op("Reshape", y, n.vector([n.size(theta, 0), *spatial, len(spatial)]))


def _roi_axis(n: Node, low: Tensor, high: Tensor, size: int, pooled: int, ratio: int, whole: bool) -> list[Tap]:
    """The taps of the samples of all regions along one axis: (regions, pooled * ratio)."""
    length = n.op("Sub", high, low)
    length = n.op("Maximum", length, n.like(length, 1)) if whole else length
    offsets = (np.arange(pooled * ratio) + 0.5) / (pooled * ratio)
    place = n.op("AddV2", low, n.op("Mul", length, n.const(offsets[None], n.dtype(low))))
    inside = n.op(
        "LogicalAnd", n.op("GreaterEqual", place, n.like(place, -1)), n.op("LessEqual", place, n.like(place, size))
    )
    return [(index, weight, inside) for index, weight, _ in _linear(n, _clamped(n, place, size), size)]


def _roi_axis_of_any(
    n: Node, low: Tensor, high: Tensor, size: int, pooled: int, whole: bool
) -> tuple[list[Tap], Tensor]:
    """The same with as many samples in a cell as it has pixels, rounded up; the most of all regions are taken.

    The weights of a region's samples have the sum 1 in every cell, and those that it does not have weigh nothing.
    """
    length = n.op("Sub", high, low)
    length = n.op("Maximum", length, n.like(length, 1)) if whole else length
    cell = n.op("RealDiv", length, n.like(length, pooled))
    count = n.op("Maximum", n.op("Ceil", cell), n.like(cell, 0))
    most = n.op("Max", n.op("ConcatV2", n.reshape(count, [-1]), n.const([1], n.dtype(count)), n.const(0)), n.const([0]))
    most = n.op("Minimum", most, n.like(most, _MOST_SAMPLES))
    ramp = n.cast(n.op("Range", n.const(0), n.cast(most, "int64"), n.const(1)), n.dtype(low))
    some = n.op("Maximum", count, n.like(count, 1))
    inner = n.op("RealDiv", n.op("AddV2", ramp, n.like(ramp, 0.5)), some)  # (regions, samples)
    share = n.op("RealDiv", n.cast(n.op("Less", ramp, count), n.dtype(low)), some)
    share = n.op("SelectV2", n.op("Greater", count, n.like(count, _MOST_SAMPLES)), n.like(share, np.nan), share)
    first = n.const(np.arange(pooled)[:, None], n.dtype(low))
    place = n.op(
        "Mul", n.op("ExpandDims", cell, n.const(2)), n.op("AddV2", first, n.op("ExpandDims", inner, n.const(1)))
    )
    place = n.op("AddV2", n.op("ExpandDims", low, n.const(2)), place)
    samples = n.reshape(n.cast(most, "int64"), [1])
    flat = n.vector([n.size(low, 0), n.op("Mul", samples, n.const([pooled]))])
    weight = n.op("Tile", share, n.const([1, pooled]))
    place = n.op("Reshape", place, flat)
    inside = n.op(
        "LogicalAnd", n.op("GreaterEqual", place, n.like(place, -1)), n.op("LessEqual", place, n.like(place, size))
    )
    taps = _linear(n, _clamped(n, place, size), size)
    return [(index, n.op("Mul", w, weight), inside) for index, w, _ in taps if w is not None], samples


def _roi_align(n: Node) -> Tensor:
    """The mean (or largest) of samples in the cells of regions (x, y, x, y)."""
    x, rois, images = n.input(0), n.input(1), n.cast(n.input(2), "int64")
    sizes = _sizes(n, x)
    shape = n.integer("output_height", 1), n.integer("output_width", 1)
    ratio, mode = n.integer("sampling_ratio", 0), n.text("mode", "avg")
    rule = n.text("coordinate_transformation_mode", "half_pixel" if n.version >= 16 else "output_half_pixel")
    if len(sizes) != 2 or min(shape) < 1 or max(shape) > 1 << 12 or mode not in ("avg", "max"):
        raise n.wrong(f"{n.type_of(x)}, output {shape}, mode {mode[:20]!r}", "an NCHW image, sizes from 1, avg or max")
    if not 0 <= ratio <= 64 or (mode == "max" and not ratio):
        raise n.unsupported(f"sampling_ratio {ratio} in mode {mode}", "export it with 2")
    if rule not in ("half_pixel", "output_half_pixel"):
        raise n.wrong(f"coordinate_transformation_mode {rule[:40]!r}", "half_pixel or output_half_pixel")
    scaled = n.op("Mul", rois, n.like(rois, n.number("spatial_scale", 1.0)))
    if rule == "half_pixel":
        scaled = n.op("Sub", scaled, n.like(rois, 0.5))
    left, top, right, bottom = n.ops("Split", [n.const(1, "int32"), scaled], 4, num_split=4)
    whole = rule == "output_half_pixel"
    taps, samples = [], list[int | Tensor]()
    for axis, (low, high) in enumerate(((top, bottom), (left, right))):
        count: int | Tensor
        if ratio:
            own, count = _roi_axis(n, low, high, sizes[axis], shape[axis], ratio, whole), ratio
        else:
            own, count = _roi_axis_of_any(n, low, high, sizes[axis], shape[axis], whole)
        samples.append(count)
        place = n.const(2 if axis == 0 else 1)
        taps.append([tuple(None if t is None else n.op("ExpandDims", t, place) for t in tap) for tap in own])
    base = n.reshape(images, [-1, 1, 1])
    values = _gathered(n, _rows(n, x), base, sizes, taps)  # type: ignore[arg-type]
    y = _total(n, values) if mode == "avg" else reduce(lambda a, b: n.op("Maximum", a, b), values)
    y = n.op("Reshape", y, n.vector([n.size(rois, 0), shape[0], samples[0], shape[1], samples[1], n.size(x, 1)]))
    y = n.op("Max" if mode == "max" else "Mean" if ratio else "Sum", y, n.const([2, 4]))
    return _channels_first(n, y)


def _moved(
    n: Node, offset: Tensor, kernel: Sequence[int], window: Window, out: Sequence[int], sizes: Sequence[int]
) -> list[list[Tap]]:
    """The taps of all cells of all windows: (batch * groups of offsets, cells, high, wide)."""
    taps = []
    moves = n.op("Reshape", offset, n.vector([-1, prod(kernel), 2, *out]))
    for axis, (steps, size) in enumerate(zip(out, sizes, strict=True)):
        cell = np.arange(kernel[axis]) * window.dilations[axis] - (window.begins or (0, 0))[axis]
        cell = np.repeat(cell, kernel[1]) if axis == 0 else np.tile(cell, kernel[0])
        place = np.arange(steps) * window.strides[axis]
        place = place[:, None] if axis == 0 else place[None, :]
        fixed = n.const((cell[:, None, None] + place)[None], n.dtype(offset))
        part = n.op("Slice", moves, n.const([0, 0, axis, 0, 0]), n.const([-1, -1, 1, -1, -1]))
        part = n.op("Squeeze", part, squeeze_dims=(2,))
        taps.append(_linear(n, n.op("AddV2", part, fixed), size))
    return taps


def _known(n: Node, *sizes: int | None) -> tuple[int, ...]:
    found = tuple(d for d in sizes if d is not None)
    if len(found) != len(sizes):
        raise n.unsupported("a deformable convolution of unknown sizes", "export it with fixed sizes")
    return found


def _deform_conv(n: Node) -> Tensor:
    """A convolution whose pixels are moved by offsets (y, x), each of which may have a weight."""
    x, w, offset, bias, mask = n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4)
    if n.rank(x) != 4 or n.rank(w) != 4 or n.rank(offset) != 4:
        raise n.unsupported("a deformable convolution of other than two spatial axes")
    sizes, group, offsets = _sizes(n, x), n.integer("group", 1), n.integer("offset_group", 1)
    outputs, depth, *kernel = _known(n, *n.shape(w))
    channels, *out = _known(n, n.shape(x)[1], *n.shape(offset)[2:])
    if n.ints("kernel_shape") not in (None, tuple(kernel)):
        raise n.wrong(f"kernel_shape {n.ints('kernel_shape')}", f"{kernel}, that of the weights")
    window, cells = window_of(n, kernel, sizes), prod(kernel)
    if group < 1 or offsets < 1 or channels % group or channels % offsets or outputs % group:
        raise n.wrong(f"{channels} channels in {group} groups, {offsets} of offsets", "multiples")
    batch, own = n.size(x, 0), channels // offsets
    images = n.op("Reshape", x, n.vector([-1, own, *sizes]))
    base = _ramp(n, n.op("Mul", batch, n.const([offsets])), 4)
    taps = _moved(n, offset, kernel, window, out, sizes)
    y = _total(n, _gathered(n, _rows(n, images), base, sizes, taps))  # (batch * offsets, cells, high, wide, channels)
    if mask is not None:
        y = n.op("Mul", y, n.op("Reshape", mask, n.vector([-1, cells, *out, 1])))
    # (batch, group, channels of it * cells, pixels) against (group, outputs of it, channels of it * cells)
    y = n.transpose(n.op("Reshape", y, n.vector([batch, offsets, cells, prod(out), own])), (0, 1, 4, 2, 3))
    y = n.op("Reshape", y, n.vector([batch, group, channels // group * cells, prod(out)]))
    filter = n.reshape(w, [1, group, outputs // group, depth * cells])
    y = n.op("Reshape", n.op("BatchMatMulV2", filter, y), n.vector([batch, outputs, *out]))
    return y if bias is None else n.op("AddV2", y, n.reshape(bias, [-1, 1, 1]))


CONVERTERS: Mapping[str, Converter] = {
    "GridSample": _grid_sample,
    "AffineGrid": _affine_grid,
    "RoiAlign": _roi_align,
    "DeformConv": _deform_conv,
}
