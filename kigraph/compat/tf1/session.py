"""Session: runs the default graph, with TensorFlow's rules for feeds, fetches and variables without a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from ...graph.fetches import Fetches
from ...graph.ir import Port
from ...graph.plan.effects import ASSIGN
from ...graph.plan.plan import Plan
from ...graph.session import Session as CoreSession
from ...kernels.tensor import STRING
from .building import is_tensor
from .errors import FailedPreconditionError, translated
from .graph import SESSIONS, Graph, Operation, Tensor, default_session, get_default_graph
from .variables import PROBES

__all__ = ["ITERATORS", "InteractiveSession", "Session", "get_default_session"]

#: Where a graph keeps what advances the iterators of data sets.
ITERATORS = "iterators"


class _Runs(CoreSession):
    """kigraph's session, whose variables have no value until they are assigned."""

    def _read(self, name: str) -> Any:
        if not self.has_value(name):
            text = f"Attempting to use uninitialized value {name}"
            remedy = "run tf.global_variables_initializer() or restore a checkpoint in this session first"
            raise FailedPreconditionError(None, None, f"{text}: {remedy}")
        return super()._read(name)

    def has_value(self, name: str) -> bool:
        """Whether a variable was assigned."""
        return name in self._variables or "initial_value" in self.graph.operation(name).attrs

    def values(self, wanted: Fetches, feeds: Mapping[Port, Any]) -> Any:
        """The fetched values."""
        return wanted.rebuild(self._execute(wanted, feeds, None)[1])

    def _shown(self, wanted: Fetches, feeds: Mapping[Port, Any], plan: Plan, results: list[Any]) -> list[Any]:
        """Of variables the values at the end of the run, which TensorFlow's references show, too."""
        found = list(results)
        for i, port in enumerate(wanted.ports):
            variable = self._reference(port, feeds)
            if variable in plan.cut.assigned:
                found[i] = self.variable_value(str(variable))
        return found

    def _reference(self, port: Port, feeds: Mapping[Port, Any]) -> str | None:
        while port not in feeds:
            op = self.graph.operation(port.node)
            if op.type == "VariableV2":
                return op.name
            if op.type != "Identity" and op.type not in ASSIGN:
                return None
            port = op.inputs[0].port
        return None


