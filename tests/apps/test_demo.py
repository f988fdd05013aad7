"""The demonstration, with a tiny model: table, JSON, picture, and the label on untrained weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from kigraph.cli import main
from kigraph.demo import sample_photograph
from kigraph.timing import measure
from kigraph.weights import store

Models = dict[str, Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def arguments(models: Models, pictures: dict[str, Path], tmp_path: Path) -> list[str]:
    return ["demo", "--image", str(pictures["red"]), "-b", "numpy", "-n", "2", "-o", str(tmp_path / "out")]


def test_table_json_and_picture(arguments: list[str], models: Models, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    assert main([*arguments, "-w", str(models["retrained"])]) == 0
    out = capsys.readouterr().out
    assert "images/s" in out
    assert "mean nothing" not in out
    document = json.loads((tmp_path / "out" / "demo.json").read_text())
    (row,) = document["results"]
    assert row["backend"] == "numpy"
    assert row["labels"][0]["label"] == "red"
    assert row["images_per_s"] == pytest.approx(1000 / row["median_ms"])
    assert document["agreement"] == {"same_top_1": True, "largest_difference": 0.0}
    assert document["weights"]["trained"] is True
    with Image.open(tmp_path / "out" / "demo.png") as image:
        assert image.size == (1440, 720)
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 50


def test_untrained_weights_are_labelled_everywhere(
    arguments: list[str], models: Models, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated = store.generated_path()
    generated.parent.mkdir(parents=True)
    generated.write_bytes(models["2015"].read_bytes())
    assert main([*arguments, "--no-download"]) == 0
    out = capsys.readouterr()
    assert "untrained weights: the speed is real, the labels mean nothing" in out.out
    assert "downloads are switched off" in out.err
    document = json.loads((tmp_path / "out" / "demo.json").read_text())
    assert document["weights"]["trained"] is False
    assert document["weights"]["origin"] == "generated"


def test_a_named_file_that_is_missing_is_an_error_not_a_fallback(
    arguments: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*arguments, "-w", "none.pb"]) == 2
    monkeypatch.setenv("KIGRAPH_WEIGHTS", "none.pb")
    assert main(arguments) == 2
    assert "from KIGRAPH_WEIGHTS" in capsys.readouterr().err


def test_a_backend_that_fails_is_reported(arguments: list[str], models: Models, capsys: Capture) -> None:
    arguments[arguments.index("numpy")] = "numpy,nonsense"
    assert main([*arguments, "-w", str(models["retrained"]), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [r["backend"] for r in document["results"]] == ["numpy"]
    assert "unknown backend" in document["problems"]["nonsense"]


def test_the_sample_photograph() -> None:
    pytest.importorskip("matplotlib")
    with Image.open(sample_photograph()) as image:
        assert image.format == "JPEG"
        assert image.size == (512, 600)


def test_measure_counts_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    import kigraph.timing as timing

    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    costs = iter([5.0, 1.0, 3.0, 2.0] + [1.0] * 100)

    def call() -> None:
        clock[0] += next(costs)

    result = measure(call, repeats=4, budget=100)
    assert (result.first, result.best, result.worst, result.runs) == (5.0, 1.0, 3.0, 4)
    assert result.median == 1.5
    assert measure(call, repeats=50, budget=10).runs == 9 or measure(call, repeats=50, budget=10).runs == 10
    slow = iter([9.0] * 10)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def slow_call() -> None:
        clock[0] += next(slow)

    assert measure(slow_call, budget=5).runs == 1
