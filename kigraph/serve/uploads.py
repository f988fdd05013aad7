"""Images that are being received: how many at once, and which of them is too slow to keep its place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import Refused

if TYPE_CHECKING:
    from .bodies import Body

__all__ = ["Uploads"]

#: Seconds after which an upload with a lower rate than this, in bytes per second, loses its place when others come.
_SECONDS, _RATE = 1.0, 32 << 10


class Uploads:
    """At most ``most`` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now: dict[asyncio.Timeout, tuple[float, Body]] = {}

    def __len__(self) -> int:
        return len(self._now)

    @contextlib.contextmanager
    def one(self, body: Body) -> Iterator[asyncio.Timeout]:
        """A place for one body; Refused 429 if there is none and no upload is slow. Yields the timeout to read it under."""
        if len(self._now) >= self._most and not self.end_a_slow_one():
            message = "too many images are being sent; try again later"
            raise Refused(429, "too_many_uploads", message, {"Retry-After": "1"})
        deadline = asyncio.timeout(None)
        self._now[deadline] = (asyncio.get_running_loop().time(), body)
        try:
            yield deadline
        finally:
            self._now.pop(deadline, None)

    def end_a_slow_one(self) -> bool:
        """Makes the oldest upload that is too slow end with 408; False if there is none."""
        now = asyncio.get_running_loop().time()
        for deadline, (start, body) in self._now.items():
            if now - start > _SECONDS and len(body.data) < _RATE * (now - start):
                del self._now[deadline]
                deadline.reschedule(now)
                return True
        return False
