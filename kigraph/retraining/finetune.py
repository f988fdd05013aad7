"""Training the last blocks of the trunk with the new head: batch norm as it is, a low learning rate, a state kept after each epoch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import GraphError, KigraphError, LoadError
from ..graph import ops
from ..graph.builder import Graph
from ..graph.session import Session
from ..kernels.settings import cache_folder
from ..train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ..train.optimizers import Momentum
from .blocks import Blocks
from .features import FOLDER
from .head import Head, Labels, class_weights
from .trunk import FEATURES, Trunk, copy_ops

__all__ = ["FineTuning", "Rows", "Tuned", "fine_tune", "require_slopes"]

Values: TypeAlias = "dict[str, np.ndarray[Any, Any]]"

_BATCH = 16


class Rows(Protocol):
    """Values (n, ...) float32 that are read by slices or arrays of places."""

    def __len__(self) -> int: ...
    def __getitem__(self, places: Any, /) -> Any: ...


class _Data(Protocol):
    """Examples with their classes: head.Data, features.Examples."""

    @property
    def features(self) -> Rows: ...
    @property
    def labels(self) -> Labels: ...
    def __len__(self) -> int: ...


_WEIGHTS, _BIASES = "retrained/weights", "retrained/biases"


@dataclass(frozen=True, slots=True)
class FineTuning:
    """epochs: at most; learning_rate: of gradient descent with a momentum of 0.9; seed: of the order of examples."""

    epochs: int
    learning_rate: float
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Tuned:
    """constants: the trunk's new weights by name; head: with its new weights and a longer history; session: answers for inputs
    of the first block."""

    constants: Values
    head: Head
    scores: Callable[[Rows], np.ndarray[Any, Any]]


class _Network:
    """The last blocks and the head as a graph with variables."""

    def __init__(self, trunk: Trunk, blocks: Blocks, head: Head, rate: float, threads: int) -> None:
        source = trunk.graph
        self.names = blocks.constants
        with Graph().as_default() as graph:
            self.input = ops.placeholder("float32", [None, *(blocks.start.shape or ())[1:]], name="input")
            self.labels = ops.placeholder("int64", [None], name="labels")
            self.each = ops.placeholder("float32", [None], name="weights_of_examples")
            given = {blocks.start: self.input}
            for at, name in enumerate(self.names):
                given[source.tensor(name)] = ops.variable(
                    source.operation(name).attrs["value"].array(), name=f"trained/{at}"
                )
            features = copy_ops(graph, source.tensor(FEATURES), given)
            weights, biases = ops.variable(head.weights, name=_WEIGHTS), ops.variable(head.biases, name=_BIASES)
            logits = ops.bias_add(ops.matmul(features, weights), biases)
            losses = ops.sparse_softmax_cross_entropy_with_logits(self.labels, logits)
            self.loss = ops.reduce_sum(ops.multiply(losses, self.each))
            self.hits = ops.reduce_sum(ops.cast(ops.equal(ops.argmax(logits, 1), self.labels), "float32"))
            self.scores = ops.softmax(logits)
            self.step = Momentum(rate, 0.9).minimize(self.loss)
        self.session = Session(graph, ",".join(trunk.model.session.choice.order), threads)
        self._variables = [op.outputs[0] for op in graph.operations if op.type == "VariableV2"]

    def state(self) -> Values:
        return {v.op.name: self.session.variable_value(v) for v in self._variables}

    def answers(self, x: Rows) -> np.ndarray[Any, Any]:
        parts = [self.session.run(self.scores, {self.input: x[at : at + _BATCH]}) for at in range(0, len(x), _BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, *(self.scores.shape or ())[1:]), np.float32)

    def measured(self, data: _Data) -> tuple[float, float]:
        loss = hits = 0.0
        for at in range(0, len(data), _BATCH):
            rows = slice(at, at + _BATCH)
            each = np.full(len(data.labels[rows]), 1.0 / len(data), np.float32)
            found = self.session.run(
                [self.loss, self.hits],
                {self.input: data.features[rows], self.labels: data.labels[rows], self.each: each},
            )
            loss, hits = loss + float(found[0]), hits + float(found[1])
        return loss, hits / len(data)


def require_slopes(trunk: Trunk, blocks: Blocks) -> None:
    """GraphError for blocks that cannot be trained, naming the op that has no gradient."""
    head = Head(np.zeros((trunk.count, 2), np.float32), np.zeros(2, np.float32), 0.0, [])
    try:
        _Network(trunk, blocks, head, 1e-3, 1)
    except GraphError as error:
        raise GraphError(f"--fine-tune: {error}; train fewer blocks, or the last layer only") from None


def fine_tune(
    trunk: Trunk,
    blocks: Blocks,
    head: Head,
    training: _Data,
    validation: _Data,
    options: FineTuning,
    mark: str,
    *,
    balanced: bool,
    on_row: Callable[[dict[str, float]], None] = lambda row: None,
) -> Tuned:
    """Trains from the solved head on; the epoch with the least validation loss is kept (the last one without validation).

    training, validation: values of the blocks' first tensor. mark: the run's fingerprint, under which its state is kept in the
    cache folder after each epoch, so that an interrupted run goes on, to the same bits. KigraphError if the loss is no number.
    """
    network = _Network(trunk, blocks, head, options.learning_rate, trunk.model.session.threads)
    place = cache_folder() / FOLDER / "runs" / mark / "state.npz"
    weights = class_weights(training.labels, head.weights.shape[1], balanced).astype(np.float32)[training.labels]
    first = network.measured(validation)[0] if len(validation) else np.inf
    epoch, rows, best = _restored(network, place) or (0, [], (first, network.state()))
    while epoch < options.epochs:
        epoch += 1
        row = _epoch(network, training, weights, options, epoch)
        if len(validation):
            row["val_loss"], row["val_accuracy"] = network.measured(validation)
        if not row.get("val_loss", 0.0) > best[0]:
            best = (row.get("val_loss", np.inf), network.state())
        rows.append({"epoch": float(len(head.history) + epoch), "penalty": 0.0, **row})
        on_row(rows[-1])
        _keep(network, place, epoch, rows, best)
    network.session.set_variables(best[1])
    shutil.rmtree(place.parent, ignore_errors=True)
    constants = {name: best[1][f"trained/{at}"] for at, name in enumerate(network.names)}
    new = replace(head, weights=best[1][_WEIGHTS], biases=best[1][_BIASES], history=[*head.history, *rows])
    return Tuned(constants, new, network.answers)


def _epoch(
    network: _Network, training: _Data, weights: np.ndarray[Any, Any], options: FineTuning, epoch: int
) -> dict[str, float]:
    order = np.random.default_rng([options.seed, epoch]).permutation(len(training))
    loss = hits = 0.0
    for at in range(0, len(order), _BATCH):
        rows = order[at : at + _BATCH]
        feed = {
            network.input: training.features[rows],
            network.labels: training.labels[rows],
            network.each: weights[rows] / np.float32(len(rows)),
        }
        _, value, right = network.session.run([network.step, network.loss, network.hits], feed)
        if not np.isfinite(value):
            raise KigraphError(
                f"the loss became {value} in epoch {epoch} of fine-tuning; try a lower learning rate than {options.learning_rate:g}"
            )
        loss, hits = loss + float(value) * len(rows), hits + float(right)
    return {"loss": loss / len(order), "accuracy": hits / len(order)}


def _keep(network: _Network, place: Path, epoch: int, rows: list[dict[str, float]], best: tuple[float, Values]) -> None:
    """The state after an epoch; a cache that cannot be written costs a resumption only."""
    values = {**{f"now/{n}": v for n, v in network.state().items()}, **{f"best/{n}": v for n, v in best[1].items()}}
    values["least"] = np.asarray(best[0], np.float64)
    try:
        save_checkpoint(
            place, Checkpoint({n: np.asarray(v) for n, v in values.items()}, {"epoch": epoch, "history": rows})
        )
    except OSError:
        return


def _restored(network: _Network, place: Path) -> tuple[int, list[dict[str, float]], tuple[float, Values]] | None:
    """Epoch, history and best state of an interrupted run of the same fingerprint; the network's variables are set."""
    try:
        found = load_checkpoint(place)
        parts = {
            part: {n.removeprefix(part): v for n, v in found.variables.items() if n.startswith(part)}
            for part in ("now/", "best/")
        }
        mine = {n: (v.dtype, v.shape) for n, v in network.state().items()}
        if any({n: (v.dtype, v.shape) for n, v in part.items()} != mine for part in parts.values()):
            return None
        network.session.set_variables(parts["now/"])
        return (
            int(found.meta["epoch"]),
            [dict(row) for row in found.meta["history"]],
            (float(found.variables["least"]), parts["best/"]),
        )
    except (OSError, LoadError, KeyError, ValueError):
        return None
