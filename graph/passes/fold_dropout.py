"""Dropout that drops nothing: what a comparison or floor of a random number gives is known where every number gives the same.

The bounds are exact: TensorFlow's (and kigraph's) uniform numbers are k * 2^-m for 0 <= k < 2^m, with m = 10, 23 or 52 for
float16, float32 and float64, so 1 + u < 2 is representable, and floor(1 + u) is 1 for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ir import Graph, Literal, Node, Port
from ..rewrite import Rewriter

__all__ = ["fold_dropout"]

_UNIFORM = frozenset(["RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"])
_BITS = {np.dtype(np.float16): 10, np.dtype(np.float32): 23, np.dtype(np.float64): 52}
_SCALED = frozenset(["Mul", "RealDiv", "Div"])


def fold_dropout(graph: Graph) -> Graph:
    """``floor(1 + random_uniform(shape))`` and ``random_uniform(shape) >= 0`` become constants of that shape."""
    if not any(node.op in _UNIFORM for node in graph):
        return graph
    edit = Rewriter(graph)
    #: Port -> least and greatest value, and the port of its shape.
    ranges: dict[Port, tuple[float, float, Port]] = {}
    ones: dict[Port, Port] = {}
    for node in graph:
        here = Port(node.name)
        if node.op in _UNIFORM and node.outputs[0].dtype in _BITS:
            ranges[here] = (0.0, 1 - 2.0 ** -_BITS[node.outputs[0].dtype], node.inputs[0])
        elif node.op in ("Add", "AddV2", "Sub", "Mul") and (moved := _moved(edit, node, ranges)) is not None:
            ranges[here] = moved
        elif (found := _certain(edit, node, ranges)) is not None:
            value, shape = found
            dtype = node.outputs[0].dtype
            literal = Literal.of(np.array(value, dtype), ("certain", dtype.str, float(value)))
            constant = edit.constant(edit.fresh(f"{node.name}/value"), literal)
            edit.put(node.name, "Fill", (shape, constant), {})
            if value == 1:
                ones[here] = shape
        elif node.op == "Cast" and node.inputs[0] in ones:
            ones[here] = ones[node.inputs[0]]
        elif node.op == "Mul":
            _drop(edit, node, ones)
    return edit.finish()


def _scalar(edit: Rewriter, port: Port) -> float | None:
    value = edit.value(port)
    return float(value.reshape(())) if value is not None and value.shape == () and value.dtype.kind == "f" else None


def _moved(
    edit: Rewriter, node: Node, ranges: Mapping[Port, tuple[float, float, Port]]
) -> tuple[float, float, Port] | None:
    """The range after adding or multiplying by 0 or 1, which no rounding changes; 1 is added to a number below 1."""
    for this, other in (node.inputs, node.inputs[::-1]):
        if this not in ranges or (value := _scalar(edit, other)) is None:
            continue
        low, high, shape = ranges[this]
        if (node.op == "Mul" and value == 1) or (node.op in ("Add", "AddV2") and value == 0):
            return ranges[this]
        if node.op == "Sub" and value == 0 and this == node.inputs[0]:
            return ranges[this]
        if node.op in ("Add", "AddV2") and value == 1 and 0 <= low <= high < 1:
            return (low + 1, high + 1, shape)
    return None


def _certain(edit: Rewriter, node: Node, ranges: Mapping[Port, tuple[float, float, Port]]) -> tuple[Any, Port] | None:
    """The one value that all elements of a node have, and the port of its shape."""
    if not node.inputs or node.inputs[0] not in ranges:
        return None
    low, high, shape = ranges[node.inputs[0]]
    if node.op == "Floor" and np.floor(low) == np.floor(high):
        return np.floor(low), shape
    if node.op in ("GreaterEqual", "Less"):
        bound = _scalar(edit, node.inputs[1])
        if bound is not None and bound <= low:
            return node.op == "GreaterEqual", shape
    return None


def _drop(edit: Rewriter, node: Node, ones: Mapping[Port, Port]) -> None:
    """x * ones becomes x where the ones have the shape of x: it is read from x, or from what x is a multiple of."""
    for x, other in (node.inputs, node.inputs[::-1]):
        if other not in ones:
            continue
        shape = edit.source(ones[other])
        if shape.op != "Shape":
            continue
        source, end = edit.current(shape.inputs[0]), edit.current(x)
        while end != source:
            before = edit.source(end)
            if before.op not in _SCALED or end.index or len(before.inputs) != 2:
                break
            scaled = [i for i in range(2) if edit.type_of(before.inputs[1 - i]).shape == ()]
            if not scaled:
                break
            end = edit.current(before.inputs[scaled[0]])
        if end == source:
            edit.redirect(Port(node.name), x)
            return
