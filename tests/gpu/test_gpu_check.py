"""``bash benchmarks/gpu_check.sh --dry``: every part writes its lines, failing parts stop nothing, the table tells all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu_check.sh"

pytestmark = [
    pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the checkout, not an installed copy"),
    pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++"))), reason="no C++ compiler"),
]

PARTS = (
    "environment", "smoke", "builds", "ceilings", "golden", "speed", "torch-eager", "torch-compile", "sanitizer", "tests",
    "counters", "autotune", "table",
)  # fmt: skip


def check(out: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    names = {"OUT": str(out), "PYTHON": sys.executable, **environment}
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], env={**os.environ, **names}, capture_output=True, text=True, timeout=600, check=False
    )  # fmt: skip


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("gpu")
    return out, check(out, "--dry")


def test_a_rehearsal_runs_every_part_and_finds_nothing_wrong(rehearsal: Any) -> None:
    out, done = rehearsal
    records = lines(out)
    wrong = [r for r in records if r.get("ok") is False]
    assert wrong == [], done.stdout[-4000:]
    ends = {r["part"]: r for r in records if r["figure"] == "part"}
    assert tuple(ends) == PARTS
    assert {name: r["status"] for name, r in ends.items()} == dict.fromkeys(PARTS, 0)
    assert done.returncode == 0
    for part in PARTS[:-1]:
        assert sum(r["part"] == part for r in records) > 1, part
    assert all(r.get("dry") for r in records)


def test_the_rehearsals_table_has_every_part(rehearsal: Any) -> None:
    out, done = rehearsal
    table = (out / "table.md").read_text()
    assert "A rehearsal without a GPU" in table
    for part in PARTS[:-1]:
        assert f"| {part} | well |" in table
    assert "Nothing was wrong." in table
    assert "| bf16 | 1 |" in table
    assert table.strip() in done.stdout
    assert {p.name for p in out.iterdir()} == {"results.jsonl", "table.md", "junit.xml", "sanitizer.txt"}


def test_a_part_that_fails_hangs_or_is_killed_stops_nothing(tmp_path: Path) -> None:
    """An interpreter that fails in one part and hangs in another: the others' lines are there, the status is 1."""
    wrapper = tmp_path / "python"
    wrapper.write_text(
        "#!/bin/bash\n"
        'case "$*" in\n'
        "  *benchmarks.gpu.smoke*) exit 3 ;;\n"
        "  *benchmarks.gpu.builds*) kill -9 $$ ;;\n"
        "  *benchmarks.gpu.ceilings*) exec sleep 1000 ;;\n"
        f'  *benchmarks.gpu.environment*|*benchmarks.gpu.table*) exec {sys.executable} "$@" ;;\n'
        "  *) exit 0 ;;\n"
        "esac\n"
    )
    wrapper.chmod(0o755)
    out = tmp_path / "out"
    done = check(out, "14", PYTHON=str(wrapper))
    ends = {r["part"]: r for r in lines(out) if r["figure"] == "part"}
    assert done.returncode == 1
    assert {name: ends[name]["status"] for name in ("smoke", "builds", "ceilings", "table")} == {
        "smoke": 3,
        "builds": 137,
        "ceilings": 124,
        "table": 0,
    }
    assert "are needed" in ends["speed"]["skipped"]  # the budget is spent
    table = (out / "table.md").read_text()
    assert "| speed | not run: " in table
    assert "| ceilings | at its limit |" in table


def test_the_interpreter_is_one_that_has_what_is_needed(tmp_path: Path) -> None:
    """python3 if it has the modules; never one that lacks them."""
    asked = tmp_path / "asked"
    python3 = tmp_path / "python3"
    python3.write_text(f'#!/bin/bash\necho "$*" >>{asked}\nexec {sys.executable} "$@"\n')
    python3.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = check(tmp_path / "out", "--dry", "environment", PYTHON="", PATH=path)
    assert done.returncode == 0, done.stderr
    assert "-m benchmarks.gpu.environment --dry" in asked.read_text()
    asked.unlink()
    python3.write_text(f'#!/bin/bash\necho "$*" >>{asked}\nexit 1\n')
    done = check(tmp_path / "out", "--dry", "environment", PYTHON="", PATH=path)
    assert "benchmarks.gpu.environment" not in asked.read_text()
    assert done.returncode == 0 or "has numpy, PIL" in done.stderr


def test_a_wrong_call_says_what_is_right(tmp_path: Path) -> None:
    for arguments, message in (
        (("soon",), "whole number of seconds"),
        (("60", "everything"), "known: environment smoke"),
    ):
        done = check(tmp_path, *arguments)
        assert done.returncode == 2
        assert message in done.stderr
    assert "gpu_check.sh 540" in check(tmp_path, "--help").stdout


