"""The function library of a GraphDef: calls are replaced by the nodes of what they call.

A function's body names its tensors otherwise than a graph does: 'x' is an argument, 'node:y:0' element 0 of the output
argument 'y' of a node. Here bodies get the notation of graphs ('node:1'), and what a call binds ($T, the arguments) is
put in. Functions that call themselves, however indirectly, are not replaced: they cannot be run as a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace

from ....kernels.records import dataclass
from ...formats.limits import Budget
from ...formats.protobuf.reader import Reader
from ...formats.protobuf.wire import Span
from ...formats.tensorflow import ArgDef, AttrList, AttrValue, FunctionDef, FunctionName, FunctionRef, NodeDef
from ...formats.tensorflow_outputs import OUTPUT_NAMES

__all__ = ["CALLS", "Body", "Library", "NotInlinedError", "inline", "passed_through"]

#: Op types that call the function of their attribute f.
CALLS = frozenset(["PartitionedCall", "StatefulPartitionedCall"])
#: Calls inside of calls; TensorFlow's own networks stay below 10.
_MOST_DEPTH = 64


class NotInlinedError(Exception):
    """A call stays as it is, and running it is not supported; the text says why."""


@dataclass(frozen=True, slots=True)
class Body:
    """A function as a graph. ``inputs``: names that its nodes read as placeholders, with DataType numbers (0: not known).

    ``outputs``: 'node', 'node:1' or the name of an input. ``controls``: nodes that run before a call is complete.
    """

    inputs: tuple[tuple[str, int], ...]
    nodes: tuple[NodeDef, ...]
    outputs: tuple[str, ...]
    controls: tuple[str, ...] = ()


class Functions(Mapping[str, FunctionDef]):
    """The functions of a library by name. One is read when it is first asked for: a model that Keras has saved calls 3 of 380."""

    def __init__(self, spans: Mapping[str, Span], reader: Reader) -> None:
        self._spans, self._reader = spans, reader
        self._read: dict[str, FunctionDef] = {}

    def __getitem__(self, name: str) -> FunctionDef:
        function = self._read.get(name)
        if function is None:
            span = self._spans[name]
            function = self._read[name] = self._reader.read(FunctionDef, span.start, span.start + span.size)
        return function

    def __contains__(self, name: object) -> bool:
        return name in self._spans

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)


class _Changed(Functions):
    """The functions of another mapping, each changed when it is first asked for."""

    def __init__(self, functions: Functions, change: Callable[[FunctionDef], FunctionDef]) -> None:
        super().__init__(functions._spans, functions._reader)
        self._plain, self._change = functions, change

    def __getitem__(self, name: str) -> FunctionDef:
        function = self._read.get(name)
        if function is None:
            function = self._read[name] = self._change(self._plain[name])
        return function


@dataclass(slots=True)
class Library:
    """The functions of a graph by name."""

    functions: Functions
    reader: Reader
    budget: Budget
    _bodies: dict[str, Body] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, functions: Iterable[Span], reader: Reader, budget: Budget) -> Library:
        """The functions of a GraphDef's library; their names are read, no more. LoadError for two of one name."""
        found: dict[str, Span] = {}
        for span in functions:
            read = reader.read(FunctionName, span.start, span.start + span.size)
            name = read.signature.name if read.signature else ""
            if not name or name in found:
                raise budget.error(f"function '{name[:80]}'", "a function of that name", "functions with unique names")
            found[name] = span
        return cls(Functions(found, reader), reader, budget)

    def changed(self, change: Callable[[FunctionDef], FunctionDef]) -> Library:
        """The library with ``change`` applied to each function that is asked for."""
        return Library(_Changed(self.functions, change), self.reader, self.budget)

    def called(self, node: NodeDef) -> str | None:
        """The name of the function that a node calls, if it is a call."""
        if node.op in self.functions:
            return node.op
        if node.op not in CALLS:
            return None
        attr = node.attr.get("f")
        return attr.func.name if attr is not None and attr.func is not None else ""

    def body(self, name: str, attrs: Mapping[str, AttrValue]) -> Body:
        """A function with the calls inside replaced. ``attrs`` bind its placeholders. NotInlinedError says what cannot be."""
        function = self.functions.get(name)
        if function is None:
            raise NotInlinedError(f"the file has no function '{name[:80]}'")
        if name in self._open:
            raise NotInlinedError(f"function '{name}' calls itself")
        if len(self._open) >= _MOST_DEPTH:
            raise NotInlinedError(f"calls are nested deeper than {_MOST_DEPTH}")
        plain = not any(d.name for d in (function.signature.attr if function.signature else ()))
        if plain and name in self._bodies:
            return self._bodies[name]
        self._open.append(name)
        try:
            made = _Reading(self, function, attrs).body()
            made = replace(made, nodes=tuple(inline(made.nodes, self)))
        finally:
            self._open.pop()
        if plain:
            self._bodies[name] = made
        return made

    def types(self, attr: AttrValue) -> list[int]:
        """The DataType numbers of a list attribute."""
        spans = attr.list.type if attr.list is not None else []
        self.budget.item("types of a function's arguments", 0, sum(s.size for s in spans))
        return [int(n) for n in self.reader.numbers(spans, "enum").tolist()] if spans else []


