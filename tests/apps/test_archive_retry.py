"""Images with an error are tried again: labels stay, every image has one row, and nothing is lost by a kill."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kigraph.archive.results import JOURNAL, Results, open_results
from kigraph.archive.rows import Row, Setup, row_of
from kigraph.classifier import Prediction
from kigraph.cli import main
from kigraph.errors import ImageError
from kigraph.vision.labels import Label

from .result_files import rows_in

ROOT = Path(__file__).resolve().parents[2]
MODEL = ["-w", "demo", "--no-download"]
HERE = [".csv", ".jsonl", *([".parquet"] if importlib.util.find_spec("pyarrow") else [])]
SUFFIXES = [
    ".csv",
    ".jsonl",
    pytest.param(".parquet", marks=pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="needs pyarrow")),
]
SETUP = Setup("m", "ab" * 32, "cd" * 8, "1/1", 1)


def _label(path: str, name: str = 'a\n"b"') -> Row:
    return row_of(path, Prediction(path, (Label(name, random.random(), 3),)), None, SETUP)


def _error(path: str, text: str) -> Row:
    return row_of(path, None, ImageError(text), SETUP)


def _by_path(path: Path) -> dict[str, tuple[str, str | None]]:
    rows = rows_in(path)
    assert len({row["path"] for row in rows}) == len(rows), "a row for each image"
    return {row["path"]: (row["status"], row["label_1"] or row["error"]) for row in rows}


def _picture(path: Path) -> None:
    Image.fromarray(np.random.default_rng().integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures; of four, one with spaces and one with a newline in its name, the file is damaged."""
    place = tmp_path / "p"
    place.mkdir()
    for number in range(8):
        _picture(place / f"{number}.png")
    for name in ("bad.png", "a b.png", "new\nline.png", "still bad.png"):
        (place / name).write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    return place


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("seed", range(8))
def test_any_history_ends_with_one_row_of_each_image(tmp_path: Path, suffix: str, seed: int) -> None:
    """Against a dictionary: a label is kept for ever, an error until a run that tries again says something else."""
    rng = random.Random(f"{seed}{suffix}")
    path, expected = tmp_path / f"r{suffix}", {}
    for _ in range(8):
        retry = rng.random() < 0.6
        with open_results(path, SETUP, resume=True, retry=retry) as results:
            _same_counts(results, expected)
            for name in rng.sample([f"n{i}.jpg" for i in range(12)], 8):
                row = _label(name, rng.choice("xyz")) if rng.random() < 0.4 else _error(name, rng.choice("EF"))
                old = expected.get(name)
                assert results.done(name) == (old is not None and not (retry and old[0] == "error"))
                if old is None or (retry and old[0] == "error"):
                    expected[name] = (row["status"], row["label_1"] or row["error"])
                results.append(row)
            _same_counts(results, expected)
            if rng.random() < 0.5:
                results.finish()
                assert _by_path(path) == expected
    with open_results(path, SETUP, resume=True) as results:
        results.finish()
    assert _by_path(path) == expected


