"""Resampling axis by axis: every tap is a gather along the axis, weighted and added. Crops of images box by box."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..contracts.resample import CROP_AND_RESIZE, RESAMPLE, CropParams, ResampleParams
from ..errors import KernelError
from ..kernel import Constants, Kernel, Prepared, Query, Run
from ..tensor import Array, is_float
from .resample_taps import Taps, taps_of
from .support import numpy_kernel, quietly

__all__ = ["KERNELS"]


#: Elements that are gathered, weighted and added together, so that all taps of them find them in the L2 cache.
_PART = 1 << 15


#: Elements of a line from which on lines are worth a call each.
_LINE = 2048


#: Numbers side by side from which on a product per target is worth its call.
_BROAD = 32
#: Taps from which on they are products with a part of the matrix of weights, and the targets of such a part.
_MANY, _TARGETS = 3, 16


def _sample(x: Array, taps: Taps, axis: int, target: Array | None = None) -> Array:
    """x, which is dense, sampled along one axis, in x's own type: into ``target`` where that is a dense array of that type."""
    count = len(taps.cells)
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    if target is not None and target.shape == shape and target.dtype == x.dtype and target.flags.c_contiguous:
        made = target
    else:
        made = np.empty(shape, x.dtype)
    lead, rest = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    source, y = x.reshape(lead, x.shape[axis], rest), made.reshape(lead, count, rest)
    if rest >= _BROAD and _is_windows(taps) and x.dtype in (np.float32, np.float64):
        assert taps.weights is not None
        size = taps.cells.shape[1]
        windows = source[:, : count * size].reshape(lead, count, size, rest)
        np.matmul(taps.weights[:1].astype(x.dtype), windows, out=y.reshape(lead, count, 1, rest))
        return made
    if taps.weights is not None and taps.cells.shape[1] >= _MANY and x.dtype in (np.float32, np.float64):
        _sample_lines(source, taps, y)
        return made
    plain = taps.weights is None or bool(taps.weights.all())
    finite = np.ones(lead, bool) if plain else np.isfinite(source).all((1, 2))
    if count * rest <= _PART and finite.all():
        step = max(1, _PART // (count * rest))
        for at in range(0, lead, step):
            _sample_part(source[at : at + step], taps, slice(None), y[at : at + step], True)
    else:  # line by line: the bits of an item must not depend on the others of a batch
        step = max(1, _PART // rest)
        for item, result, fine in zip(source, y, finite.tolist(), strict=True):
            for at in range(0, count, step):
                _sample_part(item[None], taps, slice(at, at + step), result[None, at : at + step], fine)
    return made


def _is_windows(taps: Taps) -> bool:
    """Whether every target is the same weighted sum, without a weight of 0, of cells of its own: areas of whole cells."""
    cells, weights, _ = taps
    if weights is None or not weights.all() or (weights != weights[0]).any():
        return False
    return np.array_equal(cells.reshape(-1), np.arange(cells.size))


def _sample_lines(x: Array, taps: Taps, y: Array) -> None:
    """By products where all is finite, line by line else: the bits of an item must not depend on the others of a batch."""
    good = np.isfinite(x).all((1, 2))
    if good.all():
        _sample_by_products(x, taps, y)
        return
    for item, result, fine in zip(x, y, good.tolist(), strict=True):
        if fine:
            _sample_by_products(item[None], taps, result[None])
        else:
            _sample_part(item[None], taps, slice(None), result[None], finite=False)


def _sample_by_products(x: Array, taps: Taps, y: Array) -> None:
    """(n, size, rest) -> (n, targets, rest), some neighbouring targets at a time; x is finite, for most weights are 0."""
    cells, weights, _ = taps
    assert weights is not None
    for at in range(0, len(cells), _TARGETS):
        part = cells[at : at + _TARGETS]
        first, end = int(part.min()), int(part.max()) + 1
        matrix = np.zeros((len(part), end - first), x.dtype)
        np.add.at(matrix, (np.arange(len(part))[:, None], part - first), weights[at : at + _TARGETS].astype(x.dtype))
        np.matmul(matrix, x[:, first:end], out=y[:, at : at + _TARGETS])


def _stride(cells: Array) -> slice | None:
    """The slice that picks these cells, if they ascend in equal steps."""
    first, step = int(cells[0]), int(cells[1] - cells[0]) if len(cells) > 1 else 1
    if step < 1 or (np.diff(cells) != step).any():
        return None
    return slice(first, first + (len(cells) - 1) * step + 1, step)


def _sample_part(x: Array, taps: Taps, which: slice, y: Array, finite: bool) -> None:
    """(n, size, rest) -> (n, some positions, rest), tap by tap. finite: no weight of 0 meets an infinity or NaN."""
    cells, weights, _ = taps
    if weights is None:
        np.take(x, cells[which, 0], 1, out=y, mode="clip")  # no cell is outside, and 'raise' buffers
        return
    gathered = np.empty_like(y)
    for k in range(cells.shape[1]):
        weight = weights[which, k].astype(x.dtype)[:, None]
        part, picked = y if k == 0 else gathered, _stride(cells[which, k]) if finite else None
        if picked is not None:
            np.multiply(x[:, picked], weight if (weight != weight[0]).any() else weight[0, 0], out=part)
        else:
            np.take(x, cells[which, k], 1, out=part, mode="clip")
            if not finite and not np.all(weight):
                np.copyto(part, 0, where=weight == 0)
            part *= weight
        if k:
            y += part


def _pick_lines(x: Array, y: Array, rows: Array, columns: Array, axis: int) -> None:
    """The nearest cells of two neighbouring axes, line by line; a line that is repeated is copied from the one before."""
    lead = prod(x.shape[:axis])
    source, target = (a.reshape(lead, *a.shape[axis : axis + 2], prod(a.shape[axis + 2 :])) for a in (x, y))
    places = rows.tolist()
    for image, made in zip(source, target, strict=True):
        before = None
        for at, row in enumerate(places):
            if row == before:
                made[at] = made[at - 1]
            else:
                np.take(image[row], columns, 0, out=made[at], mode="clip")
            before = row


def _by_lines(x: Array, y: Array, params: ResampleParams, taps: Sequence[Taps]) -> bool:
    """Does it all with ``_pick_lines`` where it can."""
    axes = [rule.axis % x.ndim for rule in params.rules]
    plain = all(t.weights is None and t.outside is None for t in taps) and y.dtype == x.dtype and y.flags.c_contiguous
    if not (plain and len(axes) == 2 and axes[1] == axes[0] + 1 and prod(y.shape[axes[1] :]) >= _LINE):
        return False
    _pick_lines(x, y, taps[0].cells[:, 0], taps[1].cells[:, 0], axes[0])
    return True


def _resample(inputs: Sequence[Array], outputs: Sequence[Array], params: ResampleParams, taps: Sequence[Taps]) -> None:
    (x,), (y,) = inputs, outputs
    if y.size == 0:
        return
    if any(t.weights is not None for t in taps):
        real = np.float64 if np.float64 in (x.dtype, y.dtype) or x.itemsize > 8 else np.float32
        # The truth of conformance cases is computed in a wider type.
        x = x.astype(y.dtype if y.itemsize > 8 else real, copy=False)
    x = np.ascontiguousarray(x)
    if _by_lines(x, y, params, taps):
        return
    # Axes that shrink first: less to do for the others.
    order = sorted(zip(params.rules, taps, strict=True), key=lambda p: p[0].size / x.shape[p[0].axis])
    for number, (rule, each) in enumerate(order, 1):
        x = _sample(x, each, rule.axis % x.ndim, y if number == len(order) else None)
    if x is not y:
        y[...] = x
    for rule, each in zip(params.rules, taps, strict=True):
        if each.outside is not None and each.outside.any():
            np.moveaxis(y, rule.axis, 0)[each.outside] = params.value


class _PreparedResample:
    """The taps of every axis, computed once."""

    workspace_bytes = 0
    absorbed: frozenset[int] = frozenset()

    def __init__(self, query: Query[ResampleParams]) -> None:
        self.params = query.params
        shape = query.inputs[0].dims
        empty = 0 in query.outputs[0].dims
        self.taps = [] if empty else [taps_of(rule, shape[rule.axis]) for rule in query.params.rules]

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return quietly(_resample, tuple(inputs), tuple(outputs), self.params, self.taps)


def _prepare(query: Query[ResampleParams], constants: Constants) -> Prepared:
    return _PreparedResample(query)


def _box_positions(begin: Array, end: Array, size: int, out: int) -> Array:
    """(boxes, out) positions in float32, as TensorFlow computes them."""
    real = np.float32
    if out == 1:
        return (real(0.5) * (begin + end) * real(size - 1))[:, None]
    step = (end - begin) * real(size - 1) / real(out - 1)
    return (begin * real(size - 1))[:, None] + np.arange(out, dtype=real) * step[:, None]


def _crop(inputs: Sequence[Array], outputs: Sequence[Array], params: CropParams) -> None:
    image, boxes, owners = inputs
    (y,) = outputs
    wrong = owners[(owners < 0) | (owners >= len(image))]
    if wrong.size:
        raise KernelError(f"crop_and_resize: there is no image {wrong.flat[0]} in a batch of {len(image)}")
    if y.size == 0:
        return
    height, width = image.shape[1:3]
    down = _box_positions(boxes[:, 0], boxes[:, 2], height, params.size[0])
    across = _box_positions(boxes[:, 1], boxes[:, 3], width, params.size[1])
    one = _nearest if params.method == "nearest" else _bilinear
    for box, owner in enumerate(owners):
        rows, columns = down[box], across[box]
        inside_y, inside_x = (rows >= 0) & (rows <= height - 1), (columns >= 0) & (columns <= width - 1)
        # Positions outside, NaN too, are replaced at the end.
        crop = one(image[owner], np.where(inside_y, rows, 0), np.where(inside_x, columns, 0))
        y[box] = crop
        y[box, ~inside_y] = params.value
        y[box][:, ~inside_x] = params.value


def _away(x: Array) -> Array:
    """Rounded to the nearest whole number, halves up; x is not negative."""
    floor = np.floor(x)
    return (floor + (x - floor >= 0.5)).astype(np.intp)


def _nearest(image: Array, rows: Array, columns: Array) -> Array:
    return image[_away(rows)[:, None], _away(columns)]


def _bilinear(image: Array, rows: Array, columns: Array) -> Array:
    top, left = np.floor(rows), np.floor(columns)
    wy, wx = (rows - top)[:, None, None], (columns - left)[:, None]
    upper, lower = top.astype(np.intp)[:, None], np.ceil(rows).astype(np.intp)[:, None]
    before, after = left.astype(np.intp), np.ceil(columns).astype(np.intp)
    real = image.dtype if is_float(image.dtype) and image.itemsize > 4 else np.float32

    def row(at: Array) -> Array:
        first = image[at, before].astype(real)
        return first + (image[at, after].astype(real) - first) * wx

    above = row(upper)
    return above + (row(lower) - above) * wy


KERNELS: tuple[Kernel, ...] = (
    Kernel(RESAMPLE, "host", "resample", prepare=_prepare, strided_inputs=True, strided_outputs=True),
    numpy_kernel(CROP_AND_RESIZE, "host", _crop),
)
