"""What a set of fetches and feeds needs of a graph: the part in between, with feeds as placeholders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ...kernels.records import dataclass
from ...kernels.tensor import TensorType
from ..errors import FetchError, GraphError, UnsupportedOpError
from ..ir import UNKNOWN, Graph, Node, Port, topological_order
from ..opdefs import DESCRIBES, OPDEFS, WHY, Site, opdef
from ..passes import optimize
from ..passes.fold_constants import fold_constants
from ..passes.legalize import legalize
from ..rewrite import Rewriter, infer_again, reachable
from .branches import Decision, branches, decide, take
from .effects import EFFECTS, Order

__all__ = ["Cut", "cut", "retyped", "specialize"]


@dataclass(frozen=True, slots=True)
class Cut:
    """``graph``: no feeds inside, no control edges; its outputs are the fetches and then the assigned values.

    ``feeds``: fed port -> the placeholder that stands for it. ``variables``: name -> the port that reads it.
    ``assigned``: names of the variables whose new values are the outputs after the fetches. ``effects``: nodes that run, or
    ran before it for a predicate, for what they do.
    """

    graph: Graph
    feeds: Mapping[Port, Port]
    variables: Mapping[str, Port]
    assigned: tuple[str, ...]
    effects: frozenset[str]


def cut(
    graph: Graph,
    fetches: Sequence[Port],
    targets: Sequence[str],
    feeds: Mapping[Port, TensorType],
    decision: Decision | None = None,
    given: Collection[Port] | None = None,
) -> Cut:
    """Raises FetchError if something needs a placeholder that is not fed, UnsupportedOpError for unknown ops.

    decision: which sides of branches are live; default: what follows from constants, FetchError if that is not enough.
    given: which of ``feeds`` are the caller's own (default: all). The others were computed in this run, so what they
    were computed with has its effects.
    """
    given = feeds.keys() if given is None else given
    natural = all(graph.nodes[p.node].op in ("Placeholder", "PlaceholderWithDefault") for p in feeds)
    if decision is not None or branches(graph):
        decision = _decided(graph, fetches, targets, feeds, decision)
        order = Order(graph, decision.ran, given)
        targets = (*targets, *(n for n in order.names if n in decision.live))
        graph, moved = take(graph, decision, feeds)
        fetches = [p if p in feeds else moved.get(p, p) for p in fetches]
        natural = False
        needed = _needed(graph, fetches, targets, feeds)
    else:
        needed = _needed(graph, fetches, targets, feeds)
        order = Order(graph, needed, given)
    nodes, stand_ins = _placeholders(graph, feeds)
    variables = _between(graph, needed, nodes, stand_ins, order)
    assigned = {v: Port(order.last(v)) for v in order.assigns}
    done = decision.done if decision is not None else frozenset()
    effects = {n: Port(n) for n in needed if graph.nodes[n].op in EFFECTS and n not in done}
    outputs = (*(stand_ins.get(p, p) for p in fetches), *assigned.values(), *effects.values())
    whole = Graph(topological_order(nodes), tuple(outputs))
    kept = reachable(whole)
    read = {n: p for n, p in variables.items() if n in kept}
    return Cut(_typed(whole, kept, natural), stand_ins, read, tuple(assigned), done.union(effects))


def _typed(whole: Graph, kept: Collection[str], natural: bool) -> Graph:
    """The nodes that are kept, with types that follow from what is fed, such that kernels serve them."""
    whole = Graph({n: node for n, node in whole.nodes.items() if n in kept}, whole.outputs)
    if not natural or any(t.dtype == UNKNOWN for node in whole for t in node.outputs):
        whole = retyped(whole)  # raises the error that the loader deferred: why a node of the file cannot run
    return legalize(whole)


def _between(
    graph: Graph, needed: set[str], nodes: dict[str, Node], stand_ins: Mapping[Port, Port], order: Order
) -> dict[str, Port]:
    """Adds what runs to ``nodes``; gives the variables that it reads."""
    variables: dict[str, Port] = {}
    for name in graph.nodes:  # the builder's order is topological
        if name not in needed or name in nodes:
            continue
        node = graph.nodes[name]
        _check(node)
        if node.op == "VariableV2":
            variables[name] = Port(name)
        inputs = tuple([stand_ins.get(p) or _read(p, name, order) for p in node.inputs])
        if node.op == "Assign":  # the old value is not needed, and there may be none
            shape = graph.type_of(node.inputs[0]).shape
            node = replace(node, op="EnsureShape", attrs={"shape": shape})
            inputs = inputs[1:]
        plain = inputs == node.inputs and not node.control
        nodes[name] = node if plain else replace(node, inputs=inputs, control=())
    for name in order.assigns:  # read by a node behind an assignment only
        if name not in nodes:
            nodes[name], variables[name] = graph.nodes[name], Port(name)
    return variables


def _read(port: Port, reader: str, order: Order) -> Port:
    """Where a node reads its input: of a variable that the run assigns, the value at that time."""
    variable = order.variable(port) if order.assigns else None
    if variable is None or variable not in order.assigns:
        return port
    return Port(order.seen_by(reader, variable) or variable)


def _check(node: Node) -> None:
    """Refuses placeholders and unknown ops before anything runs."""
    if node.op == "Placeholder":
        if node.outputs[0].dtype == UNKNOWN:  # what the loader could not type says why
            opdef(node.op, node.name).types(Site(node.name, node.op, node.attrs, ()))
        raise FetchError(
            f"placeholder '{node.name}' ({node.outputs[0]}) must be fed: what is fetched depends on it. "
            f"Give feed_dict={{'{node.name}:0': value}}"
        )
    why = node.attrs.get("why", WHY.get(node.op))
    if node.op not in OPDEFS and why is not None:  # a loader may know more of it
        raise UnsupportedOpError(f"{node} cannot be run: {why}, or feed a tensor downstream")
    opdef(node.op, node.name, node.attrs.get("_reason"))


def _decided(
    graph: Graph,
    fetches: Sequence[Port],
    targets: Sequence[str],
    feeds: Mapping[Port, TensorType],
    decision: Decision | None,
) -> Decision:
    """What is live; FetchError where that follows from what is known in a run only."""
    decision = decision or decide(graph, fetches, targets, feeds, {})
    if decision.ask:
        asked = ", ".join(f"'{p}'" for p in decision.ask[:3])
        raise FetchError(
            f"which side of a branch runs depends on the value of {asked}, which is known in a run only; feed it, or fetch a "
            "tensor before the branch"
        )
    return decision


def _placeholders(graph: Graph, feeds: Mapping[Port, TensorType]) -> tuple[dict[str, Node], dict[Port, Port]]:
    """A placeholder for every feed: by name, and which port it stands for."""
    nodes: dict[str, Node] = {}
    stand_ins: dict[Port, Port] = {}
    for port, given in feeds.items():
        known = graph.type_of(port)
        # The shape stays the graph's own: one cut serves all fed shapes.
        fed = known if known.dtype != UNKNOWN else TensorType(given.dtype, known.shape)
        name = f"{port}" if graph.nodes[port.node].op != "Placeholder" else port.node
        nodes[name] = Node(name, "Placeholder", (), {"dtype": fed.dtype, "shape": fed.shape}, (fed,))
        stand_ins[port] = Port(name)
    return nodes, stand_ins


def _needed(
    graph: Graph, fetches: Sequence[Port], targets: Sequence[str], feeds: Mapping[Port, TensorType]
) -> set[str]:
    """Nodes that fetches and targets need through data and control edges; the search stops at feeds."""
    seen: set[str] = set()
    stack = [p.node for p in fetches if p not in feeds] + list(targets)
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            node = graph.nodes[name]
            stack.extend(p.node for p in node.inputs if p not in feeds)
            # An unknown op that is reached by control edges alone (Assert, say) checks or reports: no value depends on it.
            stack.extend(c for c in node.control if graph.nodes[c].op in OPDEFS)
    return seen


def specialize(graph: Graph, feed_types: Mapping[Port, TensorType], skip: Collection[str] = ()) -> Graph:
    """The graph for given feed types: shapes that were taken as values (Shape, Size, Rank) become constants.

    The padding of an atrous convolution may be one of these; then the passes, but for those in ``skip``, work once more.
    """
    if not any(node.op in DESCRIBES for node in graph):
        return graph
    known = fold_constants(retyped(graph, feed_types))
    return optimize(known, skip) if any(node.op == "BatchToSpaceND" for node in known) else known


def retyped(graph: Graph, feed_types: Mapping[Port, TensorType] | None = None) -> Graph:
    """Types inferred anew: a fed tensor may have replaced a constant that decided a shape.

    Raises what is wrong with a node that the loader could not type, and for an output that its op does not have.
    """
    edit = Rewriter(graph)
    types: dict[Port, TensorType] = {}
    nodes: dict[str, Node] = {}
    for node in graph:
        outputs = node.outputs
        if feed_types and Port(node.name) in feed_types:
            outputs = (feed_types[Port(node.name)],)
        if node.op not in ("Const", "Placeholder", "VariableV2") or outputs[0].dtype == UNKNOWN:
            outputs = infer_again(graph, node, types, lambda p: _type_at(types, p, nodes), edit.value)
        if outputs != node.outputs:
            node = replace(node, outputs=outputs)
        nodes[node.name] = node
        types.update(zip(node.ports, outputs, strict=True))
    for port in graph.outputs:
        _type_at(types, port, nodes)
    return Graph(nodes, graph.outputs, graph.targets)


def _type_at(types: Mapping[Port, TensorType], port: Port, nodes: Mapping[str, Node]) -> TensorType:
    """The number of outputs of an op of a file may be known only now that its inputs have types."""
    found = types.get(port)
    if found is None:
        node = nodes[port.node]
        raise GraphError(f"{node} has {len(node.outputs)} outputs; there is no '{port}'")
    return found
