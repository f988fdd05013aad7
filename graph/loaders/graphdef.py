"""TensorFlow's frozen GraphDef (.pb) to a Graph.

Ops that kigraph does not run are kept: such a graph loads and can be inspected, fed and saved. Functions of the
graph's library are put in place of their calls. What a file can do wrong (unknown inputs, duplicates, cycles, shapes that never fit) is a
LoadError that names the node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...kernels.errors import KigraphError
from ...kernels.tensor import DType
from ..builder import Graph
from ..errors import GraphError, LoadError
from ..formats.limits import Budget
from ..formats.protobuf.wire import Reader, Span
from ..formats.source import Source
from ..formats.tensorflow import DTYPE_NAMES, DTYPES, AttrValue, GraphDef, NodeDef
from ..formats.tensorproto import literal, shape_dims
from ..hints import similar
from ..ir import UNKNOWN, Node, Port, topological_order
from ..opdefs import OPDEFS, OWN, Foreign
from .tensorflow.functions import Library, inline

__all__ = ["Function", "looks_like_graphdef", "read_graphdef"]

_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_OP = re.compile(r"[A-Za-z_][A-Za-z0-9_.>]*")
_INPUT = re.compile(r"(?P<control>\^)?(?P<node>[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*)(:(?P<index>[0-9]{1,5}))?")
#: Until then a Placeholder of shape () meant "shape not known" (array_ops.cc, graph_def_version() <= 21).
_LAST_PRODUCER_WITH_SCALAR_AS_UNKNOWN = 21
_LOOPS = frozenset(["NextIteration", "RefNextIteration"])
#: Type in a file -> op type that has attributes which TensorFlow's does not.
_OWN_TYPES = {f"Ki{op}": op for op in OWN}


@dataclass(frozen=True, slots=True)
class Function:
    """An attribute that names a function of the graph's library."""

    name: str


@dataclass(frozen=True, slots=True)
class _Edges:
    inputs: tuple[Port, ...]
    control: tuple[str, ...]


def looks_like_graphdef(view: memoryview) -> bool:
    """True if the file begins with a node that has a name and an op; protobuf files have no magic number."""
    head = bytes(view[:4096])
    if head[:1] == b"\x22":  # versions first: unusual, but legal
        return len(head) > 4 and head[1] < 16 and head[2] in (0x08, 0x10)
    at = 1
    while at < min(len(head), 10) and head[at] > 0x7F:
        at += 1
    # 0x0a: field 1, the node; then its field 1, the name.
    if head[:1] != b"\x0a" or head[at + 1 : at + 2] != b"\x0a":
        return False
    length = head[at + 2] if at + 2 < len(head) else 0
    if length > 0x7F:  # a name of 128 bytes or more: left to the parser
        return True
    stop = at + 3 + length
    name, tag, op_length = head[at + 3 : stop], head[stop : stop + 1], head[stop + 1 : stop + 2]
    op = head[stop + 2 : stop + 2 + (op_length[0] if op_length else 0)]
    return bool(_NAME.fullmatch(name.decode("latin-1")) and tag == b"\x12" and _OP.fullmatch(op.decode("latin-1")))


def read_graphdef(source: Source, budget: Budget) -> Graph:
    """Parses the file and builds the graph. Weights above 4 KiB are read from the file when they are used."""
    view, fill = source.space()
    reader = Reader(view, budget, "GraphDef", fill)
    proto = reader.read(GraphDef)
    if not proto.node:
        raise budget.error("GraphDef", "no nodes", "a graph", "Is this a frozen GraphDef?")
    return _build(proto, reader, source, budget)


