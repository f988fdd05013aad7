"""The commands other than classify: info, inspect, draw, bench, weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kigraph.cli import main

Models = dict[str, Path]
Pictures = dict[str, Path]
Capture = pytest.CaptureFixture[str]


def _json(capture: Capture) -> Any:
    out = capture.readouterr()
    assert out.err == "", "--json is for machines: nothing else is printed"
    return json.loads(out.out)


def test_info(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_NUM_THREADS", "3")
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert main(["info", "--json"]) == 0
    document = _json(capsys)
    assert {b["name"] for b in document["backends"]} >= {"cupy", "cython", "numba", "numpy"}
    for backend in document["backends"]:
        assert backend["name"] in text
        assert backend["detail"]
        assert backend["available"] or backend["remedy"]
    from kigraph.kernels.settings import SETTINGS

    settings = {s["name"]: s for s in document["settings"]}
    assert set(settings) == {s.name for s in SETTINGS}
    assert settings["KIGRAPH_NUM_THREADS"]["value"] == 3
    assert settings["KIGRAPH_NUM_THREADS"]["source"] == "environment"


def test_info_survives_invalid_settings(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_NUM_THREADS", "many")
    monkeypatch.setenv("KIGRAPH_BACKEND", "torch")
    assert main(["info", "--json"]) == 0
    document = _json(capsys)
    assert "torch" in document["problem"]
    assert next(s for s in document["settings"] if s["name"] == "KIGRAPH_NUM_THREADS")["value"].startswith("invalid")


def test_info_ops(capsys: Capture) -> None:
    assert main(["info", "--ops", "--json"]) == 0
    document = _json(capsys)
    assert {"Conv2D", "MatMul", "DecodeJpeg"} <= set(document["ops"])
    assert document["contracts"]["conv2d"]["numpy"] == "own"
    assert document["contracts"]["decode_image"]["numpy"] == "shared"


def test_inspect(models: Models, capsys: Capture) -> None:
    assert main(["inspect", str(models["2015"])]) == 0
    text = capsys.readouterr().out
    assert "TensorFlow frozen GraphDef" in text
    assert "inception-v3-2015" in text
    assert main(["inspect", str(models["2015"]), "--json"]) == 0
    document = _json(capsys)
    import hashlib

    data = models["2015"].read_bytes()
    assert document["sha256"] == hashlib.sha256(data).hexdigest()
    assert document["size"] == len(data)
    ops = {u["op"]: u for u in document["ops"]}
    assert sum(u["count"] for u in ops.values()) == document["operations"]
    assert ops["MatMul"]["support"]["numpy"] == "own"
    assert ops["DecodeJpeg"]["support"]["numpy"] == "shared"
    assert ops["Const"]["support"]["numpy"] == "plan"
    assert [t["name"] for t in document["outputs"]] == ["softmax:0"]
    assert document["parameters"] == 3 * 1008


def test_inspect_a_graph_with_unknown_ops(tmp_path: Path, capsys: Capture) -> None:
    import kigraph as ki
    from kigraph.graph.writers.graphdef import save_graphdef

    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [2], name="x")
        graph.create_op("QuantumLeap", [x], name="leap", num_outputs=1)
    save_graphdef(graph, tmp_path / "odd.pb")
    assert main(["inspect", str(tmp_path / "odd.pb"), "--json"]) == 0
    document = _json(capsys)
    assert document["card"] is None
    assert next(u for u in document["ops"] if u["op"] == "QuantumLeap")["support"]["numpy"] == "-"
    assert main(["inspect", str(tmp_path / "odd.pb"), "--tensors"]) == 0
    assert "leap" in capsys.readouterr().out


def test_inspect_weights_of_an_unknown_network(tmp_path: Path, capsys: Capture) -> None:
    np = pytest.importorskip("numpy")
    numpy_safetensors = pytest.importorskip("safetensors.numpy")
    file = tmp_path / "some.safetensors"
    numpy_safetensors.save_file({"layer.weight": np.zeros((4, 3), np.float32)}, str(file))
    assert main(["inspect", str(file), "--json"]) == 0
    document = _json(capsys)
    assert document["tensors"] == [{"name": "layer.weight", "dtype": document["tensors"][0]["dtype"], "shape": [4, 3]}]
    assert document["parameters"] == 12
    assert "those of no built-in network" in document["problem"]
    assert main(["classify", "x.jpg", "-w", str(file)]) == 2
    assert "LoadError" in capsys.readouterr().err


@pytest.mark.parametrize(("suffix", "start"), [("html", "<!DOCTYPE html"), ("svg", "<svg"), ("dot", "digraph")])
def test_draw(suffix: str, start: str, models: Models, tmp_path: Path, capsys: Capture) -> None:
    picture = tmp_path / f"graph.{suffix}"
    assert main(["draw", str(models["2015"]), "-o", str(picture)]) == 0
    assert capsys.readouterr().out.strip() == str(picture)
    assert start in picture.read_text()[:200]
    assert "DecodeJpeg" in picture.read_text()


def test_draw_into_a_missing_folder(models: Models, tmp_path: Path, capsys: Capture) -> None:
    assert main(["draw", str(models["2015"]), "-o", str(tmp_path / "none" / "x.svg")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_bench(models: Models, capsys: Capture) -> None:
    arguments = ["bench", "-w", str(models["slim"]), "-b", "numpy", "-n", "3", "--seconds", "1", "--no-download"]
    assert main([*arguments, "--batch", "1,4", "--json"]) == 0
    document = _json(capsys)
    assert [(r["backend"], r["batch"]) for r in document["results"]] == [("numpy", 1), ("numpy", 4)]
    for result in document["results"]:
        assert 0 < result["best_ms"] <= result["median_ms"] <= result["worst_ms"]
        assert result["images_per_s"] == pytest.approx(1000 * result["batch"] / result["median_ms"])
        assert result["speed"] >= 1
    assert main(arguments) == 0
    assert "images/s" in capsys.readouterr().out


def test_bench_of_a_graph_that_takes_one_image(models: Models, capsys: Capture) -> None:
    arguments = ["bench", "-w", str(models["retrained"]), "-b", "numpy", "-n", "2", "--batch", "1,8", "--json"]
    assert main(arguments) == 1
    document = _json(capsys)
    assert "takes 1 image" in document["results"][1]["error"]
    assert document["results"][0]["median_ms"] > 0


def test_weights_list_and_path(capsys: Capture, tmp_path: Path) -> None:
    assert main(["weights", "list", "--json"]) == 0
    document = _json(capsys)
    assert document["cache"] == str(tmp_path / "cache")
    assert all(w["cached"] is None for w in document["weights"])
    assert main(["weights", "list"]) == 0
    assert "inception-v3-2015" in capsys.readouterr().out
    assert main(["weights", "path"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "cache")
    assert main(["weights", "path", "inception-v3-2015"]) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert "weights fetch inception-v3-2015" in out.err


def test_profile(models: Models, pictures: Pictures, capsys: Capture, tmp_path: Path) -> None:
    trace, picture = tmp_path / "trace.json", tmp_path / "picture.html"
    command = [
        "profile",
        str(models["slim"]),
        "--runs",
        "2",
        "-b",
        "numpy",
        "--trace",
        str(trace),
        "--draw",
        str(picture),
    ]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "numpy.matmul" in text
    assert "outside of steps" in text
    assert "median of 2 runs" in text
    assert next(e["name"] for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X") == "pool_3"
    assert "<html" in picture.read_text()
    assert main(["profile", str(models["2015"]), "--image", str(pictures["red"]), "--runs", "1", "--json"]) == 0
    document = _json(capsys)
    assert document["runs"] == 1
    assert "DecodeJpeg" in [s["op"] for s in document["steps"]]
    assert document["files"] == []
    assert main(["profile", str(models["2015"]), "--image", str(pictures["green"]), "--runs", "1", "--top", "1"]) == 0
    assert "steps more" in capsys.readouterr().out


def test_profile_says_what_is_wrong(models: Models, capsys: Capture, tmp_path: Path) -> None:
    assert main(["profile", str(models["slim"]), "--draw", "a.png"]) == 2
    assert ".html or .svg or .dot" in capsys.readouterr().err
    assert main(["profile", str(models["2015"]), "--batch", "2"]) == 2
    assert "1 image at once" in capsys.readouterr().err
    assert main(["profile", str(models["slim"]), "--runs", "1", "--trace", str(tmp_path / "no" / "t.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main(["profile", str(models["slim"]), "--top", "-1"]) == 2
