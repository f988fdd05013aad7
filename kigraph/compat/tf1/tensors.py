"""Tensor and Operation with TensorFlow 1's faces; the default session."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ...graph import builder as core
from ...graph.symbolic import Symbolic
from .dtypes import DType, as_dtype
from .shapes import TensorShape, sizes_of

__all__ = ["OPERATORS", "SESSIONS", "Operation", "Tensor", "TensorBase", "default_session"]

#: What ``a + b`` and the like call, by the name that Symbolic has for it; the modules of ops register theirs.
OPERATORS: dict[str, Callable[..., Any]] = {}


class _Local(threading.local):
    """Sessions that are entered, innermost last."""

    def __init__(self) -> None:
        self.stack: list[Any] = []


SESSIONS = _Local()


def default_session() -> Any:
    """The session of the innermost ``with``, or None."""
    return SESSIONS.stack[-1] if SESSIONS.stack else None


def _session_for(item: Any, session: Any, what: str) -> Any:
    found = session or default_session()
    if found is None:
        raise ValueError(
            f"Cannot {what}: no default session is registered. Use `with sess.as_default()` or pass an explicit "
            "session to it"
        )
    return found


class TensorBase(Symbolic):
    """What operators work on: a Tensor, or a Variable that is read."""

    __slots__ = ()

    def _apply(self, function: str, *arguments: Any) -> Any:
        return OPERATORS[function](*arguments)


class Tensor(TensorBase):
    """One output of an operation. ``shape``: TensorShape; ``dtype``: DType; ``name``: 'operation:index'."""

    __slots__ = ("__weakref__", "core", "graph", "reads")

    def __init__(self, graph: Any, tensor: core.Tensor) -> None:
        self.graph, self.core = graph, tensor
        #: What operations get that read this tensor: itself, or its value with a shape that was set.
        self.reads = tensor

    @property
    def op(self) -> Operation:
        found: Operation = self.graph.wrap_operation(self.core.op)
        return found

    @property
    def name(self) -> str:
        return self.core.name

    @property
    def value_index(self) -> int:
        return self.core.index

    @property
    def dtype(self) -> DType:
        return as_dtype(self.core.dtype)

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self.reads.shape)

    @property
    def device(self) -> str:
        return ""

    def get_shape(self) -> TensorShape:
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """States what is known of the shape: ValueError if that contradicts; a run whose value has another fails."""
        merged = sizes_of(self.shape.merge_with(shape))
        if merged != self.reads.shape:
            with self.graph.core.as_default(), self.graph.core.name_scope(None):
                attrs = {"shape": merged}
                made = self.graph.core.create_op("EnsureShape", [self.core], attrs, f"{self.core.op.name}/set_shape")
            self.reads = made.outputs[0]

    def consumers(self) -> list[Operation]:
        return [self.graph.wrap_operation(op) for op in self.core.consumers()]

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """The value in the given session, or in the default one."""
        return _session_for(self, session, "evaluate tensor using `eval()`").run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Tensor {self.name!r} shape={self.shape} dtype={self.dtype.name}>"

    def __str__(self) -> str:
        shape = f", shape={self.shape}" if self.shape.ndims is not None else ""
        return f'Tensor("{self.name}"{shape}, dtype={self.dtype.name})'


class Operation:
    """A node of a graph: ``name``, ``type``, ``inputs``, ``outputs``, ``control_inputs``."""

    __slots__ = ("__weakref__", "core", "graph")

    def __init__(self, graph: Any, operation: core.Operation) -> None:
        self.graph, self.core = graph, operation

    @property
    def name(self) -> str:
        return self.core.name

    @property
    def type(self) -> str:
        return self.core.type

    @property
    def inputs(self) -> list[Tensor]:
        return [self.graph.wrap(t) for t in self.core.inputs]

    @property
    def outputs(self) -> list[Tensor]:
        return [self.graph.wrap(t) for t in self.core.outputs]

    @property
    def control_inputs(self) -> list[Operation]:
        return [self.graph.wrap_operation(op) for op in self.core.control_inputs]

    @property
    def device(self) -> str:
        return ""

    def values(self) -> tuple[Tensor, ...]:
        return tuple(self.outputs)

    def get_attr(self, name: str) -> Any:
        """An attribute: DType for an element type, TensorShape for a shape, else a Python value."""
        if name not in self.core.attrs:
            raise ValueError(f"Operation '{self.name}' has no attr named '{name}'; it has {', '.join(self.core.attrs)}")
        value = self.core.attrs[name]
        return TensorShape(value) if name == "shape" else as_dtype(value) if hasattr(value, "newbyteorder") else value

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Runs the operation in the given session, or in the default one."""
        _session_for(self, session, "execute operation using `run()`").run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Operation {self.name!r} type={self.type}>"
