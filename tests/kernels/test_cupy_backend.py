"""The cupy backend without a GPU: the probe, what is imported, tiles, strides, and launches through a stand-in driver."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import kigraph.kernels.cupy as backend
from kigraph.kernels.backends import resolve_choice
from kigraph.kernels.contracts.elementwise import RELU
from kigraph.kernels.contracts.softmax import SOFTMAX
from kigraph.kernels.cupy import binding, runtime
from kigraph.kernels.cupy.implicit_gemm import TILES, choose_tile
from kigraph.kernels.cupy.launch import (
    Build,
    Function,
    Launch,
    dense,
    grid_for,
    pitch_of,
    pointer,
    rows_of,
    strided,
)
from kigraph.kernels.errors import BackendError, KernelError
from kigraph.kernels.inception_v3 import CONVOLUTIONS
from kigraph.kernels.kernel import Query
from kigraph.kernels.numerics import Numerics
from kigraph.kernels.tensor import TensorType


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process did with CUDA."""
    monkeypatch.setattr(binding, "STATE", binding.State())


class CudaError(Exception):
    pass


def fake_cupy(**changes: Any) -> Any:
    """As much of CuPy as the probe asks, with one A100; ``changes`` replace what the runtime answers."""
    properties = {"name": b"NVIDIA A100", "major": 8, "minor": 0, "multiProcessorCount": 108}
    answers: dict[str, Any] = {
        "driverGetVersion": lambda: 13000,
        "getDeviceCount": lambda: 1,
        "getDevice": lambda: 0,
        "setDevice": lambda number: None,
        "getDeviceProperties": lambda number: properties,
        "CUDARuntimeError": CudaError,
    }
    answers.update(changes)
    return SimpleNamespace(
        __version__="14.2.0",
        cuda=SimpleNamespace(runtime=SimpleNamespace(**answers), nvrtc=SimpleNamespace(getVersion=lambda: (13, 0))),
    )


def failing(message: str) -> Any:
    def fail(*arguments: object) -> None:
        raise CudaError(message)

    return fail


def test_probe_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "cupy", fake_cupy)
    status = backend.probe()
    assert status.available
    assert status.detail == "NVIDIA A100, sm_80, 108 multiprocessors, CuPy 14.2.0, NVRTC 13.0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"driverGetVersion": lambda: 0}, "no NVIDIA driver is installed"),
        ({"getDeviceCount": lambda: 0}, "the driver reports none"),
        ({"getDeviceCount": failing("cudaErrorNoDevice: no CUDA-capable device is detected")}, "cudaErrorNoDevice"),
        ({"getDeviceCount": failing("cudaErrorInsufficientDriver: too old")}, "cudaErrorInsufficientDriver"),
        ({"getDeviceCount": failing("cudaErrorInitializationError: initialization error")}, "InitializationError"),
        (
            {
                "getDeviceProperties": lambda n: {
                    "name": b"Tesla V100",
                    "major": 7,
                    "minor": 0,
                    "multiProcessorCount": 80,
                }
            },
            "compute capability 7.0; 8.0",
        ),
    ],
)
def test_probe_says_why_not(changes: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "cupy", lambda: fake_cupy(**changes))
    status = backend.probe()
    assert not status.available
    assert reason in status.detail
    assert "KIGRAPH_BACKEND=cython" in status.remedy


def test_probe_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No module named 'cupy'")

    monkeypatch.setattr(binding, "cupy", missing)
    status = backend.probe()
    assert not status.available
    assert "No module named 'cupy'" in status.detail
    assert "pip install 'kigraph[cupy]'" in status.remedy


@pytest.mark.skipif(backend.probe().available, reason="this machine has a GPU")
def test_on_this_machine_the_choice_is_strict() -> None:
    with pytest.raises(BackendError, match=r"backend 'cupy' \(from the argument\) cannot be used.*Remedy"):
        resolve_choice("cupy")
    pytest.importorskip("cupy", reason="needs CuPy, with or without a GPU (extra cupy)")
    with pytest.raises(BackendError, match="cannot be used on this machine"):
        backend.DEVICE.allocate(64)


def test_importing_the_backend_does_not_import_cupy() -> None:
    code = "import sys, kigraph.kernels.cupy as b; assert b.KERNELS; print([m for m in ('cupy', 'cuda') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_the_kernels_of_the_sessions_precision_are_legal() -> None:
    from kigraph.kernels.conformance.cases.conv2d import conv_case

    query = conv_case("any", (1, 5, 5, 4), (3, 3, 8)).query()
    kernel = next(k for k in backend.KERNELS if k.name == "f32_conv2d_igemm_fp32")
    assert kernel.refusal(query) is None
    other = replace(query, numerics=Numerics(precision="tf32"))
    assert kernel.refusal(other) == "multiplies in fp32, the session in tf32"


