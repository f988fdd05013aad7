"""SHA-256 of files that were computed before, kept in the cache folder: 90 MB take 60 ms and more.

A file is recognised by device, inode, size, mtime and ctime together. Size and mtime alone are not enough: a file can be
replaced by one of the same size whose mtime was set back (cp -p, tar, rsync). ctime cannot be set; device and inode
change when a file is renamed over another one. The remaining case is a file that is written twice within one tick of the
file system's clock, so a file that is younger than a few seconds is not remembered.

The record must be owned by the user, as everything in the cache folder. A digest from here finds packed weights
and names a weights card; the verification of a download computes the digest anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from ...kernels.atomic_files import replacing
from ...kernels.cache_files import UnsafeFileError, read_private
from ...kernels.settings import cache_folder

__all__ = ["recall", "remember"]

_FORMAT = 1
_MOST = 256
_MOST_BYTES = 1 << 18
_YOUNG_SECONDS = 2.0


def recall(state: os.stat_result) -> str | None:
    """The digest of the file with this state, if it is known."""
    return _read().get(_identity(state))


def remember(state: os.stat_result, digest: str) -> None:
    """Keeps a digest, if the file is old enough and the cache folder can be written."""
    if time.time() - max(state.st_mtime, state.st_ctime) < _YOUNG_SECONDS:
        return
    known = _read()
    known.pop(_identity(state), None)
    known[_identity(state)] = digest
    kept = dict(list(known.items())[-_MOST:])
    path = _path()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, "w", durable=False, encoding="utf-8") as file:
            json.dump({"format": _FORMAT, "files": kept}, file, indent=0)


def _path() -> Path:
    return cache_folder() / "packed" / "digests.json"


def _identity(state: os.stat_result) -> str:
    return f"{state.st_dev}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}"


def _read() -> dict[str, str]:
    """What is known; a damaged record is no record."""
    try:
        document = json.loads(read_private(_path(), _MOST_BYTES))
    except (OSError, UnsafeFileError, ValueError, RecursionError):
        return {}
    files = document.get("files") if isinstance(document, dict) and document.get("format") == _FORMAT else None
    if not isinstance(files, dict):
        return {}
    return {k: v for k, v in files.items() if isinstance(v, str) and len(v) == 64}
