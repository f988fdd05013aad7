# Arrays with their axes in another order: c/transpose.h. Included by loops.pyx.


cdef extern from "transpose.h" nogil:
    enum:
        KI_TRANSPOSE_RANK
    ctypedef struct ki_transpose_args:
        int rank, dense, threads
        ptrdiff_t item
        ptrdiff_t size[8]
        ptrdiff_t step_x[8]
        ptrdiff_t step_y[8]
        const void *x
        void *y
    ctypedef void (*ki_transpose "ki_transpose *")(const ki_transpose_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_transpose_table "ki_table":
        ki_transpose transpose


cdef ki_transpose TRANSPOSE = (<const ki_transpose_table *> TABLE).transpose

#: Most axes of a transposed array.
MAX_TRANSPOSE_RANK = KI_TRANSPOSE_RANK


cdef class TransposeRun(LoopRun):
    cdef ki_transpose_args args

    def __call__(self):
        with nogil:
            TRANSPOSE(&self.args)


cdef list _pitched_steps(View v, tuple shape, Py_ssize_t itemsize):
    """Bytes between neighbours along each axis of an array or channel slice."""
    cdef Py_ssize_t step = v.pitch * itemsize
    steps = []
    for i, size in enumerate(reversed(shape)):
        steps.append(itemsize if i == 0 else step)
        if i:
            step *= size
    return steps[::-1]


def bind_transpose(x, x_type, y, y_type, axes, *, threads=1):
    """y = x with its axes in the order ``axes``; both dense or channel slices, elements of 1, 2, 4, 8 or 16 bytes."""
    cdef TransposeRun run = TransposeRun.__new__(TransposeRun)
    cdef ki_transpose_args *a = &run.args
    cdef View source = view(x, x_type, "the input", False, True), target = view(y, y_type, "the output", True, True)
    cdef Py_ssize_t item = x_type.dtype.itemsize
    cdef int i
    from_x, to_y = _pitched_steps(source, x_type.shape, item), _pitched_steps(target, y_type.shape, item)
    merged = []
    for axis, step_y in zip(axes, to_y, strict=True):
        size, step_x = x_type.shape[axis], from_x[axis]
        if size == 1:
            continue
        if merged and merged[-1][1] == step_x * size and merged[-1][2] == step_y * size:
            merged[-1] = (merged[-1][0] * size, step_x, step_y)
        else:
            merged.append((size, step_x, step_y))
    if len(merged) > 1 and merged[-1][1] == merged[-1][2] == item and merged[-1][0] * item in (2, 4, 8, 16):
        item *= merged.pop()[0]  # a short row that stays together is an item
    if not merged or merged[-1][2] != item or all(step_x != item for _, step_x, _ in merged):
        merged.append((1, item, item))
    dense = next(i for i, (_, step_x, _) in enumerate(merged) if step_x == item)
    if len(merged) > KI_TRANSPOSE_RANK:
        raise ShapeError(f"transpose: more than {KI_TRANSPOSE_RANK} axes that cannot be joined: {x_type}")
    a.rank, a.dense, a.item, a.threads = len(merged), dense, item, threads
    for i in range(a.rank):
        a.size[i], a.step_x[i], a.step_y[i] = merged[i]
    a.x, a.y = source.data, target.data
    run.keep = (x, y)
    return run
