"""What is special to the numba backend: compiled-code code cache, instruction sets, blocks, refusals, probe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="the numba extra is not installed")

from kigraph.kernels import numba as backend
from kigraph.kernels.contracts import elementwise as ops
from kigraph.kernels.contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from kigraph.kernels.contracts.matmul import MATMUL
from kigraph.kernels.contracts.softmax import SOFTMAX
from kigraph.kernels.devices import HOST
from kigraph.kernels.errors import BackendError, KernelError
from kigraph.kernels.kernel import Kernel, NoConstants, Query
from kigraph.kernels.numba import gemm as gemm_module
from kigraph.kernels.numba import jit, targets
from kigraph.kernels.registry import kernels_of, select
from kigraph.kernels.tensor import TensorType

NDArray = np.ndarray[Any, Any]

ROOT = Path(__file__).parents[2]
USABLE = [t.name for t in targets.TARGETS if targets.features().issuperset(t.needs)]

CONFORMANCE = """
import sys
from kigraph.kernels import numba
from kigraph.kernels.conformance import check_kernel, supported_cases
from kigraph.kernels.numba.targets import current
assert current().name == sys.argv[1], current()
count = 0
for kernel in numba.KERNELS:
    if kernel.contract.name in ("conv2d", "depthwise_conv2d", "matmul", "max_pool2d", "avg_pool2d"):
        for case in supported_cases(kernel):
            check_kernel(kernel, case)
            count += 1
print(count)
"""


def python(code: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment}
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, cwd=ROOT, timeout=300, check=False
    )


# --- instruction sets -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("isa", USABLE[1:])
def test_conformance_of_other_instruction_sets(isa: str) -> None:
    """The kernels with explicit vectors; test_conformance.py covers the set in use."""
    done = python(CONFORMANCE, isa, KIGRAPH_ISA=isa)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 500


def test_missing_instruction_set_names_the_possible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "features", lambda: frozenset(["sse2"]))
    monkeypatch.setenv("KIGRAPH_ISA", "avx512")
    with pytest.raises(BackendError, match=r"KIGRAPH_ISA=avx512 .* has portable\. Remedy"):
        targets.current()
    monkeypatch.setenv("KIGRAPH_ISA", "auto")
    assert targets.current().name == "portable"


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda t: t.name)
def test_tiles_fit_the_registers(target: targets.Target) -> None:
    """Accumulators, a vector of weights per column and the broadcast element; AVX-512 has 32 registers, the rest 16."""
    registers = 32 if target.name == "avx512" else 16
    for vectors, rows in enumerate(target.rows, 1):
        assert rows * vectors + vectors + 1 <= registers


@pytest.mark.slow
@pytest.mark.skipif("avx512" not in USABLE, reason="needs AVX-512")
def test_full_tile_keeps_its_accumulators_in_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner loop of the 14 x 2 tile: 4 steps of 28 multiply-adds on zmm, and no zmm moved to or from the stack."""
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))  # code from the cache has no assembly to look at
    kernel = gemm_module.gemm_kernel.__wrapped__(np.dtype(np.float32), targets.TARGETS[0])
    (assembly,) = kernel.inspect_asm().values()
    function = assembly.split("\nkigraph_avx512_float32_14x2:")[1].split(".Lfunc_end")[0]
    loop = max(function.split("\n.LBB"), key=lambda block: block.count("vfmadd"))
    assert loop.count("vfmadd") == 4 * 14 * 2
    assert not [line for line in loop.splitlines() if "zmm" in line and ("%rsp" in line or "%rbp" in line)
                and "vbroadcast" not in line]  # fmt: skip


# --- cache ------------------------------------------------------------------------------------------------------------


