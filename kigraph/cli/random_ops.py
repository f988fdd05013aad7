"""Random ops that run unless an input says otherwise: the results of such a model differ from run to run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import KigraphError
from ..graph.ir import Graph as Frozen
from ..graph.ir import Literal, Port
from ..graph.opdefs.random import RANDOM
from ..graph.plan.branches import decide

if TYPE_CHECKING:
    from ..graph.builder import Graph

__all__ = ["RandomOp", "random_ops"]


@dataclass(frozen=True, slots=True)
class RandomOp:
    """``off``: the tensor that keeps it from running if it is fed ``value``; '' if there is none."""

    name: str
    type: str
    off: str = ""
    value: bool = False


def random_ops(graph: Graph, outputs: Sequence[str]) -> list[RandomOp]:
    """The random ops that the outputs need when nothing but the model's inputs is fed, in the order of the graph.

    Ops with a seed as an input (Stateless...) are not meant. Empty if a branch's predicate is computed by the run.
    """
    frozen = graph.freeze()
    ports = [graph.tensor(name).port for name in outputs]
    found = _live(frozen, ports, {})
    if not found:
        return []
    off: dict[str, tuple[str, bool]] = {}
    for port, default in _switches(frozen).items():
        left = _live(frozen, ports, {port: not default})
        if left is not None:
            off.update({name: (str(port), not default) for name in found if name not in left and name not in off})
    return [RandomOp(name, frozen.nodes[name].op, *off.get(name, ())) for name in found]


def _live(graph: Frozen, ports: Sequence[Port], known: Mapping[Port, bool]) -> list[str] | None:
    """The random ops that run, None if that depends on what is computed. ``known``: what is fed."""
    values, fed = dict(known), set(known)
    try:
        decision = decide(graph, ports, (), fed, values)
        if decision.ask:
            return None
        return [n for n in graph.nodes if n in decision.live and _draws(graph, n)]
    except KigraphError:  # a fetch on a dead side
        return None


def _draws(graph: Frozen, name: str) -> bool:
    node = graph.nodes[name]
    return (node.op in RANDOM and not node.op.startswith("Stateless")) or any(
        _any_draws(value) for value in node.attrs.values()
    )


def _any_draws(value: object) -> bool:
    """Whether a graph inside of a loop or a branch draws."""
    graphs: Collection[object] = value if isinstance(value, tuple) else (value,)
    return any(isinstance(g, Frozen) and any(_draws(g, n) for n in g.nodes) for g in graphs)


def _switches(graph: Frozen) -> dict[Port, bool]:
    """Inputs that have a truth value by default, with that value."""
    found = {}
    for node in graph.nodes.values():
        if node.op == "PlaceholderWithDefault" and graph.type_of(Port(node.name)).dtype == np.dtype(bool):
            value = graph.nodes[node.inputs[0].node].attrs.get("value")
            if isinstance(value, Literal) and value.type.size == 1:
                found[Port(node.name)] = bool(value.array().reshape(()))
    return found
