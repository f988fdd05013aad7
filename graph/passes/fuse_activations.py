"""Relu and Relu6 after a convolution or matrix product become part of it."""

from __future__ import annotations

from ...kernels.tensor import is_float
from ..ir import Graph
from ..rewrite import Rewriter
from .fold_affine import FUSED

__all__ = ["fuse_activations"]

_ACTIVATIONS = {"Relu": "relu", "Relu6": "relu6"}


def fuse_activations(graph: Graph) -> Graph:
    """conv (with or without bias) -> Relu  becomes one fused op under the Relu's name."""
    edit = Rewriter(graph)
    for node in graph:
        if node.op not in _ACTIVATIONS or not edit.only_use(node.inputs[0]):
            continue
        source = edit.source(node.inputs[0])
        op = FUSED.get(source.op, source.op)
        if (
            op in FUSED.values()
            and source.attrs.get("activation", "none") == "none"
            and is_float(node.outputs[0].dtype)
        ):
            edit.put(node.name, op, source.inputs, {**source.attrs, "activation": _ACTIVATIONS[node.op]})
    return edit.finish()
