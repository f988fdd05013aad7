"""Variables inside of one run: which assignment a read sees, and what is done for its effect alone.

A read sees the last assignment of its variable that must run before it, by data or control edges; without one, the
value from the start of the run. So the order is the graph's and not that of a schedule, and a run computes with values
only. Two assignments of one variable of which neither must come first are refused.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from ..errors import FetchError, RunError
from ..ir import Graph, Node, Port
from .draws import Streams

__all__ = ["ASSIGN", "EFFECTS", "AssertionFailedError", "Order", "effect", "read_file", "summary", "variable_of"]

Value = np.ndarray[Any, Any]

#: Ops that assign their input 0.
ASSIGN = frozenset(["Assign", "AssignAdd", "AssignSub"])
#: Ops that are run for what they do, also where no value depends on them.
EFFECTS = frozenset(["KiPrint", "KiAssert"])
#: What hands on the variable itself: a reader behind it reads when it runs, as kernels of TensorFlow 1 do.
_ALIASES = frozenset(["Identity", "Switch", "RefSwitch"])


class Order:
    """The order of a graph's assignments, for the nodes ``live`` (all that run) and the tensors that users feed."""

    def __init__(self, graph: Graph, live: Collection[str], fed: Collection[Port]) -> None:
        self._graph, self._fed = graph, fed
        #: Of each assigned variable its assignments, in the order of the graph.
        self.assigns: dict[str, list[str]] = {}
        self._bits: dict[str, int] = {}
        self._before: dict[str, int] = {}
        if not any(graph.nodes[name].op in ASSIGN for name in live):
            return
        for name in graph.nodes:
            if name in live:
                self._add(graph.nodes[name])

    def _add(self, node: Node) -> None:
        before = 0
        for port in node.inputs:
            if port not in self._fed:
                before |= self._before.get(port.node, 0)
        for name in node.control:
            before |= self._before.get(name, 0)
        variable = self.variable(node.inputs[0], ()) if node.op in ASSIGN else None
        if variable is not None:
            self._bits[node.name] = bit = 1 << len(self._bits)
            self.assigns.setdefault(variable, []).append(node.name)
            before |= bit
        if before:
            self._before[node.name] = before

    @property
    def names(self) -> tuple[str, ...]:
        """All assignments."""
        return tuple(self._bits)

    def variable(self, port: Port, fed: Collection[Port] | None = None) -> str | None:
        """The variable that a port hands on, if it is one. An assignment's target stays one where its value is fed."""
        return variable_of(self._graph, port, self._fed if fed is None else fed)

    def seen_by(self, reader: str, variable: str) -> str | None:
        """The assignment whose value a node reads; None for the value from the start."""
        own = self._bits.get(reader, 0)
        mask = self._before.get(reader, 0) & ~own
        return self._last(variable, [a for a in self.assigns.get(variable, ()) if mask & self._bits[a]])

    def last(self, variable: str) -> str:
        """The assignment whose value stays."""
        found = self._last(variable, self.assigns[variable])
        assert found is not None
        return found

    def _last(self, variable: str, names: list[str]) -> str | None:
        if not names:
            return None
        wanted = 0
        for name in names:
            wanted |= self._bits[name]
        for name in names:
            if self._before[name] & wanted == wanted:
                return name
        raise FetchError(
            f"one run cannot assign variable '{variable}' twice in no order ('{names[0]}' and '{names[1]}'): which value "
            "stays is not defined. Run them one after the other, order them by control_dependencies, or combine them into "
            "one assign"
        )


def variable_of(graph: Graph, port: Port, fed: Collection[Port]) -> str | None:
    """The variable that a port hands on, if it is one. What is fed is a value."""
    while port not in fed:
        node = graph.nodes.get(port.node)
        if node is None or node.op == "VariableV2":
            return None if node is None else node.name
        if not node.inputs or (node.op not in _ALIASES and node.op not in ASSIGN):
            return None
        port = node.inputs[0]
    return None


class AssertionFailedError(RunError):
    """What an assertion of the graph demands is not so."""


def effect(node: Node, streams: Streams) -> Callable[[Sequence[Value]], tuple[Value, ...]]:
    """What runs a KiPrint or KiAssert."""
    summarize: int = node.attrs.get("summarize", 3)

    def show(arrays: Sequence[Value]) -> tuple[Value, ...]:
        first: int = node.attrs.get("first_n", -1)
        if first < 0 or streams.count(node) < first:
            text = "".join(f"[{_shown(a, summarize)}]" for a in arrays[1:])
            print(f"{node.attrs.get('message', '')}{text}", file=sys.stderr, flush=True)
        return (arrays[0],)

    def check(arrays: Sequence[Value]) -> tuple[Value, ...]:
        if not bool(np.all(arrays[0])):
            text = " ".join(f"[{_shown(a, summarize)}]" for a in arrays[1:])
            raise AssertionFailedError(f"assertion failed: {text} ('{node.name}')")
        return (arrays[0],)

    return show if node.op == "KiPrint" else check


def read_file(node: Node, name: Value) -> Value:
    """The content of a file as an array of shape () with one bytes object."""
    path: bytes = name.item()
    try:
        with open(path, "rb") as file:
            content = np.empty((), object)
            content[()] = file.read()
            return content
    except OSError as error:
        raise RunError(f"{node}: {os.fsdecode(path)}: {error.strerror or error}") from error


def summary(head: Value, value: Value) -> Value:
    """A value and what it is called as one string: a JSON list (of ``head``, the element type, the shape), a line end, bytes."""
    content = np.empty((), object)
    said = json.loads(head.item())
    content[()] = json.dumps([*said, value.dtype.str, list(value.shape)]).encode() + b"\n" + value.tobytes()
    return content


def _shown(array: Value, summarize: int) -> str:
    """The first elements, row by row in brackets as TensorFlow shows them."""
    if array.ndim == 0:
        value = array[()]
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else _number(value)
    count = array.size if summarize < 0 else min(summarize, array.size)
    text, left = _rows(array, count)
    return text[1:-1] + ("..." if array.size > count and not left else "")


def _rows(array: Value, count: int) -> tuple[str, int]:
    if array.ndim == 1:
        taken = array[:count]
        shown = [v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else _number(v) for v in taken]
        return "[" + " ".join(shown) + "]", count - len(taken)
    text = ""
    for row in array:
        if count <= 0:
            break
        part, count = _rows(row, count)
        text += part
    return f"[{text}]", count


def _number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, np.floating) else str(value)
