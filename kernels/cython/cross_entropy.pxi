# Softmax cross-entropy and its gradient: c/cross_entropy.h. Included by loops.pyx.


cdef extern from "cross_entropy.h" nogil:
    ctypedef struct ki_cross_entropy_args:
        ptrdiff_t rows, classes
        int label_type, threads
        const void *logits
        const void *labels
        void *loss
        void *gradient
    ctypedef int (*ki_cross_entropy "ki_cross_entropy *")(const ki_cross_entropy_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_cross_entropy_table "ki_table":
        const ki_cross_entropy *cross_entropy


cdef const ki_cross_entropy *CROSS_ENTROPY = (<const ki_cross_entropy_table *> TABLE).cross_entropy

_DTYPES["cross_entropy"] = _names(<const void *> CROSS_ENTROPY)


cdef class CrossEntropyRun(LoopRun):
    """Losses and their gradients by the logits; without the GIL. Raises KernelError for class numbers out of range."""

    cdef ki_cross_entropy_args args
    cdef ki_cross_entropy function

    def __call__(self):
        cdef int outside
        with nogil:
            outside = self.function(&self.args)
        if outside:
            labels = self.keep[1]
            raise KernelError(
                f"sparse_softmax_cross_entropy: labels go from {labels.min()} to {labels.max()}; "
                f"expected 0 to {self.args.classes - 1}"
            )


def bind_cross_entropy(logits, labels, loss, gradient, types, *, threads=1):
    """``types``: TensorTypes of the four arrays. Labels are distributions like the logits, or integer class numbers."""
    cdef CrossEntropyRun run = CrossEntropyRun.__new__(CrossEntropyRun)
    cdef ki_cross_entropy_args *a = &run.args
    a.rows, a.classes = types[0].shape
    a.threads, a.label_type = threads, DTYPE_INDEX[types[1].dtype.name]
    a.logits = view(logits, types[0], "the logits", False, False).data
    a.labels = view(labels, types[1], "the labels", False, False).data
    a.loss = view(loss, types[2], "the loss", True, False).data
    a.gradient = view(gradient, types[3], "the gradient", True, False).data
    run.function = CROSS_ENTROPY[<int> DTYPE_INDEX[types[0].dtype.name]]
    if run.function == NULL:
        raise DTypeError(f"no C kernel for the cross-entropy of {types[0]}; it takes float32, float64")
    run.keep = (logits, labels, loss, gradient)
    return run
