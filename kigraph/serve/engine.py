"""A bounded queue in front of worker threads.

An image that was accepted is answered: by its labels, by its error, or by 504 when its time is up. Whoever comes when the
queue is full (by count or by bytes) is told at once to come later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import Refused

__all__ = ["Engine", "Job"]

_LOG = logging.getLogger("kigraph.serve")

#: What the engine calls: encoded image, number of labels -> a prediction.
Classify = Callable[[bytes, int], Any]


@dataclass(slots=True, eq=False)
class Job:
    """One image on its way. ``cancelled``: nobody waits any more, a worker skips it."""

    data: bytes
    top: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    deadline: float
    queued: float = field(default_factory=time.monotonic)
    cancelled: bool = False


class Engine:
    """``workers`` threads that call ``classify``; at most ``queue_size`` images and ``queue_bytes`` bytes wait."""

    def __init__(
        self, classify: Classify, *, workers: int = 1, queue_size: int = 64, queue_bytes: int = 64 << 20
    ) -> None:
        self._classify = classify
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._size, self._bytes = queue_size, queue_bytes
        self._lock = threading.Lock()
        self._waiting = self._waiting_bytes = self._running = 0
        self._seconds: deque[float] = deque([0.05], maxlen=64)
        self.draining = False
        self._threads = [
            threading.Thread(target=self._work, name=f"kigraph-worker-{i}", daemon=True) for i in range(workers)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Images that wait or are being worked on."""
        return self._waiting + self._running

    @property
    def running(self) -> int:
        """Images that are being worked on."""
        return self._running

    def predicted_wait(self) -> float:
        """Seconds until an image that came now would be done, from the recent mean."""
        return (self.depth + 1) * (sum(self._seconds) / len(self._seconds)) / len(self._threads)

    def submit(self, data: bytes, top: int, seconds: float) -> Job:
        """Queues an image; Refused 503 while draining, 429 if the queue is full or the wait would outlast the deadline."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self.admit(len(data), seconds)
            job = Job(data, top, loop, loop.create_future(), time.monotonic() + seconds)
            self._waiting += 1
            self._waiting_bytes += len(data)
        self._queue.put(job)
        return job

    def admit(self, nbytes: int, seconds: float) -> None:
        """Raises what ``submit`` would raise now for an image of so many bytes; without the lock it is only likely."""
        wait = self.predicted_wait()
        retry = {"Retry-After": str(max(1, round(wait)))}
        if self.draining:
            raise Refused(503, "draining", "the service is shutting down", {"Retry-After": "5", "Connection": "close"})
        if self._waiting >= self._size or self._waiting_bytes + nbytes > self._bytes:
            raise Refused(429, "queue_full", "too many images are waiting; try again later", retry)
        if wait > seconds:
            raise Refused(429, "too_slow", f"the answer would take about {wait:.1f} s, longer than allowed", retry)

    async def result(self, job: Job) -> Any:
        """The prediction; Refused 504 when the job's time is up. Cancelling the caller cancels the job."""
        try:
            return await asyncio.wait_for(job.future, max(job.deadline - time.monotonic(), 0.001))
        except TimeoutError:
            raise Refused(504, "timeout", "the image was not classified in time") from None
        finally:
            job.cancelled = True

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                self._waiting -= 1
                self._waiting_bytes -= len(job.data)
                self._running += 1
            try:
                if not job.cancelled and time.monotonic() < job.deadline:
                    self._run(job)
            finally:
                with self._lock:
                    self._running -= 1

    def _run(self, job: Job) -> None:
        start = time.monotonic()
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._classify(job.data, job.top)
        except BaseException as caught:  # handed to whoever waits
            error = caught
        self._seconds.append(time.monotonic() - start)

        def deliver() -> None:
            if not job.future.done():
                if error is None:
                    job.future.set_result(result)
                else:
                    job.future.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the event loop has closed: nobody waits
            job.loop.call_soon_threadsafe(deliver)

    def drain(self) -> None:
        """Refuses what comes from now on; what was accepted is still worked on."""
        if not self.draining:
            self.draining = True
            _LOG.info("draining: %d images to go", self.depth)

    def stop(self, seconds: float = 20.0) -> bool:
        """Drains, waits for the workers, and says whether all of them finished."""
        self.drain()
        for _ in self._threads:
            self._queue.put(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(end - time.monotonic(), 0))
        return not any(t.is_alive() for t in self._threads)
