# Softmax and its logarithm: c/softmax.h. Included by loops.pyx.


cdef extern from "softmax.h" nogil:
    ctypedef struct ki_softmax_args:
        ptrdiff_t outer, n, inner
        int logarithm, threads
        const void *x
        void *y
    ctypedef void (*ki_softmax "ki_softmax *")(const ki_softmax_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_softmax_table "ki_table":
        const ki_softmax *softmax


cdef const ki_softmax *SOFTMAX = (<const ki_softmax_table *> TABLE).softmax

_DTYPES["softmax"] = _names(<const void *> SOFTMAX)


cdef class SoftmaxRun(LoopRun):
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
    run.function = SOFTMAX[<int> DTYPE_INDEX[tensor_type.dtype.name]]
    run.keep = (x, y)
    return run