def test_arrays_beyond_32_bits_are_refused() -> None:
    """Before anything is allocated, with the reason; conv2d's wide slices when they are bound."""
    huge = TensorType(np.dtype(np.float32), (2**20, 2**6, 2**5, 1))
    for contract, name in ((RELU, "relu"), (SOFTMAX, "softmax")):
        params = contract.params()
        kernel = next(k for k in backend.KERNELS if k.name == name)
        query = Query(contract, (huge,), contract.check((huge,), params), params)
        assert "has more than 2^31 - 1 elements" in (kernel.supports(query) or "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dilations": (2**31, 1)}, "reach beyond 2^31 - 1"),
        ({"dilations": (1, 2**32 + 1)}, "over a width of 6 reach beyond 2^31 - 1"),
        ({"dilations": (1 << 60, 1)}, "reach beyond 2^31 - 1"),
        (
            {"dilations": (2**24, 1)},
            "taps of a filter of 3 rows with dilation 16777216 are 2^31 or more elements apart",
        ),
        ({"strides": (2**32, 1)}, "reach beyond 2^31 - 1"),
        ({"dilations": (9, 9)}, None),
    ],
)
def test_windows_beyond_32_bits_are_refused(changes: dict[str, Any], reason: str | None) -> None:
    """ctypes would cut the number off, and the kernel compute with what is left."""
    from kigraph.kernels.conformance.cases.conv2d import conv_case
    from kigraph.kernels.contracts.conv2d import DEPTHWISE_CONV2D

    kernel = next(k for k in backend.KERNELS if k.name == "f32_conv2d_igemm_fp32")
    query = conv_case("far", (1, 5, 6, 20), (3, 3, 8), padding="SAME", **changes).query()
    found = kernel.supports(query)
    assert found is None if reason is None else reason in (found or "")
    depthwise = next(k for k in backend.KERNELS if k.name == "depthwise_conv2d")
    query = conv_case("far", (1, 5, 6, 20), (3, 3, 1), contract=DEPTHWISE_CONV2D, padding="SAME", **changes).query()
    found = depthwise.supports(query)
    assert found is None if reason is None or "taps" in reason else reason in (found or "")


def test_pools_beyond_32_bits_are_refused() -> None:
    from kigraph.kernels.contracts.pool2d import MAX_POOL2D, Pool2DParams

    kernel = next(k for k in backend.KERNELS if k.name == "max_pool2d")
    x = TensorType(np.dtype(np.float32), (1, 5, 6, 8))
    for window, strides, right in (
        ((3, 3), (1, 1), True),
        ((2**32 + 2, 3), (1, 1), False),
        ((2, 2), (2**33, 1), False),
    ):
        params = Pool2DParams(window=window, strides=strides, padding="SAME")
        query = Query(MAX_POOL2D, (x,), MAX_POOL2D.check((x,), params), params)
        assert (kernel.supports(query) is None) == right


def test_launches_go_to_the_current_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """CudaLauncher over a driver that writes down what it is asked to do."""
    calls: list[Any] = []
    streams = [SimpleNamespace(ptr=7)]
    loaded: list[bytes] = []

    class Module:
        def load(self, cubin: bytes) -> None:
            loaded.append(cubin)

        def get_function(self, name: str) -> Any:
            return SimpleNamespace(ptr=sum(map(ord, name)))

    driver = SimpleNamespace(
        launchKernel=lambda *arguments: calls.append(arguments),
        funcSetAttribute=lambda *arguments: calls.append(("attribute", *arguments)),
    )
    cupy = fake_cupy()
    cupy.cuda.Module = Module
    cupy.cuda.get_current_stream = lambda: streams[-1]
    monkeypatch.setattr(binding, "cupy", lambda: cupy)
    monkeypatch.setattr(binding, "driver", lambda: driver)
    monkeypatch.setattr(runtime, "compile_cubin", lambda build, arch: f"{build} {arch}".encode())
    launcher = runtime.CudaLauncher()
    assert launcher.multiprocessors == 108
    build = Build("some.cu")
    small = Launch(Function(build, "a"), (3, 1, 2), 64, (ctypes.c_int(5), ctypes.c_float(0.5)))
    large = Launch(Function(build, "b"), (1, 1, 1), 32, (ctypes.c_void_p(99),), 100 << 10)
    run = launcher.bind((small, large), ("kept",))
    assert loaded == [b"some.cu sm_80"]
    assert calls == [("attribute", ord("b"), 8, 100 << 10)]
    calls.clear()
    run()
    streams.append(SimpleNamespace(ptr=8))
    run()
    first, second, third, fourth = calls
    assert first[:9] == (ord("a"), 3, 1, 2, 64, 1, 1, 0, 7)
    assert second[:9] == (ord("b"), 1, 1, 1, 32, 1, 1, 100 << 10, 7)
    assert (third[8], fourth[8]) == (8, 8)
    table = ctypes.cast(first[9], ctypes.POINTER(ctypes.c_void_p))
    assert ctypes.c_int.from_address(table[0] or 0).value == 5
    assert ctypes.c_float.from_address(table[1] or 0).value == 0.5


