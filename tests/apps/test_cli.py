"""The command as a whole, and classify: results, JSON, exit codes, errors in one line."""

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

from kigraph.archive.listing import list_images
from kigraph.cli import build_parser, main

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
    assert list_images([str(folder)]).paths == every
    assert list_images([str(folder / "*.png"), str(pictures["green"])]).paths == [str(pictures["green"])]
    assert list_images([str(folder.parent / "**" / "*.webp")]).paths == [str(pictures["blue"])]
    odd = folder / "odd[1].jpg"
    odd.write_bytes(pictures["red"].read_bytes())
    assert list_images([str(odd)]).paths == [str(odd)], "an existing file is never a pattern"


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
    assert main(["--traceback", "inspect", "no_such_file.pb"]) == 2
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" in error
    assert "LoadError" in error


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
    for command in ("classify", "serve", "bench", "info", "inspect", "draw", "weights", "demo"):
        assert command in overview
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "examples:" in text
        assert f"  kigraph {command}" in text
    assert main(["--version"]) == 0


def test_examples_in_the_help_are_valid() -> None:
    import shlex

    from kigraph.cli import bench, classify, draw, info, inspect_file, serve, weights

    parser = build_parser()
    for module in (classify, serve, bench, info, inspect_file, draw, weights):
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
        # A test run in the background has SIGINT ignored, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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


def test_module_and_version() -> None:
    done = _run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"kigraph ")
