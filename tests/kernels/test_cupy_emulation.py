"""Every CUDA kernel, through its real launch code, on the conformance cases: built for the host, on any machine."""

from __future__ import annotations

import ctypes
import itertools
import shutil
import zlib
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance import Case, check_kernel, supported_cases, tensor
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.conformance.values import normal
from kigraph.kernels.contracts.conv2d import CONV2D
from kigraph.kernels.contracts.layout import CAST
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.cupy import implicit_gemm
from kigraph.kernels.cupy.implicit_gemm import TILES, Tile
from kigraph.kernels.cupy.launch import Launch
from kigraph.kernels.cupy.pool2d import PoolShape
from kigraph.kernels.devices import HOST
from kigraph.kernels.errors import KernelError
from kigraph.kernels.kernel import Kernel
from kigraph.kernels.numerics import Numerics

pytest.importorskip("kigraph.kernels.testing", reason="the emulation of CUDA is not in the wheel")

from kigraph.kernels.testing.launcher import SCHEDULES, HostLauncher, Schedule, kernel_table

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++"))), reason="no C++ compiler")

NDArray = np.ndarray[Any, Any]
PRECISIONS = ("fp32", "tf32", "bf16")
#: Each further type is one more build of every source; NVRTC compiles them all, the GPU tests run them all.
EMULATED = frozenset(map(np.dtype, ("float32", "float64", "int32", "uint8", "bool")))
#: Emulated multiply-adds per case at most; about 0.2 s.
LARGEST = 10_000_000


def table(schedule: Schedule = SCHEDULES[0]) -> dict[str, Kernel]:
    return {k.name: k for k in kernel_table(HostLauncher(schedule))}


def cases_for(kernel: Kernel) -> list[Case]:
    """The emulated cases of a kernel, in a session of its precision."""
    return list(filter(emulated, supported_cases(kernel, Numerics(precision=kernel.precision or "fp32"))))


def emulated(case: Case) -> bool:
    query = case.query()
    types = {t.dtype for t in (*query.inputs, *query.outputs)}
    if case.id.startswith("out-of-range"):  # a branch of its own for each width
        return True
    if case.contract is CAST and np.dtype("float32") not in types:
        return False
    flops = case.contract.flops(query.inputs, query.outputs, query.params)
    return types <= EMULATED and flops <= 2 * LARGEST and query.outputs[0].size < 2_000_000


TABLES = {s: table(s) for s in SCHEDULES}


def pairs(precision: str) -> list[Any]:
    """Each case of the kernels of a precision with one of the schedules; those that have none belong to fp32."""
    found = []
    for name, kernel in TABLES[SCHEDULES[0]].items():
        if (kernel.precision or "fp32") != precision:
            continue
        for case in cases_for(kernel):
            schedule = SCHEDULES[zlib.crc32(str(case).encode()) % len(SCHEDULES)]
            found.append(pytest.param(TABLES[schedule][name], case, id=f"{name}-{case}"))
    return found


def rounded(x: NDArray, precision: str) -> NDArray:
    """Float32 rounded to the operands of a precision, by the definition (NaN and infinity stay)."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    if precision == "tf32":
        result = (bits + 0x1000) & 0xFFFFE000
    elif precision == "bf16":
        result = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    else:
        return x
    return np.where(np.isfinite(x), result.astype(np.uint32).view(np.float32), x).astype(np.float32)


def with_rounded_operands(case: Case, precision: str) -> Case:
    """The case in a precision, with inputs that it holds exactly: then its products are exact, and fp32's tolerance holds."""

    def spec(number: int) -> Any:
        given = case.inputs[number]
        if number > 1:
            return given
        return replace(given, values=lambda rng, shape, dtype: rounded(given.values(rng, shape, dtype), precision))

    inputs = tuple(spec(i) for i in range(len(case.inputs)))
    return replace(case, inputs=inputs, numerics=Numerics(precision=precision))


@pytest.mark.parametrize(("kernel", "case"), pairs("fp32"))
def test_kernel(kernel: Kernel, case: Case) -> None:
    outcome = check_kernel(kernel, case, device=HOST)
    if outcome.refused:
        assert "misaligned" in case.id
        assert "not a multiple of its element's" in outcome.refused


@pytest.mark.parametrize(("kernel", "case"), [*pairs("tf32"), *pairs("bf16")])
def test_tensor_core_kernel(kernel: Kernel, case: Case) -> None:
    outcome = check_kernel(kernel, with_rounded_operands(case, kernel.name[-4:]), device=HOST)
    if outcome.refused:
        assert "misaligned" in case.id


