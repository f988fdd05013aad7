"""GraphDef, import_graph_def and the functions that make frozen graphs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...graph import builder as core
from ...graph.formats.limits import Budget
from ...graph.formats.source import Source
from ...graph.loaders.graphdef import read_graphdef
from ...graph.writers.graphdef import save_graphdef
from ...train.freezing import freeze
from .building import is_tensor
from .dtypes import as_dtype
from .errors import DataLossError
from .graph import Graph, Tensor, get_default_graph

__all__ = [
    "AttrValue",
    "GraphDef",
    "NodeDef",
    "convert_variables_to_constants",
    "extract_sub_graph",
    "import_graph_def",
]


class AttrValue:
    """An attribute of a node, by its kind: ``i``, ``f``, ``b``, ``s``, ``type``, ``shape``, ``tensor``."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def i(self) -> int:
        return int(self.value)

    @property
    def f(self) -> float:
        return float(self.value)

    @property
    def b(self) -> bool:
        return bool(self.value)

    @property
    def s(self) -> bytes:
        return self.value.encode() if isinstance(self.value, str) else bytes(self.value)

    @property
    def type(self) -> Any:
        return as_dtype(self.value)

    @property
    def shape(self) -> Any:
        from .shapes import TensorShape

        return TensorShape(self.value)

    @property
    def tensor(self) -> np.ndarray[Any, Any]:
        """The value of a constant, as an array."""
        found: np.ndarray[Any, Any] = self.value.array()
        return found

    def __repr__(self) -> str:
        return f"AttrValue({self.value!r})"


class NodeDef:
    """A node of a GraphDef, to read: ``name``, ``op``, ``input`` ('name', 'name:1', '^name'), ``attr``, ``device``."""

    device = ""

    def __init__(self, operation: core.Operation) -> None:
        self.name, self.op = operation.name, operation.type
        self.input = [t.name if t.index else t.op.name for t in operation.inputs]
        self.input += [f"^{c.name}" for c in operation.control_inputs]
        self.attr: Mapping[str, AttrValue] = {key: AttrValue(value) for key, value in operation.attrs.items()}

    def __repr__(self) -> str:
        return f"name: {self.name!r} op: {self.op!r} input: {self.input}"


class GraphDef:
    """A graph as data: read from bytes, or made by Graph.as_graph_def. ``node`` lists its nodes, which cannot be changed."""

    def __init__(self, graph: core.Graph | None = None) -> None:
        self.graph = core.Graph() if graph is None else graph

    @classmethod
    def FromString(cls, data: bytes) -> GraphDef:  # noqa: N802 - the name of Protocol Buffers
        made = cls()
        made.ParseFromString(data)
        return made

    def ParseFromString(self, data: bytes) -> int:  # noqa: N802 - the name of Protocol Buffers
        """Reads a serialized GraphDef; DataLossError for anything else. Ops that kigraph does not run stay readable."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"ParseFromString takes bytes, got {type(data).__name__}; open the file with mode 'rb'")
        from ...errors import LoadError

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "graph.pb")
            with open(path, "wb") as file:
                file.write(data)
            try:
                source = Source(path)  # open as long as its constants are needed
                self.graph = read_graphdef(source, Budget("GraphDef", source.size))
            except LoadError as error:
                raise DataLossError(None, None, f"Error parsing message: {error}") from error
        return len(data)

    def SerializeToString(self) -> bytes:  # noqa: N802 - the name of Protocol Buffers
        """The bytes of a .pb file."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "graph.pb")
            save_graphdef(self.graph, path)
            with open(path, "rb") as file:
                return file.read()

    @property
    def node(self) -> tuple[NodeDef, ...]:
        return tuple(NodeDef(op) for op in self.graph.operations)

    def ByteSize(self) -> int:  # noqa: N802 - the name of Protocol Buffers
        return len(self.SerializeToString())

    def __repr__(self) -> str:
        return f"<GraphDef of {len(self.graph)} nodes>"


def _port(text: str) -> tuple[str, int]:
    name, _, index = text.partition(":")
    return name.lstrip("^"), int(index or 0)


