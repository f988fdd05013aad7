"""How much of the processor refusing may take while the queue is full.

Refusing takes time from the network, and a pause between two refusals delays the requests that are accepted. So a request that comes
while others are refused waits, its head unread, until there is room for it or time to refuse it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["Pressure", "Waiting"]

#: The part of the processor time that refusals may take, and the seconds of them that may come together.
_SHARE, _BURST = 0.08, 0.003
#: Seconds between two looks at those that wait, at least and at most.
_SOON, _LATE = 0.002, 0.02


class Waiting(Protocol):
    """A connection whose request waits."""

    def go_on(self) -> None:
        """Reads the request."""


class Pressure:
    """room: images that would be accepted now; pace: seconds of an image. ``until``: requests may be refused up to that time."""

    def __init__(self, room: Callable[[], int], pace: Callable[[], float]) -> None:
        self._room, self._pace = room, pace
        self._held: deque[Waiting] = deque()
        self._left, self._seen, self._used = _BURST, time.monotonic(), time.process_time()
        self._refusals = 0
        self._timer: asyncio.TimerHandle | None = None
        self.until = 0.0

    def spend(self, seconds: float) -> None:
        """A refusal has taken so much processor time."""
        self._refusals += 1
        self._refill()
        self._left -= seconds

    def _refill(self) -> None:
        # Where others use the processor, this service's own time is what counts; a quarter of all if it has little to compute.
        now, used = time.monotonic(), time.process_time()
        gone = max(used - self._used, (now - self._seen) / 4)
        self._left, self._seen, self._used = min(self._left + _SHARE * gone, _BURST), now, used

    def hold(self, connection: Waiting) -> bool:
        """Keeps a connection with a new request for later, in the order of their coming; False if it is to go on now."""
        if not self._held:
            if time.monotonic() > self.until:
                return False
            self._refill()
            if self._left > 0:
                return False
        self._held.append(connection)
        self._again()
        return True

    def _again(self) -> None:
        if self._timer is None and self._held:
            delay = min(max(self._pace() / 4, _SOON), _LATE)
            self._timer = asyncio.get_running_loop().call_later(delay, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._refill()
        room = self._room()
        while self._held and (room > 0 or self._left > 0):
            before = self._refusals
            self._held.popleft().go_on()
            room -= self._refusals == before
        self._again()
