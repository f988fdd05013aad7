"""Opens the files that a model names beside itself: inside its folder, regular, and neither a link nor linked elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from ..errors import LoadError
from .limits import Budget
from .source import Source

__all__ = ["open_beside"]

_MOST_PARTS = 16
_EXPECTED = "a path below the model's own folder, such as 'weights.bin'"
_REMEDY = "Put the file itself there: links may lead to any file of the machine."


def open_beside(model: Path, location: str, budget: Budget, place: str) -> Source:
    """The file ``location``, relative to the model's folder. Raises LoadError for a path that leaves it, and for links."""
    path = PurePosixPath(location)
    parts = path.parts
    if (
        not parts
        or path.is_absolute()
        or len(parts) > _MOST_PARTS
        or ".." in parts
        or "\\" in location
        or "\0" in location
    ):
        raise budget.error(place, f"the file {location[:80]!r}", _EXPECTED)
    folder = model.parent
    at = folder
    try:
        for part in parts:
            at = at / part
            state = os.lstat(at)
            if stat.S_ISLNK(state.st_mode):
                raise budget.error(place, f"'{location[:80]}' through a symbolic link", "a regular file", _REMEDY)
        if not stat.S_ISREG(state.st_mode):
            raise budget.error(place, f"'{location[:80]}', which is no regular file", "a regular file")
        if state.st_nlink != 1:
            raise budget.error(place, f"'{location[:80]}' with {state.st_nlink} hard links", "a file of one", _REMEDY)
        source = Source(at)
    except (OSError, ValueError) as e:
        if isinstance(e, LoadError):
            raise
        raise budget.error(place, f"'{location[:80]}', which cannot be opened ({e.strerror if isinstance(e, OSError) else e})", "the model's other file beside it") from None  # fmt: skip
    if not source.is_same(state):  # it was replaced by a link meanwhile
        raise budget.error(place, f"'{location[:80]}', which changed while it was opened", "a regular file")
    return source
