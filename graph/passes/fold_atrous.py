"""SpaceToBatchND -> convolution -> BatchToSpaceND becomes one convolution with dilations, which computes the same sums.

TensorFlow 1 and Keras write atrous convolutions so. Each phase of the blocks is convolved alone, so neighbours in a phase
are a block apart in the image; what is cropped at the end was padding at the beginning.
"""

from __future__ import annotations

from typing import Any

from ..ir import Graph, Node, Port
from ..rewrite import Rewriter

__all__ = ["fold_atrous"]

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
#: What works on every pixel alone may stand between the convolution and the end.
_POINTWISE = ("BiasAdd", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Relu", "Relu6", "Identity")
#: Ops between them that are followed.
_MOST = 8


def fold_atrous(graph: Graph) -> Graph:
    """Block sizes become dilations; the difference of padding and cropping becomes explicit padding."""
    edit = Rewriter(graph)
    for node in graph:
        if node.op == "BatchToSpaceND":
            _fold(edit, edit.node(node.name))
    return edit.finish()


def _fold(edit: Rewriter, end: Node) -> None:
    found = _chain(edit, end.inputs[0])
    if found is None:
        return
    conv, between = found
    begin = edit.source(conv.inputs[0])
    attrs = _attributes(edit, begin, conv, end)
    if attrs is None:
        return
    y = edit.put(edit.fresh(f"{conv.name}/atrous"), conv.op, (begin.inputs[0], conv.inputs[1]), attrs).ports[0]
    for node in reversed(between):
        y = edit.put(edit.fresh(f"{node.name}/atrous"), node.op, (y, *node.inputs[1:]), node.attrs).ports[0]
    edit.redirect(Port(end.name), y)


def _chain(edit: Rewriter, port: Port) -> tuple[Node, list[Node]] | None:
    """The convolution that a port comes from, and the ops behind it, the last one first."""
    between: list[Node] = []
    while len(between) < _MOST:
        node = edit.source(port)
        if not edit.only_use(port) or edit.current(port).index != 0:
            return None
        if node.op in _CONVOLUTIONS:
            return node, between
        if node.op not in _POINTWISE or (node.op.startswith("Fused") and node.attrs.get("is_training", True)):
            return None
        if any(edit.used(p) for p in node.ports[1:]) or node.attrs.get("data_format", "NHWC") != "NHWC":
            return None
        between.append(node)
        port = node.inputs[0]
    return None


def _attributes(edit: Rewriter, begin: Node, conv: Node, end: Node) -> dict[str, Any] | None:
    """The attributes of the convolution with dilations; None if there is none."""
    attrs = conv.attrs
    plain = (
        begin.op == "SpaceToBatchND"
        and edit.type_of(begin.inputs[0]).rank == 4
        and attrs.get("data_format", "NHWC") == "NHWC"
        and tuple(attrs.get("strides", ())) == (1, 1, 1, 1)
        and attrs.get("padding") == "VALID"
    )
    if not plain:
        return None
    block, pads, last, crops = (edit.value(p) for p in (*begin.inputs[1:], *end.inputs[1:]))
    if block is None or pads is None or last is None or crops is None:
        return None
    if block.shape != (2,) or last.tolist() != block.tolist() or pads.shape != (2, 2) or crops.shape != (2, 2):
        return None
    rest = (pads - crops).tolist()
    if min(v for pair in rest for v in pair) < 0:
        return None
    inner = attrs.get("dilations", (1, 1, 1, 1))
    dilations = (1, int(block[0]) * inner[1], int(block[1]) * inner[2], 1)
    explicit = (0, 0, *(int(v) for pair in rest for v in pair), 0, 0)
    return {**attrs, "padding": "EXPLICIT", "explicit_paddings": explicit, "dilations": dilations}
