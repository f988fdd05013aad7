"""Tables, JSON and remarks. Results go to standard output, everything about them to standard error.

Whatever comes from a file (labels, node names, error texts) is stripped of control characters before it reaches a terminal.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import KigraphError, SettingsError
from ..kernels.atomic_files import check_writable
from ..kernels.settings import LOG
from ..progress import Bar

if TYPE_CHECKING:
    from ..weights.transfer import Progress

__all__ = [
    "clean",
    "download_progress",
    "note",
    "print_json",
    "print_table",
    "size_text",
    "warnings_as_notes",
    "writable",
]


def clean(text: object) -> str:
    """Text for a terminal: everything unprintable becomes '?'."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def print_json(value: Any) -> None:
    """One JSON document on standard output; numbers that JSON lacks (NaN) become null."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    text = json.dumps(_finite(value), indent=2, ensure_ascii=encoding != "utf8")
    # A file's name that is no UTF-8 has lone surrogates, whose escape in JSON is just what backslashreplace writes.
    print(text.encode("utf-8", "backslashreplace").decode())


def note(text: str) -> None:
    """A remark on standard error; it may have several lines."""
    print("\n".join(clean(line) for line in text.split("\n")), file=sys.stderr)


class _Notes(logging.Handler):
    """What is logged as remarks, where nothing else writes it to standard error: warnings, or what KIGRAPH_LOG asks for."""

    def emit(self, record: logging.LogRecord) -> None:
        if not any(getattr(h, "stream", None) is sys.stderr for h in logging.getLogger().handlers):
            note(f"kigraph: {record.levelname.lower()}: {' '.join(record.getMessage().split())}")


@contextlib.contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Inside, warnings of the logger "kigraph" are remarks on standard error, one line each.

    KIGRAPH_LOG sets another level; an invalid one is told by what reads all settings.
    """
    level = "warning"
    with contextlib.suppress(SettingsError):
        level = LOG.get() or level
    handler, logger = _Notes(level.upper()), logging.getLogger("kigraph")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> None:
    """An aligned table. On a terminal it is drawn by rich; in a pipe it is plain text with nothing cut off.

    ``right``: columns that are aligned to the right.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    heads = [clean(name) for name in columns]
    if not sys.stdout.isatty():
        _print_plain([heads, *cells], right)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(heads):
        table.add_column(Text(name), justify="right" if i in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


@contextlib.contextmanager
def download_progress(quiet: bool) -> Iterator[Progress | None]:
    """A callback that shows a download's progress on standard error; None if it would not be visible."""
    with Bar("downloading", quiet=quiet, in_bytes=True) as bar:
        yield bar.update if bar.visible else None


def writable(path: str | os.PathLike[str]) -> None:
    """KigraphError if something other than a file is where a file is to be written: nothing waits for a pipe's reader."""
    try:
        check_writable(path)
    except OSError as error:
        raise KigraphError(f"{os.fspath(path)[:200]}: cannot be written: {error.strerror}") from None


def size_text(count: int | None) -> str:
    """A number of bytes for people: 88.9 MB."""
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def _print_plain(rows: Sequence[Sequence[str]], right: Sequence[int]) -> None:
    widths = [max(_places(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            room = " " * (width - _places(cell))
            cells.append(room + cell if i in right else cell + room)
        print("  ".join(cells).rstrip())


def _places(text: str) -> int:
    """Columns that a text takes on a terminal: two for a wide letter (Chinese, Japanese, Korean), none for a mark over another."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value
