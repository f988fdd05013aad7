"""A thread pool of plain Python threads for kernels that release the GIL.

Numba's own layers are not used: the one that needs no further library (workqueue) must not be entered from two
threads at once. Here any number of threads may run kernels at the same time; the caller works on its own tasks, too,
and never waits for a task that no thread has begun. Idle workers block and cost nothing. A forked child starts with no
workers and makes its own.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import numpy as np

from ..kernel import Run
from .crew import Crew, Task

__all__ = ["parallel", "sequence", "shares"]

Call = Callable[[], object]


class _Batch:
    """The tasks of one run. The thread that pops a task runs it."""

    __slots__ = ("finished", "pending")

    def __init__(self, tasks: Sequence[Call]) -> None:
        self.pending = deque(tasks)
        self.finished: SimpleQueue[BaseException | None] = SimpleQueue()

    def work(self) -> None:
        while True:
            try:
                task = self.pending.popleft()
            except IndexError:
                return
            error: BaseException | None = None
            try:
                task()
            except BaseException as caught:
                error = caught
            self.finished.put(error)


class _Pool:
    """Workers are added when a run needs more helpers than there are, and stay."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers = 0
        self._batches: SimpleQueue[_Batch] = SimpleQueue()

    def run(self, tasks: Sequence[Call]) -> None:
        helpers = len(tasks) - 1
        if self._workers < helpers:
            with self._lock:
                while self._workers < helpers:
                    threading.Thread(target=self._serve, name=f"kigraph-numba-{self._workers}", daemon=True).start()
                    self._workers += 1
        batch = _Batch(tasks)
        for _ in range(helpers):
            self._batches.put(batch)
        batch.work()
        errors = [error for error in (batch.finished.get() for _ in tasks) if error is not None]
        if errors:
            raise errors[0]

    def _serve(self) -> None:
        while True:
            self._batches.get().work()


_POOL = _Pool()
_CREW = Crew()


def _renew() -> None:
    """In a forked child: its copies of the workers do not exist, and a lock may have been held by one."""
    global _POOL, _CREW
    _POOL, _CREW = _Pool(), Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def parallel(tasks: Sequence[Call], threads: int | None = None) -> Run:
    """A callable that runs all tasks at the same time and returns when the last has finished. One task runs in the caller.

    Tasks of compiled code alone (crew.Task) go to the crew; others, and those of a second caller at the same time, to
    the pool. ``threads``: how many may run at once if there are more tasks.
    """
    if not tasks:
        return _nothing
    if len(tasks) == 1:
        (only,) = tasks
        return only  # type: ignore[return-value]
    threads = min(threads or len(tasks), len(tasks))
    if threads == 1:
        return functools.partial(_in_turn, tuple(tasks))
    grouped = [functools.partial(_in_turn, tuple(tasks[a:b])) for a, b in shares(len(tasks), threads)]
    if not all(isinstance(task, Task) for task in tasks):
        return lambda: _POOL.run(grouped)
    table = np.array([(task.entry, task.argument) for task in tasks if isinstance(task, Task)], np.int64)

    def run() -> None:
        if not _CREW.run(table, threads):
            _POOL.run(grouped)

    return run


def _in_turn(tasks: Sequence[Call]) -> None:
    for task in tasks:
        task()


def _nothing() -> None:
    """The run of an empty output."""


def sequence(runs: Sequence[Run], keep: object) -> Run:
    """One run after the other. ``keep``: the arrays whose addresses the runs hold; they live as long as the result."""
    if len(runs) == 1:
        (only,) = runs

        def run_one(keep: object = keep, only: Run = only) -> None:
            only()

        return run_one

    def run_all(keep: object = keep, runs: tuple[Run, ...] = tuple(runs)) -> None:
        for run in runs:
            run()

    return run_all


def shares(count: int, parts: int) -> list[tuple[int, int]]:
    """[0, count) cut into at most ``parts`` ranges of nearly equal length, none of them empty."""
    parts = max(1, min(parts, count))
    return [(count * i // parts, count * (i + 1) // parts) for i in range(parts)]
