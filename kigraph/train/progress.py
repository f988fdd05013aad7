"""The progress bar of a training run; silent without a terminal or without rich."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

__all__ = ["Progress"]


class Progress:
    """``with Progress(epochs, batches) as bar:`` one bar over all batches, with the running loss."""

    def __init__(self, epochs: int, batches: int, *, enabled: bool) -> None:
        self._bar: Any = None
        self._total = max(epochs, 0) * batches
        if enabled and self._total and sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
                from rich.progress import Progress as RichProgress
            except ImportError:
                return
            self._bar = RichProgress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=Console(stderr=True),
            )  # fmt: skip

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("training", total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def batch(self, loss: float) -> None:
        """One batch is done; ``loss`` is the epoch's mean so far."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=f"loss {loss:.4g}")

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """One epoch is done."""
        if self._bar is not None:
            self._bar.console.print("  ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
