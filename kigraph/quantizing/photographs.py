"""Which photographs measure the ranges, and which are kept to compare the answers: told by their content alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..archive.listing import list_images
from ..errors import FeedError, ImageError
from ..kernels.digest import blake2b
from ..vision.decode import read_image
from ..vision.pipeline import decoded
from .net import Array

__all__ = ["Photographs", "photographs"]


#: Bytes of prepared photographs that are held at most.
_ROOM = 4 << 30


@dataclass(slots=True)
class Photographs:
    """Prepared images, float32 in the layout of the network's input: those to ``calibrate``, those ``held`` out.

    ``folders``: the folder's name of each held-out photograph. unreadable: (file, reason). ``found``: how many files there were.
    """

    calibrate: Array
    held: Array
    folders: list[str]
    found: int
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def photographs(
    arguments: Sequence[str],
    prepare: Callable[[bytes, str], Array],
    limit: int,
    holdout: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Photographs:
    """Up to ``limit`` photographs of folders, patterns and files as `kigraph classify` takes them, without copies.

    prepare: a file's bytes and name -> one row (1, ...) of the input. holdout: share that is kept out. Which photographs are taken
    depends on their files' names and contents, not on where the folder lies. Raises ImageError or FeedError for fewer than two.
    """
    listing = list_images(arguments)
    paths = sorted(listing.paths, key=_by_name)
    unreadable = [(folder, f"{folder}: the folder cannot be read: {reason}") for folder, reason in listing.unreadable]
    rows: dict[str, tuple[Array, str]] = {}
    copies, at = 0, 0
    digests: dict[str, str] = {}

    def one(path: str) -> Array:
        data = read_image(path)
        digests[path] = blake2b(data, digest_size=16).hexdigest()
        return prepare(data, path)

    while len(rows) < limit and at < len(paths):
        some = paths[at : at + limit - len(rows)]
        at += len(some)
        for item in decoded(some, one):
            if item.error is not None or item.image is None:
                unreadable.append((item.source, str(item.error)))
            elif digests[item.source] in rows:
                copies += 1
            else:
                folder = os.path.basename(os.path.dirname(os.path.abspath(item.source)))
                rows[digests[item.source]] = (item.image, folder)
                _check_room(item.image.nbytes, min(limit, len(paths)))
            progress(len(rows) + len(unreadable), min(limit, len(paths)))
    if len(rows) < 2:
        _refuse(len(paths), unreadable, copies)
    order = sorted(rows)
    kept = min(max(1, round(len(order) * holdout)), len(order) - 1)
    notes = [*listing.notes, *([f"{copies} copies of photographs were left out"] if copies else [])]
    held, used = order[:kept], order[kept:]
    return Photographs(
        np.concatenate([rows[d][0] for d in used]), np.concatenate([rows[d][0] for d in held]),
        [rows[d][1] for d in held], len(paths), unreadable, notes,
    )  # fmt: skip


def _check_room(size: int, count: int) -> None:
    if size * count > _ROOM:
        raise FeedError(
            f"{count:,} photographs of {size:,} bytes each, as the network takes them, are more than the {_ROOM >> 20:,} MiB that are "
            f"held at once; ask for {_ROOM // size:,} at most (limit=, --limit)"
        )


def _by_name(path: str) -> tuple[bytes, bytes]:
    """A place that the name alone decides, so that neither the folder nor its first class is preferred."""
    name = os.fsencode(os.path.join(*path.split(os.sep)[-2:]))
    return blake2b(name, digest_size=8).digest(), os.fsencode(path)


def _refuse(count: int, unreadable: list[tuple[str, str]], copies: int) -> None:
    if unreadable:
        raise ImageError(
            f"{len(unreadable)} of {count} photographs cannot be read, and two are needed at least: one to measure ranges, one to "
            f"compare answers; the first: {unreadable[0][1][:500]}"
        )
    same = f" ({copies} more are copies)" if copies else ""
    raise FeedError(
        f"one photograph{same}; expected two at least, one to measure ranges and one to compare answers; 100 or more are better"
    )
