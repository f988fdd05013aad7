"""A concat of convolutions is moved behind the batch norm, bias and activation that follow it.

So each of the convolutions takes them in. Grouped convolutions are such concats (passes/split_groups.py), and ResNeXt has a batch
norm behind each.
"""

from __future__ import annotations

import numpy as np

from ..evaluate import shape_key
from ..ir import Graph, Literal, Node, Port
from ..rewrite import Rewriter

__all__ = ["move_concats"]

_NORMS = frozenset(["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])
_FOLLOW = frozenset(["BiasAdd", "Relu", "Relu6", *_NORMS])
_PARTS = frozenset(["Conv2D", "DepthwiseConv2dNative", "BiasAdd", *_NORMS])


def move_concats(graph: Graph) -> Graph:
    """ConcatV2 of Conv2D -> batch norm  becomes  a batch norm for each -> ConcatV2."""
    if not any(node.op in _FOLLOW and graph.nodes[node.inputs[0].node].op == "ConcatV2" for node in graph):
        return graph
    edit = Rewriter(graph)
    for original in graph:
        node = edit.node(original.name)
        if node.op in _FOLLOW and edit.only_use(node.inputs[0]):
            concat = edit.source(node.inputs[0])
            sizes = _sizes(edit, concat) if concat.op == "ConcatV2" and _may_follow(edit, node) else None
            if sizes is not None:
                _move(edit, concat, node, sizes)
    return edit.finish()


def _may_follow(edit: Rewriter, node: Node) -> bool:
    """Whether a node works channel by channel with constants, and gives one result."""
    if node.op in _NORMS and (node.attrs.get("is_training", True) or any(edit.used(p) for p in node.ports[1:])):
        return False
    channels = node.outputs[0].shape
    vectors = [edit.literal(p) for p in node.inputs[1:]]
    return channels is not None and all(v is not None and v.shape == channels[-1:] for v in vectors)


def _sizes(edit: Rewriter, concat: Node) -> list[int] | None:
    """The channels of every part, if all parts are convolutions that nothing else reads."""
    *parts, where = concat.inputs
    axis, rank = edit.value(where), concat.outputs[0].rank
    if axis is None or rank is None or axis.size != 1 or int(axis.ravel()[0]) % rank != rank - 1:
        return None
    if not all(edit.source(p).op in _PARTS and edit.only_use(p) for p in parts):
        return None
    sizes = [(edit.type_of(p).shape or (None,))[-1] for p in parts]
    known = [s for s in sizes if s is not None]
    return known if len(known) == len(sizes) else None


def _move(edit: Rewriter, concat: Node, node: Node, sizes: list[int]) -> None:
    *parts, where = concat.inputs
    array = np.array(sizes, np.int32)
    count, axis = (
        edit.constant(f"{node.name}/{name}", Literal.of(value, shape_key(value)))
        for name, value in (("part_sizes", array), ("part_axis", np.array(0, np.int32)))
    )
    vectors = [
        edit.put(edit.fresh(f"{node.name}/split_{i}"), "SplitV", (p, count, axis), {"num_split": len(sizes)}).ports
        for i, p in enumerate(node.inputs[1:])
    ]
    made: list[Port] = []
    for i, part in enumerate(parts):
        name = edit.fresh(f"{node.name}/part_{i}")
        made.append(edit.put(name, node.op, (part, *(v[i] for v in vectors)), node.attrs).ports[0])
    edit.put(node.name, "ConcatV2", (*made, where), {})
