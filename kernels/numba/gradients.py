"""Backward convolutions, pooling, local response normalisation and cross-entropy. (relu_grad, relu6_grad: elementwise.py.)

The matrix products run on the engine of the forward pass (gemm.py, window.py), lrn_grad in normalization.py, the rest in
gradient_loops.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts import gradients as ops
from ..contracts.base import Contract
from ..contracts.conv2d import Conv2DParams
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..contracts.gradients import ConvGradParams
from ..contracts.pool2d import Pool2DParams
from ..devices import align
from ..errors import KernelError
from ..kernel import Constants, Kernel, Prepared, Query, Run
from ..records import dataclass
from ..tensor import Array, TensorType
from .arrays import FLOATS, Zeros, check, check_dense, scratch
from .gemm import Gemm
from .gradient_loops import (
    avg_pool_kernel,
    cross_entropy_kernel,
    depthwise_filter_kernel,
    max_pool_kernel,
    sum_products_kernel,
)
from .normalization import prepare_lrn
from .threads import parallel, sequence, shares
from .window import WindowRun, geometry_fields, plan_windows

__all__ = ["KERNELS"]

NDArray = np.ndarray[Any, Any]


def _geometry(
    x: Sequence[int], y: Sequence[int], window: Sequence[int], params: Conv2DParams | Pool2DParams
) -> dict[str, int]:
    """A forward window op from x to y."""
    return geometry_fields(WindowGeometry.between(x, y, window, params))


def _turned(forward: dict[str, int], channels: int) -> dict[str, int]:
    """The window op from dy to dx: cells of the window in opposite order, dy spread out by the strides."""
    return {
        **forward, "height": forward["out_height"], "width": forward["out_width"], "channels": channels,
        "out_height": forward["height"], "out_width": forward["width"], "stride_y": 1, "stride_x": 1,
        "up_y": forward["stride_y"], "up_x": forward["stride_x"],
        "top": (forward["window_height"] - 1) * forward["dilation_y"] - forward["top"],
        "left": (forward["window_width"] - 1) * forward["dilation_x"] - forward["left"],
    }  # fmt: skip


class _Work:
    """Allocates parts of the workspace as arrays."""

    def __init__(self, workspace: NDArray) -> None:
        self._rest = workspace

    def take(self, nbytes: int) -> NDArray:
        part = self._rest[:nbytes]
        self._rest = self._rest[align(nbytes) :]
        return part

    def array(self, like: TensorType) -> NDArray:
        return self.take(like.nbytes).view(like.dtype).reshape(like.dims)


@dataclass(frozen=True, slots=True)
class _ConvInputGrad:
    """Per image: all products of dy's pixels and the filter, then each pixel of dx sums its own.

    Nothing is multiplied with padding, so a NaN in the filter reaches only the pixels that it belongs to. Workspace: the
    product's, the filter packed, and one image's products (pixels of dy x cells of the window x channels).
    """

    query: Query
    gemm: Gemm
    kernel: Any
    table: NDArray
    bias: NDArray
    absorbed: frozenset[int] = frozenset()

    @property
    def _product_bytes(self) -> int:
        return self.gemm.rows * self.gemm.columns * self.gemm.dtype.itemsize

    @property
    def workspace_bytes(self) -> int:
        return sum(map(align, (self.gemm.workspace_bytes, self.gemm.packed_bytes, self._product_bytes)))

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, gemm, (dx,) = self.query, self.gemm, self.query.outputs
        f = check_dense("input 0 of conv2d_input_grad", inputs[0], query.inputs[0])
        dy = check_dense("input 1 of conv2d_input_grad", inputs[1], query.inputs[1])
        to = check_dense("the output of conv2d_input_grad", outputs[0], dx)
        work = _Work(scratch(workspace, self.workspace_bytes))
        own, packed = work.take(gemm.workspace_bytes), work.take(gemm.packed_bytes)
        products = work.take(self._product_bytes)
        runs = [parallel(gemm.pack_tasks(f, packed.ctypes.data, True, query.threads))]
        images, height, width, channels = dx.dims
        size = gemm.dtype.itemsize
        for image in range(images if dx.size else 0):
            a, c = dy + image * gemm.rows * gemm.k * size, products.ctypes.data
            jobs = gemm.jobs(
                own, **gemm.matrix_rows(a, gemm.k), b=packed.ctypes.data, c=c, ldc=gemm.columns,
                bias=self.bias.ctypes.data, low=ACTIVATION_LIMITS["none"][0], high=ACTIVATION_LIMITS["none"][1],
            )  # fmt: skip
            place = c, to + image * height * width * channels * size
            sums = [
                functools.partial(self.kernel, *place, self.table, first, end)
                for first, end in shares(height, query.threads)
            ]
            runs += [parallel(gemm.tasks(jobs, len(jobs)), query.threads), parallel(sums)]
        return sequence(runs, (inputs, outputs, workspace, self.bias))


def _conv_input_grad(query: Query[ConvGradParams], constants: Constants) -> Prepared:
    (f, dy), (dx,) = query.inputs, query.outputs
    params = query.params
    cout = f.dims[3]
    gathered = cout * f.dtype.itemsize % 4096 == 0
    gemm = Gemm.plan(f.dtype, prod(dy.dims[1:3]), cout, prod(f.dims[:3]), query.threads, gathered)
    table = np.array(list(_geometry(dx.dims, dy.dims, f.dims, params.forward).values()), np.int64)
    return _ConvInputGrad(query, gemm, sum_products_kernel(f.dtype), table, gemm.pack_bias(None))


@dataclass(frozen=True, slots=True)
class _ConvFilterGrad:
    """Rows are (window y, window x, channel), k is all output pixels. Workspace: the product's, dy packed, and x transposed
    to (channel, image, height, width), so that the pixels of a row are contiguous."""

    query: Query
    gemm: Gemm
    geometry: dict[str, int]
    turned: TensorType
    bias: NDArray
    absorbed: frozenset[int] = frozenset()

    @property
    def workspace_bytes(self) -> int:
        return sum(map(align, (self.gemm.workspace_bytes, self.gemm.packed_bytes, self.turned.nbytes)))

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, gemm = self.query, self.gemm
        check("input 0 of conv2d_filter_grad", inputs[0], query.inputs[0])
        dy = check_dense("input 1 of conv2d_filter_grad", inputs[1], query.inputs[1])
        df = check_dense("the output of conv2d_filter_grad", outputs[0], query.outputs[0])
        work = _Work(scratch(workspace, self.workspace_bytes))
        own, packed = work.take(gemm.workspace_bytes), work.take(gemm.packed_bytes)
        turned = work.array(self.turned)
        jobs = gemm.jobs(
            own, a=turned.ctypes.data, across=1, b=packed.ctypes.data, c=df, ldc=gemm.columns,
            bias=self.bias.ctypes.data, low=ACTIVATION_LIMITS["none"][0], high=ACTIVATION_LIMITS["none"][1], **self.geometry,
        )  # fmt: skip
        runs = (
            functools.partial(np.copyto, turned, inputs[0].transpose(3, 0, 1, 2)),
            parallel(gemm.pack_tasks(dy, packed.ctypes.data, False, query.threads)),
            parallel(gemm.tasks(jobs, len(jobs)), query.threads),
        )
        return sequence(runs, (inputs, outputs, workspace, self.bias))


def _conv_filter_grad(query: Query[ConvGradParams], constants: Constants) -> Prepared:
    (x, dy), (df,) = query.inputs, query.outputs
    params = query.params
    gemm = Gemm.plan(x.dtype, prod(df.dims[:3]), prod(dy.dims[:3]), df.dims[3], query.threads, gathered=True)
    geometry = _geometry(x.dims, dy.dims, df.dims, params.forward)
    n, h, w, c = x.dims
    return _ConvFilterGrad(query, gemm, geometry, TensorType(x.dtype, (c, n, h, w)), gemm.pack_bias(None))


@dataclass(frozen=True, slots=True)
class _DepthwiseInputGrad:
    """Workspace: the windows', the filter rotated by 180 degrees, and with a multiplier dx before the sum over it."""

    query: Query
    window: WindowRun
    bias: NDArray
    absorbed: frozenset[int] = frozenset()

    @property
    def _wide(self) -> TensorType:
        return self.window.query.outputs[0]

    @property
    def workspace_bytes(self) -> int:
        sizes = self.window.workspace_bytes, self.query.inputs[0].nbytes, self._wide.nbytes
        return sum(map(align, sizes))

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        f, dx = self.query.inputs[0], self.query.outputs[0]
        work = _Work(scratch(workspace, self.workspace_bytes))
        own, turned = work.take(self.window.workspace_bytes), work.array(f)
        check("input 0 of depthwise_conv2d_input_grad", inputs[0], f)
        check("the output of depthwise_conv2d_input_grad", outputs[0], dx)
        wide = work.array(self._wide) if self._wide != dx else outputs[0]
        keep = (*inputs, *outputs, workspace, self.bias)
        runs: list[Run] = [
            functools.partial(np.copyto, turned, inputs[0][::-1, ::-1]),
            self.window.bind(inputs[1], wide, own, keep, turned.ctypes.data, self.bias.ctypes.data),
        ]
        if self._wide != dx:
            split = wide.reshape((*dx.dims, f.dims[3]))
            runs.append(lambda: split.sum(-1, out=outputs[0]))
        return sequence(runs, keep)


