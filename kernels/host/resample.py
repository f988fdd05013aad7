"""Resampling axis by axis: every tap is a gather along the axis, weighted and added. Crops of images box by box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.resample import CROP_AND_RESIZE, RESAMPLE, CropParams, ResampleParams
from ..errors import KernelError
from ..kernel import Constants, Kernel, Prepared, Query, Run
from ..tensor import Array, is_float
from .resample_taps import Taps, taps_of
from .support import numpy_kernel

__all__ = ["KERNELS"]


def _along(values: Array, axis: int, ndim: int) -> Array:
    return values.reshape((-1,) + (1,) * (ndim - 1 - axis))


def _sample(x: Array, taps: Taps, axis: int) -> Array:
    """x sampled along one axis, in x's own type."""
    cells, weights, _ = taps
    if weights is None:
        return np.take(x, cells[:, 0], axis)
    y: Array | None = None
    for k in range(cells.shape[1]):
        weight = _along(weights[:, k].astype(x.dtype), axis, x.ndim)
        part = np.take(x, cells[:, k], axis)
        if not np.all(weight) and not np.isfinite(part).all():
            part = np.where(weight == 0, 0, part)
        part *= weight
        if y is None:
            y = part
        else:
            y += part
    assert y is not None
    return y


def _resample(inputs: Sequence[Array], outputs: Sequence[Array], params: ResampleParams, taps: Sequence[Taps]) -> None:
    (x,), (y,) = inputs, outputs
    if y.size == 0:
        return
    if any(t.weights is not None for t in taps):
        x = x.astype(np.float64 if np.float64 in (x.dtype, y.dtype) or x.itemsize > 8 else np.float32)
        if y.itemsize > 8:  # the truth of conformance cases is computed in a wider type
            x = x.astype(y.dtype)
    # Axes that shrink first: less to do for the others.
    for rule, each in sorted(zip(params.rules, taps, strict=True), key=lambda p: p[0].size / x.shape[p[0].axis]):
        x = _sample(x, each, rule.axis % x.ndim)
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
        ins, outs, params, taps = tuple(inputs), tuple(outputs), self.params, self.taps

        def run() -> None:
            with np.errstate(all="ignore"):
                _resample(ins, outs, params, taps)

        return run


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
