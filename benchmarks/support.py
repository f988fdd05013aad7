"""Runs conformance cases as benchmarks: the kernel that a user would get, checked against the truth before it is timed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.backends import get_backend
from kigraph.kernels.conformance import Case, bind_case, process_seed
from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.conformance.truth import compare, tolerance, truth
from kigraph.kernels.devices import Device
from kigraph.kernels.errors import KernelError
from kigraph.kernels.kernel import Kernel
from kigraph.kernels.registry import select
from kigraph.kernels.tensor import STRING, TensorType

from .peak import peak_gflops
from .precisions import in_precision, suffix

__all__ = ["Bound", "bind", "check", "time_case", "time_run"]

NDArray = np.ndarray[Any, Any]

#: Seconds that one benchmark is timed, and the least number of rounds (2 where one takes more than a second).
_BUDGET, _ROUNDS = 0.25, 5


@dataclass(frozen=True, slots=True)
class Bound:
    """A kernel bound to arrays of its device."""

    kernel: Kernel
    run: Callable[[], None]
    outputs: list[Any]
    device: Device


@functools.lru_cache(maxsize=2)  # the backends of a case come one after the other
def _values_and_truth(case: Case, precision: str | None = None) -> tuple[list[NDArray], list[NDArray]]:
    """precision: of the kernel; operands that it rounds are rounded before the truth is computed."""
    values = case.generate(process_seed())
    return values, truth(case, values) if precision in (None, "fp32") else truth(case, values, precision)  # type: ignore[call-arg]


def bind(case: Case, backend: str) -> Bound:
    """The backend's preferred kernel for the case, bound to dense arrays. Skips the benchmark if there is none.

    ``backend`` may be the host family.
    """
    try:
        kernel = select(case.query(), [backend]).kernel
    except KernelError as error:
        pytest.skip(str(error))
    if kernel.backend != backend:
        pytest.skip(f"{backend} has no kernel of its own for {case}")
    device = get_backend(backend).device()
    values, _ = _values_and_truth(replace(case, threads=1))
    if kernel.evaluate is not None:
        return _dynamic(kernel, values, case.params, device)
    if not case.guarded:
        return _objects(kernel, case, values, device)
    dense = replace(case, memory="dense", inputs=tuple(replace(i, memory="dense") for i in case.inputs))
    made = bind_case(kernel, dense, values, device)

    def complete() -> None:
        made.run()
        device.synchronize()

    return Bound(kernel, complete, list(made.outputs), device)


def _objects(kernel: Kernel, case: Case, values: list[NDArray], device: Device) -> Bound:
    """A kernel of strings: arrays of Python objects."""
    query = case.query()
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))
    outputs = [np.zeros(t.dims, t.dtype) for t in query.outputs]
    return Bound(kernel, prepared.bind(list(values), list(outputs), None), list(outputs), device)


def _dynamic(kernel: Kernel, values: list[NDArray], params: Any, device: Device) -> Bound:
    """A kernel whose output shapes depend on values: each run makes new arrays."""
    outputs: list[Any] = []

    def run() -> None:
        assert kernel.evaluate is not None
        outputs[:] = kernel.evaluate(values, params)

    return Bound(kernel, run, outputs, device)


def check(case: Case, bound: Bound) -> None:
    """Runs once; raises MismatchError if a result is not the truth."""
    bound.run()
    _, wanted = _values_and_truth(replace(case, threads=1), bound.kernel.precision)
    for output, want in zip(bound.outputs, wanted, strict=True):
        got = output if output.dtype == STRING else bound.device.download(output)
        compare(got, want, tolerance(case, got.dtype, bound.kernel.tolerance))


def time_run(benchmark: Any, run: Callable[[], Any]) -> float | None:
    """Times a function that has run before; the least time in seconds, or None if timing is switched off."""
    run()
    start = time.perf_counter()
    run()
    once = max(time.perf_counter() - start, 1e-7)
    iterations = max(int(20e-6 / once), 1)
    rounds = min(max(int(_BUDGET / (once * iterations)), _ROUNDS if once < 1 else 2), 2000)
    benchmark.pedantic(run, rounds=rounds, iterations=iterations)
    return None if benchmark.stats is None else float(benchmark.stats.stats.min)


def time_case(
    benchmark: Any, case: Case, backend: str, threads: int, *, weight: int = 1, precision: str = "fp32"
) -> None:
    """Checks and times one case on one backend, in int8 the quantised op at its shapes. ``weight``: how often a network has
    this layer. Operations are counted as those of the case in fp32."""
    single = replace(case, threads=threads)
    case = in_precision(single, backend, precision)
    bound = bind(case, backend)
    check(case, bound)
    query = case.query()
    benchmark.group = f"{single}{suffix(precision)}"
    benchmark.extra_info.update(
        op=single.contract.name, case=case.id, backend=backend, precision=precision, kernel=bound.kernel.name,
        threads=threads, weight=weight,
    )  # fmt: skip
    least = time_run(benchmark, bound.run)
    if least is None:
        return
    made = [TensorType(np.dtype(y.dtype), tuple(y.shape)) for y in bound.outputs]
    counted = single.query()
    flops = single.contract.flops(counted.inputs, counted.outputs if precision == "int8" else made, counted.params)
    benchmark.extra_info["gflops"] = flops / least / 1e9
    benchmark.extra_info["gbytes_per_s"] = case.contract.bytes_moved(query.inputs, made) / least / 1e9
    peak = peak_gflops(threads) if bound.device.name == "cpu" and precision == "fp32" else None
    if peak is not None:
        benchmark.extra_info["share_of_peak"] = flops / least / 1e9 / peak
