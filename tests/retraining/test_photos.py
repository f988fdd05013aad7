"""A folder of photographs: classes, depths, copies, names in any bytes; and the split by content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kigraph.errors import KigraphError
from kigraph.retraining.photos import Collection, Photo, collect, label_of, split, without

Draw = Callable[..., Path]


def parts(found: Collection) -> dict[str, str]:
    return {p.digest: p.part for p in found.photos}


def test_classes_are_the_sub_folders_in_all_depths(draw: Draw) -> None:
    folder = draw(lemon=3, plum=2)
    deep = folder / "plum" / "2019" / "holiday pictures"
    deep.mkdir(parents=True)
    os.rename(folder / "plum" / "plum 0.0.png", deep / "a b.PNG")
    (folder / "lemon" / "notes.txt").write_text("yellow")
    (folder / ".thumbs").mkdir()
    (folder / ".thumbs" / "x.png").write_bytes(b"x")
    (folder / "nothing").mkdir()
    (folder / "stray.jpg").write_bytes(b"x")
    found = collect(folder)
    assert found.classes == ("lemon", "plum")
    assert found.counts() == [3, 2]
    assert str(deep / "a b.PNG") in [p.path for p in found.photos]
    assert (found.empty, found.elsewhere, found.beside, found.unreadable) == (["nothing"], 1, 1, [])


def test_a_split_is_the_content_s_alone(draw: Draw, tmp_path: Path) -> None:
    few = collect(draw(lemon=40, plum=40))
    split(few, 0.2, 0.2)
    before = parts(few)
    os.rename(tmp_path / "photos" / "plum", tmp_path / "photos" / "aubergine")  # other names, another order
    draw(seed=1, lemon=60, lime=30)
    many = collect(tmp_path / "photos")
    split(many, 0.2, 0.2)
    after = parts(many)
    assert len(after) == 170
    assert {d: after[d] for d in before} == before
    shares = [sum(p == part for p in after.values()) / 170 for part in ("training", "validation", "testing")]
    assert np.allclose(shares, [0.6, 0.2, 0.2], atol=0.12)


def test_more_for_testing_takes_none_back(draw: Draw) -> None:
    sides = []
    for testing in (0.1, 0.3):
        found = collect(draw(lemon=30, plum=30))
        split(found, 0.0, testing)
        sides.append({d for d, part in parts(found).items() if part == "testing"})
    assert sides[0] <= sides[1]


def test_copies_count_once_and_contradictions_not_at_all(draw: Draw) -> None:
    folder = draw(lemon=3, plum=3)
    data = (folder / "lemon" / "lemon 0.0.png").read_bytes()
    (folder / "lemon" / "copy.png").write_bytes(data)
    both = (folder / "lemon" / "lemon 0.1.png").read_bytes()
    (folder / "plum" / "z.png").write_bytes(both)
    found = collect(folder)
    assert found.counts() == [2, 3]
    assert [{os.path.basename(p) for p in pair} for pair in found.copies] == [{"copy.png", "lemon 0.0.png"}]
    assert [sorted(map(os.path.basename, paths)) for paths in found.in_two] == [["lemon 0.1.png", "z.png"]]
    assert "z.png" not in str([p.path for p in found.photos])


def test_two_photographs_of_a_class_leave_one_for_training(draw: Draw) -> None:
    for seed in range(12):
        found = collect(draw(seed=seed, name=f"p{seed}", lemon=2, plum=2))
        split(found, 0.4, 0.45)
        assert min(found.counts("training")) >= 1
        for label, name in enumerate(found.classes):
            assert (name in found.moved) <= (found.counts("training")[label] == 1)


def test_names_in_any_bytes(draw: Draw) -> None:
    folder = draw(lemon=2, plum=2)
    os.rename(folder / "lemon", folder / "柠檬\njaune")
    os.rename(os.fsencode(folder / "plum"), os.fsencode(folder) + b"/pr\xfcne")
    os.rename(os.fsencode(folder) + b"/pr\xfcne/plum 0.0.png", os.fsencode(folder) + b"/pr\xfcne/line\nfeed \xff.png")
    found = collect(folder)
    assert sorted(found.classes) == ["pr\N{REPLACEMENT CHARACTER}ne", "柠檬 jaune"]
    assert sum(found.counts()) == 4
    assert label_of("  \x07 ") == "?"


def test_folders_of_one_label_are_an_error(draw: Draw) -> None:
    folder = draw(lemon=2, plum=2)
    os.rename(folder / "plum", folder / "lemon\n")
    with pytest.raises(KigraphError, match="the same label 'lemon'; rename one"):
        collect(folder)


def test_what_is_no_folder_of_classes_is_said(draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(KigraphError, match="cannot be read: No such file"):
        collect(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(KigraphError, match="a file; expected a folder"):
        collect(tmp_path / "file")
    with pytest.raises(KigraphError, match="cannot be read"):
        collect("a\0b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KigraphError, match="no sub-folder with photographs"):
        collect(tmp_path / "empty")
    with pytest.raises(KigraphError, match="one class, 'lemon'; expected at least two"):
        collect(draw(lemon=3))
    for name in ("a", "b"):
        (tmp_path / "none" / name).mkdir(parents=True)
        (tmp_path / "none" / name / "x.jpg").write_bytes(b"")
    with pytest.raises(KigraphError, match=r"none of 2 photographs can be read; the first: .*the file is empty"):
        collect(tmp_path / "none")


def test_a_class_that_cannot_be_decoded_is_no_class() -> None:
    photos = [Photo(f"{label}{i}", label, f"{label}{i}") for label in range(3) for i in range(2)]
    found = Collection("here", ("a", "b", "c"), photos)
    without(found, [("10", "damaged"), ("11", "damaged"), ("20", "damaged")])
    assert (found.classes, found.empty, found.counts()) == (("a", "c"), ["b"], [2, 1])
    assert [(p.path, p.label) for p in found.photos] == [("00", 0), ("01", 0), ("21", 1)]
    with pytest.raises(KigraphError, match="one class"):
        without(found, [("21", "damaged")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_permission_is_listed(draw: Draw) -> None:
    folder = draw(lemon=2, plum=2)
    (folder / "lemon" / "locked").mkdir(mode=0)
    found = collect(folder)
    assert [os.path.basename(path) for path, _ in found.unreadable] == ["locked"]


def test_links_do_not_go_round(draw: Draw) -> None:
    folder = draw(lemon=2, plum=2)
    (folder / "lemon" / "round").symlink_to(folder)
    (folder / "linked").symlink_to(folder / "plum")
    with pytest.raises(KigraphError, match="one class, 'lemon'"):
        collect(folder)  # the photographs of "linked" are those of plum: in two classes, so in none
