"""Folders of photographs as people have them, and scores that are no numbers: nothing is left out without a word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.archive.listing import list_images
from kigraph.cli import main
from kigraph.errors import ImageError, KigraphError, RunError
from kigraph.retraining.photos import collect
from kigraph.serve.model_list import read_models
from kigraph.train.photographs import folder as photographs_of
from kigraph.weights.store import EMBEDDED

Capture = pytest.CaptureFixture[str]
APPLE = EMBEDDED.parent / "apple.png"
DEMO = ["-w", "demo", "-b", "numpy"]


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes of one photograph each, and links that lead to themselves beside them."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copyfile(APPLE, tmp_path / name / "1.png")
        (tmp_path / name / "2.png").write_bytes(name.encode())
    for link in ("self", "self.png", "a/self", "a/self.png"):
        (tmp_path / link).symlink_to(Path(link).name)
    return tmp_path


def test_a_link_to_itself_is_one_bad_file_and_not_a_bad_folder(classes: Path) -> None:
    listing = list_images([str(classes)])
    assert listing.unreadable == []
    assert [p[len(str(classes)) + 1 :] for p in listing.paths] == [
        "self.png", "a/1.png", "a/2.png", "a/self.png", "b/1.png", "b/2.png"
    ]  # fmt: skip
    assert collect(classes).classes == ("a", "b")
    assert photographs_of(classes, (8, 8)).classes == ("a", "b")


def test_images_of_other_formats_are_counted(classes: Path, capsys: Capture) -> None:
    for name in ("x.HEIC", "y.heic", "b/z.tif", "notes.txt", ".hidden.heic"):
        (classes / name).touch()
    assert list_images([str(classes), str(classes / "b")]).by_suffix() == [(".heic", 2), (".tif", 1)]
    assert main(["classify", str(classes), *DEMO]) == 1
    assert "not read: 3 images (.heic 2, .tif 1); convert them" in capsys.readouterr().err
    assert main(["classify", str(classes), "--json", *DEMO]) == 1
    assert json.loads(capsys.readouterr().out)["not_read"] == [
        {"suffix": ".heic", "images": 2},
        {"suffix": ".tif", "images": 1},
    ]


def test_a_folder_of_other_formats_only(tmp_path: Path) -> None:
    (tmp_path / "IMG_0001.HEIC").touch()
    with pytest.raises(ImageError, match=r"have no images .*not read: 1 image \(\.heic 1\), convert"):
        list_images([str(tmp_path)])


@pytest.mark.parametrize("std", ["0", "1,0,1", "-0"])
def test_a_divisor_of_zero_is_refused(std: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["classify", str(APPLE), *DEMO, f"--std={std}"]) == 2
    assert "numbers other than 0" in capsys.readouterr().err
    table = tmp_path / "models.toml"
    table.write_text(f'[[model]]\nname = "a"\nfile = "{EMBEDDED}"\nstd = [1, 1, {std.split(",")[-2:][0]}]\n')
    with pytest.raises(KigraphError, match=r"std = .*other than 0"):
        read_models(str(table))


def test_scores_that_are_no_numbers_have_no_label(tmp_path: Path, capsys: Capture) -> None:
    """A scale so small that float32 overflows: each image is an error, never a label of nan %."""
    bad = [*DEMO, "--std", "1e-42"]
    assert main(["classify", str(APPLE), *bad]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "scores are NaN or infinite" in err
    table = tmp_path / "t.jsonl"
    assert main(["classify", str(APPLE), str(EMBEDDED.parent / "orange.png"), *bad, "--output", str(table)]) == 1
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert [(row["status"], row["label_1"]) for row in rows] == [("error", None)] * 2
    model = ki.load(EMBEDDED, backend="numpy")
    with pytest.raises(RunError, match="1 of 2 scores"):
        model.name_scores(np.array([0.5, np.nan], np.float32))
