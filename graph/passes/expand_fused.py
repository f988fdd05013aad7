"""Fused ops of other programs taken apart, before any pass: grappler's remapper writes them, kigraph's passes fuse anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Graph, Literal, Node, Port
from ..opdefs import composed, opdef
from ..opdefs.fused import FUSED, parts_of
from ..opdefs.nn import is_mixed
from ..rewrite import Rewriter

__all__ = ["expand_fused"]


def expand_fused(graph: Graph) -> Graph:
    """_FusedConv2D, _FusedDepthwiseConv2dNative, _FusedMatMul and _FusedBatchNormEx  become  their parts.

    Also a batch norm of float16 with float32 statistics: it is computed in float32, as TensorFlow does.
    """
    fused = [n for n in graph if n.op in FUSED or n.op == "_FusedBatchNormEx" or _is_mixed_norm(graph, n)]
    if not fused:
        return graph
    edit = Rewriter(graph)
    for node in fused:
        if node.op in FUSED:
            _expand(edit, edit.node(node.name))
        else:
            _expand_norm(edit, edit.node(node.name))
    return edit.finish()


def _is_mixed_norm(graph: Graph, node: Node) -> bool:
    """A batch norm with given statistics, of a float16 image and float32 statistics: no kernel takes both."""
    norm = node.op in ("FusedBatchNormV2", "FusedBatchNormV3") and not node.attrs.get("is_training", True)
    return norm and is_mixed(*(graph.type_of(p) for p in node.inputs[:2]))


def _put(edit: Rewriter, node: Node, op: str, inputs: tuple[Port, ...], **attrs: Any) -> Port:
    opdef(op, node.name)  # UnsupportedOpError for an activation that kigraph does not have
    return edit.put(edit.fresh(f"{node.name}/{op}"), op, inputs, attrs).ports[0]


def _expand(edit: Rewriter, node: Node) -> None:
    first, own = FUSED[node.op]
    y = _put(edit, node, first, node.inputs[:2], **{k: v for k, v in node.attrs.items() if k in own})
    for step, taken in parts_of(node.op, node.name, node.attrs, len(node.inputs)):
        y = _step(edit, node, step, y, tuple(node.inputs[i] for i in taken))
    edit.redirect(Port(node.name), y)


def _step(edit: Rewriter, node: Node, step: str, y: Port, more: tuple[Port, ...]) -> Port:
    form = {"data_format": node.attrs["data_format"]} if "data_format" in node.attrs else {}
    if step == "BiasAdd":
        return _put(edit, node, step, (y, *more), **form)
    if step == "FusedBatchNorm":
        epsilon = node.attrs.get("epsilon", 1e-4)
        return _put(edit, node, step, (y, *more), epsilon=epsilon, is_training=False, **form)
    if step == "Add":
        return _put(edit, node, "AddV2", (y, *more))
    if step == "LeakyRelu":
        return _put(edit, node, step, (y,), alpha=node.attrs.get("leakyrelu_alpha", 0.200000003))
    if step.startswith("Gelu"):
        return composed.gelu(_Writer(edit, node, step), y, approximate=step == "GeluApproximate")
    return _put(edit, node, step, (y,))


@dataclass(frozen=True)
class _Writer:
    """Adds the ops of a step that is composed; its constants have the names of the step."""

    edit: Rewriter
    node: Node
    step: str

    def op(self, type: str, /, *inputs: Port) -> Port:
        return _put(self.edit, self.node, type, inputs)

    def like(self, x: Port, value: float) -> Port:
        literal = Literal.of(np.array(value, self.edit.type_of(x).dtype))
        return self.edit.constant(self.edit.fresh(f"{self.node.name}/{self.step}/number"), literal)


def _expand_norm(edit: Rewriter, node: Node) -> None:
    """Batch norm, then perhaps a second image added, then perhaps ReLU; statistics are batch norm's own."""
    own = ("epsilon", "exponential_avg_factor", "data_format", "is_training")
    attrs = {k: v for k, v in node.attrs.items() if k in own}
    name, (x, *statistics) = edit.fresh(f"{node.name}/FusedBatchNormV3"), node.inputs[:5]
    given, half = edit.type_of(x).dtype, is_mixed(edit.type_of(x), edit.type_of(statistics[0]))
    if half and not attrs.get("is_training", True):
        x = _put(edit, node, "Cast", (x,), DstT=np.dtype(np.float32))
    norm = edit.put(name, "FusedBatchNormV3", (x, *statistics), attrs).ports
    y = norm[0]
    if edit.type_of(y).dtype != given:
        y = _put(edit, node, "Cast", (y,), DstT=given)
    if len(node.inputs) > 5:
        y = _put(edit, node, "AddV2", (y, node.inputs[5]))
    if node.attrs.get("activation_mode", "Identity") in ("Relu", b"Relu"):
        y = _put(edit, node, "Relu", (y,))
    edit.redirect(Port(node.name), y)
    for old, new in zip(node.ports[1:], norm[1:], strict=False):
        if edit.used(old):
            edit.redirect(old, new)
