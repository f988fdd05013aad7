"""Pools over one, two or three spatial axes, and over all of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from math import prod

import numpy as np

from ....kernels.tensor import DType
from ...builder import Tensor
from .node import Converter, Node, Outputs
from .windows import Window, from_nhwc, pad_spatial, to_nhwc, window_of

__all__ = ["CONVERTERS", "average_attrs", "average_pool"]

#: Cells of a dilated window, each of which is a slice.
_MOST_CELLS = 1024


def _window(n: Node, x: Tensor, *, dilated: bool) -> tuple[Window, tuple[int, ...]]:
    """The window of a pool, and what ceil_mode adds to the padding at the end of each axis."""
    sizes = n.shape(x)
    if not 3 <= len(sizes) <= 5:
        raise n.unsupported(f"a pool of {len(sizes)} axes")
    kernel = n.ints("kernel_shape")
    if kernel is None or len(kernel) != len(sizes) - 2:
        raise n.wrong(f"kernel_shape {kernel}", f"{len(sizes) - 2} sizes")
    window = window_of(n, kernel, sizes[2:], dilated=dilated)
    auto = n.text("auto_pad", "NOTSET")
    if not n.flag("ceil_mode") or auto.startswith("SAME"):
        return window, (0,) * len(kernel)
    more = []
    for size, e, s, b, a in zip(
        sizes[2:], window.extents, window.strides, window.begins or (), window.ends or (), strict=True
    ):
        if s == 1:
            more.append(0)
            continue
        if size is None:
            raise n.unsupported("ceil_mode on an axis of unknown size", "export it with a fixed size")
        out = -(-(size + b + a - e) // s) + 1
        out -= (out - 1) * s >= size + b  # a window that would begin in the padding at the end
        more.append(max((out - 1) * s + e - size - b - a, 0))
    return window, tuple(more)


def _pool_attrs(window: Window) -> dict[str, object]:
    common: dict[str, object] = {"ksize": (1, *window.kernel, 1), "strides": (1, *window.strides, 1)}
    if window.begins is None:
        return {**common, "padding": "SAME"}
    if not window.padded:
        return {**common, "padding": "VALID"}
    return {**common, "padding": "EXPLICIT", "explicit_paddings": tuple(window.explicit())}


def _lowest(dtype: DType) -> float | int:
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _max_pool(n: Node) -> Outputs:
    x = n.input(0)
    window, more = _window(n, x, dilated=True)
    if n.wants(1):
        return _with_indices(n, x, window, more, n.flag("storage_order"))
    n.ignore("storage_order")  # of the indices
    if window.ends is not None:
        window = replace(window, ends=tuple(e + m for e, m in zip(window.ends, more, strict=True)))
    y, rank = to_nhwc(n, x), n.rank(x)
    if any(d > 1 for d in window.dilations):
        y = _padded(n, y, window, _lowest(n.dtype(x)))
        y = reduce(lambda a, b: n.op("Maximum", a, b), _cells(n, y, window.in_plane()))
    elif rank == 5:
        y = _padded(n, y, window, _lowest(n.dtype(x)))
        y = n.op("MaxPool3D", y, **_pool_attrs(_unpadded(window)))
    else:
        y = n.op("MaxPool", _beyond(n, y, window, _lowest(n.dtype(x))), **_pool_attrs(_within(window.in_plane())))
    return from_nhwc(n, y, rank)


def _with_indices(n: Node, x: Tensor, window: Window, more: Sequence[int], by_column: bool) -> Outputs:
    """The largest, and where they are in the whole flat input, whose last axis counts fastest, or the one before it."""
    rank = n.rank(x)
    if rank > 4 or window.ends is None:
        raise n.unsupported("the indices of a pool over three axes, or with SAME padding of an unknown size")
    window = replace(window, ends=tuple(e + m for e, m in zip(window.ends, more, strict=True))).in_plane()
    image = to_nhwc(n, x)
    (_, high, wide, channels) = n.shape(image)
    if None in (high, wide, channels):
        raise n.unsupported("the indices of a pool of an unknown size", "export it with a fixed size")
    (top, left), padded = window.begins or (0, 0), image
    if window.padded:
        padded = _padded(n, image, window, _lowest(n.dtype(x)))
    y, row, column = _largest(n, padded, _unpadded(window))
    row, column = n.op("Sub", row, n.const(top)), n.op("Sub", column, n.const(left))
    if by_column and rank == 4:
        place = n.op("AddV2", n.op("Mul", column, n.const(high)), row)
    else:
        place = n.op("AddV2", n.op("Mul", row, n.const(wide)), column)
    ramps = []
    for axis, step in ((0, (channels or 0) * (high or 0) * (wide or 0)), (3, (high or 0) * (wide or 0))):
        length = n.op("Reshape", n.size(image, axis), n.const([], "int64"))
        ramp = n.op("Mul", n.op("Range", n.const(0), length, n.const(1)), n.const(step))
        ramps.append(n.reshape(ramp, [-1, 1, 1, 1]) if axis == 0 else ramp)
    place = n.op("AddV2", n.op("AddV2", place, ramps[1]), ramps[0])
    return from_nhwc(n, y, rank), from_nhwc(n, place, rank)


def _largest(n: Node, image: Tensor, window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """The largest of each window of an image, NHWC, and its row and column."""
    if all(d == 1 for d in window.dilations):
        (_, _, width, channels) = n.shape(image)
        y, places = n.ops("MaxPoolWithArgmax", [image], 2, Targmax=np.dtype(np.int64), **_pool_attrs(window))
        cell = n.op("FloorDiv", places, n.const(channels or 1))
        return y, n.op("FloorDiv", cell, n.const(width or 1)), n.op("FloorMod", cell, n.const(width or 1))
    cells = n.op("Pack", *_cells(n, image, window), axis=0)
    y, number = n.op("Max", cells, n.const([0])), n.op("ArgMax", cells, n.const(0), output_type=np.dtype(np.int64))
    positions = []
    kernel = window.kernel[1]
    for axis, within in (
        (0, n.op("FloorDiv", number, n.const(kernel))),
        (1, n.op("FloorMod", number, n.const(kernel))),
    ):
        length = n.op("Reshape", n.size(y, axis + 1), n.const([], "int64"))
        first = n.op("Mul", n.op("Range", n.const(0), length, n.const(1)), n.const(window.strides[axis]))
        place = n.op("Mul", within, n.const(window.dilations[axis]))
        positions.append(n.op("AddV2", place, n.reshape(first, [-1, 1, 1] if axis == 0 else [-1, 1])))
    return y, positions[0], positions[1]


def _max_unpool(n: Node) -> Tensor:
    """Values back at the places that a pool has given, zeros elsewhere; zeros behind, too, if the shape given is larger."""
    x, places, shape = n.input(0), n.input(1), n.int_list(2, "the output's shape")
    sizes = n.shape(x)
    kernel = n.ints("kernel_shape")
    if kernel is None or len(kernel) != len(sizes) - 2:
        raise n.wrong(f"kernel_shape {kernel}", f"{len(sizes) - 2} sizes")
    window = window_of(n, kernel, sizes[2:], dilated=False)
    known = [d for d in sizes if d is not None]
    if len(known) != len(sizes) or window.begins is None or window.ends is None:
        raise n.unsupported("an image of unknown size", "export it with a fixed size")
    parts = zip(known[2:], window.strides, window.begins, window.ends, kernel, strict=True)
    own = [*known[:2], *((d - 1) * s - b - e + k for d, s, b, e, k in parts)]
    if min(own) < 0:
        raise n.wrong(f"an output of {own}", "sizes of at least 0")
    flat = n.op("Fill", n.const([prod(own)]), n.like(x, 0))
    y = n.op("TensorScatterUpdate", flat, n.reshape(places, [-1, 1]), n.reshape(x, [-1]))
    y = n.reshape(y, own)
    if shape is None or list(shape) == own:
        return y
    if len(shape) != len(own) or any(a < b for a, b in zip(shape, own, strict=True)):
        raise n.wrong(f"an output of {list(shape)}", f"at least {own}")
    return n.op("Pad", y, n.const([(0, a - b) for a, b in zip(shape, own, strict=True)]))


def _padded(n: Node, y: Tensor, window: Window, value: float) -> Tensor:
    if window.begins is None or window.ends is None:
        raise n.unsupported("SAME padding of an axis of unknown size here", "export it with a fixed size")
    plane = window.in_plane()
    return pad_spatial(n, y, plane.begins or (), plane.ends or (), value)


def _unpadded(window: Window) -> Window:
    zero = (0,) * len(window.kernel)
    return replace(window, begins=zero, ends=zero)


def _fits(window: Window) -> bool:
    """Whether every window has a cell inside the image, as the pools require."""
    return window.begins is None or all(
        p < k for p, k in zip((*window.begins, *(window.ends or ())), window.kernel * 2, strict=True)
    )


def _beyond(n: Node, y: Tensor, window: Window, value: float) -> Tensor:
    return y if _fits(window) else _padded(n, y, window, value)


def _within(window: Window) -> Window:
    return window if _fits(window) else _unpadded(window)


def _cells(n: Node, y: Tensor, window: Window) -> list[Tensor]:
    """For every cell of the window what all windows have there: strided slices of the padded image, NHWC."""
    if prod(window.kernel) > _MOST_CELLS:
        raise n.unsupported(f"a dilated window of {list(window.kernel)} cells")
    n.importer.budget.nodes(f"cells of {n.place}", prod(window.kernel))
    cells = []
    for cell in itertools.product(*map(range, window.kernel)):
        begins = [c * d for c, d in zip(cell, window.dilations, strict=True)]
        ends = [-(k - 1 - c) * d for c, k, d in zip(cell, window.kernel, window.dilations, strict=True)]
        mask = sum(1 << (i + 1) for i, e in enumerate(ends) if e == 0) | 1
        cells.append(
            n.op("StridedSlice", y, n.const([0, *begins]), n.const([0, *ends]), n.const([1, *window.strides]),
                 begin_mask=1, end_mask=mask)
        )  # fmt: skip
    return cells


def _average_pool(n: Node) -> Tensor:
    return average_pool(n, n.input(0))


def average_attrs(n: Node, x: Tensor) -> Mapping[str, object] | None:
    """The attributes of AvgPool for the node's windows of an NHWC image; None where one op does not do it."""
    window, more = _window(n, x, dilated=True)
    counted = n.flag("count_include_pad")
    if any(d > 1 for d in window.dilations) or n.rank(x) == 5:
        return None
    if counted and window.padded:
        if window.begins is None or any(more) or not _fits(window):
            return None
        return {"count_include_pad": True, **_pool_attrs(window.in_plane())}
    if window.ends is not None:
        window = replace(window, ends=tuple(e + m for e, m in zip(window.ends, more, strict=True)))
    return _pool_attrs(window.in_plane()) if _fits(window) else None


