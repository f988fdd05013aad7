"""Matrix product. Floats: packed panels and register tiles (gemm.py). Integers: plain loops that wrap."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.geometry import ACTIVATION_LIMITS
from ..contracts.matmul import MATMUL, MatMulParams
from ..devices import HOST, align
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, DType
from .arrays import FLOATS, INTEGERS, Zeros, check_dense, scratch
from .gemm import Gemm
from .jit import carray, compiled, int64, pointer, void
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

NDArray = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class _Shape:
    """One product, or several with broadcast leading axes. ``batch``: for each of them the numbers of its a and b."""

    rows: int
    k: int
    columns: int
    transpose_a: bool
    transpose_b: bool
    batch: tuple[tuple[int, int], ...]
    count_b: int

    @classmethod
    def of(cls, query: Query[MatMulParams]) -> _Shape:
        params = query.params
        a, b, y = query.inputs[0].dims, query.inputs[1].dims, query.outputs[0].dims
        rows, columns = y[-2:]
        k = a[-2] if params.transpose_a else a[-1]
        lead_a, lead_b, lead = prod(a[:-2]), prod(b[:-2]), y[:-2]
        if lead_b == 1 and not params.transpose_a and lead_a == prod(lead):
            # One b for all: the rows of all products form one long matrix.
            return cls(rows * lead_a, k, columns, False, params.transpose_b, ((0, 0),), 1)
        numbers = [np.broadcast_to(np.arange(prod(s)).reshape(s), lead).ravel().tolist() for s in (a[:-2], b[:-2])]
        batch = tuple(zip(*numbers, strict=True))
        return cls(rows, k, columns, params.transpose_a, params.transpose_b, batch, lead_b)


@dataclass(frozen=True, slots=True)
class _FloatMatMul:
    """Workspace: per group of products what one needs; then packed b, padded bias and a in row-major order, if needed."""

    query: Query[MatMulParams]
    shape: _Shape
    gemm: Gemm
    groups: int
    weights: NDArray | None
    bias: NDArray | None

    @property
    def absorbed(self) -> frozenset[int]:
        return self.query.constants & {1, 2}

    @property
    def _sizes(self) -> tuple[int, int, int, int]:
        gemm, shape = self.gemm, self.shape
        return (
            self.groups * align(gemm.workspace_bytes),
            0 if self.weights is not None else shape.count_b * align(gemm.packed_bytes),
            0 if self.bias is not None else align(gemm.bias_bytes),
            align(self.query.inputs[0].nbytes) if shape.transpose_a else 0,
        )

    @property
    def workspace_bytes(self) -> int:
        return sum(self._sizes)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, shape, gemm, threads = self.query, self.shape, self.gemm, self.query.threads
        params = query.params
        a = check_dense("input 0 of matmul", inputs[0], query.inputs[0])
        c = check_dense("the output of matmul", outputs[0], query.outputs[0])
        work = scratch(workspace, self.workspace_bytes)
        parts: list[NDArray] = []
        at = 0
        for nbytes in self._sizes:
            parts.append(work[at : at + nbytes])
            at += nbytes
        before: list[Run] = []
        weights, bias = self.weights, self.bias
        size, packed = gemm.dtype.itemsize, align(gemm.packed_bytes)
        if shape.transpose_a:
            rows = parts[3][: inputs[0].nbytes].view(gemm.dtype).reshape((*inputs[0].shape[:-2], shape.rows, shape.k))
            before.append(functools.partial(np.copyto, rows, inputs[0].swapaxes(-1, -2)))
            a = rows.ctypes.data
        if weights is None:
            weights = parts[1]
            source = check_dense("input 1 of matmul", inputs[1], query.inputs[1])
            for i in range(shape.count_b):
                place = source + i * shape.k * shape.columns * size, weights.ctypes.data + i * packed
                before.append(parallel(gemm.pack_tasks(*place, shape.transpose_b, threads)))
        if bias is None:
            bias = parts[2]
            check_dense("input 2 of matmul", inputs[2], query.inputs[2])
            before.append(gemm.bias_run(inputs[2], bias[: gemm.bias_bytes]))
        low, high = ACTIVATION_LIMITS[params.activation]
        product_bytes = shape.rows * shape.columns * size
        runs: list[Run] = []
        for group, (first, end) in enumerate(shares(len(shape.batch), self.groups)):
            slot = parts[0][group * align(gemm.workspace_bytes) :][: gemm.workspace_bytes]
            jobs = [
                gemm.jobs(
                    slot, **gemm.matrix_rows(a + shape.batch[i][0] * shape.rows * shape.k * size, shape.k),
                    b=weights.ctypes.data + shape.batch[i][1] * packed, c=c + i * product_bytes, ldc=shape.columns,
                    bias=bias.ctypes.data, low=low, high=high,
                )
                for i in range(first, end)
            ]  # fmt: skip
            runs += gemm.tasks(np.stack(jobs, 1).ravel(), len(jobs[0]))
        return sequence([*before, parallel(runs, threads)], (inputs, outputs, work, weights, bias))


def _prepare_floats(query: Query[MatMulParams], constants: Constants) -> _FloatMatMul | Zeros:
    if query.outputs[0].size == 0:
        return Zeros(query)
    shape = _Shape.of(query)
    groups = max(1, min(len(shape.batch), query.threads))
    dtype = query.inputs[0].dtype
    # Rows a multiple of 4 KB apart share one set of the L1 cache; gathering them spreads them out.
    gathered = shape.rows > 8 and shape.k * dtype.itemsize % 4096 == 0
    gemm = Gemm.plan(dtype, shape.rows, shape.k, shape.columns, max(1, query.threads // groups), gathered)
    weights = bias = None
    if 1 in query.constants:

        def pack(b: NDArray) -> NDArray:
            packed = HOST.allocate(shape.count_b * align(gemm.packed_bytes))
            matrix = shape.k * shape.columns * dtype.itemsize
            for i in range(shape.count_b):
                target = packed.ctypes.data + i * align(gemm.packed_bytes)
                for run in gemm.pack_tasks(b.ctypes.data + i * matrix, target, shape.transpose_b, 1):
                    run()
            return packed

        weights = constants.packed(1, f"numba-matmul-{gemm.layout}-{shape.transpose_b}", pack)
    if len(query.inputs) < 3:
        bias = gemm.pack_bias(None)
    elif 2 in query.constants:
        bias = constants.packed(2, f"numba-bias-{gemm.layout}", gemm.pack_bias)
    return _FloatMatMul(query, shape, gemm, groups, weights, bias)


@functools.cache
def _integer_kernel(dtype: DType) -> Any:
    """``product(a, b, bias, c, first, end, k, columns, low, high)``: rows [first, end); bias 0 = none."""
    size, scalar = dtype.itemsize, dtype.type

    @compiled(f"matmul-{dtype}", void(*[int64] * 8, int64, int64))
    def product(
        a: int, b: int, bias: int, c: int, first: int, end: int, k: int, columns: int, clamp: int, high: int
    ) -> None:
        for i in range(first, end):
            row = carray(pointer(c + i * columns * size), columns, dtype)
            left = carray(pointer(a + i * k * size), k, dtype)
            if bias == 0:
                for j in range(columns):
                    row[j] = 0
            else:
                start = carray(pointer(bias), columns, dtype)
                for j in range(columns):
                    row[j] = start[j]
            for t in range(k):
                right = carray(pointer(b + t * columns * size), columns, dtype)
                factor = left[t]
                for j in range(columns):
                    row[j] = scalar(row[j] + scalar(factor * right[j]))
            if clamp != 0:
                for j in range(columns):
                    row[j] = max(row[j], scalar(0))
            if high != 0:
                for j in range(columns):
                    row[j] = min(row[j], scalar(high))

    return product


@dataclass(frozen=True, slots=True)
class _IntegerMatMul:
    """Workspace: a and b in row-major order, if they are transposed."""

    query: Query[MatMulParams]
    shape: _Shape
    kernel: Any
    absorbed: frozenset[int] = frozenset()

    @property
    def workspace_bytes(self) -> int:
        flags = self.shape.transpose_a, self.shape.transpose_b
        return sum(align(t.nbytes) for t, turned in zip(self.query.inputs[:2], flags, strict=True) if turned)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, shape = self.query, self.shape
        params = query.params
        work = scratch(workspace, self.workspace_bytes)
        addresses = [
            check_dense(f"input {i} of matmul", x, t) for i, (x, t) in enumerate(zip(inputs, query.inputs, strict=True))
        ]
        c = check_dense("the output of matmul", outputs[0], query.outputs[0])
        before: list[Run] = []
        for i, turned in enumerate((shape.transpose_a, shape.transpose_b)):
            if turned:
                source = inputs[i].swapaxes(-1, -2)
                target = work[: source.nbytes].view(source.dtype).reshape(source.shape)
                before.append(functools.partial(np.copyto, target, source))
                addresses[i] = target.ctypes.data
                work = work[align(source.nbytes) :]
        size, k, columns = query.inputs[0].dtype.itemsize, shape.k, shape.columns
        bias = addresses[2] if len(addresses) > 2 else 0
        clamp, high = int(params.activation != "none"), 6 if params.activation == "relu6" else 0
        runs: list[Run] = []
        for i, (x, y) in enumerate(shape.batch):
            place = (
                addresses[0] + x * shape.rows * k * size, addresses[1] + y * k * columns * size, bias,
                c + i * shape.rows * columns * size,
            )  # fmt: skip
            for first, end in shares(shape.rows, query.threads if len(shape.batch) == 1 else 1):
                runs.append(functools.partial(self.kernel, *place, first, end, k, columns, clamp, high))
        return sequence([*before, parallel(runs, query.threads)], (inputs, outputs, workspace))


def _prepare_integers(query: Query[MatMulParams], constants: Constants) -> _IntegerMatMul | Zeros:
    if query.outputs[0].size == 0:
        return Zeros(query)
    return _IntegerMatMul(query, _Shape.of(query), _integer_kernel(query.inputs[0].dtype))


KERNELS = (
    Kernel(
        MATMUL,
        "numba",
        "matmul_gemm",
        prepare=_prepare_floats,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        rank=1,
    ),
    Kernel(
        MATMUL,
        "numba",
        "matmul_integer",
        prepare=_prepare_integers,
        supports=lambda query: refuse_dtypes(query, INTEGERS),
    ),
)
