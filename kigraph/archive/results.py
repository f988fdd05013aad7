"""One file of results: begun or resumed, appended to, finished. Killed at any instant, it has every row that was appended.

An image has one row. Where an image with an error is tried again, its new row comes after the old one, which goes when the file is
finished: until then the last row of an image counts.
"""

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
    """``done`` knows the images that have a row; ``rows`` and ``failed`` count them. A context manager: use ``open_results``.

    retry: images whose row is an error are not done, and a row for one of them takes the place of the old one.
    Leaving the block keeps the rows; only ``finish`` makes the Parquet file.
    """

    def __init__(self, path: str, setup: Setup, *, retry: bool = False) -> None:
        self.path, self.setup, self._retry = path, setup, retry
        self._parquet, self._csv = path.endswith(".parquet"), path.endswith(".csv")
        self._place = path + JOURNAL if self._parquet else path
        self._done: set[bytes] = set()
        self._errors: dict[bytes, str] = {}
        #: Images with more than one row: how many more, and which of all counts (0, the first, if it is not said).
        self._more: dict[bytes, int] = {}
        self._chosen: dict[bytes, int] = {}
        self._fresh = False  # whether the journal has rows that the Parquet file lacks
        self._old = path if self._parquet and os.path.exists(path) else None
        self._file = LineFile(self._place, setup.top, as_csv=self._csv)
        try:
            if self._old is not None:
                self._take(read_parquet(path, columns(0)), path)
                self._fresh = False
            self._take(self._file.rows(), self._place)
            remove_parts(os.path.realpath(path))
            self._file.begin()
        except BaseException:
            if self._file.empty:
                os.unlink(self._place)  # it was created just now
            self._file.close()
            raise

    def _take(self, rows: Iterator[Row], where: str) -> None:
        for row in rows:
            self.setup.check(row, where)
            self._count(key_of(row), row)

    def _count(self, key: bytes, row: Row) -> None:
        if key in self._done:
            self._more[key] = self._more.get(key, 0) + 1
            if not self._replaces(key, row):
                return
            self._chosen[key] = self._more[key]
        self._fresh = True
        self._done.add(key)
        if row["status"] == "ok":
            self._errors.pop(key, None)
        else:
            self._errors[key] = row["error"]

    def _replaces(self, key: bytes, row: Row) -> bool:
        """Whether a row says something else than the error that its image has; a label is never replaced."""
        return key in self._errors and (row["status"] == "ok" or row["error"] != self._errors[key])

    @property
    def rows(self) -> int:
        """Images that have a row."""
        return len(self._done)

    @property
    def failed(self) -> int:
        """Images whose row is an error."""
        return len(self._errors)

    def done(self, path: str) -> bool:
        """Whether nothing is to be done for an image: it has its row, and that is no error to be tried again."""
        key = key_of_path(path)
        return key in self._done and not (self._retry and key in self._errors)

    def has(self, path: str) -> bool:
        """Whether an image has a row."""
        return key_of_path(path) in self._done

    def append(self, row: Row) -> None:
        """A row, if its image has none yet, or an error that is tried again. OSError, such as for a full disk, leaves the rows before."""
        key = key_of(row)
        if key not in self._done or (self._retry and self._replaces(key, row)):
            self._file.append(row)
            self._count(key, row)

    def finish(self, progress: Callable[[int], None] = _nothing) -> None:
        """All rows are there. Parquet: written from the journal, which goes; interrupted, it can be done again."""
        if self._parquet:
            if self._old is None or self._fresh:
                counts = self._counts()
                fresh = (row for row in read_lines(self._place, as_csv=False) if counts(row))
                write_parquet(self.path, self.setup.top, self._old, fresh, progress, counts if self._more else None)
                _flush_names(self.path)  # before its rows go from the journal
            os.unlink(self._place)
        elif self._more:
            counts = self._counts()
            self._file.rewrite(row for row in read_lines(self._place, as_csv=self._csv) if counts(row))
        self._file.close()

    def _counts(self) -> Callable[[Row], bool]:
        """Whether a row is the one that counts of its image; to be asked of all rows in their order."""
        seen: dict[bytes, int] = {}

        def counts(row: Row) -> bool:
            key = key_of(row)
            if key not in self._more:
                return True
            place = seen.get(key, 0)
            seen[key] = place + 1
            return place == self._chosen.get(key, 0)

        return counts

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


def open_results(path: str | os.PathLike[str], setup: Setup, *, resume: bool = False, retry: bool = False) -> Results:
    """A file of results, its format by the suffix: .parquet, .csv or .jsonl. ``resume``: goes on with it if it exists.

    retry: with ``resume``, images whose row is an error are tried again; the new row takes the place of the old one.
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
    return Results(name, setup, retry=retry)
