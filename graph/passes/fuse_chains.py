"""Elementwise ops that follow each other become one chain (kernels/contracts/chains.py), part of the convolution or matrix product
before them where there is one: activations, sums with a second branch, scales.

It needs known shapes, and is for backends that run chains (FUSES_CHAINS), so sessions apply it when a plan is made for the shapes
that are fed. Every op of a chain rounds as by itself: no number changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import numpy as np

from ...kernels.contracts.chains import MOST_OPERANDS, MOST_STEPS, parse_chain, reach_of
from ...kernels.errors import ShapeError
from ...kernels.records import dataclass
from ...kernels.tensor import TensorType
from ..ir import Graph, Key, Literal, Node, Port
from ..rewrite import Rewriter
from .fold_affine import FUSED, bias_channels

__all__ = ["fuse_chains", "has_chains"]

#: Op -> step.
_STEPS: Mapping[str, str] = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh", "Elu": "elu", "Selu": "selu", "Softsign": "softsign",
    "Exp": "exp", "Log": "log", "Neg": "neg", "Abs": "abs", "Square": "square", "Sqrt": "sqrt", "Rsqrt": "rsqrt",
    "Reciprocal": "reciprocal", "Inv": "reciprocal", "Erf": "erf", "Erfc": "erfc", "Floor": "floor", "Ceil": "ceil",
    "Add": "add", "AddV2": "add", "BiasAdd": "add", "BiasAddV1": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "RealDiv": "div",
    "Maximum": "maximum", "Minimum": "minimum", "SquaredDifference": "squared_difference", "LeakyRelu": "leaky_relu",
    "ClipByValue": "clip",
}  # fmt: skip
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(slots=True)
class _Region:
    """A chain that grows: ``whole`` is the type of all its results, ``tokens`` what stands for a port that it has computed."""

    whole: TensorType
    tokens: dict[Port, str]
    nodes: list[Node] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    operands: list[Port] = field(default_factory=list)

    @property
    def text(self) -> str:
        return ";".join(self.steps)


def has_chains(graph: Graph) -> bool:
    """Whether the graph has ops of chains: types that are known better are found for nothing where it has none."""
    return any(node.op in _STEPS for node in graph)


def fuse_chains(graph: Graph) -> Graph:
    """conv -> elementwise ops  becomes  conv that finishes with them; other chains of two ops or more become KiChain."""
    pass_ = _Pass(graph)
    for node in reversed(tuple(graph)):  # of two branches that are added the later one adds: its result is in the cache
        if FUSED.get(node.op, node.op) in FUSED.values() and not node.attrs.get("finish"):
            pass_.finish(node)
    for node in graph:
        if node.op in _STEPS and node.name not in pass_.taken:
            pass_.chain(node)
    return pass_.edit.finish()


class _Pass:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.edit = graph, Rewriter(graph)
        self.consumers = graph.consumers()
        self.order = {node.name: i for i, node in enumerate(graph)}
        self.outputs = frozenset(graph.outputs)
        self.taken: set[str] = set()

    def finish(self, node: Node) -> None:
        """The longest chain behind a convolution or matrix product becomes part of it, through a Reshape that keeps the last axis."""
        made = node.outputs[0]
        if not _fits(made) or any(self.consumers.get(p) for p in node.ports[1:]):
            return
        view = self._view(node)
        start, whole = Port((view or node).name), (view or node).outputs[0]
        found = self._grown(_Region(whole, {start: "x"}), start)
        if found is None or (view is not None and not self._moved(found, made)):
            return
        channels = bias_channels(self.edit, node)
        inputs: list[Port] = list(node.inputs)
        if found.operands and len(inputs) < 3:
            if channels is None:
                return
            zeros = Literal.of(np.zeros(channels, whole.dtype), Key("no bias", channels, whole.dtype.str))
            inputs.append(self.edit.constant(f"{found.nodes[-1].name}/no_bias", zeros))
        attrs: dict[str, Any] = {**node.attrs, "finish": found.text}
        op, inputs = FUSED.get(node.op, node.op), [*inputs, *found.operands]
        if view is not None:
            last = found.nodes[-1].name
            rows = self.edit.put(self.edit.fresh(f"{last}/rows"), op, tuple(inputs), attrs)
            op, inputs, attrs = "Reshape", [Port(rows.name), self._shape(last, whole)], {}
        self._put(found, op, tuple(inputs), attrs)

    def _view(self, node: Node) -> Node | None:
        """The Reshape that alone reads a node's result, and keeps its last axis: that of a linear layer over several axes."""
        port = Port(node.name)
        readers = self.consumers.get(port, [])
        if len(readers) != 1 or port in self.outputs or readers[0].op != "Reshape" or readers[0].inputs[0] != port:
            return None
        made, seen = node.outputs[0], readers[0].outputs[0]
        return readers[0] if _fits(seen) and seen.dims[-1:] == made.dims[-1:] and made.dims else None

    def _moved(self, region: _Region, made: TensorType) -> bool:
        """Gives the operands of a chain on a Reshape of ``made`` the shapes that they have on ``made`` itself."""
        moved: list[Port] = []
        for port in region.operands:
            t = self.edit.type_of(port)
            reach = reach_of(t.shape, region.whole.shape)
            assert reach is not None
            if t.dims == region.whole.dims:
                wanted = made
            elif reach.images or reach.pixels:
                return False
            else:
                wanted = TensorType(t.dtype, (t.size,))
            if t != wanted:
                name = self.edit.fresh(f"{port.node}/rows")
                port = Port(self.edit.put(name, "Reshape", (port, self._shape(name, wanted)), {}).name)
            moved.append(port)
        region.operands[:] = moved
        return True

    def _shape(self, name: str, t: TensorType) -> Port:
        """A constant with the sizes of a type."""
        value = np.array(t.dims, np.int64)
        return self.edit.constant(f"{name}/shape", Literal.of(value, Key("sizes", *t.dims)))

    def chain(self, node: Node) -> None:
        """The longest chain from an op on, if it has two steps or more."""
        whole = node.outputs[0]
        start = next((p for p in node.inputs if self._is_whole(p, whole)), None)
        if start is None or not _fits(whole):
            return
        region = _Region(whole, {start: "x"})
        if not self._absorb(region, node):
            return
        found = self._grown(region, None)
        if found is not None and len(found.steps) > 1:
            self._put(found, "KiChain", (start, *found.operands), {"steps": found.text})

    def _put(self, found: _Region, op: str, inputs: tuple[Port, ...], attrs: Mapping[str, Any]) -> None:
        self.taken.update(n.name for n in found.nodes)
        self.edit.put(found.nodes[-1].name, op, inputs, attrs)

    def _grown(self, region: _Region, start: Port | None) -> _Region | None:
        """The region with all that can be added so that only its last result is read elsewhere; ``start``: it must not be, either."""
        best = self._closed(region, start)
        while len(region.nodes) < MOST_STEPS:
            following = {n.name: n for p in self._made(region, start) for n in self.consumers.get(p, ())}
            for name in sorted(following, key=self.order.__getitem__):
                if self._absorb(region, following[name]):
                    break
            else:
                break
            best = self._closed(region, start) or best
        return best

    @staticmethod
    def _made(region: _Region, start: Port | None) -> list[Port]:
        made = [Port(n.name) for n in region.nodes]
        return made if start is None else [start, *made]

    def _closed(self, region: _Region, start: Port | None) -> _Region | None:
        """A copy of the region if only its last result is read elsewhere, and a chain may have its steps."""
        inside = {n.name for n in region.nodes}
        for port in self._made(region, start)[:-1]:
            if port in self.outputs or any(n.name not in inside for n in self.consumers.get(port, ())):
                return None
        if not region.steps:
            return None
        try:
            parse_chain(region.text)
        except ShapeError:
            return None
        return _Region(region.whole, {}, list(region.nodes), list(region.steps), list(region.operands))

    def _absorb(self, region: _Region, node: Node) -> bool:
        """Adds a node's steps, if it is one of the ops that a chain may have."""
        op = _STEPS.get(node.op)
        if op is None or node.name in self.taken or Port(node.name) in region.tokens:
            return False
        if node.outputs[0] != region.whole or node.attrs.get("data_format", "NHWC") not in ("NHWC", b"NHWC"):
            return False
        before = len(region.operands)
        values = [self._value(region, p) for p in node.inputs]
        if None in values or (op == "clip" and str(values[0])[0] not in "xt"):
            del region.operands[before:]
            return False
        if op == "leaky_relu":
            values.append(repr(float(node.attrs.get("alpha", 0.200000003))))
        if op == "clip":
            region.steps.append(f"maximum({values[0]},{values[1]})")
            region.steps.append(f"minimum(t{len(region.steps) - 1},{values[2]})")
        else:
            region.steps.append(f"{op}({','.join(map(str, values))})")
        region.nodes.append(node)
        region.tokens[Port(node.name)] = f"t{len(region.steps) - 1}"
        return True

    def _value(self, region: _Region, port: Port) -> str | None:
        """What stands for an input of a step: what the chain has, a number, or an operand."""
        found = region.tokens.get(port)
        if found is not None:
            return found
        t = self.edit.type_of(port)
        if not t.known or t.dtype != region.whole.dtype or reach_of(t.shape, region.whole.shape) is None:
            return None
        value = self.edit.value(port)
        if value is not None and value.size == 1:
            number = float(value.reshape(()))
            if math.isfinite(number) and (number or not math.copysign(1, number) < 0):
                return repr(number)
        if port not in region.operands:
            if len(region.operands) == MOST_OPERANDS:
                return None
            region.operands.append(port)
        return f"a{region.operands.index(port)}"

    def _is_whole(self, port: Port, whole: TensorType) -> bool:
        return self.edit.type_of(port) == whole and self.edit.literal(port) is None


def _fits(t: TensorType) -> bool:
    return t.known and t.dtype in _DTYPES and t.size > 0
