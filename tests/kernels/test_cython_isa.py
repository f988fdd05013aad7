"""Every instruction set that this processor can run: forced by KIGRAPH_ISA, each must pass the kernels' whole conformance."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kigraph.kernels.contracts import elementwise as ops

core = pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")

ROOT = Path(__file__).parents[2]

CONFORMANCE = """
import sys
from kigraph.kernels import cython
from kigraph.kernels.cython import core
from kigraph.kernels.conformance import check_kernel, supported_cases
assert core.ISA_IN_USE == sys.argv[1], core.ISA_IN_USE
count = 0
for kernel in cython.KERNELS:
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


@pytest.mark.parametrize("isa", [isa for isa in core.ISAS if isa != core.ISA_IN_USE])
def test_conformance(isa: str) -> None:
    """The instruction set in use is covered by test_conformance.py; these are the others."""
    done = python(CONFORMANCE, isa, KIGRAPH_ISA=isa)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 1000


def test_best_is_first() -> None:
    done = python("from kigraph.kernels.cython import core; print(core.ISA_IN_USE)", KIGRAPH_ISA="auto")
    assert done.stdout.strip() == core.ISAS[0]
    assert core.ISAS[-1] == "portable"


def test_unknown_name() -> None:
    done = python("import kigraph.kernels.cython", KIGRAPH_ISA="sse9")
    assert done.returncode != 0
    assert "SettingsError" in done.stderr
    assert "portable, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16, amx" in done.stderr


def test_probe_names_the_instruction_set() -> None:
    from kigraph.kernels import cython

    status = cython.probe()
    assert status.available
    assert status.detail.startswith(core.ISA_IN_USE)


def every_so_many_floats() -> np.ndarray:
    """A million floats of all exponents and both signs, and the special ones."""
    bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 88.72, 88.73, -103.9, -104.1], np.float32)
    near = np.linspace(-110, 95, 200_001, dtype=np.float32)
    return np.concatenate([bits.view(np.float32), special, near])


@pytest.mark.parametrize("op", ["exp", "log", "sigmoid", "tanh"])
def test_functions_over_all_floats(op: str, call) -> None:  # type: ignore[no-untyped-def]
    contract = {"exp": ops.EXP, "log": ops.LOG, "sigmoid": ops.SIGMOID, "tanh": ops.TANH}[op]
    x = every_so_many_floats()
    (got,) = call(contract, [x], backend="cython")
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        truth = {
            "exp": np.exp, "log": np.log, "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh,
        }[op](wide)  # fmt: skip
        wanted = truth.astype(np.float32)
        finite = np.isfinite(wanted)
        assert np.array_equal(np.isnan(got), np.isnan(wanted))
        overflow = ~finite & ~np.isnan(wanted)
        assert np.array_equal(got[overflow], wanted[overflow])
        # Results below the normal range may be flushed: sigmoid goes through e ** 89, which is infinite.
        error = np.maximum(np.abs(got[finite] - truth[finite]) - 2e-38, 0) / (np.abs(truth[finite]) + 1e-37)
    assert error.max() < 5e-7, (x[finite][error.argmax()], error.max())


TYPE = "(?:bf16|f32|f64|[iu](?:8|16|32|64))"
#: Narrow products (c/dot.c) have one copy for each of their sets.
NAME = rf"(?:dot_)?{TYPE}_[a-z0-9_]+?__({'|'.join([*core.DOTS, 'portable', 'avx2', 'avx512'])})"


def test_kernels_are_named_after_element_type_op_and_instruction_set() -> None:
    """What profiles and sanitizers print: f32_softmax_line__avx512, f32_gemm_6x4v__avx512; see c/table.h."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm (binutils)")
    listed = subprocess.run([nm, core.__file__], capture_output=True, text=True, check=False).stdout
    # Without what the compiler appends to the copies that it makes, as in .constprop.0.
    functions = {line.split()[2].split(".")[0] for line in listed.splitlines() if re.match(r"\w+ [tT] ", line)}
    kernels = {
        f for f in functions if not f.startswith(("_", "ki_")) and re.search(rf"(^|_){TYPE}(_|$)", f.split("__")[0])
    }
    if not functions:
        pytest.skip("the extension module is stripped")
    assert len(kernels) > 400
    assert [f for f in kernels if not re.fullmatch(NAME, f)] == []
