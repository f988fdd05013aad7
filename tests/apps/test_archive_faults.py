"""A disk with too little room, a folder that is not there, and the order in which a Parquet file takes its journal's place."""

from __future__ import annotations

import csv
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kigraph.archive.results import JOURNAL, open_results
from kigraph.archive.rows import Setup, row_of
from kigraph.cli import main
from kigraph.errors import ImageError

ROOT = Path(__file__).resolve().parents[2]
MODEL = ["--weights", "demo", "--no-download"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures with long names."""
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(1)
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (20, 24, 3), np.uint8)).save(tmp_path / "in" / f"{'x' * 90}{i}.png")
    return tmp_path / "in"


def test_a_file_that_cannot_grow_says_what_is_kept_and_is_resumed(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kigraph", "classify", str(folder), "-o", str(tmp_path / "r.csv"), "--top", "1"]

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    settings = {**os.environ, "KIGRAPH_PACKED_CACHE": "off", "KIGRAPH_TUNE": "off"}
    run = subprocess.run(
        [*command, *MODEL], cwd=ROOT, env=settings, preexec_fn=small, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 2, run.stderr
    with open(tmp_path / "r.csv", newline="") as file:
        kept = list(csv.DictReader(file))
    assert 0 < len(kept) < 12
    assert f"r.csv: File too large; {len(kept)} rows are kept; the same command with --resume goes on" in run.stderr
    run = subprocess.run(
        [*command, "--resume", *MODEL], cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == sorted(str(path) for path in folder.iterdir())
    assert rows[: len(kept)] == kept


def test_a_folder_that_is_not_there(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(folder), "-o", str(tmp_path / "no" / "r.csv"), *MODEL]) == 2
    assert f"r.csv: there is no folder '{tmp_path}/no'; make it" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_the_journal_goes_when_the_name_of_the_table_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    path, setup = tmp_path / "r.parquet", Setup("m", "ab" * 32, "cd" * 8, "1/1", 1)
    calls: list[str] = []

    def noted(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **options: Any) -> None:
            told = name
            if name == "fsync":
                told = "folder" if os.path.samestat(os.fstat(args[0]), os.stat(tmp_path)) else "file"
            calls.append(Path(args[0]).name if name == "unlink" else told)
            real(*args, **options)

        return call

    with open_results(path, setup) as results:
        results.append(row_of("a.jpg", None, ImageError("a.jpg: damaged"), setup))
        for name in ("replace", "fsync", "unlink"):
            monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
        results.finish()
    assert calls[:4] == ["file", "replace", "folder", path.name + JOURNAL]