def test_importing_kigraph_does_not_import_numba() -> None:
    done = python("import sys, kigraph; print('numba' in sys.modules, 'llvmlite' in sys.modules)")
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_missing_numba_is_a_reason() -> None:
    code = """
import sys
sys.modules["numba"] = None
from kigraph.kernels.backends import get_backend
status = get_backend("numba").status()
print(status.available, status.detail, status.remedy, sep="|")
"""
    available, detail, remedy = python(code).stdout.strip().split("|")
    assert available == "False"
    assert "numba" in detail
    assert "kigraph[numba]" in remedy


def test_probe() -> None:
    status = backend.probe()
    assert status.available
    assert status.detail == f"Numba {jit.VERSION}, {targets.current().name}"


def test_probe_refuses_a_switched_off_compiler() -> None:
    code = "from kigraph.kernels.backends import get_backend; print(get_backend('numba').status())"
    done = python(code, NUMBA_DISABLE_JIT="1")
    assert "available=False" in done.stdout
    assert "unset NUMBA_DISABLE_JIT" in done.stdout


# --- what a kernel refuses --------------------------------------------------------------------------------------------


def _reason(kernel: Kernel, dtype: str) -> str | None:
    t = TensorType(np.dtype(dtype), (4, 4))
    inputs = (t,) * kernel.contract.arity[0]
    return kernel.supports(Query(kernel.contract, inputs, (t,), kernel.contract.params()))


@pytest.mark.parametrize(
    ("contract", "dtype"), [(ops.ADD, "float16"), (ops.EXP, "int32"), (SOFTMAX, "float16"), (MATMUL, "complex64")]
)
def test_other_element_types_are_refused_with_a_reason(contract: Any, dtype: str) -> None:
    for kernel in (
        k for k in kernels_of("numba", contract) if k.rank >= 0 and not k.precision
    ):  # nothing that converts
        reason = _reason(kernel, dtype)
        assert reason is not None
        assert reason.endswith(f"not {dtype}")
        assert ("float32" in reason) or kernel.name == "matmul_integer"


def _bound(change: Callable[[dict[str, Any]], None]) -> None:
    """Binds an add of two (6, 8) arrays after ``change`` has spoilt something."""
    arrays: dict[str, Any] = {name: np.ones((6, 8), np.float32) for name in ("x0", "x1", "y")}
    t = TensorType(np.dtype(np.float32), (6, 8))
    query = Query(SOFTMAX, (t,), (t,), SOFTMAX.params())
    kernel = select(query, ["numba"]).kernel
    assert kernel.prepare is not None
    change(arrays)
    kernel.prepare(query, NoConstants()).bind([arrays["x0"]], [arrays["y"]], None)()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda a: a.update(x0=np.ones((6, 9), np.float32)), "input 0 of softmax is float32(6, 9), .*float32[6, 8]"),
        (lambda a: a.update(x0=np.ones((6, 8))), "input 0 of softmax is float64"),
        (lambda a: a.update(x0=[[1.0]]), "must be a numpy.ndarray, got list"),
        (lambda a: a.update(x0=np.ones((6, 16), np.float32)[:, ::2]), "must be dense and row-major, got strides"),
        (lambda a: a.update(y=np.ones((8, 6), np.float32).T), "the output of softmax must be dense"),
        (lambda a: a.update(x0=np.frombuffer(b"\0" * 193, np.uint8)[1:].view(np.float32).reshape(6, 8)), "not aligned"),
    ],
)
def test_bind_says_what_is_wrong(spoil: Callable[[dict[str, Any]], None], words: str) -> None:
    with pytest.raises(KernelError, match=words.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")):
        _bound(spoil)
    _bound(lambda arrays: None)


def test_workspace_is_checked() -> None:
    t, w = TensorType(np.dtype(np.float32), (1, 5, 5, 3)), TensorType(np.dtype(np.float32), (3, 3, 3, 8))
    query = Query(CONV2D, (t, w), CONV2D.check((t, w), Conv2DParams()), Conv2DParams())
    kernel = next(k for k in kernels_of("numba", CONV2D) if k.name == "conv2d_gemm")
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, NoConstants())
    arrays = [np.ones(s.dims, np.float32) for s in (t, w, query.outputs[0])]
    with pytest.raises(KernelError, match=f"workspace of {prepared.workspace_bytes} bytes, got none"):
        prepared.bind(arrays[:2], arrays[2:], None)
    with pytest.raises(KernelError, match="got 7 bytes"):
        prepared.bind(arrays[:2], arrays[2:], np.empty(7, np.uint8))


