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
from ..weights.embedded import CARD_NODE, card_text
from .callbacks import Callback, all_callbacks, restore_callbacks
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .data import Arrays, Batch, Source, class_weights, source_of
from .freezing import freeze
from .history import History
from .layers import Dropout, Layer
from .optimizers import Adam, Optimizer
from .photographs import Folder
from .training import Training

__all__ = ["Loss", "Model"]

Loss = Literal["softmax_cross_entropy", "mean_squared_error"]
Value = np.ndarray[Any, Any]

_EVALUATION_BATCH = 256


class Model:
    """A trainable stack of layers.

    layers: applied one after the other to x (batch, *input_shape) float32. loss: 'softmax_cross_entropy' (the last layer
    gives logits, labels are class numbers) or 'mean_squared_error' (labels have the last layer's shape). seed: of the
    initial weights, the shuffling, augmentation and dropout; equal seeds give equal bits on one backend and thread count.
    label_smoothing: s, from 0 to 1: the right class counts 1 - s + s / classes and every other s / classes.
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
        label_smoothing: float = 0.0,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        pixel_scale: tuple[float, float] = (0.0, 255.0),
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        if loss not in ("softmax_cross_entropy", "mean_squared_error"):
            raise GraphError(f"unknown loss {loss!r}; known: softmax_cross_entropy, mean_squared_error")
        if not 0 <= label_smoothing < 1 or (label_smoothing and loss != "softmax_cross_entropy"):
            raise GraphError(
                f"label_smoothing must be at least 0 and less than 1, and goes with softmax_cross_entropy; got {label_smoothing!r} for {loss}"
            )
        self.layers, self.loss_name, self.label_smoothing = list(layers), loss, float(label_smoothing)
        self.input_shape = tuple(int(d) for d in input_shape)
        self.classes = None if classes is None else tuple(classes)
        self.pixel_scale = (float(pixel_scale[0]), float(pixel_scale[1]))
        self.optimizer = optimizer or Adam()
        self.graph = Graph()
        self.history = History()
        #: Epochs and steps that have been made.
        self.epoch = self.steps = 0
        self._stops = False
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
            self._classes = (training.shape or (None,))[-1]
            self.output = ops.softmax(inference, name="predictions")
        else:
            self.labels = ops.placeholder("float32", training.shape, name="labels")
            self.output = ops.identity(inference, name="predictions")
        #: Weights of the examples' losses; 1 unless they are fed.
        self.weights_of_examples = ops.placeholder_with_default(np.ones(1, np.float32), [None], name="sample_weight")
        self.training_loss = self._loss(training, "training_loss")
        self.inference_loss = self._loss(inference, "inference_loss")
        self.hits = self._hits(inference)
        self._training_hits = self._hits(training)
        self._own = self._variables()
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
        """The mean over the batch of weight * loss, as Keras has it; for squares the loss of an example is their mean."""
        if self.loss_name != "softmax_cross_entropy":
            losses = ops.squared_difference(result, self.labels)
            rank = losses.type.rank or 1
            losses = ops.reduce_mean(losses, list(range(1, rank))) if rank > 1 else losses
        elif self.label_smoothing:
            classes = (result.shape or (None,))[-1]
            if classes is None:
                raise GraphError("label_smoothing needs to know the number of classes; end with a Dense layer")
            other = self.label_smoothing / classes
            hot = ops.one_hot(self.labels, classes, np.float32(1 - self.label_smoothing + other), np.float32(other))
            losses = ops.softmax_cross_entropy_with_logits(labels=hot, logits=result)
        else:
            losses = ops.sparse_softmax_cross_entropy_with_logits(self.labels, result)
        return ops.reduce_mean(ops.multiply(losses, self.weights_of_examples), name=name)

    def _hits(self, result: Tensor) -> Tensor | None:
        if self.loss_name != "softmax_cross_entropy":
            return None
        return ops.reduce_sum(ops.cast(ops.equal(ops.argmax(result, 1), self.labels), "float32"))

    # --- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        *,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        validation_data: tuple[Any, ...] | Source | None = None,
        shuffle: bool = True,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    ) -> History:
        """Trains until ``epochs`` epochs are done in all; returns the history of all of them.

        x, y: arrays of equal length; or x alone: a folder of photographs (``folder``), or a function without arguments that returns
        the batches of an epoch, tuples (x, y) or (x, y, weights).
        sample_weight (examples,): factors of the examples' losses; class_weight: of the losses of classes, by number.
        validation_data: (x, y) or such a source; its metrics are in the history as 'val_loss' and so on.
        shuffle: a new order in every epoch, and augmentation. callbacks: see callbacks.py.
        checkpoint: a file that is written after every epoch; if it exists, training goes on from it, to the same bits as
        without the interruption. progress: a bar on the terminal. on_epoch: called with each epoch's metrics.
        """
        if batch_size < 1 or epochs < 0:
            raise GraphError(f"batch_size must be at least 1 and epochs at least 0, got {batch_size} and {epochs}")
        source = self._source(x, y, sample_weight)
        classes = self._classes if self.loss_name == "softmax_cross_entropy" else None
        weights = class_weights(class_weight, classes)
        validation = None if validation_data is None else self._validation(validation_data)
        run = Training(self, source, batch_size, shuffle, weights, validation, all_callbacks(callbacks))
        run.run(epochs, checkpoint, progress, on_epoch)
        return self.history

    def stop_training(self) -> None:
        """Ends the training after the epoch that is under way; for callbacks."""
        self._stops = True

    def resume(self, checkpoint: str | os.PathLike[str] | None, callbacks: Sequence[Callback]) -> None:
        """Before a training: takes its state from a checkpoint, if there is one."""
        self._stops = False
        if checkpoint is not None:
            self.restore(checkpoint, callbacks)

    def batches(self, source: Source, size: int, shuffle: bool) -> Iterator[Batch]:
        """One epoch of a source, by the model's generator."""
        return source.batches(size, self._rng if shuffle else None)

    @property
    def stops(self) -> bool:
        """Whether the training has been ended by ``stop_training``."""
        return self._stops

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        if self.optimizer.schedule is not None or self.optimizer.rate is None:
            return self.optimizer.rate_at(self.steps)
        return float(self.session.variable_value(self.optimizer.rate))

    def set_learning_rate(self, rate: float) -> None:
        """Changes the optimizer's rate from the next step on; it is part of a checkpoint."""
        if self.optimizer.schedule is not None or self.optimizer.rate is None:
            raise GraphError(
                "set_learning_rate: the optimizer has a schedule; give it a number as learning_rate instead"
            )
        self.session.set_variables({self.optimizer.rate.op.name: np.float32(rate)})

    def train_batch(self, batch: Batch) -> tuple[float, float]:
        """One step; the loss, and how many answers were right (0 without classes). Raises KigraphError if the loss is not finite."""
        feed: dict[Tensor, Any] = {self.input: batch.x, self.labels: batch.y, **self._noise(len(batch))}
        feed |= self.optimizer.feeds(self.steps)
        if batch.weights is not None:
            feed[self.weights_of_examples] = batch.weights
        fetches = [self.step, self.training_loss, *([] if self._training_hits is None else [self._training_hits])]
        _, value, *hit = self.session.run(fetches, feed)
        if not np.isfinite(value):
            raise KigraphError(
                f"the loss became {value} in epoch {self.epoch + 1}, step {self.steps + 1}; "
                f"try a lower learning rate than {self.learning_rate}"
            )
        self.steps += 1
        return float(value), float(hit[0]) if hit else 0.0

    def _noise(self, batch: int) -> dict[Tensor, Value]:
        """Uniform numbers for the dropout layers, from the model's generator."""
        return {
            layer.noise: self._rng.random((batch, *(d for d in (layer.noise.shape or ())[1:] if d)), dtype=np.float32)
            for layer in self.layers
            if isinstance(layer, Dropout) and layer.noise is not None
        }

    def _source(self, x: Any, y: Any, weights: Any) -> Source:
        if (
            isinstance(x, Folder)
            and (x.preprocessing.normalization.mean[0], x.preprocessing.normalization.std[0]) != self.pixel_scale
        ):
            raise GraphError(
                f"the folder gives {x.preprocessing.normalization}, but the model has pixel_scale {self.pixel_scale}, which it writes "
                "into its file; give both the same mean and std"
            )
        return source_of(x, y, weights, self._arrays)

    def _validation(self, data: Any) -> Source:
        if isinstance(data, tuple | list):
            if len(data) not in (2, 3):
                raise GraphError(f"validation_data must be (x, y) or (x, y, sample_weight), got {len(data)} values")
            return self._source(data[0], data[1], data[2] if len(data) == 3 else None)
        return self._source(data, None, None)

    def _arrays(self, x: Any, y: Any, weights: Any) -> Arrays:
        batch = self.checked(Batch(x, y, weights))
        return Arrays(batch.x, batch.y, batch.weights)

    def checked(self, batch: Batch) -> Batch:
        """The batch as arrays of the model's types. Raises GraphError if its shapes, labels or weights do not fit."""
        data = as_array(batch.x, self.input.dtype, "x")
        target = as_array(batch.y, self.labels.dtype, "y")
        if data.shape[1:] != self.input_shape:
            raise GraphError(f"x must have shape (examples, {', '.join(map(str, self.input_shape))}), got {data.shape}")
        if len(data) != len(target) or not len(data):
            raise GraphError(
                f"x and y must have the same number of examples, at least one; got {len(data)} and {len(target)}"
            )
        if self.label_smoothing and (target.min() < 0 or target.max() >= (self._classes or 0)):
            raise GraphError(
                f"labels go from {target.min()} to {target.max()}; expected 0 to {(self._classes or 0) - 1}"
            )
        weights = None
        if batch.weights is not None:
            weights = as_array(batch.weights, self.weights_of_examples.dtype, "sample_weight")
            if weights.shape != (len(data),) or not (np.isfinite(weights) & (weights >= 0)).all():
                raise GraphError(
                    f"sample_weight must be {len(data)} numbers of at least 0, one for each example; got shape {weights.shape}"
                )
        return Batch(data, target, weights)

    # --- using --------------------------------------------------------------------------------------------------------

    def evaluate(self, x: Any, y: Any = None, *, sample_weight: Any = None) -> dict[str, float]:
        """Loss, and for classes the accuracy, over all examples. x, y: as for ``fit``."""
        return self.evaluate_source(self._source(x, y, sample_weight))

    def evaluate_source(self, source: Source) -> dict[str, float]:
        """``evaluate`` of a source of batches, in order and unchanged."""
        loss = hits = 0.0
        count = 0
        fetches = [self.inference_loss, *([] if self.hits is None else [self.hits])]
        for given in source.batches(_EVALUATION_BATCH, None):
            batch = given if isinstance(source, Arrays) else self.checked(given)
            feed: dict[Tensor, Any] = {self.input: batch.x, self.labels: batch.y}
            if batch.weights is not None:
                feed[self.weights_of_examples] = batch.weights
            value, *hit = self.session.run(fetches, feed)
            loss += float(value) * len(batch)
            hits += float(hit[0]) if hit else 0.0
            count += len(batch)
        if not count:
            raise GraphError("evaluate: there is no example")
        result = {"loss": loss / count}
        return result if self.hits is None else {**result, "accuracy": hits / count}

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

    def weights(self) -> dict[str, Value]:
        """Values of the layers' variables by name, moving averages too, without the optimizer's."""
        return {v.op.name: self.session.variable_value(v) for v in self._own}

    def set_weights(self, values: Mapping[str, Any]) -> None:
        """Sets what ``weights`` gave."""
        self.session.set_variables(values)

    def save_checkpoint(self, path: str | os.PathLike[str], callbacks: Sequence[Callback] = ()) -> Path:
        """Writes all state of the training run, atomically."""
        values = {v.op.name: self.session.variable_value(v) for v in self._variables()}
        meta = {
            "epoch": self.epoch, "steps": self.steps, "stopped": self._stops, "generator": self._rng.bit_generator.state,
            "history": self.history.rows, "callbacks": [c.state() for c in callbacks],
        }  # fmt: skip
        arrays = {f"{i}/{name}": value for i, c in enumerate(callbacks) for name, value in c.arrays().items()}
        return save_checkpoint(path, Checkpoint(values, meta, arrays))

    def restore(self, path: str | os.PathLike[str], callbacks: Sequence[Callback] = ()) -> None:
        """Takes all state from a checkpoint of a model of the same layers; LoadError if it does not fit.

        A rate that the checkpoint has as a number is dropped where the optimizer has a schedule.
        """
        checkpoint = load_checkpoint(path)
        rate = None if self.optimizer.rate is None else self.optimizer.rate.op.name
        mine = {v.op.name: v.type for v in self._variables()}
        theirs = {n: a for n, a in checkpoint.variables.items() if n in mine or n != rate}
        wrong = [
            n for n, t in mine.items()
            if n != rate and (n not in theirs or (theirs[n].dtype, theirs[n].shape) != (t.dtype, t.shape))
        ] + [n for n in theirs if n not in mine]  # fmt: skip
        if wrong:
            raise LoadError(
                f"{os.fspath(path)} is a checkpoint of another model: variables differ: {', '.join(wrong[:6])}"
            )
        try:
            self._rng.bit_generator.state = checkpoint.meta.get("generator", {})
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise LoadError(f"{os.fspath(path)}: not the state of a generator of random numbers: {error}") from None
        self.session.set_variables(theirs)
        self.epoch = checkpoint.meta.get("epoch", 0)
        self.steps = checkpoint.meta.get("steps", -1)
        self._stops = checkpoint.meta.get("stopped") is True
        self.history = History([dict(row) for row in checkpoint.meta.get("history", [])])
        restore_callbacks(callbacks, checkpoint, os.fspath(path))


def _slices(count: int) -> Iterator[slice]:
    return (slice(s, s + _EVALUATION_BATCH) for s in range(0, count, _EVALUATION_BATCH))
