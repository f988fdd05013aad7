"""Gradients of c/backward.h: pooling, convolution filters, depthwise convolutions; rotated filters."""

from libc.stddef cimport ptrdiff_t

__all__ = ["Backward", "BackwardRun", "RotateRun", "bind_rotate", "dtypes_of"]

include "_arrays.pxi"
include "_workspace.pxi"


cdef extern from "backward.h" nogil:
    ctypedef struct ki_steps:
        ptrdiff_t step, row, image
    ctypedef struct ki_backward_args:
        ptrdiff_t batch, channels, cout, multiplier
        ptrdiff_t size "in"[2]
        ptrdiff_t out[2]
        ptrdiff_t window[2]
        ptrdiff_t stride[2]
        ptrdiff_t dilation[2]
        ptrdiff_t before[2]
        ki_steps x_steps, y_steps, dy_steps, dx_steps
        int count_padding, threads
        ptrdiff_t rows, images, parts, slices
        int mr, nv, merges
        const void *x
        const void *y
        const void *dy
        const void *w
        void *dx
        void *dw
        void *sums
    ctypedef struct ki_rotate_args:
        ptrdiff_t taps[2]
        ptrdiff_t step[2]
        ptrdiff_t first, channels, cout, zeros
        int nv, threads
        const void *w
        void *packed
    ctypedef void (*ki_backward "ki_backward *")(const ki_backward_args *) noexcept nogil
    ctypedef void (*ki_rotate "ki_rotate *")(const ki_rotate_args *) noexcept nogil
    ptrdiff_t ki_blocks(const ki_backward_args *)
    ptrdiff_t ki_filter_size(const ki_backward_args *)

cdef extern from "table.h" nogil:
    ctypedef struct ki_backward_table "ki_table":
        const ki_backward *max_pool_grad
        const ki_backward *average_pool_grad
        const ki_backward *filter_grad
        const ki_backward *depthwise_input_grad
        const ki_backward *depthwise_filter_grad
        const ki_rotate *rotate


cdef const ki_backward_table *KERNELS = <const ki_backward_table *> TABLE


cdef ki_backward _find(str kind, int dtype) except? NULL:
    if kind == "max_pool":
        return KERNELS.max_pool_grad[dtype]
    if kind == "average_pool":
        return KERNELS.average_pool_grad[dtype]
    if kind == "filter":
        return KERNELS.filter_grad[dtype]
    if kind == "depthwise_input":
        return KERNELS.depthwise_input_grad[dtype]
    if kind == "depthwise_filter":
        return KERNELS.depthwise_filter_grad[dtype]
    raise ValueError(f"no gradient of kind {kind!r}")


def dtypes_of(str kind):
    """Names of the element types that a kind of gradient takes."""
    return tuple(name for i, name in enumerate(core.DTYPES) if _find(kind, i) != NULL)


cdef ki_steps _steps(Py_ssize_t pitch, const ptrdiff_t *size) noexcept:
    cdef ki_steps steps
    steps.step, steps.row, steps.image = pitch, pitch * size[1], pitch * size[1] * size[0]
    return steps


