"""What is promised beyond right values: the same bits with any number of threads, kernels that run side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.backends import available_backends, get_backend
from kigraph.kernels.conformance import Case, cases_of, unsupported
from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.conformance.table import support_table
from kigraph.kernels.contracts import CONTRACTS
from kigraph.kernels.kernel import Kernel
from kigraph.kernels.registry import kernels_of

NDArray = np.ndarray[Any, Any]
HOST_BACKENDS = [name for name in available_backends() if get_backend(name).device().name == "cpu"]


def _threaded() -> Iterator[Any]:
    """One case with threads of every hot contract that a kernel of a CPU backend serves."""
    for name in HOST_BACKENDS:
        for contract in CONTRACTS:
            for kernel in kernels_of(name, contract) if contract.hot else ():
                served = [c for c in cases_of(contract) if "threads" in c.tags and unsupported(kernel, c) is None]
                if served:
                    yield pytest.param(kernel, served[-1], id=f"{kernel}-{served[-1]}")


def bind(kernel: Kernel, case: Case, values: list[NDArray]) -> tuple[Callable[[], None], list[NDArray]]:
    query = case.query()
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))
    device = get_backend(kernel.backend).device()
    outputs = [device.view(device.allocate(t.nbytes), 0, t.dtype, t.dims) for t in query.outputs]
    inputs = [None if i in prepared.absorbed else v for i, v in enumerate(values)]
    workspace = device.allocate(prepared.workspace_bytes) if prepared.workspace_bytes else None
    return prepared.bind(inputs, outputs, workspace), outputs


@pytest.mark.parametrize(("kernel", "case"), list(_threaded()))
def test_the_same_bits_with_any_number_of_threads(kernel: Kernel, case: Case, seed: int) -> None:
    values = case.generate(seed)
    results = []
    for threads in (1, 2, 3):
        run, outputs = bind(kernel, replace(case, threads=threads), values)
        run()
        results.append([o.tobytes() for o in outputs])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("kernel", "case"), list(_threaded()))
def test_bound_runs_at_the_same_time(kernel: Kernel, case: Case, seed: int) -> None:
    """Four Python threads run four bindings ten times each, with their own inputs."""
    work = []
    for number in range(4):
        run, outputs = bind(kernel, case, case.generate(seed + number))
        run()
        work.append((run, outputs, [o.copy() for o in outputs]))
    start, failures = threading.Barrier(4), []

    def repeat(run: Callable[[], None], outputs: list[NDArray], wanted: list[NDArray]) -> None:
        start.wait()
        for _ in range(10):
            for output in outputs:
                output.fill(0)
            run()
            if any(o.tobytes() != w.tobytes() for o, w in zip(outputs, wanted, strict=True)):
                failures.append("different bits")

    threads = [threading.Thread(target=repeat, args=item) for item in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_support_table_shows_gaps_and_every_contract() -> None:
    lines = support_table(["numpy"]).splitlines()
    assert lines[0] == "| op | numpy | host |"
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [c.name for c in CONTRACTS]
    assert "gap" not in support_table(["numpy"])
    (conv,) = [line for line in lines if line.startswith("| conv2d |")]
    assert conv == "| conv2d | bf16 f16 f32 f64 |  |"


def test_a_backend_without_kernels_is_all_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.kernels.conformance import table

    monkeypatch.setattr(table, "kernels_of", lambda backend, contract: ())
    lines = table.support_table(["numpy"]).splitlines()[2:]
    assert sum("**gap**" in line for line in lines) == sum(c.hot for c in CONTRACTS)
    assert len(table.gaps("numpy")) == sum(c.hot for c in CONTRACTS)
