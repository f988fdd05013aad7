"""The emulation itself: it runs right CUDA kernels right, and shows the faults that it is there to show."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.cupy import compiler
from kigraph.kernels.cupy.emulation import launcher as emulation
from kigraph.kernels.cupy.emulation.launcher import SCHEDULES, HostLauncher, Schedule
from kigraph.kernels.cupy.launch import Build, Function, Launch, pointer
from kigraph.kernels.errors import KernelError

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++"))), reason="no C++ compiler")

NDArray = np.ndarray[Any, Any]
FAULTS = Build(str(Path(__file__).parent / "emulation" / "faults.cu"))
X = np.arange(1, 65, dtype=np.float32)
Launched = Callable[..., tuple[NDArray, HostLauncher]]


def run(
    name: str, *inputs: NDArray, schedule: Schedule = SCHEDULES[0], out: int = 64, threads: int = 64, shared: int = 256
) -> tuple[NDArray, HostLauncher]:
    host = HostLauncher(schedule)
    y = np.full(out, -1, np.float32)
    arrays = (*inputs, y)
    launch = Launch(Function(FAULTS, name), (1, 1, 1), threads, tuple(pointer(host, a) for a in arrays), shared)
    host.bind((launch,), arrays)()
    return y, host


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_right_kernels_are_right_in_every_schedule(schedule: Schedule) -> None:
    np.testing.assert_array_equal(run("reversed", X, schedule=schedule)[0], X[::-1])
    np.testing.assert_array_equal(run("fetched", X, schedule=schedule)[0], X)
    sums = X.reshape(2, 32).sum(1).repeat(32)
    np.testing.assert_array_equal(run("warp_sums", X, schedule=schedule)[0], sums)
    matrices = np.tile(X, 2).reshape(4, 32).sum(0)
    np.testing.assert_array_equal(run("matrices_dense", X, schedule=schedule, shared=512)[0], np.tile(matrices, 2))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("reversed_without_barrier", X[::-1]), ("fetched_without_wait", X), ("overwritten_too_early", X[::-1])],
)
def test_a_missing_wait_changes_the_result(name: str, wanted: NDArray) -> None:
    results = [run(name, X, schedule=schedule)[0] for schedule in SCHEDULES]
    assert any(not np.array_equal(result, wanted) for result in results)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one_thread_skips_the_barrier", "deadlock: 1 of 64 threads ended, 63 wait at the barrier"),
        ("lanes_part", "different warp operations"),
        ("writes_past_shared_memory", "wrote outside the block's 256 bytes"),
        ("copies_past_shared_memory", r"writes outside the block's shared memory.*thread \(63, 0, 0\)"),
        ("copies_from_misaligned", "misaligned global address"),
        ("stores_misaligned", "16-byte store to a misaligned address"),
    ],
)
def test_a_fault_is_an_error(name: str, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        run(name, X)


def test_a_launch_after_a_fault_works() -> None:
    with pytest.raises(KernelError):
        run("one_thread_skips_the_barrier", X)
    np.testing.assert_array_equal(run("reversed", X)[0], X[::-1])


def test_bank_conflicts_are_counted() -> None:
    dense, packed = (
        run("matrices_dense", X, shared=512)[1].statistics,
        run("matrices_in_one_bank", X, shared=4096)[1].statistics,
    )
    assert dense.bank_conflicts == 0
    assert packed.bank_conflicts == 2 * 4 * 7  # two warps, four matrices, seven rows too many in one group of banks
    assert dense.barriers == packed.barriers == 1


@pytest.mark.parametrize(("grid", "threads", "shared"), [((0, 1, 1), 64, 0), ((1, 1, 65536), 64, 0), ((1, 1, 1), 2048, 0), ((1, 1, 1), 64, 1 << 20)])  # fmt: skip
def test_an_impossible_launch_is_refused(grid: tuple[int, int, int], threads: int, shared: int) -> None:
    host = HostLauncher()
    arguments = (pointer(host, X), pointer(host, X))
    with pytest.raises(KernelError, match="invalid launch"):
        host.bind((Launch(Function(FAULTS, "fetched"), grid, threads, arguments, shared),), ())()


def test_wrong_arguments_are_refused() -> None:
    host = HostLauncher()
    for arguments in (
        (pointer(host, X),),
        (pointer(host, X), ctypes.c_longlong(0)),
        (pointer(host, X), ctypes.c_int(0)),
    ):
        with pytest.raises(KernelError, match="takes parameters"):
            host.bind((Launch(Function(FAULTS, "fetched"), (1, 1, 1), 64, arguments),), ())


@pytest.mark.parametrize("name", ["multiply_bf16", "multiply_tf32"])
def test_fragments_of_mma(name: str) -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.integers(-9, 10, shape).astype(np.float32) for shape in ((16, 16), (16, 8)))
    y, _ = run(name, a, b, out=128, threads=32)
    np.testing.assert_array_equal(y.reshape(16, 8), a @ b)


def test_roundings() -> None:
    """Against the definition: nearest of 10 or 7 explicit bits; ties away (tf32) or to even (bf16)."""
    x = np.array([0, -0.0, 1, 1 + 2**-11, 1 + 2**-12, -1 - 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 3.14159, -1e38, np.inf, -np.inf, np.nan, 1e-40], np.float32)  # fmt: skip
    x = np.concatenate([x, np.random.default_rng(5).standard_normal(64 - x.size).astype(np.float32) * 100])
    tf32, low, high = run("roundings", x, out=192)[0].reshape(3, 64)
    np.testing.assert_array_equal(low, high)
    np.testing.assert_array_equal(tf32[:6], np.array([0, -0.0, 1, 1 + 2**-10, 1, -1 - 2**-10], np.float32))
    np.testing.assert_array_equal(low[6:8], np.array([1, 1 + 2**-6], np.float32))
    np.testing.assert_array_equal(tf32[10:13], x[10:13])
    np.testing.assert_array_equal(low[10:13], x[10:13])
    normal = np.isfinite(x) & (np.abs(x) > 1e-30)
    for rounded, bits in ((tf32, 10), (low, 7)):
        assert not np.any(rounded[normal].view(np.uint32) & ((1 << (23 - bits)) - 1))
        assert np.all(np.abs(rounded[normal] - x[normal]) <= np.abs(x[normal]) * 2.0 ** -(bits + 1))


@pytest.fixture
def changed_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that lets the kernels be built from sources with one piece of text replaced."""

    def change(name: str, old: str, new: str) -> None:
        folder = tmp_path / "cuda"
        shutil.copytree(compiler.SOURCES, folder)
        text = (folder / name).read_text()
        assert text.count(old) == 1
        (folder / name).write_text(text.replace(old, new))
        monkeypatch.setattr(compiler, "SOURCES", folder)
        monkeypatch.setattr(emulation, "SOURCES", folder)
        monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))
        emulation.library.cache_clear()

    yield change
    emulation.library.cache_clear()


