"""Files of the cache folder: the user's own, and unharmed, or not used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kigraph.kernels.cache_files import UnsafeFileError, read_private, read_sealed, write_sealed


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 40])
def test_a_sealed_file_gives_back_what_was_put_in(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "new folder" / "file"
    write_sealed(path, data)
    assert read_sealed(path, len(data)) == data
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UnsafeFileError, match="more than"):
        read_sealed(path, len(data) - 1)


def test_every_damaged_byte_and_length_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng()
    path = tmp_path / "file"
    write_sealed(path, rng.bytes(200))
    whole = path.read_bytes()
    broken = [whole[:n] for n in range(len(whole))] + [whole + b"\0", b"\0" + whole]
    broken += [whole[:i] + bytes([whole[i] ^ 1 << int(rng.integers(8))]) + whole[i + 1 :] for i in range(len(whole))]
    for data in broken:
        path.write_bytes(data)
        with pytest.raises(UnsafeFileError, match="damaged"):
            read_sealed(path, 1 << 20)


def test_a_file_under_another_name_is_not_taken(tmp_path: Path) -> None:
    write_sealed(tmp_path / "one", b"kernel one")
    (tmp_path / "one").rename(tmp_path / "two")
    with pytest.raises(UnsafeFileError):
        read_sealed(tmp_path / "two", 100)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [lambda p: p.chmod(0o620), lambda p: p.chmod(0o602), _pipe, _folder, _link])
def test_what_is_not_a_private_file_is_not_read(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    write_sealed(path, b"content")
    change(path)
    with pytest.raises((UnsafeFileError, OSError)):  # OSError: a link, which O_NOFOLLOW refuses
        read_private(path, 1000)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_sealed(path, b"content")
    os.chown(path, 12345, -1)
    with pytest.raises(UnsafeFileError, match="another user"):
        read_private(path, 1000)
