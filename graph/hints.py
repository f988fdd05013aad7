"""Hints in error messages: names that look like the one that was not found, and what a graph takes and gives."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .ir import Graph, Node, Port

__all__ = ["ends_text", "guess_inputs", "guess_outputs", "missing_name", "missing_operation", "shown", "similar"]

#: difflib takes about 0.1 ms per name of 100 characters, and grows with the square of the length.
_MAX_COMPARED, _MAX_COMPARED_LENGTH = 5000, 150
#: A message stays short, however large the graph is.
_MOST_LISTED, _MOST_LETTERS = 5, 80
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
_NO_RESULTS = ("Const", *_PLACEHOLDERS, "NoOp", "Assert", "CheckNumerics", "Assign", "SaveV2", "RestoreV2", "KiMissing",
    "IteratorV2", "Iterator", "OneShotIterator", "VarHandleOp", "HashTable", "HashTableV2", "Print", "PrintV2",
)  # fmt: skip
_SWITCHES = ("Switch", "RefSwitch")
_DATA_SETS = ("IteratorGetNext", "IteratorGetNextSync")


def similar(name: str, names: Collection[str]) -> str:
    """Up to three of ``names`` that look like ``name``, joined; '' where comparing would take long."""
    import difflib

    if len(names) > _MAX_COMPARED or len(name) > _MAX_COMPARED_LENGTH:
        return ""
    short = [n for n in names if len(n) <= _MAX_COMPARED_LENGTH]
    return ", ".join(difflib.get_close_matches(name, short, n=3))


def shown(value: object) -> str:
    """``repr`` of anything on one line of at most 80 letters."""
    if isinstance(value, str | bytes):  # the repr of a huge text is not made
        value = value[: _MOST_LETTERS + 1]
    text = " ".join(repr(value).split())
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 3]}..."


def guess_inputs(graph: Graph) -> tuple[str, ...]:
    """What a user would feed: what has no value by itself, else the encoded image that a decoder reads from a Const.

    That is placeholders, defaults that would come from a data set, and what else is read of a data set. A placeholder with
    a value (is_training) is none.
    """
    named: dict[str, None] = {}
    behind = {n.inputs[0] for n in graph if n.op == "PlaceholderWithDefault" and n.inputs}
    read = {p for n in graph for p in n.inputs}
    for node in graph:
        default = node.op == "PlaceholderWithDefault" and node.inputs
        if node.op in _PLACEHOLDERS or (default and graph.nodes[node.inputs[0].node].op in _DATA_SETS):
            named[f"{node.name}:0"] = None
        elif node.op in _DATA_SETS:
            named |= dict.fromkeys(str(p) for p in node.ports if p in read and p not in behind)
    return tuple(named) or _encoded_images(graph)


def _encoded_images(graph: Graph) -> tuple[str, ...]:
    decoded = (node.inputs[0] for node in graph if node.op.startswith("Decode") and node.inputs)
    return tuple(str(p) for p in decoded if graph.nodes[p.node].op in ("Const", "PlaceholderWithDefault"))


def guess_outputs(graph: Graph) -> tuple[str, ...]:
    """Results that nothing in the graph reads, in graph order; only Softmax nodes if there are any among them.

    The two sides of a condition, which tf.cond names, are none.
    """
    used: set[str] = set()
    for node in graph:
        used.update(p.node for p in node.inputs)
        used.update(node.control)
    free = [node for node in graph if node.name not in used and node.op not in _NO_RESULTS and node.outputs]
    switched = {n.inputs[1] for n in graph if n.op in _SWITCHES and len(n.inputs) == 2}
    free = [node for node in free if not (node.op == "Identity" and node.inputs and _decides(graph, node, switched))]
    softmax = [node for node in free if node.op == "Softmax"]
    return tuple(f"{node.name}:0" for node in softmax or free)


def _decides(graph: Graph, node: Node, switched: Collection[Port]) -> bool:
    """Whether a node names a predicate, or one side of it, and no more."""
    source = graph.nodes[node.inputs[0].node]
    return node.inputs[0] in switched or (source.op in _SWITCHES and len(set(source.inputs)) == 1)


def ends_text(graph: Graph) -> str:
    """'inputs: a:0, b:0; outputs: c:0', at most five of each."""
    return f"inputs: {_listed(guess_inputs(graph))}; outputs: {_listed(guess_outputs(graph))}"


def missing_operation(graph: Graph, name: str, aliases: Iterable[str] = ()) -> str:
    """What to say after "the graph has no operation 'name'": the name that was meant, if it can be guessed, and the ends."""
    names = [*aliases, *graph.nodes]
    if not names:
        return "the graph is empty"
    hint = _other_scope(name, names)
    if not hint:
        near = similar(name, names)
        hint = f"similar: {near}" if near else f"it has {len(names):,} operations"
    return f"{hint}; {ends_text(graph)}"


def missing_name(graph: Graph, name: object, aliases: Iterable[str] = ()) -> str:
    """What to say of something that is no operation's name."""
    if not isinstance(name, str):
        what = f"{shown(name)} of type {type(name).__name__}"
        return f"a name is text, such as 'softmax:0', got {what} ({ends_text(graph)})"
    op_name = name.partition(":")[0]
    if op_name != name and op_name in graph.nodes:
        return f"{shown(name)} is the name of a tensor; its operation is '{op_name}' (see get_tensor_by_name)"
    return f"the graph has no operation {shown(name)}; {missing_operation(graph, op_name, aliases)}"


def _other_scope(name: str, names: Collection[str]) -> str:
    """The same name with scopes less (tf.import_graph_def adds the prefix "import/"), with scopes more, or in other case."""
    there = set(names)
    for at, letter in enumerate(name):
        if letter == "/" and (rest := name[at + 1 :]) in there:
            return f"without the prefix '{_cut(name[: at + 1])}' there is '{_cut(rest)}:0'"
    if inside := [n for n in names if n.endswith(f"/{name}")]:
        return f"inside of scopes there is {_listed(inside)}"
    same = [n for n in names if n.casefold() == name.casefold()]
    return f"in other case there is {_listed(same)}" if same else ""


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    text = ", ".join(_cut(n) for n in found[:_MOST_LISTED])
    return (f"{text} and {len(found) - _MOST_LISTED:,} more" if len(found) > _MOST_LISTED else text) or "none"


def _cut(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 3]}..."
