"""The TensorFlow-1-like graph under construction: Graph, Operation, Tensor, default-graph stack, name scopes.

This is the only mutable part of the graph layer. ``Graph.freeze`` gives the immutable ``ir.Graph``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeAlias, final

import numpy as np

from ..kernels.tensor import DType, Shape, TensorType
from . import ir
from .errors import GraphError, MissingNameError
from .hints import ends_text, missing_name, shown
from .inference import constant_value, known_sizes, output_types, site_of_node
from .opdefs import Site
from .signatures import Signature
from .symbolic import Symbolic

__all__ = [
    "Graph",
    "Operation",
    "Tensor",
    "control_dependencies",
    "entries_of",
    "get_default_graph",
    "name_scope",
    "reset_default_graph",
    "site_of_operation",
    "value_of",
]

_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_SCOPE = re.compile(r"[A-Za-z0-9_.\\/>-]*")


class Operation:
    """One operation of a Graph. Made by op functions and by ``Graph.create_op``; never changed."""

    __slots__ = ("__weakref__", "attrs", "control_inputs", "graph", "inputs", "name", "outputs", "type")

    def __init__(
        self,
        graph: Graph,
        name: str,
        type: str,
        inputs: tuple[Tensor, ...],
        attrs: Mapping[str, Any],
        control_inputs: tuple[Operation, ...],
        types: tuple[TensorType, ...],
    ) -> None:
        self.graph, self.name, self.type, self.inputs = graph, name, type, inputs
        self.attrs, self.control_inputs = attrs, control_inputs
        self.outputs = tuple(Tensor(self, i, t) for i, t in enumerate(types))

    def __repr__(self) -> str:
        return f"<Operation '{self.name}' {self.type}>"


@final
class Tensor(Symbolic):
    """One output of an operation. ``dtype`` is a NumPy dtype; ``shape`` may have unknown sizes (None).

    Arithmetic operators add operations to the tensor's graph. ``==`` compares identity, as in TensorFlow 1;
    use ``ki.equal`` for elements.
    """

    __slots__ = ("__weakref__", "index", "op", "type")

    def __init__(self, op: Operation, index: int, type: TensorType) -> None:
        self.op, self.index, self.type = op, index, type

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def name(self) -> str:
        """'operation:index'."""
        return f"{self.op.name}:{self.index}"

    @property
    def port(self) -> ir.Port:
        return ir.Port(self.op.name, self.index)

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> Shape:
        return self.type.shape

    def get_shape(self) -> Shape:
        """TensorFlow 1's spelling of ``shape``."""
        return self.type.shape

    def consumers(self) -> list[Operation]:
        """The operations that read this tensor."""
        return [op for op in self.graph.operations if any(t is self for t in op.inputs)]

    def __repr__(self) -> str:
        return f"<Tensor '{self.name}' {self.type}>"

    def _apply(self, function: str, *arguments: Any) -> Tensor:
        import kigraph.graph.ops as ops  # the op functions build on this module, so they are imported late

        with self.graph.as_default():
            result: Tensor = getattr(ops, function)(*arguments)
            return result


Rewire: TypeAlias = Callable[
    [Sequence[Tensor], Sequence[Operation | Tensor]], tuple[Sequence[Tensor], Sequence[Operation | Tensor]]
]


