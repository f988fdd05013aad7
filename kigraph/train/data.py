"""Examples by batches: arrays, folders of photographs (photographs.py), and functions that give batches.

A source gives the batches of one epoch at a time; what is random in it comes from the generator that it gets, whose state is part of
a checkpoint, so a resumed training sees the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from ..graph.errors import GraphError

__all__ = ["Arrays", "Batch", "Generated", "Source", "class_weights", "source_of"]

Value: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True, slots=True)
class Batch:
    """x (examples, ...), y (examples, ...), and weights (examples,) of their losses; None: all 1."""

    x: Value
    y: Value
    weights: Value | None = None

    def __len__(self) -> int:
        return len(self.x)


@runtime_checkable
class Source(Protocol):
    """What a model is trained on or evaluated with."""

    def batches(self, size: int, rng: np.random.Generator | None) -> Iterator[Batch]:
        """The batches of one epoch, of ``size`` examples but perhaps the last. rng: for what is random; None: nothing is,
        and the examples are in order."""

    def count(self, size: int) -> int | None:
        """Batches of an epoch; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """x, y and weights as arrays of equal length."""

    x: Value
    y: Value
    weights: Value | None = None

    def batches(self, size: int, rng: np.random.Generator | None) -> Iterator[Batch]:
        order = None if rng is None else rng.permutation(len(self.x))
        for start in range(0, len(self.x), size):
            rows = slice(start, start + size) if order is None else order[start : start + size]
            yield Batch(self.x[rows], self.y[rows], None if self.weights is None else self.weights[rows])

    def count(self, size: int) -> int | None:
        return -(-len(self.x) // size)


@dataclass(slots=True)
class Generated:
    """Batches that a function makes: ``function()`` is an iterable of (x, y) or (x, y, weights) for every epoch.

    The sizes of the batches are the function's own. An iterator in the place of the function serves one epoch.
    """

    function: Callable[[], Iterable[Any]] | Iterator[Any]
    _used: bool = False

    def batches(self, size: int, rng: np.random.Generator | None) -> Iterator[Batch]:
        if callable(self.function):
            made: Iterable[Any] = self.function()
        elif self._used:
            raise GraphError(
                "the generator of batches has been used up by an epoch; give a function that returns a new one: fit(lambda: batches())"
            )
        else:
            made, self._used = self.function, True
        for number, parts in enumerate(made):
            if not isinstance(parts, tuple) or len(parts) not in (2, 3):
                raise GraphError(
                    f"batch {number + 1} of a generator must be a tuple (x, y) or (x, y, weights), got {type(parts).__name__}"
                    + (f" of {len(parts)}" if isinstance(parts, tuple) else "")
                )
            yield Batch(*parts)

    def count(self, size: int) -> int | None:
        return None


def source_of(x: Any, y: Any, weights: Any, arrays: Callable[[Any, Any, Any], Arrays]) -> Source:
    """A source of what ``fit`` and ``evaluate`` take. ``arrays``: checks arrays and converts them."""
    if isinstance(x, Source):
        made: Source = x
    elif callable(x) or isinstance(x, Iterator):
        made = Generated(x)
    else:
        return arrays(x, y, weights)
    if y is not None or weights is not None:
        raise GraphError("y and sample_weight go with arrays; a folder or a generator gives them with each batch")
    return made


def class_weights(given: Mapping[int, float] | None, classes: int | None) -> Value | None:
    """The weight of every class as a vector; 1 for classes that are not named."""
    if given is None:
        return None
    if classes is None:
        raise GraphError("class_weight needs the loss softmax_cross_entropy; give sample_weight instead")
    weights = np.ones(classes, np.float32)
    for number, weight in given.items():
        if not isinstance(number, (int, np.integer)) or not 0 <= number < classes:
            raise GraphError(f"class_weight names class {number!r}; the classes are 0 to {classes - 1}")
        if not 0 <= weight < np.inf:
            raise GraphError(f"class_weight of class {number} must be a number of at least 0, got {weight!r}")
        weights[number] = weight
    return weights
