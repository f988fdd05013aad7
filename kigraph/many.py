"""Many images through a network: decoded in threads, put together into batches, batches side by side, answers in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np

from .errors import FeedError, ImageError, KigraphError, RunError
from .kernels.backends import get_backend
from .kernels.devices import HostDevice
from .kernels.settings import available_cpus
from .vision.decode import ImageLike, read_image, to_pixels
from .vision.pipeline import Decoded, decoded, default_workers, in_order
from .weights.scores import check_classifies, probabilities_of

if TYPE_CHECKING:
    from .graph.builder import Graph
    from .graph.session import Session
    from .weights.card import Card

__all__ = ["BATCH", "Lanes", "chunks_of", "lanes_of", "scored", "stream"]

Source = TypeVar("Source")
Rows: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: An image, its scores, and what was wrong with it: one of the two is None.
Scored: TypeAlias = "tuple[Source, Rows | None, KigraphError | None]"

#: Images that go through the network together; more would only cost memory.
BATCH = 8
#: Most runs side by side; beyond, each gets several threads, as every run needs the weights in the caches.
_MOST_LANES = 16


@dataclass(frozen=True, slots=True)
class Lanes:
    """How a network is kept busy: ``count`` runs side by side, each of ``batch`` images on ``threads`` threads."""

    count: int
    threads: int
    batch: int


def lanes_of(backend: str, threads: int, fixed: int | None, batch: int | None = None) -> Lanes:
    """The lanes for ``threads`` threads of a backend: on a CPU a run for each thread, up to 16; on a GPU one.

    A run on one thread never waits for another thread that the system took away for the decoder: measured on 2 cores with
    Inception v3, images take 51 ms of processor time, decoding included, instead of 59 ms with two threads in each run.
    fixed: how many images the graph takes, if it states that; ``batch`` must be a multiple. FeedError if it is not.
    """
    size = (fixed or BATCH) if batch is None else batch
    if not isinstance(size, int) or isinstance(size, bool) or size < 1 or size % (fixed or 1):
        takes = f"a multiple of {fixed}, which the graph takes at once" if fixed else "a whole number of at least 1"
        raise FeedError(f"batch must be {takes}, got {batch!r}")
    count = min(threads, _MOST_LANES) if isinstance(get_backend(backend).device(), HostDevice) else 1
    return Lanes(count, max(1, threads // count), size)


class Network(Protocol):
    """What is needed of a Classifier."""

    graph: Graph
    session: Session
    max_pixels: int

    @property
    def fixed_batch(self) -> int | None: ...
    def require_card(self) -> Card: ...
    def prepare(self, images: list[ImageLike]) -> np.ndarray[Any, Any]: ...
    def _scores(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]: ...
    def _run_encoded(self, card: Card, image: ImageLike, name: str = "") -> np.ndarray[Any, Any]: ...


def stream(
    model: Network, images: Iterable[ImageLike], batch: int | None, workers: int | None
) -> Generator[Scored[ImageLike], None, None]:
    """``scored`` for a model's images."""
    lanes = lanes_of(model.session.choice.order[0], model.session.threads, model.fixed_batch, batch)
    card = model.require_card()
    check_classifies(model.graph.tensor(card.output).shape, card)
    lane = copy(model)  # its runs are narrower; everything else is shared
    if lanes.threads != model.session.threads:
        lane.session = model.session.with_threads(lanes.threads)
    late = workers is None and card.encoded is None and _decodes_in_lanes(model.session.choice.order[0], lanes)

    def prepare(image: ImageLike) -> tuple[str, Any]:
        if card.encoded is None and not late:
            return "", model.prepare([image])
        # Decoded later: by the graph, or in the thread that runs it.
        return (os.fspath(image), read_image(image)) if isinstance(image, str | os.PathLike) else ("", image)

    def score(ready: list[tuple[str, Any]]) -> Rows:
        if card.encoded is not None:
            return probabilities_of(np.concatenate([lane._run_encoded(card, data, name) for name, data in ready]), card)
        if late:
            ready = [
                ("", model.prepare([to_pixels(data, name=name or None, max_pixels=model.max_pixels)]))
                for name, data in ready
            ]
        missing = -len(ready) % (model.fixed_batch or 1)  # filled up with copies
        arrays = [array for _, array in (*ready, *ready[-1:] * missing)]
        filled = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)  # spares a copy
        return probabilities_of(lane._scores(filled)[: len(ready)], card)

    return scored(images, prepare, score, lanes, workers)


def _decodes_in_lanes(backend: str, lanes: Lanes) -> bool:
    """Whether the threads that run the network decode, too: where there is no other CPU for it, and images go through one by one.

    Then no thread takes a CPU from a run, and what waits is a file, not a prepared image of some twenty times its size.
    Larger batches are put together before: with damaged images among them each would have a size, and a plan, of its own.
    """
    busy = lanes.threads == 1 and lanes.count >= available_cpus()
    return busy and lanes.batch == 1 and isinstance(get_backend(backend).device(), HostDevice)


def scored(
    images: Iterable[Source],
    prepare: Callable[[Source], Any],
    score: Callable[[list[Any]], Rows],
    lanes: Lanes,
    workers: int | None = None,
) -> Generator[Scored[Source], None, None]:
    """(image, row of scores, error) for each image, in order.

    prepare: an image -> what ``score`` takes; in ``workers`` threads. score: up to ``lanes.batch`` of these -> (n, classes); in
    ``lanes.count`` threads. An ImageError or RunError concerns the image alone: a batch that fails is run one by one.
    At most ``2 * batch * (lanes + 1) + workers`` prepared images exist at once.
    """
    workers = default_workers() if workers is None else workers

    def run(chunk: list[Decoded[Source]]) -> list[Scored[Source]]:
        rows = iter(_rows([item.image for item in chunk if item.error is None], score))
        return [
            (item.source, None, item.error) if item.error is not None else (item.source, *next(rows)) for item in chunk
        ]

    ahead = lanes.batch * (lanes.count + 1) + (workers if isinstance(workers, int) else 0)
    with (
        closing(decoded(images, prepare, workers=workers, ahead=ahead)) as items,
        closing(in_order(chunks_of(items, lanes.batch), run, workers=lanes.count, ahead=lanes.count + 1)) as chunks,
    ):
        for chunk in chunks:
            yield from chunk


def chunks_of(items: Iterator[Decoded[Source]], batch: int) -> Iterator[list[Decoded[Source]]]:
    """As many images as a batch has, and the errors among them: only the last batch is smaller, so there are two plans at most."""
    chunk: list[Decoded[Source]] = []
    good = 0
    for item in items:
        chunk.append(item)
        good += item.error is None
        if good == batch or len(chunk) >= 8 * batch:
            yield chunk
            chunk, good = [], 0
    if chunk:
        yield chunk


def _rows(images: list[Any], score: Callable[[list[Any]], Rows]) -> list[tuple[Rows | None, KigraphError | None]]:
    if not images:
        return []
    try:
        return [(row, None) for row in score(images)]
    except (ImageError, RunError) as error:
        if len(images) == 1:
            return [(None, error)]
    return [found for image in images for found in _rows([image], score)]
