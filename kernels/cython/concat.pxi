# Concatenation: c/concat.h. Included by loops.pyx.


cdef extern from "concat.h" nogil:
    ctypedef struct ki_concat_part:
        const void *x
        ptrdiff_t lines, bytes, step, offset
    ctypedef struct ki_concat_args:
        ptrdiff_t rows, parts, row_bytes, y_step, row_step
        int threads
        const ki_concat_part *part
        void *y

cdef extern from "table.h" nogil:
    ctypedef struct ki_concat_table "ki_table":
        void (*concat)(const ki_concat_args *) noexcept nogil


cdef const ki_concat_table *CONCAT = <const ki_concat_table *> TABLE


cdef class ConcatRun(LoopRun):
    cdef ki_concat_args args
    cdef ki_concat_part *parts

    def __dealloc__(self):
        free(self.parts)

    def __call__(self):
        with nogil:
            CONCAT.concat(&self.args)


def bind_concat(inputs, types, y, y_type, axis, *, threads=1):
    """Concatenation of arrays, dense or channel slices, of any element type of fixed size along a non-negative axis."""
    cdef ConcatRun run = ConcatRun.__new__(ConcatRun)
    cdef ki_concat_args *a = &run.args
    cdef ki_concat_part *part
    cdef Py_ssize_t i, size = y_type.dtype.itemsize, last = len(y_type.shape) - 1, offset = 0
    cdef View target = view(y, y_type, "the output", True, True)
    cdef View source
    cdef bint dense = target.pitch == y_type.shape[last]
    a.parts, a.threads, a.y, a.y_step = len(inputs), threads, target.data, target.pitch * size
    a.rows = prod(y_type.shape[:axis])
    a.part = run.parts = <ki_concat_part *> calloc(len(inputs), sizeof(ki_concat_part))
    if run.parts == NULL:
        raise MemoryError
    for i, (x, t) in enumerate(zip(inputs, types, strict=True)):
        source = view(x, t, f"input {i}", False, True)
        run.parts[i].x, run.parts[i].step = source.data, source.pitch * size
        dense = dense and source.pitch == t.shape[last]
    for i, t in enumerate(types):
        # A dense part is one line; of a pitched one every pixel is, unless the pixels' channels are what is joined.
        part = &run.parts[i]
        part.lines = 1 if dense else prod(t.shape[axis:last])
        part.bytes = prod(t.shape[axis if dense else last:]) * size
        if dense:
            part.step = part.bytes
        part.offset = offset
        offset += part.bytes if dense or axis == last else part.lines * a.y_step
        a.row_bytes += part.lines * part.bytes
    a.row_step = a.y_step if axis == last else offset
    run.keep = (*inputs, y)
    return run
