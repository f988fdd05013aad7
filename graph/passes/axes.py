"""A graph made anew, node by node, in which a tensor may have its axes in another order than in the old graph.

An order says which axis of the old tensor every axis of the new one is: NCHW in the order (0, 2, 3, 1) is NHWC. None is the
order that the old graph has. What an old tensor has become is kept in all orders in which it was wanted so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from ...kernels.contracts.base import merge_shapes
from ...kernels.tensor import Shape, TensorType
from ..errors import GraphError
from ..evaluate import shape_key
from ..inference import constant_value
from ..ir import UNKNOWN, Graph, Literal, Node, Port
from ..opdefs import is_small
from ..rewrite import infer_node, reachable

__all__ = ["Axes", "Order", "as_order", "only_ones_move", "sizes_of"]

Value = np.ndarray[Any, Any]
Order: TypeAlias = tuple[int, ...] | None

#: A reshape computes one size at most.
_COMPUTED = -1


def as_order(axes: Sequence[int]) -> Order:
    """None for axes in the order that they have already."""
    return None if list(axes) == list(range(len(axes))) else tuple(axes)


def only_ones_move(shape: Sequence[int | None], order: Sequence[int], source: Sequence[int] | None = None) -> bool:
    """Whether all axes but those of size 1 stay in their order, so that the elements stay where they are.

    source: the order in which they are; default: that of ``shape``.
    """
    kept, was = ([a for a in axes if shape[a] != 1] for axes in (order, source or range(len(shape))))
    return kept == was


def sizes_of(shape: Sequence[int | None]) -> list[int] | None:
    """The shape as what Reshape takes; None if it has more than one unknown size, or one beside a 0."""
    unknown = sum(d is None for d in shape)
    if unknown > 1 or (unknown and 0 in shape):
        return None
    return [_COMPUTED if d is None else d for d in shape]


class Axes:
    """Made with ``keep`` for a node as it is, or ``emit`` and ``set`` for one whose axes are in another order; ``get`` gives
    the new tensor of an old one in an order, transposed if need be; ``finish`` the new graph."""

    #: Whether a transpose that only moves axes of size 1 becomes a reshape, which costs nothing but hides what it is.
    views = True

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {}
        self._names = set(graph.nodes)
        #: New tensors of an old one by their orders; that of a Transpose is its input in other orders: (input, perm).
        self._forms: dict[Port, dict[Order, Port]] = {}
        self._transposed: dict[Port, tuple[Port, tuple[int, ...]]] = {}
        self._made: dict[tuple[Any, ...], Port] = {}
        self._values: dict[Port, Value | None] = {}

    # --- what is known of the old graph -----------------------------------------------------------------------------------

    def type_of(self, port: Port) -> TensorType:
        """The type of an old tensor."""
        return self.graph.type_of(port)

    def value(self, port: Port) -> Value | None:
        """The value of an old tensor, if it is small and follows from constants."""
        return constant_value(self.graph.nodes, port, memo=self._values)

    def orders(self, port: Port) -> tuple[Order, ...]:
        """The orders in which an old tensor is there by now; the first one is that in which it was made."""
        base, perm = self._transposed.get(port, (port, ()))
        if not perm:
            return tuple(self._forms[base])
        return tuple(
            as_order([perm.index(a) for a in (range(len(perm)) if o is None else o)]) for o in self._forms[base]
        )

    # --- making the new one -----------------------------------------------------------------------------------------------

    def fresh(self, name: str) -> str:
        """The name, with a number if it is taken."""
        base, number = name, 0
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name

    def emit(self, name: str, op: str, inputs: Sequence[Port], attrs: Mapping[str, Any]) -> Node:
        """A new node with inputs of the new graph."""
        node = Node(name, op, tuple(inputs), attrs)
        self.nodes[name] = replace(node, outputs=infer_node(node, self._type, self._literal_value))
        return self.nodes[name]

    def constant(self, value: Value) -> Port:
        """A small constant: equal ones are one."""
        literal = Literal.of(value, shape_key(value))
        port = self._made.get(("constant", literal.key))
        if port is None:
            name = self.fresh(f"axes/{'_'.join(str(v) for v in value.ravel()[:8])}".replace("-", "m"))
            self.nodes[name] = Node(name, "Const", (), {"value": literal, "dtype": literal.dtype}, (literal.type,))
            port = self._made["constant", literal.key] = Port(name)
        return port

    def keep(self, node: Node) -> None:
        """The node as it is."""
        inputs = tuple(self.get(p) for p in node.inputs)
        self.nodes[node.name] = node if inputs == node.inputs else replace(node, inputs=inputs)
        for port in node.ports:
            self._forms[port] = {None: port}

    def set(self, port: Port, order: Order, new: Port) -> None:
        """The new tensor is the old one with its axes in that order. GraphError if their types contradict that."""
        old, made = self.type_of(port), self._type(new)
        shape = old.shape if old.shape is None or order is None else tuple(old.shape[a] for a in order)
        what = f"{self.graph.nodes[port.node]} with its axes in another order"
        if old.dtype != made.dtype and UNKNOWN not in (old.dtype, made.dtype):
            raise GraphError(f"{what}: {old} became {made}")
        known = merge_shapes(what, shape, made.shape)
        if known != made.shape:  # a size may follow from constants that are not folded yet
            node, outputs = self.nodes[new.node], list(self.nodes[new.node].outputs)
            outputs[new.index] = TensorType(made.dtype, known)
            self.nodes[new.node] = replace(node, outputs=tuple(outputs))
        self._forms.setdefault(port, {}).setdefault(order, new)

    def set_transposed(self, port: Port, source: Port, perm: tuple[int, ...]) -> None:
        """An old tensor that is another one transposed: nothing is made before it is wanted in an order."""
        base, before = self._transposed.get(source, (source, ()))
        self._transposed[port] = (base, tuple(before[a] for a in perm) if before else perm)

    def get(self, port: Port, order: Order = None) -> Port:
        """The new tensor in that order; transposed, or reshaped where that is the same, the first time it is wanted so."""
        base, perm = self._transposed.get(port, (port, ()))
        wanted = order
        if perm:
            wanted = as_order(perm if order is None else [perm[a] for a in order])
        forms = self._forms[base]
        if wanted not in forms:
            name = port.node if perm and order is None and port.node not in self.nodes else ""
            source, new = next(iter(forms.items()))
            forms[wanted] = self._turned(new, source, wanted, name or self.fresh(f"{port.node}/transposed"))
        return forms[wanted]

    def aligned(self, port: Port, rank: int, order: Order) -> Port | None:
        """An operand that is broadcast to ``rank`` axes, for a result in that order; None if it cannot be reshaped so."""
        shape = self.type_of(port).shape
        if shape is None or len(shape) in (0, rank) or order is None:
            return self.get(port, order if shape else None)
        key = ("aligned", port, rank, order)
        if key not in self._made:
            whole = ((1,) * (rank - len(shape))) + shape
            sizes = sizes_of(whole)
            if sizes is None:
                return None
            view = only_ones_move(whole, order)
            made = self.reshape(self.get(port), [sizes[a] for a in order] if view else sizes, f"{port.node}/aligned")
            name = self.fresh(f"{port.node}/transposed")
            self._made[key] = made if view else self._transpose(made, order, name)
        return self._made[key]

    def reshape(self, new: Port, sizes: Sequence[int], name: str) -> Port:
        """A tensor of the new graph in another shape."""
        shape = self.constant(np.array(sizes, np.int64 if max(sizes, default=0) >= 2**31 else np.int32))
        return self.emit(self.fresh(name), "Reshape", (new, shape), {}).ports[0]

    def permuted(self, port: Port, order: Order) -> Port:
        """An old tensor that has a row for every axis, with its rows in that order."""
        if order is None:
            return self.get(port)
        key = ("rows", port, order)
        if key not in self._made:
            value = self.value(port)
            if value is not None and value.shape[:1] == (len(order),):
                self._made[key] = self.constant(value[list(order)])
            else:
                self._made[key] = self.picked(self.get(port), order, self.fresh(f"{port.node}/permuted"))
        return self._made[key]

    def picked(self, new: Port, rows: Sequence[int], name: str) -> Port:
        """Rows of a tensor of the new graph."""
        inputs = (new, self.constant(np.array(rows, np.int32)), self.constant(np.array(0, np.int32)))
        return self.emit(name, "GatherV2", inputs, {}).ports[0]

    def finish(self) -> Graph:
        """The new graph, whose outputs have the axes of the old one's."""
        outputs = tuple(self.get(p) for p in self.graph.outputs)
        for name in self.graph.targets:
            if name not in self.nodes and (port := self.get(Port(name))).node != name:
                self.emit(name, "Identity", [port], {})
        whole = Graph(self.nodes, outputs, self.graph.targets)
        needed = reachable(whole)
        return Graph({n: node for n, node in self.nodes.items() if n in needed}, outputs, self.graph.targets)

    def _type(self, new: Port) -> TensorType:
        return self.nodes[new.node].outputs[new.index]

    def _literal_value(self, new: Port) -> Value | None:
        node = self.nodes[new.node]
        literal = node.attrs["value"] if node.op == "Const" else None
        return literal.array() if literal is not None and is_small(literal) else None

    def _turned(self, new: Port, source: Order, order: Order, name: str) -> Port:
        """A tensor of the new graph that is in order ``source``, in another one."""
        rank = len(source or order or ())
        have, want = source or tuple(range(rank)), order or tuple(range(rank))
        perm = tuple(have.index(a) for a in want)
        shape: Shape = self._type(new).shape
        view = self.views and shape is not None and only_ones_move(shape, perm)
        sizes = sizes_of([shape[a] for a in perm]) if view and shape is not None else None
        if sizes is None:
            return self._transpose(new, perm, name)
        return self.emit(name, "Reshape", (new, self.constant(np.array(sizes, np.int64))), {}).ports[0]

    def _transpose(self, new: Port, perm: Sequence[int], name: str) -> Port:
        return self.emit(name, "Transpose", (new, self.constant(np.array(perm, np.int32))), {}).ports[0]
