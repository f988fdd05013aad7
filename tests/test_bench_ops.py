"""`make bench-ops`: rows are unique, contenders compute the same, a wrong one is found, and the command runs end to end."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance import process_seed

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")


@pytest.fixture(scope="module")
def walked() -> list[Any]:
    """The rows of one network."""
    from benchmarks.ops.walked import rows_of_networks

    return rows_of_networks(("mobilenet-v2",), most=2)


def elements(size: str) -> int:
    """Of the largest product that a row's size names."""
    shapes = re.findall(r"\d+(?:x\d+)+", size)
    return max((prod(int(n) for n in shape.split("x")) for shape in shapes), default=0)


def test_rows_are_unique_and_every_kind_of_the_network_is_there(
    walked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.ops import listed

    monkeypatch.setattr(listed, "rows_of_networks", lambda most: walked)
    assert {"conv2d", "depthwise", "batch_norm", "add", "relu6", "mean", "matmul", "softmax"} <= {
        r.kind for r in walked
    }
    rows = listed.all_rows()
    assert len({r.row.name for r in rows}) == len(rows) > 220
    assert {r.row.name for r in walked} <= {r.row.name for r in rows}
    assert all(r.networks == ("MobileNet v2",) for r in walked)
    assert max(sum(r.kind == kind for r in walked) for kind in ("conv2d", "depthwise", "add")) == 2


def test_names_of_rows_in_torch_are_rows() -> None:
    from benchmarks.against_numpy import ALL_ROWS
    from benchmarks.ops.in_torch import BY_NAME

    assert set(BY_NAME) <= {row.name for row in ALL_ROWS}


def test_contenders_compute_the_same(walked: list[Any]) -> None:
    """Some of the small rows, others in every run; the command itself compares all."""
    from benchmarks.ops.by_hand import BY_HAND
    from benchmarks.ops.turns import Calls

    rng = np.random.default_rng(process_seed())
    rows = [r for r in (*BY_HAND, *walked) if sum(np.asarray(v).size for v in r.row.make(rng)) < 300_000]
    for number in rng.choice(len(rows), 3, replace=False):
        calls = Calls(rows[number], contenders=("kigraph", "onnxruntime", "numpy"))
        assert calls.check() == {}, rows[number].name
        assert "kigraph" in calls.runs


def test_windows_in_the_layout_of_the_others(walked: list[Any]) -> None:
    pytest.importorskip("onnxruntime")
    from benchmarks.ops.turns import Calls

    for kind in ("depthwise", "conv2d", "batch_norm"):
        calls = Calls(next(r for r in walked if r.kind == kind), contenders=("kigraph", "onnxruntime"))
        assert calls.check() == {}
        assert set(calls.results) == {"kigraph", "onnxruntime"}, calls.absent


def test_uneven_padding_in_torch() -> None:
    pytest.importorskip("torch")
    from benchmarks.ops.by_hand import _window
    from benchmarks.ops.turns import Calls

    for row in (
        _window("conv2d", (10, 13, 3), 3, 2, 4),
        _window("depthwise", (9, 8, 6), 5, 2),
        _window("max_pool", (10, 7, 4), 3, 2),
    ):
        calls = Calls(row, contenders=("kigraph", "torch"))
        assert calls.check() == {}
        assert "torch" in calls.results, calls.absent


def test_a_wrong_contender_gets_no_time_and_a_wrong_kigraph_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.ops import turns
    from benchmarks.ops.by_hand import _plain

    row = _plain("square", (3, 4), lambda x: x * x, lambda x: x * x)
    found = turns.measure(row, 1, 1e-5)
    assert found["us"]["numpy"] > 0
    assert found["wrong"] == {}
    assert found["kernel_us"] > 0
    off = replace(row, row=replace(row.row, plain=lambda x: x * x + np.float32(0.01)))
    found = turns.measure(off, 1, 1e-5, contenders=("numpy",))
    assert "numpy" in found["wrong"]
    assert set(found["us"]) == {"kigraph"}
    assert "ratio" not in found
    monkeypatch.setattr(turns, "_distance", lambda got, want: float("nan"))
    with pytest.raises(turns.WrongAnswerError, match="square 3x4"):
        turns.measure(row, 1, 1e-5)


def test_distance_sees_misplaced_infinities() -> None:
    from benchmarks.ops.turns import _distance

    want = np.array([1.0, np.inf, np.nan, -3.0])
    assert _distance(want, want) == 0
    assert _distance(np.array([1.0, np.nan, np.inf, -3.0]), want) == np.inf
    assert _distance(np.array([1.0, np.inf, np.nan, -2.0]), want) == pytest.approx(1 / np.sqrt(10))


def test_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.ops import listed
    from benchmarks.ops.__main__ import main

    monkeypatch.setattr(listed, "rows_of_networks", lambda most: [])
    options = ["--rounds=2", "--seconds=0.0005", "-k", "matmul 64x64x64", "-k", "times two", f"--out={tmp_path}"]
    assert main(options) == 0
    result = json.loads((tmp_path / "ops.json").read_text())
    assert {(r["op"], r["size"]) for r in result["rows"]} >= {("matmul", "64x64x64"), ("times two", "number")}
    for row in result["rows"]:
        assert row["wrong"] == {}
        assert {"kigraph", "numpy"} <= set(row["us"])
        assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
        assert ("onnxruntime" in row["us"]) == (importlib.util.find_spec("onnxruntime") is not None)
    assert "times two" in capsys.readouterr().out
    assert main(["--show", str(tmp_path / "ops.json"), "--out", str(tmp_path / "again")]) == 0
    with pytest.raises(SystemExit, match="expected K/N"):
        main(["--part=3/2"])
