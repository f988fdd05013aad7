"""A command of kigraph in a child process that the system limits: memory, processor time, files.

The loaders have budgets of their own. This is the second wall, for files of unknown origin: should a loader be wrong, the
child is stopped, and the shell that asked goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..errors import LoadError
from .output import clean

__all__ = ["CPU_SECONDS", "MEMORY_BYTES", "run_limited"]

#: Address space (weights are not read, so a file's size does not matter), processor seconds, seconds, output of the child.
MEMORY_BYTES, CPU_SECONDS, WALL_SECONDS, OUTPUT_BYTES = 4 << 30, 60, 120, 64 << 20
#: What the child may know of the environment.
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "SYSTEMROOT",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "KIGRAPH_CACHE_DIR",
    "KIGRAPH_ISA",
)

# Limits are set by the child itself, before anything of kigraph is imported: no code runs between fork and exec here.
_CHILD = """
import resource, sys
def limit(name, soft, hard):
    before = resource.getrlimit(name)[1]
    if before != resource.RLIM_INFINITY:  # it may not be raised
        soft, hard = min(soft, before), min(hard, before)
    resource.setrlimit(name, (soft, hard))
memory, seconds = int(sys.argv[1]), int(sys.argv[2])
limit(resource.RLIMIT_AS, memory, memory)
limit(resource.RLIMIT_CPU, seconds, seconds + 1)
limit(resource.RLIMIT_CORE, 0, 0)
limit(resource.RLIMIT_FSIZE, 0, 0)
sys.path.append(sys.argv[3])  # behind what is installed
from kigraph.cli import main
sys.exit(main(sys.argv[4:]))
"""


def run_limited(
    arguments: list[str],
    file: str,
    *,
    memory: int = MEMORY_BYTES,
    seconds: int = CPU_SECONDS,
    wall: float = WALL_SECONDS,
) -> int:
    """Runs ``kigraph ARGUMENTS``, which may print but write no file; its exit status.

    LoadError if the child broke a limit or died, or where the system has no such limits.
    """
    if sys.platform == "win32":
        raise LoadError(f"{file}: --untrusted needs the limits of a POSIX system; use it on Linux or macOS")
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    # -P: without it Python looks for modules in the current folder first, where a hostile resource.py may lie.
    place = str(Path(__file__).parents[2])
    command = [sys.executable, "-P", "-c", _CHILD, str(memory), str(seconds), place, *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=wall, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise LoadError(f"{file}: reading it took more than {wall:g} s and was stopped") from None
    if done.returncode < 0 or done.returncode > 2:
        raise LoadError(
            f"{file}: the process that read it died (status {done.returncode}), at the limits of {memory >> 20:,} MiB and {seconds} s of "
            "processor time, or by a fault; do not trust the file"
        )
    sys.stdout.write(_text(done.stdout))
    sys.stderr.write(_text(done.stderr))
    return done.returncode


def _text(data: bytes) -> str:
    return "\n".join(clean(line) for line in data[:OUTPUT_BYTES].decode("utf-8", "replace").split("\n"))
