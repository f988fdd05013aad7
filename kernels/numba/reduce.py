"""Sums, means and extremes over any axes.

Adjacent axes that are both kept or both reduced are merged. If the last axis is kept, whole rows are folded
into a row of accumulators, else each line into one number. Sums run in float64, or in 64-bit integers that wrap.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.base import Contract
from ..contracts.reduce import REDUCE_MAX, REDUCE_MEAN, REDUCE_MIN, REDUCE_SUM, ReduceParams
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, DType, is_float
from .arrays import FLOATS, NUMBERS, check_dense, scratch
from .jit import array_type, carray, compiled, inner, int64, pointer, void
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

_INDEX = array_type(np.dtype(np.int64))
_GRAIN = 64 * 1024
#: Columns per row of accumulators: 16 KB, so they stay in the L1 cache.
_BLOCK = 2048
#: Numbers side by side of which a maximum is kept each: LLVM makes no vectors of one maximum that NaN passes.
_LANES = 128


@inner
def _offset(index: int, axes: Any, start: int, rank: int) -> int:
    """Bytes to element ``index`` of ``rank`` axes; ``axes`` has their sizes from ``start`` on, then their strides."""
    total = 0
    for axis in range(rank - 1, -1, -1):
        n = axes[start + axis]
        total += index % n * axes[start + rank + axis]
        index //= n
    return total


def _accumulator(name: str, dtype: DType) -> tuple[DType, Any]:
    """Type and initial value of the accumulator."""
    if name in ("reduce_max", "reduce_min"):
        if is_float(dtype):
            return dtype, dtype.type(-np.inf if name == "reduce_max" else np.inf)
        limits = np.iinfo(dtype)
        return dtype, dtype.type(limits.min if name == "reduce_max" else limits.max)
    wide = np.dtype({"f": np.float64, "i": np.int64, "u": np.uint64}[dtype.kind])
    return wide, wide.type(0)


_FOLDS: dict[str, Any] = {
    "reduce_sum": lambda total, x: total + x,
    "reduce_mean": lambda total, x: total + x,
    "reduce_max": lambda total, x: x if x > total or x != x else total,
    "reduce_min": lambda total, x: x if x < total or x != x else total,
}


@functools.cache
def _reduce_kernel(name: str, dtype: DType) -> Any:
    """``run(x, y, totals, axes, kept, reduced, last, rows, first, end, divisor)``: work items [first, end).

    ``axes``: sizes and strides of the ``kept`` outer axes, then of the ``reduced`` ones; ``last``: size of the last
    axis. ``rows`` = 1: it is kept, and an item is a block of up to _BLOCK columns, whose accumulators are at ``totals``.
    0: it is reduced, and an item is one result; extremes keep those of _LANES columns at ``totals``.
    """
    wide, start = _accumulator(name, dtype)
    # The flag lets sums be vectorised; infinities and NaN stay what they are.
    fold = inner(_FOLDS[name], frozenset(["reassoc"]))
    size, convert, mean, extreme = (
        dtype.itemsize,
        wide.type,
        name == "reduce_mean",
        name in ("reduce_max", "reduce_min"),
    )

    @compiled(f"{name}-{dtype}", void(*[int64] * 3, _INDEX, *[int64] * 7))
    def run(
        x: int,
        y: int,
        totals: int,
        axes: Any,
        kept: int,
        reduced: int,
        last: int,
        rows: int,
        first: int,
        end: int,
        divisor: int,
    ) -> None:
        count = 1
        for axis in range(reduced):
            count *= axes[2 * kept + axis]
        blocks = (last + _BLOCK - 1) // _BLOCK
        for item in range(first, end):
            if rows == 1:
                column = item % blocks * _BLOCK
                width = min(_BLOCK, last - column)
                at = x + _offset(item // blocks, axes, 0, kept) + column * size
                sums = carray(pointer(totals), width, wide)
                for c in range(width):
                    sums[c] = start
                for line in range(count):
                    of = carray(pointer(at + _offset(line, axes, 2 * kept, reduced)), width, dtype)
                    for c in range(width):
                        sums[c] = fold(sums[c], convert(of[c]))
                to = carray(pointer(y + (item // blocks * last + column) * size), width, dtype)
                for c in range(width):
                    to[c] = sums[c] / divisor if mean else sums[c]
            else:
                total = start
                at = x + _offset(item, axes, 0, kept)
                lanes = carray(pointer(totals), _LANES, wide)
                if extreme:
                    for c in range(_LANES):
                        lanes[c] = start
                for line in range(count):
                    of = carray(pointer(at + _offset(line, axes, 2 * kept, reduced)), last, dtype)
                    whole = last - last % _LANES if extreme else 0
                    for block in range(0, whole, _LANES):
                        for c in range(_LANES):
                            lanes[c] = fold(lanes[c], convert(of[block + c]))
                    for c in range(whole, last):
                        total = fold(total, convert(of[c]))
                if extreme:
                    for c in range(_LANES):
                        total = fold(total, lanes[c])
                carray(pointer(y + item * size), 1, dtype)[0] = total / divisor if mean else total

    return run


@dataclass(frozen=True, slots=True)
class _Walk:
    """The loops over a dense array: outer axes (size, stride in bytes) that are kept and that are reduced, and the last axis."""

    kept: tuple[tuple[int, int], ...]
    reduced: tuple[tuple[int, int], ...]
    last: int
    rows: bool

    @classmethod
    def of(cls, shape: Sequence[int], itemsize: int, axes: Sequence[int]) -> _Walk:
        joined: list[tuple[int, int, bool]] = []
        stride = itemsize
        for axis in range(len(shape) - 1, -1, -1):
            n, goes = shape[axis], axis in axes
            if n != 1 and joined and joined[-1][2] == goes:
                joined[-1] = (joined[-1][0] * n, joined[-1][1], goes)
            elif n != 1:
                joined.append((n, stride, goes))
            stride *= max(n, 1)
        last, _, goes = joined[0] if joined else (1, itemsize, False)
        outer = joined[:0:-1]
        kept, reduced = (tuple((n, step) for n, step, g in outer if g == which) for which in (False, True))
        return cls(kept, reduced, last, not goes)

    @property
    def items(self) -> int:
        return prod(n for n, _ in self.kept) * (-(-self.last // _BLOCK) if self.rows else 1)

    def table(self) -> np.ndarray[Any, Any]:
        """Sizes and strides in the order that the kernel reads them."""
        numbers = [pair[i] for pairs in (self.kept, self.reduced) for i in (0, 1) for pair in pairs]
        return np.array(numbers or [0], np.int64)


@dataclass(frozen=True, slots=True)
class _Reduce:
    """Workspace: accumulators of a block of columns per task."""

    query: Query
    walk: _Walk
    kernel: Any
    absorbed: frozenset[int] = frozenset()

    @property
    def _tasks(self) -> int:
        return max(1, min(self.query.threads, self.query.inputs[0].size // _GRAIN, self.walk.items))

    @property
    def workspace_bytes(self) -> int:
        extreme = self.query.contract in (REDUCE_MAX, REDUCE_MIN)
        return self._tasks * _BLOCK * 8 if self.walk.rows or extreme else 0

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, walk, (out,) = self.query, self.walk, self.query.outputs
        name = query.contract.name
        x = check_dense(f"input 0 of {name}", inputs[0], query.inputs[0])
        y = check_dense(f"the output of {name}", outputs[0], out)
        work = scratch(workspace, self.workspace_bytes)
        divisor = query.inputs[0].size // out.size if out.size else 1
        table, runs = walk.table(), list[Run]()
        if out.size:
            for i, (first, end) in enumerate(shares(walk.items, self._tasks)):
                place = x, y, work.ctypes.data + i * _BLOCK * 8, table, len(walk.kept), len(walk.reduced)
                rest = walk.last, int(walk.rows), first, end, divisor
                runs.append(functools.partial(self.kernel, *place, *rest))
        return sequence([parallel(runs)], (inputs, outputs, work))


def _kernel(contract: Contract[ReduceParams], dtypes: Sequence[DType]) -> Kernel:
    def prepare(query: Query[ReduceParams], constants: Constants) -> _Reduce:
        x, params = query.inputs[0], query.params
        walk = _Walk.of(x.dims, x.dtype.itemsize, params.normalized(len(x.dims)))
        return _Reduce(query, walk, _reduce_kernel(contract.name, x.dtype))

    return Kernel(
        contract, "numba", contract.name, prepare=prepare, supports=lambda query: refuse_dtypes(query, dtypes)
    )


KERNELS = (
    _kernel(REDUCE_SUM, NUMBERS),
    _kernel(REDUCE_MEAN, FLOATS),
    _kernel(REDUCE_MAX, NUMBERS),
    _kernel(REDUCE_MIN, NUMBERS),
)