class Graph:
    """A graph that operations are added to. Thread-safe; operations are never changed or removed."""

    def __init__(self) -> None:
        self._operations: dict[str, Operation] = {}
        self._nodes: dict[str, ir.Node] = {}
        self._taken: dict[str, int] = {}
        self._lock = threading.RLock()
        self._local = threading.local()
        self._frozen: ir.Graph | None = None
        #: Packed weights and the like, shared by all sessions of this graph; see session.py.
        self.stores: dict[str, Any] = {}
        #: What a loader knows about the file: producer version, family.
        self.metadata: dict[str, Any] = {}
        #: Names that the file itself has for tensors -> 'operation:index'; they may be fed and fetched, and go before the graph's.
        self.aliases: dict[str, str] = {}
        #: How the file says that it is called; the one to take is 'serving_default'.
        self.signatures: dict[str, Signature] = {}
        #: Changes the inputs and control inputs of a new operation: what is made inside of a branch gets the branch's own.
        self.rewire: Rewire | None = None
        #: The predicate of a Merge that joins the two sides of a branch: input 0 is live where it is false.
        self.predicates: dict[Operation, Tensor] = {}

    def __repr__(self) -> str:
        from .draw.notebook import graph_text  # drawing is loaded when it is needed

        return f"<{graph_text(self.freeze())}>"

    def _repr_html_(self) -> str:
        from .draw.notebook import graph_html

        return graph_html(self.freeze())

    # --- reading ------------------------------------------------------------------------------------------------------

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations, producers before consumers."""
        with self._lock:
            return tuple(self._operations.values())

    def __len__(self) -> int:
        return len(self._operations)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._operations

    def operation(self, name: str) -> Operation:
        """The operation of that name; MissingNameError says what the graph has instead."""
        found = self._operations.get(name) if isinstance(name, str) else None
        if found is None:
            raise MissingNameError(missing_name(self.freeze(), name, self.aliases))
        return found

    def tensor(self, name: str) -> Tensor:
        """The tensor of an alias, or 'op:index'; 'op' alone means 'op:0'. MissingNameError says what the graph has instead."""
        if not isinstance(name, str):
            raise MissingNameError(missing_name(self.freeze(), name, self.aliases))
        name = self.aliases.get(name, name)
        op_name, colon, index = name.partition(":")
        if colon and not (index.isdecimal() and len(index) <= 9):
            raise MissingNameError(
                f"{shown(name)} is not a tensor's name; expected 'operation:index', such as 'softmax:0' ({ends_text(self.freeze())})"
            )
        operation = self.operation(op_name)
        at = int(index or 0)
        if at >= len(operation.outputs):
            count = len(operation.outputs)
            there = f" (':0' to ':{count - 1}')" if count > 1 else " (':0')" if count else ""
            raise MissingNameError(
                f"{operation.type} {shown(op_name)} has {count} outputs{there}; there is no {shown(name)} "
                f"({ends_text(self.freeze())})"
            )
        return operation.outputs[at]

    def get_operations(self) -> list[Operation]:
        """TensorFlow 1's spelling of ``operations``."""
        return list(self.operations)

    # TensorFlow 1 spellings.
    get_operation_by_name = operation
    get_tensor_by_name = tensor

    def freeze(self) -> ir.Graph:
        """The immutable graph as it is now (made once per state)."""
        with self._lock:
            if self._frozen is None:
                self._frozen = ir.Graph(MappingProxyType(dict(self._nodes)))
            return self._frozen

    # --- building -----------------------------------------------------------------------------------------------------

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """``with graph.as_default():`` op functions inside add to this graph."""
        token = _DEFAULTS.set((*_DEFAULTS.get(), self))
        try:
            yield self
        finally:
            _DEFAULTS.reset(token)

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Prefixes the names of operations made inside; a second scope of the same name becomes name_1."""
        outer = self._scope
        if name is not None and not isinstance(name, str):
            raise GraphError(f"the name of a scope must be a str or None, got {type(name).__name__}")
        if not name:
            self._local.scope = ""
        else:
            if not _SCOPE.fullmatch(name) or (not outer and not _NAME.fullmatch(name)):
                raise GraphError(f"'{name}' is not a valid scope name; use letters, digits and . _ \\ - / >")
            self._local.scope = name[:-1] if name.endswith("/") else self.unique_name(name)
        try:
            yield self._local.scope + "/" if self._local.scope else ""
        finally:
            self._local.scope = outer

    @contextmanager
    def control_dependencies(self, control_inputs: Sequence[Operation | Tensor] | None) -> Iterator[None]:
        """Operations made inside run after ``control_inputs``; None clears the ones from outside."""
        outer: tuple[Operation, ...] = getattr(self._local, "control", ())
        added = tuple(self._owned(c) for c in control_inputs or ())
        self._local.control = () if control_inputs is None else (*outer, *added)
        try:
            yield
        finally:
            self._local.control = outer

    @property
    def _scope(self) -> str:
        scope: str = getattr(self._local, "scope", "")
        return scope

    def unique_name(self, name: str) -> str:
        """``name`` in the current scope, with _1, _2, ... appended if it is taken; the result is then taken."""
        with self._lock:
            free = self._free(name)
            return self._take(*free)

    def _free(self, name: str) -> tuple[str, str, int]:
        """The next free name, the name that it is made of, and how often that will have been taken."""
        full = f"{self._scope}/{name}" if self._scope else name
        count = self._taken.get(full.lower(), 0)
        if not count:
            return full, full, 1
        while f"{full}_{count}".lower() in self._taken:
            count += 1
        return f"{full}_{count}", full, count + 1

    def _take(self, name: str, of: str, count: int) -> str:
        self._taken[name.lower()] = 1
        self._taken[of.lower()] = count
        return name

    def _owned(self, item: Operation | Tensor) -> Operation:
        operation = item.op if isinstance(item, Tensor) else item
        if not isinstance(operation, Operation) or operation.graph is not self:
            raise GraphError(f"{item!r} is not part of this graph")
        return operation

    def create_op(
        self,
        type: str,
        inputs: Sequence[Tensor] = (),
        attrs: Mapping[str, Any] | None = None,
        name: str | None = None,
        control_inputs: Sequence[Operation | Tensor] | None = None,
        num_outputs: int | None = None,
        exact_name: bool = False,
    ) -> Operation:
        """Adds an operation.

        type: TensorFlow's name of the op. Unknown types are kept: they can be inspected, replaced by a feed and saved, not run.
        attrs: Python values (np.dtype for types, tuples for shapes and lists, ir.Literal for a constant's value).
        name: defaults to the type; made unique in the current scope. ``exact_name``: taken as it is (loaders).
        num_outputs: needed for unknown types only.
        Raises GraphError, ShapeError or DTypeError if the inputs can never fit the op.
        """
        if self.rewire is not None:
            inputs, control_inputs = self.rewire(inputs, control_inputs or ())
        for t in inputs:
            if not isinstance(t, Tensor) or t.op.graph is not self:
                raise GraphError(f"input {t!r} of a new {type} is not a tensor of this graph")
        if strange := [key for key in attrs or () if not isinstance(key, str)]:
            raise GraphError(f"names of attributes must be str, got {strange[0]!r} for a new {type}")
        control = list(getattr(self._local, "control", ()))
        control += [self._owned(c) for c in control_inputs or ()]
        with self._lock:
            free = self._new_name(
                type.lstrip("_") if name is None or (isinstance(name, str) and not name) else name, exact_name
            )
            full, ports = free[0], tuple([ir.Port(t.op.name, t.index) for t in inputs])
            frozen_attrs = MappingProxyType(dict(attrs or {}))
            types = output_types(self._nodes, full, type, frozen_attrs, ports, num_outputs)
            self._take(*free)  # a refused operation takes no name
            first = tuple(dict.fromkeys(control)) if control else ()
            operation = Operation(self, full, type, tuple(inputs), frozen_attrs, first, types)
            node = ir.Node(full, type, ports, frozen_attrs, types, tuple([c.name for c in first]))
            # The node first: whoever finds the operation finds its node, too.
            self._nodes[full] = node
            self._operations[full] = operation
            self._frozen = None
            return operation

    def _new_name(self, name: str, exact: bool) -> tuple[str, str, int]:
        """The name of a new operation, for ``_take``. A scope's own name with its '/' at the end stays, as in TensorFlow."""
        if not isinstance(name, str):
            raise GraphError(f"the name of an operation must be a str, got {type(name).__name__}")
        if name.endswith("/") and not exact:
            name, exact = name[:-1], True
            if not _NAME.fullmatch(name):
                raise GraphError(f"'{name}/' is not a valid name; use letters, digits and . _ \\ - / >")
        if exact:
            if not name or name in self._operations:
                raise GraphError(f"the graph already has an operation '{name}'")
            return name, name, self._taken.get(name.lower(), 1)
        if not (_NAME if not self._scope else _SCOPE).fullmatch(name):
            raise GraphError(f"'{name}' is not a valid name; use letters, digits and . _ \\ - / >")
        return self._free(name)


def site_of_operation(op: Operation) -> Site:
    """An operation as its op definition sees it, with the values of inputs that are known by now."""
    return site_of_node(op.graph._nodes, op.graph._nodes[op.name])


def value_of(tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """The value of a tensor, if it is small and follows from constants."""
    return constant_value(tensor.graph._nodes, tensor.port)


def entries_of(tensor: Tensor) -> Shape:
    """Entries of a vector (or scalar) of integers that are known by now, None for the others; None if not even their number is."""
    return known_sizes(tensor.graph._nodes, tensor.port)


_ROOT = Graph()
_DEFAULTS: ContextVar[tuple[Graph, ...]] = ContextVar("kigraph_default_graphs", default=())


def get_default_graph() -> Graph:
    """The innermost ``with graph.as_default()``, else the process-wide graph."""
    stack = _DEFAULTS.get()
    return stack[-1] if stack else _ROOT


def reset_default_graph() -> None:
    """Replaces the process-wide graph by an empty one; an error inside ``with graph.as_default()``."""
    global _ROOT
    if _DEFAULTS.get():
        raise GraphError("reset_default_graph() inside 'with graph.as_default()': leave the block first")
    _ROOT = Graph()


@contextmanager
def name_scope(name: str | None) -> Iterator[str]:
    """``with ki.name_scope("layer1"):`` on the default graph."""
    with get_default_graph().name_scope(name) as scope:
        yield scope


@contextmanager
def control_dependencies(control_inputs: Sequence[Operation | Tensor] | None) -> Iterator[None]:
    """``with ki.control_dependencies([op]):`` on the default graph."""
    with get_default_graph().control_dependencies(control_inputs):
        yield
