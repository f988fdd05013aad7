"""The implicit GEMM of c/igemm.h: convolutions and matrix products over packed weights, float32 and float64."""

import numpy as np

from libc.stddef cimport ptrdiff_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from ..devices import HOST

__all__ = ["Igemm", "Run", "SiblingRun"]

include "_arrays.pxi"
include "_workspace.pxi"


cdef extern from "dtypes.h" nogil:
    enum:
        KI_F32, KI_F64

cdef extern from "igemm.h" nogil:
    enum:
        KI_UNPACKED_ROWS
    ctypedef struct ki_chain:
        pass
    ctypedef struct ki_axis:
        # "in" is a keyword here
        ptrdiff_t size "in"
        ptrdiff_t out, taps, stride, dilation, before, in_step, out_step, tap_step
    ctypedef struct ki_igemm_args:
        ki_axis axis[2]
        ptrdiff_t batch, in_batch, out_batch, k, kc, cout
        int nv, mr, threads
        double lo, hi
        const void *x
        const void *w
        const void *bias
        void *y
        const ki_chain *chain
    ctypedef struct ki_pack_args:
        const void *w
        void *packed
        ptrdiff_t rows, cout, row_step, col_step, zeros
        int nv, threads
    ctypedef struct ki_product_args:
        ki_igemm_args gemm
        ki_pack_args pack
        int packs, transposes, in_place
        ptrdiff_t rows, x_step, items
        const ptrdiff_t *offsets
        ptrdiff_t table_bytes, packed_bytes, transposed_bytes
        void *workspace
    ctypedef void (*ki_product "ki_product *")(const ki_product_args *) noexcept nogil
    ctypedef void (*ki_siblings "ki_siblings *")(const ki_product_args *, ptrdiff_t) noexcept nogil
    ctypedef void (*ki_pack "ki_pack *")(const ki_pack_args *) noexcept nogil
    ptrdiff_t ki_packed_size(ptrdiff_t, ptrdiff_t, ptrdiff_t, int)
    ptrdiff_t ki_igemm_slot_bytes(ptrdiff_t, int)
    ptrdiff_t ki_zeros(ptrdiff_t, ptrdiff_t, ptrdiff_t)
    ptrdiff_t ki_product_workspace(const ki_product_args *)

cdef extern from "table.h" nogil:
    ctypedef struct ki_product_table "ki_table":
        const ki_product *product
        const ki_siblings *siblings
        const ki_pack *pack
        int f32_lanes, f64_lanes


cdef const ki_product_table *KERNELS = <const ki_product_table *> TABLE


#: Bytes of packed weights per pass over the output.
cdef ptrdiff_t _PASS_BYTES = 288 * 1024


cdef Py_ssize_t _whole_lines(Py_ssize_t nbytes) noexcept:
    return (nbytes + 63) // 64 * 64


