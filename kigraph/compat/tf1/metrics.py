"""tf.metrics beside accuracy and mean: counts of true and false guesses, mean errors; each is (value so far, update)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .array import identity
from .building import convert
from .graph import Tensor, get_default_graph
from .losses import counter, mean
from .math import FUNCTIONS, cast, reduce_sum
from .parts import where_v2
from .variables import assign_add

__all__ = [
    "false_negatives",
    "false_positives",
    "mean_absolute_error",
    "mean_squared_error",
    "precision",
    "recall",
    "root_mean_squared_error",
    "true_negatives",
    "true_positives",
]

_f = FUNCTIONS


def _collect(value: Tensor, update: Tensor, metrics: Any, updates: Any) -> tuple[Tensor, Tensor]:
    graph = get_default_graph()
    graph.add_to_collections(metrics, value)
    graph.add_to_collections(updates, update)
    return value, update


def _count(condition: Tensor, weights: Any) -> tuple[Tensor, Tensor]:
    """How often a condition was true so far, weighted."""
    total = counter("count")
    values = cast(condition, "float32")
    if weights is not None:
        values = _f["multiply"](values, cast(weights, "float32"))
    return identity(total), assign_add(total, reduce_sum(values))


def _counts(kind: str, label: bool, guess: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    def function(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
        name: str | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        with get_default_graph().name_scope(name or kind):
            given = [cast(convert(x), "bool") for x in (labels, predictions)]
            given[0].shape.assert_is_compatible_with(given[1].shape)
            parts = [x if on else _f["logical_not"](x) for x, on in zip(given, (label, guess), strict=True)]
            value, update = _count(_f["logical_and"](*parts), weights)
            return _collect(value, update, metrics_collections, updates_collections)

    function.__doc__ = f"The number of {kind.replace('_', ' ')}, in a local variable."
    return function


true_positives, false_positives = _counts("true_positives", True, True), _counts("false_positives", False, True)
false_negatives, true_negatives = _counts("false_negatives", True, False), _counts("true_negatives", False, False)


def _share(kind: str, others: Callable[..., tuple[Tensor, Tensor]], other: str, doc: str) -> Callable[..., Any]:
    def function(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
        name: str | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        with get_default_graph().name_scope(name or kind):
            right, more = true_positives(labels, predictions, weights)
            wrong, also = others(labels, predictions, weights, name=other)
            values = [
                where_v2(_f["greater"](_f["add"](a, b), 0.0), _f["realdiv"](a, _f["add"](a, b)), 0.0, name=n)
                for a, b, n in ((right, wrong, "value"), (more, also, "update_op"))
            ]
            return _collect(values[0], values[1], metrics_collections, updates_collections)

    function.__doc__ = doc
    return function


precision = _share(
    "precision", false_positives, "false_positives", "The share of true ones in what was taken for true; 0 without any."
)
recall = _share("recall", false_negatives, "false_negatives", "The share of true ones that was found; 0 without any.")


def _error(kind: str, function: Callable[[Tensor, Tensor], Tensor], doc: str) -> Callable[..., Any]:
    def metric(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
        name: str | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        predictions = convert(predictions)
        errors = function(predictions, cast(labels, predictions.dtype))
        made: tuple[Tensor, Tensor] = mean(errors, weights, metrics_collections, updates_collections, name or kind)
        return made

    metric.__doc__ = doc
    return metric


mean_squared_error = _error("mean_squared_error", _f["squared_difference"], "The mean of (prediction - label)^2.")
mean_absolute_error = _error(
    "mean_absolute_error", lambda p, y: _f["abs"](_f["subtract"](p, y)), "The mean of |prediction - label|."
)


def root_mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The root of the mean of (prediction - label)^2."""
    value, update = mean_squared_error(labels, predictions, weights, name=name or "root_mean_squared_error")
    return _collect(_f["sqrt"](value), _f["sqrt"](update), metrics_collections, updates_collections)
