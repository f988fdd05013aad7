# Photographs to a network's input: c/pixels.h. Included by loops.pyx.

import numpy as np

from ..tensor import TensorType


cdef extern from "pixels.h" nogil:
    ctypedef struct ki_pixels_args:
        ptrdiff_t row_bytes
        ptrdiff_t out[2]
        int mirrored
        const int32_t *lower[2]
        const int32_t *upper[2]
        const float *weight[2]
        const float *mean
        const float *deviation
        const unsigned char *x
        float *y
        float *lines
        unsigned char *bytes
    ctypedef void (*ki_pixels "ki_pixels *")(const ki_pixels_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_pixels_table "ki_table":
        ki_pixels pixels


cdef ki_pixels PIXELS = (<const ki_pixels_table *> TABLE).pixels


def resize_pixels(x, cells, mean, deviation, y, *, mirrored=False):
    """Bilinear resizing and normalisation, in float32 as they are written: (value - mean) / deviation, nothing fused.

    x: uint8 (height, width, 3), rows of any pitch. ``cells``: for rows and for columns (lower, upper) int32 and weight
    float32, that of a column three times. mean, deviation: float32, a row of y. y: float32 (rows, columns, 3), dense.
    mirrored: y has the channels in the opposite order.
    Raises ShapeError, DTypeError or KernelError; the GIL is released.
    """
    cdef ki_pixels_args a
    cdef Py_ssize_t i, n
    if x.ndim != 3 or x.shape[2] != 3 or y.ndim != 3 or y.shape[2] != 3:
        raise ShapeError(f"resize_pixels: input {x.shape}, output {y.shape}; expected (height, width, 3) for both")
    if x.dtype.name != "uint8":
        raise DTypeError(f"the pixels have dtype {dtype_name(x.dtype)}; expected uint8")
    if x.size and (x.strides[2] != 1 or x.strides[1] != 3):
        raise KernelError(
            f"the pixels have strides {x.strides}; expected dense rows. Copy them first (numpy.ascontiguousarray)"
        )
    if not y.size:
        return
    for i in range(2):
        lower, upper, weight = cells[i]
        size, count = x.shape[i], y.shape[i]
        for array in (lower, upper):
            if not (len(array) and 0 <= array.min() and array.max() < size):
                raise KernelError(f"resize_pixels: cells are outside of the {size} pixels, or none")
        a.out[i] = count
        a.lower[i] = <const int32_t *> _dense(lower, "int32", (count,), "the lower cells", False)
        a.upper[i] = <const int32_t *> _dense(upper, "int32", (count,), "the upper cells", False)
        a.weight[i] = <const float *> _dense(weight, "float32", (count * (3 if i else 1),), "the weights", False)
    n = 3 * a.out[1]
    lines, scratch = np.empty(2 * n, np.float32), np.empty(2 * n, np.uint8)
    a.row_bytes, a.mirrored = x.strides[0], mirrored
    a.mean = <const float *> _dense(mean, "float32", (n,), "the mean", False)
    a.deviation = <const float *> _dense(deviation, "float32", (n,), "the deviation", False)
    a.x = <const unsigned char *> <size_t> x.__array_interface__["data"][0]
    a.y = <float *> _dense(y, "float32", y.shape, "the output", True)
    a.lines = <float *> _dense(lines, "float32", (2 * n,), "the lines", True)
    a.bytes = <unsigned char *> _dense(scratch, "uint8", (2 * n,), "the bytes", True)
    with nogil:
        PIXELS(&a)


cdef char *_dense(object array, str dtype, tuple shape, str what, bint writable) except NULL:
    return view(array, TensorType(np.dtype(dtype), shape), what, writable, False).data