class Session:
    """Runs a graph (default: the default graph). ``target`` and ``config`` are accepted; kigraph's settings choose the backend.

    backend: as for ``ki.Session``. In a ``with`` it is the default session, its graph the default graph, and it is closed
    at the end. Variables belong to the session.
    """

    def __init__(
        self, target: str = "", graph: Graph | None = None, config: Any = None, backend: str | None = None
    ) -> None:
        if target:
            raise ValueError(f"Session: target {target!r}: there are no servers; a session runs in this process")
        self.graph = get_default_graph() if graph is None else graph
        if not isinstance(self.graph, Graph):
            raise TypeError(f"graph must be a tf.Graph, but got {type(graph)}")
        threads = getattr(config, "intra_op_parallelism_threads", 0) or None
        self._runs = _Runs(self.graph.core, backend, threads)
        self._closed = False
        #: Where each iterator of a data set is.
        self.iterators: dict[Any, Any] = {}
        self._open: list[AbstractContextManager[Any]] = []

    @property
    def graph_def(self) -> Any:
        return self.graph.as_graph_def()

    @property
    def core(self) -> CoreSession:
        """kigraph's session: plan(), profile(), set_variables()."""
        return self._runs

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """The values of fetches in the same nesting: tensors, variables, operations (None) and names of them.

        feed_dict: tensor, variable or name -> value, which is cast to the tensor's element type.
        """
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        with translated():
            wanted = Fetches(self.graph.core, self._leaves(fetches))
            feeds = self._feeds(feed_dict)
            if ITERATORS in self.graph.stores:
                feeds.update(self._runs._feeds(self.graph.stores[ITERATORS].feeds(self, wanted, feeds)))
            return self._runs.values(wanted, feeds)

    def _leaves(self, fetches: Any) -> Any:
        """The fetches as kigraph has them."""
        if isinstance(fetches, Mapping):
            return {k: self._leaves(v) for k, v in fetches.items()}
        if isinstance(fetches, tuple) and hasattr(fetches, "_fields"):
            return type(fetches)(*map(self._leaves, fetches))
        if isinstance(fetches, (list, tuple)):
            parts = [self._leaves(v) for v in fetches]
            return parts if isinstance(fetches, list) else tuple(parts)
        return self._leaf(fetches)

    def _leaf(self, item: Any) -> Any:
        if isinstance(item, bytes):
            item = item.decode()
        try:
            found = self.graph.as_graph_element(item)
        except TypeError as error:
            raise TypeError(f"Fetch argument {item!r} has invalid type {type(item)}: {error}") from None
        except (ValueError, KeyError) as error:
            raise ValueError(f"Fetch argument {item!r} cannot be interpreted as a Tensor. ({error})") from None
        return found.core

    def _feeds(self, feed_dict: Any) -> dict[Port, Any]:
        given: dict[Any, Any] = {}
        for key, value in (feed_dict or {}).items():
            try:
                tensor = self.graph.as_graph_element(key, allow_operation=False)
            except (TypeError, ValueError, KeyError) as error:
                raise TypeError(f"Cannot interpret feed_dict key as Tensor: {error}") from None
            if is_tensor(value) or isinstance(value, Operation):
                raise TypeError(
                    "The value of a feed cannot be a tf.Tensor object. Acceptable feed values include Python scalars, "
                    "strings, lists, numpy ndarrays."
                )
            given[tensor.core] = _cast(value, tensor)
        for name, probe in self.graph.stores.get(PROBES, {}).items():
            given.setdefault(probe.core, self._runs.has_value(name))
        return self._runs._feeds(given)

    def make_callable(self, fetches: Any, feed_list: Any = None, accept_options: bool = False) -> Any:
        """A function of the values of ``feed_list`` that runs ``fetches``."""
        return lambda *values: self.run(fetches, dict(zip(feed_list or (), values, strict=True)))

    def partial_run(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: a run of kigraph computes all its fetches at once."""
        raise NotImplementedError("Session.partial_run is not supported by kigraph.compat.v1; run() feeds any tensor")

    partial_run_setup = partial_run

    def list_devices(self) -> list[Any]:
        return []

    def load_variables(self, values: Mapping[str, Any]) -> None:
        """Sets variables by name; all of them or, if one does not fit, none."""
        with translated():
            self._runs.set_variables(values)

    def close(self) -> None:
        """Drops plans and variables; a closed session refuses to run."""
        self._closed = True
        self.iterators.clear()
        self._runs.close()

    @contextmanager
    def as_default(self) -> Iterator[Session]:
        """``with sess.as_default():`` Tensor.eval and Operation.run use it. It is not closed, the default graph stays."""
        SESSIONS.stack.append(self)
        try:
            yield self
        finally:
            SESSIONS.stack.remove(self)

    def __enter__(self) -> Session:
        for scope in (self.graph.as_default(), self.as_default()):
            scope.__enter__()
            self._open.append(scope)
        return self

    def __exit__(self, *exc: Any) -> None:
        for _ in range(2):
            self._open.pop().__exit__(None, None, None)
        self.close()


class InteractiveSession(Session):
    """A session that is the default one, with its graph, from when it is made until ``close``."""

    def __init__(
        self, target: str = "", graph: Graph | None = None, config: Any = None, backend: str | None = None
    ) -> None:
        super().__init__(target, graph, config, backend)
        SESSIONS.stack.append(self)
        self._graph_scope = self.graph.as_default() if graph is not None else None
        if self._graph_scope is not None:
            self._graph_scope.__enter__()

    def close(self) -> None:
        """Ends being the default session."""
        if self in SESSIONS.stack:
            SESSIONS.stack.remove(self)
            if self._graph_scope is not None:
                self._graph_scope.__exit__(None, None, None)
        super().close()


def get_default_session() -> Any:
    """The default session, or None."""
    return default_session()


def _cast(value: Any, tensor: Tensor) -> Any:
    """As TensorFlow casts what is fed: any numbers to numbers, texts to bytes."""
    dtype = tensor.core.dtype
    if dtype == STRING or dtype.kind == "V" or (isinstance(value, np.ndarray) and value.dtype == dtype):
        return value
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and dtype.kind in "iu"
        and int(dtype.type(value)) != value
    ):
        raise TypeError(f"Type of feed value {value} is not compatible with Tensor type {dtype}")
    try:
        return np.asarray(value, dtype=dtype)
    except (ValueError, TypeError):
        return value  # kigraph's own message says what is wrong