def _depthwise_input_grad(query: Query[ConvGradParams], constants: Constants) -> Prepared:
    (f, dy), (dx,) = query.inputs, query.outputs
    params = query.params
    wide = TensorType(dx.dtype, (*dx.dims[:3], dy.dims[3]))
    geometry = _turned(_geometry(dx.dims, dy.dims, f.dims, params.forward), dy.dims[3])
    low, high = ACTIVATION_LIMITS["none"]
    inner = Query(query.contract, (dy,), (wide,), query.params, threads=query.threads)
    forward = WindowGeometry.between(inner.inputs[0].dims, inner.outputs[0].dims, f.dims, Conv2DParams())
    more: dict[str, float] = {**geometry, "low": low, "high": high}
    plan = plan_windows(inner, "depthwise", forward, multiplies_padding=False, **more)
    return _DepthwiseInputGrad(query, plan, np.zeros(dy.dims[3], dy.dtype))


@dataclass(frozen=True, slots=True)
class _Loops:
    """A kernel of gradient_loops.py. ``tasks(places, work)`` makes its calls; they see addresses only."""

    query: Query
    workspace_bytes: int
    tasks: Callable[[list[int], NDArray], list[Run]]
    absorbed: frozenset[int] = frozenset()

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, name = self.query, self.query.contract.name
        places = [
            check_dense(f"input {i} of {name}", x, t) for i, (x, t) in enumerate(zip(inputs, query.inputs, strict=True))
        ]
        places += [
            check_dense(f"output {i} of {name}", x, t)
            for i, (x, t) in enumerate(zip(outputs, query.outputs, strict=True))
        ]
        work = scratch(workspace, self.workspace_bytes)
        return sequence([parallel(self.tasks(places, work), query.threads)], (inputs, outputs, workspace))


