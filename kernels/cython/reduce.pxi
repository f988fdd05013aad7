# Reductions over any axes: c/reduce.h. Included by loops.pyx.


cdef extern from "reduce.h" nogil:
    enum:
        KI_REDUCE_RANK
    ctypedef struct ki_reduce_args:
        int kept_rank, reduced_rank, threads
        ptrdiff_t kept[8]
        ptrdiff_t kept_step[8]
        ptrdiff_t reduced[8]
        ptrdiff_t reduced_step[8]
        const void *x
        void *y
    ctypedef void (*ki_reduce "ki_reduce *")(const ki_reduce_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_reduce_table "ki_table":
        const ki_reduce *reduce_sum
        const ki_reduce *reduce_mean
        const ki_reduce *reduce_max
        const ki_reduce *reduce_min
        const ki_reduce *reduce_prod


cdef const ki_reduce_table *REDUCE = <const ki_reduce_table *> TABLE

#: Most axes of a reduction's input.
MAX_REDUCE_RANK = KI_REDUCE_RANK

#: Addresses of the rows.
cdef dict REDUCE_ROWS = {
    "reduce_sum": <size_t> REDUCE.reduce_sum,
    "reduce_mean": <size_t> REDUCE.reduce_mean,
    "reduce_max": <size_t> REDUCE.reduce_max,
    "reduce_min": <size_t> REDUCE.reduce_min,
    "reduce_prod": <size_t> REDUCE.reduce_prod,
}

for _op, _row in REDUCE_ROWS.items():
    _DTYPES[_op] = _names(<const void *> <size_t> _row)


cdef class ReduceRun(LoopRun):
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
    run.function = (<const ki_reduce *> <size_t> REDUCE_ROWS[op])[<int> DTYPE_INDEX[x_type.dtype.name]]
    run.keep = (x, y)
    return run
