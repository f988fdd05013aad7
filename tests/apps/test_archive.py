"""Archives to tables: which images, in which shard, every row once, whatever was killed or damaged meanwhile."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.archive.lines import LineFile, read_lines
from kigraph.archive.listing import list_images
from kigraph.archive.results import JOURNAL, open_results
from kigraph.archive.rows import Row, Setup, columns, key_of, key_of_path, row_of, setup_of, top_of
from kigraph.classifier import Prediction
from kigraph.cli import main
from kigraph.errors import FeedError, ImageError
from kigraph.vision.labels import Label

from .result_files import rows_in

ROOT = Path(__file__).resolve().parents[2]
MODEL = ["-w", "demo", "--no-download"]


def _setup(top: int = 2, **other: Any) -> Setup:
    return Setup(**({"model": "m", "weights_sha256": "ab" * 32, "setup": "cd" * 8, "shard": "1/1", "top": top} | other))


def _some_row(path: str, setup: Setup) -> Row:
    if random.random() < 0.2:
        return row_of(path, None, ImageError(f"{path}: damaged\n\x07"), setup)
    labels = (Label('a "b", c', random.random(), 3), Label("d\ne", 0.25, 4), Label("f", 0.0, 5))
    return row_of(path, Prediction(path, labels[: setup.top]), None, setup)


def _paths(rows: list[dict[str, Any]]) -> list[bytes]:
    return [base64.b64decode(r["path_base64"]) if r["path_base64"] else r["path"].encode() for r in rows]


# --- rows and files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [1, 2, 17])
def test_a_row_says_which_columns_it_has(top: int) -> None:
    assert top_of(columns(top)) == top
    assert top_of(columns(top)[1:]) == top_of([]) == top_of(["path"]) == 0


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_other_programs_read_what_was_written(tmp_path: Path, suffix: str, odd_names: list[bytes]) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path, setup = tmp_path / f"r{suffix}", _setup()
    names = [os.fsdecode(name) for name in odd_names] * 1
    rows = [_some_row(name, setup) for name in names]
    with open_results(path, setup) as results:
        for row in rows + rows:
            results.append(row)
        results.finish()
    found = rows_in(path)
    assert _paths(found) == odd_names
    for row, other in zip(rows, found, strict=True):
        for name, value in row.items():
            if name.startswith("score") and value is not None:
                assert np.float32(other[name]) == np.float32(value)
            else:
                assert other[name] == (str(value) if suffix == ".csv" and value is not None else value)
    assert all("\n" not in (row["error"] or "") for row in rows)
    assert [key_of(row) for row in rows] == [key_of_path(name) for name in names]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_cut_off_anywhere_is_resumed(tmp_path: Path, suffix: str, odd_names: list[bytes]) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    whole, setup = tmp_path / f"whole{suffix}", _setup()
    names = [os.fsdecode(name) for name in odd_names]
    rows = {name: _some_row(name, setup) for name in names}
    with open_results(whole, setup) as results:
        for row in rows.values():
            results.append(row)
    written = Path(f"{whole}{JOURNAL}") if suffix == ".parquet" else whole
    data = written.read_bytes()
    for cut in random.sample(range(len(data)), 60):
        path = tmp_path / f"{cut}{suffix}"
        Path(str(path) + (JOURNAL if suffix == ".parquet" else "")).write_bytes(data[:cut])
        with open_results(path, setup, resume=True) as results:
            assert results.rows <= len(odd_names)
            missing = [name for name in names if not results.done(name)]
            assert missing == names[results.rows :]
            for name in missing:
                results.append(rows[name])
            results.finish()
        assert _paths(rows_in(path)) == odd_names
        assert not Path(f"{path}{JOURNAL}").exists()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"model": "another"}, "model 'm'"), ({"weights_sha256": "00" * 32}, "SHA-256"), ({"setup": "11" * 8}, "card or labels"),
        ({"shard": "2/3"}, "shard '1/1', this run has '2/3'"), ({"top": 3}, "top-k '2', this run has '3'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("finished", [False, True])
def test_what_does_not_fit_is_not_resumed(tmp_path: Path, suffix: str, other: dict, said: str, finished: bool) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"r{suffix}"
    with open_results(path, _setup()) as results:
        results.append(_some_row("a.jpg", _setup()))
        results.append(_some_row("b.jpg", _setup()))
        if finished:
            results.finish()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(FeedError, match=said.replace("(", r"\(")):
        open_results(path, _setup(**other), resume=True)
    with pytest.raises(FeedError, match="exists already; --resume"):
        open_results(path, _setup())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_finished_parquet_file_takes_more_rows(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path, setup = tmp_path / "r.parquet", _setup()
    rows = [_some_row(f"{n}.jpg", setup) for n in range(30)]
    for count in (10, 10, 30):
        with open_results(path, setup, resume=True) as results:
            for row in rows[:count]:
                results.append(row)
            results.finish()
        assert pq.read_metadata(path).num_rows == count
        assert sorted(p.name for p in tmp_path.iterdir()) == ["r.parquet"]
    # Killed between the new file and the end of its journal: the journal's rows are in both.
    Path(f"{path}{JOURNAL}").write_text("".join(json.dumps(row) + "\n" for row in rows[25:]))
    (tmp_path / "r.parquetabcdefgh.part").write_bytes(b"of a killed writer")
    more = _some_row("more.jpg", setup)
    with open_results(path, setup, resume=True) as results:
        assert results.rows == 30
        results.append(more)
        results.finish()
    assert _paths(rows_in(path)) == [f"{n}.jpg".encode() for n in range(30)] + [b"more.jpg"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.parquet"]


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    with open_results(tmp_path / "r.csv", _setup()), pytest.raises(FeedError, match="another process is writing it"):
        open_results(tmp_path / "r.csv", _setup(), resume=True)
    open_results(tmp_path / "r.csv", _setup(), resume=True).close()


@pytest.mark.parametrize("name", ["r.xlsx", "r", "r.CSV", "r.json"])
def test_an_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(FeedError, match=r"\.parquet, \.csv, \.jsonl"):
        open_results(tmp_path / name, _setup())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("r.csv", b"a,b,c\n1,2,3\n"), ("r.csv", ",".join(columns(2)).encode() + b"\n1,2\n"), ("r.csv", b"\xff\xfe\n"), ("r.csv", b"no line's end"),
        ("r.jsonl", b"[1]\n"), ("r.jsonl", b"{}\n"), ("r.csv", b"path,label\na.jpg,dog\nb.jpg"), ("r.jsonl", b'{"patent'), ("r.jsonl", b"nothing\n"), ("r.parquet", b"PAR1 nothing PAR1"),
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_not_touched(tmp_path: Path, name: str, data: bytes) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FeedError, match="not a"):
        open_results(tmp_path / name, _setup(), resume=True)
    assert (tmp_path / name).read_bytes() == data


def test_a_full_disk_keeps_the_rows_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, setup = tmp_path / "r.csv", _setup()
    real, room = os.write, 1000

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(28, "No space left on device")
        count = real(descriptor, bytes(data)[:room])
        room -= count
        return count

    with open_results(path, setup) as results:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left") as error:
            any(results.append(_some_row(f"{number}.jpg", setup)) for number in range(1000))
        monkeypatch.undo()
        assert error.value.filename == str(path)
        kept = results.rows
    assert 0 < kept < 20
    assert len(rows_in(path)) == kept == len(list(read_lines(str(path), as_csv=True)))


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    for place in (tmp_path / "no folder" / "r.csv", tmp_path / "folder.csv"):
        (tmp_path / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(OSError, match="folder"):
            open_results(place, _setup(), resume=True)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(OSError, match="pipe"):
        LineFile(str(tmp_path / "pipe.csv"), 2, as_csv=True)


# --- the command ------------------------------------------------------------------------------------------------------


def _run(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kigraph", "classify", *arguments, *MODEL], cwd=ROOT, stderr=subprocess.PIPE, **options
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_rows_are_those_of_the_library_and_shards_are_parts(
    archive: Path, tmp_path: Path, suffix: str, capsys
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"all{suffix}"
    assert main(["classify", str(archive), *MODEL, "--output", str(out), "-k", "1"]) == 1, "some failed"
    assert "60 rows, 54 labelled, 6 errors, 60 new" in capsys.readouterr().err
    rows = rows_in(out)
    answers = list(ki.classify_folder(ki.weights.resolve_weights("demo").path, archive, top=1, workers=2))
    assert _paths(rows) == [os.fsencode(a.source) for a in answers]
    assert [row["label_1"] for row in rows] == [a.prediction and a.prediction[0].label for a in answers]
    assert sum(row["status"] == "error" and bool(row["error"]) for row in rows) == 6
    parts = []
    for number in (1, 2, 3):
        part = tmp_path / f"{number}{suffix}"
        code = main(["classify", str(archive), *MODEL, "-o", str(part), "-k", "1", "--shard", f"{number}/3", "--json"])
        document = json.loads(capsys.readouterr().out)
        parts += rows_in(part)
        assert code == (1 if document["failed"] else 0)
        assert document["rows"] == document["added"] == len(rows_in(part))
    assert sorted(_paths(parts)) == sorted(_paths(rows))
    by_path = dict(zip(_paths(parts), parts, strict=True))
    assert all(by_path[path] | {"shard": "1/1"} == row for path, row in zip(_paths(rows), rows, strict=True))


def test_a_card_or_labels_that_changed(archive: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "r.csv")
    assert main(["classify", str(archive), *MODEL, "-o", out]) == 1
    assert main(["classify", str(archive), *MODEL, "-o", out, "--resume", "--mean", "100"]) == 2
    assert "card or labels" in capsys.readouterr().err
    assert main(["classify", str(archive), *MODEL, "-o", out, "--resume"]) == 1
    assert "60 rows, 54 labelled, 6 errors, 0 new" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resume"], "--resume needs --output"), (["--engine", "ray"], "--engine ray needs --output"),
        (["--actors", "2"], "need --engine ray"), (["--shard", "4/3"], "NUMBER/COUNT"), (["-o", "r.txt"], "name the file so"),
        (["--output", "r.json"], "--output FILE for results needs one of .parquet, .csv, .jsonl"),
    ],
)  # fmt: skip
def test_wrong_options(archive: Path, arguments: list[str], said: str, capsys) -> None:
    assert main(["classify", str(archive), *MODEL, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert main(["classify", "-", *MODEL, "-o", "r.csv"]) == 2


def test_what_is_missing_is_said(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name, arguments in (("pyarrow", ["-o", "r.parquet"]), ("ray", ["-o", "r.csv", "--engine", "ray"])):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.chdir(tmp_path)
        assert main(["classify", str(archive), *MODEL, *arguments]) == 2
        assert (
            f"pip install 'kigraph[{name.removeprefix('py').replace('arrow', 'parquet')}]'" in capsys.readouterr().err
        )


def test_pipes_devices_and_files_that_vanish(archive: Path, tmp_path: Path) -> None:
    os.mkfifo(archive / "pipe.jpg")
    (archive / "null.jpg").symlink_to("/dev/zero")
    (archive / "gone.jpg").symlink_to("/nowhere")
    listing = list_images([str(archive)])
    victim = next(p for p in listing.paths if p.endswith("52.png"))
    os.unlink(victim)
    model = ki.load(ki.weights.resolve_weights("demo").path)
    found = {a.source: a for a in model.classify_many(listing.paths)}
    assert len(found) == 63
    for path in (victim, *(str(archive / name) for name in ("pipe.jpg", "null.jpg", "gone.jpg"))):
        assert isinstance(found[path].error, ImageError)


def test_killed_at_any_instant_and_resumed(archive: Path, tmp_path: Path) -> None:
    suffixes = [".csv", ".jsonl", *([".parquet"] if importlib.util.find_spec("pyarrow") else [])]
    out = tmp_path / f"r{random.choice(suffixes)}"
    written = Path(f"{out}{JOURNAL}") if out.suffix == ".parquet" else out
    for _ in range(2):
        with _run([str(archive), "-o", str(out), "--resume", "--batch", "1"]) as process:
            deadline = time.monotonic() + 60
            size = written.stat().st_size if written.exists() else 0
            while process.poll() is None and time.monotonic() < deadline:
                if written.exists() and written.stat().st_size > size:
                    time.sleep(random.random() / 100)
                    break
            process.kill()
    with _run([str(archive), "-o", str(out), "--resume"]) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    paths = _paths(rows_in(out))
    assert sorted(paths) == sorted(os.fsencode(p) for p in list_images([str(archive)]).paths)
    assert len(paths) == len(set(paths)) == 60


def test_interrupted_by_ctrl_c(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    paths = tmp_path / "many"
    for number in range(60):
        shutil.copytree(archive, paths / str(number), symlinks=True)
    with _run([str(paths), "-o", str(out), "--batch", "1"]) as process:
        while not out.exists() or out.stat().st_size < 4000:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    rows = rows_in(out)
    assert f"r.csv: {len(rows):,} rows are kept; the same command with --resume goes on".encode() in errors
    assert 10 < len(rows) < 3600


def test_a_steady_line_where_there_is_no_terminal(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.progress import Pace

    clock = [100.0]
    monkeypatch.setattr("kigraph.progress.time.monotonic", lambda: clock[0])
    with Pace("classifying", 20_000, before=1000, every=30) as pace:
        for second in range(1, 100):
            clock[0] = 100.0 + second
            pace.update(1000 + 10 * second, 3 * (second > 50))
    assert capsys.readouterr().err.splitlines() == [
        "classifying 1,300 of 20,000 images | 10.0/s | 31 min left",
        "classifying 1,600 of 20,000 images | 10.0/s | 31 min left | 3 failed",
        "classifying 1,900 of 20,000 images | 10.0/s | 30 min left | 3 failed",
    ]
    for quiet in ({"every": 0}, {"quiet": True}):
        with Pace("classifying", 10, **quiet) as pace:
            clock[0] += 1e6
            pace.update(5)
    assert not capsys.readouterr().err


def test_the_setup_of_a_model_is_its_file_card_and_labels(models: dict[str, Path]) -> None:
    import hashlib

    model = ki.load(models["slim"])
    setup = setup_of(model, 3, "2/5")
    assert setup.weights_sha256 == hashlib.sha256(models["slim"].read_bytes()).hexdigest()
    assert (setup.top, setup.shard, setup.model) == (3, "2/5", "model.pb")
    assert setup_of(ki.load(models["slim"], changes={"mean": (1.0, 2.0, 3.0)}), 3).setup != setup.setup
    assert (
        setup_of(ki.load(models["retrained"], labels=["a", "b", "c"]), 3).setup
        != setup_of(ki.load(models["retrained"]), 3).setup
    )
