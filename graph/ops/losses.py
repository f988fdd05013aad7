"""Losses and statistics for training."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Tensor
from .array import squeeze
from .building import TensorLike, add_op, convert, convert_all
from .core import stop_gradient
from .math import reduce_mean, squared_difference

__all__ = ["moments", "softmax_cross_entropy_with_logits", "sparse_softmax_cross_entropy_with_logits"]


def softmax_cross_entropy_with_logits(labels: TensorLike, logits: TensorLike, name: str | None = None) -> Tensor:
    """-sum(labels * log_softmax(logits)) of every row. labels, logits (rows, classes) of one dtype; result (rows,)."""
    x, y = convert_all([logits, labels])
    return add_op("SoftmaxCrossEntropyWithLogits", [x, y], name)


def sparse_softmax_cross_entropy_with_logits(labels: TensorLike, logits: TensorLike, name: str | None = None) -> Tensor:
    """The same with labels as class numbers: integers (rows,)."""
    t = next((v for v in (logits, labels) if isinstance(v, Tensor)), None)
    both = [convert(logits, beside=t), convert(labels, beside=t)]
    return add_op("SparseSoftmaxCrossEntropyWithLogits", both, name)


def moments(
    x: TensorLike, axes: int | Sequence[int], keepdims: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance over axes."""
    t = convert(x)
    with t.graph.as_default(), t.graph.name_scope(name or "moments"):
        mean = reduce_mean(t, axes, keepdims=True, name="mean")
        # The mean's own share in the variance's gradient is zero: sum(x - mean) = 0.
        variance = reduce_mean(squared_difference(t, stop_gradient(mean)), axes, keepdims=keepdims, name="variance")
        return (mean if keepdims else squeeze(mean, axes)), variance
