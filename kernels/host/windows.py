"""Max pooling with places, dilation and patches, tap by tap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..contracts.conv2d import explicit_padding
from ..contracts.windows import DILATION2D, EXTRACT_PATCHES, MAX_POOL_ARGMAX, ArgmaxParams, WindowParams
from ..tensor import STRING, Array
from .support import lowest, numpy_kernel
from .taps import Tap, taps

__all__ = ["KERNELS"]


def _taps(x: Array, y: Array, window: tuple[int, int], params: WindowParams) -> Iterator[Tap]:
    size = (x.shape[1], x.shape[2])
    top, _, left, _ = explicit_padding(params.padding, size, window, params.strides, params.rates)
    return taps(size, (y.shape[1], y.shape[2]), window, params.strides, (top, left), params.rates)


def _max_pool_argmax(inputs: Sequence[Array], outputs: Sequence[Array], params: ArgmaxParams) -> None:
    (x,), (y, places) = inputs, outputs
    if y.size == 0:
        return
    n, h, w, c = x.shape
    place = np.arange(h * w * c, dtype=places.dtype).reshape(1, h, w, c)
    images = np.arange(n if params.by_batch else 1, dtype=places.dtype).reshape(-1, 1, 1, 1) * places.dtype.type(
        h * w * c
    )
    empty = np.ones(y.shape, bool)
    y[...] = 0
    for tap in _taps(x, y, params.window.window, params.window):
        at = (slice(None), tap.out_rows, tap.out_columns)
        value = x[:, tap.rows, tap.columns]
        wins = (y[at] < value) | empty[at]
        np.copyto(y[at], value, where=wins)
        np.copyto(places[at], place[:, tap.rows, tap.columns] + images, where=wins)
        empty[at] = False


def _dilation2d(inputs: Sequence[Array], outputs: Sequence[Array], params: WindowParams) -> None:
    (x, w), (y,) = inputs, outputs
    if y.size == 0:
        return
    y[...] = np.finfo(y.dtype).min if y.dtype.kind == "f" else lowest(y.dtype)
    for tap in _taps(x, y, (w.shape[0], w.shape[1]), params):
        at = (slice(None), tap.out_rows, tap.out_columns)
        value = x[:, tap.rows, tap.columns] + w[tap.u, tap.v]
        if y.dtype.kind == "f":
            value += 0  # one zero: np.fmax, which passes over NaN, gives either of -0 and 0
            np.fmax(y[at], value, out=y[at])
        else:
            np.maximum(y[at], value, out=y[at])


def _extract_patches(inputs: Sequence[Array], outputs: Sequence[Array], params: WindowParams) -> None:
    (x,), (y,) = inputs, outputs
    if y.size == 0:
        return
    y[...] = b"" if y.dtype == STRING else 0
    channels = x.shape[3]
    for tap in _taps(x, y, params.window, params):
        first = (tap.u * params.window[1] + tap.v) * channels
        y[:, tap.out_rows, tap.out_columns, first : first + channels] = x[:, tap.rows, tap.columns]


KERNELS = (
    numpy_kernel(MAX_POOL_ARGMAX, "host", _max_pool_argmax),
    numpy_kernel(DILATION2D, "host", _dilation2d),
    numpy_kernel(EXTRACT_PATCHES, "host", _extract_patches),
)
