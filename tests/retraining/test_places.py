"""Files that take their places, and the lock of a run."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import kigraph as ki
from kigraph.errors import KigraphError
from kigraph.retraining.result import Files, staging

Draw = Callable[..., Path]


class Stop(BaseException):
    """Ends a run where it stands."""


@pytest.mark.parametrize("calls", range(1, 6))
def test_a_killed_replacement_leaves_no_old_model_with_new_labels(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Both models have two classes, so nothing but the files' order keeps labels of one from the other."""
    out = tmp_path / "out"
    out.mkdir()
    first, second = draw(lemon=4, lime=4), draw(name="more", lime=4, plum=4)
    ki.retrain(first, weights=weights, output=out / "m.pb")
    real, left = os.replace, [calls]

    def stop(old: os.PathLike[str], new: os.PathLike[str]) -> None:
        if Path(new).parent == out:
            left[0] -= 1
            if not left[0]:
                raise Stop
        real(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        patch.setattr(shutil, "rmtree", lambda *args, **options: None)  # a killed process tidies nothing up
        with pytest.raises(Stop):
            ki.retrain(second, weights=weights, output=out / "m.pb", force=True)
    assert not (out / "m.pb").exists()
    assert ki.retrain(second, weights=weights, output=out / "m.pb").classes == ("lime", "plum")


def test_what_is_written_is_on_the_disk_before_anything_is_replaced(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw(lemon=4, lime=4)
    ki.retrain(folder, weights=weights, output=tmp_path / "m.pb")
    before = {p: p.read_bytes() for p in Files(tmp_path / "m.pb").all}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*m\.pb'") as error:
        ki.retrain(folder, weights=weights, output=tmp_path / "m.pb", penalty=0.5, force=True)
    assert "is kept in the cache folder; the same command goes on" in error.value.__notes__[0]
    assert {p: p.read_bytes() for p in before} == before
    assert not (tmp_path / ".m.pb.retrain").exists()


def test_a_lock_counts_only_where_the_folder_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run ends, and removes its folder, between the opening of the lock and the locking."""
    files, real, left = Files(tmp_path / "m.pb"), fcntl.flock, [2]

    def lock(file: object, how: int) -> None:
        left[0] -= 1
        if left[0] >= 0:
            (files.staging / "lock").unlink()
            files.staging.rmdir()
        real(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", lock)
    with staging(files, False) as staged:
        assert staged.model.parent == files.staging
        assert (files.staging / "lock").exists()
        with pytest.raises(KigraphError, match="another run is writing this model"), staging(files, False):
            pass
    assert left[0] < 0
    assert not files.staging.exists()
