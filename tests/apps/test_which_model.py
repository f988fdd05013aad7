"""Never the wrong model: without weights a command ends with 2, and the demo model answers to its name only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.weights import resolve_weights, store
from kigraph.weights.store import EMBEDDED

Models = dict[str, Path]
Capture = pytest.CaptureFixture[str]
APPLE = str(EMBEDDED.parent / "apple.png")
ORANGE = str(EMBEDDED.parent / "orange.png")
#: Every command that runs a model, with what else it needs.
COMMANDS = {
    "classify": ["classify", APPLE],
    "serve": ["serve", "--port", "1"],
    "bench": ["bench", "-n", "1"],
    "profile": ["profile", "-n", "1"],
    "tune": ["tune"],
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that nothing answers on."""

    def fetch(entry: Any, **options: Any) -> Path:
        raise ki.WeightsError("cannot reach storage.googleapis.com: no network")

    monkeypatch.setattr(store, "fetch", fetch)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("download", [True, False])
@pytest.mark.parametrize("command", COMMANDS)
def test_without_weights_every_command_ends_with_2(command: str, download: bool, capsys: Capture) -> None:
    assert main([*COMMANDS[command], *([] if download else ["--no-download"])]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("kigraph: WeightsError: no weights: ")
    assert ("cannot reach" if download else "downloads are switched off") in line
    for remedy in ("--weights FILE", "KIGRAPH_WEIGHTS=FILE", "kigraph weights fetch", "--weights demo"):
        assert remedy in line


@pytest.mark.usefixtures("offline")
def test_a_generated_file_is_nobodys_fallback(models: Models, capsys: Capture, tmp_path: Path) -> None:
    generated = store.generated_path()
    generated.parent.mkdir(parents=True)
    generated.write_bytes(models["2015"].read_bytes())
    for command in COMMANDS.values():
        assert main([*command]) == 2
    capsys.readouterr()
    linked = tmp_path / "link.pb"
    linked.symlink_to(generated)
    for name in (generated, linked):
        assert main(["classify", APPLE, "-b", "numpy", "--json", "-w", str(name)]) == 0
        assert json.loads(capsys.readouterr().out)["model"]["trained"] is False
        assert not resolve_weights(name).trained


@pytest.mark.parametrize("way", ["option", "environment"])
def test_the_demo_model_by_its_name(way: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--weights", "demo"] if way == "option" else []
    if way == "environment":
        monkeypatch.setenv("KIGRAPH_WEIGHTS", "demo")
    for picture, label in ((APPLE, "apple"), (ORANGE, "orange")):
        assert main(["classify", picture, "--no-download", "--top", "1", *options]) == 0
        out, err = capsys.readouterr()
        assert label in out.split("%")[1]
        assert "it knows apples and oranges, nothing else" in err
        assert main(["classify", picture, "--no-download", "--json", *options]) == 0
        model = json.loads(capsys.readouterr().out)["model"]
        assert (model["name"], model["origin"], model["path"]) == ("demo", "embedded", str(EMBEDDED))
        assert (model["labelled"], model["labels"], model["note"]) == (True, "embedded", None)


@pytest.mark.parametrize("command", ["profile", "tune"])
def test_the_weights_are_an_argument_or_an_option(command: str, capsys: Capture) -> None:
    runs = ["-n", "1"] if command == "profile" else []
    for arguments in ([command, "demo"], [command, "--weights", "demo"], [command, "-w", "demo"]):
        assert main([*arguments, *runs, "-b", "numpy", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["model"] == "demo"
    assert main([command, "demo", "-w", "demo"]) == 2
    assert "two weight files" in capsys.readouterr().err


def test_bench_draw_and_inspect_know_the_name(capsys: Capture, tmp_path: Path) -> None:
    assert main(["bench", "-w", "demo", "-b", "numpy", "-n", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["name"] == "demo"
    assert main(["inspect", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(EMBEDDED)
    assert main(["draw", "demo", "-o", str(tmp_path / "x.svg")]) == 0
    assert main(["weights", "path", "demo"]) == 0
    assert str(EMBEDDED) in capsys.readouterr().out
    assert main(["weights", "fetch", "demo"]) == 2
    assert "comes with kigraph" in capsys.readouterr().err
    assert main(["inspect", "inception-v3-2016"]) == 2
    assert "`kigraph weights fetch inception-v3-2016`" in capsys.readouterr().err


def test_a_file_of_that_name(models: Models, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_bytes(models["slim"].read_bytes())
    for name, card in (("demo", "kigraph"), ("./demo", "mobilenet-v1"), (str(tmp_path / "demo"), "mobilenet-v1")):
        assert main(["classify", APPLE, "-w", name, "-b", "numpy", "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["model"]["card"]["name"] == card
        assert ("the file of that name is ./demo" in err) == (name == "demo")
    assert resolve_weights(Path("demo")).path == Path("demo"), "a Path is never a name"
    assert ki.load("demo", backend="numpy").card.name == "mobilenet-v1", "load takes paths only"  # type: ignore[union-attr]


def test_in_python_the_name_is_explained() -> None:
    for name in ("demo", "inception-v3-2015"):
        with pytest.raises(ki.LoadError, match=rf"resolve_weights\('{name}'\)\.path is its file"):
            ki.load(name)
    assert ki.load(resolve_weights("demo").path, backend="numpy").name == "demo"
    for wrong in (5, None, b"model.pb"):
        with pytest.raises(ki.LoadError, match="takes the path of a model file"):
            ki.load(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_an_empty_name_is_no_default(text: str, capsys: Capture) -> None:
    assert main(["classify", APPLE, "--weights", text]) == 2
    assert "leave the option out" in capsys.readouterr().err
    with pytest.raises(ki.WeightsError, match="is empty"):
        resolve_weights(text)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.pb", "known: .*demo"),
        ("Demo", "known: .*demo"),
        ("x" * 5000, "File name too long"),
        ("~nobody_of_that_name/x.pb", "home"),
        ("a\0b", "cannot be opened"),
        (f"{__file__}/x.pb", "Not a directory"),
    ],
    ids=["missing", "case", "long", "home", "nul", "below a file"],
)
def test_a_file_that_cannot_be_named(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ki.WeightsError, match=message) as caught:
        resolve_weights(name)
    assert len(str(caught.value)) < 600
    if "\0" not in name:
        monkeypatch.setenv("KIGRAPH_WEIGHTS", name)
        with pytest.raises(ki.WeightsError, match="from KIGRAPH_WEIGHTS"):
            resolve_weights()


def test_the_makefile_and_the_container_ask_by_name() -> None:
    root = Path(__file__).resolve().parents[2]
    if not (root / "Dockerfile").exists():
        pytest.skip("needs the checkout, not an installed copy")
    docker = (root / "Dockerfile").read_text()
    assert "KIGRAPH_WEIGHTS=demo" in next(line for line in docker.splitlines() if line.startswith("ENV "))
    mounted = next(line for line in docker.splitlines() if "-v " in line)
    assert '-v "$PWD/models:/models:ro" -e KIGRAPH_WEIGHTS=/models/model.pb' in mounted, "the folder, with its labels"
    assert "labels.txt" in docker


def test_a_folder_that_is_mounted_brings_its_labels(models: Models, capsys: Capture) -> None:
    assert main(["classify", APPLE, "-w", str(models["retrained"]), "-b", "numpy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["labels"] == "labels.txt"


# --- settings that are misspelt ---------------------------------------------------------------------------------------


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("KIGRAPH_")} | environment
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=env, check=False, timeout=60
    )


def test_a_misspelt_setting_is_warned_about_by_every_command(tmp_path: Path, capsys: Capture) -> None:
    done = _python("-m", "kigraph", "classify", APPLE, "--no-download", KIGRAPH_WEIGHT="a/my.pb",
                   KIGRAPH_CACHE_DIR=str(tmp_path))  # fmt: skip
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert "KIGRAPH_WEIGHT is no setting of kigraph" in first
    assert "did you mean KIGRAPH_WEIGHTS?" in first
    assert "a/my.pb" not in done.stderr
    assert "WeightsError" in second
    for command in (["info", "--json"], ["weights", "list"], ["cache", "info"]):
        done = _python("-m", "kigraph", *command, KIGRAPH_THREADS="2", KIGRAPH_CACHE_DIR=str(tmp_path))
        assert done.returncode == 0
        assert done.stderr.count("did you mean KIGRAPH_NUM_THREADS?") == 1
        assert "did you mean" not in done.stdout
    assert json.loads(_python("-m", "kigraph", "info", "--json", KIGRAPH_ISAS="x").stdout)["unknown_settings"] == [
        {"name": "KIGRAPH_ISAS", "nearest": "KIGRAPH_ISA"}
    ]


def test_python_warns_once_and_the_import_is_silent() -> None:
    imported = _python("-c", "import kigraph, sys; print('numpy' in sys.modules)", KIGRAPH_BACKENDS="numpy")
    assert (imported.stdout, imported.stderr) == ("False\n", "")
    program = "import kigraph as ki; [ki.Session(ki.Graph(), backend='numpy') for _ in range(3)]"
    assert _python("-c", program, KIGRAPH_BACKENDS="numpy").stderr.count("did you mean KIGRAPH_BACKEND?") == 1
    assert _python("-c", program, KIGRAPH_BACKEND="numpy", KIGRAPH_SHARED="x", KIGRAPH_SANITIZE="0").stderr == ""
