"""A retrained model without its card is not used without a word, and a folder that cannot be read is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.errors import KigraphError
from kigraph.retraining.photos import collect


def test_a_model_that_was_copied_without_its_card(
    draw: Callable[..., Path], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = draw(lemon=6, lime=6)
    made = tmp_path / "m.pb"
    ki.retrain(folder, output=made, weights=weights, progress=False, backend="numpy")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(made, alone / "m.pb")
    shutil.copyfile(tmp_path / "m_labels.txt", alone / "labels.txt")
    photo = str(next(folder.rglob("*.png")))
    for place, said in ((made, False), (alone / "m.pb", True)):
        assert main(["classify", photo, "-w", str(place), "-b", "numpy"]) == 0
        assert ("the card of this model is missing" in capsys.readouterr().err) == said


def test_a_folder_that_cannot_be_read_is_named(draw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw(lemon=3, lime=3)
    (folder / "lime" / "locked").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    locked = str(folder / "lime" / "locked")
    assert collect(folder).unreadable == [(locked, f"{locked}: the folder cannot be read: Permission denied")]


def test_why_there_are_no_classes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.heic").write_bytes(b"x")
    with pytest.raises(KigraphError, match=r"2 files in the sub-folders are no photographs by their names \(\.heic"):
        collect(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name / "1.jpg").write_bytes(b"the same")
    with pytest.raises(
        KigraphError, match=r"1 photographs are in several classes and used in none: .*a/1\.jpg; .*b/1\.jpg"
    ):
        collect(tmp_path)
