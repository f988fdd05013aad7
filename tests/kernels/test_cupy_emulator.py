"""The emulation itself: it runs right CUDA kernels right, and shows the faults that it is there to show."""

from __future__ import annotations

import ctypes
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.contracts.softmax import SOFTMAX, SoftmaxParams
from kigraph.kernels.cupy import compiler
from kigraph.kernels.cupy.launch import Build, Function, Launch, pointer
from kigraph.kernels.errors import KernelError
from kigraph.kernels.kernel import Query
from kigraph.kernels.tensor import TensorType

pytest.importorskip("kigraph.kernels.testing", reason="the emulation of CUDA is not in the wheel")

from kigraph.kernels.testing import launcher as emulation
from kigraph.kernels.testing.launcher import SCHEDULES, HostLauncher, Schedule, kernel_table, sees_plain_accesses

HAVE_COMPILER = any(map(shutil.which, ("g++", "c++")))
pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="no C++ compiler")
instrumented = pytest.mark.skipif(
    HAVE_COMPILER and not sees_plain_accesses(), reason="the C++ compiler instruments no memory accesses"
)

NDArray = np.ndarray[Any, Any]
FAULTS = Build(str(Path(__file__).parent / "emulation" / "faults.cu"))
X = np.arange(1, 65, dtype=np.float32)
PRECISIONS = ("fp32", "tf32", "bf16")


def run(
    name: str,
    *inputs: NDArray,
    schedule: Schedule = SCHEDULES[0],
    out: int = 64,
    threads: int = 64,
    shared: int = 256,
    grid: tuple[int, int, int] = (1, 1, 1),
) -> tuple[NDArray, HostLauncher]:
    host = HostLauncher(schedule)
    y = np.full(out, -1, np.float32)
    arrays = (*inputs, y)
    launch = Launch(Function(FAULTS, name), grid, threads, tuple(pointer(host, a) for a in arrays), shared)
    host.bind((launch,), arrays)()
    return y, host


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_right_kernels_are_right_in_every_schedule(schedule: Schedule) -> None:
    for name in ("reversed", "reversed_twice", "reversed_bytes", "reversed_shorts"):
        np.testing.assert_array_equal(run(name, X, schedule=schedule)[0], X[::-1])
    for name in ("fetched", "fetched_in_groups"):
        np.testing.assert_array_equal(run(name, X, schedule=schedule)[0], X)
    np.testing.assert_array_equal(run("ends_with_a_copy", X, schedule=schedule, grid=(3, 1, 1))[0], X)
    sums = X.reshape(2, 32).sum(1).repeat(32)
    np.testing.assert_array_equal(run("warp_sums", X, schedule=schedule)[0], sums)
    matrices = np.tile(X, 2).reshape(4, 32).sum(0)
    np.testing.assert_array_equal(run("matrices_dense", X, schedule=schedule, shared=512)[0], np.tile(matrices, 2))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("reversed_without_barrier", X[::-1]), ("fetched_without_wait", X), ("overwritten_too_early", X[::-1])],
)
def test_a_missing_wait_changes_the_result(name: str, wanted: NDArray) -> None:
    results = [run(name, X, schedule=replace(schedule, races=False))[0] for schedule in SCHEDULES]
    assert any(not np.array_equal(result, wanted) for result in results)


THREAD = r"thread \((\d+), 0, 0\)"
UNORDERED, PENDING = "no barrier between them", "before the copy was waited for"


@instrumented
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize(
    ("name", "kinds", "why"),
    [
        ("reversed_without_barrier", {"read", "write"}, UNORDERED),
        ("reversed_bytes_without_barrier", {"read", "write"}, UNORDERED),
        ("a_byte_of_a_word", {"read", "write"}, UNORDERED),
        ("structs_without_barrier", {"read", "write"}, UNORDERED),
        ("read_by_all_then_written", {"read", "write"}, UNORDERED),
        ("two_threads_write", {"write"}, UNORDERED),
        ("bytes_overlap", {"write"}, UNORDERED),
        ("overwritten_too_early", {"read", "cp.async"}, f"{UNORDERED}|{PENDING}"),
        ("waits_without_barrier", {"read", "cp.async"}, f"{UNORDERED}|{PENDING}"),
        ("fetched_without_wait", {"read", "cp.async"}, PENDING),
        ("waits_for_too_few_groups", {"read", "cp.async"}, PENDING),
        ("reads_its_own_copy_early", {"read", "cp.async"}, PENDING),
        ("copies_over_a_byte", {"read", "cp.async"}, PENDING),
        ("waits_without_commit", {"read", "cp.async"}, PENDING),
    ],
)
def test_a_race_is_found_in_every_schedule(name: str, kinds: set[str], why: str, schedule: Schedule) -> None:
    assert race(name, schedule, why)[0] == kinds


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize(
    ("name", "kinds", "why"),
    [
        ("vectors_without_barrier", {"read", "write"}, UNORDERED),
        ("matrices_without_barrier", {"read", "write"}, UNORDERED),
        ("copies_twice", {"cp.async"}, PENDING),
    ],
)
def test_a_race_of_ptx_functions_is_found_by_any_compiler(
    name: str, kinds: set[str], why: str, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "sees_plain_accesses", lambda: False)
    emulation.library.cache_clear()
    try:
        assert race(name, schedule, why, shared=512)[0] == kinds
    finally:
        emulation.library.cache_clear()


