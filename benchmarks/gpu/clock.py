"""Device time of kigraph's runs, by CUDA events through CuPy; each figure takes about as long as it is given."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kigraph.kernels.cupy import binding

__all__ = ["Clock", "Times"]

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


class Clock:
    """On a stream of its own, which is where a graph is captured.

    Passes are queued one behind the other with an event between two of them, as torch_common's clock does: no wait of the host
    is in a time, but where launching takes longer than the device, a pass takes as long as its launches.
    """

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
            return self._queued(once)

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
            return self._queued(lambda: graph.launch(stream))

    def called(self, call: Callable[[], object]) -> Times:
        """Host time of a call that waits for its result."""

        def once() -> float:
            start = time.perf_counter()
            call()
            return (time.perf_counter() - start) * 1e3

        once()
        return Times.of([once() for _ in range(self._count(once()))])

    def _count(self, ms: float) -> int:
        return max(3, min(200, int(self.seconds * 1e3 / max(ms, 1e-3))))

    def _queued(self, once: Callable[[], None]) -> Times:
        self._between(once, 1)
        (first,) = self._between(once, 1)
        return Times.of(self._between(once, self._count(first)))

    def _between(self, once: Callable[[], None], count: int) -> list[float]:
        """ms of ``count`` passes."""
        events = [self._cuda.Event() for _ in range(count + 1)]
        events[0].record(self._stream)
        for event in events[1:]:
            once()
            event.record(self._stream)
        events[-1].synchronize()
        return [float(self._cuda.get_elapsed_time(a, b)) for a, b in pairwise(events)]
