"""Files of the cache folder: they must be the user's own, and undamaged.

A sealed file ends with a digest of its name and content, so damage and a file under another's name are found before
anything in it is used. That finds accidents, not malice: whoever can write a file can also seal it. So files that another user
owns or may write are not used at all.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .atomic_files import replacing
from .digest import blake2b

__all__ = ["UnsafeFileError", "check_private", "read_private", "read_sealed", "write_sealed"]

#: How a sealed file ends: a mark and the digest.
_SEAL, _SEAL_DIGEST = b"KISEAL1\n", 32
_READ_ONLY = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class UnsafeFileError(Exception):
    """A file of the cache that must not be used; the text says why."""


def check_private(state: os.stat_result) -> None:
    """UnsafeFileError unless this is a regular file that nobody but this user and root owns or may write."""
    if not stat.S_ISREG(state.st_mode):
        raise UnsafeFileError("it is no regular file")
    if hasattr(os, "geteuid") and (state.st_uid not in (os.geteuid(), 0) or state.st_mode & 0o022):
        raise UnsafeFileError("another user owns it or may write it")


def read_private(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a private file of up to ``most`` bytes; never waits for a pipe, never follows a link.

    Raises OSError if it cannot be read, UnsafeFileError if it must not be used.
    """
    with open(os.open(path, _READ_ONLY), "rb") as file:
        check_private(os.fstat(file.fileno()))
        data: bytes = file.read(most + 1)
    if len(data) > most:
        raise UnsafeFileError(f"it has more than {most} bytes")
    return data


def write_sealed(path: str | os.PathLike[str], data: bytes) -> None:
    """Puts a file with its seal in place, in one step; makes its folder. A lost file costs time only, so no sync.

    Raises OSError.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with replacing(target, durable=False) as file:
        file.write(data)
        file.write(_seal(target.name, data))


def read_sealed(path: str | os.PathLike[str], most: int) -> bytes:
    """What ``write_sealed`` was given. Raises as ``read_private``, and UnsafeFileError for a damaged or misplaced file."""
    whole = read_private(path, most + len(_SEAL) + _SEAL_DIGEST)
    at = max(len(whole) - len(_SEAL) - _SEAL_DIGEST, 0)
    data = whole[:at]
    if whole[at:] != _seal(Path(path).name, data):
        raise UnsafeFileError("it is damaged, or of another version")
    return data


def _seal(name: str, data: bytes) -> bytes:
    digest = blake2b(os.fsencode(name) + b"\0", digest_size=_SEAL_DIGEST)
    digest.update(data)
    return _SEAL + digest.digest()