# --- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k_block", "row_bytes"), [(16, 1), (48, 4096), (4096, 1 << 30)])
def test_results_do_not_depend_on_the_blocks(k_block: int, row_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks put many seams of k and of the rows into one product, with a ragged right edge."""
    rng = np.random.default_rng(5)
    x, w = (
        rng.standard_normal((2, 9, 11, 19)).astype(np.float32),
        rng.standard_normal((3, 2, 19, 37)).astype(np.float32),
    )
    bias = rng.standard_normal(37).astype(np.float32)
    types = tuple(TensorType(a.dtype, a.shape) for a in (x, w, bias))
    params = Conv2DParams((2, 1), "SAME", (1, 2), "relu6")
    query = Query(CONV2D, types, CONV2D.check(types, params), params)

    def result(family: str) -> NDArray:
        kernel = select(query, [family]).kernel
        assert kernel.prepare is not None
        prepared = kernel.prepare(query, NoConstants())
        y = np.full(query.outputs[0].dims, np.nan, np.float32)
        prepared.bind([x, w, bias], [y], HOST.allocate(prepared.workspace_bytes))()
        return y

    wanted = result("numpy")
    monkeypatch.setattr(gemm_module, "_K_BLOCK", k_block)
    monkeypatch.setattr(gemm_module, "_ROW_BLOCK_BYTES", row_bytes)
    np.testing.assert_allclose(result("numba"), wanted, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("op", ["exp", "sigmoid", "tanh"])
def test_functions_over_all_floats(op: str, call: Any) -> None:
    contract = {"exp": ops.EXP, "sigmoid": ops.SIGMOID, "tanh": ops.TANH}[op]
    bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 88.72, 88.73, -103.9, -104.1], np.float32)
    x = np.concatenate([bits.view(np.float32), special, np.linspace(-110, 95, 200_001, dtype=np.float32)])
    (got,) = call(contract, [x], backend="numba")
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        truth = {"exp": np.exp, "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh}[op](wide)
        wanted = truth.astype(np.float32)
        finite = np.isfinite(wanted)
        assert np.array_equal(np.isnan(got), np.isnan(wanted))
        overflow = ~finite & ~np.isnan(wanted)
        assert np.array_equal(got[overflow], wanted[overflow])
        error = np.abs(got[finite] - truth[finite]) / (np.abs(truth[finite]) + 1e-37)
    assert error.max() < 5e-7, (x[finite][error.argmax()], error.max())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_weights_that_turn_infinite_between_runs_meet_the_padding(threads: int, multiplier: int, call: Any) -> None:
    """Padding is skipped where it adds nothing, which each run decides anew for weights that are fed."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 40, 41, 24)).astype(np.float32)
    w = rng.standard_normal((3, 3, 24, multiplier)).astype(np.float32)
    params = Conv2DParams(padding="SAME")
    types = tuple(TensorType(a.dtype, a.shape) for a in (x, w))
    query = Query(DEPTHWISE_CONV2D, types, DEPTHWISE_CONV2D.check(types, params), params, threads=threads)
    prepare = select(query, ["numba"]).kernel.prepare
    assert prepare is not None
    prepared = prepare(query, NoConstants())
    y = np.zeros(query.outputs[0].dims, np.float32)
    run = prepared.bind([x, w], [y], np.zeros(prepared.workspace_bytes, np.uint8))
    for value in (0.5, np.inf, -1.5, np.nan, 2.0):
        w[0, 2, 3] = value
        run()
        np.testing.assert_allclose(y, call(DEPTHWISE_CONV2D, [x, w], params)[0], rtol=1e-4, atol=1e-5)
