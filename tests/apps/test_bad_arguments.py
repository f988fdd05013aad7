"""Every command with every kind of bad argument: exit code 2 (or 1 for an image), one line of ours, no traceback, no waiting."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.kernels.atomic_files import check_writable, open_regular, replacing
from kigraph.weights.store import EMBEDDED

Capture = pytest.CaptureFixture[str]
APPLE = str(EMBEDDED.parent / "apple.png")
MODEL = ["-w", "demo", "-b", "numpy"]

NUMBERS = (
    "",
    "0",
    "-1",
    "1.5",
    "nan",
    "inf",
    "x",
    "9" * 30,
    "9" * 5000,
    "1e3",
    "²",
    "٣",
    "+1",
    "0x10",
    " 1",
    "\0",
    "1,",
)
BACKENDS = ("", " ", ",", "torch", "a,,b", "numpy,torch", "\n", "x" * 5000, "NUMPY", "\0")
FILES = (
    "", " ", "missing", "folder", "pipe", "pipe.pb", "/dev/zero", "/dev/null", "empty", "binary", "x" * 5000, "a\nb",
    "~nobody_of_that_name/x", "\udcff", "a\0b", "binary/x", ".", "socket",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a pipe, a socket, an empty file, one of noise; who waits longer than 20 seconds fails."""
    monkeypatch.chdir(tmp_path)
    for name in ("pipe", "pipe.pb", "pipe.html", "pipe.json"):
        os.mkfifo(name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 4)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")

    def late(*_: object) -> None:
        raise AssertionError("the command waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    listener.close()


def _refused(arguments: list[str], capsys: Capture, codes: tuple[int, ...] = (2,)) -> str:
    signal.alarm(20)
    code = main(arguments)
    out, err = capsys.readouterr()
    what = f"{[a[:30] for a in arguments]}: {code}\n{err[-2000:]}"
    assert code in codes, what
    assert "Traceback" not in err, what
    if code == 2:
        ours = [line for line in err.splitlines() if line.startswith("kigraph")]
        assert len(ours) == 1, what
        assert out == "", what
        assert len(ours[0]) < 1500, what
    return err


_OPTIONS: dict[str, list[str]] = {
    "classify": ["classify", APPLE, *MODEL],
    "bench": ["bench", *MODEL, "-n", "1"],
    "profile": ["profile", *MODEL, "-n", "1"],
    "tune": ["tune", *MODEL],
    "serve": ["serve", *MODEL, "--port", "1"],
    "draw": ["draw", "demo", "-o", "x.html"],
    "demo": ["demo", *MODEL, "--image", APPLE, "-n", "1"],
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("classify", "--top"),
        ("classify", "--threads"),
        ("bench", "--batch"),
        ("bench", "--repeats"),
        ("bench", "--seconds"),
        ("profile", "--runs"),
        ("profile", "--top"),
        ("profile", "--batch"),
        ("tune", "--threads"),
        ("serve", "--port"),
        ("draw", "--boxes"),
        ("demo", "--repeats"),
        ("demo", "--threads"),
    ],
)
def test_numbers(command: str, option: str, capsys: Capture) -> None:
    for text in NUMBERS:
        if (command, option, text) in (("profile", "--top", "0"), ("bench", "--batch", " 1"), ("serve", "--port", "0")):
            continue  # all steps; spaces in a list; any free port
        assert option in _refused([*_OPTIONS[command], f"{option}={text}"], capsys)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", ["classify", "bench", "profile", "tune", "serve"])
def test_backends(command: str, capsys: Capture) -> None:
    for text in BACKENDS:
        if command == "bench" and text == "numpy,torch":
            continue  # measured in turn
        _refused([*_OPTIONS[command], f"--backend={text}"], capsys)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", ["classify", "bench", "profile", "tune", "serve", "demo"])
def test_weights(command: str, capsys: Capture) -> None:
    rest = {"classify": [APPLE], "demo": ["--image", APPLE]}.get(command, [])
    for text in FILES:
        _refused(
            [command, *rest, "-b", "numpy", "--no-download", f"--weights={text}"],
            capsys,
            (1, 2) if command == "demo" else (2,),
        )
        if command in ("profile", "tune"):
            _refused([command, "-b", "numpy", "--no-download", "--", text], capsys)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", ["classify", "bench", "profile", "tune", "serve"])
