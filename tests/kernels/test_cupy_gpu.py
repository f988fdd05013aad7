"""On a GPU: every kernel in every precision on every case, streams, CUDA graphs, memory. Skipped elsewhere."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import kigraph as ki
import kigraph.kernels.cupy as backend
from kigraph.kernels.conformance import Case, check_kernel, supported_cases, tensor
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.conformance.values import normal
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.cupy import implicit_gemm
from kigraph.kernels.cupy.implicit_gemm import TILES, Tile
from kigraph.kernels.cupy.runtime import CudaLauncher
from kigraph.kernels.cupy.table import kernel_table
from kigraph.kernels.errors import KernelError
from kigraph.kernels.types import Kernel

STATUS = backend.probe()
pytestmark = pytest.mark.skipif(not STATUS.available, reason=f"backend cupy cannot be used here: {STATUS.detail}")

NDArray = np.ndarray[Any, Any]
UNITS = {"fp32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8}
LAUNCHER = CudaLauncher()
TABLES = {p: {k.name: k for k in kernel_table(LAUNCHER, lambda p=p: p)} for p in UNITS}  # type: ignore[misc]


def rounded_case(case: Case, precision: str) -> Case:
    """Inputs and weights that the precision holds exactly, so that fp32's tolerance applies: small whole numbers."""
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
        for precision in ("tf32", "bf16")
        for name, kernel in TABLES[precision].items()
        if name.endswith(precision)
        for case in supported_cases(kernel)
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
    kernel = TABLES[precision][f"f32_conv2d_igemm_{precision}"]
    check_kernel(kernel, rounded_case(case, precision), device=backend.DEVICE)


def bound(kernel: Kernel, case: Case, values: list[NDArray]) -> tuple[Any, Any]:
    """The kernel bound to device arrays: (run, output)."""
    device = backend.DEVICE
    query = case.query()
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))
    arrays: list[Any] = []
    for i, value in enumerate(values):
        array = device.view(device.allocate(max(value.nbytes, 1)), 0, value.dtype, value.shape)
        device.upload(value, array)
        arrays.append(None if i in prepared.absorbed else array)
    (t,) = query.outputs
    y = device.view(device.allocate(t.nbytes), 0, t.dtype, t.dims)
    workspace = device.allocate(prepared.workspace_bytes) if prepared.workspace_bytes else None
    return prepared.bind(arrays, [y], workspace), y


@pytest.mark.parametrize("precision", UNITS)
def test_precisions_are_what_they_are_called(precision: str) -> None:
    case = Case(
        MATMUL, "precision", (tensor((300, 512), normal), tensor((512, 200), normal, constant=True)), MatMulParams()
    )
    values = case.generate(7)
    run, y = bound(TABLES[precision][f"f32_matmul_igemm_{precision}"], case, values)
    run()
    x, w = (v.astype(np.float64) for v in values)
    error = np.max(np.abs(backend.DEVICE.download(y) - x @ w) / (np.abs(x) @ np.abs(w)))
    assert UNITS[precision] / 256 < error < 8 * UNITS[precision]


def test_runs_on_the_current_stream_and_in_a_captured_graph() -> None:
    """A bound run allocates nothing and does not synchronise, so it can be captured and replayed."""
    import cupy

    case = conv_case("captured", (2, 17, 17, 64), (3, 3, 96), padding="SAME", activation="relu")
    values = case.generate(3)
    run, y = bound(TABLES["fp32"]["f32_conv2d_igemm_fp32"], case, values)
    run()
    wanted = backend.DEVICE.download(y)
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
    with pytest.raises(Exception, match=r"1152921504606846976 bytes|[Oo]ut of memory|memory"):
        backend.DEVICE.allocate(1 << 60)


def test_misaligned_arrays_are_refused() -> None:
    device = backend.DEVICE
    case = conv_case("misaligned", (1, 4, 4, 8), (1, 1, 8), bias=False)
    query = case.query()
    kernel = TABLES["fp32"]["f32_conv2d_igemm_fp32"]
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({1: case.generate(1)[1]}))
    x = device.view(device.allocate(1024), 1, np.dtype(np.float32), query.inputs[0].dims)
    y = device.view(device.allocate(1024), 0, np.dtype(np.float32), query.outputs[0].dims)
    with pytest.raises(KernelError, match="not a multiple of its element's 4 bytes"):
        prepared.bind([x, None], [y], device.allocate(max(prepared.workspace_bytes, 64)))
