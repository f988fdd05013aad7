"""Batch normalisation by the batch's own statistics, and its gradient: sums over rows, then one pass over them.

Rows are summed in a number of parts that depends on the rows alone, so the number of threads does not change the sums. Parts are
joined as by Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.gradients import BATCH_NORM_STATISTICS_GRAD
from ..contracts.normalization import BATCH_NORM_STATISTICS
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array, DType
from .arrays import FLOATS, check_dense, pitch, scratch
from .jit import carray, compiled, int64, pointer, void
from .jit import types as numba_types
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

_GRAIN = 64 * 1024
_PARTS, _PART_ROWS = 64, 64
_DOUBLE = np.dtype(np.float64)


@functools.cache
def _forward(dtype: DType) -> tuple[Any, Any]:
    """``part(x, sums, first, end, channels, x_step)``: sums of rows, and of squared deviations from their mean.

    ``finish(sums, rows_of, parts, channels, scale, offset, old mean, old variance, new mean, new variance, mean, variance, lines,
    epsilon, factor)``: statistics, and the factor and summand of each channel; rows_of: first rows of the parts, and the end.
    """

    width = dtype.itemsize

    @compiled(f"batch_statistics-part-{dtype}", void(*[int64] * 6))
    def part(x: int, sums: int, first: int, end: int, channels: int, x_step: int) -> None:
        total = carray(pointer(sums), channels, _DOUBLE)
        squares = carray(pointer(sums + 8 * channels), channels, _DOUBLE)
        for c in range(channels):
            total[c] = 0.0
            squares[c] = 0.0
        for r in range(first, end):
            row = carray(pointer(x + r * x_step), channels, dtype)
            for c in range(channels):
                total[c] += row[c]
        each = 1.0 / (end - first)
        for r in range(first, end):
            row = carray(pointer(x + r * x_step), channels, dtype)
            for c in range(channels):
                apart = row[c] - total[c] * each
                squares[c] += apart * apart

    @compiled(f"batch_statistics-finish-{dtype}", void(*[int64] * 13, *[numba_types.float64] * 2))
    def finish(
        sums: int, rows_of: int, parts: int, channels: int, scale: int, offset: int, old_mean: int, old_variance: int,
        new_mean: int, new_variance: int, mean: int, variance: int, lines: int, epsilon: float, factor: float,
    ) -> None:  # fmt: skip
        starts = carray(pointer(rows_of), parts + 1, np.dtype(np.int64))
        total = carray(pointer(sums), channels, _DOUBLE)
        squares = carray(pointer(sums + 8 * channels), channels, _DOUBLE)
        for p in range(1, parts):
            more = carray(pointer(sums + 16 * p * channels), channels, _DOUBLE)
            more_squares = carray(pointer(sums + 16 * p * channels + 8 * channels), channels, _DOUBLE)
            n, count = starts[p], starts[p + 1] - starts[p]
            for c in range(channels):
                apart = more[c] / count - total[c] / n
                squares[c] += more_squares[c] + apart * apart * (n * (count / (n + count)))
                total[c] += more[c]
        size = width * channels
        by, add = carray(pointer(lines), channels, dtype), carray(pointer(lines + size), channels, dtype)
        gamma, beta = carray(pointer(scale), channels, dtype), carray(pointer(offset), channels, dtype)
        m_out, v_out = carray(pointer(mean), channels, dtype), carray(pointer(variance), channels, dtype)
        m_new, v_new = carray(pointer(new_mean), channels, dtype), carray(pointer(new_variance), channels, dtype)
        m_old, v_old = carray(pointer(old_mean), channels, dtype), carray(pointer(old_variance), channels, dtype)
        rows = starts[parts]
        unbiased = rows / max(rows - 1, 1)
        for c in range(channels):
            m, v = total[c] / rows, squares[c] / rows
            m_out[c], v_out[c] = m, v
            if factor == 1:
                m_new[c], v_new[c] = m, v * unbiased
            else:
                m_new[c] = (1 - factor) * m_old[c] + factor * m
                v_new[c] = (1 - factor) * v_old[c] + factor * v * unbiased
            by[c] = gamma[c] / math.sqrt(v + epsilon)
            add[c] = beta[c] + (m_out[c] - m) * by[c]

    return part, finish


@functools.cache
def _backward(dtype: DType) -> tuple[Any, Any]:
    """``part(dy, x, mean, sums, first, end, channels, dy_step, x_step)``: sums of dy and of dy * (x - mean).

    ``finish(sums, parts, rows, channels, scale, variance, d_scale, d_offset, lines, epsilon)``: the small gradients, and per
    channel the factors of dy and of x - mean and the summand.
    """

    width = dtype.itemsize

    @compiled(f"batch_statistics_grad-part-{dtype}", void(*[int64] * 9))
    def part(
        dy: int, x: int, mean: int, sums: int, first: int, end: int, channels: int, dy_step: int, x_step: int
    ) -> None:
        total = carray(pointer(sums), channels, _DOUBLE)
        products = carray(pointer(sums + 8 * channels), channels, _DOUBLE)
        middle = carray(pointer(mean), channels, dtype)
        for c in range(channels):
            total[c] = 0.0
            products[c] = 0.0
        for r in range(first, end):
            top = carray(pointer(dy + r * dy_step), channels, dtype)
            row = carray(pointer(x + r * x_step), channels, dtype)
            for c in range(channels):
                flow = np.float64(top[c])
                total[c] += flow
                products[c] += flow * (np.float64(row[c]) - middle[c])

    @compiled(f"batch_statistics_grad-finish-{dtype}", void(*[int64] * 9, numba_types.float64))
    def finish(
        sums: int, parts: int, rows: int, channels: int, scale: int, variance: int, d_scale: int, d_offset: int,
        lines: int, epsilon: float,
    ) -> None:  # fmt: skip
        total = carray(pointer(sums), 2 * channels, _DOUBLE)
        for p in range(1, parts):
            more = carray(pointer(sums + 16 * p * channels), 2 * channels, _DOUBLE)
            for c in range(2 * channels):
                total[c] += more[c]
        size = width * channels
        by, of_x = carray(pointer(lines), channels, dtype), carray(pointer(lines + size), channels, dtype)
        add = carray(pointer(lines + 2 * size), channels, dtype)
        gamma, spread = carray(pointer(scale), channels, dtype), carray(pointer(variance), channels, dtype)
        for_scale, for_offset = carray(pointer(d_scale), channels, dtype), carray(pointer(d_offset), channels, dtype)
        for c in range(channels):
            inverse = 1.0 / math.sqrt(spread[c] + epsilon)
            b = gamma[c] * inverse
            for_scale[c], for_offset[c] = total[channels + c] * inverse, total[c]
            by[c] = b
            of_x[c] = -b * inverse * inverse * total[channels + c] / rows
            add[c] = -b * total[c] / rows

    return part, finish


@functools.cache
def _apply(dtype: DType, gradient: bool) -> Any:
    """``run(dy, x, out, mean, lines, first, end, channels, dy_step, x_step, out_step)``: steps in bytes."""
    width = dtype.itemsize

    @compiled(f"batch_statistics{'_grad' if gradient else ''}-{dtype}", void(*[int64] * 11))
    def run(
        dy: int, x: int, out: int, mean: int, lines: int, first: int, end: int, channels: int, dy_step: int,
        x_step: int, out_step: int,
    ) -> None:  # fmt: skip
        size = width * channels
        middle, by = carray(pointer(mean), channels, dtype), carray(pointer(lines), channels, dtype)
        second, third = (
            carray(pointer(lines + size), channels, dtype),
            carray(pointer(lines + 2 * size), channels, dtype),
        )
        for r in range(first, end):
            row = carray(pointer(x + r * x_step), channels, dtype)
            to = carray(pointer(out + r * out_step), channels, dtype)
            if gradient:
                top = carray(pointer(dy + r * dy_step), channels, dtype)
                for c in range(channels):
                    to[c] = top[c] * by[c] + (row[c] - middle[c]) * second[c] + third[c]
            else:
                for c in range(channels):
                    to[c] = (row[c] - middle[c]) * by[c] + second[c]

    return run


@dataclass(frozen=True, slots=True)
class _Statistics:
    """Workspace: two sums of each part as doubles, first rows of the parts, three lines of channels."""

    query: Query
    gradient: bool
    absorbed: frozenset[int] = frozenset()

    @property
    def _rows(self) -> int:
        return prod(self.query.outputs[0].dims[:-1])

    @property
    def _parts(self) -> int:
        return min(_PARTS, -(-self._rows // _PART_ROWS))

    @property
    def workspace_bytes(self) -> int:
        image = self.query.outputs[0]
        channels = image.dims[-1]
        return 16 * self._parts * channels + 8 * (_PARTS + 1) + 3 * channels * image.dtype.itemsize

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, params, name = self.query, self.query.params, self.query.contract.name
        image, channels = query.outputs[0], query.outputs[0].dims[-1]
        rows, parts, size = self._rows, self._parts, image.dtype.itemsize
        if not rows or not channels:
            return functools.partial(_fill, outputs, 0.0 if self.gradient else math.nan)
        images = 2 if self.gradient else 1
        places = [pitch(f"input {i} of {name}", inputs[i], query.inputs[i]) for i in range(images)]
        vectors = [check_dense(f"input {i} of {name}", a, query.inputs[i]) for i, a in enumerate(inputs) if i >= images]
        out, out_step = pitch(f"output 0 of {name}", outputs[0], image)
        made = [check_dense(f"output {i} of {name}", a, query.outputs[i]) for i, a in enumerate(outputs) if i]
        work = scratch(workspace, self.workspace_bytes)
        sums, table = work.ctypes.data, 16 * parts * channels
        starts = sums + table
        lines = starts + 8 * (_PARTS + 1)
        bounds = list(shares(rows, parts))
        firsts = np.array([*(first for first, _ in bounds), rows], np.int64)
        target = work[table : table + firsts.nbytes].view(np.int64)
        (x, x_step), (dy, dy_step) = places[-1], places[0] if self.gradient else (0, 0)
        steps, threads = (dy_step * size, x_step * size), max(1, min(query.threads, image.size // _GRAIN))
        tasks: list[Run] = []
        if self.gradient:
            part, finish = _backward(image.dtype)
            scale, mean, variance = vectors
            end = functools.partial(finish, sums, parts, rows, channels, scale, variance, *made, lines, params.epsilon)
            for p, (first, last) in enumerate(bounds):
                place = sums + 16 * p * channels
                tasks.append(functools.partial(part, dy, x, mean, place, first, last, channels, *steps))
        else:
            part, finish = _forward(image.dtype)
            scale, offset, *old = vectors
            mean = made[2]
            known = old or made[:2]
            end = functools.partial(
                finish,
                sums,
                starts,
                parts,
                channels,
                scale,
                offset,
                *known,
                *made,
                lines,
                params.epsilon,
                params.factor,
            )
            for p, (first, last) in enumerate(bounds):
                tasks.append(functools.partial(part, x, sums + 16 * p * channels, first, last, channels, steps[1]))
        run = _apply(image.dtype, self.gradient)
        passes: list[Run] = [
            functools.partial(run, dy, x, out, mean, lines, first, last, channels, *steps, out_step * size)
            for first, last in shares(rows, threads)
        ]
        order: list[Run] = [parallel(tasks, threads), end, parallel(passes)]
        if not self.gradient:
            order.insert(0, functools.partial(np.copyto, target, firsts))
        return sequence(order, (inputs, outputs, work, firsts, target))


def _fill(outputs: Sequence[Array], value: float) -> None:
    """The mean of nothing, or sums of nothing."""
    for y in outputs:
        y.fill(value)


def _kernel(contract: Any, gradient: bool) -> Kernel:
    def prepare(query: Query, constants: Constants) -> _Statistics:
        return _Statistics(query, gradient)

    return Kernel(
        contract,
        "numba",
        contract.name,
        prepare=prepare,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        strided_inputs=True,
        strided_outputs=True,
    )


KERNELS = (_kernel(BATCH_NORM_STATISTICS, False), _kernel(BATCH_NORM_STATISTICS_GRAD, True))
