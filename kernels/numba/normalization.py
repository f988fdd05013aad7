"""bias_add, batch normalisation, local response normalisation: arithmetic on pixels of adjacent channels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from ..checks import refuse_dtypes
from ..contracts.base import Contract
from ..contracts.normalization import BATCH_NORM, BIAS_ADD, LRN, BatchNormParams, LRNParams
from ..devices import align
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, DType
from .arrays import FLOATS, NUMBERS, check_dense, pitch, scratch
from .jit import carray, compiled, inner, int64, pointer, scalar_type, void
from .scalar import exp
from .threads import parallel, sequence, shares

__all__ = ["KERNELS", "prepare_lrn"]

_GRAIN = 64 * 1024


@functools.cache
def _bias_kernel(dtype: DType) -> Any:
    """``run(x, y, bias, first, end, channels, x_step, y_step)``: pixels [first, end), steps in bytes."""

    @compiled(f"bias_add-{dtype}", void(*[int64] * 8))
    def run(x: int, y: int, bias: int, first: int, end: int, channels: int, x_step: int, y_step: int) -> None:
        add = carray(pointer(bias), channels, dtype)
        for r in range(first, end):
            to = carray(pointer(y + r * y_step), channels, dtype)
            if x == y:
                for c in range(channels):
                    to[c] += add[c]
            else:
                of = carray(pointer(x + r * x_step), channels, dtype)
                for c in range(channels):
                    to[c] = of[c] + add[c]

    return run


@functools.cache
def _norm_kernels(dtype: DType) -> tuple[Any, Any]:
    """``factors(mean, variance, scale, target, channels, epsilon)`` and ``run(x, y, mean, offset, factors, ...)``."""
    one = dtype.type(1)

    @compiled(f"batch_norm-factors-{dtype}", void(int64, int64, int64, int64, scalar_type(dtype)))
    def factors(variance: int, scale: int, target: int, channels: int, epsilon: Any) -> None:
        of, to = carray(pointer(variance), channels, dtype), carray(pointer(target), channels, dtype)
        for c in range(channels):
            to[c] = one / math.sqrt(of[c] + epsilon)
        if scale != 0:
            by = carray(pointer(scale), channels, dtype)
            for c in range(channels):
                to[c] *= by[c]

    @compiled(f"batch_norm-{dtype}", void(*[int64] * 10))
    def run(
        x: int,
        y: int,
        mean: int,
        offset: int,
        factor: int,
        first: int,
        end: int,
        channels: int,
        x_step: int,
        y_step: int,
    ) -> None:
        less, add = carray(pointer(mean), channels, dtype), carray(pointer(offset), channels, dtype)
        by = carray(pointer(factor), channels, dtype)
        for r in range(first, end):
            to = carray(pointer(y + r * y_step), channels, dtype)
            if x == y:
                for c in range(channels):
                    to[c] = (to[c] - less[c]) * by[c] + add[c]
            else:
                of = carray(pointer(x + r * x_step), channels, dtype)
                for c in range(channels):
                    to[c] = (of[c] - less[c]) * by[c] + add[c]

    return factors, run


@dataclass(frozen=True, slots=True)
class _PerChannel:
    """``factors`` is None for bias_add. Workspace of batch_norm: one factor per channel."""

    query: Query
    kernel: Any
    factors: Any = None
    absorbed: frozenset[int] = frozenset()

    @property
    def workspace_bytes(self) -> int:
        x = self.query.inputs[0]
        return 0 if self.factors is None else x.dims[-1] * x.dtype.itemsize

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, name = self.query, self.query.contract.name
        params = query.params
        x, x_pitch = pitch(f"input 0 of {name}", inputs[0], query.inputs[0])
        y, y_pitch = pitch(f"the output of {name}", outputs[0], query.outputs[0])
        vectors = [check_dense(f"input {i} of {name}", inputs[i], query.inputs[i]) for i in range(1, len(query.inputs))]
        shape, size = query.outputs[0].dims, query.outputs[0].dtype.itemsize
        work = scratch(workspace, self.workspace_bytes)
        before: list[Run] = []
        if self.factors is not None:
            mean, variance, offset = vectors[:3]
            scale = vectors[3] if len(vectors) > 3 else 0
            factor = work.ctypes.data
            before.append(functools.partial(self.factors, variance, scale, factor, shape[-1], params.epsilon))
            vectors = [mean, offset, factor]
        runs: list[Run] = []
        if query.outputs[0].size:
            threads = max(1, min(query.threads, query.outputs[0].size // _GRAIN))
            for first, end in shares(prod(shape[:-1]), threads):
                place = (x, y, *vectors, first, end, shape[-1], x_pitch * size, y_pitch * size)
                runs.append(functools.partial(self.kernel, *place))
        return sequence([*before, parallel(runs)], (inputs, outputs, work))


def _prepare_bias(query: Query, constants: Constants) -> _PerChannel:
    return _PerChannel(query, _bias_kernel(query.inputs[0].dtype))


def _prepare_norm(query: Query[BatchNormParams], constants: Constants) -> _PerChannel:
    factors, run = _norm_kernels(query.inputs[0].dtype)
    return _PerChannel(query, run, factors)


def _kernel(contract: Contract[Any], prepare: Any, dtypes: Sequence[DType]) -> Kernel:
    return Kernel(
        contract,
        "numba",
        contract.name,
        prepare=prepare,
        supports=lambda query: refuse_dtypes(query, dtypes),
        strided_inputs=True,
        strided_outputs=True,
    )


# --- local response normalisation -------------------------------------------------------------------------------------


def _window_sums(dtype: DType) -> Any:
    """``sums(line, other, to, channels, reach)``: to[c] = line[c] + ... + line[c + 2 * reach]; destroys both lines.

    By powers of two: a window is one sum of 2 ** k neighbours for each power of two that it has.
    """
    size = dtype.itemsize

    def sums(line: int, other: int, to: int, channels: int, reach: int) -> None:
        result, first = carray(pointer(to), channels, dtype), carray(pointer(line), channels, dtype)
        for c in range(channels):
            result[c] = first[c]
        window, half, done = 2 * reach + 1, 1, 1
        while 2 * half <= window:
            count = channels + window - 2 * half
            a, b = carray(pointer(line), count, dtype), carray(pointer(line + half * size), count, dtype)
            both = carray(pointer(other), count, dtype)
            for i in range(count):
                both[i] = a[i] + b[i]
            line, other = other, line
            if window & 2 * half:
                part = carray(pointer(line + done * size), channels, dtype)
                for c in range(channels):
                    result[c] += part[c]
                done += 2 * half
            half *= 2

    return inner(sums)


def _power(dtype: DType, beta: float) -> Callable[[Any, Any], Any]:
    """n ** -beta of (n, -beta), by roots where they are exact."""
    one, power = dtype.type(1), inner(exp(dtype))
    if beta == 0.5:
        return lambda n, exponent: one / math.sqrt(n)
    if beta == 0.75:
        return lambda n, exponent: one / (math.sqrt(n) * math.sqrt(math.sqrt(n)))
    if beta == 1:
        return lambda n, exponent: one / n
    return lambda n, exponent: power(exponent * math.log(n))


@functools.cache
def _lrn_kernel(dtype: DType, beta: float | None, backward: bool) -> Any:
    """``run(dy, x, y, out, scratch, first, end, channels, reach, steps..., bias, alpha, -beta, 2 * alpha * beta)``.

    Steps of dy, x, y and out in bytes. scratch: two lines with zeros at both ends, two without. beta: None for any other
    than 0.5, 0.75 and 1.
    """
    sums, power = _window_sums(dtype), inner(_power(dtype, beta or 0.0))
    size = dtype.itemsize
    number = scalar_type(dtype)
    name = f"lrn{'_grad' if backward else ''}-{beta}-{dtype}"

    @compiled(name, void(*[int64] * 13, *[number] * 4))
    def run(
        dy: int, x: int, y: int, out: int, scratch: int, first: int, end: int, channels: int, reach: int, dy_step: int,
        x_step: int, y_step: int, out_step: int, bias: Any, alpha: Any, exponent: Any, factor: Any,
    ) -> None:  # fmt: skip
        length = channels + 2 * reach
        line, other, n_at = scratch, scratch + length * size, scratch + 2 * length * size
        flow_at = n_at + channels * size
        before, after = (
            carray(pointer(line), reach, dtype),
            carray(pointer(line + (reach + channels) * size), reach, dtype),
        )
        inside, n = carray(pointer(line + reach * size), channels, dtype), carray(pointer(n_at), channels, dtype)
        for r in range(first, end):
            of, to = (
                carray(pointer(x + r * x_step), channels, dtype),
                carray(pointer(out + r * out_step), channels, dtype),
            )
            for i in range(reach):
                before[i] = 0
                after[i] = 0
            for c in range(channels):
                inside[c] = of[c] * of[c]
            sums(line, other, n_at, channels, reach)
            for c in range(channels):
                n[c] = bias + alpha * n[c]
            if backward:
                top, result = (
                    carray(pointer(dy + r * dy_step), channels, dtype),
                    carray(pointer(y + r * y_step), channels, dtype),
                )
                flow = carray(pointer(flow_at), channels, dtype)
                for i in range(reach):
                    before[i] = 0
                    after[i] = 0
                for c in range(channels):
                    inside[c] = top[c] * result[c] / n[c]
                sums(line, other, flow_at, channels, reach)
                for c in range(channels):
                    to[c] = top[c] * power(n[c], exponent) - factor * of[c] * flow[c]
            else:
                for c in range(channels):
                    to[c] = of[c] * power(n[c], exponent)

    return run


@dataclass(frozen=True, slots=True)
class _LRN:
    """lrn, and lrn_grad (three inputs). Workspace: four lines of channels per task, two of them wider by the radius."""

    query: Query
    kernel: Any
    absorbed: frozenset[int] = frozenset()

    @property
    def _reach(self) -> int:
        reach: int = self.query.params.reach(self.query.outputs[0].dims[-1])
        return reach

    @property
    def _tasks(self) -> int:
        y = self.query.outputs[0]
        return max(1, min(self.query.threads, y.size // _GRAIN, prod(y.dims[:-1])))

    @property
    def _task_bytes(self) -> int:
        y = self.query.outputs[0]
        return align((4 * y.dims[-1] + 4 * self._reach) * y.dtype.itemsize)

    @property
    def workspace_bytes(self) -> int:
        return self._tasks * self._task_bytes if self.query.outputs[0].size else 0

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, params = self.query, self.query.params
        name, out_type = query.contract.name, query.outputs[0]
        size, channels = out_type.dtype.itemsize, out_type.dims[-1]
        found = [pitch(f"input {i} of {name}", a, t) for i, (a, t) in enumerate(zip(inputs, query.inputs, strict=True))]
        found = found if len(found) == 3 else [(0, 0), *found, (0, 0)]
        found.append(pitch(f"the output of {name}", outputs[0], out_type))
        work = scratch(workspace, self.workspace_bytes)
        numbers = (params.bias, params.alpha, -params.beta, 2 * params.alpha * params.beta)
        runs: list[Run] = []
        if out_type.size:
            for i, (first, end) in enumerate(shares(prod(out_type.dims[:-1]), self._tasks)):
                place = work.ctypes.data + i * self._task_bytes
                steps = (step * size for _, step in found)
                where = (*(at for at, _ in found), place, first, end, channels, self._reach, *steps)
                runs.append(functools.partial(self.kernel, *where, *numbers))
        return sequence([parallel(runs)], (inputs, outputs, work))


def prepare_lrn(query: Query[LRNParams], constants: Constants) -> _LRN:
    """Of lrn, and of lrn_grad."""
    beta = query.params.beta if query.params.beta in (0.5, 0.75, 1.0) else None
    return _LRN(query, _lrn_kernel(query.outputs[0].dtype, beta, len(query.inputs) == 3))


KERNELS = (
    _kernel(BIAS_ADD, _prepare_bias, NUMBERS),
    _kernel(BATCH_NORM, _prepare_norm, FLOATS),
    _kernel(LRN, prepare_lrn, FLOATS),
)
