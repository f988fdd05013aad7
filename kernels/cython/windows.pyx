"""Sliding windows of c/windows.h: max and average pooling, depthwise convolution on NHWC."""

from libc.stddef cimport ptrdiff_t

__all__ = ["MEAN_CELLS", "QuantizedRun", "QuantizedWindow", "Window", "WindowRun", "dtypes_of"]

from ..tensor import BFLOAT16

include "_arrays.pxi"
include "_workspace.pxi"


cdef extern from "windows.h" nogil:
    ctypedef struct ki_window_args:
        ptrdiff_t batch, channels, multiplier
        ptrdiff_t size "in"[2]
        ptrdiff_t out[2]
        ptrdiff_t window[2]
        ptrdiff_t stride[2]
        ptrdiff_t dilation[2]
        ptrdiff_t before[2]
        ptrdiff_t x_step, x_row, x_image, y_step, y_row, y_image
        int count_padding, threads
        double lo, hi
        const void *x
        const void *w
        const void *bias
        void *y
    enum:
        KI_BF16_MAX, KI_BF16_AVERAGE, KI_BF16_DEPTHWISE, KI_BF16_DEPTHWISE_FROM_F32, KI_BF16_DEPTHWISE_TO_F32
    ctypedef void (*ki_window "ki_window *")(const ki_window_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_window_table "ki_table":
        const ki_window *max_pool
        const ki_window *average_pool
        const ki_window *depthwise
        const ki_window *bf16_windows


cdef const ki_window_table *KERNELS = <const ki_window_table *> TABLE


cdef ki_window _find(str kind, int dtype):
    if kind == "max":
        return KERNELS.max_pool[dtype]
    return KERNELS.average_pool[dtype] if kind == "average" else KERNELS.depthwise[dtype]


cdef ki_window _find_stored(str kind, bint narrow_input, bint narrow_output):
    """The kernel of x, or y, or both, that are bfloat16 in memory; pools have both."""
    if kind != "depthwise":
        return KERNELS.bf16_windows[KI_BF16_MAX if kind == "max" else KI_BF16_AVERAGE]
    if narrow_input and narrow_output:
        return KERNELS.bf16_windows[KI_BF16_DEPTHWISE]
    return KERNELS.bf16_windows[KI_BF16_DEPTHWISE_TO_F32 if narrow_input else KI_BF16_DEPTHWISE_FROM_F32]


def dtypes_of(str kind):
    """Names of the element types that a kind of window ('max', 'average', 'depthwise') takes."""
    return tuple(name for i, name in enumerate(core.DTYPES) if _find(kind, i) != NULL)


cdef void _set_geometry(ki_window_args *a, x, y, window, strides, before, dilations):
    cdef int i
    a.batch, a.size[0], a.size[1], a.channels = x.shape
    for i in range(2):
        a.out[i] = y.shape[1 + i]
        a.window[i], a.stride[i], a.dilation[i], a.before[i] = window[i], strides[i], dilations[i], before[i]


cdef void _set_images(ki_window_args *a, View x, View y) noexcept:
    """Addresses and steps of x and y."""
    a.x, a.y = x.data, y.data
    a.x_step, a.x_row, a.x_image = x.pitch, x.pitch * a.size[1], x.pitch * a.size[1] * a.size[0]
    a.y_step, a.y_row, a.y_image = y.pitch, y.pitch * a.out[1], y.pitch * a.out[1] * a.out[0]


cdef class Window:
    """A window whose geometry is fixed; ``bind`` gives it addresses.

    ``inputs``, ``output``: TensorTypes of x (for depthwise convolutions w, for these and averages perhaps bias) and y.
    ``window``, ``strides``, ``dilations``: (height, width). ``before``: padding at the top and at the left.
    ``count_padding``: an average divides by the window's whole area. ``limits``: of the activation of a depthwise
    convolution or an average.
    """

    cdef ki_window_args args
    cdef ki_window function
    cdef tuple types
    # Positions of w and bias among the inputs.
    cdef int weights, bias

    def __init__(
        self, str kind, inputs, output, *, window, strides, before, dilations=(1, 1), count_padding=False,
        limits=(float("-inf"), float("inf")), threads=1,
    ):
        cdef ki_window_args *a = &self.args
        self.types = (*inputs, output)
        narrow_input, narrow_output = inputs[0].dtype == BFLOAT16, output.dtype == BFLOAT16
        if narrow_input or narrow_output:
            self.function = _find_stored(kind, narrow_input, narrow_output)
        else:
            self.function = _find(kind, DTYPE_INDEX[output.dtype.name])
        if self.function == NULL:
            raise DTypeError(f"no C kernel for {kind} windows of {output}")
        _set_geometry(a, inputs[0], output, window, strides, before, dilations)
        self.weights = 1 if kind == "depthwise" else 0
        self.bias = self.weights + 1
        a.multiplier = inputs[1].shape[3] if kind == "depthwise" else 1
        a.count_padding, a.threads = count_padding, threads
        a.lo, a.hi = limits

    def bind(self, inputs, output):
        """A callable that runs the window on the inputs into y."""
        cdef WindowRun run = WindowRun.__new__(WindowRun)
        cdef ki_window_args *a = &run.args
        cdef View x = view(inputs[0], self.types[0], "input 0", False, True)
        cdef View y = view(output, self.types[len(self.types) - 1], "the output", True, True)
        run.args, run.function = self.args, self.function
        _set_images(a, x, y)
        if self.weights:
            a.w = view(inputs[1], self.types[1], "input 1", False, False).data
        if len(inputs) > self.bias:
            a.bias = view(inputs[self.bias], self.types[self.bias], f"input {self.bias}", False, False).data
        run.keep = (self, *inputs, output)
        return run


cdef class WindowRun:
    """A bound window: calling it computes y once, without the GIL."""

    cdef ki_window_args args
    cdef ki_window function
    cdef tuple keep

    def __call__(self):
        with nogil:
            self.function(&self.args)


include "quantized_windows.pxi"
