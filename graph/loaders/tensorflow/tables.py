"""Lookup tables: a find reads the keys and values that its table is filled with, so that nothing keeps a state.

A table is filled once, by an operation that the graph runs first: from tensors, from a checkpoint (tables that may
change), or from a text file among the model's assets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ...formats.limits import Budget
from ...formats.protobuf.reader import Reader
from ...formats.tensorflow import DTYPE_NUMBERS, AttrValue, NodeDef
from ...ir import Literal
from ..weights import TensorInfo
from .edges import is_data, origin
from .variables import RESTORES

__all__ = ["Lines", "Stored", "with_tables"]

_TABLES = frozenset(
    [
        "HashTable", "HashTableV2", "AnonymousHashTable", "MutableHashTable", "MutableHashTableV2", "AnonymousMutableHashTable",
        "MutableHashTableOfTensors", "MutableHashTableOfTensorsV2", "AnonymousMutableHashTableOfTensors",
    ]
)  # fmt: skip
_FINDS = frozenset(["LookupTableFind", "LookupTableFindV2"])
_SIZES = frozenset(["LookupTableSize", "LookupTableSizeV2"])
_FILLS = frozenset(["InitializeTable", "InitializeTableV2", "LookupTableImport", "LookupTableImportV2"])
_CHANGES = frozenset(["LookupTableInsert", "LookupTableInsertV2", "LookupTableRemoveV2"])
_FROM_FILES = frozenset(["InitializeTableFromTextFile", "InitializeTableFromTextFileV2"])
_WHOLE_LINE, _LINE_NUMBER = -2, -1

#: Output of an operation that reads a checkpoint -> its tensor, None if it has none.
Stored = Callable[[NodeDef, int], TensorInfo | None]
#: Name of a tensor -> the lines of the asset that it names, None if it names none.
Lines = Callable[[str], list[bytes] | None]


def with_tables(
    nodes: Mapping[str, NodeDef],
    reader: Reader,
    budget: Budget,
    stored: Stored | None = None,
    lines: Lines | None = None,
) -> dict[str, NodeDef]:
    """The nodes, with KiLookup in place of what finds in a table whose content is known; others say why they cannot run."""
    asked = [n for n in nodes.values() if n.op in _FINDS or n.op in _SIZES]
    if not asked:
        return dict(nodes)
    tables = _Tables(nodes, reader, budget, stored, lines)
    made: dict[str, NodeDef] = {}
    for node in nodes.values():
        made[node.name] = tables.read(node) if node.op in _FINDS or node.op in _SIZES else node
    made.update(tables.changed)
    return made


class _UnknownError(Exception):
    """The content of a table is not known; the text says why."""


class _Tables:
    """The content of the tables of a graph, each found when it is first asked for."""

    def __init__(
        self, nodes: Mapping[str, NodeDef], reader: Reader, budget: Budget, stored: Stored | None, lines: Lines | None
    ) -> None:
        self.nodes, self.reader, self.budget, self.stored, self.lines = nodes, reader, budget, stored, lines
        #: Constants for what is no tensor of the graph, and tables that are not known.
        self.changed: dict[str, NodeDef] = {}
        self.known: dict[str, tuple[str, str]] = {}
        self.writers: dict[str, list[NodeDef]] = {}
        for node in nodes.values():
            if node.op in _FILLS or node.op in _CHANGES or node.op in _FROM_FILES:
                self.writers.setdefault(self._table(node), []).append(node)

    def _table(self, node: NodeDef) -> str:
        return origin(self.nodes, node.input[0])[0] if node.input and is_data(node.input[0]) else ""

    def read(self, node: NodeDef) -> NodeDef:
        """An operation that reads a table, as one that reads its keys and values."""
        data, control = [t for t in node.input if is_data(t)], [t for t in node.input if not is_data(t)]
        table = self._table(node)
        holder = self.nodes.get(table)
        if holder is None or holder.op not in _TABLES or holder.why or (node.op in _FINDS and len(data) != 3):
            return node
        try:
            keys, values = self._content(table)
        except _UnknownError as error:
            why = f"what the table '{table[:200]}' holds is not known: {error}"
            self.changed[table] = replace(holder, why=why)
            return node
        types = {"T": node.attr.get("Tin"), "Tvalues": node.attr.get("Tout")}
        if node.op in _FINDS:
            attr = {k: v for k, v in types.items() if v is not None}
            return replace(node, op="KiLookup", input=[keys, values, *data[1:], *control], attr=attr)
        return replace(node, op="Size", input=[keys, *control], attr={"out_type": AttrValue(type=9)})

    def _content(self, table: str) -> tuple[str, str]:
        """The tensors that are the keys and the values."""
        if table not in self.known:
            writers = self.writers.get(table, [])
            if not writers:
                raise _UnknownError("nothing in the file fills it")
            if len(writers) > 1 or writers[0].op in _CHANGES:
                raise _UnknownError(f"'{writers[-1].name[:200]}' ({writers[-1].op}) changes it")
            fill = writers[0]
            if fill.op in _FROM_FILES:
                self.known[table] = self._of_file(table, fill)
            elif len(fill.input) < 3:
                raise _UnknownError(f"'{fill.name[:200]}' has no values")
            else:
                keys, values = (self._tensor(table, which, fill.input[i]) for i, which in ((1, "keys"), (2, "values")))
                self.known[table] = keys, values
        return self.known[table]

    def _tensor(self, table: str, which: str, text: str) -> str:
        """A tensor of the graph, or a constant of what the checkpoint has."""
        name, index = origin(self.nodes, text)
        reads = self.nodes.get(name)
        if reads is None or reads.op not in RESTORES:
            return text
        found = self.stored(reads, index) if self.stored is not None else None
        if found is None or found.dtype not in DTYPE_NUMBERS:
            raise _UnknownError("the checkpoint has no content of it")
        return self._constant(table, which, Literal.lazy(found.dtype, found.shape, found.load, found.key))

    def _constant(self, table: str, which: str, literal: Literal) -> str:
        name = f"{table}/{which}"
        while name in self.nodes or name in self.changed:
            name += "_"
        self.budget.nodes(f"table '{table[:200]}'")
        attr = {"dtype": AttrValue(type=DTYPE_NUMBERS[literal.dtype]), "value": AttrValue(literal=literal)}
        self.changed[name] = NodeDef(name, "Const", [], "", attr)
        return name

    def _path(self, text: str) -> str:
        """The node that a path comes from. TensorFlow 2 keeps it in a variable that is assigned once, before it is read."""
        name = origin(self.nodes, text, ("Identity", "ReadVariableOp"))[0]
        assigned = [
            node.input[1]
            for node in self.nodes.values()
            if node.op == "AssignVariableOp" and len(node.input) > 1 and origin(self.nodes, node.input[0])[0] == name
        ]
        return origin(self.nodes, assigned[0])[0] if len(assigned) == 1 else name

    def _of_file(self, table: str, fill: NodeDef) -> tuple[str, str]:
        """Keys and values of an asset: the whole line, its number, or one of its columns."""
        name = self._path(fill.input[1]) if len(fill.input) > 1 else ""
        found = self.lines(name) if self.lines is not None else None
        if found is None:
            raise _UnknownError("it is read from a text file that is none of the model's assets")
        most = _whole(fill, "vocab_size", -1)
        if 0 <= most < len(found):
            found = found[:most]
        elif most > len(found):
            raise _UnknownError(f"its text file has {len(found)} lines, fewer than {most}")
        text = fill.attr.get("delimiter")
        between = self.reader.content(text.s) if text is not None and text.s is not None else b"\t"
        made = []
        for which, column, kind in (("keys", "key_index", "key_dtype"), ("values", "value_index", "value_dtype")):
            attr = self.nodes[table].attr.get(kind)
            number = attr.type if attr is not None and attr.type is not None else 0
            index = _whole(fill, column, _WHOLE_LINE)
            made.append(self._constant(table, which, _column(found, index, number, _whole(fill, "offset", 0), between)))
        return made[0], made[1]


def _whole(node: NodeDef, key: str, default: int) -> int:
    value = node.attr.get(key)
    return default if value is None or value.i is None else value.i


def _column(lines: list[bytes], index: int, number: int, offset: int, between: bytes) -> Literal:
    """A column as strings (type 7) or whole numbers (3: int32, 9: int64)."""
    dtype = {3: np.dtype(np.int32), 7: np.dtype(object), 9: np.dtype(np.int64)}.get(number)
    if dtype is None or index < _WHOLE_LINE or len(between) != 1:
        raise _UnknownError(f"column {index} of type {number} of its text file")
    cells: list[bytes | int] = []
    for at, line in enumerate(lines):
        row = line.split(between) if index >= 0 else [line]
        if index >= len(row):
            raise _UnknownError(f"line {at + 1} of its text file has no column {index}")
        cells.append(at + offset if index == _LINE_NUMBER else row[max(index, 0)])
    array = np.empty(len(cells), dtype)
    try:
        for i, cell in enumerate(cells):
            array[i] = cell if dtype.kind == "O" else int(cell)
    except (ValueError, OverflowError):
        raise _UnknownError("its text file has no whole numbers where the graph expects them") from None
    return Literal.of(array)
