"""Times the candidates of one layer, each with its own packed weights, on one image and one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ..devices import HOST
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import DType
from .signature import one_image

__all__ = ["RandomConstants", "Unkept", "measure"]

T = TypeVar("T")
NDArray = np.ndarray[Any, Any]

#: Runs per candidate: at least, at most, and the seconds after which the least number is enough.
_LEAST, _MOST, _BUDGET = 3, 15, 0.012
#: Bytes read between two runs to evict the L2 cache: in a network the weights of a layer come from L3 or memory.
_EVICTED = 8 << 20


class Unkept(Constants):
    """Constants whose packed forms are not kept: most candidates lose."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants

    def value(self, index: int) -> NDArray:
        return self._constants.value(index)

    def packed(self, index: int, layout: str, pack: Callable[[NDArray], T]) -> T:
        return pack(self.value(index))


class RandomConstants(Constants):
    """Random weights for a query, where there is no model."""

    def __init__(self, query: Query) -> None:
        rng = np.random.default_rng(0)
        self._values = {i: _random(rng, query.inputs[i].dtype, query.inputs[i].dims) for i in query.constants}

    def value(self, index: int) -> NDArray:
        return self._values[index]

    def packed(self, index: int, layout: str, pack: Callable[[NDArray], T]) -> T:
        return pack(self.value(index))


def measure(query: Query, kernels: Sequence[Kernel], constants: Constants | None = None) -> dict[str, float]:
    """Microseconds of each kernel for one image: the minimum of several runs, the candidates in turn (A B A B).

    constants: the layer's own weights; default: random ones. The kernels must work on main memory and support the query.
    Results are thrown away. Takes some 10 ms for each kernel of a layer.
    """
    query = one_image(query)
    values = Unkept(constants) if constants is not None else RandomConstants(query)
    rng = np.random.default_rng(1)
    arrays = [
        None if i in query.constants else _random(rng, t.dtype, t.dims, positive=True)
        for i, t in enumerate(query.inputs)
    ]
    outputs = [_empty(t.dtype, t.dims) for t in query.outputs]
    runs = {kernel.name: _bound(kernel, query, values, arrays, outputs) for kernel in kernels}
    evicted = np.zeros(_EVICTED // 8, np.uint64)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    started = time.perf_counter()
    for turn in range(_MOST):
        if turn >= _LEAST and time.perf_counter() - started > _BUDGET * len(runs):
            break
        for name, run in runs.items():
            evicted.sum()
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: round(min(seconds) * 1e6, 2) for name, seconds in times.items()}


def _bound(
    kernel: Kernel, query: Query, constants: Constants, arrays: Sequence[NDArray | None], outputs: Sequence[NDArray]
) -> Run:
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, constants)
    inputs = [
        None if i in prepared.absorbed else constants.value(i) if array is None else array
        for i, array in enumerate(arrays)
    ]
    workspace = HOST.allocate(prepared.workspace_bytes) if prepared.workspace_bytes else None
    return prepared.bind(inputs, outputs, workspace)


def _empty(dtype: DType, dims: tuple[int, ...]) -> NDArray:
    return HOST.view(HOST.allocate(int(np.prod(dims)) * dtype.itemsize), 0, dtype, dims)


def _random(rng: np.random.Generator, dtype: DType, dims: tuple[int, ...], positive: bool = False) -> NDArray:
    array = _empty(dtype, dims)
    array[...] = rng.random(dims) if positive else rng.standard_normal(dims) * 0.05
    return array
