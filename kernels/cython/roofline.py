"""The limits of this processor, measured with the instruction set in use: float32 operations, and reading memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ..devices import HOST
from ..kernel import Roof
from . import core

__all__ = ["measure_roof"]

#: Rounds of about a millisecond, so that some of them are not disturbed by other processes.
_ROUNDS, _REPEATS = 400_000, 30
#: Bytes that a thread reads: more than its core's own caches hold; less with many threads, all together at most 256 MiB.
_MOST_BYTES, _ALL_BYTES, _LEAST_BYTES, _READ_REPEATS = 48 << 20, 256 << 20, 4 << 20, 8


def measure_roof(threads: int) -> Roof:
    """Takes about a tenth of a second. The sum of what each of ``threads`` threads reached at best while all worked."""
    import numpy as np

    size = max(min(_MOST_BYTES, _ALL_BYTES // threads), _LEAST_BYTES) // 4096 * 4096
    buffers = [HOST.view(HOST.allocate(size), 0, np.dtype(np.float32), (size // 4,)) for _ in range(threads)]
    for buffer in buffers:
        buffer.fill(1)

    def compute(_: int) -> float:
        return max(_rate(lambda: core.probe_flops(_ROUNDS)) for _ in range(_REPEATS))

    def read(number: int) -> float:
        return max(_rate(lambda: core.probe_read(buffers[number])) for _ in range(_READ_REPEATS))

    return Roof(_together(threads, compute), _together(threads, read), f"{core.ISA_IN_USE}, {threads} threads")


def _rate(work: Callable[[], float]) -> float:
    start = time.perf_counter()
    amount = work()
    return amount / (time.perf_counter() - start)


def _together(threads: int, best: Callable[[int], float]) -> float:
    barrier = threading.Barrier(threads)

    def start(number: int) -> float:
        barrier.wait()
        return best(number)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(start, range(threads)))
