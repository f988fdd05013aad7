"""Losses of classification, which networks exported in training mode end with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...builder import Tensor
from .node import Converter, Node, Outputs

__all__ = ["CONVERTERS"]


def _rows(n: Node, x: Tensor) -> tuple[Tensor, int]:
    """(batch, classes, ...) with the classes last, as a matrix; the classes."""
    rank, classes = n.rank(x), n.shape(x)[1] if n.rank(x) > 1 else None
    if classes is None:
        raise n.unsupported("a loss of an unknown number of classes")
    last = n.transpose(x, [0, *range(2, rank), 1])
    return n.op("Reshape", last, n.const([-1, classes] if classes else [0, 0])), classes


def _loss(n: Node, scores: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    """Minus the score of the label, times the label's weight; what has the label ignore_index counts nothing."""
    matrix, classes = _rows(n, scores)
    flat = n.reshape(n.cast(labels, "int64"), [-1])
    left_out = None
    if n.has("ignore_index"):
        left_out = n.op("Equal", flat, n.const(n.integer("ignore_index", 0)))
        flat = n.op("SelectV2", left_out, n.const(0), flat)
    count = n.op("Reshape", n.op("Shape", flat, out_type=np.dtype(np.int64)), n.const([], "int64"))
    starts = n.op("Mul", n.op("Range", n.const(0), count, n.const(1)), n.const(classes))
    inside = n.op("LogicalAnd", n.op("GreaterEqual", flat, n.const(0)), n.op("Less", flat, n.const(classes)))
    # A label that no class has is an error, not the score of the next row.
    place = n.op("SelectV2", inside, n.op("AddV2", starts, flat), n.const(-1))
    loss = n.op("Neg", n.op("GatherV2", n.reshape(matrix, [-1]), place, n.const(0)))
    share = n.op("OnesLike", loss) if weight is None else n.op("GatherV2", weight, flat, n.const(0))
    if left_out is not None:
        loss = n.op("SelectV2", left_out, n.like(loss, 0), loss)
        share = n.op("SelectV2", left_out, n.like(loss, 0), share)
    return _reduced(n, loss if weight is None else n.op("Mul", loss, share), share, labels)


def _reduced(n: Node, loss: Tensor, share: Tensor, labels: Tensor) -> Tensor:
    reduction, every = n.text("reduction", "mean"), n.const([0])
    if reduction == "none":
        return n.op("Reshape", loss, n.sizes(labels))
    if reduction not in ("sum", "mean"):
        raise n.wrong(f"reduction {reduction[:40]!r}", "none, sum or mean")
    total = n.op("Sum", loss, every)
    return total if reduction == "sum" else n.op("RealDiv", total, n.op("Sum", share, every))


def _likelihood(n: Node) -> Tensor:
    return _loss(n, n.input(0), n.input(1), n.optional(2))


def _cross_entropy(n: Node) -> Outputs:
    """Of the softmax over the classes, whose logarithm is the second output."""
    scores = n.op("LogSoftmax", n.input(0), axis=1)
    return _loss(n, scores, n.input(1), n.optional(2)), scores


CONVERTERS: Mapping[str, Converter] = {
    "NegativeLogLikelihoodLoss": _likelihood,
    "SoftmaxCrossEntropyLoss": _cross_entropy,
}
