# Batch normalisation with given statistics: c/normalization.h. Included by loops.pyx.


cdef extern from "normalization.h" nogil:
    ctypedef struct ki_batch_norm_args:
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
    ctypedef void (*ki_batch_norm "ki_batch_norm *")(const ki_batch_norm_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_batch_norm_table "ki_table":
        const ki_batch_norm *batch_norm


cdef const ki_batch_norm *BATCH_NORM = (<const ki_batch_norm_table *> TABLE).batch_norm

_DTYPES["batch_norm"] = _names(<const void *> BATCH_NORM)


cdef class BatchNormRun(LoopRun):
    cdef ki_batch_norm_args args
    cdef ki_batch_norm function

    def __call__(self):
        with nogil:
            self.function(&self.args)


def bind_batch_norm(inputs, types, y, y_type, workspace, *, epsilon, threads=1):
    """Batch normalisation; inputs x, mean, variance, offset and perhaps scale. x and y may be channel slices."""
    cdef BatchNormRun run = BatchNormRun.__new__(BatchNormRun)
    cdef ki_batch_norm_args *a = &run.args
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
    run.function = BATCH_NORM[<int> DTYPE_INDEX[y_type.dtype.name]]
    run.keep = (*inputs, y, workspace)
    return run
