"""Photographs through a model: as an iterator of answers, or into a file of results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..classifier import Classified, Classifier, load
from .listing import Shard, list_images
from .results import Results
from .rows import row_of

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Engine", "Summary", "classify_folder", "classify_to", "local_engine"]

#: Paths and how many labels -> answers, in the order of the paths.
Engine: TypeAlias = "Callable[[list[str], int], Generator[Classified, None, None]]"


@dataclass(frozen=True, slots=True)
class Summary:
    """``rows`` of a file of results, ``failed`` of them errors; ``added``: how many images had no row before this run.

    retried: images that had an error and were tried again; mended: those of them that are labelled now.
    """

    rows: int
    failed: int
    added: int
    retried: int = 0
    mended: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "rows": self.rows, "failed": self.failed, "added": self.added, "retried": self.retried, "mended": self.mended
        }  # fmt: skip


def classify_folder(
    model: Classifier | str | os.PathLike[str],
    *folders: str | os.PathLike[str],
    top: int = 5,
    shard: str | Shard | None = None,
    batch: int | None = None,
    workers: int | None = None,
) -> Iterator[Classified]:
    """The answer for every image below some folders, as an iterator: ``source``, and a ``prediction`` or an ``error``.

    model: a Classifier, or the path of a model file. folders: also files and patterns. top: labels of an answer. shard: '3/16',
    the part of the images that this process does. batch, workers: as for ``Classifier.classify_many``. Links to folders are not
    followed, hidden files are skipped. Raises ImageError if there are no images, FeedError for a wrong shard.
    """
    part = Shard.parse(shard) if isinstance(shard, str) else shard
    paths = list_images([os.fspath(folder) for folder in folders], part).paths
    classifier = model if isinstance(model, Classifier) else load(Path(model))
    return classifier.classify_many(paths, top, batch=batch, workers=workers)


def local_engine(model: Classifier, batch: int | None = None, workers: int | None = None) -> Engine:
    """Runs in this process."""

    def engine(paths: list[str], top: int) -> Generator[Classified, None, None]:
        return model.classify_many(paths, top, batch=batch, workers=workers)  # type: ignore[return-value]

    return engine


def classify_to(
    results: Results,
    paths: Iterable[str],
    engine: Engine,
    *,
    progress: Callable[[int, int], None] = lambda rows, failed: None,
) -> Summary:
    """A row for each path that is not done, written as soon as it is there, and then the finished file.

    progress: called with the rows of the file, without those that are still to be tried again, and how many are errors. Interrupted by any exception, it keeps the rows.
    """
    before = results.rows
    missing = [path for path in paths if not results.done(path)]
    again = {path for path in missing if results.has(path)}
    left, mended = len(again), 0
    with closing(engine(missing, results.setup.top)) as answers:
        for path, answer in zip(missing, answers, strict=True):
            results.append(row_of(path, answer.prediction, answer.error, results.setup))
            left -= path in again
            mended += path in again and answer.error is None
            progress(results.rows - left, results.failed)
    results.finish()
    return Summary(results.rows, results.failed, results.rows - before, len(again), mended)
