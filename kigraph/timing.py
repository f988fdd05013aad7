"""Measuring how long something takes: repeated until the figure is reliable, within a budget of time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Timing", "measure"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per call: the median of ``runs`` calls, with the best and the worst. The first call is not among them."""

    median: float
    best: float
    worst: float
    runs: int
    first: float

    def to_json(self) -> dict[str, Any]:
        return {
            "median_ms": self.median * 1e3,
            "best_ms": self.best * 1e3,
            "worst_ms": self.worst * 1e3,
            "runs": self.runs,
            "first_ms": self.first * 1e3,
        }


def measure(call: Callable[[], Any], *, repeats: int = 20, budget: float = 5.0, least: int = 3) -> Timing:
    """Calls once to warm up (compiling, packing weights), then up to ``repeats`` times within ``budget`` seconds.

    At least ``least`` calls are made, but only one more than the warm-up if a single call takes a third of the budget.
    """
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < repeats:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        spent = time.perf_counter() - begin
        enough = 1 if times[0] > budget / 3 else least
        if len(times) >= enough and spent + times[-1] > budget:
            break
    return Timing(statistics.median(times), min(times), max(times), len(times), first)