def _depthwise_filter_grad(query: Query[ConvGradParams], constants: Constants) -> Prepared:
    """Tasks are window cells; each sums over all pixels in float64."""
    (x, dy), (df,) = query.inputs, query.outputs
    params = query.params
    kernel = depthwise_filter_kernel(x.dtype)
    table = np.array(list(_geometry(x.dims, dy.dims, df.dims, params.forward).values()), np.int64)
    cells, channels = prod(df.dims[:2]), df.dims[2] * df.dims[3]

    def tasks(places: list[int], work: NDArray) -> list[Run]:
        start = work.ctypes.data
        return [
            functools.partial(
                kernel, *places, start + i * align(8 * channels), table, x.dims[0], df.dims[3], first, end
            )
            for i, (first, end) in enumerate(shares(cells if channels else 0, query.threads))
            if end > first
        ]

    return _Loops(query, query.threads * align(8 * channels), tasks)


def _pool_grad(query: Query, constants: Constants) -> Prepared:
    """Tasks are images: windows of one image overlap."""
    (dx,) = query.outputs
    params = query.params
    best = query.contract is ops.MAX_POOL2D_GRAD
    forward = params if best else params.forward
    dy = query.inputs[-1]
    table = np.array(list(_geometry(dx.dims, dy.dims, forward.window, forward).values()), np.int64)
    kernel = max_pool_kernel(dx.dtype) if best else avg_pool_kernel(dx.dtype)
    divisor = 0.0 if best or not forward.count_include_pad else float(prod(forward.window))
    flags = align(dx.dims[3])

    def tasks(places: list[int], work: NDArray) -> list[Run]:
        return [
            functools.partial(kernel, *places, work.ctypes.data + i * flags if best else divisor, table, first, end)
            for i, (first, end) in enumerate(shares(dx.dims[0] if dx.size else 0, query.threads))
            if end > first
        ]

    return _Loops(query, query.threads * flags, tasks)