def _build(proto: GraphDef, reader: Reader, source: Source, budget: Budget) -> Graph:
    producer = proto.versions.producer if proto.versions else proto.version
    library = Library.of(proto.library.function if proto.library else (), reader, budget)
    definitions = _definitions(inline(proto.node, library), budget)
    edges = _edges(definitions, budget)
    order = _order(definitions, edges, budget)
    outputs = _output_counts(edges, budget)
    graph = Graph()
    graph.metadata.update(family="graphdef", producer=producer)
    for name in order:
        definition = definitions[name]
        op = _OWN_TYPES.get(definition.op, definition.op)
        place = f"node '{name}' ({definition.op})"
        attrs = _attributes(definition, op, producer, reader, source, budget, place)
        tensors = []
        for port in edges[name].inputs:
            available = graph.operation(port.node).outputs
            if port.index >= len(available):
                raise budget.error(place, f"input '{port}'", f"an output of '{port.node}', which has {len(available)}")
            tensors.append(available[port.index])
        _check_output_count(attrs, budget, place)
        if definition.why:
            attrs["why"] = definition.why
        try:
            graph.create_op(
                op,
                tensors,
                attrs,
                name,
                [graph.operation(c) for c in edges[name].control],
                outputs.get(name, 1),
                exact_name=True,
            )
        except LoadError:
            raise
        except (KigraphError, ArithmeticError, LookupError, TypeError, ValueError) as e:
            what = str(e).removeprefix(f"{op} '{name}': ")  # the place has both
            raise LoadError(f"{budget.file}: {place}: {what}") from e
    return graph


def _definitions(nodes: Sequence[NodeDef], budget: Budget) -> dict[str, NodeDef]:
    definitions: dict[str, NodeDef] = {}
    for i, node in enumerate(nodes):
        if not _NAME.fullmatch(node.name):
            raise budget.error(
                f"node {i}", f"the name {node.name[:80]!r}", "letters, digits and _ . \\ - / >, a letter or digit first"
            )
        if not _OP.fullmatch(node.op):
            raise budget.error(f"node '{node.name}'", f"the op {node.op[:80]!r}", "the name of an op")
        if node.name in definitions:
            raise budget.error(f"node '{node.name}'", "a second node of that name", "unique names")
        definitions[node.name] = node
    return definitions


def _edges(definitions: Mapping[str, NodeDef], budget: Budget) -> dict[str, _Edges]:
    edges: dict[str, _Edges] = {}
    for node in definitions.values():
        place = f"node '{node.name}' ({node.op})"
        inputs: list[Port] = []
        control: list[str] = []
        for text in node.input:
            match = _INPUT.fullmatch(text)
            if match is None or (match["control"] and match["index"]):
                raise budget.error(place, f"input {text[:80]!r}", "'node', 'node:index' or '^node'")
            name = match["node"]
            if name not in definitions:
                near = similar(name, definitions)
                hint = f" (similar: {near})" if near else ""
                raise budget.error(place, f"input {text!r}", f"a node of the graph{hint}")
            if match["control"]:
                control.append(name)
            elif control:
                raise budget.error(place, f"input {text!r} after '^{control[-1]}'", "control inputs last")
            else:
                inputs.append(Port(name, int(match["index"] or 0)))
        edges[node.name] = _Edges(tuple(inputs), tuple(dict.fromkeys(control)))
    return edges


def _order(definitions: Mapping[str, NodeDef], edges: Mapping[str, _Edges], budget: Budget) -> list[str]:
    nodes = {name: Node(name, definitions[name].op, e.inputs, control=e.control) for name, e in edges.items()}
    try:
        return list(topological_order(nodes))
    except GraphError as e:
        loops = any(d.op in _LOOPS for d in definitions.values())
        remedy = "While loops are not supported." if loops else "The file is damaged."
        raise budget.error("the graph", str(e), "a graph without cycles", remedy) from None


def _output_counts(edges: Mapping[str, _Edges], budget: Budget) -> dict[str, int]:
    """How many outputs of each node are used: all that can be known of an op that kigraph does not know."""
    counts: dict[str, int] = {}
    for e in edges.values():
        for port in e.inputs:
            counts[port.node] = max(counts.get(port.node, 1), port.index + 1)
    budget.item("outputs of the nodes", 0, sum(counts.values()))
    return counts


