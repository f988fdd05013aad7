"""The benchmarks of ``make bench`` in other precisions than float32: names, cases, tables, and why one is skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")


def bench(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # One backend and few files: collecting all of them takes 10 s.
    options = ["-q", "-p", "no:cacheprovider", "--assert=plain", "--benchmark-only", "--backends=numpy"]
    environment = os.environ | {"KIGRAPH_CACHE_DIR": str(tmp_path / "cache"), "KIGRAPH_SHARED": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=environment,
    )  # fmt: skip


def test_names_in_fp32_are_those_of_stored_results(tmp_path: Path) -> None:
    """Single ops in fp32, the network in more, unless precisions are named."""
    files = ("benchmarks/test_conv2d.py", "benchmarks/test_inception_v3.py")
    found = bench(tmp_path, *files, "--collect-only", "-k", "stem1 or 1-numpy").stdout
    assert "test_conv2d[stem1-x1-numpy]" in found
    assert "test_conv2d[stem1-x1-numpy-int8]" not in found
    for name in ("1-numpy", "1-numpy-bf16", "1-numpy-int8"):
        assert f"test_inception_v3[{name}]" in found


def test_a_precision_is_timed_or_skipped_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    done = bench(
        tmp_path, "benchmarks/test_ops.py", "--precisions=fp32,tf32,int8", "-k", "mobilenet-512x14", "-rs",
        f"--benchmark-json={file}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "numpy multiplies in" in done.stdout
    assert "not in tf32" in done.stdout
    results: list[dict[str, Any]] = json.loads(file.read_text())["benchmarks"]
    infos = {r["extra_info"]["precision"]: r["extra_info"] for r in results}
    assert "share_of_peak" not in infos.get("int8", {})
    assert infos["fp32"]["op"] == "depthwise_conv2d"
    assert "int8" in infos or "no quantised ops" in done.stdout or "no kernel of its own for quantized" in done.stdout
    rows = done.stdout.replace("quantized_depthwise_conv2d[", "")  # in the reason for a skip
    assert rows.count("depthwise_conv2d[mobilenet-512x14]") == len(infos)


def test_unknown_precisions_are_refused() -> None:
    from benchmarks.conftest import _precisions

    def chosen(text: str | None) -> Any:
        config = SimpleNamespace(getoption=lambda name: text)
        return SimpleNamespace(config=config, module=SimpleNamespace())

    assert _precisions(chosen("bf16,fp32,bf16")) == ["bf16", "fp32"]
    assert _precisions(chosen(None)) == ["fp32"]
    with pytest.raises(pytest.UsageError, match="unknown: fp8; known: fp32, tf32, bf16, int8"):
        _precisions(chosen("fp32,fp8"))


def record(case: str, backend: str, precision: str, weight: int) -> dict[str, Any]:
    info = {
        "op": "conv2d",
        "case": case,
        "backend": backend,
        "gflops": 1.0,
        "gbytes_per_s": 1.0,
        "weight": weight,
        "threads": 1,
    }
    if precision:
        info["precision"] = precision
    group = f"conv2d[{case}]{'' if precision in ('', 'fp32') else ' ' + precision}"
    return {"extra_info": info, "group": group, "stats": {"min": 0.001}}


def test_sums_are_of_one_precision() -> None:
    from benchmarks.table import lines

    rows = [record("a", "cython", "", 90), record("b", "cython", "fp32", 4), record("a", "cython", "bf16", 90)]
    found = [line for line in lines(rows) if line.startswith("all 94")]
    assert len(found) == 1
    assert found[0].split() == ["all", "94", "convolutions", "of", "Inception", "v3", "94.0", "ms"]
    rows.append(record("b", "cython", "bf16", 4))
    assert [line.split(",")[1].split() for line in lines(rows) if "v3," in line] == [["bf16", "94.0", "ms"]]


def test_the_picture_has_a_line_for_each_precision(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.plot import draw

    rows = [record("a", "cython", "", 90), record("a", "cython", "bf16", 90), record("b", "numba", "int8", 4)]
    results = {"benchmarks": rows, "machine_info": {}}
    assert draw(results, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes()[:4] == b"\x89PNG"


def test_quantised_cases_have_the_shapes_of_the_layers() -> None:
    pytest.importorskip("kigraph.kernels.contracts.quantized", reason="this version of kigraph has no quantised ops")
    from benchmarks.precisions import in_precision
    from kigraph.kernels.conformance.cases.conv2d import inception_case
    from kigraph.kernels.conformance.cases.pool2d import inception_case as pool_case
    from kigraph.kernels.inception_v3 import POOLS, distinct_convolutions

    for layer, _ in distinct_convolutions():
        single = inception_case(layer)
        case = in_precision(single, "numpy", "int8")
        assert case.contract.name == "quantized_conv2d"
        assert [t.dims for t in case.query().outputs] == [t.dims for t in single.query().outputs]
        assert case.inputs[0].type.dtype == np.uint8
    for pool in POOLS:
        single = pool_case(pool)
        case = in_precision(single, "numpy", "int8")
        assert [t.dims for t in case.query().outputs] == [t.dims for t in single.query().outputs]
