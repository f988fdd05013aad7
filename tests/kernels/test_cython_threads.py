"""The thread pool: results do not depend on the number of threads, several callers at once, life after fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.devices import HOST
from kigraph.kernels.kernel import Query
from kigraph.kernels.registry import select
from kigraph.kernels.tensor import TensorType

core = pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")

ROOT = Path(__file__).parents[2]


def convolution(seed: int, threads: int) -> tuple[Callable[[], None], np.ndarray]:
    """A bound convolution with constant weights and its output."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s, dtype=np.float32) for s in ((1, 23, 29, 40), (3, 3, 40, 96), (96,))]
    types = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    params = Conv2DParams(padding="SAME", activation="relu")
    query = Query(CONV2D, types, CONV2D.check(types, params), params, frozenset([1, 2]), threads)
    kernel = select(query, ["cython"]).kernel
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({1: arrays[1], 2: arrays[2]}))
    y = np.full(query.outputs[0].dims, np.nan, np.float32)
    inputs = [None if i in prepared.absorbed else a for i, a in enumerate(arrays)]
    return prepared.bind(inputs, [y], HOST.allocate(prepared.workspace_bytes)), y


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_same_bits_for_any_number_of_threads(threads: int) -> None:
    alone, wanted = convolution(1, 1)
    alone()
    together, got = convolution(1, threads)
    for _ in range(20):
        got.fill(np.nan)
        together()
        assert got.tobytes() == wanted.tobytes()


def test_several_callers_at_once() -> None:
    wanted = []
    for seed in range(6):
        run, y = convolution(seed, 1)
        run()
        wanted.append(y.copy())
    errors: list[int] = []
    start = threading.Barrier(6)

    def caller(seed: int) -> None:
        run, y = convolution(seed, 3)
        start.wait()
        for _ in range(40):
            y.fill(np.nan)
            run()
            if y.tobytes() != wanted[seed].tobytes():
                errors.append(seed)

    callers = [threading.Thread(target=caller, args=(seed,)) for seed in range(6)]
    for t in callers:
        t.start()
    for t in callers:
        t.join(60)
        assert not t.is_alive()
    assert errors == []


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
            signal.alarm(30)  # a lost helper would be waited for without end
            none = core.helpers() == 0
            again, z = convolution(2, 3)
            ok = none
            for _ in range(50):
                z.fill(np.nan)
                again()
                ok = ok and z.tobytes() == wanted
            code = 0 if ok and 1 <= core.helpers() <= 2 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    run()
    assert y.tobytes() == wanted


def test_helpers_start_when_first_wanted() -> None:
    code = """
import numpy as np
from kigraph.kernels.cython import core
from kigraph.kernels.contracts.elementwise import ADD
from kigraph.kernels.registry import select
from kigraph.kernels.kernel import NoConstants, Query
from kigraph.kernels.tensor import TensorType
x = np.ones(1 << 20, np.float32)
t = TensorType(x.dtype, x.shape)
seen = [core.helpers()]
for threads in (1, 4, 2):
    query = Query(ADD, (t, t), (t,), threads=threads)
    y = np.empty_like(x)
    select(query, ["cython"]).kernel.prepare(query, NoConstants()).bind([x, x], [y], None)()
    assert (y == 2).all()
    seen.append(core.helpers())
print(seen)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[0, 0, 3, 3]", done.stderr


def test_batched_products_share_out_items() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((7, 5, 11), dtype=np.float32), rng.standard_normal((7, 11, 9), dtype=np.float32)
    types = tuple(TensorType(v.dtype, v.shape) for v in (a, b))
    query = Query(MATMUL, types, MATMUL.check(types, MatMulParams()), MatMulParams(), threads=3)
    kernel = select(query, ["cython"]).kernel
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({}))
    y = np.full((7, 5, 9), np.nan, np.float32)
    run = prepared.bind([a, b], [y], HOST.allocate(prepared.workspace_bytes))
    for _ in range(30):
        y.fill(np.nan)
        run()
        np.testing.assert_allclose(y, a @ b, rtol=1e-5, atol=1e-5)