def import_graph_def(
    graph_def: Any, input_map: Any = None, return_elements: Any = None, name: str | None = None, op_dict: Any = None,
    producer_op_list: Any = None,
) -> list[Any] | None:  # fmt: skip
    """Adds the nodes of a GraphDef to the default graph, their names prefixed by ``name`` ('import'; '' for no prefix).

    input_map: tensors of the GraphDef by name -> tensors that take their places. return_elements: names of operations
    ('softmax') and tensors ('softmax:0') to return. ValueError for a name that is not there, or is taken.
    """
    if not isinstance(graph_def, GraphDef):
        raise TypeError(f"graph_def must be a GraphDef proto, got {type(graph_def).__name__}")
    graph = get_default_graph()
    source = graph_def.graph
    given = {_port(key): value for key, value in (input_map or {}).items()}
    prefix = "" if name == "" else graph.core.unique_name(name.rstrip("/") if name else "import") + "/"
    made: dict[str, core.Operation] = {}
    used: set[tuple[str, int]] = set()

    def tensor(t: core.Tensor) -> core.Tensor:
        key = (t.op.name, t.index)
        if key not in given:
            return made[t.op.name].outputs[t.index]
        used.add(key)
        value = given[key]
        found: Tensor = value._as_tensor() if hasattr(value, "_as_tensor") else value
        if not is_tensor(found):
            from .building import convert

            found = convert(found, as_dtype(t.dtype))
        return graph.reach(found)

    with graph.as_default(), graph.core.name_scope(None):
        for op in source.operations:
            full = f"{prefix}{op.name}"
            if full in graph.core:
                raise ValueError(f"Node name '{full}' already exists in the Graph; import with another name")
            inputs = [tensor(t) for t in op.inputs]
            control = [made[c.name] for c in op.control_inputs]
            made[op.name] = graph.core.create_op(
                op.type, inputs, op.attrs, full, control, len(op.outputs), exact_name=True
            )
    if source.metadata.get("exact_products"):
        graph.core.metadata["exact_products"] = True
    unused = [f"{n}:{i}" for n, i in given if (n, i) not in used]
    if unused:
        raise ValueError(f"Attempted to map inputs that were not found in graph_def: [{', '.join(unused)}]")
    return None if return_elements is None else [_returned(graph, made, text) for text in return_elements]


def _returned(graph: Graph, made: Mapping[str, core.Operation], text: str) -> Any:
    name, index = _port(text)
    if name not in made or (":" in text and index >= len(made[name].outputs)):
        raise ValueError(f"Requested return_element {text!r} not found in graph_def.")
    return graph.wrap(made[name].outputs[index]) if ":" in text else graph.wrap_operation(made[name])


def convert_variables_to_constants(
    sess: Any, input_graph_def: Any, output_node_names: Any, variable_names_whitelist: Any = None, variable_names_blacklist: Any = None,
) -> GraphDef:  # fmt: skip
    """The graph of the session that leads to the outputs, with the variables' present values as constants."""
    if variable_names_whitelist is not None or variable_names_blacklist is not None:
        raise ValueError("convert_variables_to_constants: a choice of variables is not supported by kigraph.compat.v1")
    outputs = [f"{name}:0" for name in output_node_names]
    return GraphDef(freeze(sess.core, outputs))


def extract_sub_graph(graph_def: GraphDef, dest_nodes: Any) -> GraphDef:
    """The nodes that lead to some nodes."""
    wanted = graph_def.graph
    needed: set[core.Operation] = set()
    stack = [wanted.operation(n) for n in dest_nodes]
    while stack:
        op = stack.pop()
        if op not in needed:
            needed.add(op)
            stack += [t.op for t in op.inputs] + list(op.control_inputs)
    part, made = core.Graph(), dict[core.Operation, core.Operation]()
    for op in wanted.operations:
        if op in needed:
            inputs = [made[t.op].outputs[t.index] for t in op.inputs]
            control = [made[c] for c in op.control_inputs]
            made[op] = part.create_op(op.type, inputs, op.attrs, op.name, control, len(op.outputs), exact_name=True)
    return GraphDef(part)
