"""How much main memory can still be had: by the system, by the control groups of this process, and by its own limits.

The check costs some 100 microseconds, so small requests are not checked. What is free is an estimate: a request is refused only
if it is larger than all of it, and what is granted may still fail.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .errors import OutOfMemoryError

__all__ = ["CHECKED", "Room", "main_memory", "require"]

#: Requests below this are left to the allocator.
CHECKED = 1 << 28
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class Room(NamedTuple):
    """Bytes that can be had, and what sets that limit."""

    nbytes: int
    limit: str


def main_memory() -> Room | None:
    """The least of what the system, the control groups and the process's limits leave; None if nothing is known."""
    found = list(_rooms())
    return min(found, default=None)


def require(nbytes: int, what: str, remedy: str = "run a smaller batch, or close other sessions") -> None:
    """Raises OutOfMemoryError if ``nbytes`` bytes are not available; ``what`` says what for, as "X needs"."""
    if nbytes < CHECKED:
        return
    room = main_memory()
    if room is not None and nbytes > room.nbytes:
        raise OutOfMemoryError(
            f"{what} {nbytes:,} bytes of main memory, but {room.nbytes:,} are available ({room.limit}). Remedy: {remedy}"
        )


def _rooms() -> Iterator[Room]:
    with contextlib.suppress(OSError, ValueError, KeyError):
        sizes = {
            line.partition(":")[0]: int(line.split()[1]) << 10
            for line in (_PROC / "meminfo").read_text().splitlines()
            if line.startswith(("MemAvailable:", "SwapFree:"))
        }
        yield Room(sizes["MemAvailable"] + sizes.get("SwapFree", 0), "MemAvailable and SwapFree")
    yield from _limits()
    yield from _groups()


def _limits() -> Iterator[Room]:
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource  # Unix only

        pages = (_PROC / "self" / "statm").read_text().split()
        for name, used in (("RLIMIT_AS", pages[0]), ("RLIMIT_DATA", pages[5])):
            soft, _ = resource.getrlimit(getattr(resource, name))
            if soft != resource.RLIM_INFINITY:
                yield Room(max(soft - int(used) * os.sysconf("SC_PAGE_SIZE"), 0), name)


def _groups() -> Iterator[Room]:
    """The groups of version 2 from the process's own upwards, and the one of version 1."""
    with contextlib.suppress(OSError, ValueError):
        for line in (_PROC / "self" / "cgroup").read_text().splitlines():
            number, kinds, path = line.split(":", 2)
            if number == "0":
                base, most, used = _CGROUPS, "memory.max", "memory.current"
            elif "memory" in kinds.split(","):
                base, most, used = _CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            else:
                continue
            folder = base / path.strip("/")
            for group in (folder, *folder.parents):
                if group == base.parent:
                    break
                yield from _group(group, most, used)


def _group(group: Path, most: str, used: str) -> Iterator[Room]:
    with contextlib.suppress(OSError, ValueError):  # "max" is no limit
        limit = int((group / most).read_text())
        taken = int((group / used).read_text())
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, size = line.partition(" ")
            if name in ("inactive_file", "active_file"):  # reclaimable
                taken -= int(size)
        yield Room(max(limit - max(taken, 0), 0), f"{most} of the control group")
