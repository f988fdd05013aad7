"""The float32 peak of this machine and how fast it reads memory, measured: compiled with the machine's own compiler.

Without one both are unknown, and benchmarks leave the share of them out.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["peak_gflops", "read_gbytes"]

#: Rounds of about a millisecond, so that some fall between the turns of other processes.
_ROUNDS, _REPEATS = 500_000, 60
#: Bytes that a thread reads: more than its own caches hold, as the weights of a network.
_READ_BYTES, _READ_REPEATS = 96 << 20, 8


def _compile(folder: str) -> ctypes.CDLL | None:
    compiler = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("cc")
    if compiler is None:
        return None
    library = Path(folder, "peak.so")
    source = Path(__file__).with_name("peak.c")
    options = ["-O3", "-march=native", "-ffp-contract=fast", "-mprefer-vector-width=512", "-shared", "-fPIC"]
    for flags in (options, ["-O3", "-shared", "-fPIC"]):
        done = subprocess.run([compiler, *flags, str(source), "-o", str(library)], capture_output=True, check=False)
        if done.returncode == 0:
            return ctypes.CDLL(str(library))
    return None


@functools.cache
def peak_gflops(threads: int = 1) -> float | None:
    """GFLOP/s of ``threads`` threads that multiply and add at the same time: the sum of each one's best short run."""
    with tempfile.TemporaryDirectory() as folder:
        library = _compile(folder)
        if library is None:
            return None
        run = library.peak_run
        run.restype = ctypes.c_double
        run.argtypes = [ctypes.c_long, ctypes.POINTER(ctypes.c_float)]
        barrier = threading.Barrier(threads)

        def best(_: int) -> float:
            sink = ctypes.c_float()
            rates: list[float] = []
            barrier.wait()
            for _repeat in range(_REPEATS):
                start = time.perf_counter()
                operations = run(_ROUNDS, ctypes.byref(sink))
                rates.append(operations / (time.perf_counter() - start) / 1e9)
            return max(rates)

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(best, range(threads)))


@functools.cache
def read_gbytes(threads: int = 1) -> float | None:
    """GB/s of ``threads`` threads that read different memory at the same time: the sum of each one's best pass."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        library = _compile(folder)
        if library is None:
            return None
        read = library.peak_read
        read.restype = None
        read.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.POINTER(ctypes.c_float)]
        barrier = threading.Barrier(threads)

        def best(_: int) -> float:
            raw = np.ones(_READ_BYTES // 4 + 16, np.float32)
            start = -raw.ctypes.data % 64 + raw.ctypes.data
            sink, rates = ctypes.c_float(), []
            barrier.wait()
            for _repeat in range(_READ_REPEATS):
                begin = time.perf_counter()
                read(start, _READ_BYTES, ctypes.byref(sink))
                rates.append(_READ_BYTES / (time.perf_counter() - begin) / 1e9)
            return max(rates)

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(best, range(threads)))


if __name__ == "__main__":
    for count in (1, os.cpu_count() or 1):
        print(f"{count} threads: {peak_gflops(count)} GFLOP/s, {read_gbytes(count)} GB/s")