def _same_counts(results: Results, expected: dict[str, tuple[str, str | None]]) -> None:
    assert results.rows == len(expected)
    assert results.failed == sum(status == "error" for status, _ in expected.values())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_end_that_fails_loses_nothing(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"r{suffix}"
    with open_results(path, SETUP) as results:
        for row in (_label("a"), _error("b", "E"), _error("c", "E")):
            results.append(row)
        results.finish()
    path.chmod(0o640)
    with open_results(path, SETUP, resume=True, retry=True) as results:
        results.append(_label("b", "x"))
        results.append(_error("c", "F"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", _full)
            with pytest.raises(OSError, match="No space"):
                results.finish()
    assert not list(tmp_path.glob("*.part"))
    assert {row["path"] for row in rows_in(path)} == {"a", "b", "c"}
    with open_results(path, SETUP, resume=True) as results:
        assert (results.rows, results.failed) == (3, 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", _full)  # a kill before the journal goes
            with contextlib.suppress(OSError):
                results.finish()
    with open_results(path, SETUP, resume=True) as results:
        results.finish()
    found = _by_path(path)
    assert found["b"] == ("ok", "x")
    assert found["c"] == ("error", "F")
    if suffix != ".parquet":
        assert path.stat().st_mode & 0o777 == 0o640


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_command_tries_errors_again(folder: Path, tmp_path: Path, suffix: str, capsys: Any) -> None:
    out = tmp_path / f"r{suffix}"
    command = ["classify", str(folder), *MODEL, "-o", str(out), "-k", "1"]
    assert main(command) == 1
    before = _by_path(out)
    assert sum(status == "error" for status, _ in before.values()) == 4
    for name in ("bad.png", "a b.png", "new\nline.png"):
        _picture(folder / name)
    (folder / "0.png").write_bytes(b"damaged since")  # has its label, so it is not read again
    capsys.readouterr()
    assert main([*command, "--resume"]) == 1
    assert _by_path(out) == before, "errors stay without the option"
    assert main([*command, "--resume", "--retry-errors"]) == 1
    said = capsys.readouterr().err
    assert "12 rows are there, 4 images to go, 4 of them with an error that is tried again" in said
    assert "12 rows, 11 labelled, 1 errors, 0 new, 3 of 4 errors mended" in said
    after = _by_path(out)
    assert {p: v for p, v in before.items() if v[0] == "ok"}.items() <= after.items()
    assert [p for p, v in after.items() if v[0] == "error"] == [str(folder / "still bad.png")]
    written = out.read_bytes()
    assert main([*command, "--resume", "--retry-errors", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert {k: document[k] for k in ("rows", "failed", "added", "retried", "mended")} == {
        "rows": 12, "failed": 1, "added": 0, "retried": 1, "mended": 0
    }  # fmt: skip
    assert out.read_bytes() == written, "the same error is not written again"


def test_it_needs_a_file_to_go_on_with(folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["classify", str(folder), *MODEL, "-o", str(tmp_path / "r.csv"), "--retry-errors"]) == 2
    assert "--retry-errors needs --resume" in capsys.readouterr().err


def test_killed_while_errors_are_tried_again(tmp_path: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / f"r{random.choice(HERE)}"
    folder.mkdir()
    names = [folder / f"{number}.png" for number in range(120)]
    for path in names:
        path.write_bytes(b"damaged, to begin with")
    _picture(folder / "good.png")
    command = [sys.executable, "-m", "kigraph", "classify", str(folder), *MODEL, "-o", str(out), "-k", "1"]
    assert subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL).returncode == 1
    good = {p: v for p, v in _by_path(out).items() if v[0] == "ok"}
    assert len(good) == 1
    for path in names:
        _picture(path)
    command += ["--resume", "--retry-errors", "--batch", "1"]
    written = Path(f"{out}{JOURNAL}") if out.suffix == ".parquet" else out
    size = written.stat().st_size if written.exists() else 0
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (not written.exists() or written.stat().st_size <= size):
            time.sleep(0.002)
        process.kill()
    if out.suffix != ".parquet":
        assert {row["path"] for row in rows_in(out)[:121]} == {str(p) for p in (*names, folder / "good.png")}
    assert subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL).returncode == 0
    found = _by_path(out)
    assert len(found) == 121
    assert good.items() <= found.items()
    assert {status for status, _ in found.values()} == {"ok"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_link_stays_one_and_parts_of_killed_writers_go(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    real, link = tmp_path / "d" / f"r{suffix}", tmp_path / f"r{suffix}"
    with open_results(str(real), SETUP) as results:
        results.append(_label("a"))
        results.append(_error("b", "damaged"))
        results.finish()
    link.symlink_to(real)
    part = tmp_path / "d" / f"r{suffix}12345678.part"
    part.write_bytes(b"half")
    with open_results(str(link), SETUP, resume=True, retry=True) as results:
        results.append(_label("b"))
        results.finish()
    assert link.is_symlink()
    assert not part.exists()
    assert {path: status for path, (status, _) in _by_path(real).items()} == {"a": "ok", "b": "ok"}
