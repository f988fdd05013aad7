"""The network's own threads: images that are ready go through it together, as many as pay, while others are being decoded.

Batches have 1, 2, 4, 8, ... images, so that only a few plans are compiled. A batch that is not full waits for images that are being
decoded, at most so long as an option says, and for nothing if none are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Network", "Passed"]

Array: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True, slots=True)
class Passed:
    """What came out for one image, or of one call. ``queue``, ``compute``: seconds; ``batch``: images that went together."""

    value: Any
    queue: float
    compute: float
    batch: int


@dataclass(slots=True, eq=False)
class _Item:
    """An image (``image``: one row) or a call of its own."""

    image: Array | None
    call: Callable[[], Any] | None
    abandoned: Callable[[], bool]
    result: Future[Passed] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Network:
    """``lanes`` threads that call ``compute(images)``, an array of ``count`` rows -> one row for each.

    batch: images that go together at most. wait: seconds that a batch waits to be filled. seen: is told the seconds and the images
    of each batch.
    """

    def __init__(
        self, compute: Callable[[Array], Array], *, lanes: int = 1, batch: int = 1, wait: float = 0.0,
        seen: Callable[[float, int], None] | None = None,
    ) -> None:  # fmt: skip
        self._compute, self._seen = compute, seen
        self.lanes, self.batch, self.wait = lanes, batch, wait
        #: Seconds of an image in its batch, the mean of the last ones; 0: none so far.
        self.pace = 0.0
        lock = threading.Lock()
        self._ready, self._room = threading.Condition(lock), threading.Condition(lock)
        self._line: deque[_Item] = deque()
        self._decoding = 0
        self._ended = False
        self._threads = [
            threading.Thread(target=self._work, name=f"kigraph-network-{i}", daemon=True) for i in range(lanes)
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Ends the threads after what they have; False if one is not done after so many seconds."""
        with self._ready:
            self._ended = True
            self._ready.notify_all()
            self._room.notify_all()
        end = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def waiting(self) -> int:
        """Images that are ready and wait for the network."""
        return len(self._line)

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While an image is decoded: a batch that is not full may wait for it."""
        with self._ready:
            self._decoding += 1
        try:
            yield
        finally:
            with self._ready:
                self._decoding -= 1
                self._ready.notify()

    def put(self, image: Array, abandoned: Callable[[], bool]) -> Future[Passed]:
        """Queues one row of prepared pixels, and blocks while enough wait. abandoned: whether nobody wants the answer any more."""
        return self._put(_Item(image, None, abandoned))

    def call(self, function: Callable[[], Any], abandoned: Callable[[], bool]) -> Future[Passed]:
        """Queues a call that runs alone, in its turn."""
        return self._put(_Item(None, function, abandoned))

    def _put(self, item: _Item) -> Future[Passed]:
        with self._ready:
            while len(self._line) >= 2 * self.batch * self.lanes + 2 and not self._ended:
                self._room.wait()
            if self._ended:
                raise RuntimeError("the model is not loaded any more")
            self._line.append(item)
            self._ready.notify()
        return item.result

    def _work(self) -> None:
        while items := self._take():
            self._run(items)
            del items  # megabytes that are not needed while the thread waits

    @staticmethod
    def _dropped(item: _Item) -> bool:
        if item.abandoned():
            item.result.cancel()
            return True
        return False

    def _take(self) -> list[_Item]:
        """The next batch, or the next call; nothing at the end."""
        with self._ready:
            while not self._line and not self._ended:
                self._ready.wait()
            if not self._line:
                return []
            end = time.monotonic() + self.wait
            while self._images() < self.batch and self._decoding and (left := end - time.monotonic()) > 0:
                self._ready.wait(left)
            self._line = deque(item for item in self._line if not self._dropped(item))
            count = min(max(self._images(), 1), self.batch)
            # With several lanes another thread may have taken them meanwhile.
            items = [self._line.popleft() for _ in range(min(1 << (count.bit_length() - 1), len(self._line)))]
            self._room.notify_all()
        return items or self._take()

    def _images(self) -> int:
        """Images at the head of the line, before the first call."""
        count = 0
        for item in self._line:
            if item.image is None or count == self.batch:
                break
            count += 1
        return count

    def _run(self, items: Sequence[_Item]) -> None:
        start = time.monotonic()
        try:
            if (call := items[0].call) is not None:
                values: list[Any] = [call()]
            else:
                rows = [item.image for item in items if item.image is not None]
                values = list(self._compute(rows[0] if len(rows) == 1 else np.concatenate(rows)))
        except BaseException as error:  # passed to those who wait
            for item in items:
                item.result.set_exception(error)
            return
        seconds = time.monotonic() - start
        if items[0].image is not None:
            each = seconds / len(items)
            self.pace += (each - self.pace) / (8 if self.pace else 1)
            if self._seen is not None:
                self._seen(seconds, len(items))
        for item, value in zip(items, values, strict=True):
            item.result.set_result(Passed(value, start - item.since, seconds, len(items)))