def test_the_recorder_writes_each_figure_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu.record import Recorder, read

    monkeypatch.setenv("OUT", str(tmp_path))
    path = tmp_path / "results.jsonl"
    out = Recorder("some", dry=True)
    out.line("first", 1.5, "ms", batch=8)
    first = {"part": "some", "figure": "first", "value": 1.5, "unit": "ms", "batch": 8, "dry": True}
    assert read(path)[0].items() >= first.items()
    out.line("second", float("nan"), ok=False)
    with pytest.raises(RuntimeError), out:
        raise RuntimeError("the device is gone")
    with path.open("a") as file:
        file.write('{"part": "cut o')
    records = read(path)
    assert [r["figure"] for r in records] == ["first", "second", "error"]
    assert records[1]["value"] == "nan"
    assert "the device is gone" in records[2]["value"]
    assert out.failed == 2
    assert out.rate() == 1


def test_the_table_shows_what_was_wrong_and_the_ratio_to_pytorch() -> None:
    from benchmarks.gpu.table import report

    def record(part: str, figure: str, value: Any, **more: Any) -> dict[str, Any]:
        return {"part": part, "figure": figure, "value": value, "unit": "ms", **more}

    speed = {"precision": "bf16", "batch": 128}
    text = report(
        [
            record("environment", "nvidia-smi", "NVIDIA H100, 580"),
            record("golden", "layer", 0.5, precision="tf32", layer="mixed_3/join", bound=5e-3, ok=False),
            record("speed", "captured", 10.0, **speed, images_per_s=12800.0, tflops=73.0),
            record("torch-eager", "network", 16.0, mode="plain", **speed),
            record("torch-compile", "network", 8.0, mode="reduce-overhead", **speed),
            record("torch-compile", "network", 1.0, mode="reduce-overhead", precision="bf16", batch=1),
            record("torch-eager", "network", 5.0, mode="plain", precision="fp32", batch=8),
            record("counters", "ncu", None, failed="this user may not read hardware counters"),
            record("golden", "part", 3, status=1, seconds=3, limit=60),
        ]
    )
    assert "# GPU check: NVIDIA H100, 580" in text
    assert "**1 figures were wrong.**" in text
    assert "mixed_3/join" in text
    row = next(line for line in text.splitlines() if line.startswith("| bf16 | 128 |"))
    assert "| 1.25 | 12,800 |" in row
    assert "| golden | with something wrong | 3 |" in text
    assert "| fp32 | 8 |  |  |  | 5 |" in text  # though nothing of ours was measured
    assert "1 figures could not be measured." in text


def test_counters_of_ncu_are_read() -> None:
    from benchmarks.gpu.counters import METRICS, hottest, parse_report

    text = (
        "==PROF== Connected to process 7\nran stem5\n"
        '"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"\n'
        '"0","7","conv2d_bf16","lts__t_bytes.sum","Mbyte","1,234.5"\n'
    )
    (row,) = parse_report(text)
    assert row == {
        "kernel": "conv2d_bf16",
        "id": "0",
        "metric": "lts__t_bytes.sum",
        "unit": "Mbyte",
        "value": "1,234.5",
    }
    assert row["metric"] in METRICS
    assert parse_report("==ERROR== no permission") == []
    assert len(hottest("bf16")) == 3


def test_first_contact_and_memcheck_run_every_build_of_the_convolutions() -> None:
    """And the other tools the widest tile of each precision: the one with copies of 16 bytes that most layers take."""
    from benchmarks.gpu.sanitize import selected
    from benchmarks.gpu.tiles import checks
    from kigraph.kernels.cupy.implicit_gemm import BUILDS, TILES

    convolutions = {build for build, names in BUILDS if names[0].startswith("conv2d_")}
    for found in (checks(), selected(every=True)):
        assert {tile.function(vector).build for tile, vector in (c.build for c in found)} == convolutions
    few = {(c.build[0].bm, c.build[1]) for c in selected(every=False)}
    assert few >= {(max(t.bm for t in tiles), 4) for tiles in TILES.values()}
    assert {vector for _, vector in few} == {1, 4}


def test_tests_that_are_cut_off_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest is interrupted, and writes down what has run; the line says that it was stopped, not that a result was wrong."""
    from benchmarks.gpu import suite
    from benchmarks.gpu.record import read

    (tmp_path / "test_slow.py").write_text("import time\ndef test_a(): pass\ndef test_b(): time.sleep(60)\n")
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    monkeypatch.setattr(suite, "_TESTS", (str(tmp_path / "test_slow.py"),))
    monkeypatch.setattr(suite, "_CHOSEN", "test")
    monkeypatch.setattr(suite, "_GRACE", 20)  # pytest writes its report in it, on a busy machine too
    monkeypatch.setattr(suite.importlib.util, "find_spec", lambda name: name == "pytest" or None)  # no plug-ins
    suite.main(["--seconds", "30"])
    found = {r["figure"]: r for r in read(tmp_path / "out" / "results.jsonl")}
    assert "stopped after 10 s" in found["pytest"]["failed"]
    assert "ok" not in found["pytest"]
    assert found["passed"]["value"] in (1, 2)  # pytest's report has the interrupted test without a result
