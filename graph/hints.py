"""Hints in error messages: names that look like the one that was not found, and what a graph takes and gives."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .ir import Graph

__all__ = ["ends_text", "guess_inputs", "guess_outputs", "missing_operation", "shown", "similar"]

#: difflib takes about 0.1 ms per name of 100 characters, and grows with the square of the length.
_MAX_COMPARED, _MAX_COMPARED_LENGTH = 5000, 150
#: A message stays short, however large the graph is.
_MOST_LISTED, _MOST_LETTERS = 5, 80
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
_NO_RESULTS = ("Const", *_PLACEHOLDERS, "NoOp", "Assert", "CheckNumerics", "Assign", "SaveV2", "RestoreV2")


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
    """What a user would feed: the placeholders, else the encoded image that a decoder reads from a Const."""
    named = tuple(f"{node.name}:0" for node in graph if node.op in _PLACEHOLDERS)
    read = (node.inputs[0] for node in graph if node.op.startswith("Decode") and node.inputs)
    return named or tuple(str(p) for p in read if graph.nodes[p.node].op in ("Const", "PlaceholderWithDefault"))


def guess_outputs(graph: Graph) -> tuple[str, ...]:
    """Results that nothing in the graph reads, in graph order; only Softmax nodes if there are any among them."""
    used: set[str] = set()
    for node in graph:
        used.update(p.node for p in node.inputs)
        used.update(node.control)
    free = [node for node in graph if node.name not in used and node.op not in _NO_RESULTS and node.outputs]
    softmax = [node for node in free if node.op == "Softmax"]
    return tuple(f"{node.name}:0" for node in softmax or free)


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
