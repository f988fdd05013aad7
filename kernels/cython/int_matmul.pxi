# Matrix products of integers: c/int_matmul.h. Included by loops.pyx.


cdef extern from "int_matmul.h" nogil:
    ctypedef struct ki_int_matmul_args:
        ptrdiff_t items, m, n, k, a_row, a_col, b_row, b_col
        const ptrdiff_t *offsets
        int clamp, threads
        const void *a
        const void *b
        const void *bias
        void *y
    ctypedef void (*ki_int_matmul "ki_int_matmul *")(const ki_int_matmul_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_int_matmul_table "ki_table":
        const ki_int_matmul *int_matmul


cdef const ki_int_matmul *INT_MATMUL = (<const ki_int_matmul_table *> TABLE).int_matmul

_DTYPES["int_matmul"] = _names(<const void *> INT_MATMUL)


cdef class IntMatMulRun(LoopRun):
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
    run.function = INT_MATMUL[<int> DTYPE_INDEX[y_type.dtype.name]]
    run.keep = (*inputs, y)
    return run