@pytest.mark.parametrize("precision", TILES)
def test_tiles_fit_the_hardware(precision: str) -> None:
    for tile in TILES[precision]:
        assert tile.threads in (128, 256)
        assert tile.shared_bytes * tile.resident <= 227 << 10
        assert tile.function(4) != tile.function(1)


def test_tiles_fill_the_device() -> None:
    """Inception v3 at batch 1: no convolution leaves an H200 nearly idle. At batch 64 the widest tile is common."""
    for layer in CONVOLUTIONS:
        steps = -(-layer.cin * layer.kernel[0] * layer.kernel[1] // 32)
        tile, splits = choose_tile("fp32", layer.out**2, layer.cout, steps, 132)
        blocks = -(-(layer.out**2) // tile.bm) * -(-layer.cout // tile.bn) * splits
        assert blocks >= 20, layer.name
        assert 1 <= splits <= steps
    tile, splits = choose_tile("fp32", 64 * 17 * 17, 768, 24, 132)
    assert (tile.bm, tile.bn, splits) == (128, 128, 1)


def test_no_k_step_is_lost_or_done_twice() -> None:
    for steps in range(65):
        for m in (1, 64, 300, 5000):
            _, splits = choose_tile("bf16", m, 64, steps, 132)
            per_split = -(-steps // splits) if steps else 0
            assert steps == 0 or (splits - 1) * per_split < steps <= splits * per_split


class Plain:
    """A launcher's address() for NumPy arrays."""

    def address(self, array: Any) -> int:
        return int(array.ctypes.data)


def test_pitch_of_dense_and_sliced_arrays() -> None:
    wide = np.zeros((2, 3, 4, 10), np.float32)
    assert pitch_of("x", wide) == 10
    assert pitch_of("x", wide[..., 2:5]) == 10
    assert pitch_of("x", wide[:, :1, :1, 2:5]) == 120  # one pixel per image
    assert pitch_of("x", np.zeros((0, 3), np.float32)) == 3
    assert pitch_of("x", np.zeros((), np.float32)) == 1
    for bad in (wide[..., ::2], wide[:, :, ::3], wide[:, :, ::-1], wide.transpose(0, 2, 1, 3)):
        with pytest.raises(KernelError, match="one common pitch"):
            pitch_of("the input", bad)


def test_dense_rows_become_one() -> None:
    x = np.zeros((4, 6), np.float32)
    whole, parts = rows_of(x, x), rows_of(x[:, :3], x[:, 3:])
    assert (whole.total, whole.cols) == (24, 24)
    assert (parts.total, parts.cols, parts.x_pitch, parts.y_pitch) == (12, 3, 6, 6)
    dense("x", x)
    with pytest.raises(KernelError, match="must be dense"):
        dense("x", x[:, :3])


def test_axes_are_merged() -> None:
    shape = (2, 1, 3, 4)
    full = (12, 12, 4, 1)
    assert strided(shape, [full, full]).rank == 1
    assert strided(shape, [full, (0, 0, 0, 1)]).rank == 2
    assert strided((), [()]).rank == 0
    with pytest.raises(KernelError, match="at most 8"):
        strided((2,) * 9, [tuple(7 * 3**i for i in range(9))])


def test_misaligned_arrays_are_refused() -> None:
    raw = np.zeros(9, np.uint8)
    with pytest.raises(KernelError, match="not a multiple of its element's 4 bytes"):
        pointer(Plain(), np.ndarray(2, np.float32, raw, 1 + -raw.ctypes.data % 4))  # type: ignore[arg-type]


def test_grids_cover_everything() -> None:
    assert grid_for(1) == (1, 1, 1)
    assert grid_for(257) == (2, 1, 1)
    assert grid_for(10**12)[0] == 65536


def test_kernels_say_what_they_are() -> None:
    names = [k.name for k in backend.KERNELS]
    assert len(set(names)) == len(names)
    assert all(k.backend == "cupy" and k.prepare is not None for k in backend.KERNELS)
    assert {k.precision for k in backend.KERNELS} == {None, *backend.PRECISIONS}
