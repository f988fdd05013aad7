"""Switch and Merge: which side of a branch is live, found before a plan is made, so that the dead side costs nothing.

As in TensorFlow a Switch hands its data on at the output that its predicate names, and what depends on the other one is
dead; a Merge forwards its one live input. A predicate that is a constant is known; one that is fed, or computed, is asked
for: ``decide`` says which tensors it needs the values of, and its caller finds them and asks again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ...kernels.records import dataclass
from ...kernels.tensor import TensorType
from ..errors import FetchError, GraphError
from ..ir import Graph, Literal, Node, Port
from ..opdefs import BRANCHING
from .effects import ASSIGN, variable_of

__all__ = ["Decision", "branches", "decide", "take", "with_effects"]

#: Of a node or port: live (None), dead, or which predicate must be known first.
State: TypeAlias = Port | bool | None
_DEAD = True
#: In place of a port's index: the node, for control edges.
_ITSELF = -1
_SWITCHES = frozenset(["Switch", "RefSwitch"])
_HANDS_ON = frozenset(["Identity", "PlaceholderWithDefault", "StopGradient", "Print", *_SWITCHES])


@dataclass(frozen=True, slots=True)
class Decision:
    """``ask``: predicates whose values are needed; ``shared``: what is computed on the way to them and read after them.

    Where nothing is asked, ``live`` are the nodes that run, and ``chosen`` which input each Merge among them forwards.
    ``ran``: these, and the nodes that ran before for the values of predicates. ``done``: those of them whose effects are done.
    """

    ask: tuple[Port, ...]
    shared: tuple[Port, ...]
    live: frozenset[str]
    chosen: Mapping[str, int]
    ran: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()


def branches(graph: Graph) -> bool:
    """Whether a graph has any."""
    return any(node.op in BRANCHING for node in graph)


def decide(
    graph: Graph, fetches: Sequence[Port], targets: Sequence[str], fed: Collection[Port], known: Mapping[Port, bool]
) -> Decision:
    """Raises FetchError if something that is fetched is on a dead side. ``known``: predicates that were asked for."""
    wanted = [*(p.node for p in fetches if p not in fed), *targets]
    needed = _ancestors(graph, wanted, fed)
    walk = _Walk(graph, fed, known)
    for name in graph.nodes:
        if name in needed:
            walk.visit(graph.nodes[name])
    states = [walk.of_port(p) for p in fetches] + [walk.states[t] for t in targets]
    ask = tuple(dict.fromkeys(s for s in states if isinstance(s, Port)))
    if ask:
        before = _ancestors(graph, [p.node for p in ask if p not in fed], fed)
        return Decision(ask, _shared(walk, fetches, needed, before), frozenset(), {})
    for what, state in zip([*map(str, fetches), *targets], states, strict=True):
        if state is _DEAD:
            raise FetchError(
                f"'{what}' has no value in this run: it is on the side of a branch that is not taken. Feed another value "
                "for the branch's predicate, or fetch a tensor behind its Merge"
            )
    live = frozenset(n for n in needed if walk.states[n] is None)
    return Decision((), (), live, {n: i for n, i in walk.chosen.items() if n in live}, live)


def with_effects(
    graph: Graph, decision: Decision, whole: Decision, fed: Collection[Port], done: frozenset[str]
) -> Decision:
    """The decision with what ran before, ``whole``: what it assigned is assigned anew, from the values that are fed.

    done: nodes that ran before for their effect alone.
    """
    missing = [n for n in whole.live if n not in decision.live and graph.nodes[n].op in ASSIGN]
    if not missing:
        return replace(decision, ran=whole.live, done=done)
    live = decision.live | (_ancestors(graph, missing, fed, control=False) & whole.live)
    return Decision((), (), live, whole.chosen, whole.live, done)


def _ancestors(graph: Graph, wanted: Sequence[str], fed: Collection[Port], control: bool = True) -> set[str]:
    seen: set[str] = set()
    stack = list(wanted)
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            node = graph.nodes[name]
            stack.extend(p.node for p in node.inputs if p not in fed)
            stack.extend(node.control if control else ())
    return seen


def _shared(walk: _Walk, fetches: Sequence[Port], needed: Collection[str], before: Collection[str]) -> tuple[Port, ...]:
    """What nodes before the predicates give to fetches and to nodes after them: computed once, and fed to the rest.

    What they assigned is such a value, too. Variables are not: which value a read sees is the order's to say.
    """
    nodes = walk.graph.nodes
    readers = [nodes[n] for n in needed if n not in before or nodes[n].op in ASSIGN]
    found = dict.fromkeys(
        port
        for port in (*fetches, *(p for node in readers for p in node.inputs))
        if port.node in before and port not in walk.fed and nodes[port.node].op not in ("Const", "Placeholder")
    )
    return tuple(p for p in found if walk.of_port(p) is None and variable_of(walk.graph, p, walk.fed) is None)


class _Walk:
    """The states of nodes, producers first."""

    def __init__(self, graph: Graph, fed: Collection[Port], known: Mapping[Port, bool]) -> None:
        self.graph, self.fed, self.known = graph, fed, known
        self.states: dict[str, State] = {}
        self.chosen: dict[str, int] = {}
        #: Of a Switch that is live: which of its outputs, or the predicate to ask for.
        self.taken: dict[str, Port | int] = {}

    def of_port(self, port: Port) -> State:
        if port in self.fed:
            return None
        state = self.states[port.node]
        taken = self.taken.get(port.node)
        if state is not None or taken is None:
            return state
        return taken if isinstance(taken, Port) else None if taken == port.index else _DEAD

    def visit(self, node: Node) -> None:
        controls = [self.states[c] for c in node.control]
        inputs = [self.of_port(p) for p in node.inputs]
        if node.op in ("Merge", "RefMerge"):
            inputs = [self._merged(node, inputs)]
        states = inputs + controls
        undecided = next((s for s in states if isinstance(s, Port)), None)
        self.states[node.name] = _DEAD if _DEAD in states else undecided
        if node.op in _SWITCHES and len(node.inputs) != 2:
            raise GraphError(f"{node} takes 2 inputs, got {len(node.inputs)}")
        if node.op in _SWITCHES and self.states[node.name] is None:
            self.taken[node.name] = self._value(node.inputs[1])

    def _merged(self, node: Node, inputs: list[State]) -> State:
        undecided = next((s for s in inputs if isinstance(s, Port)), None)
        if undecided is not None:
            return undecided
        live = [i for i, s in enumerate(inputs) if s is None]
        if len(live) > 1:
            raise FetchError(
                f"{node} has {len(live)} live inputs, expected one; which would count is not defined. Feed its output"
            )
        if not live:
            return _DEAD
        self.chosen[node.name] = live[0]
        return None

    def _value(self, port: Port) -> Port | int:
        """0 or 1, or the predicate whose value is needed."""
        turned = 0
        while True:
            if port in self.known:
                return int(self.known[port]) ^ turned
            node = self.graph.nodes[port.node]
            if port in self.fed:
                return port
            value = node.attrs.get("value")
            if node.op == "Const" and isinstance(value, Literal) and value.type.size == 1:
                return int(bool(value.array().reshape(()))) ^ turned
            if not node.inputs:  # running it says what is wrong
                return port
            if node.op == "LogicalNot":
                turned ^= 1
            elif node.op in ("Merge", "RefMerge") and not port.index:
                port = node.inputs[self.chosen[node.name]]
                continue
            elif node.op not in _HANDS_ON or variable_of(self.graph, port, self.fed) is not None:
                return port  # a variable is read where it is handed on
            port = node.inputs[0]


def take(graph: Graph, decision: Decision, fed: Collection[Port]) -> tuple[Graph, Mapping[Port, Port]]:
    """The graph of what is live, without branches, and where the ports of its Switches and Merges now are."""
    moved: dict[Port, Port] = {}
    nodes: dict[str, Node] = {p.node: graph.nodes[p.node] for p in fed}
    for name in graph.nodes:
        if name in decision.live:
            _take_node(graph, graph.nodes[name], decision, moved, nodes, fed)
        elif name in nodes:
            nodes[name] = nodes.pop(name)  # producers stay first
    return Graph(nodes), moved


def _take_node(
    graph: Graph, node: Node, decision: Decision, moved: dict[Port, Port], nodes: dict[str, Node], fed: Collection[Port]
) -> None:
    inputs = tuple(p if p in fed else moved.get(p, p) for p in node.inputs)
    control = tuple(moved.get(Port(c, _ITSELF), Port(c)).node for c in node.control if c in decision.live)
    if node.op not in BRANCHING:
        same = inputs == node.inputs and control == node.control
        nodes.pop(node.name, None)
        nodes[node.name] = node if same else replace(node, inputs=inputs, control=control)
        return
    here = node.name
    if any(
        p in fed for p in node.ports
    ):  # the node stays for the type of what is fed; the other output is a node of its own
        nodes[node.name] = nodes.pop(node.name)
        here = _fresh(graph, nodes, f"{node.name}/live")
        moved[Port(node.name, _ITSELF)] = Port(here)
    index = decision.chosen.get(node.name, 0)
    of = graph.type_of(node.inputs[index])
    nodes[here] = Node(here, "Identity", (inputs[index],), {}, (of,), control)
    moved[Port(node.name)] = Port(here)
    if node.op in _SWITCHES:
        moved[Port(node.name, 1)] = Port(here)
        return
    name = _fresh(graph, nodes, f"{node.name}/value_index")
    value = Literal.of(np.array(index, np.int32), ("merge", index))
    nodes[name] = Node(name, "Const", (), {"value": value, "dtype": value.dtype}, (TensorType(value.dtype, ()),))
    moved[Port(node.name, 1)] = Port(name)


def _fresh(graph: Graph, nodes: Mapping[str, Node], name: str) -> str:
    while name in graph.nodes or name in nodes:
        name += "_"
    return name
