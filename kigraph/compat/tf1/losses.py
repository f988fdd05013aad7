"""tf.losses and tf.metrics: losses that are added to a collection; counters kept in local variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import entropy
from .array import squeeze, zeros_like
from .building import convert
from .graph import GraphKeys, Tensor, get_default_graph
from .math import FUNCTIONS, add_n, cast, reduce_sum
from .variables import Variable, assign_add, lifted

__all__ = [
    "METRICS", "Reduction", "absolute_difference", "add_loss", "compute_weighted_loss", "cosine_distance", "counter", "get_losses",
    "get_regularization_loss", "get_regularization_losses", "get_total_loss", "hinge_loss", "huber_loss", "l2_regularizer", "log_loss",
    "mean_squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy", "sparse_softmax_cross_entropy",
]  # fmt: skip

_f = FUNCTIONS


class Reduction:
    """How the losses of examples become one."""

    NONE, SUM, SUM_BY_NONZERO_WEIGHTS, MEAN = "none", "weighted_sum", "weighted_sum_by_nonzero_weights", "weighted_mean"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"


def compute_weighted_loss(
    losses: Any, weights: Any = 1.0, scope: Any = None, loss_collection: Any = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """The losses, weighted and reduced; it is added to the collection."""
    with get_default_graph().name_scope(scope or "weighted_loss"):
        losses = convert(losses)
        weights = cast(convert(weights), losses.dtype)
        weighted = _f["multiply"](losses, weights)
        if reduction == Reduction.NONE:
            loss = weighted
        else:
            loss = reduce_sum(weighted)
            spread = _f["multiply"](weights, _f["add"](zeros_like(losses), np.array(1, losses.core.dtype)))
            if reduction == Reduction.MEAN:
                loss = _safe(loss, reduce_sum(spread))
            elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
                used = cast(_f["not_equal"](spread, np.zeros((), losses.core.dtype)), losses.dtype)
                loss = _safe(loss, reduce_sum(used))
            elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
                from .array import size

                loss = _safe(loss, cast(size(losses), losses.dtype))
            elif reduction != Reduction.SUM:
                raise ValueError(f"Invalid Reduction Key {reduction}.")
        if loss_collection:
            get_default_graph().add_to_collection(loss_collection, loss)
        return loss


def _safe(total: Tensor, count: Tensor) -> Tensor:
    return _f["div_no_nan"](total, count, name="value")


def add_loss(loss: Any, loss_collection: Any = GraphKeys.LOSSES) -> None:
    get_default_graph().add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: Any = GraphKeys.LOSSES) -> list[Any]:
    return get_default_graph().get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    return get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Tensor:
    """The sum of what regularizers added; 0 without any."""
    found = get_regularization_losses(scope)
    return add_n(found, name) if found else convert(0.0)


def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> Tensor:
    """The sum of the collected losses, and of those of regularizers."""
    return add_n(get_losses(scope) + (get_regularization_losses(scope) if add_regularization_losses else []), name)


def l2_regularizer(scale: float, scope: str | None = None) -> Callable[[Any], Tensor]:
    """A regularizer: scale * sum(w^2) / 2."""
    return lambda weights: _f["multiply"](
        convert(scale, "float32"), _f["l2_loss"](convert(weights)), name="l2_regularizer"
    )


def _pair(labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    if labels is None or predictions is None:
        raise ValueError("labels and predictions must not be None.")
    predictions = cast(predictions, "float32")
    labels = cast(labels, "float32")
    predictions.shape.assert_is_compatible_with(labels.shape)
    return labels, predictions


def _elementwise(default: str, function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def loss(
        labels: Any, predictions: Any, weights: Any = 1.0, scope: Any = None, loss_collection: Any = GraphKeys.LOSSES,
        reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
    ) -> Tensor:  # fmt: skip
        with get_default_graph().name_scope(scope or default) as name:
            labels, predictions = _pair(labels, predictions)
            return compute_weighted_loss(function(labels, predictions), weights, name, loss_collection, reduction)

    loss.__doc__ = f"{default}, averaged over the elements."
    return loss


absolute_difference = _elementwise("absolute_difference", lambda y, p: _f["abs"](_f["subtract"](p, y)))
mean_squared_error = _elementwise("mean_squared_error", lambda y, p: _f["squared_difference"](p, y))


def _log_loss(y: Tensor, p: Tensor) -> Tensor:
    e = 1e-7
    first = _f["multiply"](y, _f["log"](_f["add"](p, e)))
    rest = _f["multiply"](_f["subtract"](1.0, y), _f["log"](_f["add"](_f["subtract"](1.0, p), e)))
    return _f["subtract"](_f["negative"](first), rest)


log_loss = _elementwise("log_loss", _log_loss)
hinge_loss = _elementwise(
    "hinge_loss",
    lambda y, p: _f["relu"](_f["subtract"](1.0, _f["multiply"](_f["subtract"](_f["multiply"](2.0, y), 1.0), p))),
)


def huber_loss(
    labels: Any, predictions: Any, weights: Any = 1.0, delta: float = 1.0, scope: Any = None, loss_collection: Any = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Squared up to ``delta``, linear beyond."""
    with get_default_graph().name_scope(scope or "huber_loss") as name:
        labels, predictions = _pair(labels, predictions)
        off = _f["abs"](_f["subtract"](predictions, labels))
        near = _f["minimum"](off, delta)
        losses = _f["add"](
            _f["multiply"](0.5, _f["multiply"](near, near)), _f["multiply"](delta, _f["subtract"](off, near))
        )
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def cosine_distance(
    labels: Any, predictions: Any, axis: Any = None, weights: Any = 1.0, scope: Any = None, dim: Any = None
) -> Tensor:
    """1 - the scalar product along an axis of what is normalised already."""
    axis = dim if axis is None else axis
    if axis is None:
        raise ValueError("You must specify 'axis'.")
    with get_default_graph().name_scope(scope or "cosine_distance_loss") as name:
        labels, predictions = _pair(labels, predictions)
        losses = _f["subtract"](1.0, reduce_sum(_f["multiply"](predictions, labels), axis, True))
        return compute_weighted_loss(losses, weights, name)


