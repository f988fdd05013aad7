"""Memory between images: it stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys, threading, queue
import numpy as np
from kigraph.serve.memory import keep_freed
if sys.argv[1] == "keep":
    keep_freed()
there, back = queue.Queue(), queue.Queue()

def other():
    while (images := there.get()) is not None:
        del images
        back.put(None)

thread = threading.Thread(target=other)
thread.start()

def round_trip():
    there.put([np.ones(size // 4, np.float32) for size in (600_000, 700_000, 1_200_000)])
    back.get()

for _ in range(5):
    round_trip()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    round_trip()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 50)
there.put(None)
thread.join()
"""


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_the_next_image_finds_the_memory_of_the_one_before() -> None:
    # 2.5 MB are 610 pages: without the setting, they are asked for anew each time.
    assert _faults("default") > 100
    assert _faults("keep") < 20
