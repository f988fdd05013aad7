"""Losses of logits: tf.nn's cross-entropies."""

from __future__ import annotations

from typing import Any

from .array import reshape, shape, stop_gradient, zeros_like
from .building import convert, graph_of
from .graph import Tensor, get_default_graph
from .math import FUNCTIONS
from .parts import concat, slice, where

__all__ = [
    "log_poisson_loss", "sigmoid_cross_entropy_with_logits", "softmax_cross_entropy_with_logits", "softmax_cross_entropy_with_logits_v2", "sparse_softmax_cross_entropy_with_logits", "weighted_cross_entropy_with_logits",
]  # fmt: skip


def _given(first: Any, second: Any, name: str) -> None:
    if first is None or second is None:
        raise ValueError(f"Both `labels` and `logits` must be provided to {name}, by name")


def softmax_cross_entropy_with_logits_v2(
    labels: Any = None, logits: Any = None, axis: int | None = None, name: str | None = None, dim: int | None = None,
) -> Tensor:  # fmt: skip
    """-sum(labels * log(softmax(logits))) along the last axis; gradients flow into both."""
    _given(labels, logits, "softmax_cross_entropy_with_logits_v2")
    axis = dim if axis is None else axis
    graph = graph_of(logits, labels)
    with graph.as_default(), graph.name_scope(name or "softmax_cross_entropy_with_logits") as scope:
        logits = convert(logits, name="logits")
        labels = convert(labels, logits.dtype, name="labels")
        rank = logits.shape.ndims
        if axis not in (None, -1) and (rank is None or axis != rank - 1):
            raise ValueError("softmax_cross_entropy_with_logits: along the last axis only; transpose logits and labels")
        if rank == 2:
            made = graph.create("SoftmaxCrossEntropyWithLogits", [logits, labels], None, scope)
            return made.outputs[0]
        flat = [_rows(t) for t in (logits, labels)]
        costs = graph.create("SoftmaxCrossEntropyWithLogits", flat, None, scope).outputs[0]
        sizes = shape(logits)
        return reshape(costs, slice(sizes, [0], FUNCTIONS["subtract"](shape(sizes), 1)))


def _rows(x: Tensor) -> Tensor:
    """A matrix whose rows are the last axis."""
    sizes = shape(x)
    last = slice(sizes, FUNCTIONS["subtract"](shape(sizes), 1), [1])
    return reshape(x, concat([[-1], last], 0))


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, dim: int = -1, name: str | None = None, axis: int | None = None,
) -> Tensor:  # fmt: skip
    """As softmax_cross_entropy_with_logits_v2; no gradient flows into the labels."""
    _check_named(_sentinel, "softmax_cross_entropy_with_logits")
    _given(labels, logits, "softmax_cross_entropy_with_logits")
    with get_default_graph().name_scope(name or "softmax_cross_entropy_with_logits_sg"):
        fixed = stop_gradient(labels, name="labels_stop_gradient")
    return softmax_cross_entropy_with_logits_v2(fixed, logits, dim if axis is None else axis, name)


def _check_named(sentinel: Any, name: str) -> None:
    if sentinel is not None:
        raise ValueError(f"Only call `{name}` with named arguments (labels=..., logits=..., ...)")


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """-log(softmax(logits)) at the labels, which are numbers of classes."""
    _check_named(_sentinel, "sparse_softmax_cross_entropy_with_logits")
    _given(labels, logits, "sparse_softmax_cross_entropy_with_logits")
    graph = graph_of(logits, labels)
    default = "SparseSoftmaxCrossEntropyWithLogits"
    with graph.as_default(), graph.name_scope(name or default):
        labels, logits = convert(labels), convert(logits)
        rank = logits.shape.ndims
        if rank is not None and labels.shape.ndims is not None and labels.shape.ndims != rank - 1:
            raise ValueError(
                f"Rank mismatch: Rank of labels (received {labels.shape.ndims}) should equal rank of logits minus 1 "
                f"(received {rank})."
            )
        if rank == 2:
            return graph.create(default, [logits, labels], None, default).outputs[0]
        costs = graph.create(default, [_rows(logits), reshape(labels, [-1])], None, default).outputs[0]
        return reshape(costs, shape(labels))


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """max(x, 0) - x z + log(1 + exp(-|x|)), element by element."""
    _check_named(_sentinel, "sigmoid_cross_entropy_with_logits")
    _given(labels, logits, "sigmoid_cross_entropy_with_logits")
    f = FUNCTIONS
    with get_default_graph().name_scope(name or "logistic_loss") as scope:
        logits = convert(logits, name="logits")
        labels = convert(labels, logits.dtype, name="labels")
        if not logits.shape.is_compatible_with(labels.shape):
            raise ValueError(f"logits and labels must have the same shape ({logits.shape} vs {labels.shape})")
        positive = f["greater_equal"](logits, zeros_like(logits))
        above = where(positive, logits, zeros_like(logits))
        minus = where(positive, f["negative"](logits), logits)
        rest = f["log1p"](f["exp"](minus))
        return f["add"](f["subtract"](above, f["multiply"](logits, labels)), rest, name=scope)


def weighted_cross_entropy_with_logits(
    labels: Any = None, logits: Any = None, pos_weight: Any = None, name: str | None = None, targets: Any = None,
) -> Tensor:  # fmt: skip
    """As sigmoid_cross_entropy_with_logits, with a weight for what is true."""
    f = FUNCTIONS
    with get_default_graph().name_scope(name or "logistic_loss") as scope:
        logits = convert(logits)
        labels = convert(targets if labels is None else labels, logits.dtype)
        weight = f["add"](f["multiply"](f["subtract"](convert(pos_weight, logits.dtype), 1.0), labels), 1.0)
        rest = f["add"](f["log1p"](f["exp"](f["negative"](f["abs"](logits)))), f["relu"](f["negative"](logits)))
        return f["add"](f["multiply"](f["subtract"](1.0, labels), logits), f["multiply"](weight, rest), name=scope)


def log_poisson_loss(targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None) -> Tensor:
    """exp(c) - z c"""
    if compute_full_loss:
        raise ValueError("log_poisson_loss: compute_full_loss is not supported by kigraph.compat.v1")
    f = FUNCTIONS
    log_input = convert(log_input)
    return f["subtract"](f["exp"](log_input), f["multiply"](log_input, convert(targets, log_input.dtype)), name=name)
