"""One progress bar for downloads, lists of files, measurements and training: rate and time left, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Bar", "Pace", "track"]

T = TypeVar("T")


class Bar:
    """``with Bar("measuring", 10) as bar:``, then ``bar.update()`` for each item. It is gone when the block ends.

    Nothing is drawn, and rich is not imported, before the first update (``bar.update(0)`` shows it at once), with ``quiet``,
    if standard error is no terminal, if there is nothing to do (``total`` 0), and without rich.
    ``total`` None: not known yet. ``in_bytes``: the items are bytes.
    """

    def __init__(self, what: str, total: int | None = None, *, quiet: bool = False, in_bytes: bool = False) -> None:
        self._what, self._total, self._in_bytes = what, total, in_bytes
        self.visible = not quiet and total != 0 and sys.stderr.isatty()
        self._bar: Progress | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def update(self, done: int | None = None, total: int | None = None, what: str | None = None) -> None:
        """``done`` items are done (None: one more) of ``total``; ``what``: the bar's text from now on."""
        bar = self._started()
        if bar is None:
            return
        changes: dict[str, Any] = {"advance": 1} if done is None else {"completed": done}
        if total is not None:
            changes["total"] = total
        bar.update(bar.task_ids[0], description=what, **changes)

    def write(self, line: str) -> None:
        """A line above the bar, which stays when the bar goes; nothing where no bar is seen."""
        bar = self._started()
        if bar is not None:
            bar.console.print(line, markup=False, highlight=False)

    def _started(self) -> Progress | None:
        if self._bar is None and self.visible:
            try:
                self._bar = _made(self._in_bytes)
            except ImportError:
                self.visible = False
                return None
            self._bar.add_task(self._what, total=self._total)
            self._bar.start()
        return self._bar


class Pace:
    """The progress of a long run: a bar on a terminal, elsewhere a line on standard error every ``every`` seconds (0: none).

    ``with Pace("classifying", 2000) as pace:``, then ``pace.update(done, failed)`` as often as one likes. ``before``: how many of
    ``total`` an earlier run did. The rate is that since the start of this run, in items a second.
    """

    def __init__(
        self, what: str, total: int, *, before: int = 0, every: float = 30.0, unit: str = "images", quiet: bool = False
    ) -> None:
        self._what, self._total, self._before, self._every, self._unit = what, total, before, every, unit
        self._bar = Bar(what, total, quiet=quiet)
        self._lines = not quiet and not self._bar.visible and every > 0
        self._start = self._next = 0.0

    def __enter__(self) -> Pace:
        self._bar.__enter__()
        self._start = time.monotonic()
        self._next = self._start + self._every
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def skip(self, before: int) -> None:
        """``before`` of the total turn out to be done."""
        self._before = before

    def update(self, done: int, failed: int = 0) -> None:
        """``done`` of the total, ``failed`` of them without a result."""
        wrong = f" | {failed:,} failed" if failed else ""
        if self._bar.visible:
            self._bar.update(done, what=self._what + wrong)
        now = time.monotonic()
        if not self._lines or now < self._next:
            return
        self._next = now + self._every
        rate = (done - self._before) / (now - self._start)
        left = f" | {_duration((self._total - done) / rate)} left" if rate else ""
        text = f"{self._what} {done:,} of {self._total:,} {self._unit} | {rate:.1f}/s{left}{wrong}"
        print(text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{hours:.1f} h"


def track(items: Sequence[T], what: str, quiet: bool = False) -> Iterator[T]:
    """The items, with a bar if there are several."""
    with Bar(what, len(items), quiet=quiet or len(items) < 2) as bar:
        bar.update(0)
        for item in items:
            yield item
            bar.update()


def _made(in_bytes: bool) -> Progress:
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f}/s" if speed < 1000 else f"{speed:.0f}/s")

    count = (
        (progress.DownloadColumn(), progress.TransferSpeedColumn())
        if in_bytes
        else (progress.MofNCompleteColumn(), Rate())
    )
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), *count,
        progress.TimeRemainingColumn(), console=Console(stderr=True), transient=True,
    )  # fmt: skip