@pytest.mark.parametrize("option", ["--labels", "--card"])
def test_labels_and_cards(command: str, option: str, capsys: Capture) -> None:
    for text in FILES:
        _refused([*_OPTIONS[command], f"{option}={text}"], capsys)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "arguments",
    [["draw", "FILE"], ["draw", "demo", "-o", "FILE"], ["inspect", "FILE"], ["weights", "fetch", "FILE"], ["weights", "path", "FILE"],
     ["cache", "clear", "FILE"], ["profile", *MODEL, "--draw", "FILE"], ["profile", *MODEL, "--trace", "FILE"],
     ["profile", *MODEL, "--image", "FILE"]],
    ids=" ".join,
)  # fmt: skip
def test_other_files(arguments: list[str], capsys: Capture) -> None:
    for text in FILES:
        _refused([text if a == "FILE" else a for a in arguments], capsys)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("text", FILES, ids=repr)
def test_images(text: str, capsys: Capture) -> None:
    error = _refused(["classify", text, *MODEL], capsys, (1, 2))
    assert "ImageError" in error
    if text not in ("folder", "."):
        assert main(["classify", text, APPLE, *MODEL, "--json"]) == 1
        bad, good = json.loads(capsys.readouterr().out)["images"]
        assert bad["filename"] == text
        assert good["labels"][0]["label"] == "apple"


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "arguments",
    [["draw", "demo", "-o", "pipe.html"], ["draw", "demo", "-o", "folder/no/x.html"], ["profile", *MODEL, "--draw", "pipe.html"],
     ["profile", *MODEL, "-n", "1", "--trace", "pipe.json"], ["profile", *MODEL, "-n", "1", "--trace", "no/x.json"],
     ["demo", *MODEL, "--image", APPLE, "-n", "1", "-o", "binary"]],
    ids=" ".join,
)  # fmt: skip
def test_places_that_cannot_be_written(arguments: list[str], capsys: Capture) -> None:
    signal.alarm(20)
    assert main(arguments) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_unreadable_files(place: Path, capsys: Capture) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    for name in ("folder", "binary"):
        os.chmod(place / name, 0)
    for text in ("binary", "folder/x"):
        _refused(["classify", APPLE, "-w", text, "-b", "numpy"], capsys)
        _refused(["classify", APPLE, *MODEL, "--labels", text], capsys)
        _refused(["inspect", text], capsys)
    _refused(["classify", "folder", *MODEL], capsys)
    os.chmod(place / "folder", 0o700)


def test_files_that_would_be_waited_for(place: Path) -> None:
    for name in ("pipe", "/dev/zero", "/dev/null", "folder"):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(name)
        with pytest.raises(ki.ImageError, match="not a regular file"):
            ki.vision.read_image(name)
        with pytest.raises(ki.LabelError, match="not a regular file"):
            ki.vision.read_label_file(name)
        with pytest.raises(OSError, match="not a regular file"):
            check_writable(name)
    with pytest.raises(OSError, match="not a regular file"), replacing("pipe"):
        pass
    assert (place / "pipe").is_fifo()
    with pytest.raises(OSError, match="not a name of a file"):
        open_regular("a\0b")


