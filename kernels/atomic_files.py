"""Files: read without blocking, and written so that other processes see them whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

__all__ = ["PART", "check_writable", "open_regular", "regular_descriptor", "replacing"]

#: How the name of a file ends that is still being written; one whose writer was killed stays.
PART = ".part"


def regular_descriptor(path: str | os.PathLike[str]) -> int:
    """A descriptor for reading a regular file; the caller closes it. Never waits.

    A named pipe would keep ``open`` waiting for its writer, a terminal or a device keeps ``read`` waiting. Raises
    OSError for these, for folders and sockets too, with a text in ``strerror``.
    """
    name = os.fspath(path)
    try:
        _require_regular(os.stat(name), name)  # opening some devices has side effects
        # O_NONBLOCK: should a pipe take the file's place now, opening it does not wait.
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError as e:  # a zero byte, half a surrogate pair
        raise OSError(errno.EINVAL, f"not a name of a file: {e}", name) from None
    try:
        _require_regular(os.fstat(descriptor), name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """The same as a file object."""
    return open(regular_descriptor(path), "rb")


def check_writable(path: str | os.PathLike[str]) -> None:
    """OSError if something other than a regular file is at ``path``: opening it would block, or a file would replace it."""
    name = os.fspath(path)
    try:
        _require_regular(os.stat(name), name)
    except FileNotFoundError:
        return
    except ValueError as error:
        raise OSError(errno.EINVAL, f"not a name of a file: {error}", name) from None


def _require_regular(state: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise OSError(errno.EISDIR, "a folder, not a regular file", name)
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "a device, pipe or socket, not a regular file", name)


@contextmanager
def replacing(
    path: str | os.PathLike[str], mode: str = "wb", *, durable: bool = True, shared: bool = False, **options: Any
) -> Iterator[IO[Any]]:
    """A new file, written beside ``path``, that takes its place in one step when the block ends.

    If the block fails nothing changes and nothing is left over. durable: the content is on the disk before the old file
    is replaced. shared: the file has the permissions of the one that it replaces, else those of a new file; else its owner
    alone may read it. options: for ``open``. The folder must exist. Raises OSError, also where something other than a regular file is.
    """
    import tempfile  # late: it takes 10 ms that only writers should pay

    target = Path(path)
    check_writable(target)
    descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=PART)
    try:
        with open(descriptor, mode, **options) as file:
            if shared:
                os.fchmod(descriptor, _permissions(target))
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _permissions(target: Path) -> int:
    """Those of the file that is there, else those of a new file."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0o077)  # it can be read only by setting it
        os.umask(mask)
        return 0o666 & ~mask
