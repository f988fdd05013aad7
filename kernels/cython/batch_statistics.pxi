# Batch normalisation by the batch's own statistics, and its gradient: c/batch_statistics.h. Included by loops.pyx.


cdef extern from "batch_statistics.h" nogil:
    ctypedef struct ki_batch_statistics_args:
        ptrdiff_t rows, channels, dy_step, x_step, out_step
        double epsilon, factor
        int threads
        const void *dy
        const void *x
        const void *scale
        const void *offset
        const void *old_mean
        const void *old_variance
        void *out
        void *mean
        void *variance
        void *new_mean
        void *new_variance
        void *d_scale
        void *d_offset
        void *lines
        double *sums
    ctypedef void (*ki_batch_statistics "ki_batch_statistics *")(const ki_batch_statistics_args *) noexcept nogil
    ptrdiff_t ki_statistics_parts(ptrdiff_t rows)

cdef extern from "table.h" nogil:
    ctypedef struct ki_batch_statistics_table "ki_table":
        const ki_batch_statistics *batch_statistics


cdef const ki_batch_statistics *BATCH_STATISTICS = (<const ki_batch_statistics_table *> TABLE).batch_statistics

_DTYPES["batch_statistics"] = _names(<const void *> BATCH_STATISTICS)


cdef class BatchStatisticsRun(LoopRun):
    cdef ki_batch_statistics_args args
    cdef ki_batch_statistics function

    def __call__(self):
        with nogil:
            self.function(&self.args)


def statistics_scratch(rows, channels, itemsize):
    """Bytes of workspace of bind_batch_statistics: the sums of the parts as doubles, then three lines of channels."""
    return ki_statistics_parts(rows) * 4 * channels * sizeof(double) + 3 * channels * itemsize


cdef void *dense(object array, object expected, str what, bint writable) except? NULL:
    return view(array, expected, what, writable, False).data


def bind_batch_statistics(
    inputs, input_types, outputs, output_types, workspace, *, gradient, epsilon, factor=1.0, threads=1
):
    """Inputs x, scale, offset and, for a factor other than 1, the old statistics; outputs y, new ones, mean, variance.

    gradient: inputs dy, x, scale, mean, variance; outputs dx and the gradients of scale and offset. Images may be
    channel slices.
    """
    cdef BatchStatisticsRun run = BatchStatisticsRun.__new__(BatchStatisticsRun)
    cdef ki_batch_statistics_args *a = &run.args
    cdef View v
    cdef Py_ssize_t sums
    x = 1 if gradient else 0
    a.rows = prod(output_types[0].shape[:-1])
    a.channels, a.threads, a.epsilon, a.factor = output_types[0].shape[-1], threads, epsilon, factor
    v = view(inputs[x], input_types[x], "input x", False, True)
    a.x, a.x_step = v.data, v.pitch
    v = view(outputs[0], output_types[0], "output 0", True, True)
    a.out, a.out_step = v.data, v.pitch
    a.scale = dense(inputs[x + 1], input_types[x + 1], "the scale", False)
    if gradient:
        v = view(inputs[0], input_types[0], "input dy", False, True)
        a.dy, a.dy_step = v.data, v.pitch
        a.mean = dense(inputs[3], input_types[3], "the mean", False)
        a.variance = dense(inputs[4], input_types[4], "the variance", False)
        a.d_scale = dense(outputs[1], output_types[1], "output 1", True)
        a.d_offset = dense(outputs[2], output_types[2], "output 2", True)
    else:
        a.offset = dense(inputs[2], input_types[2], "the offset", False)
        if factor != 1:
            a.old_mean = dense(inputs[3], input_types[3], "input 3", False)
            a.old_variance = dense(inputs[4], input_types[4], "input 4", False)
        a.new_mean = dense(outputs[1], output_types[1], "output 1", True)
        a.new_variance = dense(outputs[2], output_types[2], "output 2", True)
        a.mean = dense(outputs[3], output_types[3], "output 3", True)
        a.variance = dense(outputs[4], output_types[4], "output 4", True)
    sums = ki_statistics_parts(a.rows) * 4 * a.channels * sizeof(double)
    a.sums = <double *> scratch(workspace, statistics_scratch(a.rows, a.channels, output_types[0].dtype.itemsize))
    a.lines = <char *> a.sums + sums
    run.function = BATCH_STATISTICS[<int> DTYPE_INDEX[output_types[0].dtype.name]]
    run.keep = (*inputs, *outputs, workspace)
    return run
