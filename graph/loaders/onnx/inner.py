"""Graphs inside of nodes: bodies of loops and branches that are decided while the graph runs.

What such a graph reads from outside becomes an input of it (a placeholder), or a constant of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from ....kernels.tensor import TensorType
from ... import ir
from ...builder import Graph, Tensor
from ...formats.onnx import GraphProto
from .node import Node

__all__ = ["Inner", "Step", "fixed", "loop"]

#: A body is built anew when what it makes has another shape than what it takes: known, number of axes, unknown.
_TRIES = 3


class Inner:
    """One graph being built. ``captured``: the tensors outside that it reads -> their placeholders."""

    def __init__(self, n: Node) -> None:
        self.graph, self._outer = Graph(), n
        self.captured: dict[Tensor, Tensor] = {}
        self._constants: dict[Tensor, Tensor] = {}
        #: Adds operations to this graph.
        self.node = copy.copy(n)
        self.node.graph = self.graph

    def placeholder(self, type: TensorType, name: str = "input") -> Tensor:
        """An input of this graph."""
        made = self.graph.create_op("Placeholder", (), {"dtype": type.dtype, "shape": type.shape}, name)
        return made.outputs[0]

    def capture(self, x: Tensor) -> Tensor:
        """A tensor outside as one of this graph."""
        if x.graph is self.graph:
            return x
        if x.op.type == "Const":
            if x not in self._constants:
                attrs = {"value": x.op.attrs["value"], "dtype": x.op.attrs["dtype"]}
                self._constants[x] = self.graph.create_op("Const", (), attrs, "outside").outputs[0]
            return self._constants[x]
        if x not in self.captured:
            self.captured[x] = self.placeholder(self._outer.type_of(x), "outside")
        return self.captured[x]

    def run(self, proto: GraphProto, name: str, args: Sequence[Tensor]) -> list[Tensor]:
        """The nodes of a body with these inputs; its outputs."""
        return self._outer.importer.enclosed(self._outer, proto, name, args, self.graph, self.capture)

    def finish(self, outputs: Sequence[Tensor]) -> ir.Graph:
        """The graph with these outputs."""
        return ir.Graph(self.graph.freeze().nodes, tuple(x.port for x in outputs))


#: (graph, state, what stays) -> the next state, or what decides.
Step = Callable[[Inner, Sequence[Tensor], Sequence[Tensor]], list[Tensor]]


def fixed(n: Node, x: Tensor, type: TensorType) -> Tensor:
    """x with a shape that it is known to have."""
    if type.shape is None or x.shape == type.shape:
        return x
    return n.op("EnsureShape", x, shape=type.shape)


def loop(
    n: Node,
    start: Sequence[Tensor],
    steady: Sequence[Tensor],
    goes_on: Step,
    step: Step,
) -> list[Tensor]:
    """The state after steps until ``goes_on(inner, state, steady)`` is false; ``step`` returns the next state."""
    types = [n.type_of(x) for x in start]
    for tries in range(_TRIES):
        if tries == _TRIES - 1:
            types = [TensorType(t.dtype, None) for t in types]
        body = Inner(n)
        inside = (
            [body.placeholder(t, "state") for t in types],
            [body.placeholder(n.type_of(x), "steady") for x in steady],
        )
        made = step(body, *inside)
        if all(_holds(t, y.type.shape) for t, y in zip(types, made, strict=True)):
            break
        types = [_wider(t, y.type.shape) for t, y in zip(types, made, strict=True)]
    cond = Inner(n)
    outside = [cond.placeholder(t, "state") for t in types], [cond.placeholder(n.type_of(x), "steady") for x in steady]
    decides = goes_on(cond, *outside)
    captured = [*body.captured, *(x for x in cond.captured if x not in body.captured)]
    names = [
        (*(x.op.name for x in (*own[0], *own[1])), *(graph.captured[x].op.name if x in graph.captured else "" for x in captured))
        for graph, own in ((cond, outside), (body, inside))
    ]  # fmt: skip
    attrs = {
        "cond": cond.finish(decides), "body": body.finish(made), "cond_inputs": names[0], "body_inputs": names[1],
        "count": len(start),
    }  # fmt: skip
    outputs = n.ops("KiWhile", [*start, *steady, *captured], len(start), **attrs)
    return [fixed(n, y, t) for y, t in zip(outputs, types, strict=True)]


def _holds(type: TensorType, shape: tuple[int | None, ...] | None) -> bool:
    """Whether every tensor of that shape has the type."""
    if type.shape is None:
        return True
    if shape is None or len(shape) != len(type.shape):
        return False
    return all(a is None or a == b for a, b in zip(type.shape, shape, strict=True))


def _wider(type: TensorType, shape: tuple[int | None, ...] | None) -> TensorType:
    """What is sure of a state that begins with this type and becomes that shape."""
    if type.shape is None or shape is None or len(shape) != len(type.shape):
        return TensorType(type.dtype, None)
    return TensorType(type.dtype, tuple(a if a == b else None for a, b in zip(type.shape, shape, strict=True)))
