"""Which images of an archive are taken, in which order, and in which shard."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kigraph.archive.listing import Shard, list_images
from kigraph.errors import FeedError, ImageError

ROOT = Path(__file__).resolve().parents[2]


def test_all_images_below_a_folder_once(archive: Path, odd_names: list[bytes]) -> None:
    listing = list_images([str(archive), str(archive / "a"), str(archive)])
    assert len(listing.paths) == len(set(listing.paths)) == 60
    assert listing.links == [str(archive / "a" / "loop")]
    assert {os.fsencode(os.path.basename(p)) for p in listing.paths} >= set(odd_names)
    assert list_images([str(archive)]).paths == listing.paths
    assert list_images([str(archive / ".thumbnails")]).paths == [str(archive / ".thumbnails" / "1.jpg")]
    assert len(list_images([str(archive / "**" / "*.png")]).paths) == 53, (
        "a pattern follows the link, a file counts once"
    )


def test_folders_so_deep_that_no_path_leads_there(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        os.chdir(tmp_path)
        for _ in range(600):
            os.mkdir("folder")
            os.chdir("folder")
        Path("deep.jpg").touch()
    finally:
        os.chdir(ROOT)
        os.close(here)
    with pytest.raises(ImageError, match="File name too long"):
        list_images([str(tmp_path)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_said(archive: Path) -> None:
    os.chmod(archive / "a" / "b", 0)
    try:
        listing = list_images([str(archive)])
    finally:
        os.chmod(archive / "a" / "b", 0o755)
    assert listing.unreadable == [(str(archive / "a" / "b"), "Permission denied")]


def test_shards_are_a_partition_that_does_not_depend_on_the_place(archive: Path, tmp_path: Path) -> None:
    every = list_images([str(archive)]).paths
    parts = [list_images([str(archive)], Shard(i, 7)).paths for i in range(1, 8)]
    assert sorted(path for part in parts for path in part) == sorted(every)
    assert max(map(len, parts)) < 30
    moved = shutil.copytree(archive, tmp_path / "elsewhere" / "x", symlinks=True)
    for number, part in enumerate(parts, 1):
        found = list_images([f"{moved}/"], Shard(number, 7)).paths
        assert [os.path.relpath(p, moved) for p in found] == [os.path.relpath(p, archive) for p in part]
    (archive / "one more.jpg").touch()
    assert sum(len(list_images([str(archive)], Shard(i, 7)).paths) for i in range(1, 8)) == 61


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "1/4/5", "a/b", "1.0/2", "1/99999999"])
def test_a_wrong_shard(text: str) -> None:
    with pytest.raises(FeedError, match="NUMBER/COUNT"):
        Shard.parse(text)