def average_pool(n: Node, x: Tensor) -> Tensor:
    """The mean of each window. Padding counts with count_include_pad; what ceil_mode adds never does."""
    window, more = _window(n, x, dilated=True)
    counted = n.flag("count_include_pad")
    attrs = average_attrs(n, x)
    y, rank = to_nhwc(n, x), n.rank(x)
    if attrs is not None:
        return from_nhwc(n, n.op("AvgPool", y, **attrs), rank)
    if any(d > 1 for d in window.dilations) or rank == 5:
        return from_nhwc(n, _mean_of_cells(n, y, window, more, counted), rank)
    if counted and window.begins is None:
        raise n.unsupported("count_include_pad with SAME padding of an axis of unknown size")
    if counted:
        y, window = _padded(n, y, window, 0), _unpadded(window)
    if window.ends is not None:
        window = replace(window, ends=tuple(e + m for e, m in zip(window.ends, more, strict=True)))
    if not _fits(window):
        raise n.unsupported(f"padding {window.begins} {window.ends} beyond the window {window.kernel}")
    return from_nhwc(n, n.op("AvgPool", y, **_pool_attrs(window.in_plane())), rank)


def _mean_of_cells(n: Node, y: Tensor, window: Window, more: Sequence[int], counted: bool) -> Tensor:
    """Sum and count of the cells; for windows with holes, or of three axes."""
    if window.begins is None or window.ends is None:
        raise n.unsupported("SAME padding of an axis of unknown size here", "export it with a fixed size")
    plane = window.in_plane()
    tail = tuple(more) if len(more) == len(plane.kernel) else (0, *more)
    zero = (0,) * len(tail)
    ones = n.op("Fill", n.sizes(y), n.like(y, 1))
    planes = []
    for value, inner in ((y, 0.0), (ones, 1.0 if counted else 0.0)):
        padded = pad_spatial(n, value, plane.begins or (), plane.ends or (), inner)
        cells = _cells(n, pad_spatial(n, padded, zero, tail), plane)
        planes.append(reduce(lambda a, b: n.op("AddV2", a, b), cells))
    return n.op("RealDiv", *planes)