def _attributes(
    node: NodeDef, op: str, producer: int, reader: Reader, source: Source, budget: Budget, place: str
) -> dict[str, Any]:
    """All but hints, whose names begin with ``_``: whatever they hold, nothing depends on them."""
    known = op in OPDEFS
    attrs = {
        name: _attribute(value, known, reader, source, budget, f"{place}, attribute '{name}'")
        for name, value in node.attr.items()
        if not name.startswith("_")
    }
    if op == node.op:
        for name, default in OWN.get(op, {}).items():
            # Files of earlier versions say what they need not: axis = -1 on a Softmax, say.
            if name in attrs and (value := attrs.pop(name)) != default:
                attrs[name] = Foreign(value)
    if node.op in ("Placeholder", "PlaceholderV2") and producer <= _LAST_PRODUCER_WITH_SCALAR_AS_UNKNOWN:
        attrs["shape"] = attrs.get("shape") or None
    return attrs


def _attribute(value: AttrValue, known: bool, reader: Reader, source: Source, budget: Budget, place: str) -> Any:
    """The Python value of an attribute: see builder.Graph.create_op for the conventions."""
    if value.s is not None:
        return _text(reader.content(value.s))
    if value.type is not None:
        return _dtype(value.type, known)
    if value.shape is not None:
        return _shape(value.shape, budget, place)
    if value.tensor is not None:
        return literal(value.tensor, reader, source, budget, place)
    if value.func is not None:
        return Function(value.func.name)
    if value.placeholder is not None:
        raise budget.error(place, "a placeholder of a function's body", "a value")
    if value.list is not None:
        return _list(value.list, known, reader, source, budget, place)
    for scalar in (value.i, value.f, value.b):
        if scalar is not None:
            return scalar
    raise budget.error(place, "no value", "a value")


def _list(value: Any, known: bool, reader: Reader, source: Source, budget: Budget, place: str) -> tuple[Any, ...]:
    for field, kind in (("i", "int64"), ("f", "float"), ("b", "bool"), ("type", "enum")):
        spans: list[Span] = getattr(value, field)
        if spans:
            budget.item(place, spans[0].start, sum(span.size for span in spans))
            numbers = reader.numbers(spans, kind).tolist()
            return tuple(_dtype(n, known) for n in numbers) if field == "type" else tuple(numbers)
    if value.s:
        return tuple(_text(reader.content(span)) for span in value.s)
    if value.shape:
        return tuple(_shape(shape, budget, place) for shape in value.shape)
    if value.tensor:
        return tuple(literal(t, reader, source, budget, f"{place}[{i}]") for i, t in enumerate(value.tensor))
    return tuple(Function(f.name) for f in value.func)


def _check_output_count(attrs: Mapping[str, Any], budget: Budget, place: str) -> None:
    """Split and similar ops state how many outputs they have; a few bytes must not become millions of tensors."""
    for name in ("num_split", "num"):
        count = attrs.get(name)
        if isinstance(count, int) and count > 0:
            budget.item(f"{place}, attribute '{name}'", 0, count)


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _dtype(number: int, known: bool) -> DType | str:
    """A NumPy type; for types that NumPy lacks (resource, bfloat16) their name, or UNKNOWN where a type must be."""
    number = number - 100 if number > 100 else number  # reference types of variables
    found = DTYPES.get(number)
    if found is None:
        return UNKNOWN if known else DTYPE_NAMES.get(number, f"type {number}")
    return found


def _shape(shape: Any, budget: Budget, place: str) -> tuple[int | None, ...] | None:
    dims = shape_dims(shape)
    if dims is not None and any(d is not None and not 0 <= d < 1 << 62 for d in dims):
        raise budget.error(place, f"shape {dims}", "sizes from 0, or -1 for unknown")
    return dims
