"""Memory of large images: how much of it is used at once, and that it goes back to the system.

After images of 16 megapixels glibc kept 115 MB of a service with one worker and 230 MB with two, in the arenas of threads; with
``release_after`` both are back at the 80 MB of the start.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

__all__ = ["PixelBudget", "keep_freed", "release", "release_after"]

#: Pixels of an image after which free memory is returned; decoding them takes far longer than returning the memory.
_LARGE = 2_000_000
#: glibc's numbers of these settings (malloc.h), and bytes. Each arena keeps so much at its end; blocks above the other size are
#: mapped one by one, as pixels of photographs above 1.4 megapixels are.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM, _MMAP = 16 << 20, 4 << 20


class PixelBudget:
    """At most ``most`` pixels are decoded at once, whatever the number of threads; one image is always let in."""

    def __init__(self, most: int) -> None:
        self._most, self._now = most, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for an image of ``pixels`` pixels, which the body decodes."""
        with self._changed:
            while self._now and self._now + pixels > self._most:
                self._changed.wait()
            self._now += pixels
        try:
            yield
        finally:
            with self._changed:
                self._now -= pixels
                self._changed.notify_all()


@contextlib.contextmanager
def release_after(pixels: int) -> Iterator[None]:
    """Runs the body, which works on an image of ``pixels`` pixels; afterwards glibc returns what it keeps for later."""
    try:
        yield
    finally:
        if pixels > _LARGE:
            release()


def keep_freed() -> None:
    """glibc keeps blocks of up to 4 MiB for the next image, for the whole process from now on.

    By default it returns the pixels of an image to the system when one thread frees what another took, and asks for the buffer of
    every read from a socket anew: 760 page faults an image, and 5.3 ms of processor time instead of 4.2 with MobileNet 0.25.
    """
    with contextlib.suppress(OSError, AttributeError):  # a C library that has no such function
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP)
        library.mallopt(_M_TRIM_THRESHOLD, _TRIM)


def release() -> None:
    """glibc returns the memory that it keeps for later."""
    with contextlib.suppress(OSError, AttributeError):  # a C library that has no such function
        ctypes.CDLL(None).malloc_trim(0)
