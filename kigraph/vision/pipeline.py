"""Photographs decoded in threads, in order, with a bound on how many are held: what keeps a network busy beside the decoder."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from ..errors import FeedError, ImageError
from ..kernels.settings import available_cpus

__all__ = ["MAX_WORKERS", "Decoded", "decoded", "default_workers", "in_order"]

Image: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Source = TypeVar("Source")
Result = TypeVar("Result")

#: More threads than this only wait for each other: what a decoder does in Python is done by one at a time.
MAX_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Source]):
    """One source with its ``image``, as ``prepare`` gave it, or with the ``error`` that says why there is none."""

    source: Source
    image: Image | None
    error: ImageError | None


def default_workers() -> int:
    """Threads that decode unless it is said otherwise: one for each CPU that this process may use, at most MAX_WORKERS."""
    return min(MAX_WORKERS, available_cpus())


def decoded(
    sources: Iterable[Source], prepare: Callable[[Source], Image], *, workers: int | None = None, ahead: int = 32
) -> Generator[Decoded[Source], None, None]:
    """What ``prepare`` makes of each source, in the order of ``sources``, computed in threads while the caller works.

    sources: paths or the bytes of files, say; read in the caller's thread, never more than ``ahead`` before what is yielded.
    prepare: one source -> an array of any shape and element type; called from several threads at once. Its ImageError becomes
    the error of that item; any other exception is raised here in that item's place, and ends the run.
    workers: threads, default ``default_workers()``. ahead: most images that exist at once, with the one that was yielded last.
    The threads start with the first item and have ended when the generator is exhausted, closed or collected.
    Raises FeedError for ``workers`` or ``ahead`` below 1.
    """
    _check(workers, ahead)

    def one(source: Source) -> Decoded[Source]:
        try:
            return Decoded(source, prepare(source), None)
        except ImageError as error:
            return Decoded(source, None, error)

    return _run(iter(sources), one, min(default_workers() if workers is None else workers, ahead), ahead)


def in_order(
    items: Iterable[Source], work: Callable[[Source], Result], *, workers: int | None = None, ahead: int = 32
) -> Generator[Result, None, None]:
    """The same for any ``work``: its results in the order of ``items``; every exception is raised in its item's place."""
    _check(workers, ahead)
    return _run(iter(items), work, min(default_workers() if workers is None else workers, ahead), ahead)


def _check(workers: int | None, ahead: int) -> None:
    for name, value in (("workers", 1 if workers is None else workers), ("ahead", ahead)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise FeedError(f"{name} must be a whole number of at least 1, got {value!r}")


def _run(
    items: Iterator[Source], work: Callable[[Source], Result], workers: int, ahead: int
) -> Generator[Result, None, None]:
    closed = threading.Event()

    def unless_closed(item: Source) -> Result:
        if closed.is_set():
            raise ImageError("closed")  # nobody waits for it
        return work(item)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="kigraph-decode")
    try:
        pending: deque[Future[Result]] = deque()
        while True:
            pending.extend(pool.submit(unless_closed, item) for item in islice(items, ahead - len(pending)))
            if not pending:
                return
            yield pending.popleft().result()  # under no name here: the image is the caller's alone
    finally:
        closed.set()
        pool.shutdown(wait=True, cancel_futures=True)
