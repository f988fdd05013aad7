"""On a GPU: every kernel in every precision on every case, streams, CUDA graphs, memory, faults. Skipped elsewhere.

Random operands and long sums are in test_cupy_precision.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import kigraph as ki
import kigraph.kernels.cupy as backend
from kigraph.kernels.conformance import Case, bind_case, check_kernel, supported_cases
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.cupy import implicit_gemm
from kigraph.kernels.cupy.implicit_gemm import TILES, Tile
from kigraph.kernels.errors import KernelError
from kigraph.kernels.kernel import Kernel
from kigraph.kernels.numerics import Numerics

STATUS = backend.probe()
pytestmark = pytest.mark.skipif(not STATUS.available, reason=f"backend cupy cannot be used here: {STATUS.detail}")

NDArray = np.ndarray[Any, Any]
TABLE = {k.name: k for k in backend.KERNELS}


def rounded_case(case: Case, precision: str) -> Case:
    """Inputs and weights that the precision holds exactly, so that fp32's tolerance applies: small whole numbers."""
    case = replace(case, numerics=Numerics(precision=precision))
    if precision == "fp32":
        return case

    def spec(number: int) -> Any:
        given = case.inputs[number]
        if number > 1:
            return given
        return replace(given, values=lambda rng, shape, dtype: rng.integers(-8, 9, shape).astype(dtype) / dtype.type(8))

    return replace(case, inputs=tuple(spec(i) for i in range(len(case.inputs))))


def pairs() -> list[Any]:
    """The tensor-core kernels; fp32 and all others are in test_conformance.py."""
    return [
        pytest.param(kernel, case, id=f"{name}-{case}")
        for name, kernel in TABLE.items()
        if kernel.precision in ("tf32", "bf16")
        for case in supported_cases(kernel, Numerics(precision=kernel.precision))
        if not {"nan", "large"} & case.tags
    ]


@pytest.mark.parametrize(("kernel", "case"), pairs())
def test_tensor_core_kernel(kernel: Kernel, case: Case) -> None:
    outcome = check_kernel(kernel, rounded_case(case, kernel.name[-4:]), device=backend.DEVICE)
    if outcome.refused:
        assert "misaligned" in case.id


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("memory", ["slice", "pitched"])
@pytest.mark.parametrize(
    "tile", [t for tiles in TILES.values() for t in tiles], ids=lambda t: f"{t.precision.name}-{t.bm}x{t.bn}"
)
def test_every_tile(tile: Tile, memory: Any, splits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implicit_gemm, "choose_tile", lambda *_: (tile, splits))
    precision = tile.precision.name
    case = conv_case(
        "odd", (2, 12, 13, 36), (3, 2, 68), padding="SAME", activation="relu", x_memory=memory, memory=memory
    )
    kernel = TABLE[f"f32_conv2d_igemm_{precision}"]
    check_kernel(kernel, rounded_case(case, precision), device=backend.DEVICE)


def test_runs_on_the_current_stream_and_in_a_captured_graph() -> None:
    """A bound run allocates nothing and does not synchronise, so it can be captured and replayed."""
    import cupy

    case = conv_case("captured", (2, 17, 17, 64), (3, 3, 96), padding="SAME", activation="relu")
    values = case.generate(3)
    bound = bind_case(TABLE["f32_conv2d_igemm_fp32"], case, values, backend.DEVICE)
    run, (y,) = bound.run, bound.outputs
    (wanted,) = bound.results()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        run()
        stream.begin_capture()
        run()
        graph = stream.end_capture()
        backend.DEVICE.upload(np.zeros(y.shape, np.float32), y)
        graph.launch(stream)
        np.testing.assert_array_equal(backend.DEVICE.download(y), wanted)


