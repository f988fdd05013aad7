"""Backward ops: gradients of convolutions, pooling, normalisation and cross-entropy.

The C sides are c/igemm.h, c/backward.h, c/batch_statistics.h, c/lrn.h and c/cross_entropy.h.

The gradient of a convolution's input is a convolution of dy with the filter rotated by 180 degrees; with strides it is one for
each residue of the rows and columns by the stride, since each reads a different subset of the taps. The filter is packed
in every run. Gradients of filters are sums of outer products (c/outer.c).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from functools import partial
from math import gcd
from typing import Any

from ..checks import refuse_dtypes
from ..contracts import gradients as ops
from ..contracts.base import Contract
from ..contracts.conv2d import Conv2DParams
from ..contracts.geometry import WindowGeometry
from ..contracts.gradients import AvgPool2DGradParams, ConvGradParams
from ..contracts.pool2d import Pool2DParams
from ..devices import HOST
from ..errors import KernelError
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, TensorType
from . import core
from .backward import Backward, bind_rotate, dtypes_of
from .conv2d import Axis, place_tiles
from .igemm import Igemm
from .loops import bind_cross_entropy
from .normalization import prepare_lrn, prepare_statistics, supports_lrn, supports_statistics
from .support import Bound, dtypes
from .tiles import choose_tile

__all__ = ["KERNELS"]

#: Bytes of x and dy that a filter gradient sums at a time: they stay in the L2 cache while all tiles pass over them.
_BLOCK_BYTES = 128 * 1024
#: Fewest pixels at a time, so that the loop of a tile outweighs its prologue and epilogue.
_BLOCK_PIXELS = 128
#: Tasks of a filter gradient. The number of threads must not change the sums.
_TASKS = 16
#: Most bytes of sums made apart, to be added at the end.
_SUMS_BYTES = 4 << 20
#: With fewer input channels the taps of a row are taken together.
_FEW_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class _Geometry:
    """Types of the forward op, and its padding."""

    x: TensorType
    w: TensorType
    y: TensorType
    before: tuple[int, int]

    @property
    def window(self) -> tuple[int, int]:
        return self.w.dims[0], self.w.dims[1]


def _conv_geometry(query: Query[ConvGradParams], of_filter: bool) -> tuple[_Geometry, Conv2DParams]:
    params = query.params
    forward, (y, made) = params.forward, (query.inputs[1], query.outputs[0])
    x, w = (query.inputs[0], made) if of_filter else (made, query.inputs[0])
    return _Geometry(x, w, y, WindowGeometry.between(x.dims, y.dims, w.dims, forward).before), forward


# --- convolution, input -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Taps:
    """The taps along one axis that read the cells ``residue`` + i * stride of x: first, first + step, ..."""

    residue: int
    first: int
    step: int
    count: int
    axis: Axis

    @property
    def last(self) -> int:
        return self.first + (self.count - 1) * self.step


def _taps(
    residue: int,
    size: int,
    out: int,
    window: int,
    stride: int,
    dilation: int,
    before: int,
    pixels_in: int,
    pixels_out: int,
) -> _Taps:
    """Tap u reads cell h for output (h + before - u * dilation) / stride, where that is whole: for one u at least."""
    common, at = gcd(stride, dilation), residue + before
    step, back = stride // common, dilation // common
    first = next(u for u in range(min(window, step)) if (at - u * dilation) % stride == 0)
    count = len(range(first, window, step))
    base = (at - first * dilation) // stride
    cells = len(range(residue, size, stride))
    axis = Axis(
        size=out, out=cells, taps=count, stride=1, dilation=back,
        before=back * (count - 1) - base, tap_step=1, pixels_in=pixels_in, pixels_out=pixels_out * (stride if cells > 1 else 0),
    )  # fmt: skip
    return _Taps(residue, first, step if count > 1 else 1, count, axis)  # a stride may be far longer than the filter


def _residues(size: int, window: int, stride: int, dilation: int, before: int) -> list[int]:
    """The residues of cells by the stride that a tap reads; the others have no gradient."""
    reached = {(u * dilation - before) % stride for u in range(window)}
    return sorted(r for r in reached if r < size)


@dataclass(frozen=True, slots=True)
class _Phase:
    """One convolution of dy: its product, and the taps that are packed for it."""

    igemm: Igemm
    down: _Taps
    across: _Taps
    zeros: int


def _phase(geometry: _Geometry, down: _Taps, across: _Taps, threads: int) -> _Phase:
    n, h, width, channels = geometry.x.dims
    _, oh, ow, cout = geometry.y.dims
    pair = replace(down.axis, tap_step=across.count), across.axis
    tile, axes, batch = place_tiles(geometry.x.dtype.itemsize, (n, oh * ow, h * width), pair, cout, channels)
    igemm = Igemm(
        [geometry.y, geometry.w],
        geometry.x,
        axes=[a.record() for a in axes],
        batch=batch,
        k=cout,
        tile=(tile.pixels, tile.vectors),
        steps=(1, 1),
        offsets=[(0, 0, (down.residue * width + across.residue) * channels)],
        threads=threads,
    )
    return _Phase(igemm, down, across, max(down.count, across.count) * cout)


@dataclass(frozen=True, slots=True)
class _InputGrad:
    geometry: _Geometry
    phases: tuple[_Phase, ...]
    #: No tap reads some cells: dx is zero there.
    gaps: bool
    threads: int
    absorbed: frozenset[int] = field(default_factory=frozenset)

    @property
    def workspace_bytes(self) -> int:
        return max((p.igemm.packed_bytes + p.igemm.workspace_bytes for p in self.phases), default=0)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        (w, dy), (dx,) = inputs, outputs
        if not dx.flags.c_contiguous:
            raise KernelError(f"the output has strides {dx.strides} for shape {dx.shape}; expected a dense array")
        _, kw, channels, cout = self.geometry.w.dims
        size = channels * cout
        memory = HOST.allocate(0) if workspace is None else workspace
        if memory.nbytes < self.workspace_bytes:
            raise KernelError(f"the workspace must have {self.workspace_bytes} bytes, got {memory.nbytes}")
        steps: list[Run] = [partial(dx.fill, 0)] if self.gaps else []
        for p in self.phases:
            packed, tables = memory[: p.igemm.packed_bytes], memory[p.igemm.packed_bytes :]
            steps.append(
                bind_rotate(
                    w, self.geometry.w, packed, first=(p.down.last * kw + p.across.last) * size,
                    taps=(p.down.count, p.across.count), steps=(p.down.step * kw * size, p.across.step * size),
                    vectors=p.igemm.tile[1], zeros=p.zeros, threads=self.threads,
                )
            )  # fmt: skip
            steps.append(p.igemm.bind(dy, packed, None, dx, tables))

        def run() -> None:
            for step in steps:
                step()

        return run


def _prepare_input_grad(query: Query, constants: Constants) -> _InputGrad:
    geometry, forward = _conv_geometry(query, False)
    _, h, width, _ = geometry.x.dims
    _, oh, ow, _ = geometry.y.dims
    kh, kw = geometry.window
    if not geometry.w.size:
        kh = kw = 0  # a filter without elements may have any number of taps
    (sh, sw), (dh, dw) = forward.strides, forward.dilations
    top, left = geometry.before
    rows = [_taps(r, h, oh, kh, sh, dh, top, ow, width) for r in _residues(h, kh, sh, dh, top)]
    columns = [_taps(r, width, ow, kw, sw, dw, left, 1, 1) for r in _residues(width, kw, sw, dw, left)]
    phases = tuple(_phase(geometry, down, across, query.threads) for down in rows for across in columns)
    gaps = len(phases) < min(sh, h) * min(sw, width)
    return _InputGrad(geometry, phases, gaps, query.threads)


# --- filters ----------------------------------------------------------------------------------------------------------


def _blocks(geometry: _Geometry, strides: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """(rows, images) of a block of pixels of y, and how many parts of them are summed apart."""
    channels = geometry.x.dims[3]
    _, oh, ow, cout = geometry.y.dims
    itemsize = geometry.x.dtype.itemsize
    pixel_bytes = (strides[0] * strides[1] * channels + cout) * itemsize
    pixels = max(_BLOCK_PIXELS, _BLOCK_BYTES // max(pixel_bytes, 1))
    rows = min(max(1, pixels // max(ow, 1)), max(oh, 1))
    images = max(1, pixels // max(oh * ow, 1)) if rows >= oh else 1
    return (rows, images), min(_TASKS, max(1, _SUMS_BYTES // max(geometry.w.nbytes, 1)))


def _prepare_filter_grad(query: Query, constants: Constants) -> Bound:
    geometry, forward = _conv_geometry(query, True)
    kh, kw, channels, cout = geometry.w.dims
    (rows, images), parts = _blocks(geometry, forward.strides)
    merges = channels < _FEW_CHANNELS and kw > 1 and forward.dilations[1] == 1
    lines, length = (kh, kw * channels) if merges else (kh * kw, channels)
    pixels = rows * images * geometry.y.dims[2]
    itemsize = geometry.x.dtype.itemsize
    _, tile = choose_tile(itemsize, lines, max(length, 1), pixels, max(cout, 1), core.OUTER_MR)
    backward = Backward(
        "filter", geometry.x, geometry.y, geometry.w, window=geometry.window, strides=forward.strides,
        before=geometry.before, dilations=forward.dilations, block=(rows, images), parts=parts, slices=-(-_TASKS // parts),
        tile=(tile.pixels, tile.vectors), merges=merges, threads=query.threads,
    )  # fmt: skip
    return Bound(partial(_bind_filter, backward), backward.workspace_bytes)


def _bind_filter(backward: Backward, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
    return backward.bind(x=inputs[0], dy=inputs[1], dw=outputs[0], workspace=workspace)


def _prepare_depthwise_filter_grad(query: Query, constants: Constants) -> Bound:
    geometry, forward = _conv_geometry(query, True)
    block, parts = _blocks(geometry, forward.strides)
    backward = Backward(
        "depthwise_filter", geometry.x, geometry.y, geometry.w, window=geometry.window, strides=forward.strides,
        before=geometry.before, dilations=forward.dilations, block=block, parts=parts, threads=query.threads,
    )  # fmt: skip
    return Bound(partial(_bind_filter, backward), backward.workspace_bytes)


# --- gradients with respect to the input ------------------------------------------------------------------------------


def _prepare_depthwise_input_grad(query: Query, constants: Constants) -> Bound:
    geometry, forward = _conv_geometry(query, False)
    backward = Backward(
        "depthwise_input", geometry.x, geometry.y, geometry.w, window=geometry.window, strides=forward.strides,
        before=geometry.before, dilations=forward.dilations, threads=query.threads,
    )  # fmt: skip
    return Bound(lambda ins, outs, _: backward.bind(w=ins[0], dy=ins[1], dx=outs[0]))


def _prepare_max_pool_grad(query: Query[Pool2DParams], constants: Constants) -> Bound:
    params, (x, y, _) = query.params, query.inputs
    backward = Backward(
        "max_pool", x, y, window=params.window, strides=params.strides, before=WindowGeometry.between(x.dims, y.dims, params.window, params).before,
        threads=query.threads,
    )  # fmt: skip
    return Bound(lambda ins, outs, _: backward.bind(x=ins[0], y=ins[1], dy=ins[2], dx=outs[0]))


def _prepare_avg_pool_grad(query: Query[AvgPool2DGradParams], constants: Constants) -> Bound:
    params, (dy,), (dx,) = query.params, query.inputs, query.outputs
    forward = params.forward
    backward = Backward(
        "average_pool", dx, dy, window=forward.window, strides=forward.strides, before=WindowGeometry.between(dx.dims, dy.dims, forward.window, forward).before,
        count_padding=forward.count_include_pad, threads=query.threads,
    )  # fmt: skip
    return Bound(lambda ins, outs, _: backward.bind(dy=ins[0], dx=outs[0]))


# --- cross-entropy ----------------------------------------------------------------------------------------------------


def _prepare_cross_entropy(query: Query, constants: Constants) -> Bound:
    types = (*query.inputs, *query.outputs)

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        (logits, labels), (loss, gradient) = inputs, outputs
        return bind_cross_entropy(logits, labels, loss, gradient, types, threads=query.threads)

    return Bound(bind)


def _kernel(
    contract: Contract[Any], name: str, prepare: Callable[[Query, Constants], Any], *, inputs: bool, outputs: bool
) -> Kernel:
    def supports(query: Query) -> str | None:
        return refuse_dtypes(query, dtypes(dtypes_of("filter")))

    return Kernel(
        contract, "cython", name, prepare=prepare, supports=supports, strided_inputs=inputs, strided_outputs=outputs
    )


KERNELS: tuple[Kernel, ...] = (
    _kernel(ops.CONV2D_INPUT_GRAD, "conv2d_input_grad_igemm", _prepare_input_grad, inputs=True, outputs=False),
    _kernel(ops.CONV2D_FILTER_GRAD, "conv2d_filter_grad_outer", _prepare_filter_grad, inputs=True, outputs=False),
    _kernel(
        ops.DEPTHWISE_CONV2D_INPUT_GRAD,
        "depthwise_conv2d_input_grad",
        _prepare_depthwise_input_grad,
        inputs=True,
        outputs=True,
    ),
    _kernel(
        ops.DEPTHWISE_CONV2D_FILTER_GRAD,
        "depthwise_conv2d_filter_grad",
        _prepare_depthwise_filter_grad,
        inputs=True,
        outputs=False,
    ),
    _kernel(ops.MAX_POOL2D_GRAD, "max_pool2d_grad", _prepare_max_pool_grad, inputs=True, outputs=True),
    _kernel(ops.AVG_POOL2D_GRAD, "avg_pool2d_grad", _prepare_avg_pool_grad, inputs=True, outputs=True),
    _kernel(ops.SOFTMAX_CROSS_ENTROPY, "softmax_cross_entropy", _prepare_cross_entropy, inputs=False, outputs=False),
    _kernel(
        ops.SPARSE_SOFTMAX_CROSS_ENTROPY,
        "sparse_softmax_cross_entropy",
        _prepare_cross_entropy,
        inputs=False,
        outputs=False,
    ),
    Kernel(
        ops.LRN_GRAD,
        "cython",
        "lrn_grad",
        prepare=prepare_lrn,
        supports=supports_lrn,
        strided_outputs=True,
        strided_inputs=True,
    ),
    Kernel(
        ops.BATCH_NORM_STATISTICS_GRAD,
        "cython",
        "batch_norm_statistics_grad",
        prepare=prepare_statistics,
        supports=supports_statistics,
        strided_outputs=True,
        strided_inputs=True,
    ),
)