class _Reading:
    """One function with its placeholders bound, while its body is translated."""

    def __init__(self, library: Library, function: FunctionDef, attrs: Mapping[str, AttrValue]) -> None:
        assert function.signature is not None
        self.library, self.function, self.signature = library, function, function.signature
        defaults = {d.name: d.default_value for d in self.signature.attr if d.default_value is not None}
        self.attrs: Mapping[str, AttrValue] = {**defaults, **attrs}
        self.nodes = {n.name: n for n in function.node_def}
        self.inputs: list[tuple[str, int]] = []
        self.arguments: dict[str, list[str]] = {}
        taken = {*self.nodes, *(a.name for a in self.signature.input_arg)}
        for arg in self.signature.input_arg:
            types = self._types(arg)
            names = (
                [arg.name] if not self._is_list(arg) else [_free(f"{arg.name}_{i}", taken) for i in range(len(types))]
            )
            self.arguments[arg.name] = names
            self.inputs += zip(names, types, strict=True)
        #: Output names of a node -> the number of the first tensor.
        self._names: dict[str, tuple[str, ...] | None] = {}

    def body(self) -> Body:
        nodes = []
        for node in self.function.node_def:
            self.library.budget.nodes(f"function '{self.signature.name}'")
            self.library.budget.item(f"function '{self.signature.name}'", 0, len(node.input) + len(node.attr))
            attr = {key: bound(value, self.attrs) for key, value in node.attr.items()}
            nodes.append(NodeDef(node.name, node.op, [self._input(t) for t in node.input], "", attr))
        returned = {entry.key: entry.value for entry in self.function.ret}
        outputs = []
        for arg in self.signature.output_arg:
            if self._is_list(arg):
                raise NotInlinedError(f"function '{self.signature.name}' returns a list of tensors as '{arg.name}'")
            if arg.name not in returned:
                raise NotInlinedError(f"function '{self.signature.name}' does not say what its output '{arg.name}' is")
            outputs.append(self._input(returned[arg.name]))
        controls = dict.fromkeys(e.value for e in self.function.control_ret if e.value in self.nodes)
        return Body(tuple(self.inputs), tuple(nodes), tuple(outputs), tuple(controls))

    @staticmethod
    def _is_list(arg: ArgDef) -> bool:
        return bool(arg.number_attr or arg.type_list_attr)

    def _types(self, arg: ArgDef) -> list[int]:
        if arg.type_list_attr:
            given = self.attrs.get(arg.type_list_attr)
            return self.library.types(given) if given is not None else []
        one = self.attrs.get(arg.type_attr) if arg.type_attr else None
        dtype = arg.type if one is None or one.type is None else one.type
        if not arg.number_attr:
            return [dtype]
        number = self.attrs.get(arg.number_attr)
        count = number.i if number is not None and number.i is not None else 0
        self.library.budget.item(f"function '{self.signature.name}', argument '{arg.name}'", 0, max(count, 0))
        return [dtype] * max(count, 0)

    def _input(self, text: str) -> str:
        """'x', 'x:1', 'node:y:0' or '^node' of a function, as a graph writes it."""
        if text.startswith("^"):
            return text
        name, *rest = text.split(":")
        where = f"function '{self.signature.name}': input {text[:80]!r}"
        if name in self.arguments:
            index = _number(rest[0] if rest else "0", where)
            if len(rest) > 1 or index >= len(self.arguments[name]):
                raise NotInlinedError(f"{where} is not one of the {len(self.arguments[name])} tensors of an argument")
            return self.arguments[name][index]
        if name not in self.nodes:
            raise NotInlinedError(f"{where} is neither an argument nor a node")
        if len(rest) < 2:
            return text if not rest else f"{name}:{_number(rest[0], where)}"
        output, index = rest[0], _number(rest[1], where)
        names = self._outputs(name)
        if names is None:
            return f"{name}:{index}"
        if output not in names or index:
            raise NotInlinedError(f"{where}: {self.nodes[name].op} has the outputs {', '.join(names)}")
        return f"{name}:{names.index(output)}"

    def _outputs(self, name: str) -> tuple[str, ...] | None:
        """Names of a node's outputs; None if it has one, or one list of them."""
        op = self.nodes[name].op
        called = self.library.functions.get(op)
        if called is None or called.signature is None:
            return OUTPUT_NAMES.get(op)
        return tuple(a.name for a in called.signature.output_arg)


