# The largest numbers of lines: c/order.h. Included by loops.pyx.


cdef extern from "order.h" nogil:
    enum:
        KI_TOP_K_KEPT
    ctypedef struct ki_ordered:
        pass
    ctypedef struct ki_top_k_args:
        ptrdiff_t rows, n, k
        int dtype, index_bytes, threads
        const void *x
        void *values
        void *indices
        ki_ordered *scratch

cdef extern from "table.h" nogil:
    ctypedef struct ki_order_table "ki_table":
        void (*top_k)(const ki_top_k_args *) noexcept nogil


cdef const ki_order_table *ORDER = <const ki_order_table *> TABLE

_DTYPES["top_k"] = tuple(core.DTYPES)


cdef class TopKRun(LoopRun):
    cdef ki_top_k_args args

    def __call__(self):
        with nogil:
            ORDER.top_k(&self.args)


def top_k_scratch(n, k, threads):
    """Bytes that ``bind_top_k`` needs for lines of n numbers."""
    return 0 if k <= KI_TOP_K_KEPT else 2 * n * <Py_ssize_t> sizeof(ki_ordered) * threads


def bind_top_k(x, x_type, outputs, output_types, workspace, *, threads=1):
    """The k largest of each line of dense x along its last axis, and their indices (int32 or int64)."""
    cdef TopKRun run = TopKRun.__new__(TopKRun)
    cdef ki_top_k_args *a = &run.args
    a.n, a.k = x_type.shape[len(x_type.shape) - 1], output_types[0].shape[len(x_type.shape) - 1]
    a.rows = prod(x_type.shape[:-1])
    a.dtype, a.index_bytes, a.threads = DTYPE_INDEX[x_type.dtype.name], output_types[1].dtype.itemsize, threads
    a.x = view(x, x_type, "the input", False, False).data
    a.values = view(outputs[0], output_types[0], "the values", True, False).data
    a.indices = view(outputs[1], output_types[1], "the indices", True, False).data
    needed = top_k_scratch(a.n, a.k, threads)
    if needed:
        a.scratch = <ki_ordered *> scratch(workspace, needed)
    run.keep = (x, *outputs, workspace)
    return run
