"""The benchmark of load times: what it makes of the times of several processes, and one run of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from benchmarks.load_time import PARTS, summary

ROOT = Path(ki.__file__).resolve().parents[1]


def test_the_ratio_is_that_of_one_process() -> None:
    """A process at half the speed changes no ratio, though the medians of the parts mix both speeds."""
    fast = {"read": (1.0, 2.0), "pack": (1.0, 2.0), "load": (3.0, 8.0)}
    slow = {part: (2 * cpu, 2 * wall) for part, (cpu, wall) in fast.items()}
    odd = {"read": (1.0, 1.0), "pack": (3.0, 1.0), "load": (4.0, 1.0)}
    row = summary([slow, fast, odd])
    assert (row["ratio_cpu"], row["ratio_cpu_range"]) == (1.5, [1.0, 1.5])
    assert (row["ratio_wall"], row["ratio_wall_range"]) == (2.0, [0.5, 2.0])
    assert (row["read_cpu_s"], row["pack_cpu_s"], row["load_wall_s"]) == (1.0, 2.0, 8.0)


def test_one_run(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the benchmark reads /proc")
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (1, 8, 8, 3), name="x")
        weights = np.random.default_rng(0).standard_normal((3, 3, 3, 32), np.float32)
        pooled = ki.reduce_mean(ki.relu(ki.conv2d(x, weights, padding="SAME")), [1, 2])
        ki.softmax(pooled, name="y")
        model = ki.save_graph(graph, tmp_path / "network.pb")
    command = [sys.executable, "-m", "benchmarks.load_time", "--runs", "1", "--json", str(model)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "KIGRAPH_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["bytes"] == model.stat().st_size
    assert all(row[f"{part}_wall_s"] > 0 for part in PARTS if part != "load")
    for clock in ("cpu", "wall"):
        parts = [row[f"{part}_{clock}_s"] for part in PARTS]
        assert row[f"ratio_{clock}"] == pytest.approx(parts[2] / (parts[0] + parts[1]))
    assert 0 < row["peak_bytes"] < row["process_bytes"]


def test_costs_of_precisions(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the benchmark reads /proc")
    model = ROOT / "kigraph" / "data" / "apples_or_oranges.pb"
    command = [sys.executable, "-m", "benchmarks.load_time", "--runs", "1", "--json", "--backend", "numpy"]
    command += ["--precisions", "fp32,int8", str(model)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "KIGRAPH_PACKED_CACHE": "on"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "left out: int8 of apples_or_oranges.pb: no quantised file; remedy: kigraph quantize" in done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["precision"], row["bytes"]) == ("fp32", model.stat().st_size)
    assert row["peak_bytes"] > 10e6
    assert row["first_cpu_s"] > 0
    assert row["again_s"] > 0


def test_costs_of_a_precision_that_the_backend_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.load_precisions import main, refusal, table

    assert refusal("fp32", "numpy") == refusal("int8", "numpy") == ""
    assert "numpy multiplies in" in refusal("fp16", "numpy")
    assert main([tmp_path / "net.pb"], None, ["int8"], "numpy", 1, False) == 2
    assert "nothing is left" in capsys.readouterr().err
    row = {"model": "net.pb", "precision": "bf16", "bytes": 95e6, "packed_bytes": 48e6, "peak_bytes": 120e6}
    shown = table([row | {"first_s": 1.5, "first_cpu_s": 1.25, "again_s": 0.5, "again_cpu_s": 0.25}])
    assert shown.splitlines()[1].split() == [
        "bf16",
        "95.0",
        "48.0",
        "120",
        "1.50",
        "(1.25)",
        "0.50",
        "(0.25)",
        "net.pb",
    ]
