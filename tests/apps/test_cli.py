"""The command: results, JSON, exit codes, errors in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kigraph.cli import build_parser, main
from kigraph.cli.classify import expand

ROOT = Path(__file__).resolve().parents[2]
Models = dict[str, Path]
Pictures = dict[str, Path]
Capture = pytest.CaptureFixture[str]


def _run(*arguments: object, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "kigraph", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env=os.environ | environment,
        check=False,
    )


def _json(capture: Capture) -> Any:
    out = capture.readouterr()
    assert out.err == "", "--json is for machines: nothing else is printed"
    return json.loads(out.out)


# --- classify ---------------------------------------------------------------------------------------------------------


def test_classify_prints_labels(models: Models, pictures: Pictures, capsys: Capture) -> None:
    files = [str(pictures[c]) for c in ("red", "green", "blue")]
    assert main(["classify", *files, "-w", str(models["retrained"]), "-b", "numpy", "--top", "2"]) == 0
    out = capsys.readouterr()
    lines = out.out.splitlines()
    assert lines[0::3] == files
    assert [line.split()[-1] for line in lines[1::3]] == ["red", "green", "blue"]
    assert "inception-v3-2015-retrained" in out.err
    assert "numpy (strict" in out.err


def test_classify_json(models: Models, pictures: Pictures, capsys: Capture) -> None:
    arguments = [
        "classify",
        str(pictures["red"]),
        str(pictures["bad"]),
        "-w",
        str(models["slim"]),
        "-b",
        "numpy",
        "--json",
    ]
    assert main(arguments) == 1
    document = _json(capsys)
    assert document["failed"] == 1
    good, bad = document["images"]
    assert good["filename"] == str(pictures["red"])
    assert set(good["labels"][0]) == {"label", "probability", "index", "synset"}
    probabilities = [x["probability"] for x in good["labels"]]
    assert len(probabilities) == 5
    assert probabilities == sorted(probabilities, reverse=True)
    assert "not an image" in bad["error"]
    assert document["model"]["card"]["name"] == "mobilenet-v1"
    assert document["model"]["trained"] is True
    assert document["model"]["backend"] == "numpy (strict, from the argument)"


def test_some_failed_is_1_and_the_others_are_answered(models: Models, pictures: Pictures, capsys: Capture) -> None:
    missing = pictures["red"].parent / "missing.jpg"
    arguments = [str(pictures["bad"]), str(missing), str(pictures["red"])]
    assert main(["classify", *arguments, "-w", str(models["retrained"]), "-b", "numpy"]) == 1
    out = capsys.readouterr()
    assert str(pictures["red"]) in out.out
    assert len([line for line in out.err.splitlines() if "ImageError" in line]) == 2
    assert "missing.jpg" in out.err


def test_folders_and_globs(pictures: Pictures) -> None:
    folder = pictures["red"].parent
    (folder / "notes.txt").write_text("not an image")
    every = sorted(str(p) for p in folder.iterdir() if p.suffix != ".txt")
    assert expand([str(folder)]) == every
    assert expand([str(folder / "*.png"), str(pictures["green"])]) == [str(pictures["green"])]
    assert expand([str(folder.parent / "**" / "*.webp")]) == [str(pictures["blue"])]
    odd = folder / "odd[1].jpg"
    odd.write_bytes(pictures["red"].read_bytes())
    assert expand([str(odd)]) == [str(odd)], "an existing file is never a pattern"


@pytest.mark.parametrize("argument", ["empty", "none*.jpg"])
def test_nothing_to_classify(argument: str, models: Models, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["classify", str(tmp_path / argument), "-w", str(models["slim"])]) == 2
    assert "ImageError" in capsys.readouterr().err


def test_standard_input(models: Models, pictures: Pictures) -> None:
    arguments = ("classify", "-", "-w", models["retrained"], "-b", "numpy", "-k", 1, "--json")
    done = _run(*arguments, stdin=pictures["blue"].read_bytes())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"][0]["labels"][0]["label"] == "blue"
    for stdin in (b"", b"nonsense nonsense"):
        done = _run(*arguments, stdin=stdin)
        assert done.returncode == 1
        assert "standard input" in json.loads(done.stdout)["images"][0]["error"]


def test_labels_and_card_can_be_given(models: Models, pictures: Pictures, tmp_path: Path, capsys: Capture) -> None:
    names = tmp_path / "names.txt"
    names.write_text("rot\ngruen\nblau\n")
    arguments = ["classify", str(pictures["green"]), "-w", str(models["retrained"]), "-b", "numpy", "-k", "1"]
    assert main([*arguments, "--labels", str(names), "--card", "inception-v3-2015-retrained"]) == 0
    assert "gruen" in capsys.readouterr().out
    assert main([*arguments, "--labels", "imagenet-1000"]) == 2
    assert "LabelError" in capsys.readouterr().err
    assert main([*arguments, "--card", "mobilenet-v1"]) == 2
    assert "CardError" in capsys.readouterr().err


def test_labels_cannot_control_the_terminal(
    models: Models, pictures: Pictures, tmp_path: Path, capsys: Capture
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\x1b[2Jred\x07\ngreen\nblue\n")
    assert (
        main(["classify", str(pictures["red"]), "-w", str(models["retrained"]), "-b", "numpy", "--labels", str(names)])
        == 0
    )
    assert "\x1b" not in capsys.readouterr().out


# --- errors and exit codes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "x.jpg", "-w", "no_such_file.pb"], "no such file: no_such_file.pb"),
        (["inspect", "no_such_file.pb"], "cannot be opened"),
        (["classify", "x.jpg", "-w", str(ROOT / "README.md")], "LoadError"),
        (["weights", "fetch", "nonsense"], "unknown weights"),
        (["draw", "x.pb", "-o", "x.exe"], "must end in"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    out = capsys.readouterr()
    assert out.out == ""
    lines = out.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("kigraph: ")
    assert message in lines[0] or "LoadError" in lines[0]


def test_unknown_backend_is_named(models: Models, pictures: Pictures, capsys: Capture) -> None:
    assert main(["classify", str(pictures["red"]), "-w", str(models["slim"]), "-b", "torch"]) == 2
    assert "known: auto, cupy, cython, numba, numpy" in capsys.readouterr().err


def test_a_backend_that_is_not_here_says_why(models: Models, pictures: Pictures, capsys: Capture) -> None:
    from kigraph.kernels.backends import available_backends

    if "cupy" in available_backends():
        pytest.skip("this machine has a GPU")
    assert main(["classify", str(pictures["red"]), "-w", str(models["slim"]), "-b", "cupy"]) == 2
    error = capsys.readouterr().err
    assert "BackendError" in error
    assert "Remedy" in error


def test_traceback_on_request(capsys: Capture) -> None:
    from kigraph.errors import LoadError

    with pytest.raises(LoadError):
        main(["--traceback", "inspect", "no_such_file.pb"])


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["classify"], ["classify", "x.jpg", "--top", "0"], ["classify", "x.jpg", "--threads", "many"]],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    assert "usage: kigraph" in capsys.readouterr().err


def test_every_command_has_help_with_examples(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for command in ("classify", "bench", "info", "inspect", "draw", "weights", "demo"):
        assert command in overview
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "examples:" in text
        assert f"kigraph {command}" in text
    assert main(["--version"]) == 0


def test_examples_in_the_help_are_valid() -> None:
    import shlex

    from kigraph.cli import bench, classify, draw, info, inspect_file, weights

    parser = build_parser()
    for module in (classify, bench, info, inspect_file, draw, weights):
        for line in module._EXAMPLES.strip().splitlines():
            words = shlex.split(line, comments=True)
            if words[0] != "kigraph":
                continue
            for stop in ("&&", "|"):
                words = words[: words.index(stop)] if stop in words else words
            assert parser.parse_args(words[1:]).run


def test_broken_pipe(models: Models, pictures: Pictures) -> None:
    command = f"{sys.executable} -m kigraph info --ops | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, cwd=ROOT, check=False)
    assert done.stderr == b""
    assert done.returncode == 0


def test_interrupt(models: Models, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    process = subprocess.Popen(
        [sys.executable, "-m", "kigraph", "classify", "-", "-w", str(models["slim"]), "-b", "numpy"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stderr is not None
    process.stderr.readline()  # the model is loaded, the command waits for the image
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted" in error
    assert b"Traceback" not in error
    assert not pipe.exists()


# --- the other commands -----------------------------------------------------------------------------------------------


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
    from kigraph.graph.loaders.graphdef_write import save_graphdef

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
    assert "not those of a known" in document["problem"]
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


def test_offline_without_weights_is_a_clear_error(pictures: Pictures, capsys: Capture) -> None:
    assert main(["classify", str(pictures["red"]), "--no-download"]) == 2
    error = capsys.readouterr().err
    assert "no weights" in error
    assert "inception-v3-2015" in error


def test_module_and_version() -> None:
    done = _run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"kigraph ")
