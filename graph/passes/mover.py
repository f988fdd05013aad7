"""Which order of its axes an op takes, where it may choose: that which moves the fewest bytes, before it and behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod

from ..ir import Graph, Node, Port
from .axes import Axes, Order, as_order
from .axis_tables import ELEMENTWISE, INDIFFERENT, SAME_AXES

__all__ = ["Mover"]

#: Orders that are considered for one tensor.
_MOST_ORDERS = 4

Wanted = Mapping[Port, Collection[Order]]


class Mover(Axes):
    """Axes, and which orders of a tensor the nodes behind it want."""

    def __init__(self, graph: Graph, constant: frozenset[str]) -> None:
        super().__init__(graph)
        self._constant = constant
        self._wanted = _wanted(graph)

    def is_constant(self, port: Port) -> bool:
        """Whether a tensor is folded in whatever order it is wanted."""
        return port.node in self._constant

    def wanted(self, port: Port) -> tuple[Order, ...]:
        """The orders in which a tensor is wanted behind the nodes that take any."""
        return tuple(self._wanted.get(port, ()))

    def choose(
        self, inputs: Sequence[Port], outputs: Sequence[Port], through: Callable[[Order], Order] | None = None
    ) -> Order:
        """The order in which an op gets its inputs, which have as many axes each.

        through: the order of the outputs, if it is not that of the inputs.
        """
        changing = [p for p in inputs if not self.is_constant(p)]
        wanted = {order for p in outputs for order in self.wanted(p)}
        # Equal costs: what is wanted behind, so that a transpose goes to the start of a chain; else what is there by now,
        # so that it goes to the end and what follows a convolution stays beside it.
        first = wanted if through is None and len(wanted) == 1 and None not in wanted else ()
        candidates = dict.fromkeys([*first, *(order for p in changing for order in self.orders(p)), None])

        def moved(order: Order) -> int:
            after = order if through is None else through(order)
            before = sum(self._bytes(p) for p in changing if order not in self.orders(p))
            return before + sum(self._bytes(p) for p in outputs for other in self.wanted(p) if other != after)

        best: Order = min(candidates, key=moved)
        return best

    def _bytes(self, port: Port) -> int:
        t = self.type_of(port)
        return prod(d for d in t.shape or () if d is not None) * t.dtype.itemsize


def _wanted(graph: Graph) -> Wanted:
    """The orders in which the nodes behind a tensor want it, seen through those that take any."""
    wanted: dict[Port, dict[Order, None]] = {p: {None: None} for p in graph.outputs}

    def add(port: Port, orders: Collection[Order]) -> None:
        into = wanted.setdefault(port, {})
        for order in orders:
            if len(into) < _MOST_ORDERS:
                into[order] = None

    for node in reversed(list(graph)):
        if node.op == "Transpose":
            perm = _perm(graph, node)
            if perm is not None:
                behind = wanted.get(Port(node.name), {})
                add(node.inputs[0], [as_order(perm if o is None else [perm[a] for a in o]) for o in behind])
                continue
        if node.op in ELEMENTWISE or node.op in SAME_AXES:
            rank = node.outputs[0].rank if node.outputs else None
            behind = {o: None for p in node.ports for o in wanted.get(p, ())}
            for port in node.inputs:
                if rank is not None and rank == graph.type_of(port).rank:
                    add(port, behind)
        elif node.op not in INDIFFERENT:
            for port in node.inputs:
                add(port, [None])
    return wanted


def _perm(graph: Graph, node: Node) -> tuple[int, ...] | None:
    """The perm of a Transpose, if it is a constant of the graph."""
    literal = graph.literal(node.inputs[1])
    rank = node.outputs[0].rank
    if literal is None or rank is None or literal.shape != (rank,):
        return None
    perm = tuple(int(p) % rank for p in literal.array())
    return perm if sorted(perm) == list(range(rank)) else None
