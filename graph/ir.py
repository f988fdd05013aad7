"""The immutable graph: Port, Literal, Node, Graph.

A Graph is data: nodes in topological order, and the ports and nodes that are wanted of it. The builder makes graphs,
passes map graphs to graphs, the plan compiles them. Op types and attribute names are TensorFlow's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..kernels.digest import blake2b
from ..kernels.records import dataclass
from ..kernels.tensor import STRING, DType, TensorType, dtype_name
from .errors import GraphError

__all__ = [
    "LIST",
    "MISSING",
    "PLAIN",
    "UNKNOWN",
    "ArrayContent",
    "Content",
    "Graph",
    "Key",
    "Literal",
    "Node",
    "Port",
    "order_with_cycles",
    "topological_order",
]

#: Element type of the outputs of ops that kigraph does not know.
UNKNOWN: DType = np.dtype("V")
#: Element type of lists of tensors (TensorArray, TensorList): plan/lists.py says what such an array holds.
LIST: DType = np.dtype([("item", object)])

#: Op type of what a file refers to, but does not have; its attribute ``why`` is the error of a run that needs it.
MISSING = "KiMissing"

#: Parts of keys whose repr() says all.
PLAIN = frozenset([str, int, float, bool, bytes, type(None)])


class Content:
    """A part of a literal's key that stands for bytes stored elsewhere. Equal only to itself inside a process."""

    __slots__ = ()
    #: The bytes are those of a file, so that what is made of them may be kept in another file.
    in_file = False

    def content_digest(self) -> str | None:
        """The same in every process for the same bytes; None if the bytes are not known."""
        raise NotImplementedError


class ArrayContent(Content):
    """The bytes of an array in memory."""

    __slots__ = ("_array", "_digest")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array: np.ndarray[Any, Any] | None = array
        self._digest: str | None = None

    def content_digest(self) -> str | None:
        if self._array is not None and self._array.dtype != STRING:
            digest = blake2b(f"{self._array.dtype.str}{self._array.shape}".encode(), digest_size=20)
            digest.update(self._array.data)
            self._digest, self._array = digest.hexdigest(), None
        return self._digest


class _Unique(Content):
    """Stands for a value whose identity is all that is known of it."""

    __slots__ = ()

    def content_digest(self) -> str | None:
        return None


class Key:
    """The key of what was computed from other literals: what was done, and the keys of what it was done to.

    Compared by a digest of fixed length, made once of the digests of its parts: the key of a value stays short however
    often its parts are shared, and equal keys mean equal values. ``parts`` are for other spellings of the key.
    """

    __slots__ = ("_digest", "in_file", "parts", "stable")

    def __init__(self, *parts: Hashable) -> None:
        self.parts = parts
        #: Whether it depends on bytes of a file.
        self.in_file = False
        #: What packed/cache.py spells this key as (digest, files; no digest if it cannot): many keys share it.
        self.stable: tuple[str, frozenset[str]] | None = None
        words: list[str] = []
        stack: list[Hashable] = [parts]
        while stack:
            part = stack.pop()
            if isinstance(part, tuple):
                words.append(f"({len(part)}")
                stack.extend(part)
            elif isinstance(part, Key):
                words.append(f"={part._digest.hex()}")
                self.in_file |= part.in_file
            elif type(part) in PLAIN:
                words.append(repr(part))
            else:  # contents and the like equal themselves alone; ``parts`` keeps them, so that no other gets their id
                words.append(f"#{id(part)}")
                self.in_file |= isinstance(part, Content) and part.in_file
        self._digest: bytes = blake2b(" ".join(words).encode("utf-8", "backslashreplace"), digest_size=20).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"Key({self._digest.hex()})"


class Literal:
    """A constant array that need not be resident.

    ``key`` tells equal literals from others without reading them: what is packed or derived from a literal is cached
    under its key. It is made of plain values, tuples, ``Content`` and ``Key``, and says everything that the value depends
    on, so that packed weights can be found again by another process. ``array()`` reads a lazy literal anew each time, so
    an array lives only as long as its caller holds it. ``load`` reads it.
    """

    __slots__ = ("_wide", "dtype", "key", "load", "shape")

    def __init__(self, dtype: DType, shape: tuple[int, ...], load: Callable[[], np.ndarray[Any, Any]], key: Hashable):
        self.dtype, self.shape, self.key, self.load = dtype, shape, key, load
        self._wide: Callable[[], np.ndarray[Any, Any]] | None = None

    @classmethod
    def of(cls, array: np.ndarray[Any, Any], key: Hashable | None = None) -> Literal:
        """Wraps an array, which must not be changed afterwards; without ``key`` it equals no other."""
        array = np.asarray(array, order="C")
        array.flags.writeable = False
        return cls(array.dtype, array.shape, lambda: array, ("array", ArrayContent(array)) if key is None else key)

    @classmethod
    def lazy(
        cls,
        dtype: DType,
        shape: tuple[int, ...],
        load: Callable[[], np.ndarray[Any, Any]],
        key: Hashable | None = None,
        *,
        wide: Callable[[], np.ndarray[Any, Any]] | None = None,
    ) -> Literal:
        """A literal that is read when needed; without ``key`` it equals no other.

        wide: gives the value in float64, as it was before it was rounded to ``dtype``.
        """
        made = cls(np.dtype(dtype), tuple(shape), load, ("lazy", _Unique()) if key is None else key)
        made._wide = wide
        return made

    @property
    def type(self) -> TensorType:
        return TensorType(self.dtype, self.shape)

    @property
    def nbytes(self) -> int:
        return self.type.nbytes

    def array(self) -> np.ndarray[Any, Any]:
        """The dense, read-only value."""
        value = np.asarray(self.load(), order="C")
        if value.dtype != self.dtype or value.shape != self.shape:
            raise GraphError(f"a constant promised as {self.type} was read as {TensorType(value.dtype, value.shape)}")
        return value

    def wide(self) -> np.ndarray[Any, Any]:
        """The value in float64, unrounded if the literal was computed in float64."""
        return self._wide() if self._wide is not None else self.array().astype(np.float64)

    def __repr__(self) -> str:
        if self.dtype != STRING and self.type.size <= 8:
            return f"Literal({dtype_name(self.dtype)}, {self.array().tolist()})"
        return f"Literal({self.type})"


