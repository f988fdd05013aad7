"""One JSON line per figure, on the disk before the next figure is measured: a part that is killed loses nothing."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

__all__ = ["Recorder", "output_folder", "read"]

Scalar = float | int | str | bool | None


def output_folder() -> Path:
    """``$OUT``, else ``out/gpu`` under the current folder; made if it is not there."""
    folder = Path(os.environ.get("OUT") or Path("out") / "gpu")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Recorder:
    """Writes the lines of one part; ``failed`` counts the figures that were wrong.

    Used with ``with``: an exception that ends the part becomes its last line, and goes on.
    """

    def __init__(self, part: str, *, dry: bool = False) -> None:
        self.part, self.dry, self.failed = part, dry, 0
        self._path = output_folder() / "results.jsonl"

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, SystemExit):
            self.line("error", f"{type(error).__name__}: {error}"[:2000], ok=False)

    def line(
        self, figure: str, value: Scalar = None, unit: str = "", *, ok: bool | None = None, **more: Scalar
    ) -> None:
        """Appends one figure. ``ok``: whether a result was right; None for what is only measured.

        ``more``: further fields, such as batch=8, precision="bf16", bound=1e-4. A number that JSON has no word for
        (NaN, infinity) is written as a string.
        """
        record: dict[str, Scalar] = {"part": self.part, "figure": figure, "value": value, "unit": unit, **more}
        if ok is not None:
            record["ok"] = bool(ok)
            self.failed += not ok
        if self.dry:
            record["dry"] = True
        record["time"] = round(time.time(), 3)
        text = json.dumps({k: _plain(v) for k, v in record.items()}) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        shown = f"{value:.5g}" if isinstance(value, float) else value
        extra = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in more.items())
        verdict = {None: "", True: "ok", False: "WRONG"}[ok]
        print(f"{self.part}: {figure} {shown} {unit} {extra} {verdict}".replace("  ", " ").rstrip(), flush=True)

    def skip(self, figure: str, why: str) -> None:
        """A figure that cannot be had here, with the reason."""
        self.line(figure, None, skipped=why)

    @contextmanager
    def attempt(self, figure: str, wrong: bool = True, **more: Scalar) -> Iterator[None]:
        """An exception inside becomes the figure's line, and the next figure is measured nevertheless.

        wrong: the figure was a check, so that it counts as failed; else it is only one that could not be measured.
        """
        try:
            yield
        except Exception as error:
            text = f"{type(error).__name__}: {error}"[:1000]
            if wrong:
                self.line(figure, text, ok=False, **more)
            else:
                self.line(figure, None, failed=text, **more)

    def rate(self) -> int:
        """The part's exit status: 1 if a figure was wrong."""
        return int(self.failed > 0)


def _plain(value: Scalar) -> Scalar:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> list[dict[str, Scalar]]:
    """The records of a file; a line that was cut off by a killed part is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
