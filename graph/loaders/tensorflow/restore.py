"""Which tensor of a checkpoint is the value of which variable.

The graph's own operations for restoring say it: a tensor of RestoreV2 is assigned to a variable. Variables that they leave out,
and those of a graph without such operations, have the name of their tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...formats.limits import Budget
from ...formats.protobuf.reader import Reader
from ...formats.source import Source
from ...formats.tensorflow import NodeDef
from ...formats.tensorproto import literal
from ..weights import TensorInfo
from .edges import ancestors, node_of, origin
from .variables import RESTORES, VARIABLES

__all__ = ["Strings", "restored", "values_of"]


@dataclass(slots=True)
class Strings:
    """The texts in the constants and attributes of a graph, each constant read once."""

    nodes: Mapping[str, NodeDef]
    reader: Reader
    source: Source
    budget: Budget
    known: dict[str, list[str]] = field(default_factory=dict)

    def of_input(self, text: str) -> list[str]:
        """The strings of the constant that an input reads; none if it reads something else."""
        name = origin(self.nodes, text)[0]
        if name not in self.known:
            node = self.nodes.get(name)
            value = node.attr.get("value") if node is not None and node.op == "Const" else None
            found: list[str] = []
            if value is not None and value.tensor is not None:
                array = literal(value.tensor, self.reader, self.source, self.budget, f"node '{name}'").array()
                found = [v.decode(errors="replace") for v in array.ravel().tolist() if isinstance(v, bytes)]
            self.known[name] = found
        return self.known[name]

    def shared_name(self, node: NodeDef) -> str:
        """The name by which nodes share a variable, if it has one."""
        attr = node.attr.get("shared_name")
        return self.reader.content(attr.s).decode(errors="replace") if attr is not None and attr.s is not None else ""


def restored(restore: str, strings: Strings) -> dict[str, tuple[str, str]]:
    """Variable -> key of the checkpoint and the part of its tensor, as the operation ``restore`` assigns them."""
    nodes = strings.nodes
    found: dict[str, tuple[str, str]] = {}
    for name in ancestors(nodes, [node_of(restore)]):
        node = nodes[name]
        if node.op not in ("Assign", "AssignVariableOp") or len(node.input) < 2:
            continue
        variable = origin(nodes, node.input[0])[0]
        reads, index = origin(nodes, node.input[1])
        if reads not in nodes or nodes[reads].op not in RESTORES or variable not in nodes:
            continue
        given = nodes[reads].input
        keys = strings.of_input(given[1]) if len(given) > 1 else []
        parts = strings.of_input(given[2]) if len(given) > 2 and nodes[reads].op != "Restore" else []
        if index < len(keys):
            found[variable] = (keys[index], parts[index] if index < len(parts) else "")
    return found


def values_of(
    names: Mapping[str, tuple[str, str]],
    strings: Strings,
    tensor: Callable[[str, str], TensorInfo | None],
    full_names: Mapping[str, str],
) -> dict[str, TensorInfo]:
    """Variable -> its value. ``tensor(key, part)`` is the checkpoint; ``full_names``: names of variables in it -> keys."""
    values: dict[str, TensorInfo] = {}
    shared: dict[str, TensorInfo] = {}
    for node in strings.nodes.values():
        if node.op in VARIABLES and node.name in names and (found := tensor(*names[node.name])) is not None:
            values[node.name] = found
            if name := strings.shared_name(node):
                shared[name] = found
    for node in strings.nodes.values():
        if node.op in VARIABLES and node.name not in names:
            name = strings.shared_name(node)
            key = name or node.name
            found = shared.get(name) or tensor(full_names.get(key, key), "") or tensor(node.name, "")
            if found is not None:
                values[node.name] = found
    return values