def race(name: str, schedule: Schedule, why: str, **options: int) -> tuple[set[str], set[int]]:
    """The kinds of access and the threads that the error of a faulty kernel names."""
    with pytest.raises(KernelError, match="race") as caught:
        run(name, X, schedule=schedule, **options)  # type: ignore[arg-type]
    access = rf"(read|write|cp\.async) by {THREAD}"
    found = re.search(
        rf"race at byte \d+ of shared memory: {access}, then {access}, ({why}) \[block \(0, 0, 0\)", str(caught.value)
    )
    assert found, caught.value
    first, one, second, other = found.groups()[:4]
    return {first, second}, {int(one), int(other)}


@instrumented
def test_a_race_names_the_byte_the_threads_and_the_block() -> None:
    with pytest.raises(KernelError) as caught:
        run("reversed_without_barrier", X)
    message = (
        "race at byte 128 of shared memory: read by thread (31, 0, 0), then write by thread (32, 0, 0), "
        "no barrier between them [block (0, 0, 0), thread (32, 0, 0)]"
    )
    assert message in str(caught.value)
    for schedule in SCHEDULES:
        assert race("a_byte_of_a_word", schedule, UNORDERED)[1] == {0, 1}
        assert race("one_word_of_a_matrix", schedule, UNORDERED, shared=512)[1] in ({40, 11}, {40, 43})
        assert len(race("reads_its_own_copy_early", schedule, PENDING)[1]) == 1


@instrumented
def test_lanes_of_one_warp_need_a_barrier_too() -> None:
    for schedule in SCHEDULES:
        threads = race("reversed_without_barrier", schedule, UNORDERED, threads=32)[1]
        assert len(threads) == 2


def test_blocks_run_in_the_order_of_the_schedule() -> None:
    def turns(**options: Any) -> list[int]:
        y = run("turns", X, schedule=Schedule(**options), grid=(2, 3, 4), threads=1)[0]
        return [int(turn) + 1 for turn in y[:24]]  # the count starts at -1

    forward = list(range(24))
    assert turns() == forward
    assert turns(blocks="backward") == forward[::-1]
    shuffled = turns(blocks="shuffled")
    assert sorted(shuffled) == forward
    assert shuffled not in (forward, forward[::-1])
    assert turns(blocks="shuffled") == shuffled
    assert turns(blocks="shuffled", seed=2) != shuffled


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


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the builds from changed sources: their names tell them apart."""
    return tmp_path_factory.mktemp("builds")


@pytest.fixture
def changed_sources(tmp_path: Path, builds: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that lets the kernels be built from sources with one piece of text replaced."""

    def change(name: str, old: str, new: str) -> None:
        folder = tmp_path / "cuda"
        shutil.copytree(compiler.SOURCES, folder)
        text = (folder / name).read_text()
        assert text.count(old) == 1
        (folder / name).write_text(text.replace(old, new))
        monkeypatch.setattr(compiler, "SOURCES", folder)
        monkeypatch.setattr(emulation, "SOURCES", folder)
        monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(builds))
        emulation.library.cache_clear()

    yield change
    emulation.library.cache_clear()


PIPELINE = "implicit_gemm.cuh"


NO_BARRIER = ("        block_barrier();\n        if (step + STAGES", "        if (step + STAGES")
SHORT_WAIT = ("cp_async_wait<STAGES - 2>()", "cp_async_wait<STAGES - 1>()")
CHANGED = Callable[[str, str, str], None]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (PIPELINE, *NO_BARRIER),
        (PIPELINE, *SHORT_WAIT),
        (PIPELINE, "reading + 1 == STAGES", "reading + 2 == STAGES"),
        (PIPELINE, "top[p] + down", "top[p]"),
        ("conv2d_pack.cu", "(slot & 1) * 4", "(slot & 1)"),
        ("conv2d_mma.cu", "out[1] = pack_bf16(bits_to_float(low[1])", "out[1] = pack_bf16(bits_to_float(low[0])"),
    ],
)
def test_a_planted_fault_in_the_convolution_is_found(changed_sources: CHANGED, name: str, old: str, new: str) -> None:
    """By its results alone."""
    changed_sources(name, old, new)
    assert not all(convolve(replace(schedule, races=False))[0] for schedule in SCHEDULES)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("old", "new"), [NO_BARRIER, SHORT_WAIT], ids=["barrier", "wait"])
