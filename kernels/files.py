"""Files that other processes see whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

__all__ = ["PART", "replacing"]

#: How the name of a file ends that is still being written; one whose writer was killed stays.
PART = ".part"


@contextmanager
def replacing(
    path: str | os.PathLike[str], mode: str = "wb", *, durable: bool = True, **options: Any
) -> Iterator[IO[Any]]:
    """A new file, written beside ``path``, that takes its place in one step when the block ends.

    If the block fails nothing changes and nothing is left behind. durable: the content is on the disk before the old file
    goes. options: for ``open``. The folder must exist. Raises OSError.
    """
    import tempfile  # late: it takes 10 ms that only writers should pay

    target = Path(path)
    descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=PART)
    try:
        with open(descriptor, mode, **options) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
