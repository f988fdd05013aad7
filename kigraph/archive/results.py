"""One file of results: begun or resumed, appended to, finished. Killed at any instant, it has every row that was appended, once."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from types import TracebackType

from ..errors import FeedError
from .lines import LineFile, read_lines
from .parquet import read_parquet, remove_parts, require_pyarrow, write_parquet
from .rows import Row, Setup, columns, key_of, key_of_path

__all__ = ["FORMATS", "JOURNAL", "Results", "open_results"]

FORMATS = (".parquet", ".csv", ".jsonl")
#: What is appended to the name of a Parquet file for that of its journal.
JOURNAL = ".journal.jsonl"


def _nothing(count: int) -> None:
    """Progress that nobody sees."""


class Results:
    """``done`` knows the images that have a row; ``rows`` and ``failed`` count them. A context manager.

    Use ``open_results``. Leaving the block keeps the rows; only ``finish`` makes the Parquet file.
    """

    def __init__(self, path: str, setup: Setup) -> None:
        self.path, self.setup = path, setup
        self.rows = self.failed = 0
        self._parquet, self._csv = path.endswith(".parquet"), path.endswith(".csv")
        self._place = path + JOURNAL if self._parquet else path
        self._done: set[bytes] = set()
        self._finished: set[bytes] = set()
        self._old = path if self._parquet and os.path.exists(path) else None
        self._file = LineFile(self._place, setup.top, as_csv=self._csv)
        try:
            if self._old is not None:
                self._take(read_parquet(path, columns(0)), path)
                self._finished = set(self._done)
            self._take(self._file.rows(), self._place)
            if self._parquet:
                remove_parts(path)
            self._file.begin()
        except BaseException:
            if self._file.empty:
                os.unlink(self._place)  # it was created just now
            self._file.close()
            raise

    def _take(self, rows: Iterator[Row], where: str) -> None:
        for row in rows:
            self.setup.check(row, where)
            self._count(key_of(row), row["status"])

    def _count(self, key: bytes, status: str) -> None:
        if key not in self._done:
            self._done.add(key)
            self.rows += 1
            self.failed += status != "ok"

    def done(self, path: str) -> bool:
        """Whether an image has its row."""
        return key_of_path(path) in self._done

    def append(self, row: Row) -> None:
        """A row, if its image has none yet. OSError, such as for a full disk, leaves the rows before it."""
        key = key_of(row)
        if key not in self._done:
            self._file.append(row)
            self._count(key, row["status"])

    def finish(self, progress: Callable[[int], None] = _nothing) -> None:
        """All rows are there. Parquet: written from the journal, which goes; interrupted, it can be done again."""
        if self._parquet:
            if self._old is None or len(self._done) > len(self._finished):
                fresh = (r for r in read_lines(self._place, as_csv=False) if key_of(r) not in self._finished)
                write_parquet(self.path, self.setup.top, self._old, fresh, progress)
                _flush_names(self.path)  # before its rows go from the journal
            os.unlink(self._place)
        self._file.close()

    def close(self) -> None:
        """What was appended stays, to be resumed."""
        self._file.close()

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _flush_names(path: str) -> None:
    """The file's name is on the disk. Some file systems of networks cannot do that for a folder."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_results(path: str | os.PathLike[str], setup: Setup, *, resume: bool = False) -> Results:
    """A file of results, its format by the suffix: .parquet, .csv or .jsonl. ``resume``: goes on with it if it exists.

    FeedError for another suffix, for a file that exists without ``resume``, for one that another process writes, and for rows of
    another model, card, labels, top-k or shard. OSError where it cannot be written.
    """
    name = os.fspath(path)
    if not name.endswith(FORMATS):
        raise FeedError(f"{name[:200]!r}: results are written as {', '.join(FORMATS)}; name the file so")
    if name.endswith(".parquet"):
        require_pyarrow()
    folder = os.path.dirname(name) or "."
    if not os.path.exists(folder):
        raise FileNotFoundError(
            errno.ENOENT, f"there is no folder {folder!r}; make it, or name a file in another one", name
        )
    existing = next((p for p in (name, name + JOURNAL) if os.path.lexists(p)), None)
    if existing is not None and not resume:
        raise FeedError(f"{existing}: exists already; --resume (resume=True) goes on with it, or give another file")
    return Results(name, setup)