#: Rows that end inside every tile, channels that are no multiple of BK, two images; M = 2 * 12 * 13 = 312.
ODD = {"x": (2, 12, 13, 36), "w": (3, 2, 68), "padding": "SAME", "activation": "relu", "strides": (1, 1)}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.order)
@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("memory", ["slice", "pitched"])
@pytest.mark.parametrize(
    "tile", [t for tiles in TILES.values() for t in tiles], ids=lambda t: f"{t.precision.name}-{t.bm}x{t.bn}"
)
def test_every_tile(tile: Tile, memory: Any, splits: int, schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Aligned gathers ('slice') and gathers of single floats ('pitched'), with K split and not."""
    monkeypatch.setattr(implicit_gemm, "choose_tile", lambda *_: (tile, splits))
    precision = tile.precision.name
    kernel = TABLES[schedule][f"f32_conv2d_igemm_{precision}"]
    case = conv_case("odd", x_memory=memory, memory=memory, **ODD)  # type: ignore[arg-type]
    check_kernel(kernel, with_rounded_operands(case, precision), device=HOST)


class Turning(HostLauncher):
    """Each launch runs its blocks in another order than the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = 0
        self._orders = itertools.cycle(("backward", "shuffled", "forward"))

    def _run(self, launch: Launch) -> None:
        self.schedule = Schedule(blocks=next(self._orders), seed=launch.threads)  # type: ignore[arg-type]
        self.blocks = max(self.blocks, prod(launch.grid))
        super()._run(launch)


@pytest.mark.parametrize("name", TABLES[SCHEDULES[0]])
def test_bits_do_not_depend_on_the_order_of_blocks(name: str) -> None:
    """check_kernel() runs twice and compares the bits; in another order each time."""
    host = Turning()
    kernel = next(k for k in kernel_table(host) if k.name == name)
    case = max(cases_for(kernel), key=lambda c: c.query().outputs[0].size)
    check_kernel(kernel, with_rounded_operands(case, kernel.precision or "fp32"), device=HOST)
    if case.query().outputs[0].size > 1024:
        assert host.blocks > 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precisions_are_what_they_are_called(precision: str) -> None:
    """Operands that only float32 holds: the error is that of the precision, neither more nor less."""
    kernel = table()[f"f32_matmul_igemm_{precision}"]
    case = Case(
        MATMUL, "precision", (tensor((30, 64), normal), tensor((64, 20), normal, constant=True)), MatMulParams()
    )
    values = case.generate(7)
    x, w = values
    query = case.query()
    assert kernel.prepare is not None
    y = np.zeros(query.outputs[0].dims, np.float32)
    prepared = kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))
    inputs = [None if i in prepared.absorbed else v for i, v in enumerate(values)]
    prepared.bind(inputs, [y], HOST.allocate(prepared.workspace_bytes))()
    exact = x.astype(np.float64) @ w.astype(np.float64)
    magnitude = np.abs(x).astype(np.float64) @ np.abs(w).astype(np.float64)
    error = np.max(np.abs(y - exact) / magnitude)
    expected = {"fp32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8}[precision]
    assert expected / 64 < error < 8 * expected


@pytest.mark.parametrize("tile", [*TILES["tf32"], *TILES["bf16"]], ids=lambda t: f"{t.precision.name}-{t.bm}x{t.bn}")
def test_ldmatrix_meets_no_bank_conflicts(tile: Tile, monkeypatch: pytest.MonkeyPatch) -> None:
    precision, host = tile.precision.name, HostLauncher()
    kernel = next(k for k in kernel_table(host) if k.name == f"f32_conv2d_igemm_{precision}")
    monkeypatch.setattr(implicit_gemm, "choose_tile", lambda *_: (tile, 1))
    case = conv_case("odd", **ODD)  # type: ignore[arg-type]
    check_kernel(kernel, with_rounded_operands(case, precision), device=HOST)
    assert host.statistics.collectives > 0
    assert host.statistics.bank_conflicts == 0


def test_every_kernel_serves_an_emulated_case() -> None:
    """So that nothing passes by never being run."""
    assert {name for name, kernel in TABLES[SCHEDULES[0]].items() if not cases_for(kernel)} == set()


def test_one_precision_is_legal_at_a_time() -> None:
    case = conv_case("odd", **ODD)  # type: ignore[arg-type]
    for chosen in PRECISIONS:
        kernels = [k for k in TABLES[SCHEDULES[0]].values() if k.contract in (CONV2D, MATMUL) and "igemm" in k.name]
        query = replace(case.query(), numerics=Numerics(precision=chosen))
        legal = [k.name for k in kernels if k.contract is CONV2D and k.refusal(query) is None]
        assert legal == [f"f32_conv2d_igemm_{chosen}"]
        other = next(k for k in kernels if k.contract is CONV2D and k.name != legal[0])
        assert f"the session in {chosen}" in (other.refusal(query) or "")


def test_mirrored_structs_have_the_compilers_size() -> None:
    """bind() checks the sizes of all arguments against the built kernel; a wrong struct is an error, not garbage."""

    class Longer(PoolShape):
        _fields_ = (("more", ctypes.c_int),)

    kernel = TABLES[SCHEDULES[0]]["max_pool2d"]
    case = supported_cases(kernel)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kigraph.kernels.cupy.pool2d.PoolShape", Longer)
        assert kernel.prepare is not None
        prepared = kernel.prepare(case.query(), None)  # type: ignore[arg-type]
        arrays = [np.zeros(t.dims, t.dtype) for t in (*case.query().inputs, *case.query().outputs)]
        with pytest.raises(KernelError, match="takes parameters"):
            prepared.bind(arrays[:1], arrays[1:], None)