def test_standard_input(place: Path) -> None:
    command = [sys.executable, "-m", "kigraph", "classify", "-", *MODEL, "--json"]
    for redirection, message in (("</dev/null", "is empty"), ("<&-", "closed")):
        done = subprocess.run(
            ["bash", "-c", f"{' '.join(command)} {redirection}"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1, done.stderr
        assert message in json.loads(done.stdout)["images"][0]["error"]
        assert done.stderr == ""
        signal.alarm(20)


def test_an_endless_standard_input(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("kigraph.vision.decode.MAX_FILE_BYTES", 1 << 16)
    with open("/dev/zero") as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        assert main(["classify", "-", *MODEL]) == 1
    assert "more than 65,536 bytes" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output(place: Path) -> None:
    for command in ("info --json", f"classify {APPLE} -w demo -b numpy", "weights list"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m kigraph {command} >/dev/full"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines()[-1].startswith("kigraph: OSError: No space left")
        assert "Traceback" not in done.stderr
        signal.alarm(20)


def test_names_that_are_no_utf8(place: Path) -> None:
    """They come back from JSON as Python spells them; standard output need not be UTF-8 either."""
    name = b"apple\xff.png"
    Path(os.fsdecode(name)).write_bytes(Path(APPLE).read_bytes())
    for encoding in ("utf-8", "ascii", "latin-1"):
        done = subprocess.run(
            [sys.executable.encode(), b"-m", b"kigraph", b"classify", name, *(a.encode() for a in MODEL), b"--json"],
            capture_output=True, timeout=60, env=os.environ | {"PYTHONIOENCODING": encoding},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert os.fsencode(json.loads(done.stdout)["images"][0]["filename"]) == name


# --- serve ------------------------------------------------------------------------------------------------------------


def test_addresses() -> None:
    pytest.importorskip("uvicorn")
    from kigraph.serve.server import bind

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ki.KigraphError, match=f"cannot listen on 127.0.0.1:{port}: something listens there"):
            bind("127.0.0.1", port)
        assert main(["serve", *MODEL, "--port", str(port)]) == 2
    for one in bind("127.0.0.1", port):
        one.close()
    for host in ("no such host", "x" * 300, "256.1.1.1", "192.0.2.1", "ü" * 70, "a..b"):
        with pytest.raises(ki.KigraphError, match="cannot listen on"):
            bind(host, port)


def test_serve_refuses_at_the_start_what_classify_refuses(place: Path, capsys: Capture) -> None:
    pytest.importorskip("uvicorn")
    (place / "three.txt").write_text("a\nb\nc\n")
    for arguments, error in (
        (["-w", "demo", "--labels", "three.txt"], "LabelError"),
        (["-w", "demo", "-b", "torch"], "BackendError"),
        (["-w", "missing.pb"], "WeightsError"),
        (["-w", "binary"], "LoadError"),
        (["-w", "demo", "--card", "mobilenet-v1"], "CardError"),
        (["-w", "demo", "--port", "70000"], "--port '70000' is not valid: expected a whole number from 0 to 65535"),
        (["-w", "demo", "--host", ""], "--host '' is not valid"),
    ):
        assert error in _refused(["serve", *arguments], capsys)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_all_that_is_below_it(place: Path, capsys: Capture) -> None:
    nest = place / "nest"
    for name in ("top.png", "a/1.png", "a/2.png", "b/c/3.PNG", "b/notes.txt", "empty/x.txt", "top.jpg/4.png"):
        (nest / name).parent.mkdir(parents=True, exist_ok=True)
        (nest / name).write_bytes(Path(APPLE).read_bytes())
    assert main(["classify", "nest", *MODEL]) == 0
    out, err = capsys.readouterr()
    assert out.count("apple") == 5
    assert len(err.splitlines()) == 1, "nothing was left out, and nothing is said of it"
    (nest / "loop").symlink_to(nest)
    assert main(["classify", "nest", *MODEL, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["images"]) == 5
    assert document["not_looked_at"] == [{"folder": "nest/loop", "reason": "a link to a folder"}]
    assert main(["classify", "nest/empty", *MODEL]) == 2
    assert "nest/empty: the folder and those in it have no images" in capsys.readouterr().err
    assert main(["classify", "nest/**/*.png", *MODEL, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["images"]) == 4


def test_models_and_checkpoints_are_neither_read_from_nor_written_into_a_pipe(place: Path) -> None:
    from kigraph.train.checkpoint import load_checkpoint

    graph = ki.Graph()
    with graph.as_default():
        ki.constant(1.0, name="one")
    with pytest.raises(OSError, match="not a regular file"):
        ki.save_graph(graph, "pipe.pb")
    assert (place / "pipe.pb").is_fifo()
    with pytest.raises(ki.LoadError, match="not a regular file"):
        load_checkpoint("pipe")
    with pytest.raises(ki.LoadError, match="pipe"):
        ki.load("pipe.pb")
