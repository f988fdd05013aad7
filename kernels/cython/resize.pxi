# Bilinear resizing: c/resize.h. Included by loops.pyx.


cdef extern from "resize.h" nogil:
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
    ctypedef void (*ki_resize "ki_resize *")(const ki_resize_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_resize_table "ki_table":
        const ki_resize *resize


cdef const ki_resize *RESIZE = (<const ki_resize_table *> TABLE).resize

_DTYPES["resize"] = _names(<const void *> RESIZE)


cdef class ResizeRun(LoopRun):
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
    run.function = RESIZE[<int> DTYPE_INDEX[x_type.dtype.name]]
    run.keep = (x, y, cells)
    return run