def softmax_cross_entropy(
    onehot_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: Any = None,
    loss_collection: Any = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Softmax cross-entropy, averaged over the examples."""
    with get_default_graph().name_scope(scope or "softmax_cross_entropy_loss") as name:
        logits = convert(logits)
        labels = cast(onehot_labels, logits.dtype)
        if label_smoothing:
            count = labels.shape[-1].value
            if count is None:
                raise ValueError("softmax_cross_entropy: label_smoothing needs the number of classes")
            labels = _f["add"](_f["multiply"](labels, 1.0 - label_smoothing), label_smoothing / count)
        from .array import stop_gradient

        losses = entropy.softmax_cross_entropy_with_logits_v2(stop_gradient(labels), logits, name="xentropy")
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any, logits: Any, weights: Any = 1.0, scope: Any = None, loss_collection: Any = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Softmax cross-entropy of labels that are numbers of classes."""
    with get_default_graph().name_scope(scope or "sparse_softmax_cross_entropy_loss") as name:
        labels, logits = convert(labels), convert(logits)
        if labels.shape.ndims is not None and labels.shape.ndims == logits.shape.ndims:
            labels = squeeze(labels, [-1])
        losses = entropy.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def sigmoid_cross_entropy(
    multi_class_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: Any = None,
    loss_collection: Any = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Sigmoid cross-entropy, averaged over the elements."""
    with get_default_graph().name_scope(scope or "sigmoid_cross_entropy_loss") as name:
        logits = convert(logits)
        labels = cast(multi_class_labels, logits.dtype)
        if label_smoothing:
            labels = _f["add"](_f["multiply"](labels, 1 - label_smoothing), 0.5 * label_smoothing)
        losses = entropy.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


# --- metrics -----------------------------------------------------------------------------------------------------------------


def counter(name: str) -> Variable:
    """A local variable of a metric, 0 at first."""
    with lifted():
        keys = [GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES]
        return Variable(np.float32(0), False, keys, name=name)


def mean(
    values: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Any:
    """(mean so far, operation that counts the values in): local variables total and count."""
    from .array import ones_like

    graph = get_default_graph()
    with graph.name_scope(name or "mean"):
        values = cast(values, "float32")
        total, count = counter("total"), counter("count")
        weight = ones_like(values) if weights is None else _f["multiply"](ones_like(values), cast(weights, "float32"))
        more, number = (
            assign_add(total, reduce_sum(_f["multiply"](values, weight))),
            assign_add(count, reduce_sum(weight)),
        )
        value = _f["div_no_nan"](total.value(), count.value(), name="value")
        update = _f["div_no_nan"](more, number, name="update_op")
        for keys, item in ((metrics_collections, value), (updates_collections, update)):
            graph.add_to_collections(keys, item)
        return value, update


def accuracy(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """(share of right predictions so far, operation that counts these in)"""
    with get_default_graph().name_scope(name or "accuracy") as scope:
        labels, predictions = convert(labels), convert(predictions)
        right = cast(_f["equal"](cast(predictions, labels.dtype), labels), "float32")
        return mean(right, weights, metrics_collections, updates_collections, scope)


#: tf.metrics, by name.
METRICS: dict[str, Any] = {"accuracy": accuracy, "mean": mean}
