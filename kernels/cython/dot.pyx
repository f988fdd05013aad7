"""Products of narrow numbers (c/dot.h), convolutions and matrices: bfloat16 with float32 sums, bytes with int32."""

import numpy as np

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t

from ..bfloat16 import round_to_bfloat16
from ..devices import HOST
from ..tensor import TensorType

__all__ = ["Dot", "DotRun", "most_products"]

include "_arrays.pxi"
include "_workspace.pxi"


cdef extern from "dot.h" nogil:
    enum:
        KI_DOT_BLOCK, KI_DOT_MOST, KI_DOT_SPLIT, KI_DOT_TAPS
    ctypedef enum ki_dot_from:
        KI_DOT_F32, KI_DOT_BF16, KI_DOT_U8, KI_DOT_S8
    ctypedef enum ki_dot_to:
        KI_DOT_TO_F32, KI_DOT_TO_BF16, KI_DOT_TO_U8, KI_DOT_TO_S8, KI_DOT_TO_I32
    ctypedef struct ki_dot_axis:
        # "in" is a keyword here
        ptrdiff_t size "in"
        ptrdiff_t out, taps, stride, dilation, before
    ctypedef struct ki_dot_out:
        const void *w
        const void *bias
        const float *multiplier
        void *y
        ptrdiff_t cout, pitch
        float lo, hi
        int32_t zero
    ctypedef struct ki_dot_args:
        ki_dot_from kind "from"
        ki_dot_to to
        ki_dot_axis axis[2]
        ptrdiff_t batch, cin, x_pitch, steps, rows
        int split, x_zero, threads, count
        ptrdiff_t tap_steps, images, lines, cells
        const void *x
        ki_dot_out outs[16]
        char *workspace
    ctypedef struct ki_dot_pack_args:
        const void *w
        void *packed
        ptrdiff_t rows, cout, row_step, col_step, taps
        ki_dot_from kind "from"
        int x_zero, threads
    ctypedef struct ki_dot_table:
        void (*run)(const ki_dot_args *) noexcept nogil
        void (*pack)(const ki_dot_pack_args *) noexcept nogil
        double (*waste)(const ki_dot_args *) noexcept nogil
        void (*plan)(ki_dot_args *, ptrdiff_t) noexcept nogil
    ptrdiff_t ki_dot_steps(ki_dot_from, ptrdiff_t)
    ptrdiff_t ki_dot_depth(ki_dot_from)
    ptrdiff_t ki_dot_packed_bytes(ki_dot_from, ptrdiff_t, ptrdiff_t)
    ptrdiff_t ki_dot_pitch(ptrdiff_t)
    ptrdiff_t ki_dot_slot_bytes(const ki_dot_args *)


