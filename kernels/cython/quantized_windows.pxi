# Windows over quantised tensors: c/quantized.h. Included by windows.pyx.

from libc.stdint cimport int16_t


cdef extern from "quantized.h" nogil:
    enum:
        KI_MEAN_CELLS
    ctypedef struct ki_quantized_window_args:
        ki_window_args window
        const float *multiplier
        float scale
        const int16_t *word_scales
        const float *scales
        int x_zero, y_zero, low, high, halves, vnni
        char *repeated
        int y_type
    ctypedef void (*ki_quantized_window "ki_quantized_window *")(const ki_quantized_window_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_quantized_window_table "ki_table":
        const ki_quantized_window *quantized_average_pool
        const ki_quantized_window *quantized_depthwise


cdef const ki_quantized_window_table *QUANTIZED = <const ki_quantized_window_table *> TABLE
#: Whether the instruction set in use has dot products of bytes: all sets with more than their base have.
cdef bint VNNI = core.DOT_IN_USE != core.ISA_IN_USE
#: Where a mean's half goes, in the order of KI_HALVES_EVEN, ...
cdef tuple HALVES = ("even", "away", "up")

#: Up to how many cells a mean may have a multiplication of its own.
MEAN_CELLS = KI_MEAN_CELLS


cdef class QuantizedWindow:
    """A window over int8 or uint8 images whose geometry and scales are fixed; ``bind`` gives it addresses.

    ``kind``: 'average' of one input, or 'depthwise' of x, w, bias and multiplier. Geometry as in Window; the numbers as
    in the parameters of the contracts (kernels/contracts/quantized.py). ``word_scales``, ``scales``: of an average's
    means by their cells, int16 and float32 (MEAN_CELLS + 1,); see c/quantized.h.
    """

    cdef ki_quantized_window_args args
    cdef ki_quantized_window function
    cdef tuple types
    cdef const int16_t[::1] word_scales
    cdef const float[::1] scales

    def __init__(
        self, str kind, inputs, output, *, window, strides, before, dilations=(1, 1), count_padding=False,
        multiplier=1.0, word_scales=None, scales=None, x_zero=0, y_zero=0, low=0, high=0, halves="even",
        threads=1,
    ):
        cdef ki_quantized_window_args *a = &self.args
        cdef int x = DTYPE_INDEX[inputs[0].dtype.name]
        self.types = (*inputs, output)
        self.function = QUANTIZED.quantized_average_pool[x] if kind == "average" else QUANTIZED.quantized_depthwise[x]
        if self.function == NULL:
            raise DTypeError(f"no C kernel for quantised {kind} windows of {inputs[0]}; they take int8 and uint8")
        _set_geometry(&a.window, inputs[0], output, window, strides, before, dilations)
        a.window.multiplier = inputs[1].shape[3] if kind == "depthwise" else 1
        a.window.count_padding, a.window.threads = count_padding, threads
        a.scale, a.x_zero, a.y_zero, a.low, a.high = multiplier, x_zero, y_zero, low, high
        a.vnni = VNNI
        if kind == "average":
            self.word_scales, self.scales = word_scales, scales
            if self.word_scales.shape[0] != MEAN_CELLS + 1 or self.scales.shape[0] != MEAN_CELLS + 1:
                raise ShapeError(f"scales of means need {MEAN_CELLS + 1} elements")
            a.word_scales, a.scales = &self.word_scales[0], &self.scales[0]
        a.halves, a.y_type = HALVES.index(halves), DTYPE_INDEX[output.dtype.name]

    @property
    def workspace_bytes(self):
        """Of the memory that ``bind`` needs."""
        cdef const ki_window_args *a = &self.args.window
        return a.batch * a.size[0] * a.size[1] * a.channels * a.multiplier if a.multiplier != 1 else 0

    def bind(self, inputs, output, workspace=None):
        """A callable that runs the window on the inputs into y. ``workspace``: workspace_bytes bytes, uint8."""
        cdef QuantizedRun run = QuantizedRun.__new__(QuantizedRun)
        cdef ki_quantized_window_args *a = &run.args
        cdef View x = view(inputs[0], self.types[0], "input 0", False, True)
        cdef View y = view(output, self.types[len(self.types) - 1], "the output", True, True)
        run.args, run.function = self.args, self.function
        _set_images(&a.window, x, y)
        if len(inputs) > 1:
            a.window.w = view(inputs[1], self.types[1], "input 1", False, False).data
            a.window.bias = view(inputs[2], self.types[2], "input 2", False, False).data
            a.multiplier = <const float *> view(inputs[3], self.types[3], "input 3", False, False).data
        if self.workspace_bytes:
            a.repeated = scratch(workspace, self.workspace_bytes)
        run.keep = (self, *inputs, output, workspace)
        return run


cdef class QuantizedRun:
    """A bound window: calling it computes y once, without the GIL."""

    cdef ki_quantized_window_args args
    cdef ki_quantized_window function
    cdef tuple keep

    def __call__(self):
        with nogil:
            self.function(&self.args)
