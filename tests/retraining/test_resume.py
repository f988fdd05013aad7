"""A run that is killed at any instant goes on where it was, and ends with the same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kigraph as ki
from kigraph.errors import KigraphError
from kigraph.retraining import features, result, running

Draw = Callable[..., Path]
FILES = ("m.pb", "m.pb.card.json", "m_labels.txt", "m_report.html")


class Stop(BaseException):
    """Ends a run where it stands, as far as a process can do that to itself."""


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture
def expected(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, bytes]]:
    """The folder of photographs, and what a run without interruption gives; the cache is empty again after it."""
    folder = draw(lemon=20, plum=20)
    (tmp_path / "whole").mkdir()
    ki.retrain(folder, weights=weights, output=tmp_path / "whole" / "m.pb", augment=1)
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "other cache"))
    return folder, contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [
        (features, "write_sealed", 7),
        (features, "write_sealed", 55),
        (running, "train_head", 1),
        (running, "save_graphdef", 1),
        (running, "write_labels", 1),
        (running, "write_page", 1),
        (running, "take_places", 1),
        (result.os, "replace", 2),
    ],
)
def test_it_ends_with_the_same_bits(
    expected: tuple[Path, dict[str, bytes]], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    module: object, name: str, calls: int,
) -> None:  # fmt: skip
    """Stopped just before a call, with all that a killed process would leave behind."""
    folder, whole = expected
    (tmp_path / "out").mkdir()
    left, real = [calls], getattr(module, name)

    def stop(*args: object, **options: object) -> object:
        ours = name != "replace" or str(tmp_path / "out") in str(args[1])
        left[0] -= ours
        if not left[0] and ours:
            raise Stop
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, stop)
        patch.setattr(result.shutil, "rmtree", lambda *args, **options: None)  # a killed process tidies nothing up
        with pytest.raises(Stop):
            ki.retrain(folder, weights=weights, output=tmp_path / "out" / "m.pb", augment=1)
    assert not (tmp_path / "out" / "m.pb").exists()
    done = ki.retrain(folder, weights=weights, output=tmp_path / "out" / "m.pb", augment=1, threads=1)
    assert contents(tmp_path / "out") == whole
    assert not done.resumed
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*FILES, "m.retrain.json"])


@pytest.mark.slow
def test_killed_at_random_instants(
    expected: tuple[Path, dict[str, bytes]], weights: Path, tmp_path: Path, seed: int
) -> None:
    folder, whole = expected
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "kigraph", "retrain", str(folder), "-o", str(tmp_path / "out" / "m.pb")]
    command += ["--weights", str(weights), "--augment", "1"]
    rng = random.Random(seed)
    kills = 0
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0))
        process.send_signal(signal.SIGKILL)
        kills += process.wait(60) == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == whole, f"after {kills} kills"


def test_ctrl_c_keeps_what_was_computed(
    expected: tuple[Path, dict[str, bytes]], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, whole = expected
    (tmp_path / "out").mkdir()

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "train_head", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ki.retrain(folder, weights=weights, output=tmp_path / "out" / "m.pb", augment=1)
    assert threading.active_count() < 20
    ki.retrain(folder, weights=weights, output=tmp_path / "out" / "m.pb", augment=1)
    assert contents(tmp_path / "out") == whole


def test_two_runs_at_once(draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache, and one output: the second run to the same output is refused, another output is written beside it."""
    folder = draw(lemon=8, plum=8)
    real, errors = running.train_head, []

    def second(*args: object, **options: object) -> object:
        monkeypatch.setattr(running, "train_head", real)
        with pytest.raises(KigraphError, match="another run is writing this model"):
            ki.retrain(folder, weights=weights, output=tmp_path / "m.pb")
        errors.append(1)
        ki.retrain(folder, weights=weights, output=tmp_path / "n.pb")
        return real(*args, **options)

    monkeypatch.setattr(running, "train_head", second)
    ki.retrain(folder, weights=weights, output=tmp_path / "m.pb")
    assert errors == [1]
    assert (tmp_path / "m.pb").read_bytes() == (tmp_path / "n.pb").read_bytes()


def test_a_full_disk_leaves_nothing(draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw(lemon=8, plum=8)
    (tmp_path / "out").mkdir()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device", "m.pb")

    with monkeypatch.context() as patch:
        patch.setattr(running, "save_graphdef", full)
        with pytest.raises(OSError, match="No space left"):
            ki.retrain(folder, weights=weights, output=tmp_path / "out" / "m.pb")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_no_permission_to_write(draw: Draw, weights: Path, tmp_path: Path) -> None:
    folder = draw(lemon=2, plum=2)
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(KigraphError, match="cannot be written: Permission denied"):
        ki.retrain(folder, weights=weights, output=tmp_path / "locked" / "m.pb")
