"""The plain loops of gradients.py, over dense arrays given by address.

``table``: height, width, channels, out_height, out_width, window_height, window_width, stride_y, stride_x, dilation_y,
dilation_x, top, left of the forward op.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..tensor import DType
from .jit import array_type, carray, compiled, inner, int64, pointer, types, void
from .scalar import exp

__all__ = [
    "avg_pool_kernel",
    "cross_entropy_kernel",
    "depthwise_filter_kernel",
    "max_pool_kernel",
    "sum_products_kernel",
]

_TABLE = array_type(np.dtype(np.int64))


@functools.cache
def sum_products_kernel(dtype: DType) -> Any:
    """``run(products, dx, table, first, end)``: lines [first, end) of one image.

    products (out_height, out_width, window_height, window_width, channels) -> dx (height, width, channels).
    """
    size = dtype.itemsize

    @compiled(f"conv2d_input_grad-{dtype}", void(int64, int64, _TABLE, int64, int64))
    def run(products: int, dx: int, table: Any, first: int, end: int) -> None:
        width, channels, out_height, out_width = table[1], table[2], table[3], table[4]
        for at_y in range(first, end):
            for at_x in range(width):
                to = carray(pointer(dx + (at_y * width + at_x) * channels * size), channels, dtype)
                for c in range(channels):
                    to[c] = 0
                for u in range(table[5]):
                    i = at_y + table[11] - u * table[9]
                    if i < 0 or i % table[7] != 0 or i // table[7] >= out_height:
                        continue
                    for v in range(table[6]):
                        j = at_x + table[12] - v * table[10]
                        if j < 0 or j % table[8] != 0 or j // table[8] >= out_width:
                            continue
                        pixel = i // table[7] * out_width + j // table[8]
                        cell = (pixel * table[5] + u) * table[6] + v
                        part = carray(pointer(products + cell * channels * size), channels, dtype)
                        for c in range(channels):
                            to[c] += part[c]

    return run


@functools.cache
def depthwise_filter_kernel(dtype: DType) -> Any:
    """``run(x, dy, df, totals, table, images, multiplier, first, end)``: window cells [first, end)."""
    size = dtype.itemsize

    @compiled(f"depthwise_filter_grad-{dtype}", void(*[int64] * 4, _TABLE, *[int64] * 4))
    def run(
        x: int, dy: int, df: int, totals: int, table: Any, images: int, multiplier: int, first: int, end: int
    ) -> None:
        height, width, channels, out_height, out_width = table[0], table[1], table[2], table[3], table[4]
        columns = channels * multiplier
        sums = carray(pointer(totals), columns, np.float64)
        for cell in range(first, end):
            u, v = cell // table[6], cell % table[6]
            for c in range(columns):
                sums[c] = 0
            for line in range(images * out_height):
                image, i = line // out_height, line % out_height
                at_y = i * table[7] + u * table[9] - table[11]
                if at_y < 0 or at_y >= height:
                    continue
                for j in range(out_width):
                    at_x = j * table[8] + v * table[10] - table[12]
                    if at_x < 0 or at_x >= width:
                        continue
                    a = carray(pointer(x + ((image * height + at_y) * width + at_x) * channels * size), channels, dtype)
                    b = carray(pointer(dy + (line * out_width + j) * columns * size), columns, dtype)
                    if multiplier == 1:
                        for c in range(channels):
                            sums[c] += np.float64(a[c]) * np.float64(b[c])
                    else:
                        for c in range(channels):
                            for q in range(multiplier):
                                sums[c * multiplier + q] += np.float64(a[c]) * np.float64(b[c * multiplier + q])
            to = carray(pointer(df + cell * columns * size), columns, dtype)
            for c in range(columns):
                to[c] = sums[c]

    return run


@functools.cache
def max_pool_kernel(dtype: DType) -> Any:
    """``run(x, y, dy, dx, taken, table, first, end)``: images [first, end); ``taken``: a byte per channel."""
    size = dtype.itemsize

    @compiled(f"max_pool2d_grad-{dtype}", void(*[int64] * 5, _TABLE, int64, int64))
    def run(x: int, y: int, dy: int, dx: int, taken: int, table: Any, first: int, end: int) -> None:
        height, width, channels, out_height, out_width = table[0], table[1], table[2], table[3], table[4]
        done = carray(pointer(taken), channels, np.uint8)
        for image in range(first, end):
            plane = height * width * channels
            whole = carray(pointer(dx + image * plane * size), plane, dtype)
            for c in range(plane):
                whole[c] = 0
            for i in range(out_height):
                for j in range(out_width):
                    place = ((image * out_height + i) * out_width + j) * channels * size
                    top, give = (
                        carray(pointer(y + place), channels, dtype),
                        carray(pointer(dy + place), channels, dtype),
                    )
                    for c in range(channels):
                        done[c] = 0
                    y0, x0 = i * table[7] - table[11], j * table[8] - table[12]
                    for at_y in range(max(y0, 0), min(y0 + table[5], height)):
                        for at_x in range(max(x0, 0), min(x0 + table[6], width)):
                            at = ((image * height + at_y) * width + at_x) * channels * size
                            cells = carray(pointer(x + at), channels, dtype)
                            to = carray(pointer(dx + at), channels, dtype)
                            for c in range(channels):
                                value, best = cells[c], top[c]
                                takes = done[c] == 0 and (value == best or (value != value and best != best))
                                if takes:
                                    to[c] += give[c]
                                    done[c] = 1

    return run


@functools.cache
def avg_pool_kernel(dtype: DType) -> Any:
    """``run(dy, dx, divisor, table, first, end)``: images [first, end); a divisor of 0: the cells inside x."""
    size, scalar = dtype.itemsize, dtype.type

    @compiled(f"avg_pool2d_grad-{dtype}", void(int64, int64, types.float64, _TABLE, int64, int64))
    def run(dy: int, dx: int, divisor: float, table: Any, first: int, end: int) -> None:
        height, width, channels, out_height, out_width = table[0], table[1], table[2], table[3], table[4]
        for image in range(first, end):
            plane = height * width * channels
            whole = carray(pointer(dx + image * plane * size), plane, dtype)
            for c in range(plane):
                whole[c] = 0
            for i in range(out_height):
                y0 = i * table[7] - table[11]
                top, bottom = max(y0, 0), min(y0 + table[5], height)
                for j in range(out_width):
                    x0 = j * table[8] - table[12]
                    left, right = max(x0, 0), min(x0 + table[6], width)
                    cells = divisor if divisor > 0 else float((bottom - top) * (right - left))
                    place = ((image * out_height + i) * out_width + j) * channels * size
                    give = carray(pointer(dy + place), channels, dtype)
                    for at_y in range(top, bottom):
                        for at_x in range(left, right):
                            at = ((image * height + at_y) * width + at_x) * channels * size
                            to = carray(pointer(dx + at), channels, dtype)
                            for c in range(channels):
                                to[c] += give[c] / scalar(cells)

    return run


@functools.cache
def cross_entropy_kernel(dtype: DType, sparse: bool) -> Any:
    """``run(logits, labels, loss, gradient, classes, first, end)``: rows [first, end); sparse labels are int64."""
    size, scalar = dtype.itemsize, dtype.type
    power = inner(exp(dtype))

    @compiled(f"{'sparse_' if sparse else ''}cross_entropy-{dtype}", void(*[int64] * 7))
    def run(logits: int, labels: int, loss: int, gradient: int, classes: int, first: int, end: int) -> None:
        losses = carray(pointer(loss), end, dtype)
        for row in range(first, end):
            of = carray(pointer(logits + row * classes * size), classes, dtype)
            to = carray(pointer(gradient + row * classes * size), classes, dtype)
            top = of[0]
            for c in range(classes):
                value = of[c]
                top = value if value > top or value != value else top
            total = 0.0
            for c in range(classes):
                to[c] = power(of[c] - top)
            for c in range(classes):
                total += to[c]
            log_total = np.log(total)
            if sparse:
                label = carray(pointer(labels + row * 8), 1, np.int64)[0]
                losses[row] = log_total - np.float64(of[label] - top)
                for c in range(classes):
                    to[c] = to[c] / total
                to[label] -= scalar(1)
            else:
                wanted = carray(pointer(labels + row * classes * size), classes, dtype)
                weight, result = 0.0, 0.0
                for c in range(classes):
                    weight += wanted[c]
                    result -= wanted[c] * (np.float64(of[c] - top) - log_total)
                losses[row] = result
                factor = weight / total
                for c in range(classes):
                    to[c] = to[c] * factor - wanted[c]

    return run
