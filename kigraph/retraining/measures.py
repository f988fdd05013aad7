"""How good a classifier is: accuracy with its interval, the confusion matrix, the worst mistakes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Measured", "Mistake", "confusion_matrix", "measure", "wilson"]

#: Two-sided 95 %: the 97.5 % quantile of the normal distribution.
_Z = 1.959963984540054


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share; (0, 1) for a total of 0.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not total:
        return (0.0, 1.0)
    share, z2 = right / total, _Z * _Z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if right == 0 else low, 1.0 if right == total else high)


def confusion_matrix(labels: np.ndarray[Any, Any], answers: np.ndarray[Any, Any], classes: int) -> np.ndarray[Any, Any]:
    """Counts (true class, answer), int64 (classes, classes)."""
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (labels, answers), 1)
    return found


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer: the photograph, its class, the answer, and the probabilities of both."""

    path: str
    label: int
    answer: int
    probability: float
    right: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Accuracy over ``total`` photographs (None if there is none), with its 95 % interval, confusion matrix and mistakes."""

    total: int
    right: int
    confusion: np.ndarray[Any, Any]
    mistakes: tuple[Mistake, ...]

    @property
    def accuracy(self) -> float | None:
        return self.right / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.total)


def measure(
    paths: list[str], labels: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any], classes: int
) -> Measured:
    """What (n, classes) probabilities are worth for photographs of known classes; the surest mistakes first."""
    answers = probabilities.argmax(1) if len(labels) else np.zeros(0, np.int64)
    wrong = np.flatnonzero(answers != labels)
    mistakes = [
        Mistake(
            paths[i],
            int(labels[i]),
            int(answers[i]),
            float(probabilities[i, answers[i]]),
            float(probabilities[i, labels[i]]),
        )
        for i in wrong.tolist()
    ]
    mistakes.sort(key=lambda m: (m.right - m.probability, m.path))
    right = len(labels) - len(wrong)
    return Measured(len(labels), right, confusion_matrix(labels, answers, classes), tuple(mistakes))