def test_threads_of_a_session_run_at_the_same_time() -> None:
    graph = ki.Graph()
    rng = np.random.default_rng(1)
    with graph.as_default():
        x = ki.placeholder(np.float32, (None, 20, 20, 16), name="x")
        y = ki.relu(ki.conv2d(x, rng.standard_normal((3, 3, 16, 32)).astype(np.float32), (1, 1, 1, 1), "SAME"))
    images = [rng.standard_normal((2, 20, 20, 16)).astype(np.float32) for _ in range(8)]
    with ki.Session(graph, backend="cupy") as session:
        wanted = [session.run(y, {x: image}) for image in images]
        found: list[NDArray | None] = [None] * len(images)

        def work(number: int) -> None:
            for _ in range(20):
                found[number] = session.run(y, {x: images[number]})

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for a, b in zip(found, wanted, strict=True):
        assert a is not None
        np.testing.assert_array_equal(a, b)


def test_too_much_memory_is_a_clear_error() -> None:
    """And the device can be used afterwards."""
    with pytest.raises(ki.OutOfMemoryError, match=r"allocating 1,152,921,504,606,846,976 bytes.*MB are free\. Remedy"):
        backend.DEVICE.allocate(1 << 60)
    buffer = backend.DEVICE.allocate(64)
    backend.DEVICE.upload(np.arange(64, dtype=np.uint8), buffer)
    np.testing.assert_array_equal(backend.DEVICE.download(buffer), np.arange(64))


def test_more_batches_than_fit_give_back_what_lies_idle() -> None:
    """Each batch size has a context of its own; a pool with a limit has room for one of them."""
    import cupy

    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(np.float32, (None, 1 << 20), name="x")
        y = ki.negative(ki.relu(x))
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + (80 << 20))
    try:
        with ki.Session(graph, backend="cupy") as session:
            for rows in (8, 7, 6, 8):  # two arrays of 4 MB a row
                found = session.run(y, {x: np.full((rows, 1 << 20), 3, np.float32)})
                np.testing.assert_array_equal(found, np.full((rows, 1 << 20), -3, np.float32))
            with pytest.raises(ki.OutOfMemoryError, match=r"activations of \d steps do not fit .*Remedy"):
                session.run(y, {x: np.zeros((40, 1 << 20), np.float32)})
            session.run(y, {x: np.zeros((8, 1 << 20), np.float32)})
    finally:
        pool.set_limit(size=0)


def test_a_fault_is_told_late_or_at_its_step() -> None:
    """An illegal address ends the context, so each in a process of its own."""
    code = """
import numpy as np, kigraph as ki
from kigraph.kernels.cupy import launch
graph = ki.Graph()
with graph.as_default():
    x = ki.placeholder(np.float32, (None, 64), name="x")
    y = ki.softmax(ki.relu(ki.negative(x, name="good"), name="bad"), name="last")
pointer, calls = launch.pointer, []
def wrong(launcher, array):
    calls.append(1)
    return launch.ctypes.c_void_p(1 << 46) if len(calls) == 3 else pointer(launcher, array)
from kigraph.kernels.cupy import elementwise
elementwise.pointer = wrong
session = ki.Session(graph, backend="cupy")
for _ in range(2):
    try:
        session.run(y, {x: np.zeros((4, 64), np.float32)})
    except ki.DeviceError as error:
        print(error)
"""
    for sync, first in (("0", "one of the steps before it"), ("1", "'bad'")):
        environment = {**os.environ, "KIGRAPH_CUPY_SYNC": sync}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment
        )
        lines = done.stdout.splitlines()
        assert len(lines) == 2, done.stderr
        assert first in lines[0]
        assert "is lost since" in lines[1]


def test_misaligned_arrays_are_refused() -> None:
    device = backend.DEVICE
    case = conv_case("misaligned", (1, 4, 4, 8), (1, 1, 8), bias=False)
    query = case.query()
    kernel = TABLE["f32_conv2d_igemm_fp32"]
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({1: case.generate(1)[1]}))
    x = device.view(device.allocate(1024), 1, np.dtype(np.float32), query.inputs[0].dims)
    y = device.view(device.allocate(1024), 0, np.dtype(np.float32), query.outputs[0].dims)
    with pytest.raises(KernelError, match="not a multiple of its element's 4 bytes"):
        prepared.bind([x, None], [y], device.allocate(max(prepared.workspace_bytes, 64)))
