"""A graph before it is written: branches that constants decide are taken, fused ops of other programs are taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...kernels.tensor import TensorType
from ..builder import Graph, Operation, Tensor
from ..errors import GraphError
from ..ir import Graph as Frozen
from ..ir import Node, Port, topological_order
from ..opdefs import BRANCHING
from ..opdefs.control import LOOPS
from ..opdefs.fused import FUSED
from ..opdefs.lists import LISTS
from ..passes.expand_fused import expand_fused
from ..passes.fold_constants import fold_constants
from ..passes.fold_dropout import fold_dropout
from ..plan.branches import decide, take
from .dense_lists import rebuilt
from .merged_branches import lifted

__all__ = ["needed_by", "prepared", "thawed"]

_TAKEN_APART = frozenset([*FUSED, "_FusedBatchNormEx", "RandomUniform"]) | BRANCHING | LOOPS | LISTS


def needed_by(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> set[Operation]:
    """The operations that outputs need, up to inputs."""
    seen: set[Operation] = set()
    stack = [t.op for t in outputs]
    while stack:
        op = stack.pop()
        if op not in seen:
            seen.add(op)
            stack += [t.op for t in op.inputs if t not in inputs]
    return seen


def prepared(
    graph: Graph, ends: Sequence[Tensor], starts: Sequence[Tensor]
) -> tuple[Graph, dict[Tensor, Tensor], dict[Tensor, Tensor]]:
    """The graph that is written, and what the ends and starts are in it; the graph itself where nothing is to be done."""
    if not any(op.type in _TAKEN_APART for op in graph.operations):
        return graph, {t: t for t in ends}, {t: t for t in starts}
    frozen, ports = graph.freeze(), [t.port for t in ends]
    given = {t.port: t.type for t in starts}
    if any(op.type in BRANCHING for op in graph.operations):
        decision = decide(frozen, ports, (), given, {})
        if decision.ask:
            frozen = Frozen(lifted(frozen.nodes, ports, tuple(given)), tuple(ports))
        else:
            frozen, moved = take(frozen, decision, given)
            ports = [moved.get(p, p) for p in ports]
    nodes = _reachable(frozen, ports, given)
    whole = expand_fused(Frozen(topological_order(nodes), (*ports, *given)))
    if any(node.op == "RandomUniform" for node in whole):  # its bounds may be computed
        whole = fold_dropout(fold_constants(whole))
    if any(node.op in LOOPS or node.op in LISTS for node in whole):
        again, at = rebuilt(whole)
        found = [at[p] for p in whole.outputs]
        _describe(graph, again)
    else:
        again = thawed(graph, whole)
        found = [again.operation(p.node).outputs[p.index] for p in whole.outputs]
    return again, dict(zip(ends, found, strict=False)), dict(zip(starts, found[len(ends) :], strict=True))


def _reachable(graph: Frozen, ports: Sequence[Port], starts: Mapping[Port, TensorType]) -> dict[str, Node]:
    """The nodes that the ports need, without control edges; a start is a placeholder, and nothing before it is needed."""
    kept = {}
    for port, type in starts.items():
        if port.index:
            raise GraphError(f"ONNX: a graph with branches or fused ops cannot begin at '{port}', an output of several")
        kept[port.node] = Node(port.node, "Placeholder", (), {"dtype": type.dtype, "shape": type.shape}, (type,))
    stack = [p.node for p in ports]
    while stack:
        name = stack.pop()
        if name not in kept:
            node = graph.nodes[name]
            given = node.op == "PlaceholderWithDefault"  # the file has no such input: the default is what it is
            kept[name] = replace(node, op="Identity", attrs={}, control=()) if given else replace(node, control=())
            stack += [p.node for p in node.inputs]
    return kept


def thawed(source: Graph, frozen: Frozen) -> Graph:
    """The builder's graph again, with what describes the model."""
    made = Graph()
    for node in frozen:
        inputs = [made.operation(p.node).outputs[p.index] for p in node.inputs]
        made.create_op(node.op, inputs, node.attrs, node.name, num_outputs=len(node.outputs), exact_name=True)
    _describe(source, made)
    return made


def _describe(source: Graph, made: Graph) -> None:
    """Adds the card and the labels."""
    made.metadata.update(source.metadata)
    for op in source.operations:
        if op.type == "Const" and op.name.startswith("kigraph/") and op.name not in made:
            made.create_op("Const", (), op.attrs, op.name, exact_name=True)
