"""Which nodes work with integers, which values get a scale, and which of them share one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..graph.formats.onnx import NodeProto
from .net import Net, inner_reads

__all__ = ["COMPUTES", "Places", "clip_top", "data_inputs", "place"]

#: Nodes of products with constant weights, which the others are quantised for.
COMPUTES = frozenset(["Conv", "Gemm", "MatMul"])
_POOLS = frozenset(["AveragePool", "GlobalAveragePool"])
_PAIRS = frozenset(["Add", "Mul"])
#: What moves values and computes none: the scale of the result is that of the values.
_MOVES = frozenset(["MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat"])
_ACTIVATIONS = frozenset(["Relu", "Clip"])


@dataclass(slots=True)
class Places:
    """``integer``: names of the nodes that work with integers. ``scaled``: the values that have a scale, in the order of the graph.

    ``joined``: sets of values that need one scale for their node to move integers without computing. ``activation``: the
    result of a node -> the activation behind it, which its integers may do by their range. ``behind``: value -> that node's.
    """

    integer: dict[str, NodeProto] = field(default_factory=dict)
    scaled: list[str] = field(default_factory=list)
    joined: list[tuple[str, ...]] = field(default_factory=list)
    activation: dict[str, NodeProto] = field(default_factory=dict)

    @property
    def layers(self) -> list[NodeProto]:
        """The nodes with weights."""
        return [n for n in self.integer.values() if n.op_type in COMPUTES]


def data_inputs(node: NodeProto) -> list[str]:
    """The inputs that are values, not weights, shapes or axes."""
    return list(node.input) if node.op_type in _PAIRS or node.op_type == "Concat" else list(node.input[:1])


def clip_top(net: Net, node: NodeProto) -> float | None:
    """The upper bound of a Clip from 0, or infinity for a Relu; None for any other node."""
    if node.op_type == "Relu":
        return float("inf")
    if node.op_type != "Clip" or len(node.input) < 2:
        return None
    bounds = [net.constants.get(n) for n in node.input[1:]]
    if bounds[0] is None or bounds[0].size != 1 or bounds[0].item() != 0:
        return None
    if len(bounds) == 1:
        return float("inf")
    return None if bounds[1] is None else float(bounds[1].item())


def place(net: Net, floats: Collection[str], kept: Collection[str] = ()) -> Places:
    """floats: values of float32 that a scale may be given, by name. kept: results of nodes that stay float."""
    found, readers, makers = Places(), net.readers(), net.makers()
    whole = {v.name for v in net.inputs}  # values that come from integers, or are the image
    for node in net.nodes:
        if not _may(net, node, floats, kept):
            continue
        values = data_inputs(node)
        if node.op_type not in COMPUTES and not any(v in whole for v in values):
            continue
        result = _result(net, node, readers)
        found.integer[node.output[0]] = node
        whole.add(result)
        if result != node.output[0]:
            found.activation[node.output[0]] = makers[result]
    _prune(found, readers)
    scaled = {v for node in found.integer.values() for v in data_inputs(node)}
    order = [*(v.name for v in net.inputs), *(o for n in net.nodes for o in n.output)]
    found.scaled = [name for name in order if name in scaled]
    for node in found.integer.values():
        if node.op_type in _MOVES:
            found.joined.append((node.output[0], *data_inputs(node)))
    return found


def _may(net: Net, node: NodeProto, floats: Collection[str], kept: Collection[str]) -> bool:
    """Whether a node can work with integers at all."""
    if node.output[0] in kept or len(node.output) != 1 or inner_reads(node):
        return False
    values = data_inputs(node)
    if not all(v in floats for v in (*values, node.output[0])):
        return False
    if node.op_type in COMPUTES:
        weights = net.float_constant(node.input[1])
        if weights is None or not weights.size or not np.isfinite(weights).all():
            return False
        return all(net.float_constant(b) is not None for b in node.input[2:]) and _plain(node, weights.ndim)
    return node.op_type in _POOLS | _MOVES or (node.op_type in _PAIRS and len(set(values)) == 2)


def _plain(node: NodeProto, rank: int) -> bool:
    """Whether the products are those of integers as they are: images, matrices, no factors beside the scale."""
    if node.op_type == "Conv":
        return rank == 4
    return rank == 2 and not any(a.name in ("alpha", "beta", "transA") for a in node.attribute)


def _result(net: Net, node: NodeProto, readers: Mapping[str, list[NodeProto]]) -> str:
    """The value behind the activation that follows alone, or the node's own."""
    output = node.output[0]
    behind = readers.get(output, [])
    if node.op_type in _MOVES or output in net.ends or len(behind) != 1:
        return output
    (only,) = behind
    return only.output[0] if only.op_type in _ACTIVATIONS and clip_top(net, only) is not None else output


def _prune(found: Places, readers: Mapping[str, list[NodeProto]]) -> None:
    """Takes out what no node reads as integers: it would be rounded for nothing."""
    for name in reversed(list(found.integer)):
        node = found.integer[name]
        last = found.activation[name].output[0] if name in found.activation else name
        used = any(n.output[0] in found.integer and last in data_inputs(n) for n in readers.get(last, []))
        if not used and node.op_type not in COMPUTES:
            del found.integer[name]
            found.activation.pop(name, None)
