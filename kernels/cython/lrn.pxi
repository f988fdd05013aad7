# Local response normalisation and its gradient: c/lrn.h. Included by loops.pyx.


cdef extern from "lrn.h" nogil:
    ctypedef struct ki_lrn_args:
        ptrdiff_t rows, channels, reach, dy_step, x_step, y_step, out_step
        double bias, alpha, beta
        int threads
        const void *dy
        const void *x
        const void *y
        void *out
        void *scratch
    ctypedef void (*ki_lrn "ki_lrn *")(const ki_lrn_args *) noexcept nogil
    ptrdiff_t ki_lrn_scratch(ptrdiff_t channels, ptrdiff_t reach)

cdef extern from "table.h" nogil:
    ctypedef struct ki_lrn_table "ki_table":
        const ki_lrn *lrn


cdef const ki_lrn *LRN = (<const ki_lrn_table *> TABLE).lrn

_DTYPES["lrn"] = _names(<const void *> LRN)


cdef class LRNRun(LoopRun):
    cdef ki_lrn_args args
    cdef ki_lrn function

    def __call__(self):
        with nogil:
            self.function(&self.args)


def lrn_scratch(channels, reach, threads):
    """Elements of workspace of bind_lrn."""
    return threads * ki_lrn_scratch(channels, reach)


def bind_lrn(inputs, types, out, out_type, workspace, *, reach, bias, alpha, beta, threads=1):
    """Local response normalisation of x, or with inputs dy, x, y its gradient. All may be channel slices."""
    cdef LRNRun run = LRNRun.__new__(LRNRun)
    cdef ki_lrn_args *a = &run.args
    cdef View v
    a.rows = prod(out_type.shape[:-1])
    a.channels, a.reach, a.threads = out_type.shape[-1], reach, threads
    a.bias, a.alpha, a.beta = bias, alpha, beta
    if len(inputs) == 3:
        v = view(inputs[0], types[0], "input 0", False, True)
        a.dy, a.dy_step = v.data, v.pitch
        v = view(inputs[2], types[2], "input 2", False, True)
        a.y, a.y_step = v.data, v.pitch
    v = view(inputs[len(inputs) // 2], types[len(inputs) // 2], "input x", False, True)
    a.x, a.x_step = v.data, v.pitch
    v = view(out, out_type, "the output", True, True)
    a.out, a.out_step = v.data, v.pitch
    a.scratch = scratch(workspace, lrn_scratch(a.channels, reach, threads) * out_type.dtype.itemsize)
    run.function = LRN[<int> DTYPE_INDEX[out_type.dtype.name]]
    run.keep = (*inputs, out, workspace)
    return run