#: Bytes of a thread's rows: half of the L2 cache; the rest is for a panel and results (1 MiB: 7 % over 0.25).
cdef ptrdiff_t _ROWS_BYTES = min(max(core.L2_BYTES // 2, 256 << 10), 1 << 20)

#: Products of cells, those in vain among them, over products needed: more, and copies of each tap are faster.
cdef double _MOST_WASTE = 1.4

_KINDS = {"float32": KI_DOT_F32, "V2": KI_DOT_BF16, "uint8": KI_DOT_U8, "int8": KI_DOT_S8}
_RESULTS = {
    "float32": KI_DOT_TO_F32, "V2": KI_DOT_TO_BF16, "uint8": KI_DOT_TO_U8, "int8": KI_DOT_TO_S8, "int32": KI_DOT_TO_I32,
}


def _name(dtype):
    """An element type's name; bfloat16 is two bytes without a type of NumPy's own."""
    return "V2" if dtype.kind == "V" and dtype.itemsize == 2 else dtype.name


def most_products():
    """How many products of one x run as one."""
    return KI_DOT_MOST


def _three_parts(w):
    """Rows of weights as [high, high, low]; ``pack`` rounds them to bfloat16."""
    rows = np.ascontiguousarray(w).reshape(-1, w.shape[len(w.shape) - 1])
    high = round_to_bfloat16(rows)
    with np.errstate(invalid="ignore"):
        low = np.where(np.isfinite(high), rows - high, 0).astype(np.float32)
    return np.concatenate([high, high, low])


cdef class Dot:
    """Products of one x whose geometry is fixed; ``bind`` gives it addresses.

    ``x``: its TensorType. ``axes``: for each of the two axes (in, out, taps, stride, dilation, padding before).
    ``batch``, ``channels``: of x. ``outs``: for each product (type of w, type of bias or None, type of multiplier or
    None, type of y, lo, hi, zero point of y); the limits count from the zero point. ``x_zero``: the zero point of x.
    ``steps``: elements between the rows and between the columns of raw weights. ``isa``: for tests, another instruction
    set than the one in use. ``split``: float32 x and w count as the sums of two bfloat16, which makes products nearly
    exact; for few inputs, weights with columns side by side. ``by_taps``: for tests, whether taps are read from cells
    (c/dot_taps.h) instead of copied one by one; else where that is faster.

    ``layout``: what packed weights depend on besides the element type of x and its zero point.
    """

    cdef ki_dot_args args
    cdef const ki_dot_table *table
    cdef ptrdiff_t row_step, col_step, inputs
    cdef object x_type
    cdef tuple outs
    cdef readonly Py_ssize_t workspace_bytes
    cdef readonly str layout

    def __init__(
        self, x, *, axes, batch, channels, outs, x_zero=0, steps, threads=1, isa=None, split=False, by_taps=None
    ):
        cdef ki_dot_args *a = &self.args
        cdef int i
        capsule = core.DOT_TABLES[isa or core.DOT_IN_USE][0]
        self.table = <const ki_dot_table *> PyCapsule_GetPointer(capsule, "kigraph.kernels.cython.core.dot")
        self.x_type, self.outs = x, tuple(outs)
        if not 1 <= len(self.outs) <= KI_DOT_MOST:
            raise ValueError(f"{len(self.outs)} products of one x; at most {KI_DOT_MOST} run as one")
        a.kind = _KINDS[_name(x.dtype)]
        a.to = _RESULTS[_name(self.outs[0][3].dtype)]
        for i in range(2):
            (
                a.axis[i].size, a.axis[i].out, a.axis[i].taps, a.axis[i].stride, a.axis[i].dilation, a.axis[i].before,
            ) = axes[i]
        a.batch, a.cin, a.threads, a.count = batch, channels, threads, len(self.outs)
        # int8 becomes uint8 by adding 128; the padding of float32 is 0.
        a.x_zero = x_zero + 128 if a.kind == KI_DOT_S8 else x_zero
        self.inputs = a.axis[0].taps * a.axis[1].taps * channels
        if split:
            if a.kind != KI_DOT_F32 or not 1 <= self.inputs <= KI_DOT_SPLIT or steps[1] != 1:
                raise ValueError(f"at most {KI_DOT_SPLIT} float32 inputs of a pixel are split, got {self.inputs}: {x}")
            self.inputs *= 3
        a.split = split
        a.steps = ki_dot_steps(a.kind, self.inputs)
        self.layout = f"k{self.inputs}"
        if by_taps is None:
            by_taps = (isa or core.DOT_IN_USE) == "amx" and not split and self._pays(channels)
        if by_taps:
            self._by_taps(channels)
        a.rows = max(_ROWS_BYTES // (ki_dot_pitch(a.steps) + 128) // KI_DOT_BLOCK, 2)
        a.rows = max(min(a.rows, -(-batch * a.axis[0].out * a.axis[1].out // KI_DOT_BLOCK)), 1) * KI_DOT_BLOCK
        self.row_step, self.col_step = steps
        for i in range(a.count):
            _, _, _, y, lo, hi, zero = self.outs[i]
            if y.dtype != self.outs[0][3].dtype:
                raise ValueError("all products of one x give the same element type")
            a.outs[i].cout, a.outs[i].lo, a.outs[i].hi, a.outs[i].zero = y.shape[-1], lo, hi, zero
        self.workspace_bytes = threads * ki_dot_slot_bytes(a)

    cdef bint _pays(self, ptrdiff_t channels):
        """Whether reading taps from cells is faster, and takes little memory; for every batch alike."""
        cdef ki_dot_args a = self.args
        cdef int i
        if a.axis[0].taps * a.axis[1].taps == 1 and a.axis[0].out == 1:  # rows of a matrix, which cells do not divide
            return False
        for i in range(2):
            if a.axis[i].taps > KI_DOT_TAPS or a.axis[i].taps > 1 and a.axis[i].dilation >= a.axis[i].size:
                return False
        a.tap_steps, a.x_pitch = ki_dot_steps(a.kind, channels), channels
        if a.axis[0].taps * a.axis[1].taps * a.tap_steps * self.table.waste(&a) > _MOST_WASTE * a.steps:
            return False
        self.table.plan(&a, _ROWS_BYTES)
        return a.cells <= 4 * _ROWS_BYTES

    cdef _by_taps(self, ptrdiff_t channels):
        cdef ki_dot_args *a = &self.args
        cdef ptrdiff_t taps = a.axis[0].taps * a.axis[1].taps
        if max(a.axis[0].taps, a.axis[1].taps) > KI_DOT_TAPS:
            raise ValueError(f"at most {KI_DOT_TAPS} taps of an axis are read from cells: {self.x_type}")
        a.tap_steps, a.x_pitch = ki_dot_steps(a.kind, channels), channels
        a.steps = taps * a.tap_steps
        self.table.plan(a, _ROWS_BYTES)
        if taps > 1 and channels % ki_dot_depth(a.kind):
            self.layout = f"k{taps}x{channels}"

    def packed_bytes(self, index=0):
        """Bytes of the packed weights of a product."""
        return ki_dot_packed_bytes(self.args.kind, self.args.steps, self.args.outs[<int> index].cout)

    def pack(self, w, index=0):
        """The packed form of the raw weights of a product: a 64-byte aligned uint8 array."""
        cdef View raw
        cdef ki_dot_pack_args pack
        cdef Py_buffer buffer
        raw = view(w, self.outs[index][0], "the weights", False, False)
        if self.args.split:
            w = _three_parts(w)
            raw = view(w, TensorType(w.dtype, w.shape), "the weights", False, False)
        packed = HOST.allocate_lasting(max(self.packed_bytes(index), 64))
        PyObject_GetBuffer(packed, &buffer, PyBUF_STRIDES | PyBUF_WRITABLE)
        pack.w, pack.packed, pack.rows, pack.cout = raw.data, buffer.buf, self.inputs, self.args.outs[<int> index].cout
        pack.row_step, pack.col_step, pack.kind = self.row_step, self.col_step, self.args.kind
        pack.x_zero, pack.threads = self.args.x_zero, self.args.threads
        pack.taps = self.args.axis[0].taps * self.args.axis[1].taps if self.args.tap_steps else 1
        with nogil:
            self.table.pack(&pack)
        PyBuffer_Release(&buffer)
        return packed

    def bind(self, x, packed, biases, multipliers, ys, workspace):
        """A callable that runs it; lists with one array (or None for no bias, no multiplier) for each product."""
        cdef DotRun run = DotRun.__new__(DotRun)
        cdef View vx = view(x, self.x_type, "input 0", False, True), vy
        cdef Py_buffer buffer
        cdef int i
        run.args, run.table = self.args, self.table
        run.args.x, run.args.x_pitch = vx.data, vx.pitch
        for i in range(self.args.count):
            _, bias_type, multiplier_type, y_type, _, _, _ = self.outs[i]
            wanted = max(self.packed_bytes(i), 64)
            w = packed[i]
            if w.dtype != np.uint8 or w.nbytes != wanted:
                raise KernelError(f"packed weights: expected {wanted} bytes (uint8), got {w.nbytes} of {w.dtype}")
            PyObject_GetBuffer(w, &buffer, PyBUF_STRIDES)
            run.args.outs[i].w = buffer.buf
            PyBuffer_Release(&buffer)
            if bias_type is not None:
                run.args.outs[i].bias = view(biases[i], bias_type, "the bias", False, False).data
            if multiplier_type is not None:
                run.args.outs[i].multiplier = <const float *> view(
                    multipliers[i], multiplier_type, "the multiplier", False, False
                ).data
            vy = view(ys[i], y_type, "the output", True, True)
            run.args.outs[i].y, run.args.outs[i].pitch = vy.data, vy.pitch
        run.args.workspace = scratch(workspace, self.workspace_bytes)
        run.keep = (self, x, tuple(packed), tuple(biases), tuple(multipliers), tuple(ys), workspace)
        return run


cdef class DotRun:
    """Bound products: calling it computes them once, without the GIL."""

    cdef ki_dot_args args
    cdef const ki_dot_table *table
    cdef tuple keep

    def __call__(self):
        with nogil:
            self.table.run(&self.args)