cdef class Backward:
    """A gradient whose geometry is fixed; ``bind`` gives it addresses.

    ``kind``: 'max_pool', 'average_pool', 'depthwise_input' (give dx); 'filter', 'depthwise_filter' (give dw). ``x``,
    ``y``, ``w``: TensorTypes of the forward op's input, result and filter (None for pooling); dx, dy, dw have the same.
    ``window``, ``strides``, ``dilations``: (height, width). ``before``: padding at the top and at the left.
    ``count_padding``: an average was divided by the window's whole area.

    Of filter gradients: ``block``: (rows, images) of pixels of y that are summed at a time; ``parts``: the most
    partial sums of blocks; ``slices``: tasks that share a part; ``tile``: (rows, vectors); ``merges``: the taps
    of a row are taken together if they are contiguous in x.
    """

    cdef ki_backward_args args
    cdef ki_backward function
    cdef object x_type, y_type, w_type
    cdef bint merges
    cdef readonly Py_ssize_t workspace_bytes

    def __init__(
        self, str kind, x, y, w=None, *, window, strides, before, dilations=(1, 1), count_padding=False, block=(1, 1),
        parts=1, slices=1, tile=(1, 1), merges=False, threads=1,
    ):
        cdef ki_backward_args *a = &self.args
        cdef int i
        self.x_type, self.y_type, self.w_type = x, y, w
        self.function = _find(kind, DTYPE_INDEX.get(y.dtype.name, -1)) if y.dtype.name in DTYPE_INDEX else NULL
        if self.function == NULL:
            raise DTypeError(f"no C kernel for the gradient {kind} of {y}; it takes {', '.join(dtypes_of(kind))}")
        a.batch, a.size[0], a.size[1], a.channels = x.shape
        a.cout = y.shape[3]
        a.multiplier = w.shape[3] if kind in ("depthwise_input", "depthwise_filter") else 0
        for i in range(2):
            a.out[i] = y.shape[1 + i]
            a.window[i], a.stride[i], a.dilation[i], a.before[i] = window[i], strides[i], dilations[i], before[i]
        a.count_padding, a.threads, self.merges = count_padding, threads, merges
        a.rows, a.images = block
        a.mr, a.nv = tile
        a.slices = slices
        if min(a.rows, a.images, a.slices, parts) < 1:
            raise ValueError(f"blocks {block}, parts {parts} and slices {slices} must be at least 1")
        if not (1 <= a.nv <= len(core.OUTER_MR) and 1 <= a.mr <= core.OUTER_MR[a.nv - 1]):
            raise ValueError(f"no tile of {a.mr} rows x {a.nv} vectors; most rows: {core.OUTER_MR}")
        self.workspace_bytes = 0
        if kind in ("filter", "depthwise_filter"):
            a.parts = max(1, min(<ptrdiff_t> parts, ki_blocks(a)))
            if a.parts > 1:
                self.workspace_bytes = a.parts * ki_filter_size(a) * y.dtype.itemsize

    def bind(self, *, dy, x=None, y=None, w=None, dx=None, dw=None, workspace=None):
        """A callable that computes dx or dw from the arrays that this kind of gradient needs."""
        cdef BackwardRun run = BackwardRun.__new__(BackwardRun)
        cdef ki_backward_args *a = &run.args
        cdef View v = view(dy, self.y_type, "dy", False, True)
        run.args, run.function = self.args, self.function
        a.dy, a.dy_steps = v.data, _steps(v.pitch, a.out)
        if x is not None:
            v = view(x, self.x_type, "the forward input", False, True)
            a.x, a.x_steps = v.data, _steps(v.pitch, a.size)
            a.merges = self.merges and v.pitch == a.channels and a.dilation[1] == 1
        if y is not None:
            v = view(y, self.y_type, "the forward result", False, True)
            a.y, a.y_steps = v.data, _steps(v.pitch, a.out)
        if w is not None:
            a.w = view(w, self.w_type, "the filter", False, False).data
        if dx is not None:
            v = view(dx, self.x_type, "the output", True, True)
            a.dx, a.dx_steps = v.data, _steps(v.pitch, a.size)
        if dw is not None:
            a.dw = view(dw, self.w_type, "the output", True, False).data
        if self.workspace_bytes:
            a.sums = scratch(workspace, self.workspace_bytes)
        run.keep = (self, x, y, dy, w, dx, dw, workspace)
        return run


cdef class BackwardRun:
    """A bound gradient: calling it computes the output once, without the GIL."""

    cdef ki_backward_args args
    cdef ki_backward function
    cdef tuple keep

    def __call__(self):
        with nogil:
            self.function(&self.args)


cdef class RotateRun:
    """Packs the taps of a filter, last to first, with inputs and outputs swapped; without the GIL."""

    cdef ki_rotate_args args
    cdef ki_rotate function
    cdef tuple keep

    def __call__(self):
        with nogil:
            self.function(&self.args)


def bind_rotate(w, w_type, packed, *, first, taps, steps, int vectors, zeros, threads=1):
    """Packs some taps of a dense filter (height, width, in, out), last to first, as the weights of an Igemm.

    Taps ``first`` - i * steps[0] - j * steps[1] (elements of w) for i < taps[0], j < taps[1]. ``vectors``: of a panel.
    ``zeros``: elements after the panels. ``packed``: exactly the bytes that result.
    """
    cdef RotateRun run = RotateRun.__new__(RotateRun)
    cdef ki_rotate_args *a = &run.args
    cdef int i
    cdef int lanes = core.F32_LANES if w_type.dtype.itemsize == 4 else core.F64_LANES
    kh, kw, a.channels, a.cout = w_type.shape
    size = a.channels * a.cout
    for i in range(2):
        a.taps[i], a.step[i] = taps[i], steps[i]
    low = first - (taps[0] - 1) * steps[0] - (taps[1] - 1) * steps[1]
    if min(*taps) < 1 or low < 0 or first > (kh * kw - 1) * size or vectors < 1:
        raise ValueError(f"taps {first} - {taps} x {steps} are not inside a filter {w_type}")
    a.first, a.zeros, a.nv, a.threads = first, zeros, vectors, threads
    a.w = view(w, w_type, "the filter", False, False).data
    elements = a.taps[0] * a.taps[1] * a.cout * ((a.channels + lanes - 1) // lanes) * lanes + a.zeros
    a.packed = scratch(packed, (elements + 1) * w_type.dtype.itemsize)
    run.function = KERNELS.rotate[<int> DTYPE_INDEX[w_type.dtype.name]]
    run.keep = (w, packed)
    return run
