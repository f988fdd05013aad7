# Running sums and products: c/cumulative.h. Included by loops.pyx.


cdef extern from "cumulative.h" nogil:
    ctypedef struct ki_cumulative_args:
        ptrdiff_t outer, n, inner
        int dtype, product, exclusive, reverse, threads
        const void *x
        void *y

cdef extern from "table.h" nogil:
    ctypedef struct ki_cumulative_table "ki_table":
        void (*cumulative)(const ki_cumulative_args *) noexcept nogil


cdef const ki_cumulative_table *CUMULATIVE = <const ki_cumulative_table *> TABLE

_DTYPES["cumulative"] = tuple(core.DTYPES)


cdef class CumulativeRun(LoopRun):
    cdef ki_cumulative_args args

    def __call__(self):
        with nogil:
            CUMULATIVE.cumulative(&self.args)


def bind_cumulative(x, y, tensor_type, axis, *, product, exclusive, reverse, threads=1):
    """Running sums (or products) of dense x along one axis; y has the same type."""
    cdef CumulativeRun run = CumulativeRun.__new__(CumulativeRun)
    cdef ki_cumulative_args *a = &run.args
    a.outer, a.n, a.inner = prod(tensor_type.shape[:axis]), tensor_type.shape[axis], prod(tensor_type.shape[axis + 1 :])
    a.dtype, a.threads = DTYPE_INDEX[tensor_type.dtype.name], threads
    a.product, a.exclusive, a.reverse = product, exclusive, reverse
    a.x = view(x, tensor_type, "the input", False, False).data
    a.y = view(y, tensor_type, "the output", True, False).data
    run.keep = (x, y)
    return run
