"""CSV and JSON Lines that are appended to, one write for each row. What a killed writer left half-written is cut off."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any

from ..errors import FeedError
from ..kernels.atomic_files import check_writable, open_regular, replacing
from .rows import Row, columns, top_of

__all__ = ["LineFile", "read_lines"]

_LOG = logging.getLogger("kigraph")
#: Seconds between two flushes to the disk: what a power failure can cost; a killed process costs no row.
_FLUSH = 5.0


class LineFile:
    """A file of rows that this process alone writes; created if it is missing. ``as_csv``: else JSON Lines.

    First ``rows``, then ``begin``, which cuts off a last row that is not complete: a file of something else is never changed.
    FeedError if another process has it open.
    """

    def __init__(self, path: str, top: int, *, as_csv: bool) -> None:
        self.path, self._columns, self._csv = path, columns(top), as_csv
        check_writable(path)
        self._descriptor = _locked(path)
        self._end, self._flushed = 0, time.monotonic()

    def rows(self) -> Iterator[Row]:
        """The complete rows; FeedError where it is not a file of results."""
        self._end = _complete(self.path, self._csv)
        return read_lines(self.path, as_csv=self._csv, size=self._end)

    def begin(self) -> None:
        """Makes it ready for ``append``."""
        os.ftruncate(self._descriptor, self._end)
        if self._csv and not self._end:
            self._write(",".join(self._columns) + "\n")

    @property
    def empty(self) -> bool:
        """Whether it has no byte."""
        return not os.fstat(self._descriptor).st_size

    def append(self, row: Row) -> None:
        """One more row. If it fails (a full disk), the file ends with the row before."""
        self._write(self._line(row))
        if time.monotonic() - self._flushed > _FLUSH:
            os.fsync(self._descriptor)
            self._flushed = time.monotonic()

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Nothing but ``rows``, in one step: until then the file is as it was. Nothing can be appended afterwards."""
        with replacing(os.path.realpath(self.path)) as file:  # what a link leads to, which the rows are in
            os.fchmod(file.fileno(), os.fstat(self._descriptor).st_mode & 0o777)
            file.write((",".join(self._columns) + "\n").encode() if self._csv else b"")
            file.writelines(self._line(row).encode("utf-8") for row in rows)

    def _line(self, row: Row) -> str:
        if self._csv:
            return ",".join(_field(row[name]) for name in self._columns) + "\n"
        return json.dumps(row) + "\n"

    def close(self) -> None:
        """The rows are on the disk."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _write(self, text: str) -> None:
        data = memoryview(text.encode("utf-8"))
        try:
            done = 0
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = self.path
            raise
        self._end += len(data)


def read_lines(path: str, *, as_csv: bool, size: int | None = None) -> Iterator[Row]:
    """The rows of a file, or of its first ``size`` bytes; FeedError where it is not a file of results."""
    with open_regular(path) as file:
        lines = _first(file, os.fstat(file.fileno()).st_size if size is None else size)
        yield from _csv_rows(lines, path) if as_csv else _json_rows(lines, path)


def _first(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (line := file.readline()):
        size -= len(line)
        yield line


def _csv_rows(lines: Iterator[bytes], path: str) -> Iterator[Row]:
    reader = csv.reader((line.decode("utf-8") for line in lines), strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        if not top_of(header):
            raise _foreign(path, f"its columns are {', '.join(header)[:120]}")
        for record in reader:
            if len(record) != len(header):
                raise _foreign(path, f"line {reader.line_num} has {len(record)} fields instead of {len(header)}")
            yield dict(zip(header, record, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise _foreign(path, f"line {reader.line_num}: {error}") from None


def _json_rows(lines: Iterator[bytes], path: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _foreign(path, f"line {number}: {error}") from None
        if not isinstance(row, dict) or not top_of(row):
            raise _foreign(path, f"line {number} is no row of results")
        yield row


def _foreign(path: str, found: str) -> FeedError:
    return FeedError(f"{path}: not a file of results that can be resumed: {found}; give another file")


def _complete(path: str, as_csv: bool) -> int:
    """Bytes up to the end of the last complete row: a line's end in a quoted field of CSV ends no row.

    FeedError if there is none, and what there is does not begin like a file of results.
    """
    end = at = quotes = 0
    start = b""
    with open_regular(path) as file:
        for line in file:
            start = start or line[:100]
            at += len(line)
            quotes += line.count(b'"') if as_csv else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                end = at
    begins = ",".join(columns(0)[:4]).encode() if as_csv else b'{"path": "'
    if not end and not begins.startswith(start[: len(begins)]):
        raise _foreign(path, f"it starts with {start[:20]!r}")
    return end


def _field(value: Any) -> str:
    """A field of CSV (RFC 4180). The csv module would leave a lone carriage return unquoted."""
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in '",\r\n') else text


def _locked(path: str) -> int:
    """A descriptor for appending that no other process has: a lock that the system takes back when the process ends."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FeedError(f"{path}: another process is writing it; wait for its end, or give another file") from None
        except OSError as error:
            _LOG.warning("%s: this file system has no locks (%s): start one writer only", path, error.strerror)
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # its last writer has just removed it
