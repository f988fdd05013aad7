"""The blocks of a trunk: parts between two tensors through which everything goes, each with weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import GraphError
from ..graph.builder import Graph, Operation, Tensor
from .trunk import FEATURES, IMAGES, needed_ops

__all__ = ["Blocks", "last_blocks"]

#: Ops with weights as their second input, and those whose second input is a bias.
_WEIGHTED = frozenset(["Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMul", "BatchMatMulV2"])
_BIASED = frozenset(["BiasAdd"])


@dataclass(frozen=True, slots=True)
class Blocks:
    """The last blocks. start: the tensor that goes in; constants: names of the constants that are their weights and biases."""

    start: Tensor
    constants: tuple[str, ...]


def last_blocks(graph: Graph, count: int) -> Blocks:
    """The last ``count`` blocks before FEATURES of a trunk's graph. GraphError where it has fewer.

    Statistics, scales and offsets of batch norm are not among the constants: they stay as they are.
    """
    images, features = graph.tensor(IMAGES), graph.tensor(FEATURES)
    way = _way(images, features)
    starts = _starts(images, features, way)
    if count > len(starts):
        raise GraphError(
            f"--fine-tune {count}: the trunk has {len(starts)} blocks with weights; expected at most that many"
        )
    start = starts[-count]
    needed, reached = needed_ops(features, {start: start}), {images.op, *way}
    found = {name for op in way if op in needed for name in _constants(op, reached)}
    constants = [op.name for op in graph.operations if op.name in found]  # in the same order in every process
    if not constants:
        raise GraphError(f"--fine-tune {count}: what follows {start.name} has no weights of float32 to train")
    return Blocks(start, tuple(constants))


def _way(images: Tensor, features: Tensor) -> list[Operation]:
    """Operations between images and features, in order."""
    needed, reached = needed_ops(features, {images: images}), {images.op}
    found = []
    for op in images.graph.operations:
        if op in needed and any(t.op in reached for t in op.inputs):
            reached.add(op)
            found.append(op)
    return found


def _starts(images: Tensor, features: Tensor, way: list[Operation]) -> list[Tensor]:
    """Tensors before which, and after which, everything is: the one before each part with weights."""
    last: dict[Tensor, int] = {}
    for at, op in enumerate(way):
        last.update(dict.fromkeys(op.inputs, at))
    open_, cut, weighted = {images}, images, False
    found: list[Tensor] = []
    inside = {images.op, *way}
    for at, op in enumerate(way):
        weighted = weighted or (op.type in _WEIGHTED and bool(_constants(op, inside)))
        open_ |= {t for t in op.outputs if t in last}
        open_ = {t for t in open_ if last[t] > at}
        if len(open_) == 1 or op is features.op:
            if weighted:
                found.append(cut)
            weighted = False
            if open_:
                (cut,) = open_
    return found


def _constants(op: Operation, reached: set[Operation]) -> list[str]:
    """Names of the float32 constants that are an op's weights or bias."""
    if op.type not in _WEIGHTED | _BIASED or len(op.inputs) < 2 or op.inputs[1].op in reached:
        return []
    needed = needed_ops(op.inputs[1], {})
    return [o.name for o in needed if o.type == "Const" and o.outputs[0].dtype == np.float32 and o.outputs[0].type.rank]
