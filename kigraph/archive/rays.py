"""The engine on Ray: actors on any number of machines classify chunks of paths, and this process alone writes rows.

So a row is written exactly once, whatever dies: a chunk whose actor is gone goes to another one, and what comes back is put
into the order of the paths before it is written. Ray Data does not say which rows of a failed task it has handed on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..classifier import Classified, Classifier, load
from ..errors import FeedError, KigraphError, RunError
from .run import Engine

__all__ = ["CHUNK", "ray_engine", "require_ray"]

#: Most photographs that an actor gets at a time, and that are done again if it dies.
CHUNK = 64
#: How often a chunk may lose its actor before its photographs are tried one by one, and then a single one of them.
_TRIES = 3


def require_ray() -> Any:
    """The package ray; FeedError with the remedy if it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise FeedError(f"the engine needs Ray ({error}): pip install 'kigraph[ray]', or use --engine local") from None
    return ray


class _Worker:
    """What an actor does: its own model, ``threads`` threads for the network and as many for the decoder, no more."""

    def __init__(self, path: str, threads: int, batch: int | None, options: Mapping[str, Any]) -> None:
        self._path, self._threads, self._batch, self._options = path, threads, batch, options
        self._model: Classifier | None = None

    def classify(self, paths: list[str], top: int) -> list[Classified]:
        if self._model is None:  # not in __init__: an error there would look like the death of the actor
            self._model = load(self._path, threads=self._threads, **self._options)
        return list(self._model.classify_many(paths, top, batch=self._batch, workers=self._threads))


@dataclass(eq=False, slots=True)
class _Chunk:
    """Paths from a position of the whole list on, and how often an actor was lost with them."""

    start: int
    paths: list[str]
    lost: int = 0
    answers: list[Classified] | None = None


@dataclass(eq=False)
class _Crew:
    """Actors with what each has to do. ``make``: a new actor."""

    ray: Any
    make: Callable[[], Any]
    top: int
    running: dict[Any, tuple[Any, _Chunk]] = field(default_factory=dict)

    def give(self, actor: Any, chunk: _Chunk) -> None:
        """The actor's next chunk."""
        self.running[actor.classify.remote(chunk.paths, self.top)] = (actor, chunk)

    def wait(self) -> tuple[Any, _Chunk, list[_Chunk]]:
        """An actor that is free, the chunk that it had, with answers if it is done, and else the chunks to be done again."""
        ready, _ = self.ray.wait(list(self.running), num_returns=1)
        actor, chunk = self.running.pop(ready[0])
        try:
            chunk.answers = self.ray.get(ready[0])
            return actor, chunk, []
        except self.ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, KigraphError) else error from None
        except (self.ray.exceptions.RayActorError, self.ray.exceptions.ObjectLostError):
            chunk.lost += 1
        if chunk.lost < _TRIES:
            return self.make(), chunk, [chunk]
        if len(chunk.paths) > 1:
            return self.make(), chunk, [_Chunk(chunk.start + i, [path]) for i, path in enumerate(chunk.paths)]
        path = chunk.paths[0]
        text = f"{path}: the process that classified it died {_TRIES} times"
        chunk.answers = [Classified(path, None, RunError(text))]
        return self.make(), chunk, []

    def dismiss(self) -> None:
        """Ends all actors at once."""
        for actor, _ in self.running.values():
            self.ray.kill(actor)


def ray_engine(
    path: str | os.PathLike[str],
    *,
    actors: int | None = None,
    threads: int | None = None,
    address: str | None = None,
    batch: int | None = None,
    **options: Any,
) -> Engine:
    """An engine of ``actors`` actors (default: what the cluster's CPUs allow) of ``threads`` CPUs each (default 1).

    path: the model file, and the paths of photographs: all machines see them under these names. address: of a cluster ('auto';
    default: RAY_ADDRESS, else this machine). options: as for ``load``, in plain values. FeedError without Ray.
    """
    ray = require_ray()
    width = threads or 1

    def engine(paths: list[str], top: int) -> Generator[Classified, None, None]:
        if not paths:
            return
        mine = not ray.is_initialized()
        if mine:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            # As many CPUs as are asked for must be there: an actor that nobody can place would be waited for without end.
            cpus = int(ray.cluster_resources().get("CPU", 0))
            count = actors or max(1, cpus // width)
            if width > cpus or count * width > cpus:
                raise FeedError(f"{count} actors of {width} CPUs need {count * width}, and Ray has {cpus}; use fewer")
            remote = ray.remote(num_cpus=width, max_restarts=0)(_Worker)
            crew = _Crew(ray, lambda: remote.remote(str(path), width, batch, options), top)
            yield from _in_order(crew, paths, count)
        finally:
            if mine:
                ray.shutdown()

    return engine


def _in_order(crew: _Crew, paths: list[str], count: int) -> Generator[Classified, None, None]:
    size = max(1, min(CHUNK, len(paths) // (2 * count)))
    waiting = deque(_Chunk(start, paths[start : start + size]) for start in range(0, len(paths), size))
    done: dict[int, _Chunk] = {}
    position = 0
    try:
        for _ in range(min(count, len(waiting))):
            crew.give(crew.make(), waiting.popleft())
        while crew.running:
            actor, chunk, again = crew.wait()
            waiting.extendleft(reversed(again))
            if waiting:
                crew.give(actor, waiting.popleft())
            if chunk.answers is not None:
                done[chunk.start] = chunk
            while (ready := done.pop(position, None)) is not None:
                assert ready.answers is not None
                yield from ready.answers
                position += len(ready.paths)
    finally:
        crew.dismiss()
