"""How many images go through a network together: as many as make an image cheaper, by measurement when the model is loaded.

On one thread the library runs a batch image by image (graph/plan/images.py), so nothing is gained but the overhead of a run, which
counts for small networks only; several threads, and a GPU, gain more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["BATCHES", "Choice", "choose_batch"]

#: The sizes that are tried.
BATCHES = (1, 2, 4, 8)
#: A larger batch has to save this part of an image's time; it makes every image wait for the whole batch.
_GAIN = 0.05
#: Seconds after which nothing larger is tried.
_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Choice:
    """``batch``: images that go together at most; ``reason``: why, in words; ``seconds``: of one image alone, 0 if not measured."""

    batch: int
    reason: str
    seconds: float = 0.0


def choose_batch(model: Classifier, wanted: int | None) -> Choice:
    """The largest batch of a model: ``wanted``, or the smallest whose time for an image is within 5 % of the best of BATCHES."""
    card = model.require_card()
    if card.encoded is not None:
        return Choice(1, "the graph decodes images itself, one at a time")
    if (fixed := model.fixed_batch) is not None:
        return Choice(1, f"the graph states a batch of {fixed}")
    if wanted is not None:
        return Choice(wanted, "set by the operator")
    times: dict[int, float] = {}
    begin = time.monotonic()
    for size in BATCHES:
        times[size] = _seconds(model, size) / size
        best = min(times.values())
        if times[size] > best * (1 + _GAIN) or time.monotonic() - begin > _SECONDS:
            break
    best = min(times.values())
    batch = next(size for size, each in times.items() if each * (1 - _GAIN) <= best)
    shown = ", ".join(f"{size}: {each * 1000:.3g} ms" for size, each in times.items())
    return Choice(batch, f"measured at the start, time of an image by batch: {shown}", times[1])


def _seconds(model: Classifier, size: int) -> float:
    """The shortest of three runs, after one that compiles the plan."""
    card = model.require_card()
    feeds: dict[Any, Any] = {card.input: model.noise(size)}
    model.session.run(card.output, feeds)
    times = []
    for _ in range(3):
        start = time.monotonic()
        model.session.run(card.output, feeds)
        times.append(time.monotonic() - start)
        if times[-1] > 1.0:
            break
    return min(times)
