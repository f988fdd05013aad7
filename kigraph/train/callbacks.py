"""What is called while a model is trained: early stopping, event files for TensorBoard, and a base class for one's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import GraphError, KigraphError, LoadError
from .checkpoint import Checkpoint

__all__ = ["Callback", "EarlyStopping", "TensorBoard", "Trainee", "all_callbacks", "restore_callbacks"]

Arrays: TypeAlias = "Mapping[str, np.ndarray[Any, Any]]"


class Trainee(Protocol):
    """What callbacks use of a Model."""

    #: Epochs and steps that have been made.
    epoch: int
    steps: int

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Values of the layers' variables."""

    def set_weights(self, values: Mapping[str, Any]) -> None:
        """Sets them."""

    def stop_training(self) -> None:
        """Ends the training after the epoch."""


class Callback:
    """Base class; the methods do nothing. ``model.stop_training()`` ends the training after the epoch.

    What a callback must know after an interruption is its ``state`` (plain data) and ``arrays``: both go into the checkpoint, and
    ``restore`` gets them back before training goes on.
    """

    def on_train_begin(self, model: Trainee) -> None:
        """Before the first epoch of a ``fit``, after a checkpoint has been restored."""

    def on_epoch_begin(self, model: Trainee, epoch: int) -> None:
        """``epoch``: its number, from 1."""

    def on_batch_end(self, model: Trainee, step: int, loss: float) -> None:
        """``step``: steps made so far, in all epochs. ``loss``: of the batch."""

    def on_epoch_end(self, model: Trainee, row: Mapping[str, float]) -> None:
        """``row``: the epoch's metrics, before its checkpoint is written."""

    def on_train_end(self, model: Trainee, finished: bool) -> None:
        """At the end; ``finished``: not by an error or Ctrl-C."""

    def state(self) -> dict[str, Any]:
        """Numbers, texts, lists and dicts of them."""
        return {}

    def arrays(self) -> Arrays:
        """Arrays by names."""
        return {}

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Takes what ``state`` and ``arrays`` gave."""


class EarlyStopping(Callback):
    """Ends the training when a metric has not become better by more than ``least_change`` for ``patience`` epochs.

    metric: one of the history's, 'val_loss' by default. highest: whether higher is better; default: where the name has 'accuracy'.
    restore_best: at the end the variables are those of the best epoch.
    """

    def __init__(
        self,
        metric: str = "val_loss",
        patience: int = 3,
        least_change: float = 0.0,
        *,
        highest: bool | None = None,
        restore_best: bool = True,
    ) -> None:
        if patience < 1 or least_change < 0:
            raise GraphError(
                f"EarlyStopping: patience must be at least 1 and least_change not negative, got {patience!r} and {least_change!r}"
            )
        self.metric, self.patience, self.least_change, self.restore_best = metric, patience, least_change, restore_best
        self._sign = 1 if ("accuracy" in metric if highest is None else highest) else -1
        self.best: float | None = None
        #: The best epoch so far, from 1; 0: none yet.
        self.best_epoch = 0
        self.waited = 0
        self._kept: Arrays = {}

    def on_epoch_end(self, model: Trainee, row: Mapping[str, float]) -> None:
        if self.metric not in row:
            raise GraphError(
                f"EarlyStopping: there is no metric {self.metric!r}; there are {', '.join(row)}"
                + (". Give validation_data to fit" if self.metric.startswith("val_") else "")
            )
        value = row[self.metric]
        better = self.best is None or self._sign * (value - self.best) > self.least_change
        if better and not np.isnan(value):
            self.best, self.best_epoch, self.waited = value, int(row["epoch"]), 0
            self._kept = model.weights() if self.restore_best else {}
            return
        self.waited += 1
        if self.waited >= self.patience:
            model.stop_training()

    def on_train_end(self, model: Trainee, finished: bool) -> None:
        if self._kept and finished:
            model.set_weights(self._kept)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def arrays(self) -> Arrays:
        return self._kept

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        best = state.get("best")
        self.best = None if best is None else float(best)
        self.best_epoch, self.waited = int(state.get("best_epoch", 0)), int(state.get("waited", 0))
        self._kept = dict(arrays)


class TensorBoard(Callback):
    """Event files that TensorBoard shows: every metric of every epoch, and the learning rate.

    folder: gets one file for each ``fit``. every: also the loss of every so many steps, 0: not. Names: 'loss', 'accuracy', 'val_loss', ...
    with epochs as steps; 'batch_loss' and 'learning_rate' with steps. Needs tensorboardX: pip install 'kigraph[tensorboard]'.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 0) -> None:
        try:
            import tensorboardX  # noqa: F401  (an error now, not after an epoch)
        except ImportError:
            raise KigraphError(
                "writing for TensorBoard needs tensorboardX; remedy: pip install 'kigraph[tensorboard]'"
            ) from None
        if every < 0:
            raise GraphError(f"TensorBoard: every must be 0 or a number of steps, got {every!r}")
        self.folder, self.every = os.fspath(folder), every
        self._writer: Any = None

    def on_train_begin(self, model: Trainee) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(self.folder)

    def on_batch_end(self, model: Trainee, step: int, loss: float) -> None:
        if self.every and step % self.every == 0:
            self._writer.add_scalar("batch_loss", loss, step)

    def on_epoch_end(self, model: Trainee, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "learning_rate"):
                self._writer.add_scalar(name, value, int(row["epoch"]))
        self._writer.add_scalar("learning_rate", row.get("learning_rate", model.learning_rate), model.steps)
        self._writer.flush()

    def on_train_end(self, model: Trainee, finished: bool) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def all_callbacks(given: Sequence[Callback]) -> tuple[Callback, ...]:
    """The callbacks of a fit. Raises GraphError for what is none."""
    for one in given:
        if not isinstance(one, Callback):
            raise GraphError(f"callbacks must be objects of Callback, got {type(one).__name__}")
    return tuple(given)


def restore_callbacks(callbacks: Sequence[Callback], checkpoint: Checkpoint, name: str) -> None:
    """Gives the callbacks their states back, by position. LoadError if there are others, or a state is damaged."""
    states = checkpoint.meta.get("callbacks", [])
    if len(states) != len(callbacks) and states and callbacks:
        raise LoadError(
            f"{name} has the states of {len(states)} callbacks, but there are {len(callbacks)}; give the same ones"
        )
    for number, (one, state) in enumerate(zip(callbacks, states, strict=False)):
        place = f"{number}/"
        arrays = {n.removeprefix(place): a for n, a in checkpoint.arrays.items() if n.startswith(place)}
        try:
            one.restore(state, arrays)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise LoadError(f"{name}: not the state of {type(one).__name__}: {error}") from None
