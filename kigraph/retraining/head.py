"""The last layer: softmax regression with an L2 penalty, a convex problem that is solved to convergence in float64.

Loss and gradient are a graph that kigraph's own kernels run, whose results do not depend on the number of threads; sums over
parameters are made by one thread. So equal photographs give equal bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ..errors import KigraphError
from ..graph import ops
from ..graph.builder import Graph
from ..graph.gradients import gradients
from ..graph.session import Session
from .lbfgs import minimize

__all__ = ["PENALTIES", "Data", "Features", "Head", "Labels", "class_weights", "train_head"]

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Features: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
Labels: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

#: Penalties that are tried, from the strongest; each solution starts from the one before.
PENALTIES = tuple(float(10.0 ** (-exponent / 2)) for exponent in range(2, 15))
#: The penalty where there are no photographs for validation.
DEFAULT_PENALTY = 1e-3
#: Penalties after the best one that are tried before the search stops.
_PATIENCE = 2
_ROWS = 4096
_MOST_ITERATIONS = 500
#: Enough to compare penalties: 1,000 classes of 3 photographs took minutes when each was solved to the end.
_ROUGH, _MOST_ROUGH = 1e-5, 50


@dataclass(frozen=True, slots=True)
class Data:
    """Features (n, count) float32 with their classes (n,) int64."""

    features: Features
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Head:
    """logits = features @ weights + biases; float32 (count, classes), (classes,).

    penalty: what was chosen; history: a row for each iteration (loss, accuracy, and val_ of both where there is validation).
    """

    weights: Features
    biases: Features
    penalty: float
    history: list[dict[str, float]]


def class_weights(labels: Labels, classes: int, balanced: bool) -> Floats:
    """A weight for each class: 1, or balanced n / (classes * n_c), so that rare classes count as much as others."""
    if not balanced:
        return np.ones(classes, np.float64)
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (classes * np.maximum(counts, 1.0))


class _Problem:
    """mean_i w_i CE_i + penalty / 2 |W|^2 over features that are centred and scaled to a mean square norm of 1.

    Centring and one common scale leave the solution what it is for the features themselves (the bias is not penalised); they
    make it quick to find, and the penalty independent of the trunk's scale.
    """

    def __init__(self, data: Data, classes: int, weights: Floats, threads: int | None) -> None:
        self.data, self.classes = data, classes
        total = np.zeros(data.features.shape[1], np.float64)
        for rows in _chunks(len(data)):
            total += data.features[rows].sum(0, dtype=np.float64)
        self.mean = total / len(data)
        square = sum(
            float(np.square(data.features[rows].astype(np.float64) - self.mean).sum()) for rows in _chunks(len(data))
        )
        self.scale = max(float(np.sqrt(square / len(data))), 1e-30)
        if not np.isfinite(self.scale):
            raise KigraphError(
                "the features of the photographs are not finite numbers; is the weight file a trained network?"
            )
        each = weights[data.labels]
        self.each = each / each.sum()
        self._build(threads)

    def _build(self, threads: int | None) -> None:
        count, classes = len(self.mean), self.classes
        with Graph().as_default() as graph:
            self._x = ops.placeholder("float32", [None, count], name="features")
            self._y = ops.placeholder("int64", [None], name="labels")
            self._e = ops.placeholder("float64", [None], name="weights_of_examples")
            self._w = ops.placeholder("float64", [count, classes], name="weights")
            self._b = ops.placeholder("float64", [classes], name="biases")
            x = ops.multiply(ops.subtract(ops.cast(self._x, "float64"), self.mean), 1.0 / self.scale)
            logits = ops.add(ops.matmul(x, self._w), self._b)
            losses = ops.sparse_softmax_cross_entropy_with_logits(self._y, logits)
            self._loss = ops.reduce_sum(ops.multiply(losses, self._e))
            self._hits = ops.reduce_sum(ops.cast(ops.equal(ops.argmax(logits, 1), self._y), "float64"))
            self._slopes = gradients(self._loss, [self._w, self._b])
        self._session = Session(graph, threads=threads)

    def size(self) -> int:
        return (len(self.mean) + 1) * self.classes

    def parts(self, theta: Floats) -> tuple[Floats, Floats]:
        w = theta[: len(self.mean) * self.classes].reshape(len(self.mean), self.classes)
        return w, theta[len(self.mean) * self.classes :]

    def value(self, theta: Floats, penalty: float) -> tuple[float, Floats, tuple[float, float]]:
        """The penalised loss, its gradient; the loss without penalty and the share of right answers."""
        w, b = self.parts(theta)
        loss = hits = 0.0
        slope = np.zeros_like(theta)
        for rows in _chunks(len(self.data)):
            feed = {
                self._x: self.data.features[rows],
                self._y: self.data.labels[rows],
                self._e: self.each[rows],
                self._w: w,
                self._b: b,
            }
            found, right, dw, db = self._session.run([self._loss, self._hits, *self._slopes], feed)
            loss, hits = loss + float(found), hits + float(right)
            slope[: w.size] += dw.ravel()
            slope[w.size :] += db
        slope[: w.size] += penalty * theta[: w.size]
        return loss + 0.5 * penalty * float(np.square(w).sum()), slope, (loss, hits / len(self.data))

    def measured(self, theta: Floats, data: Data) -> tuple[float, float]:
        """Mean cross-entropy and accuracy on other examples."""
        w, b = self.parts(theta)
        loss = hits = 0.0
        for rows in _chunks(len(data)):
            each = np.full(len(data.labels[rows]), 1.0 / len(data))
            feed = {self._x: data.features[rows], self._y: data.labels[rows], self._e: each, self._w: w, self._b: b}
            found, right = self._session.run([self._loss, self._hits], feed)
            loss, hits = loss + float(found), hits + float(right)
        return loss, hits / len(data)

    def folded(self, theta: Floats) -> tuple[Features, Features]:
        """Weights and biases for the features as they are, in float32."""
        w, b = self.parts(theta)
        weights = w / self.scale
        biases = b - (self.mean[:, None] * weights).sum(0)
        return weights.astype(np.float32), biases.astype(np.float32)


def train_head(
    training: Data,
    validation: Data,
    classes: int,
    *,
    balanced: bool = True,
    penalty: float | None = None,
    threads: int | None = None,
    on_row: Callable[[dict[str, float]], None] = lambda row: None,
) -> Head:
    """The head that fits ``training``.

    penalty: the strength of L2 on features of mean square norm 1; None: the one of PENALTIES with the least loss on
    ``validation``; the search goes from the strongest to weaker ones and stops when the loss has not fallen twice.
    Then that one is solved until no entry of the gradient is above 1e-6, or a hundredth of a weaker penalty, but for 1e-9.
    on_row: called with each row of the history.
    """
    problem = _Problem(training, classes, class_weights(training.labels, classes, balanced), threads)
    history: list[dict[str, float]] = []

    def solved(start: Floats, strength: float, tolerance: float, most: int) -> Floats:
        def row(at: Floats, note: tuple[float, float]) -> None:
            found = {"epoch": float(len(history) + 1), "penalty": strength, "loss": note[0], "accuracy": note[1]}
            if len(validation):
                found["val_loss"], found["val_accuracy"] = problem.measured(at, validation)
            history.append(found)
            on_row(found)

        return minimize(partial(problem.value, penalty=strength), start, tolerance, most, row)

    theta = np.zeros(problem.size(), np.float64)
    chosen = DEFAULT_PENALTY if penalty is None else penalty
    if penalty is None and len(validation):
        least, since, at = np.inf, 0, theta
        for strength in PENALTIES:
            at = solved(at, strength, _ROUGH, _MOST_ROUGH)
            loss = problem.measured(at, validation)[0]
            if loss < least:
                least, since, theta, chosen = loss, 0, at, strength
            elif (since := since + 1) >= _PATIENCE:
                break
    theta = solved(theta, chosen, _tolerance(chosen), _MOST_ITERATIONS)
    weights, biases = problem.folded(theta)
    if not (np.isfinite(weights).all() and np.isfinite(biases).all()):
        raise KigraphError("the new last layer is not finite; is the weight file a trained network?")
    return Head(weights, biases, chosen, history)


def _tolerance(penalty: float) -> float:
    """An entry of the gradient moves a weight by up to its size / penalty."""
    return max(1e-9, min(1e-6, 0.01 * penalty))


def _chunks(count: int) -> list[slice]:
    return [slice(at, min(at + _ROWS, count)) for at in range(0, count, _ROWS)]
