"""tf.gfile: files and folders of this machine."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, OpError, PermissionDeniedError

__all__ = [
    "Copy", "DeleteRecursively", "Exists", "FastGFile", "GFile", "Glob", "IsDirectory", "ListDirectory", "MakeDirs", "MkDir",
    "Open", "Remove", "Rename", "Walk",
]  # fmt: skip


@contextmanager
def _translated(name: Any) -> Iterator[None]:
    """Errors of the system as TensorFlow's, with the file's name."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(None, None, f"{name}; No such file or directory") from error
    except FileExistsError as error:
        raise AlreadyExistsError(None, None, f"{name}; there is such a file already") from error
    except PermissionError as error:
        raise PermissionDeniedError(None, None, f"{name}; {error.strerror}") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise FailedPreconditionError(None, None, f"{name}; {error.strerror}") from error
    except OSError as error:
        raise OpError(None, None, f"{name}; {error.strerror or error}") from error


class GFile:
    """A file: read, readline, readlines, write, seek, tell, size, flush, close. Modes 'r', 'w', 'a', with 'b' for bytes."""

    def __init__(self, name: Any, mode: str = "r") -> None:
        if mode not in ("r", "w", "a", "rb", "wb", "ab", "r+", "w+", "a+"):
            raise ValueError(f"mode must be one of r, w, a, with b or +, got {mode!r}")
        self.name, self.mode = os.fspath(name), mode
        with _translated(self.name):
            self._file: Any = open(name, mode)  # noqa: SIM115 - closed by close()

    def read(self, n: int = -1) -> Any:
        with _translated(self.name):
            return self._file.read(n)

    def write(self, data: Any) -> None:
        with _translated(self.name):
            self._file.write(data)

    def readline(self) -> Any:
        return self._file.readline()

    def readlines(self) -> list[Any]:
        return list(self._file)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def seek(self, offset: int, whence: int = 0) -> None:
        self._file.seek(offset, whence)

    def tell(self) -> int:
        return int(self._file.tell())

    def size(self) -> int:
        return os.path.getsize(self.name)

    Size = size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        with _translated(self.name):
            self._file.close()

    def __enter__(self) -> GFile:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


FastGFile = Open = GFile


def Exists(filename: Any) -> bool:  # noqa: N802 - TensorFlow's name
    return os.path.exists(filename)


def IsDirectory(dirname: Any) -> bool:  # noqa: N802 - TensorFlow's name
    return os.path.isdir(dirname)


def Glob(filename: Any) -> list[str]:  # noqa: N802 - TensorFlow's name
    """The paths that fit a pattern, or several, sorted."""
    patterns = filename if isinstance(filename, (list, tuple)) else [filename]
    return [path for pattern in patterns for path in sorted(glob.glob(pattern))]


def ListDirectory(dirname: Any) -> list[str]:  # noqa: N802 - TensorFlow's name
    with _translated(dirname):
        return os.listdir(dirname)


def MakeDirs(dirname: Any) -> None:  # noqa: N802 - TensorFlow's name
    with _translated(dirname):
        os.makedirs(dirname, exist_ok=True)


def MkDir(dirname: Any) -> None:  # noqa: N802 - TensorFlow's name
    with _translated(dirname):
        os.mkdir(dirname)


def Remove(filename: Any) -> None:  # noqa: N802 - TensorFlow's name
    with _translated(filename):
        os.remove(filename)


def DeleteRecursively(dirname: Any) -> None:  # noqa: N802 - TensorFlow's name
    with _translated(dirname):
        shutil.rmtree(dirname)


def Rename(oldname: Any, newname: Any, overwrite: bool = False) -> None:  # noqa: N802 - TensorFlow's name
    """Moves a file; AlreadyExistsError if the new name is taken and not to be overwritten."""
    if not overwrite and os.path.exists(newname):
        raise AlreadyExistsError(None, None, f"{newname}; there is such a file already")
    with _translated(oldname):
        os.replace(oldname, newname)


def Copy(oldpath: Any, newpath: Any, overwrite: bool = False) -> None:  # noqa: N802 - TensorFlow's name
    """Copies a file; AlreadyExistsError if the new name is taken and not to be overwritten."""
    if not overwrite and os.path.exists(newpath):
        raise AlreadyExistsError(None, None, f"{newpath}; there is such a file already")
    with _translated(oldpath):
        shutil.copyfile(oldpath, newpath)


def Walk(top: Any, in_order: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:  # noqa: N802 - TensorFlow's name
    return os.walk(top, topdown=in_order)
