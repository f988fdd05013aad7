"""Tensors between convolutions, pools and the like become bfloat16 in memory; weights, sums and what is fetched stay float32.

It is no rewrite that keeps types, so sessions alone apply it, after all other passes: those of precision bf16 whose backend keeps
such tensors (STORES_BFLOAT16).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...kernels.contracts.base import normalize_axis
from ...kernels.tensor import BFLOAT16, TensorType
from ..ir import Graph, Node, Port
from ..opdefs import DESCRIBES, OPDEFS, is_small
from ..rewrite import infer_node
from .fold_affine import FUSED

__all__ = ["narrow_activations"]

_FLOAT32 = np.dtype(np.float32)
#: Op -> the one that has the attribute ``narrow``; x may have either type, and so may y. All weights are constants.
_CONVOLUTIONS = {
    op: FUSED.get(op, op)
    for op in ("Conv2D", "KiFusedConv2D", "DepthwiseConv2dNative", "KiFusedDepthwiseConv2D", "KiSiblingConv2D")
}
#: y is float32.
_PRODUCTS = frozenset(["MatMul", "KiFusedMatMul"])
#: x and y have one type.
_SAME = frozenset(["MaxPool", "AvgPool", "KiFusedAvgPool", "Relu", "Relu6", "Pad", "Reshape", "Squeeze", "Identity"])
#: The same of two inputs, of which the second may be float32; they commute, but for the second of two equal zeros.
_BINARY = frozenset(["Add", "AddV2", "Mul", "Maximum"])

#: Concatenations, and which of their inputs are joined; one more is the axis.
_JOINS = {"Concat": slice(1, None), "ConcatV2": slice(0, -1)}


def narrow_activations(graph: Graph) -> Graph:
    """The graph with as many bfloat16 tensors as pay: each is read by an op that takes it as it is.

    An op between two conversions, and no other, would gain nothing, so it stays float32.
    """
    readers: dict[Port, list[Node]] = {}
    for node in graph:
        for port in node.inputs:
            readers.setdefault(port, []).append(node)
    found = _Narrow(graph, readers).found()
    return _rebuilt(graph, found) if found else graph


class _Narrow:
    """The largest set of ports that can be bfloat16 such that every one is read by an op that takes it so."""

    def __init__(self, graph: Graph, readers: Mapping[Port, list[Node]]) -> None:
        self.graph, self.readers = graph, readers
        self.ports = {p for node in graph for p in self._made(node)} - set(graph.outputs)

    def found(self) -> set[Port]:
        """Takes out what does not fit until the rest does."""
        waiting = list(self.ports)
        while waiting:
            port = waiting.pop()
            if port in self.ports and not self._fits(port):
                self.ports.discard(port)
                # A conversion of a port that is left out may leave its neighbours without use.
                node = self.graph.nodes[port.node]
                waiting += [p for p in (*node.inputs, *node.ports) if p in self.ports]
                waiting += [
                    p
                    for reader in self.readers.get(port, ())
                    for p in (*reader.ports, *reader.inputs)
                    if p in self.ports
                ]
        return self.ports

    def _made(self, node: Node) -> Iterable[Port]:
        """The outputs that could be bfloat16."""
        known = node.op in _SAME or node.op in _BINARY or node.op in _JOINS or self._convolves(node)
        if not known or any(t.dtype != _FLOAT32 or t.shape is None for t in node.outputs):
            return ()
        return node.ports

    def _convolves(self, node: Node) -> bool:
        return (
            node.op in _CONVOLUTIONS
            and node.attrs.get("data_format", "NHWC") == "NHWC"
            and self.graph.type_of(node.inputs[0]).dtype == _FLOAT32
            and all(self.graph.literal(p) is not None for p in node.inputs[1:])
        )

    def _fits(self, port: Port) -> bool:
        node = self.graph.nodes[port.node]
        if node.op in _CONVOLUTIONS:
            made = all(p in self.ports for p in node.ports)  # siblings are of one kind
        elif node.op in _JOINS:
            made = all(p in self.ports for p in node.inputs[_JOINS[node.op]])
        elif node.op in _BINARY:
            made = any(p in self.ports for p in node.inputs) and not self._is_added(port)
        else:
            made = node.inputs[0] in self.ports
        return made and any(self.takes(reader, port) for reader in self.readers.get(port, ()))

    def _is_added(self, port: Port) -> bool:
        """Whether another sum or product reads it, perhaps through what only moves or clips: the stream of a residual network, which
        would be rounded at every block."""
        waiting, seen = [port], {port}
        while waiting:
            for reader in self.readers.get(waiting.pop(), ()):
                if reader.op in _BINARY:
                    return True
                if reader.op in _SAME or reader.op in _JOINS:
                    new = [p for p in reader.ports if p not in seen]
                    seen.update(new)
                    waiting += new
        return False

    def takes(self, node: Node, port: Port) -> bool:
        """Whether an op reads a port that is bfloat16 as it is."""
        if node.op in _CONVOLUTIONS:
            return port == node.inputs[0] and self._convolves(node)
        if node.op in _PRODUCTS:
            return self._multiplies(node, port)
        if node.op == "Mean":
            return self._averages(node)
        return bool(node.ports) and node.ports[0] in self.ports

    def _multiplies(self, node: Node, port: Port) -> bool:
        """A matrix product of the port with constant weights, as kernels of bfloat16 have it."""
        return (
            port == node.inputs[0]
            and not node.attrs.get("transpose_a", False)
            and all(self.graph.literal(p) is not None for p in node.inputs[1:])
        )

    def _averages(self, node: Node) -> bool:
        """The mean over height and width of images."""
        x, literal = self.graph.type_of(node.inputs[0]), self.graph.literal(node.inputs[1])
        if x.rank != 4 or literal is None or not is_small(literal):
            return False
        return sorted(normalize_axis("mean", int(a), 4) for a in literal.array().ravel()) == [1, 2]


def _rebuilt(graph: Graph, narrow: set[Port]) -> Graph:
    """The graph with these ports bfloat16, and conversions before what does not take them."""
    readers = _Narrow(graph, {})
    readers.ports = narrow
    nodes: dict[str, Node] = {}
    types: dict[Port, TensorType] = {}

    def value_of(port: Port) -> np.ndarray[Any, Any] | None:
        literal = graph.literal(port)
        return literal.array() if literal is not None and is_small(literal) else None

    def add(node: Node) -> None:
        if any(types[p] != graph.type_of(p) for p in node.inputs if p.node in graph.nodes) or node.attrs.get("narrow"):
            node = replace(node, attrs=_typed(node, types))
            node = replace(node, outputs=infer_node(node, types.__getitem__, value_of))
        nodes[node.name] = node
        types.update(zip(node.ports, node.outputs, strict=True))

    def wide(port: Port) -> Port:
        """The port as float32."""
        name = f"{port}/float32"
        while name in graph.nodes:
            name += "_"
        if name not in nodes:
            t = TensorType(_FLOAT32, types[port].shape)
            add(Node(name, "Cast", (port,), {"SrcT": BFLOAT16, "DstT": _FLOAT32}, (t,)))
        return Port(name)

    for node in graph:
        inputs = tuple(
            wide(p) if p in narrow and node.op not in DESCRIBES and not readers.takes(node, p) else p
            for p in node.inputs
        )
        if node.op in _BINARY and inputs[0] not in narrow and inputs[1] in narrow and node.ports[0] in narrow:
            inputs = (inputs[1], inputs[0])
        if node.op in _CONVOLUTIONS and node.ports[0] in narrow:
            node = replace(node, op=_CONVOLUTIONS[node.op], attrs={**node.attrs, "narrow": True})
        add(node if inputs == node.inputs else replace(node, inputs=inputs))
    return Graph(nodes, graph.outputs, graph.targets)


def _typed(node: Node, types: Mapping[Port, TensorType]) -> dict[str, Any]:
    """The attributes, with element types that repeat those of inputs as these are now."""
    rules, attrs = OPDEFS[node.op].attributes, dict(node.attrs)
    for name in attrs:
        rule = rules.get(name)
        if rule is not None and rule.of is not None and -len(node.inputs) <= rule.of < len(node.inputs):
            attrs[name] = types[node.inputs[rule.of]].dtype
    return attrs