def _lp_pool(n: Node) -> Tensor:
    """(sum of |x| ** p) ** (1 / p): the mean times the cells, padding counted."""
    x, p = n.input(0), n.integer("p", 2)
    window, more = _window(n, x, dilated=True)
    if p < 1:
        raise n.wrong(f"p = {p}", "at least 1")
    if window.begins is None or window.ends is None:
        raise n.unsupported("SAME padding of an axis of unknown size here", "export it with a fixed size")
    y, rank = to_nhwc(n, n.op("Pow", n.op("Abs", x), n.like(x, p))), n.rank(x)
    window = replace(window, ends=tuple(e + m for e, m in zip(window.ends, more, strict=True)))
    cells = _cells(n, _padded(n, y, window, 0), window.in_plane())
    total = reduce(lambda a, b: n.op("AddV2", a, b), cells)
    return from_nhwc(n, n.op("Pow", total, n.like(x, 1 / p)), rank)


def _global(kind: str) -> Converter:
    def convert(n: Node) -> Tensor:
        x = n.input(0)
        rank = n.rank(x)
        if rank < 2:
            raise n.wrong(f"{rank} axes", "batch, channels and more")
        return n.op(kind, x, n.const(list(range(2, rank))), keep_dims=True)

    return convert


def _global_lp(n: Node) -> Tensor:
    x, p = n.input(0), n.integer("p", 2)
    powers = n.op("Pow", n.op("Abs", x), n.like(x, p))
    total = n.op("Sum", powers, n.const(list(range(2, n.rank(x)))), keep_dims=True)
    return n.op("Pow", total, n.like(x, 1 / p))


CONVERTERS: Mapping[str, Converter] = {
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
    "AveragePool": _average_pool,
    "LpPool": _lp_pool,
    "GlobalAveragePool": _global("Mean"),
    "GlobalMaxPool": _global("Max"),
    "GlobalLpPool": _global_lp,
}
