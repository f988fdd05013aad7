"""A bounded queue for worker threads.

An image that was accepted is answered: by its labels, by its error, by 429 as soon as the images ahead of it turn out to take
longer than it can wait, or by 504 when its deadline passes while a worker has it. A request that comes when the queue is full
(by count or by bytes), or when the wait would outlast the deadline, gets 429 immediately: before the body is read, so images
that are being received count as if they waited.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import Refused

__all__ = ["Engine", "Estimate", "Job"]

_LOG = logging.getLogger("kigraph.serve")

#: The part of a deadline that a predicted wait may fill; the rest is a reserve for errors of the prediction.
_MARGIN = 0.8
#: Seconds between two checks whether the waiting requests can still be answered in time.
_LOOK = 0.25
#: Seconds: the event loop pauses when it has worked for ``_BURST``, else ``_GATHER`` after a refusal; for ``_LONGEST_REST`` at most.
_BURST, _GATHER, _LONGEST_REST = 0.002, 0.0005, 0.02


class Estimate:
    """Seconds of a job, as TCP estimates a round trip: an exponentially weighted mean and mean deviation (RFC 6298)."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.reset(seconds)

    def reset(self, seconds: float) -> None:
        """Forgets everything but one measurement."""
        self.mean, self.deviation = seconds, seconds / 2

    def add(self, seconds: float) -> None:
        """One more measurement."""
        self.deviation += (abs(seconds - self.mean) - self.deviation) / 8
        self.mean += (seconds - self.mean) / 8

    def total(self, count: float, least: float = 0.0) -> float:
        """Seconds that ``count`` jobs take one after the other, each at least ``least``; single outliers average out."""
        return count * max(self.mean, least) + 2 * self.deviation * math.sqrt(count)


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way. ``started``: when a worker took it. A worker skips a job that has left the queue."""

    data: Any
    size: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    deadline: float
    queued: float = field(default_factory=time.monotonic)
    started: float | None = None


@dataclass(slots=True, eq=False)
class _Place:
    """Room for an image that is being received."""

    engine: Engine
    nbytes: int

    def grow(self, nbytes: int) -> None:
        """Makes it room for ``nbytes`` in all; Refused 429 if that is too much for what may wait."""
        if nbytes > self.nbytes:
            self.engine.reserve(nbytes - self.nbytes)
            self.nbytes = nbytes


def _retired() -> Refused:
    message = "the model was unloaded or replaced while the request arrived; try again"
    return Refused(503, "model_changed", message, {"Retry-After": "1"})


class Engine:
    """``workers`` threads that call ``work(data)``; at most ``queue_size`` images and ``queue_bytes`` bytes wait.

    lanes: how many images are finished at a time where the threads wait for something that they share; default: one per thread.
    pace: gives the seconds of an image in its lane; default: what ``work`` takes.
    """

    def __init__(
        self,
        work: Callable[[Any], Any],
        *,
        workers: int = 1,
        queue_size: int = 64,
        queue_bytes: int = 64 << 20,
        lanes: int | None = None,
        pace: Callable[[], float] | None = None,
    ) -> None:
        self._do, self._lanes, self._pace = work, lanes or workers, pace
        self._local = threading.local()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._size, self._bytes = queue_size, queue_bytes
        self._lock = threading.RLock()
        self._waiting = self._waiting_bytes = self._running = self._coming = self._coming_bytes = 0
        self.estimate = Estimate()
        #: Jobs that wait, in their order; jobs that workers have.
        self._line: dict[Job, None] = {}
        self._now: set[Job] = set()
        self._looker: asyncio.TimerHandle | None = None
        #: draining: takes no new requests; retired: because its model goes, not the service. _ended: its workers go.
        self.draining = self.retired = self._ended = False
        self._worked = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._threads: list[threading.Thread] = []
        self._workers, self._started = workers, False

    def start(self) -> None:
        """Starts the threads."""
        self._started = True
        self.widen(self._workers)

    def widen(self, workers: int) -> None:
        """Makes it so many threads, if it has fewer."""
        while self._started and len(self._threads) < workers:
            thread = threading.Thread(target=self._work, name=f"kigraph-worker-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    @contextlib.contextmanager
    def more(self, images: int) -> Iterator[None]:
        """For a worker whose request turns out to have so many images more; Refused 429 if there is no room for them."""
        with self._lock:
            if images > 0 and self._waiting + self._running + images > self._size + 1:
                raise Refused(429, "queue_full", "too many images are waiting; try again later", {"Retry-After": "1"})
            self._running += images
        try:
            yield
        finally:
            with self._lock:
                self._running -= images

    def abandoned(self) -> Callable[[], bool]:
        """For a worker: whether nobody waits any more for the request that it has."""
        job: Job = self._local.job
        return job.future.done

    def waited(self) -> float:
        """For a worker: seconds that the request which it has was queued."""
        job: Job = self._local.job
        return (job.started or job.queued) - job.queued

    @property
    def depth(self) -> int:
        """Images that wait or are being classified."""
        return self._waiting + self._running

    @property
    def running(self) -> int:
        """Images that are being classified."""
        return self._running

    def predicted_wait(self, ahead: int = 0) -> float:
        """Seconds until an image that came now would be done; ``ahead``: images besides those that wait or run."""
        return self.estimate.total((self.depth + ahead + 1) / self._lanes, self._longest())

    def _longest(self) -> float:
        """Seconds that the workers have been at their jobs, at least: heavier images than before show in it first."""
        now = time.monotonic()
        with self._lock:
            started = [job.started for job in self._now if job.started is not None]
        if len(started) < max(self._workers, len(self._threads)):
            return 0.0
        return min(now - at for at in started) * self._lanes / len(started)

    def reserve(self, nbytes: int) -> None:
        """Room for more bytes of an image that is being received; Refused 429 if there is none."""
        with self._lock:
            if self._waiting_bytes + self._coming_bytes + nbytes > self._bytes:
                message = "too many bytes are waiting; try again later"
                raise Refused(429, "queue_full", message, {"Retry-After": "1"})
            self._coming_bytes += nbytes

    def crowded(self, nbytes: int, seconds: float) -> bool:
        """Whether an image that may take ``seconds`` would have room if none were being received."""
        if self.draining or not self._coming or self.refusal(nbytes, seconds) is None:
            return False
        room = self._waiting < self._size and self._waiting_bytes + nbytes <= self._bytes
        return room and self.predicted_wait() <= seconds * _MARGIN

    @contextlib.contextmanager
    def coming(self, nbytes: int, seconds: float) -> Iterator[_Place]:
        """A place for an image that is being received; raises what ``refusal`` returns."""
        with self._lock:
            if (refused := self.refusal(nbytes, seconds)) is not None:
                raise refused
            self._coming += 1
            self._coming_bytes += nbytes
        place = _Place(self, nbytes)
        try:
            yield place
        finally:
            with self._lock:
                self._coming -= 1
                self._coming_bytes -= place.nbytes

    def refusal(self, nbytes: int, seconds: float) -> Refused | None:
        """The refusal of an image of that size now: 503 while draining, 429 if it would not be answered in time."""
        if self.retired:
            return _retired()
        if self.draining:
            return Refused(503, "draining", "the service is shutting down", {"Retry-After": "5", "Connection": "close"})
        wait = self.predicted_wait(self._coming)
        full = self._waiting + self._coming >= self._size
        if not full and self._waiting_bytes + self._coming_bytes + nbytes <= self._bytes and wait <= seconds * _MARGIN:
            return None
        retry = {"Retry-After": str(max(1, round(wait)))}
        if wait > seconds * _MARGIN:
            return Refused(429, "too_slow", f"the answer would take about {wait:.1f} s, longer than allowed", retry)
        return Refused(429, "queue_full", "too many images are waiting; try again later", retry)

    def give_way(self) -> None:
        """Makes the event loop pause after a refusal, for twice the time that it has worked, so that the workers run.

        Workers release the GIL at every kernel, and a busy event loop takes it each time. Each run of the event loop also
        evicts the workers' data from the caches, so refusals that come together share one pause, of a quarter of a job
        if that is more. Inception v3 at ten times its capacity then answers 92 % of it, the median of seven runs; before, each
        millisecond of work was followed by 2 ms of pause: 86 and 88 %.
        """
        if not self._running:
            return
        if time.thread_time() - self._worked > _BURST:
            self._rest(0.0)
        elif self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(_GATHER, self._rest, self.estimate.mean / 4)

    def _rest(self, least: float) -> None:
        """A pause of at least ``least`` seconds; everything on the event loop waits meanwhile."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        worked = time.thread_time() - self._worked
        time.sleep(min(max(2 * worked, least), _LONGEST_REST))
        self._worked = time.thread_time()

    def submit(self, data: Any, size: int, seconds: float) -> Job:
        """Queues a request that has reserved its place; Refused 429 if the wait would outlast the deadline by now."""
        loop = asyncio.get_running_loop()
        if (wait := self.predicted_wait()) > seconds:
            retry = {"Retry-After": str(max(1, round(wait)))}
            raise Refused(429, "too_slow", f"the answer would take about {wait:.1f} s, longer than allowed", retry)
        job = Job(data, size, loop, loop.create_future(), time.monotonic() + seconds)
        with self._lock:
            if self._ended:  # its body has arrived after the workers were told to go
                raise _retired() if self.retired else Refused(503, "draining", "the service is shutting down")
            self._waiting += 1
            self._waiting_bytes += size
            self._line[job] = None
            self._queue.put(job)
        if self._looker is None:
            self._looker = loop.call_later(_LOOK, self._look)
        return job

    async def result(self, job: Job) -> Any:
        """The prediction; Refused 429 when it cannot be there in time any more, 504 when the time is up while a worker has
        the job. Cancelling the caller cancels the job."""
        try:
            await asyncio.wait((job.future,), timeout=max(job.deadline - time.monotonic(), 0))
            if not job.future.done():
                if job.started is None:
                    raise self._too_late()
                raise Refused(504, "timeout", "the image was not classified in time")
            return job.future.result()
        finally:
            job.future.cancel()
            self._cancel(job)

    def _cancel(self, job: Job) -> None:
        """Nobody waits for this job any more: no worker runs it, and it takes no room from others."""
        with self._lock:
            if self._leave(job):
                job.data = None

    def _leave(self, job: Job) -> bool:
        """Takes a job out of the queue, under the lock; False if it has left already."""
        if job not in self._line:
            return False
        del self._line[job]
        self._waiting -= 1
        self._waiting_bytes -= job.size
        return True

    def _in_time(self, job: Job, start: float) -> bool:
        return start + self.estimate.total(max(1.0, self._running / self._lanes)) <= job.deadline

    def _too_late(self) -> Refused:
        retry = {"Retry-After": str(max(1, round(self.predicted_wait())))}
        return Refused(429, "too_slow", "the images ahead take longer than expected; try again later", retry)

    def _look(self) -> None:
        """Refuses with 429 the waiting requests that would be classified too late for an answer; on the event loop."""
        with self._lock:
            done, each = time.monotonic(), self.estimate.mean / self._lanes
            late = []
            for job in self._line:
                if done + self.estimate.total(1) <= job.deadline:
                    done += each
                else:
                    late.append(job)
            self._looker = asyncio.get_running_loop().call_later(_LOOK, self._look) if self._line else None
        for job in late:
            self._cancel(job)
            if not job.future.done():
                job.future.set_exception(self._too_late())

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                if not self._leave(job):
                    continue
                self._running += 1
                self._now.add(job)
            try:
                if self._in_time(job, time.monotonic()):
                    self._run(job)
                else:
                    self._deliver(job, None, self._too_late())
            finally:
                with self._lock:
                    self._running -= 1
                    self._now.discard(job)
            del job  # up to 10 MB that are not needed while the thread waits for the next

    def _run(self, job: Job) -> None:
        start = job.started = time.monotonic()
        self._local.job = job
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._do(job.data)
        except BaseException as caught:  # passed to the caller that waits
            error = caught
        seconds = self._pace() if self._pace is not None else time.monotonic() - start
        # The time of a quick refusal says nothing about images, and many of them would make the estimate too low.
        if error is None or seconds > self.estimate.mean:
            self.estimate.add(seconds)

        self._deliver(job, result, error)

    def _deliver(self, job: Job, result: Any, error: BaseException | None) -> None:
        def deliver() -> None:
            if not job.future.done():
                if error is None:
                    job.future.set_result(result)
                else:
                    job.future.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the event loop has closed: no caller waits
            job.loop.call_soon_threadsafe(deliver)

    def drain(self) -> None:
        """Refuses new requests from now on; accepted ones are still classified."""
        if not self.draining:
            self.draining = True
            _LOG.info("draining: %d images to go", self.depth)

    def retire(self) -> None:
        """Refuses new requests because the model is unloaded or replaced; accepted ones are still classified."""
        self.retired = True
        self.drain()

    def stop(self, seconds: float = 20.0) -> bool:
        """Drains, waits for the workers, and says whether all of them finished."""
        self.drain()
        with self._lock:
            self._ended = True
            for _ in self._threads:
                self._queue.put(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(end - time.monotonic(), 0))
        return not any(t.is_alive() for t in self._threads)

    def forget(self) -> None:
        """Cancels what the event loop would still call; on the event loop, after ``stop``."""
        for handle in (self._looker, self._pause):
            if handle is not None:
                handle.cancel()
