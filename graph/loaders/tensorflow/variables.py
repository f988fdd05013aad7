"""The variables of a graph become constants with the values of its checkpoint, so that what remains is a frozen graph."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from ...formats.limits import Budget
from ...formats.tensorflow import DTYPES, AttrValue, FunctionDef, NodeDef
from ...formats.tensorproto import shape_dims
from ...ir import Literal
from ..weights import BFLOAT16, TensorInfo
from .edges import ancestors, consumers, descendants, is_data, node_of, origin

__all__ = ["RESTORES", "VARIABLES", "updated", "used", "with_values", "with_values_inside", "without_training"]

#: Op types that are variables.
VARIABLES = frozenset(["VarHandleOp", "Variable", "VariableV2"])
#: Op types that read tensors of a checkpoint.
RESTORES = frozenset(["RestoreV2", "RestoreSlice", "Restore"])
_UPDATES = re.compile(
    r"Assign(Add|Sub)?(VariableOp)?|(Resource)?(Sparse)?Apply[A-Z]\w*|(Resource)?Scatter(Nd)?(Update|Add|Sub|Mul|Div|Min|Max)"
    r"|(Resource)?StridedSliceAssign|(Resource)?CountUpTo|DestroyResourceOp"
)
#: What writes checkpoints and logs, and what only orders others.
_WRITES = re.compile(r"Save(V2|Slices)?|MergeV2Checkpoints|ShardedFilename|\w*Summary(V2)?|NoOp")
#: Names of what TensorFlow adds to a graph for gradients.
_GRADIENTS = re.compile(r"(^|/)gradients(_[0-9]+)?/")
_MOST_SCOPES = 32
#: Op types that read the variable whose handle is their first input -> what does the same with its value.
_READS = {"ReadVariableOp": "Identity", "ResourceGatherNd": "GatherNd", "VariableShape": "Shape"}
_INITIALIZED = frozenset(["VarIsInitializedOp", "IsVariableInitialized"])
_COPIES = _INITIALIZED | {"Identity", "ReadVariableOp"}
_RESOURCE, _INT32, _BOOL, _BFLOAT16 = 20, 3, 10, 14


def _is_update(op: str) -> bool:
    return _UPDATES.fullmatch(op) is not None


def used(nodes: Mapping[str, NodeDef], outputs: Iterable[str]) -> dict[str, NodeDef]:
    """The nodes that these outputs depend on, in the given order. What only changes variables is left out."""
    outputs = list(outputs)
    data = ancestors(nodes, outputs, is_data)
    updates = {n.name for n in nodes.values() if _is_update(n.op)} - data
    wanted = ancestors(nodes, outputs, lambda text: node_of(text) not in updates)
    return {name: _without(node, updates) for name, node in nodes.items() if name in wanted}


def without_training(nodes: Mapping[str, NodeDef]) -> dict[str, NodeDef]:
    """The nodes but those that change variables, write files and logs, and what is computed for them alone.

    What depends on the graph's inputs stays, however, if it is no part of a gradient or of a change: it may be a result.
    """
    readers = consumers(nodes)
    updates = {n.name for n in nodes.values() if _is_update(n.op)}
    dropped = _needless(nodes, updates, readers)
    results = _results(nodes)
    waiting = [node_of(text) for name in dropped for text in nodes[name].input]
    while waiting:
        name = waiting.pop()
        if name not in nodes or name in dropped or not dropped.issuperset(readers.get(name, ())):
            continue
        if name not in results or _GRADIENTS.search(name) or _scopes(name) & updates:
            dropped.add(name)
            waiting += [node_of(text) for text in nodes[name].input]
    return {name: _without(node, dropped) for name, node in nodes.items() if name not in dropped}


def _needless(nodes: Mapping[str, NodeDef], updates: set[str], readers: Mapping[str, list[str]]) -> set[str]:
    """The updates, what writes, restores or only orders others, and what reads these."""
    written = {n.name for n in nodes.values() if n.op in RESTORES or _WRITES.fullmatch(n.op)}
    # Each variable has a node that reads it, which is no result.
    copies = {n.name for n in nodes.values() if n.op in _COPIES and n.name not in readers and _of_variable(nodes, n)}
    return descendants(nodes, updates | written, is_data) | copies


def _results(nodes: Mapping[str, NodeDef]) -> set[str]:
    """What depends on the graph's inputs: on nodes that read nothing and are neither constants nor variables."""
    roots = [n.name for n in nodes.values() if not n.input and n.op not in VARIABLES and n.op not in ("Const", "NoOp")]
    return descendants(nodes, roots)


def _scopes(name: str) -> set[str]:
    """The scopes that a name is in: 'a' and 'a/b' of 'a/b/c'."""
    parts = name.split("/")[:_MOST_SCOPES]
    return {"/".join(parts[:count]) for count in range(1, len(parts))}


def _of_variable(nodes: Mapping[str, NodeDef], node: NodeDef) -> bool:
    name = origin(nodes, node.input[0])[0] if node.input else ""
    return name in nodes and nodes[name].op in VARIABLES


def updated(nodes: Mapping[str, NodeDef], data: Collection[str], runs: Collection[str]) -> set[str]:
    """Variables that are changed whenever the nodes ``runs`` run, and that are among ``data``, what results depend on."""
    updates = [name for name in runs if _is_update(nodes[name].op)]
    if not updates:
        return set()
    sometimes = descendants(nodes, [n.name for n in nodes.values() if n.op in ("Switch", "RefSwitch")])
    changed: set[str] = set()
    for name in updates:
        if name not in sometimes:
            changed.update(origin(nodes, text)[0] for text in nodes[name].input if is_data(text))
    return {name for name in changed if name in data and nodes[name].op in VARIABLES}