class Port(NamedTuple):
    """One output of one node: what TensorFlow calls 'name:index'. A tuple, because it is hashed more than anything else."""

    node: str
    index: int = 0  # type: ignore[assignment]  # tuple has a method of that name

    def __str__(self) -> str:
        return f"{self.node}:{self.index}"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. ``control``: names of nodes that must run before it."""

    name: str
    op: str
    inputs: tuple[Port, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    outputs: tuple[TensorType, ...] = ()
    control: tuple[str, ...] = ()

    @property
    def ports(self) -> tuple[Port, ...]:
        return tuple(Port(self.name, i) for i in range(len(self.outputs)))

    def __str__(self) -> str:
        return f"{self.op} '{self.name}'"


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by name in topological order; ``outputs`` and ``targets`` are what is wanted of the graph."""

    nodes: Mapping[str, Node]
    outputs: tuple[Port, ...] = ()
    targets: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes)"  # as an attribute of a loop it is named in messages

    def __len__(self) -> int:
        return len(self.nodes)

    def type_of(self, port: Port) -> TensorType:
        return self.nodes[port.node].outputs[port.index]

    def literal(self, port: Port) -> Literal | None:
        """The constant of a port, if it is the output of a Const node."""
        node = self.nodes[port.node]
        value = node.attrs.get("value")
        return value if node.op == "Const" and isinstance(value, Literal) else None

    def consumers(self) -> dict[Port, list[Node]]:
        """For every port the nodes that read it, once per use."""
        result: dict[Port, list[Node]] = {}
        for node in self:
            for port in node.inputs:
                result.setdefault(port, []).append(node)
        return result

    def __str__(self) -> str:
        lines = [
            f"{node.name} = {node.op}({', '.join([*map(str, node.inputs), *('^' + c for c in node.control)])})"
            f" -> {', '.join(map(str, node.outputs))}"
            for node in self
        ]
        return "\n".join([*lines, f"wanted: {', '.join([*map(str, self.outputs), *self.targets])}"])


def _is_sorted(nodes: Mapping[str, Node]) -> bool:
    seen: set[str] = set()
    for name, node in nodes.items():
        if not all(p.node in seen for p in node.inputs) or not seen.issuperset(node.control):
            return False
        seen.add(name)
    return True


def topological_order(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes sorted so that producers come first, otherwise in the given order. Raises GraphError on a cycle."""
    if _is_sorted(nodes):
        return dict(nodes)
    return _ordered(nodes, None)


def order_with_cycles(nodes: Mapping[str, Node]) -> tuple[dict[str, Node], set[tuple[str, str]]]:
    """As ``topological_order`` without the edges (reader, producer) that close a cycle, which come with it.

    What is not in ``nodes`` is taken for given.
    """
    back: set[tuple[str, str]] = set()
    return _ordered(nodes, back), back


def _ordered(nodes: Mapping[str, Node], back: set[tuple[str, str]] | None) -> dict[str, Node]:
    state: dict[str, int] = {}
    result: dict[str, Node] = {}

    def needs(node: Node) -> Iterable[str]:
        return itertools.chain((p.node for p in node.inputs), node.control)

    for root in nodes:
        if root in state:
            continue
        stack: list[tuple[str, Iterator[str]]] = [(root, iter(needs(nodes[root])))]
        state[root] = 1
        while stack:
            name, pending = stack[-1]
            for need in pending:
                if need not in nodes:
                    if back is not None:
                        continue
                    raise GraphError(f"node '{name}' needs '{need}', which the graph does not have")
                if state.get(need) == 1:
                    if back is not None:
                        back.add((name, need))
                        continue
                    path = [n for n, _ in stack]
                    cycle = [*path[path.index(need) :], need]
                    raise GraphError(f"the graph has a cycle: {' <- '.join(cycle[:12])}")
                if need not in state:
                    state[need] = 1
                    stack.append((need, iter(needs(nodes[need]))))
                    break
            else:
                stack.pop()
                state[name] = 2
                result[name] = nodes[name]
    return result