def passed_through(body: Body) -> tuple[int, ...]:
    """Numbers of the inputs that a body gives back unchanged at the same place."""
    nodes = {node.name: node for node in body.nodes}
    found = []
    for i, ((name, _), text) in enumerate(zip(body.inputs, body.outputs, strict=False)):
        for _step in range(64):  # a chain of Identities is short
            node = nodes.get(text.partition(":")[0])
            if node is None or node.op != "Identity" or not node.input:
                break
            text = node.input[0]
        if text in (name, f"{name}:0"):
            found.append(i)
    return tuple(found)


def _number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise NotInlinedError(f"{where} does not end with the number of an output")
    return int(text)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def bound(value: AttrValue, attrs: Mapping[str, AttrValue]) -> AttrValue:
    """An attribute of a body with its placeholders replaced; one that the call does not bind stays."""
    if value.placeholder is not None:
        return attrs.get(value.placeholder, value)
    if value.func is not None and value.func.attr:
        return AttrValue(func=_bound_function(value.func, attrs))
    if value.list is not None and value.list.func:
        return AttrValue(list=AttrList(func=[_bound_function(f, attrs) for f in value.list.func]))
    return value


def _bound_function(function: FunctionRef, attrs: Mapping[str, AttrValue]) -> FunctionRef:
    return FunctionRef(
        function.name, {k: attrs.get(v.placeholder, v) if v.placeholder else v for k, v in function.attr.items()}
    )


def inline(nodes: Sequence[NodeDef], library: Library) -> list[NodeDef]:
    """The nodes with every call replaced by the nodes of its function, which get the names 'call/inner'.

    The call's own name stays: an Identity or IdentityN of the results (a NoOp if there are none), so it can be fed and
    fetched, and control dependencies on it hold. Its own control dependencies become those of the inner nodes. LoadError
    if all of it is over the limits; a call that cannot be replaced stays, with the reason as its ``why``.
    """
    if not any(library.called(node) is not None for node in nodes):
        return list(nodes)
    taken = {node.name for node in nodes}
    result: list[NodeDef] = []
    for node in nodes:
        name = library.called(node)
        if name is None:
            result.append(node)
            continue
        attr = node.attr.get("f")
        attrs = attr.func.attr if node.op in CALLS and attr is not None and attr.func is not None else node.attr
        try:
            result += _call(node, library.body(name, attrs), library, taken)
        except NotInlinedError as error:
            result.append(replace(node, why=str(error)))
    return result


def _call(node: NodeDef, body: Body, library: Library, taken: set[str]) -> list[NodeDef]:
    """The nodes that stand for a call, the one of its name last."""
    given = [text for text in node.input if not text.startswith("^")]
    before = [text for text in node.input if text.startswith("^")]
    if len(given) != len(body.inputs):
        raise NotInlinedError(f"the call gives {len(given)} tensors to a function of {len(body.inputs)} arguments")
    arguments = dict(zip((name for name, _ in body.inputs), given, strict=True))
    names = {inner.name: _free(f"{node.name}/{inner.name}", taken) for inner in body.nodes}

    def outside(text: str) -> str:
        control = "^" if text.startswith("^") else ""
        name, colon, index = text[len(control) :].partition(":")
        if name in arguments:
            return f"^{arguments[name].partition(':')[0]}" if control else arguments[name]
        return f"{control}{names.get(name, name)}{colon}{index}"

    result = []
    place = f"node '{node.name}' ({node.op})"
    for inner in body.nodes:
        library.budget.nodes(place)
        library.budget.item(place, 0, len(inner.input) + len(inner.attr) + len(before))
        inputs = [outside(text) for text in inner.input]
        scope = f"{node.name}/{inner.scope}"
        result.append(NodeDef(names[inner.name], inner.op, [*inputs, *before], "", inner.attr, inner.why, scope))
    library.budget.nodes(place)
    results = [outside(text) for text in body.outputs]
    after = [*before, *(f"^{names[c]}" for c in body.controls if c in names)]
    op = "Identity" if len(results) == 1 else "IdentityN" if results else "NoOp"
    types = {"T": node.attr["Tout"]} if op == "IdentityN" and "Tout" in node.attr else {}
    result.append(NodeDef(node.name, op, [*results, *after], "", types))
    return result
