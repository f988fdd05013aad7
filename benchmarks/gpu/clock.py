"""Device time of kigraph's runs, by CUDA events through CuPy; each figure takes about as long as it is given."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kigraph.kernels.cupy import binding

__all__ = ["Clock", "Times", "timed"]

Runs = Sequence[Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Times:
    """Median and 95th percentile of ``runs`` passes, in ms."""

    ms: float
    p95_ms: float
    runs: int

    @classmethod
    def of(cls, times: Sequence[float]) -> Times:
        ordered = sorted(times)
        return cls(statistics.median(ordered), ordered[math.ceil(0.95 * len(ordered)) - 1], len(ordered))


def timed(once: Callable[[], float], seconds: float, most: int = 1000) -> Times:
    """``once()`` gives a pass's ms; after one pass to warm up as many as fit into the seconds, at least three."""
    once()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < most):
        times.append(once())
    return Times.of(times)


class Clock:
    """On a stream of its own, which is where a graph is captured."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._cuda: Any = binding.cupy().cuda
        self._stream = self._cuda.Stream(non_blocking=True)

    def launched(self, runs: Runs) -> Times:
        """All runs launched one after the other."""

        def once() -> None:
            for run in runs:
                run()

        with self._stream:
            return self._events(once)

    def captured(self, runs: Runs) -> Times:
        """One CUDA graph of all runs, replayed."""
        stream = self._stream
        with stream:
            for run in runs:
                run()
            stream.synchronize()
            stream.begin_capture(self._cuda.runtime.streamCaptureModeThreadLocal)
            try:
                for run in runs:
                    run()
            finally:
                graph = stream.end_capture()
            return self._events(lambda: graph.launch(stream))

    def called(self, call: Callable[[], object]) -> Times:
        """Host time of a call that waits for its result."""

        def once() -> float:
            start = time.perf_counter()
            call()
            return (time.perf_counter() - start) * 1e3

        return timed(once, self.seconds)

    def _events(self, once: Callable[[], None]) -> Times:
        def between() -> float:
            start, end = self._cuda.Event(), self._cuda.Event()
            start.record(self._stream)
            once()
            end.record(self._stream)
            end.synchronize()
            return float(self._cuda.get_elapsed_time(start, end))

        return timed(between, self.seconds)