def _without(node: NodeDef, dropped: set[str]) -> NodeDef:
    """The node without control inputs from nodes that are dropped."""
    kept = [text for text in node.input if is_data(text) or text[1:] not in dropped]
    return node if len(kept) == len(node.input) else replace(node, input=kept)


def with_values(nodes: Mapping[str, NodeDef], values: Mapping[str, TensorInfo], budget: Budget) -> list[NodeDef]:
    """The nodes, with a constant in place of each variable that has a value; the others cannot be run."""
    made: list[NodeDef] = []
    for node in nodes.values():
        if node.op not in VARIABLES:
            made += _reading(nodes, node, values)
        elif node.name in values:
            made.append(_constant(node, values[node.name], budget))
        else:
            made.append(replace(node, why="its checkpoint has no value for it"))
    return made


def _constant(node: NodeDef, value: TensorInfo, budget: Budget) -> NodeDef:
    place = f"variable '{node.name}'"
    stated, shape = node.attr.get("dtype"), node.attr.get("shape")
    number = stated.type % 100 if stated is not None and stated.type is not None else 0
    name = BFLOAT16 if number == _BFLOAT16 else DTYPES[number].name if number in DTYPES else f"type number {number}"
    if name != (value.stored if value.stored == BFLOAT16 else value.dtype.name):
        raise budget.error(place, f"a tensor of {value.stored} in the checkpoint", f"{name}, as the graph has it")
    dims = shape_dims(shape.shape) if shape is not None and shape.shape is not None else None
    # Variables of the oldest op type have the shape () for one that is not known.
    known = dims is not None and not (node.op == "Variable" and not dims)
    if known and (
        dims is None
        or len(dims) != len(value.shape)
        or any(d not in (None, size) for d, size in zip(dims, value.shape, strict=True))
    ):
        raise budget.error(place, f"a tensor of shape {value.shape} in the checkpoint", f"{dims}, as the graph has it")
    literal = Literal.lazy(value.dtype, value.shape, value.load, value.key)
    return NodeDef(node.name, "Const", [], "", {"dtype": AttrValue(type=number), "value": AttrValue(literal=literal)})


def _reading(nodes: Mapping[str, NodeDef], node: NodeDef, values: Mapping[str, TensorInfo]) -> list[NodeDef]:
    """A node that may read a variable, as one that reads its value."""
    first = node.input[0] if node.input and is_data(node.input[0]) else None
    variable = origin(nodes, first)[0] if first is not None else None
    if variable is None or variable not in values or nodes[variable].op not in VARIABLES:
        return [node]
    stated = nodes[variable].attr["dtype"]
    rest = [text for text in node.input[1:] if not is_data(text)]
    if node.op in _INITIALIZED:
        yes = AttrValue(literal=Literal.of(np.array(True), ("true",)))
        return [NodeDef(node.name, "Const", rest, "", {"dtype": AttrValue(type=_BOOL), "value": yes})]
    if node.op == "DisableCopyOnRead":
        return [NodeDef(node.name, "NoOp", rest, "", {})]
    if node.op in _READS:
        return [_renamed(node, _READS[node.op], stated)]
    if node.op == "ResourceGather":
        return _gather(node, stated)
    kind = node.attr.get("T")
    if kind is not None and kind.type == _RESOURCE:  # of a handle that is passed on
        return [replace(node, attr={**node.attr, "T": stated})]
    return [node]


def with_values_inside(function: FunctionDef) -> FunctionDef:
    """A function of a branch or loop, which gets values where its callers had handles of variables."""
    nodes: list[NodeDef] = []
    for node in function.node_def:
        stated, batch = node.attr.get("dtype"), node.attr.get("batch_dims")
        if node.op in _READS and (stated is not None or node.op == "VariableShape"):
            nodes.append(_renamed(node, _READS[node.op], stated))
        elif node.op == "ResourceGather" and (batch is None or not batch.i):
            nodes.append(_renamed(node, "Gather", stated))
        else:
            nodes.append(node)
    return replace(function, node_def=nodes)


def _renamed(node: NodeDef, op: str, stated: AttrValue | None) -> NodeDef:
    dropped = ("dtype", "validate_indices", "batch_dims")
    kept = {k: v for k, v in node.attr.items() if k not in dropped}
    types = {"Tparams" if op.startswith("Gather") else "T": stated} if stated is not None else {}
    return replace(node, op=op, attr={**kept, **types})


def _gather(node: NodeDef, stated: AttrValue) -> list[NodeDef]:
    """ResourceGather gathers along the first axis behind the batch."""
    batch = node.attr.get("batch_dims")
    if batch is None or not batch.i:
        return [_renamed(node, "Gather", stated)]
    name = f"{node.name}/axis"
    axis = AttrValue(literal=Literal.of(np.array(batch.i, np.int32), ("axis", batch.i)))
    constant = NodeDef(name, "Const", [], "", {"dtype": AttrValue(type=_INT32), "value": axis})
    gather = _renamed(node, "GatherV2", stated)
    data, control = node.input[:2], node.input[2:]
    attr = {**gather.attr, "Taxis": AttrValue(type=_INT32), "batch_dims": batch}
    return [constant, replace(gather, input=[*data, name, *control], attr=attr)]
