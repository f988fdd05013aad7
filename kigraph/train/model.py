"""Model: a stack of layers with a loss, its training loop, and export to a file that other programs load."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import GraphError, KigraphError, LoadError
from ..graph import ops
from ..graph.builder import Graph, Operation, Tensor
from ..graph.session import Session
from ..graph.values import as_array
from ..progress import Bar
from ..weights.embedded import CARD_NODE, card_text
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .freezing import freeze
from .history import History
from .layers import Dropout, Layer
from .optimizers import Adam, Optimizer

__all__ = ["Loss", "Model"]

Loss = Literal["softmax_cross_entropy", "mean_squared_error"]
Value = np.ndarray[Any, Any]

_EVALUATION_BATCH = 256


class Model:
    """A trainable stack of layers.

    layers: applied one after the other to x (batch, *input_shape) float32. loss: 'softmax_cross_entropy' (the last layer
    gives logits, labels are class numbers) or 'mean_squared_error' (labels have the last layer's shape). seed: of the
    initial weights, the shuffling and dropout; equal seeds give equal bits on one backend and thread count.
    classes: names of the classes, written into the saved file. pixel_scale: (mean, std): x was made of pixels 0 to 255 as
    (pixel - mean) / std, so that a program that loads the file does the same. backend, threads: as for Session.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Sequence[int],
        *,
        loss: Loss = "softmax_cross_entropy",
        optimizer: Optimizer | None = None,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        pixel_scale: tuple[float, float] = (0.0, 255.0),
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        if loss not in ("softmax_cross_entropy", "mean_squared_error"):
            raise GraphError(f"unknown loss {loss!r}; known: softmax_cross_entropy, mean_squared_error")
        self.layers, self.loss_name = list(layers), loss
        self.input_shape = tuple(int(d) for d in input_shape)
        self.classes = None if classes is None else tuple(classes)
        self.pixel_scale = (float(pixel_scale[0]), float(pixel_scale[1]))
        self.optimizer = optimizer or Adam()
        self.graph = Graph()
        self.history = History()
        self.epoch = 0
        self._rng = np.random.default_rng(seed)
        with self.graph.as_default():
            self._build(np.random.default_rng([seed, 1]))
        self.session = Session(self.graph, backend, threads)

    # --- the graph ----------------------------------------------------------------------------------------------------

    def _build(self, rng: np.random.Generator) -> None:
        self.input = ops.placeholder("float32", [None, *self.input_shape], name="input")
        self._scopes = [self.graph.unique_name(layer.name or type(layer).__name__.lower()) for layer in self.layers]
        training = self._training_stack(rng)
        inference = self._inference_stack()
        if self.loss_name == "softmax_cross_entropy":
            if training.type.rank != 2:
                raise GraphError(f"the last layer must give (batch, classes), it gives {training.type}")
            if self.classes is not None and (training.shape or (None,))[-1] != len(self.classes):
                raise GraphError(f"the last layer gives {training.type}, but there are {len(self.classes)} class names")
            self.labels = ops.placeholder("int64", [None], name="labels")
            self.output = ops.softmax(inference, name="predictions")
        else:
            self.labels = ops.placeholder("float32", training.shape, name="labels")
            self.output = ops.identity(inference, name="predictions")
        self.training_loss = self._loss(training, "training_loss")
        self.inference_loss = self._loss(inference, "inference_loss")
        self.hits = self._hits(inference)
        self._training_hits = self._hits(training)
        step = self.optimizer.minimize(self.training_loss)
        updates = [u for layer in self.layers for u in layer.updates]
        self.step: Operation = ops.group(step, *updates, name="train_and_update") if updates else step

    def _training_stack(self, rng: np.random.Generator) -> Tensor:
        """Makes each layer's variables for the shape of its input, and applies it."""
        x = self.input
        for layer, name in zip(self.layers, self._scopes, strict=True):
            sizes = (x.shape or ())[1:]
            if None in sizes:
                raise GraphError(f"{name}: the shape of its input is not known: {x.type}")
            with self.graph.name_scope(f"{name}/"):
                layer.build(tuple(d for d in sizes if d is not None), rng)
            with self.graph.name_scope(f"training/{name}/"):
                x = layer.apply(x, True)
        return x

    def _inference_stack(self) -> Tensor:
        """The same variables without what only training needs."""
        x = self.input
        for layer, name in zip(self.layers, self._scopes, strict=True):
            with self.graph.name_scope(f"inference/{name}/"):
                x = layer.apply(x, False)
        return x

    def _loss(self, result: Tensor, name: str) -> Tensor:
        if self.loss_name == "softmax_cross_entropy":
            return ops.reduce_mean(ops.sparse_softmax_cross_entropy_with_logits(self.labels, result), name=name)
        return ops.reduce_mean(ops.squared_difference(result, self.labels), name=name)

    def _hits(self, result: Tensor) -> Tensor | None:
        if self.loss_name != "softmax_cross_entropy":
            return None
        return ops.reduce_sum(ops.cast(ops.equal(ops.argmax(result, 1), self.labels), "float32"))

    # --- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int = 1,
        batch_size: int = 32,
        *,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    ) -> History:
        """Trains until ``epochs`` epochs are done in all; returns the history of all of them.

        checkpoint: a file that is written after every epoch; if it exists, training goes on from it, to the same bits as
        without the interruption. progress: a bar on the terminal. on_epoch: called with each epoch's metrics.
        """
        data, target = self._data(x, y)
        if batch_size < 1 or epochs < 0:
            raise GraphError(f"batch_size must be at least 1 and epochs at least 0, got {batch_size} and {epochs}")
        if checkpoint is not None and Path(checkpoint).exists():
            self.restore(checkpoint)
        batches = max(epochs - self.epoch, 0) * -(-len(data) // batch_size)
        with Bar("training", batches, quiet=not progress) as bar:
            bar.update(0)
            while self.epoch < epochs:
                row = {"epoch": self.epoch + 1, **self._train_epoch(data, target, batch_size, shuffle, bar)}
                if validation_data is not None:
                    row |= {f"val_{k}": v for k, v in self.evaluate(*validation_data).items()}
                self.epoch += 1
                self.history.rows.append(row)
                bar.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))
                if checkpoint is not None:
                    self.save_checkpoint(checkpoint)
                if on_epoch is not None:
                    on_epoch(row)
        return self.history

    def set_learning_rate(self, rate: float) -> None:
        """Changes the optimizer's rate from the next step on (for schedules); it is part of a checkpoint."""
        assert self.optimizer.rate is not None
        self.session.set_variables({self.optimizer.rate.op.name: np.float32(rate)})

    def _train_epoch(self, x: Value, y: Value, batch_size: int, shuffle: bool, bar: Bar) -> dict[str, float]:
        order = self._rng.permutation(len(x)) if shuffle else np.arange(len(x))
        loss = hits = 0.0
        fetches = [self.step, self.training_loss, *([] if self._training_hits is None else [self._training_hits])]
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            feed = {self.input: x[rows], self.labels: y[rows], **self._noise(len(rows))}
            _, value, *hit = self.session.run(fetches, feed)
            if not np.isfinite(value):
                raise KigraphError(
                    f"the loss became {value} in epoch {self.epoch + 1}, batch {start // batch_size + 1}; "
                    f"try a lower learning rate than {self.optimizer.learning_rate}"
                )
            loss += float(value) * len(rows)
            hits += float(hit[0]) if hit else 0.0
            bar.update(what=f"loss {loss / (start + len(rows)):.4g}")
        result = {"loss": loss / max(len(x), 1)}
        return result if self.hits is None else {**result, "accuracy": hits / max(len(x), 1)}

    def _noise(self, batch: int) -> dict[Tensor, Value]:
        """Uniform numbers for the dropout layers, from the model's generator."""
        return {
            layer.noise: self._rng.random((batch, *(d for d in (layer.noise.shape or ())[1:] if d)), dtype=np.float32)
            for layer in self.layers
            if isinstance(layer, Dropout) and layer.noise is not None
        }

    def _data(self, x: Any, y: Any) -> tuple[Value, Value]:
        data = as_array(x, self.input.dtype, "x")
        target = as_array(y, self.labels.dtype, "y")
        if data.shape[1:] != self.input_shape:
            raise GraphError(f"x must have shape (examples, {', '.join(map(str, self.input_shape))}), got {data.shape}")
        if len(data) != len(target) or not len(data):
            raise GraphError(
                f"x and y must have the same number of examples, at least one; got {len(data)} and {len(target)}"
            )
        return data, target

    # --- using --------------------------------------------------------------------------------------------------------

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """Loss, and for classes the accuracy, over all examples."""
        data, target = self._data(x, y)
        loss = hits = 0.0
        fetches = [self.inference_loss, *([] if self.hits is None else [self.hits])]
        for rows in _slices(len(data)):
            value, *hit = self.session.run(fetches, {self.input: data[rows], self.labels: target[rows]})
            loss += float(value) * len(data[rows])
            hits += float(hit[0]) if hit else 0.0
        result = {"loss": loss / len(data)}
        return result if self.hits is None else {**result, "accuracy": hits / len(data)}

    def predict(self, x: Any) -> Value:
        """Class probabilities (batch, classes), or the last layer's result for mean_squared_error."""
        data = as_array(x, self.input.dtype, "x")
        parts = [self.session.run(self.output, {self.input: data[rows]}) for rows in _slices(len(data))]
        return np.concatenate(parts) if parts else np.zeros((0, *(self.output.shape or ())[1:]), np.float32)

    def frozen(self) -> Graph:
        """The trained network as a plain graph: input 'input:0', output 'predictions:0'."""
        graph = freeze(self.session, [self.output])
        if len(self.input_shape) == 3 and self.input_shape[2] == 3 and self.loss_name == "softmax_cross_entropy":
            mean, std = self.pixel_scale
            text = card_text(
                input="input:0", output="predictions:0", size=self.input_shape[:2], mean=mean, std=std, rule="keras_bilinear",
                classes=self.classes, title="trained with kigraph",
            )  # fmt: skip
            with graph.as_default():
                ops.constant(text.encode(), name=CARD_NODE)
        return graph

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the trained network: '.pb' a TensorFlow frozen GraphDef, '.onnx' ONNX. Class names go along."""
        from ..saving import save_graph

        return save_graph(self.frozen(), path, outputs=["predictions:0"])

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _variables(self) -> list[Tensor]:
        return [op.outputs[0] for op in self.graph.operations if op.type == "VariableV2"]

    def save_checkpoint(self, path: str | os.PathLike[str]) -> Path:
        """Writes all state of the training run, atomically."""
        values = {v.op.name: self.session.variable_value(v) for v in self._variables()}
        meta = {"epoch": self.epoch, "generator": self._rng.bit_generator.state, "history": self.history.rows}
        return save_checkpoint(path, Checkpoint(values, meta))

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Takes all state from a checkpoint of a model of the same layers; LoadError if it does not fit."""
        checkpoint = load_checkpoint(path)
        mine = {v.op.name: v.type for v in self._variables()}
        theirs = {n: (a.dtype, a.shape) for n, a in checkpoint.variables.items()}
        wrong = [n for n, t in mine.items() if theirs.get(n) != (t.dtype, t.shape)] + [
            n for n in theirs if n not in mine
        ]
        if wrong:
            raise LoadError(
                f"{os.fspath(path)} is a checkpoint of another model: variables differ: {', '.join(wrong[:6])}"
            )
        try:
            self._rng.bit_generator.state = checkpoint.meta.get("generator", {})
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise LoadError(f"{os.fspath(path)}: not the state of a generator of random numbers: {error}") from None
        self.session.set_variables(checkpoint.variables)
        self.epoch = checkpoint.meta.get("epoch", 0)
        self.history = History([dict(row) for row in checkpoint.meta.get("history", [])])


def _slices(count: int) -> Iterator[slice]:
    return (slice(s, s + _EVALUATION_BATCH) for s in range(0, count, _EVALUATION_BATCH))
