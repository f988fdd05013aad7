"""Public ops with hostile shapes, sizes, dtypes, layouts and arguments: only results or errors of kigraph (fuzz_ops.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("count", "fixed", "backends"),
    [(6000, True, "numpy,cython"), (3000, False, "numpy,cython"), (500, True, "numpy,cython,numba")],
    ids=["fixed", "fresh", "numba"],
)
def test_ops_give_results_or_errors_of_kigraph(count: int, fixed: bool, backends: str, seed: int) -> None:
    if "numba" in backends:
        pytest.importorskip("numba")
    number = 0 if fixed else seed % 1_000_000
    script = Path(__file__).with_name("fuzz_ops.py")
    done = subprocess.run(
        [sys.executable, str(script), str(count), str(number), backends], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"seed {number}:\n{done.stdout}{done.stderr}"