cdef ptrdiff_t _rows_per_pass(ptrdiff_t rows, ptrdiff_t row_bytes) noexcept:
    """Rows of a panel per pass, in equal passes, so that this part and the next one stay in the L2 cache."""
    cdef ptrdiff_t most = max(_PASS_BYTES // row_bytes, 16)
    cdef ptrdiff_t passes = max((rows + most - 1) // most, 1)
    return max(((rows + passes - 1) // passes + 15) // 16 * 16, 16)


cdef class Igemm:
    """A convolution or matrix product whose geometry is fixed; ``bind`` gives it addresses.

    ``inputs``, ``output``: the TensorTypes of x, w, bias (2 or 3) and y. ``axes``: for each of the two axes the sizes
    (in, out, taps, stride, dilation, padding before, tap step, pixels between neighbours in x, in y). ``batch``:
    (count, pixels between neighbours in x, in y). ``k``: inputs per tap. ``tile``: (pixels, vectors). ``limits``: of
    the activation. ``steps``: elements between the rows and between the columns of raw weights. ``packs``: the weights
    are no constant and get packed in every run. ``in_place``: they are not even packed (few rows, or one column).
    ``transposed_rows``: if not 0, x is stored [k][that many rows]. ``offsets``: for each item of a batched product the
    elements to add to x, w and y. ``dense_x``: refuse a pitched x.
    """

    cdef ki_product_args args
    cdef ki_product function
    cdef ki_pack pack_function
    cdef ptrdiff_t *offsets
    cdef ptrdiff_t in_pixels[3]
    cdef ptrdiff_t out_pixels[3]
    cdef tuple types
    cdef Py_ssize_t itemsize
    cdef bint dense_x
    cdef readonly Py_ssize_t workspace_bytes
    #: (pixels, vectors)
    cdef readonly tuple tile

    def __cinit__(self):
        self.offsets = NULL

    def __init__(
        self, inputs, output, *, axes, batch, k, tile, limits=(float("-inf"), float("inf")), steps, packs=False,
        in_place=False, kc=None, transposed_rows=0, offsets=((0, 0, 0),), threads=1, dense_x=False,
    ):
        cdef ki_igemm_args *gemm = &self.args.gemm
        cdef ki_pack_args *pack = &self.args.pack
        cdef bint double = output.dtype == np.float64
        cdef int dtype = KI_F64 if double else KI_F32
        cdef int lanes = KERNELS.f64_lanes if double else KERNELS.f32_lanes
        cdef ptrdiff_t taps, i
        self.types = (*inputs, output)
        self.dense_x = dense_x
        self.itemsize = 8 if double else 4
        self.function = KERNELS.product[dtype]
        self.pack_function = KERNELS.pack[dtype]
        for i in range(2):
            (
                gemm.axis[i].size, gemm.axis[i].out, gemm.axis[i].taps, gemm.axis[i].stride, gemm.axis[i].dilation,
                gemm.axis[i].before, gemm.axis[i].tap_step, self.in_pixels[i], self.out_pixels[i],
            ) = axes[i]
        gemm.batch, self.in_pixels[2], self.out_pixels[2] = batch
        gemm.k = k
        gemm.cout = output.shape[-1]
        self.tile = tuple(tile)
        gemm.mr, gemm.nv = tile
        if not (1 <= gemm.nv <= len(core.TILE_MR) and 1 <= gemm.mr <= core.TILE_MR[gemm.nv - 1]):
            raise ValueError(f"no tile of {gemm.mr} pixels x {gemm.nv} vectors; most pixels: {core.TILE_MR}")
        gemm.lo, gemm.hi = limits
        gemm.threads = threads
        taps = gemm.axis[0].taps * gemm.axis[1].taps
        gemm.kc = kc or _rows_per_pass(taps * k, gemm.nv * lanes * self.itemsize)
        pack.rows, pack.cout, pack.nv, pack.threads = taps * k, gemm.cout, gemm.nv, threads
        pack.zeros = ki_zeros(gemm.axis[0].taps, gemm.axis[1].taps, k)
        pack.row_step, pack.col_step = steps
        if in_place and (not packs or taps != 1 or 1 not in steps):
            raise ValueError("only weights of a matrix product that are dense and no constant can stay unpacked")
        if in_place and transposed_rows > KI_UNPACKED_ROWS and gemm.cout != 1:
            raise ValueError(f"unpacked weights take {KI_UNPACKED_ROWS} rows of a transposed x, not {transposed_rows}")
        self.args.in_place = in_place
        self.args.packs, self.args.transposes = packs, transposed_rows > 0
        self.args.rows = self.args.x_step = transposed_rows
        self.args.items = len(offsets)
        free(self.offsets)
        self.offsets = <ptrdiff_t *> calloc(3 * max(len(offsets), 1), sizeof(ptrdiff_t))
        if self.offsets == NULL:
            raise MemoryError
        for i, triple in enumerate(offsets):
            self.offsets[3 * i], self.offsets[3 * i + 1], self.offsets[3 * i + 2] = triple
        self.args.offsets = self.offsets
        self.args.table_bytes = ki_igemm_slot_bytes(taps, gemm.mr)
        if not in_place:
            self.args.transposed_bytes = _whole_lines(transposed_rows * k * self.itemsize)
            self.args.packed_bytes = _whole_lines(
                (ki_packed_size(pack.rows, pack.cout, pack.zeros, lanes) + 1) * self.itemsize
            )
        self.workspace_bytes = ki_product_workspace(&self.args) - (0 if packs else self._packed_slots())

    cdef Py_ssize_t _packed_slots(self):
        return self.args.packed_bytes * (self.args.gemm.threads if self.args.items > 1 else 1)

    def __dealloc__(self):
        free(self.offsets)

    @property
    def packed_bytes(self):
        """Bytes of the packed weights, which ``bind`` takes unless they are packed in every run."""
        return self.args.packed_bytes

    def pack(self, w):
        """The packed form of raw weights: a 64-byte aligned uint8 array."""
        cdef View raw = view(w, self.types[1], "the weights", False, False)
        packed = HOST.allocate_lasting(self.args.packed_bytes)
        cdef Py_buffer buffer
        cdef ki_pack_args pack = self.args.pack
        PyObject_GetBuffer(packed, &buffer, PyBUF_STRIDES | PyBUF_WRITABLE)
        pack.w, pack.packed = raw.data, buffer.buf
        with nogil:
            self.pack_function(&pack)
        PyBuffer_Release(&buffer)
        return packed

    def bind(self, x, w, bias, y, workspace, chain=None):
        """A callable that runs it. ``w``: the result of ``pack``, or raw weights if they are packed in every run.

        ``chain``: a ChainRun (loops.pyx) bound to y, which runs on every tile; for packed weights and single products.
        """
        cdef Run run = Run.__new__(Run)
        cdef ki_igemm_args *gemm = &run.args.gemm
        cdef bint pitched = self.args.items == 1  # the offsets of items are for dense arrays
        cdef View vx = view(x, self.types[0], "input 0", False, pitched and not self.dense_x), vw
        # One column of a transposed x is written as a row.
        cdef bint row = self.args.in_place and self.args.transposes
        cdef View vy = view(y, self.types[len(self.types) - 1], "the output", True, pitched and not row)
        cdef Py_buffer buffer
        cdef int i
        run.args = self.args
        run.function = self.function
        gemm.x, gemm.y = vx.data, vy.data
        if self.args.packs:
            vw = view(w, self.types[1], "input 1", False, False)
            run.args.pack.w = vw.data
        else:
            if w.dtype != np.uint8 or w.nbytes != self.args.packed_bytes:
                raise KernelError(
                    f"packed weights: expected {self.args.packed_bytes} bytes (uint8), got {w.nbytes} of {w.dtype}"
                )
            PyObject_GetBuffer(w, &buffer, PyBUF_STRIDES)
            gemm.w = buffer.buf
            PyBuffer_Release(&buffer)
            run.args.packed_bytes = 0
        if bias is not None:
            gemm.bias = view(bias, self.types[2], "input 2", False, False).data
        for i in range(2):
            gemm.axis[i].in_step = self.in_pixels[i] * vx.pitch
            gemm.axis[i].out_step = self.out_pixels[i] * vy.pitch
        gemm.in_batch, gemm.out_batch = self.in_pixels[2] * vx.pitch, self.out_pixels[2] * vy.pitch
        if self.args.transposes:
            run.args.x_step = vx.pitch
            gemm.axis[1].in_step = gemm.k
        if chain is not None:
            if self.args.packs or self.args.items != 1:
                raise ValueError("a chain is for single products with packed weights")
            gemm.chain = <const ki_chain *> <size_t> chain.address
        if self.workspace_bytes:
            run.args.workspace = scratch(workspace, self.workspace_bytes)
        run.keep = (self, x, w, bias, y, workspace, chain)
        return run


cdef class Run:
    """A bound product: calling it computes y once, without the GIL."""

    cdef ki_product_args args
    cdef ki_product function
    cdef tuple keep

    def __call__(self):
        with nogil:
            self.function(&self.args)


cdef class SiblingRun:
    """Bound products of one x that run as one, group of pixels by group of pixels.

    Raises ValueError unless all of them have the same x, the same number of pixels and threads, and one item.
    """

    cdef ki_product_args *products
    cdef Py_ssize_t count
    cdef ki_siblings function
    cdef tuple keep

    def __cinit__(self):
        self.products = NULL

    def __init__(self, runs):
        cdef Run run, first
        cdef Py_ssize_t i
        self.keep = tuple(runs)
        self.count = len(self.keep)
        free(self.products)
        self.products = <ki_product_args *> calloc(max(self.count, 1), sizeof(ki_product_args))
        if self.products == NULL:
            raise MemoryError
        for i, one in enumerate(self.keep):
            run, first = one, self.keep[0]
            if (
                run.function != first.function or run.args.items != 1 or run.args.in_place
                or run.args.gemm.x != first.args.gemm.x or run.args.gemm.k != first.args.gemm.k
                or run.args.gemm.threads != first.args.gemm.threads or run.args.gemm.batch != first.args.gemm.batch
                or _pixels(&run.args) != _pixels(&first.args)
            ):
                raise ValueError("siblings must be single products of the same x with the same threads")
            memcpy(&self.products[i], &run.args, sizeof(ki_product_args))
            self.function = KERNELS.siblings[KI_F64 if run.function == KERNELS.product[KI_F64] else KI_F32]

    def __dealloc__(self):
        free(self.products)

    def __call__(self):
        with nogil:
            self.function(self.products, self.count)


cdef ptrdiff_t _pixels(const ki_product_args *args) noexcept:
    return args.gemm.axis[0].out * args.gemm.axis[1].out