PIPELINE = "implicit_gemm.cuh"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (PIPELINE, "        block_barrier();\n        if (step + STAGES", "        if (step + STAGES"),
        (PIPELINE, "cp_async_wait<STAGES - 2>()", "cp_async_wait<STAGES - 1>()"),
        (PIPELINE, "reading + 1 == STAGES", "reading + 2 == STAGES"),
        (PIPELINE, "top[p] + shift_h", "top[p]"),
        ("conv2d_pack.cu", "(slot & 1) * 4", "(slot & 1)"),
        ("conv2d_mma.cu", "out[1] = pack_bf16(bits_to_float(low[1])", "out[1] = pack_bf16(bits_to_float(low[0])"),
    ],
)
def test_a_planted_fault_in_the_convolution_is_found(
    changed_sources: Callable[[str, str, str], None], name: str, old: str, new: str
) -> None:
    changed_sources(name, old, new)
    assert not all(convolve(schedule)[0] for schedule in SCHEDULES)


def test_without_a_fault_the_same_convolution_is_right() -> None:
    for schedule in SCHEDULES:
        right, conflicts = convolve(schedule)
        assert right
        assert conflicts == 0


def test_a_missing_swizzle_is_right_but_slow(changed_sources: Callable[[str, str, str], None]) -> None:
    changed_sources(PIPELINE, "((chunk ^ (row & 7)) << 2)", "(chunk << 2)")
    right, conflicts = convolve(SCHEDULES[0])
    assert right
    assert conflicts > 0


def convolve(schedule: Schedule) -> tuple[bool, int]:
    """A bf16 convolution of small integers, exact: whether the result is right, and the bank conflicts."""
    from kigraph.kernels.conformance.check import FixedConstants
    from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
    from kigraph.kernels.cupy import conv2d
    from kigraph.kernels.types import Query, TensorType

    host = HostLauncher(schedule)
    kernel = next(k for k in conv2d.kernels(host, lambda: "bf16") if k.name.endswith("bf16"))
    rng = np.random.default_rng(1)
    x, w = rng.integers(-3, 4, (1, 6, 7, 20)).astype(np.float32), rng.integers(-3, 4, (3, 3, 20, 8)).astype(np.float32)
    types = tuple(TensorType(a.dtype, a.shape) for a in (x, w))
    params = Conv2DParams(padding="SAME")
    query = Query(CONV2D, types, CONV2D.check(types, params), params, frozenset([1]))
    assert kernel.prepare is not None
    y = np.zeros(query.outputs[0].dims, np.float32)
    prepared = kernel.prepare(query, FixedConstants({1: w}))
    prepared.bind([x, None], [y], host.device.allocate(prepared.workspace_bytes))()
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    wanted = sum(padded[:, u : u + 6, v : v + 7] @ w[u, v] for u in range(3) for v in range(3))
    return bool(np.array_equal(y, wanted)), host.statistics.bank_conflicts
