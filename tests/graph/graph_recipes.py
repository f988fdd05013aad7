"""Recipes of random graphs: what fuzz_graphs.py builds and runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kigraph as ki

NDArray = np.ndarray[Any, Any]

#: Elements of the largest tensor.
MOST_ELEMENTS = 4000


@dataclass
class Recipe:
    """A graph as a list of steps, so that it can be built in two element types."""

    seed: int
    #: Of each placeholder: its float64 value, and the shape that the graph is told.
    feeds: list[tuple[NDArray, tuple[int | None, ...]]] = field(default_factory=list)
    steps: list[tuple[str, Callable[[list[Any], str], Any]]] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    fetches: list[int] = field(default_factory=list)
    gradient: tuple[int, int] | None = None

    def build(self, dtype: str) -> tuple[ki.Graph, list[Any], dict[Any, NDArray]]:
        made: list[Any] = []
        with ki.Graph().as_default() as graph:
            feeds: dict[Any, NDArray] = {}
            for value, shape in self.feeds:
                made.append(ki.placeholder(dtype, list(shape)))
                with np.errstate(over="ignore"):
                    feeds[made[-1]] = value.astype(dtype)
            for _, step in self.steps:
                made.append(step(made, dtype))
            fetches = [made[i] for i in self.fetches]
            if self.gradient is not None:
                y, x = self.gradient
                (found,) = ki.gradients(ki.reduce_sum(made[y]), made[x])
                fetches += [] if found is None else [found]
        return graph, fetches, feeds

    def __str__(self) -> str:
        lines = [f"seed {self.seed}"]
        lines += [f"  {i}: placeholder {v.shape} told {s}" for i, (v, s) in enumerate(self.feeds)]
        lines += [f"  {i + len(self.feeds)}: {text}" for i, (text, _) in enumerate(self.steps)]
        return "\n".join([*lines, f"  fetched {self.fetches}, gradient {self.gradient}"])


class Maker:
    """Makes a recipe from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.recipe = Recipe(seed)
        self.shapes = self.recipe.shapes

    def pick(self, fits: Callable[[tuple[int, ...]], bool] = lambda shape: True) -> int | None:
        """The number of a tensor whose shape fits; late ones more often."""
        found = [i for i, shape in enumerate(self.shapes) if fits(shape)]
        return found[min(int(self.rng.beta(3, 1.5) * len(found)), len(found) - 1)] if found else None

    def size(self) -> int:
        return int(self.rng.choice([0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33], p=[0.03, *[0.97 / 12] * 12]))

    def add(self, text: str, shape: Sequence[int], step: Callable[[list[Any], str], Any]) -> int:
        if np.prod(shape, dtype=float) > MOST_ELEMENTS:
            raise ValueError("too large")
        self.recipe.steps.append((text, step))
        self.shapes.append(tuple(shape))
        return len(self.shapes) - 1

    def values(self, shape: Sequence[int], positive: bool = False) -> NDArray:
        value = self.rng.standard_normal(tuple(shape))
        value = np.abs(value) + 0.3 if positive else value
        return value.astype(np.float32).astype(np.float64)  # the same number in both element types

    def constant(self, shape: Sequence[int], positive: bool = False) -> int:
        value = self.values(shape, positive)
        return self.add(f"constant {tuple(shape)}", shape, lambda made, dtype: ki.constant(value.astype(dtype)))

    def feed(self) -> None:
        shape = tuple(self.size() for _ in range(int(self.rng.integers(0, 4))))
        if self.rng.random() < 0.5:
            shape = (
                int(self.rng.integers(1, 4)),
                *(int(n) for n in self.rng.integers(1, 12, 2)),
                int(self.rng.integers(1, 9)),
            )
        if np.prod(shape, dtype=float) > MOST_ELEMENTS:
            shape = shape[:2]
        value = self.values(shape)
        if self.rng.random() < 0.08 and value.size:
            value.reshape(-1)[self.rng.integers(value.size)] = self.rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0])
        told = tuple(None if self.rng.random() < 0.2 else n for n in shape)
        self.recipe.feeds.append((value, told))
        self.shapes.append(shape)

    def make(self, steps: Sequence[Callable[[Maker], None]]) -> Recipe:
        for _ in range(int(self.rng.integers(1, 4))):
            self.feed()
        for _ in range(int(self.rng.integers(1, 16))):
            try:
                steps[self.rng.integers(len(steps))](self)
            except ValueError:  # does not fit any tensor so far
                continue
        count = int(self.rng.integers(1, 4))
        late = max(len(self.shapes) - 4, 0)
        self.recipe.fetches = [int(i) for i in self.rng.integers(late, len(self.shapes), count)]
        self.recipe.fetches[0] = len(self.shapes) - 1
        if self.rng.random() < 0.2:
            self.recipe.gradient = (len(self.shapes) - 1, int(self.rng.integers(len(self.recipe.feeds))))
        return self.recipe
