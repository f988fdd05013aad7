"""TensorFlow's frozen GraphDef (.pb) to a Graph.

Ops that kigraph does not run are kept: such a graph loads and can be inspected, fed and saved. Functions of the
graph's library are put in place of their calls. Damage (unknown inputs, duplicates, wrong constants) is a LoadError that names the
node. What can merely never run (shapes that never fit, cycles) loads, and is the error of a run that needs it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...kernels.errors import KigraphError
from ...kernels.tensor import STRING, TensorType
from .. import ir
from ..builder import Graph, Operation, Tensor
from ..errors import GraphError, LoadError
from ..formats.limits import Budget
from ..formats.protobuf.reader import Reader
from ..formats.source import Source
from ..formats.tensorflow import AttrValue, GraphDef, NodeDef
from ..hints import similar
from ..ir import MISSING, Literal, Node, Port, order_with_cycles
from ..opdefs import OF_PROGRAMS, OWN
from ..signatures import SERVING_DEFAULT, SIGNATURES, Signature, read_signatures
from .tensorflow.attributes import Function, attributes, check_output_count
from .tensorflow.frames import Edges, Loop, Region, find_loops
from .tensorflow.functions import Body, Library, NotInlinedError, inline, passed_through
from .tensorflow.tables import with_tables

__all__ = ["Function", "build_graph", "looks_like_graphdef", "read_graphdef"]

_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_OP = re.compile(r"[A-Za-z_][A-Za-z0-9_.>]*")
_INPUT = re.compile(r"(?P<control>\^)?(?P<node>[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*)(:(?P<index>[0-9]{1,5}))?")
_FUNCTIONAL = frozenset(["If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"])
#: Type in a file -> op type that has attributes which TensorFlow's does not.
_OWN_TYPES = {f"Ki{op}": op for op in OWN}


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
    library = Library.of(proto.library.function if proto.library else (), reader, budget)
    graph = build_graph(proto, library, source)
    if SIGNATURES in graph:
        _take_signatures(graph, budget)
    return graph


def _take_signatures(graph: Graph, budget: Budget) -> None:
    """The names that another file had, from the constant in which they are kept."""
    value = graph.operation(SIGNATURES).attrs.get("value")
    try:
        if not isinstance(value, Literal) or value.dtype != STRING or value.shape != ():
            raise ValueError("no text")
        found = read_signatures(value.array().item())
        names: dict[str, str] = {}
        meant: dict[str, set[str]] = {}
        for signature in found.values():
            for name, tensor in (*signature.inputs.items(), *signature.outputs.items()):
                names[tensor] = graph.tensor(tensor).name
                meant.setdefault(name, set()).add(names[tensor])
    except (GraphError, ValueError) as error:
        raise budget.error(f"node '{SIGNATURES}'", str(error)[:200], "the signatures that a conversion wrote") from None
    graph.aliases.update({name: tensors.pop() for name, tensors in meant.items() if len(tensors) == 1})
    # A name of several tensors is that of the default signature, unless it has two there.
    default = found.get(SERVING_DEFAULT, Signature({}, {}))
    both = default.inputs.keys() & default.outputs.keys()
    ends = {**default.inputs, **default.outputs}
    graph.aliases.update({name: names[tensor] for name, tensor in ends.items() if name not in both})
    graph.signatures.update(found)


def build_graph(proto: GraphDef, library: Library, source: Source, fetched: Iterable[str] = ()) -> Graph:
    """The graph of a message; ``library``: its functions, and the reader that has read it. Raises LoadError.

    fetched: names of tensors that the file has for outputs; an op that kigraph does not know has at least these.
    """
    producer = proto.versions.producer if proto.versions else proto.version
    graph = Graph()
    graph.metadata.update(family="graphdef", producer=producer)
    build = _Build(library, producer, source)
    nodes = inline(proto.node, library)
    if any(node.op.startswith("LookupTable") for node in nodes):
        named = {node.name: node for node in nodes}
        nodes = list(with_tables(named, library.reader, library.budget).values()) if len(named) == len(nodes) else nodes
    build.fill(graph, build.region(nodes), fetched)
    return graph


class _Build:
    """Makes operations of the nodes of one file, and graphs of the functions and loops in it."""

    def __init__(self, library: Library, producer: int, source: Source) -> None:
        self.library, self.producer, self.source = library, producer, source
        self.reader, self.budget = library.reader, library.budget
        self.depth = 0

    def region(self, nodes: Sequence[NodeDef], inputs: Collection[str] = ()) -> Region:
        """The nodes with their edges, and with each loop as one node. ``inputs``: names that are no nodes."""
        definitions = _definitions(nodes, self.budget)
        return find_loops(definitions, _edges(definitions, inputs, self.budget), self.budget, self._frame)

    def _frame(self, node: NodeDef) -> str:
        name = node.attr.get("frame_name")
        text = self.reader.content(name.s).decode("latin-1") if name is not None and name.s is not None else ""
        return f"{node.scope}{text}"  # each call of a function has loops of its own

    def fill(self, graph: Graph, region: Region, fetched: Iterable[str] = ()) -> None:
        """Adds the nodes of a region to a graph, which may have placeholders that they read."""
        outputs = _output_counts(region.edges, fetched, self.budget)
        nodes = {
            n: Node(n, d.op, region.edges[n].inputs, {}, (), region.edges[n].control)
            for n, d in region.definitions.items()
        }
        order, back = order_with_cycles(nodes)
        for name in order:
            definition, edges = region.definitions[name], region.edges[name]
            place = f"node '{name}' ({definition.op})"
            control = [c for c in edges.control if (name, c) not in back]
            tensors = [
                self._tensor(graph, name, port, i, (name, port.node) in back) for i, port in enumerate(edges.inputs)
            ]
            op, attrs = self._node(definition, region.loops.get(name), tensors, place)
            if len(control) < len(edges.control):
                op, attrs = MISSING, {"why": f"the graph has a cycle at '{name}'"}
            self._create(graph, name, op, tensors, attrs, [graph.operation(c) for c in control], outputs.get(name, 1))

    def _tensor(self, graph: Graph, name: str, port: Port, number: int, cyclic: bool) -> Tensor:
        """The tensor that a port is; one that cannot be had stands for itself, and says why when it is needed."""
        available = () if cyclic else graph.operation(port.node).outputs
        if port.index < len(available):
            return available[port.index]
        why = f"'{port}' is read by '{name}', but '{port.node}' has {len(available)} outputs"
        if cyclic:
            why = (
                f"the graph has a cycle: '{name}' reads '{port}', which depends on it. Only loops of the usual form run"
            )
        missing = graph.create_op(MISSING, (), {"why": why}, f"{name}/input_{number}", None, 1)
        return missing.outputs[0]

    def _node(
        self, definition: NodeDef, loop: Loop | None, tensors: list[Tensor], place: str
    ) -> tuple[str, dict[str, Any]]:
        """Op type and attributes."""
        op = _OWN_TYPES.get(definition.op, definition.op)
        if loop is not None:
            return op, self._loop(loop, tensors)
        attrs = attributes(definition, op, self.producer, self.reader, self.source, self.budget, place)
        check_output_count(attrs, self.budget, place)
        if op in OF_PROGRAMS:  # these are made here only
            return MISSING, {"why": f"{op} is no op of files"}
        why = definition.why
        if op in _FUNCTIONAL:
            try:
                return self._functional(definition, tensors)
            except NotInlinedError as error:
                why = str(error)
        return op, {**attrs, "why": why} if why else attrs

    def _create(
        self,
        graph: Graph,
        name: str,
        op: str,
        tensors: list[Tensor],
        attrs: dict[str, Any],
        control: list[Operation],
        count: int,
    ) -> None:
        place = f"node '{name}' ({op})"
        try:
            graph.create_op(op, tensors, attrs, name, control, count, exact_name=True)
        except LoadError:
            raise
        except (KigraphError, ArithmeticError, LookupError, TypeError, ValueError) as e:
            what = str(e).removeprefix(f"{op} '{name}': ")  # the place has both
            raise LoadError(f"{self.budget.file}: {place}: {what}") from e

    # --- graphs inside of nodes -------------------------------------------------------------------------------------------

    def _loop(self, loop: Loop, tensors: list[Tensor]) -> dict[str, Any]:
        types = [TensorType(t.dtype, None) if i < loop.count else t.type for i, t in enumerate(tensors)]
        inputs = dict(zip(loop.names, types, strict=True))
        cond = self._inner(loop.cond, inputs, [loop.cond_output], "the condition of a loop")
        body = self._inner(loop.body, inputs, loop.body_outputs, "the body of a loop")
        return {
            "cond": cond, "body": body, "cond_inputs": loop.names, "body_inputs": loop.names, "count": loop.count,
        }  # fmt: skip

    def _functional(self, node: NodeDef, tensors: list[Tensor]) -> tuple[str, dict[str, Any]]:
        """If, Case and While, whose branches and bodies are functions."""
        if "While" in node.op:
            steady = passed_through(self._body(node.attr.get("body")))
            every = [t.type if i in steady else TensorType(t.dtype, None) for i, t in enumerate(tensors)]
            (cond, cond_inputs), (body, body_inputs) = (
                self._function(node.attr.get(a), every) for a in ("cond", "body")
            )
            attrs = {"cond": cond, "body": body, "cond_inputs": cond_inputs, "body_inputs": body_inputs}
            return "KiWhile", {**attrs, "count": len(tensors), "steady": steady}
        types = [t.type for t in tensors[1:]]
        if "If" in node.op:
            parts = [self._function(node.attr.get(a), types) for a in ("else_branch", "then_branch")]
        else:
            branches = node.attr.get("branches")
            listed = branches.list.func if branches is not None and branches.list is not None else []
            parts = [self._function(AttrValue(func=f), types) for f in listed]
        attrs = {"branches": tuple(g for g, _ in parts), "branch_inputs": tuple(n for _, n in parts)}
        return "KiBranch", {**attrs, "index": "Case" in node.op}

    def _body(self, attr: AttrValue | None) -> Body:
        if attr is None or attr.func is None:
            raise NotInlinedError("an attribute that should name a function does not")
        return self.library.body(attr.func.name, attr.func.attr)

    def _function(self, attr: AttrValue | None, types: Sequence[TensorType]) -> tuple[ir.Graph, tuple[str, ...]]:
        """A function as a graph, and the names of its placeholders."""
        body = self._body(attr)
        name = attr.func.name if attr is not None and attr.func is not None else ""
        if len(body.inputs) != len(types):
            raise NotInlinedError(f"function '{name}' has {len(body.inputs)} arguments, and gets {len(types)}")
        names = tuple(name for name, _ in body.inputs)
        region = self.region(body.nodes, names)
        outputs = [Port(m["node"], int(m["index"] or 0)) for t in body.outputs if (m := _INPUT.fullmatch(t))]
        place = f"function '{name}'"
        return self._inner(region, dict(zip(names, types, strict=True)), outputs, place), names

    def _inner(self, region: Region, inputs: Mapping[str, TensorType], outputs: Sequence[Port], place: str) -> ir.Graph:
        """A graph of its own, with placeholders for what it reads from outside."""
        self.budget.depth(self.depth + 1, place, 0)
        self.budget.nodes(place, len(inputs) + len(region.definitions))
        self.depth += 1
        graph = Graph()
        for name, type in inputs.items():
            attrs = {"dtype": type.dtype, "shape": type.shape}
            self._create(graph, name, "Placeholder", [], attrs, [], 1)
        self.fill(graph, region, map(str, outputs))
        ports = [self._tensor(graph, place, port, i, False).port for i, port in enumerate(outputs)]
        self.depth -= 1
        return ir.Graph(graph.freeze().nodes, tuple(ports))


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


def _edges(definitions: Mapping[str, NodeDef], outside: Collection[str], budget: Budget) -> dict[str, Edges]:
    edges: dict[str, Edges] = {}
    for node in definitions.values():
        place = f"node '{node.name}' ({node.op})"
        inputs: list[Port] = []
        control: list[str] = []
        for text in node.input:
            match = _INPUT.fullmatch(text)
            if match is None or (match["control"] and match["index"]):
                raise budget.error(place, f"input {text[:80]!r}", "'node', 'node:index' or '^node'")
            name = match["node"]
            if name not in definitions and name not in outside:
                near = similar(name, definitions)
                hint = f" (similar: {near})" if near else ""
                raise budget.error(place, f"input {text!r}", f"a node of the graph{hint}")
            if match["control"]:
                control += [name] if name in definitions else []
            elif control:
                raise budget.error(place, f"input {text!r} after '^{control[-1]}'", "control inputs last")
            else:
                inputs.append(Port(name, int(match["index"] or 0)))
        edges[node.name] = Edges(tuple(inputs), tuple(dict.fromkeys(control)))
    return edges


def _output_counts(edges: Mapping[str, Edges], fetched: Iterable[str], budget: Budget) -> dict[str, int]:
    """How many outputs of each node are used: all that can be known of an op that kigraph does not know."""
    counts: dict[str, int] = {}
    named = (m for text in fetched if (m := _INPUT.fullmatch(text)) and not m["control"])
    for ports in (*(e.inputs for e in edges.values()), [Port(m["node"], int(m["index"] or 0)) for m in named]):
        for port in ports:
            counts[port.node] = max(counts.get(port.node, 1), port.index + 1)
    budget.item("outputs of the nodes", 0, sum(counts.values()))
    return counts
