"""The algorithms of c/winograd.h: convolutions with fewer multiplications, float32, packed weights."""

from libc.stddef cimport ptrdiff_t
from libc.string cimport memset

import numpy as np

from ..tensor import TensorType

__all__ = ["KINDS", "Run", "Winograd", "pack"]

include "_arrays.pxi"
include "_workspace.pxi"


cdef extern from "winograd.h" nogil:
    enum:
        KI_PAIRS
        KI_TILE_OUTPUTS
        KI_WINOGRAD_KINDS
        KI_WINOGRAD_TAPS
        KI_DIVIDE_BLOCKS
        KI_DIVIDE_TILES
        KI_DIVIDE_PANELS
    ctypedef struct ki_points:
        float p[KI_PAIRS]
        float z[KI_PAIRS]
        float r[KI_PAIRS][KI_PAIRS]
        float a[KI_PAIRS][KI_TILE_OUTPUTS]
    ctypedef struct ki_tile_axis:
        # "in" is a keyword here
        ptrdiff_t size "in"
        ptrdiff_t out, before, in_step, out_step
    ctypedef struct ki_winograd_args:
        ki_tile_axis axis[2]
        int rows
        ptrdiff_t batch, in_batch, out_batch, cin, cout, most_tiles, block_tiles
        int division, nv, threads
        double lo, hi
        const ki_points *points
        const float *x
        const float *u
        const float *bias
        float *y
        void *workspace
    ctypedef void (*ki_winograd "ki_winograd *")(const ki_winograd_args *) noexcept nogil
    ctypedef struct ki_winograd_kind:
        const char *name
        int pairs[2]
        int outputs[2]
        ki_winograd run
    ctypedef struct ki_winograd_pack_args:
        int taps[2]
        int points[2]
        ptrdiff_t tap_step[2]
        ptrdiff_t cin, cout, width
        double g[2][2 * KI_PAIRS + 2][KI_WINOGRAD_TAPS]
        double largest
        int threads
        const float *w
        float *packed
    ctypedef int (*ki_winograd_pack "ki_winograd_pack *")(const ki_winograd_pack_args *) noexcept nogil
    ptrdiff_t ki_winograd_workspace(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, int, int)

cdef extern from "table.h" nogil:
    ctypedef struct ki_winograd_table "ki_table":
        const ki_winograd_kind *winograd
        ki_winograd_pack winograd_pack
        int f32_lanes


cdef const ki_winograd_kind *TABLE_KINDS = (<const ki_winograd_table *> TABLE).winograd

#: Name -> (pairs of points along both axes, outputs of a tile along both axes), as the C table has them.
KINDS = {
    TABLE_KINDS[i].name.decode(): (
        (TABLE_KINDS[i].pairs[0], TABLE_KINDS[i].pairs[1]), (TABLE_KINDS[i].outputs[0], TABLE_KINDS[i].outputs[1])
    )
    for i in range(KI_WINOGRAD_KINDS)
}


DIVISIONS = {"blocks": KI_DIVIDE_BLOCKS, "tiles": KI_DIVIDE_TILES, "panels": KI_DIVIDE_PANELS}


