"""Grouped convolutions: a filter with fewer input channels than the image sees one group of them per group of outputs.

No contract has groups. They become ops that have contracts: a depthwise convolution where every channel is a group, else
one convolution per group between a Split and a ConcatV2. The plan does so before any pass, because it changes what is
run and not how fast.
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Literal, Node, Port
from ..opdefs.nn import groups_of
from ..rewrite import Rewriter

__all__ = ["split_groups"]


def split_groups(graph: Graph) -> Graph:
    """Conv2D of several groups  becomes  Split, one Conv2D for each, ConcatV2; or DepthwiseConv2dNative."""
    grouped = [n for n in graph if n.op == "Conv2D" and groups_of(*(graph.type_of(p) for p in n.inputs[:2])) > 1]
    if not grouped:
        return graph
    edit = Rewriter(graph)
    for node in grouped:
        _split(edit, node)
    return edit.finish()


def _split(edit: Rewriter, node: Node) -> None:
    x, w = node.inputs
    groups = groups_of(edit.type_of(x), edit.type_of(w))
    window = edit.type_of(w).shape
    if window is not None and window[2] == 1 and None not in window:
        # (height, width, 1, groups * multiplier) and (height, width, groups, multiplier) are the same elements in order.
        sizes = np.array([*window[:2], groups, (window[3] or 0) // groups], np.int32)
        shape = edit.constant(edit.fresh(f"{node.name}/depthwise_shape"), Literal.of(sizes))
        name = edit.fresh(f"{node.name}/depthwise")
        edit.put(name, "Reshape", (w, shape), {})
        attrs = {k: v for k, v in node.attrs.items() if k != "use_cudnn_on_gpu"}
        edit.put(node.name, "DepthwiseConv2dNative", (x, Port(name)), attrs)
        return
    axis = edit.constant(edit.fresh(f"{node.name}/channels"), Literal.of(np.array(3, np.int32)))
    parts = []
    for what, port in (("input", x), ("filter", w)):
        name = edit.fresh(f"{node.name}/split_{what}")
        parts.append(edit.put(name, "Split", (axis, port), {"num_split": groups}).ports)
    made = []
    for i, (image, weights) in enumerate(zip(*parts, strict=True)):
        name = edit.fresh(f"{node.name}/group_{i}")
        made.append(edit.put(name, "Conv2D", (image, weights), node.attrs).ports[0])
    edit.put(node.name, "ConcatV2", (*made, axis), {})