def test_a_race_in_the_convolution_is_found_in_every_schedule(
    changed_sources: CHANGED, old: str, new: str, precision: str, schedule: Schedule
) -> None:
    changed_sources(PIPELINE, old, new)
    with pytest.raises(KernelError, match="race at byte"):
        convolve(schedule, precision)


@instrumented
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("matmul.cu", "block_barrier();\n            UNROLL", "UNROLL"),
        ("matmul.cu", "block_barrier();\n        }", "}"),
        ("reduction.cuh", "block_barrier();\n    value = ", "value = "),
        ("reduction.cuh", "block_barrier(); // scratch", "// scratch"),
    ],
    ids=["before the products", "after the products", "before the sum", "after the sum"],
)
def test_a_missing_barrier_is_found_in_every_schedule(changed_sources: CHANGED, name: str, old: str, new: str) -> None:
    run_it = multiply if name == "matmul.cu" else normalize
    for schedule in SCHEDULES:
        assert run_it(schedule)
    changed_sources(name, old, new)
    for schedule in SCHEDULES:
        with pytest.raises(KernelError, match="race at byte"):
            run_it(schedule)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_without_a_fault_the_same_convolution_is_right(precision: str) -> None:
    for schedule in SCHEDULES:
        right, conflicts = convolve(schedule, precision)
        assert right
        assert conflicts == 0


def test_a_missing_swizzle_is_right_but_slow(changed_sources: CHANGED) -> None:
    changed_sources(PIPELINE, "((chunk ^ (row & 7)) << 2)", "(chunk << 2)")
    right, conflicts = convolve(SCHEDULES[0])
    assert right
    assert conflicts > 0


def launched(schedule: Schedule, precision: str, name: str, query: Query, *values: NDArray) -> tuple[NDArray, int]:
    """The result of the kernel of that name, and the bank conflicts; inputs past the values are left out."""
    host = HostLauncher(schedule)
    kernel = next(k for k in kernel_table(host) if k.name == name)
    assert kernel.supports(query) is None
    assert kernel.prepare is not None
    y = np.zeros(query.outputs[0].dims, np.float32)
    prepared = kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))
    inputs = [None if i in prepared.absorbed else v for i, v in enumerate(values)]
    prepared.bind(inputs, [y], host.device.allocate(prepared.workspace_bytes))()
    return y, host.statistics.bank_conflicts


def query_of(contract: Contract[Any], params: Any, constants: frozenset[int], *values: NDArray) -> Query:
    types = tuple(TensorType(a.dtype, a.shape) for a in values)
    return Query(contract, types, contract.check(types, params), params, constants)


def convolve(schedule: Schedule, precision: str = "bf16") -> tuple[bool, int]:
    """A convolution of small integers, exact in each precision: whether it is right, and the bank conflicts."""
    rng = np.random.default_rng(1)
    x, w = rng.integers(-3, 4, (1, 6, 7, 20)).astype(np.float32), rng.integers(-3, 4, (3, 3, 20, 8)).astype(np.float32)
    query = query_of(CONV2D, Conv2DParams(padding="SAME"), frozenset([1]), x, w)
    y, conflicts = launched(schedule, precision, f"f32_conv2d_igemm_{precision}", query, x, w)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    wanted = sum(padded[:, u : u + 6, v : v + 7] @ w[u, v] for u in range(3) for v in range(3))
    return bool(np.array_equal(y, wanted)), conflicts


def multiply(schedule: Schedule) -> bool:
    """A matrix product with two steps along k, exact: whether it is right."""
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-9, 10, shape).astype(np.float32) for shape in ((5, 20), (20, 3)))
    y, _ = launched(schedule, "fp32", "matmul", query_of(MATMUL, MatMulParams(), frozenset(), a, b), a, b)
    return bool(np.array_equal(y, a @ b))


def normalize(schedule: Schedule) -> bool:
    """A softmax, two reductions one after the other: whether it is right."""
    x = np.random.default_rng(3).standard_normal((2, 70)).astype(np.float32)
    y, _ = launched(schedule, "fp32", "softmax", query_of(SOFTMAX, SoftmaxParams(), frozenset(), x), x)
    wanted = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    return bool(np.allclose(y, wanted, rtol=1e-5))
