"""Folders that are not looked into, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kigraph.archive.listing import list_images
from kigraph.retraining.photos import Collection, Photo, collect, notes_of, split

Draw = Callable[..., Path]


def test_folders_of_desktop_systems_and_links(draw: Draw) -> None:
    folder = draw(lemon=3, lime=3)
    for place in (folder / "lime" / "@eaDir", folder / "__MACOSX", folder / "lime" / "in"):
        place.mkdir()
        (place / "x.jfif").write_bytes(b"another photograph of " + place.name.encode())
    (folder / "lime" / "link").symlink_to(folder / "lemon", target_is_directory=True)
    (folder / "lime" / "loop").symlink_to(folder, target_is_directory=True)
    found = collect(folder)
    assert found.classes == ("lemon", "lime")
    assert found.counts() == [3, 4]
    assert found.empty == []
    notes = " ".join(notes_of(found))
    assert f"{folder}/lime/link and 1 more: links to folders are not followed" in notes
    assert "no photographs by their names" not in notes
    assert len(list_images([str(folder)]).paths) == 7


def test_many_classes_give_few_notes() -> None:
    """One photograph each, most of them for testing by their digests: one note, not one for each class."""
    names = tuple(f"class {i}" for i in range(50))
    found = Collection(
        "x", names, [Photo(f"{i}.png", i, f"{i:040d}") for i in range(50)], empty=[f"e{i}" for i in range(9)]
    )
    split(found, 0.3, 0.6)
    assert all(found.counts("training"))
    assert len(found.moved) > 20
    notes = notes_of(found)
    assert sum("one of them is for training" in note for note in notes) == 1
    assert sum("no photograph of its own" in note for note in notes) == 1
    assert any(note.startswith(f"{', '.join(found.moved[:8])} and {len(found.moved) - 8} more: ") for note in notes)
    assert any(note.startswith("e0, e1, e2, e3, e4, e5, e6, e7 and 1 more: ") for note in notes)
