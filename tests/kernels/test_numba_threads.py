"""The numba backend's threads: same bits for any number, several callers, the crew's races, the GIL, life after fork."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="the numba extra is not installed")

from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.contracts.matmul import MATMUL
from kigraph.kernels.devices import HOST
from kigraph.kernels.kernel import NoConstants, Query, Run
from kigraph.kernels.numba import threads
from kigraph.kernels.numba.crew import Crew
from kigraph.kernels.registry import select
from kigraph.kernels.tensor import TensorType

NDArray = np.ndarray[Any, Any]


def convolution(seed: int, threads: int) -> tuple[Run, NDArray]:
    """A bound convolution with constant weights, and its output."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s, dtype=np.float32) for s in ((1, 23, 29, 40), (3, 3, 40, 96), (96,))]
    types = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    params = Conv2DParams(padding="SAME", activation="relu")
    query = Query(CONV2D, types, CONV2D.check(types, params), params, frozenset([1, 2]), threads)
    kernel = select(query, ["numba"]).kernel
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({1: arrays[1], 2: arrays[2]}))
    assert prepared.absorbed == {1, 2}
    y = np.full(query.outputs[0].dims, np.nan, np.float32)
    return prepared.bind([arrays[0], None, None], [y], HOST.allocate(prepared.workspace_bytes)), y


@pytest.mark.parametrize("count", [2, 3, 8])
def test_same_bits_for_any_number_of_threads(count: int) -> None:
    alone, wanted = convolution(1, 1)
    alone()
    together, got = convolution(1, count)
    for _ in range(20):
        got.fill(np.nan)
        together()
        assert got.tobytes() == wanted.tobytes()


def test_several_callers_at_once() -> None:
    wanted = []
    for seed in range(6):
        run, y = convolution(seed, 1)
        run()
        wanted.append(y.tobytes())
    bound = [convolution(seed, 3) for seed in range(6)]
    start, wrong = threading.Barrier(6), []

    def caller(seed: int) -> None:
        run, y = bound[seed]
        start.wait()
        for _ in range(40):
            y.fill(np.nan)
            run()
            if y.tobytes() != wanted[seed]:
                wrong.append(seed)

    callers = [threading.Thread(target=caller, args=(seed,)) for seed in range(6)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []


def test_tasks_run_at_the_same_time_and_errors_come_back() -> None:
    meeting = threading.Barrier(3)
    threads.parallel([lambda: meeting.wait(30)] * 3)()  # passes only if three threads are inside at once

    def fail() -> None:
        raise ValueError("task")

    done: list[int] = []
    with pytest.raises(ValueError, match="task"):
        threads.parallel([fail, lambda: done.append(1), lambda: done.append(2)])()
    assert sorted(done) == [1, 2]


def test_more_tasks_than_threads() -> None:
    inside, most, lock = [0], [0], threading.Lock()

    def task() -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        threading.Event().wait(0.002)
        with lock:
            inside[0] -= 1

    threads.parallel([task] * 20, 2)()
    assert most[0] <= 2


def test_a_kernel_releases_the_gil() -> None:
    """While one thread is inside a kernel for a while, this one goes on running Python."""
    n = 700
    a, b, y = (np.ones((n, n), np.float32) for _ in range(3))
    query = Query(MATMUL, (TensorType(a.dtype, a.shape),) * 2, (TensorType(a.dtype, a.shape),), MATMUL.params())
    kernel = select(query, ["numba"]).kernel
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, NoConstants())
    run = prepared.bind([a, b], [y], HOST.allocate(prepared.workspace_bytes))
    run()
    stop, count = threading.Event(), 0

    def work() -> None:
        for _ in range(20):
            run()
        stop.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # the GIL changes hands only where it is given up
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while not stop.is_set():
            count += 1
            stop.wait(0.0005)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert count > 20


def _product(count: int) -> tuple[Run, NDArray]:
    """A product of 3 us per task, bound for ``count`` threads."""
    rng = np.random.default_rng(9)
    a, b = rng.standard_normal((count * 14, 40), np.float32), rng.standard_normal((40, 128), np.float32)
    types = tuple(TensorType(x.dtype, x.shape) for x in (a, b))
    query = Query(MATMUL, types, MATMUL.check(types, MATMUL.params()), MATMUL.params(), frozenset([1]), count)
    kernel = select(query, ["numba"]).kernel
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({1: b}))
    y = np.full(query.outputs[0].dims, np.nan, np.float32)
    return prepared.bind([a, None], [y], HOST.allocate(prepared.workspace_bytes)), y


def test_thousands_of_short_batches() -> None:
    """Helpers that come late, spin, fall asleep and wake must neither miss a task nor run one twice or too late."""
    run, y = _product(3)
    run()
    wanted = y.tobytes()
    for i in range(5000):
        y.fill(np.nan)
        run()
        assert y.tobytes() == wanted, i
        if i % 500 == 0:
            time.sleep(0.02)  # longer than a helper's patience


def test_crew_serves_one_caller_at_a_time() -> None:
    """A second caller is refused, and its tasks go to the pool."""
    crew = Crew()
    with crew._busy:
        assert crew.run(np.zeros((2, 2), np.int64), 2) is False
    run, y = _product(2)
    run()
    wanted = y.tobytes()
    with threads._CREW._busy:
        y.fill(np.nan)
        run()
    assert y.tobytes() == wanted


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_pool_works_after_fork() -> None:
    run, y = convolution(2, 3)
    run()
    wanted = y.tobytes()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)  # a lost helper would be waited for without end
            ok = True
            for _ in range(50):
                y.fill(np.nan)
                run()
                ok = ok and y.tobytes() == wanted
            code = 0 if ok else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    run()
    assert y.tobytes() == wanted


def test_numbas_own_threading_layer_is_never_started() -> None:
    import numba

    run, y = convolution(0, threads=2)
    run()
    assert not np.isnan(y).any()
    with pytest.raises(ValueError, match="not initialized"):
        numba.threading_layer()
