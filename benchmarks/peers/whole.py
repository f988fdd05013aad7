"""Cold start and peak memory of whole processes: from the start of Python to the first result, caches warm."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from .network import Network
from .worker import spawn

__all__ = ["measure_whole"]


def measure_whole(
    network: Network, names: Sequence[str], threads: int, repeats: int, tick: Callable[[str], None]
) -> dict[str, Any]:
    """For each contender, in turn: seconds to the first result of one image (median), peak memory in MB (the largest).

    The first start of each fills caches (packed weights, compiled models, page cache) and is told apart as "first_s".
    """
    starts: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats + 1):
        for name in names:
            tick(f"cold start {number} of {repeats}, {name}")
            seconds, peak = _start(network, name, threads)
            starts[name].append(seconds)
            memory[name].append(peak)
    return {
        name: {
            "threads": threads,
            "first_s": starts[name][0],
            "cold_s": statistics.median(starts[name][1:]),
            "cold_low_s": min(starts[name][1:]),
            "cold_high_s": max(starts[name][1:]),
            "peak_mb": max(memory[name][1:]),
        }
        for name in names
    }


def _start(network: Network, name: str, threads: int) -> tuple[float, float]:
    begin = time.perf_counter()
    process = spawn("once", name, network.folder, threads, 1)
    assert process.stdout is not None
    answered = process.stdout.readline()
    seconds = time.perf_counter() - begin
    status = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    process.stdout.close()
    if not answered or status:
        raise RuntimeError(f"the process of {name} ended with {status} without a result")
    return seconds, json.loads(answered)["peak_bytes"] / 1e6
