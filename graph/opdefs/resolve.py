"""Resolves a node to its contract: which contract, with which parameters, which of the node's inputs, and which outputs.

Passes, the plan, constant folding and gradients all use ``resolve``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ...kernels.contracts.base import Contract
from ...kernels.records import dataclass
from ...kernels.tensor import Params, TensorType
from ..ir import Graph, Literal, Node, Port
from .base import Lowered, OpDef, Site
from .table import opdef

__all__ = ["DESCRIBES", "Known", "Resolved", "is_small", "resolve", "site_of"]

T = TypeVar("T")

#: Ops whose value follows from the type of their input: no kernel computes them.
DESCRIBES = frozenset(["Shape", "Size", "Rank"])
#: Bytes of a literal up to which it is read where its value may decide a shape (sizes, axes, bounds).
_SMALL = 1 << 16


def is_small(literal: Literal) -> bool:
    """Whether a literal may hold sizes or axes, so that reading it costs nothing."""
    return literal.nbytes <= _SMALL


def site_of(
    node: Node,
    type_of: Callable[[Port], TensorType],
    value_of: Callable[[Port], np.ndarray[Any, Any] | None],
) -> Site:
    """A node as its op definition sees it."""
    types = tuple(type_of(p) for p in node.inputs)
    return Site(node.name, node.op, node.attrs, types, lambda i: value_of(node.inputs[i]))


@dataclass(slots=True)
class Known:
    """What is known of the ports of a graph while its nodes are walked in order."""

    types: dict[Port, TensorType]
    #: Values of ports that may decide shapes.
    values: dict[Port, np.ndarray[Any, Any]]

    def add(self, port: Port, literal: Literal) -> None:
        """A constant: its type, and its value if it is small."""
        self.types[port] = literal.type
        if is_small(literal):
            self.values[port] = literal.array()

    def add_literals(self, graph: Graph, node: Node) -> None:
        """The constants that a node reads."""
        for port in node.inputs:
            if port not in self.types and (literal := graph.literal(port)) is not None:
                self.add(port, literal)

    def site(self, node: Node) -> Site:
        """A node whose inputs are known."""
        return site_of(node, self.types.__getitem__, self.values.get)


@dataclass(frozen=True, slots=True)
class Resolved:
    """One use of an op together with the contract that computes it."""

    site: Site
    definition: OpDef
    lowered: Lowered

    @property
    def contract(self) -> Contract[Any]:
        return self.lowered.contract

    @property
    def params(self) -> Params:
        return self.lowered.params

    def pick(self, of_node: Sequence[T]) -> tuple[T, ...]:
        """What belongs to the inputs of the contract, from what belongs to those of the node."""
        return self.lowered.pick(of_node)

    @property
    def inputs(self) -> tuple[TensorType, ...]:
        """Types of the contract's inputs."""
        return self.pick(self.site.inputs)

    def written(self) -> tuple[TensorType, ...]:
        """Types of what a kernel writes: the contract's outputs."""
        return self.contract.check(self.inputs, self.params)

    def outputs(self) -> tuple[TensorType, ...]:
        """Types of the node's outputs: those that a kernel writes, perhaps in another shape, and those that are forwarded."""
        return self.definition.types(self.site)

    @property
    def forwarded(self) -> Mapping[int, int]:
        """Outputs of the node that are just one of its inputs: output -> input."""
        return self.definition.forwards(self.site.attrs)


def resolve(site: Site) -> Resolved:
    """Raises NeedsValue while a value that decides parameters is unknown, UnsupportedOpError for an unknown op, or what is
    wrong with the node."""
    definition = opdef(site.op, site.name)
    return Resolved(site, definition, definition.lowered(site))
