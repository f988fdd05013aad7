"""Learning rates by step: an optimizer takes a number, one of these, or any function of the step (0, 1, ...) to a rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..graph.errors import GraphError

__all__ = ["Constant", "Cosine", "Exponential", "OneCycle", "Schedule", "StepDecay"]

#: The number of a step, from 0 -> the learning rate of that step.
Schedule = Callable[[int], float]


def _positive(name: str, **values: float) -> None:
    for key, value in values.items():
        if not value > 0 or math.isinf(value):
            raise GraphError(f"{name}: {key} must be a positive number, got {value!r}")


@dataclass(frozen=True, slots=True)
class Constant:
    """The same rate in every step."""

    rate: float

    def __post_init__(self) -> None:
        _positive("Constant", rate=self.rate)

    def __call__(self, step: int) -> float:
        return self.rate


@dataclass(frozen=True, slots=True)
class StepDecay:
    """rate * factor ** (step // every)"""

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _positive("StepDecay", rate=self.rate, every=self.every, factor=self.factor)

    def __call__(self, step: int) -> float:
        return self.rate * math.pow(self.factor, step // self.every)


@dataclass(frozen=True, slots=True)
class Exponential:
    """rate * factor ** (step / steps): after ``steps`` steps the rate is multiplied by ``factor``, evenly."""

    rate: float
    steps: int
    factor: float = 0.96

    def __post_init__(self) -> None:
        _positive("Exponential", rate=self.rate, steps=self.steps, factor=self.factor)

    def __call__(self, step: int) -> float:
        return self.rate * math.pow(self.factor, step / self.steps)


@dataclass(frozen=True, slots=True)
class Cosine:
    """From ``start`` up to ``rate`` in ``warm_up`` steps, evenly, then half a cosine down to ``least`` at step ``steps``.

    After ``steps`` steps the rate stays ``least``. Loshchilov and Hutter, 2017, arXiv:1608.03983, without restarts. The first
    step of a warm-up from 0 has the rate 0.
    """

    rate: float
    steps: int
    warm_up: int = 0
    start: float = 0.0
    least: float = 0.0

    def __post_init__(self) -> None:
        _positive("Cosine", rate=self.rate, steps=self.steps)
        if not 0 <= self.warm_up < self.steps or self.start < 0 or self.least < 0:
            raise GraphError(
                f"Cosine: warm_up must be from 0 to steps - 1 and start and least not below 0, got {self!r}"
            )

    def __call__(self, step: int) -> float:
        if step < self.warm_up:
            return self.start + (self.rate - self.start) * step / self.warm_up
        done = min(step - self.warm_up, self.steps - self.warm_up) / (self.steps - self.warm_up)
        return self.least + (self.rate - self.least) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, slots=True)
class OneCycle:
    """From rate / start_divisor up to ``rate``, then down to rate / start_divisor / end_divisor at the last of ``steps`` steps.

    Both ways along half a cosine; ``rise``: share of the steps that go up. Smith and Topin, 2019, arXiv:1708.07120.
    """

    rate: float
    steps: int
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        _positive("OneCycle", rate=self.rate, start_divisor=self.start_divisor, end_divisor=self.end_divisor)
        if not 0 < self.rise < 1 or self.steps < 2 or self.steps * self.rise <= 1:
            raise GraphError(f"OneCycle: rise must be between 0 and 1, and steps * rise above 1, got {self!r}")

    def __call__(self, step: int) -> float:
        first, top, last = self.rate / self.start_divisor, self.rise * self.steps - 1, self.steps - 1
        final = first / self.end_divisor
        if step <= top:
            return _between(first, self.rate, step / top)
        return _between(self.rate, final, min((step - top) / (last - top), 1))


def _between(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
