"""Files that other processes see whole or not at all, and files that are read without waiting for anybody."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

__all__ = ["PART", "check_writable", "open_regular", "replacing"]

#: How the name of a file ends that is still being written; one whose writer was killed stays.
PART = ".part"


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Opens a regular file for reading. OSError for anything else: a named pipe or a terminal would wait for its writer.

    The error's ``strerror`` says what was found; a name that no file can have is an OSError too.
    """
    name = os.fspath(path)
    try:
        # O_NONBLOCK: opening a named pipe does not wait; O_NOCTTY: a terminal does not become the process's own.
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError as error:  # an embedded NUL
        raise OSError(errno.EINVAL, f"no possible name of a file ({error})", name) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
            raise OSError(errno.EINVAL, f"{kind}, not a regular file", name)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """OSError if something other than a regular file is at ``path``: it would be waited for, or replaced by a file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no possible name of a file ({error})", os.fspath(path)) from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", os.fspath(path))


@contextmanager
def replacing(
    path: str | os.PathLike[str], mode: str = "wb", *, durable: bool = True, **options: Any
) -> Iterator[IO[Any]]:
    """A new file, written beside ``path``, that takes its place in one step when the block ends.

    If the block fails nothing changes and nothing is left behind. durable: the content is on the disk before the old file
    goes. options: for ``open``. The folder must exist. Raises OSError, also where something other than a regular file is.
    """
    import tempfile  # late: it takes 10 ms that only writers should pay

    target = Path(path)
    check_writable(target)
    descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=PART)
    try:
        with open(descriptor, mode, **options) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
