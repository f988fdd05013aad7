"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kigraph.kernels.files import PART, replacing


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path, "w", durable=durable, encoding="utf-8") as file:
        file.write("new")
        assert path.read_text() == "old", "readers must not see what is half written"
        (part,) = tmp_path.glob(f"*{PART}")
        assert part.name.startswith("file")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half of it")
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "file"):
        pass
