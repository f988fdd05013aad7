"""kigraph tune and kigraph cache."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.graph.writers.graphdef import save_graphdef

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier as slim saves them, whose first layer two kernels of the cython backend can run."""
    rng = np.random.default_rng(0)
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [None, 21, 21, 3], name="input")
        x = ki.conv2d(x, ki.constant(rng.standard_normal((3, 3, 3, 32)).astype(np.float32)), padding="VALID")
        x = ki.matmul(ki.reduce_mean(x, [1, 2]), ki.constant(rng.standard_normal((32, 1001)).astype(np.float32)))
        ki.reshape(ki.softmax(x), [-1, 1001], name="MobilenetV1/Predictions/Reshape_1")
    save_graphdef(graph, tmp_path / "model.pb")
    return tmp_path / "model.pb"


def test_tune_measures_prints_and_keeps(model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["tune", str(model), "-b", "cython"]) == 0
    out = capsys.readouterr().out
    assert "21x21x3 * 3x3x3x32" in out
    assert "for one image on one thread" in out
    assert main(["tune", str(model), "-b", "cython", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    document = json.loads(captured.out)
    (layer,) = document["layers"]
    assert layer["kernel"].removeprefix("cython.") in layer["microseconds"]
    assert len(layer["microseconds"]) >= 2
    (path,) = document["files"]
    assert layer["layer"] in Path(path).read_text()
    monkeypatch.setenv("KIGRAPH_TUNE", "cached")
    assert "chosen by tuning" in ki.load(model, backend="cython").explain()


def test_tune_without_a_choice(model: Path, capsys: Capture) -> None:
    assert main(["tune", str(model), "-b", "numpy"]) == 0
    assert "no layer of this model has a choice of kernels" in capsys.readouterr().err


def test_cache_info_and_clear(model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KIGRAPH_PACKED_CACHE", "on")
    cache = Path(os.environ["KIGRAPH_CACHE_DIR"])

    def parts() -> dict[str, Any]:
        assert main(["cache", "info", "--json"]) == 0
        return {p["part"]: p for p in json.loads(capsys.readouterr().out)["parts"]}

    assert {p: v["files"] for p, v in parts().items()} == dict.fromkeys(
        ("packed", "tuning", "bottlenecks", "numba", "cupy", "emulation"), 0
    )
    ki.load(model, backend="cython").predict(np.zeros((1, 21, 21, 3), np.float32))
    assert main(["tune", str(model), "-b", "cython"]) == 0
    capsys.readouterr()
    (cache / "weights").mkdir()
    (cache / "weights" / "kept").write_text("downloaded")
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    (cache / "packed" / "link").symlink_to(outside)
    assert parts()["packed"]["bytes"] > 32 * 1001 * 4
    assert main(["cache", "info"]) == 0
    assert "packed weights" in capsys.readouterr().out
    assert main(["cache", "clear", "tuning"]) == 0
    assert "1 files removed" in capsys.readouterr().out
    assert parts()["packed"]["files"] > 0
    assert main(["cache", "clear"]) == 0
    capsys.readouterr()
    assert all(p["files"] == 0 for p in parts().values())
    assert outside.read_text() == "not ours"
    assert (cache / "weights" / "kept").exists()
