"""The line kernels of c/rows.h: softmax, reductions, batch normalisation, resizing, integer products, concatenation."""

from math import prod

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free

__all__ = [
    "MAX_REDUCE_RANK", "RowsRun", "bind_concat", "bind_int_matmul", "bind_norm", "bind_reduce", "bind_resize",
    "bind_softmax", "dtypes_of",
]

include "_border.pxi"
include "_workspace.pxi"


cdef extern from "rows.h" nogil:
    enum:
        KI_REDUCE_RANK
        KI_SUM, KI_MEAN, KI_MAX, KI_MIN
    ctypedef struct ki_softmax_args:
        ptrdiff_t outer, n, inner
        int logarithm, threads
        const void *x
        void *y
    ctypedef struct ki_reduce_args:
        int kept_rank, reduced_rank, threads
        ptrdiff_t kept[8]
        ptrdiff_t kept_step[8]
        ptrdiff_t reduced[8]
        ptrdiff_t reduced_step[8]
        const void *x
        void *y
    ctypedef struct ki_norm_args:
        ptrdiff_t rows, channels, x_step, y_step
        double epsilon
        int threads
        const void *x
        const void *mean
        const void *variance
        const void *offset
        const void *scale
        void *y
        void *factors
    ctypedef struct ki_resize_args:
        ptrdiff_t batch, channels
        ptrdiff_t size "in"[2]
        ptrdiff_t out[2]
        int threads
        const int32_t *lower[2]
        const int32_t *upper[2]
        const float *weight[2]
        const void *x
        float *y
    ctypedef struct ki_int_matmul_args:
        ptrdiff_t items, m, n, k, a_row, a_col, b_row, b_col
        const ptrdiff_t *offsets
        int clamp, threads
        const void *a
        const void *b
        const void *bias
        void *y
    ctypedef struct ki_concat_part:
        const void *x
        ptrdiff_t lines, bytes, step, offset
    ctypedef struct ki_concat_args:
        ptrdiff_t rows, parts, row_bytes, y_step, row_step
        int threads
        const ki_concat_part *part
        void *y
    ctypedef void (*ki_softmax "ki_softmax *")(const ki_softmax_args *) noexcept nogil
    ctypedef void (*ki_reduce "ki_reduce *")(const ki_reduce_args *) noexcept nogil
    ctypedef void (*ki_norm "ki_norm *")(const ki_norm_args *) noexcept nogil
    ctypedef void (*ki_resize "ki_resize *")(const ki_resize_args *) noexcept nogil
    ctypedef void (*ki_int_matmul "ki_int_matmul *")(const ki_int_matmul_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef ki_reduce reduce_row[10]
    ctypedef struct ki_rows_table "ki_table":
        const ki_softmax *softmax
        const ki_norm *norm
        const ki_resize *resize
        const ki_int_matmul *int_matmul
        const reduce_row *reduce
        void (*concat)(const ki_concat_args *) noexcept nogil


cdef const ki_rows_table *KERNELS = <const ki_rows_table *> TABLE
cdef dict REDUCE_OPS = {"reduce_sum": KI_SUM, "reduce_mean": KI_MEAN, "reduce_max": KI_MAX, "reduce_min": KI_MIN}

#: Most axes of a reduction's input.
MAX_REDUCE_RANK = KI_REDUCE_RANK


cdef const void *_find(str name, int dtype):
    if name in REDUCE_OPS:
        return <const void *> KERNELS.reduce[<int> REDUCE_OPS[name]][dtype]
    if name == "softmax":
        return <const void *> KERNELS.softmax[dtype]
    if name == "norm":
        return <const void *> KERNELS.norm[dtype]
    if name == "resize":
        return <const void *> KERNELS.resize[dtype]
    return <const void *> KERNELS.int_matmul[dtype]


def dtypes_of(str name):
    """Names of the element types that 'softmax', 'norm', 'resize', 'int_matmul' or a reduction takes."""
    return tuple(dtype for i, dtype in enumerate(core.DTYPES) if _find(name, i) != NULL)


cdef class RowsRun:
    """A bound kernel: calling it computes the output once, without the GIL."""

    cdef tuple keep


cdef class SoftmaxRun(RowsRun):
    cdef ki_softmax_args args
    cdef ki_softmax function

    def __call__(self):
        with nogil:
            self.function(&self.args)


def bind_softmax(x, y, tensor_type, axis, *, logarithm, threads=1):
    """(Log-)softmax of dense x along one axis; y has the same type and may be x."""
    cdef SoftmaxRun run = SoftmaxRun.__new__(SoftmaxRun)
    cdef ki_softmax_args *a = &run.args
    cdef Py_ssize_t i
    a.outer = a.inner = 1
    for i, size in enumerate(tensor_type.shape):
        if i < axis:
            a.outer *= size
        elif i == axis:
            a.n = size
        else:
            a.inner *= size
    a.logarithm, a.threads = logarithm, threads
    a.x = view(x, tensor_type, "the input", False, False).data
    a.y = view(y, tensor_type, "the output", True, False).data
    run.function = KERNELS.softmax[<int> DTYPE_INDEX[tensor_type.dtype.name]]
    run.keep = (x, y)
    return run


cdef class ReduceRun(RowsRun):
    cdef ki_reduce_args args
    cdef ki_reduce function

    def __call__(self):
        with nogil:
            self.function(&self.args)


def bind_reduce(str op, x, x_type, y, y_type, axes, *, threads=1):
    """Reduction of dense x over sorted non-negative ``axes`` into dense y."""
    cdef ReduceRun run = ReduceRun.__new__(ReduceRun)
    cdef ki_reduce_args *a = &run.args
    cdef Py_ssize_t step = 1
    cdef int i
    # Axes from the innermost on; neighbours of one kind are joined, axes of size 1 left out.
    kept, reduced = [], []
    last = None
    for axis in range(len(x_type.shape) - 1, -1, -1):
        size = x_type.shape[axis]
        group = reduced if axis in axes else kept
        if size != 1:
            if group is last:
                group[-1][0] *= size
            else:
                group.append([size, step])
            last = group
        step *= size
    if not reduced:
        reduced.append([1, 1])
    if len(kept) > 8 or len(reduced) > 8:
        raise ShapeError(f"{op}: {x_type} over axes {axes} has more than 8 groups of axes; reshape it first")
    a.kept_rank, a.reduced_rank, a.threads = len(kept), len(reduced), threads
    for i, (size, at) in enumerate(reversed(kept)):
        a.kept[i], a.kept_step[i] = size, at
    for i, (size, at) in enumerate(reversed(reduced)):
        a.reduced[i], a.reduced_step[i] = size, at
    a.x = view(x, x_type, "the input", False, False).data
    a.y = view(y, y_type, "the output", True, False).data
    run.function = KERNELS.reduce[<int> REDUCE_OPS[op]][<int> DTYPE_INDEX[x_type.dtype.name]]
    run.keep = (x, y)
    return run


cdef class NormRun(RowsRun):
    cdef ki_norm_args args
    cdef ki_norm function

    def __call__(self):
        with nogil:
            self.function(&self.args)


def bind_norm(inputs, types, y, y_type, workspace, *, epsilon, threads=1):
    """Batch normalisation; inputs x, mean, variance, offset and perhaps scale. x and y may be channel slices."""
    cdef NormRun run = NormRun.__new__(NormRun)
    cdef ki_norm_args *a = &run.args
    cdef View vx = view(inputs[0], types[0], "input 0", False, True), vy = view(y, y_type, "the output", True, True)
    a.rows = 1
    for size in y_type.shape[:-1]:
        a.rows *= size
    a.channels = y_type.shape[-1]
    a.x_step, a.y_step, a.x, a.y = vx.pitch, vy.pitch, vx.data, vy.data
    a.epsilon, a.threads = epsilon, threads
    a.mean = view(inputs[1], types[1], "input 1", False, False).data
    a.variance = view(inputs[2], types[2], "input 2", False, False).data
    a.offset = view(inputs[3], types[3], "input 3", False, False).data
    if len(inputs) == 5:
        a.scale = view(inputs[4], types[4], "input 4", False, False).data
    if a.channels:
        a.factors = scratch(workspace, a.channels * y_type.dtype.itemsize)
    run.function = KERNELS.norm[<int> DTYPE_INDEX[y_type.dtype.name]]
    run.keep = (*inputs, y, workspace)
    return run


cdef class ResizeRun(RowsRun):
    cdef ki_resize_args args
    cdef ki_resize function

    def __call__(self):
        with nogil:
            self.function(&self.args)


def bind_resize(x, x_type, y, y_type, cells, cell_types, *, threads=1):
    """Bilinear resizing. ``cells``: for rows and for columns the arrays (lower, upper) int32 and weight float32."""
    cdef ResizeRun run = ResizeRun.__new__(ResizeRun)
    cdef ki_resize_args *a = &run.args
    cdef int i
    a.batch, a.size[0], a.size[1], a.channels = x_type.shape
    a.threads = threads
    for i in range(2):
        a.out[i] = y_type.shape[1 + i]
        lower, upper, weight = cells[i]
        index_type, weight_type = cell_types[i]
        for array in (lower, upper):
            if array.size and not (0 <= array.min() and array.max() < x_type.shape[1 + i]):
                raise KernelError(f"resize: cells {array.min()} to {array.max()} lie outside {x_type}")
        a.lower[i] = <const int32_t *> view(lower, index_type, "the lower cells", False, False).data
        a.upper[i] = <const int32_t *> view(upper, index_type, "the upper cells", False, False).data
        a.weight[i] = <const float *> view(weight, weight_type, "the weights", False, False).data
    a.x = view(x, x_type, "the input", False, False).data
    a.y = <float *> view(y, y_type, "the output", True, False).data
    run.function = KERNELS.resize[<int> DTYPE_INDEX[x_type.dtype.name]]
    run.keep = (x, y, cells)
    return run


cdef class IntMatMulRun(RowsRun):
    cdef ki_int_matmul_args args
    cdef ki_int_matmul function
    cdef ptrdiff_t *offsets

    def __dealloc__(self):
        free(self.offsets)

    def __call__(self):
        with nogil:
            self.function(&self.args)


def bind_int_matmul(inputs, types, y, y_type, *, sizes, a_steps, b_steps, offsets, clamp, threads=1):
    """Integer product. ``sizes``: (m, n, k); steps: elements between rows and columns; offsets: of the items."""
    cdef IntMatMulRun run = IntMatMulRun.__new__(IntMatMulRun)
    cdef ki_int_matmul_args *a = &run.args
    cdef Py_ssize_t i
    a.m, a.n, a.k = sizes
    a.a_row, a.a_col = a_steps
    a.b_row, a.b_col = b_steps
    a.items, a.clamp, a.threads = len(offsets), clamp, threads
    run.offsets = <ptrdiff_t *> calloc(3 * max(len(offsets), 1), sizeof(ptrdiff_t))
    if run.offsets == NULL:
        raise MemoryError
    for i, triple in enumerate(offsets):
        run.offsets[3 * i], run.offsets[3 * i + 1], run.offsets[3 * i + 2] = triple
    a.offsets = run.offsets
    a.a = view(inputs[0], types[0], "input 0", False, False).data
    a.b = view(inputs[1], types[1], "input 1", False, False).data
    if len(inputs) > 2:
        a.bias = view(inputs[2], types[2], "input 2", False, False).data
    a.y = view(y, y_type, "the output", True, False).data
    run.function = KERNELS.int_matmul[<int> DTYPE_INDEX[y_type.dtype.name]]
    run.keep = (*inputs, y)
    return run


cdef class ConcatRun(RowsRun):
    cdef ki_concat_args args
    cdef ki_concat_part *parts

    def __dealloc__(self):
        free(self.parts)

    def __call__(self):
        with nogil:
            KERNELS.concat(&self.args)


def bind_concat(inputs, types, y, y_type, axis, *, threads=1):
    """Concatenation of arrays, dense or channel slices, of any element type of fixed size along a non-negative axis."""
    cdef ConcatRun run = ConcatRun.__new__(ConcatRun)
    cdef ki_concat_args *a = &run.args
    cdef ki_concat_part *part
    cdef Py_ssize_t i, size = y_type.dtype.itemsize, last = len(y_type.shape) - 1, offset = 0
    cdef View target = view(y, y_type, "the output", True, True)
    cdef View source
    cdef bint dense = target.pitch == y_type.shape[last]
    a.parts, a.threads, a.y, a.y_step = len(inputs), threads, target.data, target.pitch * size
    a.rows = prod(y_type.shape[:axis])
    a.part = run.parts = <ki_concat_part *> calloc(len(inputs), sizeof(ki_concat_part))
    if run.parts == NULL:
        raise MemoryError
    for i, (x, t) in enumerate(zip(inputs, types, strict=True)):
        source = view(x, t, f"input {i}", False, True)
        run.parts[i].x, run.parts[i].step = source.data, source.pitch * size
        dense = dense and source.pitch == t.shape[last]
    for i, t in enumerate(types):
        # A dense part is one line; of a pitched one every pixel is, unless the pixels' channels are what is joined.
        part = &run.parts[i]
        part.lines = 1 if dense else prod(t.shape[axis:last])
        part.bytes = prod(t.shape[axis if dense else last:]) * size
        if dense:
            part.step = part.bytes
        part.offset = offset
        offset += part.bytes if dense or axis == last else part.lines * a.y_step
        a.row_bytes += part.lines * part.bytes
    a.row_step = a.y_step if axis == last else offset
    run.keep = (*inputs, y)
    return run
