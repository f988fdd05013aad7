"""Softmax and its logarithm along one axis."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.base import Contract, normalize_axis
from ..contracts.softmax import LOG_SOFTMAX, SOFTMAX, SoftmaxParams
from ..devices import align
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, DType
from .arrays import FLOATS, check_dense, scratch
from .jit import carray, compiled, inner, int64, pointer, void
from .scalar import exp
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

_F64 = np.dtype(np.float64)


@functools.cache
def _softmax_kernel(dtype: DType, logarithm: bool) -> Any:
    """``run(x, y, scratch, first, end, length, width)``: blocks [first, end) of ``length`` lines of ``width`` numbers.

    Column by column of a block; ``scratch`` holds ``width`` maxima, then as many float64 sums.
    """
    power = inner(exp(dtype))
    size = dtype.itemsize

    @compiled(f"{'log_' if logarithm else ''}softmax-{dtype}", void(*[int64] * 7))
    def run(x: int, y: int, scratch: int, first: int, end: int, length: int, width: int) -> None:
        sums = carray(pointer(scratch), width, np.float64)
        tops = carray(pointer(scratch + width * 8), width, dtype)
        for block in range(first, end):
            at_x, at_y = x + block * length * width * size, y + block * length * width * size
            top = carray(pointer(at_x), width, dtype)
            for i in range(width):
                tops[i] = top[i]
                sums[i] = 0
            for j in range(1, length):
                of = carray(pointer(at_x + j * width * size), width, dtype)
                for i in range(width):
                    value = of[i]
                    tops[i] = value if value > tops[i] or value != value else tops[i]
            for j in range(length):
                of = carray(pointer(at_x + j * width * size), width, dtype)
                to = carray(pointer(at_y + j * width * size), width, dtype)
                for i in range(width):
                    if logarithm:
                        value = of[i] - tops[i]
                        to[i] = value
                        sums[i] += power(value)
                    else:
                        value = power(of[i] - tops[i])
                        to[i] = value
                        sums[i] += value
            for i in range(width):
                sums[i] = np.log(sums[i]) if logarithm else 1.0 / sums[i]
            for j in range(length):
                to = carray(pointer(at_y + j * width * size), width, dtype)
                for i in range(width):
                    to[i] = to[i] - sums[i] if logarithm else to[i] * sums[i]

    return run


@functools.cache
def _line_kernel(dtype: DType, logarithm: bool) -> Any:
    """The same for lines whose numbers are adjacent (width 1): ``run(x, y, first, end, length)``."""
    power = inner(exp(dtype))
    size = dtype.itemsize

    @compiled(f"{'log_' if logarithm else ''}softmax-line-{dtype}", void(*[int64] * 5), fastmath=frozenset(["reassoc"]))
    def run(x: int, y: int, first: int, end: int, length: int) -> None:
        for line in range(first, end):
            of = carray(pointer(x + line * length * size), length, dtype)
            to = carray(pointer(y + line * length * size), length, dtype)
            top = of[0]
            for i in range(1, length):
                value = of[i]
                top = value if value > top or value != value else top
            for i in range(length):
                to[i] = of[i] - top
            total = 0.0
            if logarithm:
                for i in range(length):
                    total += power(to[i])
                total = np.log(total)
                for i in range(length):
                    to[i] = to[i] - total
            else:
                for i in range(length):
                    to[i] = power(to[i])
                for i in range(length):
                    total += to[i]
                total = 1.0 / total
                for i in range(length):
                    to[i] = to[i] * total

    return run


@dataclass(frozen=True, slots=True)
class _Softmax:
    """Workspace, unless the axis is the last: a line of maxima and one of sums per task."""

    query: Query
    blocks: int
    length: int
    width: int
    kernel: Any
    absorbed: frozenset[int] = frozenset()

    @property
    def _tasks(self) -> int:
        return max(1, min(self.query.threads, self.blocks, self.query.outputs[0].size // 16384))

    @property
    def _task_bytes(self) -> int:
        return align(16 * self.width) if self.width > 1 else 0

    @property
    def workspace_bytes(self) -> int:
        return self._tasks * self._task_bytes

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        name = self.query.contract.name
        x = check_dense(f"input 0 of {name}", inputs[0], self.query.inputs[0])
        y = check_dense(f"the output of {name}", outputs[0], self.query.outputs[0])
        work = scratch(workspace, self.workspace_bytes)
        runs: list[Run] = []
        if self.query.outputs[0].size:
            for i, (first, end) in enumerate(shares(self.blocks, self._tasks)):
                if self.width == 1:
                    runs.append(functools.partial(self.kernel, x, y, first, end, self.length))
                else:
                    place = work.ctypes.data + i * self._task_bytes
                    runs.append(functools.partial(self.kernel, x, y, place, first, end, self.length, self.width))
        return sequence([parallel(runs)], (inputs, outputs, work))


def _kernel(contract: Contract[SoftmaxParams], logarithm: bool) -> Kernel:
    def prepare(query: Query[SoftmaxParams], constants: Constants) -> _Softmax:
        shape, params = query.inputs[0].dims, query.params
        axis = normalize_axis(contract.name, params.axis, len(shape))
        width = prod(shape[axis + 1 :])
        make = _line_kernel if width == 1 else _softmax_kernel
        kernel = make(query.inputs[0].dtype, logarithm)
        return _Softmax(query, prod(shape[:axis]), shape[axis], width, kernel)

    return Kernel(
        contract, "numba", contract.name, prepare=prepare, supports=lambda query: refuse_dtypes(query, FLOATS)
    )


KERNELS = (_kernel(SOFTMAX, False), _kernel(LOG_SOFTMAX, True))
