"""A Pad of height and width with zeros before a VALID convolution becomes the convolution's own padding."""

from __future__ import annotations

from ..ir import Graph
from ..rewrite import Rewriter

__all__ = ["fold_pads"]


def fold_pads(graph: Graph) -> Graph:
    """Pad -> Conv2D(VALID) becomes Conv2D(EXPLICIT), and the same for depthwise convolutions."""
    edit = Rewriter(graph)
    for node in graph:
        if node.op not in ("Conv2D", "DepthwiseConv2dNative") or node.attrs.get("padding") != "VALID":
            continue
        pad = edit.source(node.inputs[0])
        if pad.op != "Pad" or not edit.only_use(node.inputs[0]):
            continue
        pairs = edit.value(pad.inputs[1])
        if pairs is None or pairs.shape != (4, 2) or pairs[0].any() or pairs[3].any():
            continue
        attrs = {**node.attrs, "padding": "EXPLICIT", "explicit_paddings": tuple(int(p) for p in pairs.ravel())}
        edit.put(node.name, node.op, (pad.inputs[0], node.inputs[1]), attrs)
    return edit.finish()
