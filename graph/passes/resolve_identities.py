"""Removes ops that only forward a value: Identity and similar ops, and outputs of ops that are one of their inputs.

CheckNumerics is one of them: kigraph does not look for NaN and Inf on the way (they reach the result).
"""

from __future__ import annotations

from ..ir import Graph, Port
from ..opdefs import OPDEFS
from ..rewrite import Rewriter

__all__ = ["resolve_identities"]

_HANDS_ON = frozenset(
    [
        "Identity",
        "StopGradient",
        "PreventGradient",
        "Snapshot",
        "CheckNumerics",
        "PlaceholderWithDefault",
        "Print",
        "GuaranteeConst",
        "DeepCopy",
        "Copy",
        "CopyHost",
    ]
)


def resolve_identities(graph: Graph) -> Graph:
    """``x -> Identity -> y`` becomes ``x -> y``."""
    edit = Rewriter(graph)
    for node in graph:
        if node.op in _HANDS_ON:
            edit.redirect(Port(node.name), node.inputs[0])
        elif node.op in OPDEFS:
            for output, source in OPDEFS[node.op].forwards(node.attrs).items():
                if output < len(node.outputs):  # an op of a file has the outputs that are used, until it is typed
                    edit.redirect(Port(node.name, output), node.inputs[source])
    return edit.finish()
