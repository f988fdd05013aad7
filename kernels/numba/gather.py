"""One task of a matrix product, and the gathering of its rows (im2col of a block, never of a whole image)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import DType
from .jit import carray, copy_bytes, inner, pointer, zero_bytes

__all__ = ["JOB", "gather_kernel"]

#: One task. Addresses in bytes, steps (lda, ldc, pitch, ...) and sizes in elements.
JOB = np.dtype(
    [(name, np.int64) for name in (
        "a", "lda", "b", "c", "ldc", "bias",             # lda is not used when rows are gathered
        "row0", "row1", "column0", "column1", "columns",  # this task's part of c; columns of all of c
        "k", "k_block", "row_block", "panel",             # panel: vectors of a full panel
        "buffer", "buffer_step", "edge",                  # gathered rows (0: none); tile at a ragged right edge
        "height", "width", "channels", "pitch",           # the rest: geometry of a convolution
        "out_height", "out_width", "window_height", "window_width",
        "stride_y", "stride_x", "dilation_y", "dilation_x", "top", "left",
        "across",                                         # rows are window cells, k is the output pixels
    )]
    + [("low", np.float64), ("high", np.float64)]
)  # fmt: skip


@inner
def _put(target: int, k0: int, k1: int, first: int, end: int, source: int, size: int) -> None:
    """Elements [first, end) of a row of k, clipped to [k0, k1): copied from ``source`` (of ``first``), or zero if 0."""
    low, high = max(first, k0), min(end, k1)
    if low >= high:
        return
    at, count = target + (low - k0) * size, (high - low) * size
    if source == 0:
        zero_bytes(at, count)
    else:
        copy_bytes(at, source + (low - first) * size, count)


@inner
def _gather_pixels(job: Any, row: int, rows: int, k0: int, k1: int, size: int) -> None:
    """Writes the inputs of ``rows`` output pixels from ``row`` on, elements [k0, k1) of (window y, window x, channel)."""
    channels, pitch, width = job.channels, job.pitch, job.width
    plane = job.out_height * job.out_width
    image, rest = row // plane, row % plane
    i, j = rest // job.out_width, rest % job.out_width
    span = job.window_width * channels
    whole = job.dilation_x == 1 and pitch == channels  # contiguous taps: one copy per window row
    for r in range(rows):
        target = job.buffer + r * job.buffer_step * size
        x0 = j * job.stride_x - job.left
        for u in range(k0 // span, job.window_height):
            first = u * span
            if first >= k1:
                break
            y = i * job.stride_y - job.top + u * job.dilation_y
            if y < 0 or y >= job.height:
                _put(target, k0, k1, first, first + span, 0, size)
                continue
            line = job.a + (image * job.height + y) * width * pitch * size
            if whole:
                v0 = min(max(0, -x0), job.window_width)
                v1 = max(min(job.window_width, width - x0), v0)
                a, b = first + v0 * channels, first + v1 * channels
                _put(target, k0, k1, first, a, 0, size)
                _put(target, k0, k1, a, b, line + (x0 + v0) * pitch * size, size)
                _put(target, k0, k1, b, first + span, 0, size)
            else:
                for v in range(job.window_width):
                    x = x0 + v * job.dilation_x
                    a = first + v * channels
                    source = line + x * pitch * size if 0 <= x < width else 0
                    _put(target, k0, k1, a, a + channels, source, size)
        j += 1
        if j == job.out_width:
            j = 0
            i += 1
            if i == job.out_height:
                i = 0
                image += 1


def gather_kernel(dtype: DType) -> Any:
    """``gather(job, row, rows, k0, k1)``: writes elements [k0, k1) of ``rows`` rows into the job's buffer."""
    size = dtype.itemsize

    @inner
    def gather_cells(job: Any, row: int, rows: int, k0: int, k1: int) -> None:
        """Rows are (window y, window x, channel), k is (image, y, x) of the output: the other way round.

        Reads x transposed to (channel, image, height, width), so that a line of output pixels is contiguous.
        """
        plane = job.out_height * job.out_width
        images = job.k // plane
        for r in range(rows):
            tap, channel = (row + r) // job.channels, (row + r) % job.channels
            u, v = tap // job.window_width, tap % job.window_width
            target = job.buffer + r * job.buffer_step * size
            k = k0
            while k < k1:
                image, rest = k // plane, k % plane
                i, j = rest // job.out_width, rest % job.out_width
                end = min(k + job.out_width - j, k1)
                y = i * job.stride_y - job.top + u * job.dilation_y
                x = j * job.stride_x - job.left + v * job.dilation_x
                line = job.a + ((channel * images + image) * job.height + y) * job.width * size
                if y < 0 or y >= job.height:
                    zero_bytes(target + (k - k0) * size, (end - k) * size)
                elif job.stride_x == 1:
                    first = min(k + max(0, -x), end)
                    last = max(min(k + job.width - x, end), first)
                    _put(target, k0, k1, k, first, 0, size)
                    _put(target, k0, k1, first, last, line + (x + first - k) * size, size)
                    _put(target, k0, k1, last, end, 0, size)
                else:
                    to = carray(pointer(target + (k - k0) * size), end - k, dtype)
                    of = carray(pointer(line), job.width, dtype)
                    for t in range(end - k):
                        at = x + t * job.stride_x
                        if 0 <= at < job.width:
                            to[t] = of[at]
                        else:
                            to[t] = 0
                k = end

    @inner
    def gather(job: Any, row: int, rows: int, k0: int, k1: int) -> None:
        if job.across != 0:
            gather_cells(job, row, rows, k0, k1)
        else:
            _gather_pixels(job, row, rows, k0, k1, size)

    return gather
