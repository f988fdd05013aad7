"""The benchmarks run, check what they time, print their table and draw their picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_few_benchmarks_end_to_end(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    result, picture = tmp_path / "bench.json", tmp_path / "bench.png"
    done = run(
        "pytest", "benchmarks", "-q", "-p", "no:cacheprovider", "--backends", "numpy", "-k", "E0.b3_2a or softmax",
        f"--benchmark-json={result}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conv2d[inception-E0.b3_2a]" in done.stdout
    records = json.loads(result.read_text())["benchmarks"]
    (conv,) = [r["extra_info"] for r in records if r["extra_info"]["op"] == "conv2d"]
    assert (conv["backend"], conv["kernel"], conv["weight"]) == ("numpy", "conv2d", 4)
    assert conv["gflops"] > 0
    assert conv.get("share_of_peak", 0.5) <= 1.1

    pytest.importorskip("matplotlib")
    done = run("benchmarks.plot", str(result), str(picture))
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_a_wrong_kernel_is_not_timed() -> None:
    from dataclasses import replace

    from benchmarks import support
    from kigraph.kernels.conformance.cases.matmul import matmul_case
    from kigraph.kernels.conformance.truth import MismatchError

    case = matmul_case("square", 8, 8, 8)
    bound = support.bind(case, "numpy")

    def wrong() -> None:
        bound.run()
        bound.outputs[0][3, 4] += 1e-3

    with pytest.raises(MismatchError, match=r"1 of 64 elements are wrong, the first at \(3, 4\)"):
        support.check(case, replace(bound, run=wrong))


def test_the_default_run_does_not_collect_benchmarks(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getini("testpaths") == ["tests"]
