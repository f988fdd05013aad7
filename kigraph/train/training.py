"""The training loop: epochs over a source of batches, with callbacks, checkpoints and one progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import GraphError
from ..progress import Bar
from .callbacks import Callback, Trainee
from .data import Arrays, Batch, Source
from .history import History
from .optimizers import Optimizer

__all__ = ["Training"]


class Loop(Trainee, Protocol):
    """What the loop uses of a Model."""

    history: History
    optimizer: Optimizer
    hits: Any

    @property
    def stops(self) -> bool:
        """Whether ``stop_training`` has been called."""

    def resume(self, checkpoint: str | os.PathLike[str] | None, callbacks: Sequence[Callback]) -> None:
        """Takes the state of a checkpoint."""

    def save_checkpoint(self, path: str | os.PathLike[str], callbacks: Sequence[Callback] = ()) -> Path:
        """Writes all state."""

    def batches(self, source: Source, size: int, shuffle: bool) -> Iterator[Batch]:
        """One epoch of a source."""

    def checked(self, batch: Batch) -> Batch:
        """The batch as arrays that fit."""

    def train_batch(self, batch: Batch) -> tuple[float, float]:
        """One step; loss, and right answers."""

    def evaluate_source(self, source: Source) -> dict[str, float]:
        """Metrics over a source."""


@dataclass(frozen=True, slots=True)
class Training:
    """One ``fit`` of a model. ``weights``: of the classes; None: all 1."""

    model: Loop
    source: Source
    batch_size: int
    shuffle: bool
    weights: np.ndarray[Any, Any] | None
    validation: Source | None
    callbacks: Sequence[Callback]

    def run(
        self,
        epochs: int,
        checkpoint: str | os.PathLike[str] | None,
        progress: bool,
        on_epoch: Callable[[Mapping[str, float]], None] | None,
    ) -> None:
        """Trains until ``epochs`` epochs are done in all, from the checkpoint if there is one."""
        model = self.model
        model.resume(None if checkpoint is None or not Path(checkpoint).exists() else checkpoint, self.callbacks)
        batches = self.source.count(self.batch_size)
        if model.steps < 0:  # a checkpoint of kigraph 0.1
            model.steps = model.epoch * (batches or 0)
        for one in self.callbacks:
            one.on_train_begin(model)
        finished = False
        total = None if batches is None else max(epochs - model.epoch, 0) * batches
        try:
            with Bar("training", total, quiet=not progress or model.epoch >= epochs) as bar:
                bar.update(0)
                while model.epoch < epochs and not model.stops:
                    row = self._epoch(bar)
                    if checkpoint is not None:
                        model.save_checkpoint(checkpoint, self.callbacks)
                    if on_epoch is not None:
                        on_epoch(row)
            finished = True
        finally:
            for one in self.callbacks:
                one.on_train_end(model, finished)

    def _epoch(self, bar: Bar) -> dict[str, float]:
        model = self.model
        for one in self.callbacks:
            one.on_epoch_begin(model, model.epoch + 1)
        row = {"epoch": model.epoch + 1, **self._train(bar)}
        if self.validation is not None:
            row |= {f"val_{k}": v for k, v in model.evaluate_source(self.validation).items()}
        if model.optimizer.schedule is not None:
            row["learning_rate"] = model.optimizer.rate_at(model.steps - 1)
        model.epoch += 1
        model.history.rows.append(row)
        bar.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))
        for one in self.callbacks:
            one.on_epoch_end(model, row)
        return row

    def _train(self, bar: Bar) -> dict[str, float]:
        model = self.model
        loss = hits = 0.0
        done = 0
        for given in model.batches(self.source, self.batch_size, self.shuffle):
            batch = self._weighted(given if isinstance(self.source, Arrays) else model.checked(given))
            value, right = model.train_batch(batch)
            loss += value * len(batch)
            hits += right
            done += len(batch)
            bar.update(what=f"loss {loss / done:.4g}")
            for one in self.callbacks:
                one.on_batch_end(model, model.steps, value)
        if not done:
            raise GraphError(f"epoch {model.epoch + 1}: there is no batch to train on; expected one at least")
        result = {"loss": loss / done}
        return result if model.hits is None else {**result, "accuracy": hits / done}

    def _weighted(self, batch: Batch) -> Batch:
        """The batch with its classes' weights."""
        if self.weights is None:
            return batch
        if batch.y.min() < 0 or batch.y.max() >= len(self.weights):
            raise GraphError(
                f"labels go from {batch.y.min()} to {batch.y.max()}; expected 0 to {len(self.weights) - 1}"
            )
        weights = self.weights[batch.y]
        return Batch(batch.x, batch.y, weights if batch.weights is None else weights * batch.weights)