cdef class Winograd:
    """A convolution whose geometry is fixed; ``bind`` gives it addresses.

    ``kind``: a name of KINDS. ``inputs``, ``output``: the TensorTypes of x, w, bias (2 or 3) and y. ``points``: for
    each pair p, z, r (a row), a (a row): see ki_points. ``axes``: for each of the two axes (in, out, padding before,
    pixels between neighbours in x, in y). ``batch``: (count, pixels between neighbours in x, in y). ``vectors``: of a
    panel of output channels. ``tiles``: (held transformed at a time, multiplied at a time). ``division``: what threads
    divide, 'blocks', 'tiles' or 'panels' (c/winograd.h). ``rows``: the axis that counts the rows of the image.
    ``limits``: of the activation.
    """

    cdef ki_winograd_args args
    cdef ki_points points
    cdef ki_winograd function
    cdef ptrdiff_t in_pixels[3]
    cdef ptrdiff_t out_pixels[3]
    cdef tuple types
    cdef readonly Py_ssize_t workspace_bytes
    cdef readonly Py_ssize_t packed_bytes

    def __init__(
        self, kind, inputs, output, *, points, axes, batch, vectors, tiles, division, threads,
        rows=0, limits=(float("-inf"), float("inf")),
    ):
        cdef int i, j, number = list(KINDS).index(kind)
        cdef ptrdiff_t count = 1
        cdef ki_winograd_args *args = &self.args
        cdef int lanes = (<const ki_winograd_table *> TABLE).f32_lanes
        self.types = (*inputs, output)
        self.function = TABLE_KINDS[number].run
        for i in range(2):
            args.axis[i].size, args.axis[i].out, args.axis[i].before, self.in_pixels[i], self.out_pixels[i] = axes[i]
            if TABLE_KINDS[number].pairs[i]:
                count *= 2 * TABLE_KINDS[number].pairs[i] + 2
                if len(points) != TABLE_KINDS[number].pairs[i]:
                    raise ValueError(f"{kind} takes {TABLE_KINDS[number].pairs[i]} pairs of points, got {len(points)}")
        memset(&self.points, 0, sizeof(ki_points))
        for i, (p, z, r, a) in enumerate(points):
            self.points.p[i], self.points.z[i] = p, z
            for j in range(len(r)):
                self.points.r[i][j] = r[j]
            for j in range(len(a)):
                self.points.a[i][j] = a[j]
        args.batch, self.in_pixels[2], self.out_pixels[2] = batch
        args.cin, args.cout = inputs[0].shape[-1], output.shape[-1]
        args.most_tiles, args.block_tiles = tiles
        if not 1 <= vectors <= 3 or min(tiles) < 1 or threads < 1:
            raise ValueError(f"panels of 1 to 3 vectors, tiles and threads > 0; got {vectors}, {tiles}, {threads}")
        args.rows = rows
        args.nv, args.division, args.threads = vectors, DIVISIONS[division], threads
        args.lo, args.hi = limits
        self.workspace_bytes = ki_winograd_workspace(
            count, args.most_tiles, args.cin, args.block_tiles, vectors * lanes, threads, args.division
        )
        self.packed_bytes = (count * ((args.cout + lanes - 1) // lanes * lanes) + 1) * args.cin * sizeof(float)

    def bind(self, x, packed, bias, y, workspace):
        """A callable that runs the convolution. ``packed``: the transformed weights, uint8."""
        cdef Run run = Run.__new__(Run)
        cdef ki_winograd_args *args = &run.args
        cdef View vx = view(x, self.types[0], "input 0", False, True)
        cdef View vy = view(y, self.types[len(self.types) - 1], "the output", True, True)
        cdef Py_buffer buffer
        cdef int i
        run.args = self.args
        run.function = self.function
        args.points = &self.points
        args.x, args.y = <const float *> vx.data, <float *> vy.data
        if packed.dtype.itemsize != 1 or packed.nbytes != self.packed_bytes:
            raise KernelError(
                f"packed weights: expected {self.packed_bytes} bytes (uint8), got {packed.nbytes} of {packed.dtype}"
            )
        PyObject_GetBuffer(packed, &buffer, PyBUF_STRIDES)
        args.u = <const float *> buffer.buf
        PyBuffer_Release(&buffer)
        if bias is not None:
            args.bias = <const float *> view(bias, self.types[2], "input 2", False, False).data
        for i in range(2):
            args.axis[i].in_step = self.in_pixels[i] * vx.pitch
            args.axis[i].out_step = self.out_pixels[i] * vy.pitch
        args.in_batch, args.out_batch = self.in_pixels[2] * vx.pitch, self.out_pixels[2] * vy.pitch
        args.workspace = scratch(workspace, self.workspace_bytes)
        run.keep = (self, x, packed, bias, y, workspace)
        return run


cdef class Run:
    """A bound convolution: calling it computes y once, without the GIL."""

    cdef ki_winograd_args args
    cdef ki_winograd function
    cdef tuple keep

    def __call__(self):
        with nogil:
            self.function(&self.args)


def pack(w, packed, *, swap, transforms, vectors, largest, threads):
    """Transforms weights (taps, taps, cin, cout), float32, into ``packed`` (uint8, see c/winograd.h).

    ``swap``: the axes of the taps change places. ``transforms``: G (points, taps) of both axes, of float64.
    ``vectors``: of a panel. False where a weight is not finite, or a transformed one exceeds ``largest``: ``packed`` is
    then of no use.
    """
    cdef ki_winograd_pack_args args
    cdef ki_winograd_pack function = (<const ki_winograd_table *> TABLE).winograd_pack
    cdef Py_ssize_t lanes = (<const ki_winograd_table *> TABLE).f32_lanes
    cdef Py_ssize_t nbytes
    cdef int axis, i, j, fits
    taps = w.shape[:2]
    steps = [taps[1] * w.shape[2] * w.shape[3], w.shape[2] * w.shape[3]]
    for axis in range(2):
        g = transforms[axis]
        args.points[axis], args.taps[axis] = g.shape
        if args.points[axis] > 2 * KI_PAIRS + 2 or args.taps[axis] > KI_WINOGRAD_TAPS:
            raise ValueError(
                f"a transform takes up to {KI_WINOGRAD_TAPS} taps to {2 * KI_PAIRS + 2} points, got {g.shape}"
            )
        if args.taps[axis] != taps[axis ^ <int> bool(swap)]:
            raise ValueError(f"weights {w.shape} do not fit transforms of {args.taps[axis]} taps along axis {axis}")
        args.tap_step[axis] = steps[axis ^ <int> bool(swap)]
        for i in range(args.points[axis]):
            for j in range(args.taps[axis]):
                args.g[axis][i][j] = g[i, j]
    args.cin, args.cout, args.width = w.shape[2], w.shape[3], vectors * lanes
    args.largest, args.threads = largest, threads
    nbytes = 4 * args.cin * (args.points[0] * args.points[1] * ((args.cout + lanes - 1) // lanes * lanes) + 1)
    if vectors < 1 or threads < 1:
        raise ValueError(f"vectors and threads > 0, got {vectors} and {threads}")
    args.w = <const float *> view(w, TensorType(np.dtype(np.float32), w.shape), "the weights", False, False).data
    made = TensorType(np.dtype(np.uint8), (nbytes,))
    args.packed = <float *> view(packed, made, "the packed weights", True, False).data
    with nogil:
        fits = function(&args)
    return bool(fits)