def _cross_entropy(query: Query, constants: Constants) -> Prepared:
    logits = query.inputs[0]
    rows, classes = logits.dims
    kernel = cross_entropy_kernel(logits.dtype, sparse=False)

    def tasks(places: list[int], work: NDArray) -> list[Run]:
        return [
            functools.partial(kernel, *places, classes, first, end)
            for first, end in shares(rows, min(query.threads, logits.size // 16384))
            if end > first
        ]

    return _Loops(query, 0, tasks)


@dataclass(frozen=True, slots=True)
class _SparseCrossEntropy:
    """Workspace: the labels as int64."""

    query: Query
    kernel: Any
    absorbed: frozenset[int] = frozenset()

    @property
    def workspace_bytes(self) -> int:
        return self.query.inputs[1].size * 8

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, name = self.query, self.query.contract.name
        rows, classes = query.inputs[0].dims
        logits = check_dense(f"input 0 of {name}", inputs[0], query.inputs[0])
        given = check(f"input 1 of {name}", inputs[1], query.inputs[1])
        loss, gradient = (
            check_dense(f"output {i} of {name}", y, t)
            for i, (y, t) in enumerate(zip(outputs, query.outputs, strict=True))
        )
        labels = scratch(workspace, self.workspace_bytes)[: rows * 8].view(np.int64)

        def copy_labels() -> None:
            if rows and not (given.min() >= 0 and given.max() < classes):
                raise KernelError(f"{name}: labels go from {given.min()} to {given.max()}; expected 0 to {classes - 1}")
            np.copyto(labels, given, casting="unsafe")  # uint64 to int64: the range has been checked

        tasks = [
            functools.partial(self.kernel, logits, labels.ctypes.data, loss, gradient, classes, first, end)
            for first, end in shares(rows, min(query.threads, query.inputs[0].size // 16384))
            if end > first
        ]
        return sequence([copy_labels, parallel(tasks)], (inputs, outputs, workspace))


def _sparse_cross_entropy(query: Query, constants: Constants) -> Prepared:
    return _SparseCrossEntropy(query, cross_entropy_kernel(query.inputs[0].dtype, sparse=True))


def _kernel(
    contract: Contract[Any], prepare: Callable[[Query, Constants], Prepared], flows: bool = True, strided: bool = False
) -> Kernel:
    """``flows``: the gradient is a sum of products of all inputs, so that an empty one makes it zeros."""

    def prepare_sums(query: Query, constants: Constants) -> Prepared:
        return prepare(query, constants) if all(t.size for t in query.inputs) else Zeros(query)

    return Kernel(
        contract,
        "numba",
        contract.name,
        prepare=prepare_sums if flows else prepare,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        strided_inputs=strided,
        strided_outputs=strided,
    )


KERNELS = (
    _kernel(ops.CONV2D_INPUT_GRAD, _conv_input_grad),
    _kernel(ops.CONV2D_FILTER_GRAD, _conv_filter_grad),
    _kernel(ops.DEPTHWISE_CONV2D_INPUT_GRAD, _depthwise_input_grad),
    _kernel(ops.DEPTHWISE_CONV2D_FILTER_GRAD, _depthwise_filter_grad),
    _kernel(ops.MAX_POOL2D_GRAD, _pool_grad),
    _kernel(ops.AVG_POOL2D_GRAD, _pool_grad),
    _kernel(ops.SOFTMAX_CROSS_ENTROPY, _cross_entropy, flows=False),
    _kernel(ops.SPARSE_SOFTMAX_CROSS_ENTROPY, _sparse_cross_entropy, flows=False),
    _kernel(ops.LRN_GRAD, prepare_lrn, strided=True),
)
