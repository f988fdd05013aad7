"""bias_add and batch normalisation: per-channel arithmetic on pixels of adjacent channels."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ..checks import refuse_dtypes
from ..contracts.base import Contract
from ..contracts.normalization import BATCH_NORM, BIAS_ADD, BatchNormParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array, DType
from .arrays import FLOATS, NUMBERS, check_dense, pitch, scratch
from .jit import carray, compiled, int64, pointer, scalar_type, void
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

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


KERNELS = (_kernel(BIAS_ADD, _prepare_bias, NUMBERS), _kernel(BATCH_NORM, _prepare_norm, FLOATS))
