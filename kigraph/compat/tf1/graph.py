"""Graph, Operation and Tensor with TensorFlow 1's faces, over kigraph's graph; the default graph and session.

One wrapper stands for each graph, operation and tensor, so identity and hashing work as in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

from ...graph import builder as core
from ...graph.errors import GraphError
from .tensors import OPERATORS, SESSIONS, Operation, Tensor, TensorBase, default_session

__all__ = [
    "OPERATORS",
    "SESSIONS",
    "Context",
    "Graph",
    "GraphKeys",
    "Operation",
    "Tensor",
    "TensorBase",
    "control_dependencies",
    "default_session",
    "get_default_graph",
    "name_scope",
    "reset_default_graph",
    "unwrapped",
]

_STORE = "compat.v1"


class GraphKeys:
    """The names of the collections that TensorFlow's functions fill and read."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    UPDATE_OPS = "update_ops"
    TRAIN_OP = "train_op"
    SUMMARIES = "summaries"
    GLOBAL_STEP = "global_step"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    ACTIVATIONS = "activations"
    WEIGHTS = "weights"
    BIASES = "biases"


class Context:
    """A side of a tf.cond: what comes from outside passes a Switch; what has no inputs waits for the side's pivot."""

    def __init__(self, graph: Graph, pred: Tensor, pivot: Tensor, side: int, outer: Context | None) -> None:
        self.graph, self.pred, self.pivot, self.side, self.outer = graph, pred, pivot, side, outer
        #: What passed the Switch, or was made on this side: ``first`` operations of the graph are outside.
        self.inside: set[core.Operation] = {pivot.core.op}
        self._first = len(graph.core)
        self._switched: dict[core.Tensor, core.Tensor] = {}

    def take(self, tensor: core.Tensor) -> core.Tensor:
        """The tensor as operations on this side read it."""
        if tensor.op in self.inside or self.graph.number(tensor.op) >= self._first:
            return tensor
        if tensor not in self._switched:
            self.graph.enter(self.outer)  # the Switch is on the side outside of this one
            with self.graph.core.control_dependencies(None):  # both sides of an inner branch may read this Switch
                made = self.graph.core.create_op("Switch", [tensor, self.pred.core], None, "Switch")
            self.graph.enter(self)
            self.inside.add(made)
            self._switched[tensor] = made.outputs[self.side]
        return self._switched[tensor]

    def rewire(
        self, inputs: Sequence[core.Tensor], control: Sequence[Any]
    ) -> tuple[Sequence[core.Tensor], Sequence[Any]]:
        """What a new operation on this side reads and waits for."""
        return ([self.take(t) for t in inputs], control) if inputs else (inputs, [*control, self.pivot.core.op])


class Graph:
    """A graph that operations are added to. ``core``: kigraph's graph, which sessions run."""

    #: Whether tensors of other graphs become inputs of this one.
    captures = False

    def __init__(self, graph: core.Graph | None = None) -> None:
        self.core = core.Graph() if graph is None else graph
        self.core.stores[_STORE] = self
        self._tensors: dict[core.Tensor, Tensor] = {}
        self._operations: dict[core.Operation, Operation] = {}
        self._collections: dict[Any, list[Any]] = {}
        self._finalized = False
        self._last_id = 0
        self.seed: int | None = None
        #: What belongs to one graph and one module: variable scopes, names of layers.
        self.stores: dict[str, Any] = {}
        self.context: Context | None = None
        self._numbers: dict[core.Operation, int] = {}

    @classmethod
    def of(cls, graph: core.Graph) -> Graph:
        """The wrapper of a graph."""
        return graph.stores.get(_STORE) or cls(graph)

    # --- wrappers -----------------------------------------------------------------------------------------------------

    def wrap(self, tensor: core.Tensor) -> Tensor:
        if tensor not in self._tensors:
            self._tensors[tensor] = Tensor(self, tensor)
        return self._tensors[tensor]

    def wrap_operation(self, operation: core.Operation) -> Operation:
        if operation not in self._operations:
            self._operations[operation] = Operation(self, operation)
        return self._operations[operation]

    # --- building -----------------------------------------------------------------------------------------------------

    def reach(self, tensor: Tensor) -> core.Tensor:
        """The tensor as operations of this graph read it; ValueError for one of another graph."""
        if tensor.graph is not self:
            raise ValueError(f"Tensor {tensor} must be from the same graph as the operation that reads it")
        return tensor.reads

    def create(
        self,
        type: str,
        inputs: Sequence[Tensor] = (),
        attrs: Any = None,
        name: str | None = None,
        control: Sequence[Operation] = (),
        count: int | None = None,
    ) -> Operation:
        """Adds an operation. ValueError or TypeError if the inputs can never fit."""
        self._check_open()
        tensors = [self.reach(t) for t in inputs]
        waits = [c.core for c in control]
        try:
            made = self.core.create_op(type, tensors, attrs, name, waits, count)
        except (ValueError, TypeError):
            raise
        except GraphError as error:
            raise ValueError(str(error)) from error
        return self.wrap_operation(made)

    def enter(self, context: Context | None) -> None:
        """What is made from now on is on that side of a branch; None: on no side."""
        self.context, self.core.rewire = context, None if context is None else context.rewire

    def number(self, operation: core.Operation) -> int:
        """The place of an operation in the order in which they were made."""
        if len(self._numbers) < len(self.core):
            self._numbers = {op: i for i, op in enumerate(self.core.operations)}
        return self._numbers[operation]

    def _check_open(self) -> None:
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """``with graph.as_default():`` operations inside are added to this graph."""
        with self.core.as_default():
            yield self

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Prefixes the names of what is made inside."""
        with self.core.name_scope(name) as scope:
            yield scope

    @contextmanager
    def control_dependencies(self, control_inputs: Any) -> Iterator[None]:
        """What is made inside runs after ``control_inputs``: operations, tensors or variables. None clears them."""
        given = None if control_inputs is None else [_operation_of(c) for c in control_inputs]
        with self.core.control_dependencies(given):
            yield

    def device(self, name: Any) -> AbstractContextManager[None]:
        """Accepted; the session chooses the backend."""
        return _nothing()

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        return self.core.unique_name(name) if mark_as_used else self.core._free(name)[0]

    def finalize(self) -> None:
        """Nothing can be added any more."""
        self._finalized = True

    @property
    def finalized(self) -> bool:
        return self._finalized

    @property
    def version(self) -> int:
        return len(self.core)

    # --- reading ------------------------------------------------------------------------------------------------------

    def get_operations(self) -> list[Operation]:
        return [self.wrap_operation(op) for op in self.core.operations]

    def get_operation_by_name(self, name: str) -> Operation:
        return self.wrap_operation(self.core.operation(name))

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor 'operation:index'; ValueError for the name of an operation, KeyError for an unknown one."""
        if isinstance(name, str) and ":" not in name:
            raise ValueError(
                f"The name '{name}' looks like an (invalid) Operation name, not a Tensor. Tensor names must be of the "
                'form "<op_name>:<output_index>".'
            )
        return self.wrap(self.core.tensor(name))

    def as_graph_element(self, item: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """The Tensor or Operation that an object or a name stands for."""
        if isinstance(item, str):
            return self.get_tensor_by_name(item) if ":" in item else self.get_operation_by_name(item)
        found = item._as_graph_element() if hasattr(item, "_as_graph_element") else item
        wanted = tuple(t for t, allowed in ((Tensor, allow_tensor), (Operation, allow_operation)) if allowed)
        if not isinstance(found, wanted):
            raise TypeError(f"Can not convert a {type(item).__name__} into a Tensor or Operation.")
        if found.graph is not self:
            raise ValueError(
                f"{'Tensor' if isinstance(found, Tensor) else 'Operation'} {found} is not an element of this graph."
            )
        return found

    # --- collections --------------------------------------------------------------------------------------------------

    def add_to_collection(self, name: Any, value: Any) -> None:
        self._check_open()
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        for name in [names] if isinstance(names, str) else names or ():
            self.add_to_collection(name, value)

    def get_collection_ref(self, name: Any) -> list[Any]:
        return self._collections.setdefault(name, [])

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of the list; with ``scope`` those whose names begin with it, as with re.match."""
        import re

        items = list(self._collections.get(name, ()))
        if scope is None:
            return items
        pattern = re.compile(scope)
        return [item for item in items if hasattr(item, "name") and pattern.match(item.name)]

    def get_all_collection_keys(self) -> list[Any]:
        return [key for key, items in self._collections.items() if items]

    def clear_collection(self, name: Any) -> None:
        self._collections.pop(name, None)

    def next_seed(self) -> int:
        """How many operations took their seed from the graph's so far: the second seed of the next one."""
        self._last_id += 1
        return self._last_id - 1

    def __repr__(self) -> str:
        return f"<kigraph.compat.v1 Graph with {len(self.core)} operations>"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"kigraph.compat.v1: Graph has no attribute {name!r}; .core is kigraph's graph, docs/compat-v1.md lists what there is"
        )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _operation_of(item: Any) -> core.Operation:
    if hasattr(item, "_as_graph_element"):
        item = item._as_graph_element()
    if not isinstance(item, (Tensor, Operation)):
        raise TypeError(f"control inputs must be Operations or Tensors, got {type(item).__name__}")
    return item.core.op if isinstance(item, Tensor) else item.core


def unwrapped(value: Any) -> Any:
    """Tensors and operations in lists and dicts as those of kigraph's graph."""
    if isinstance(value, (Tensor, Operation)):
        return value.core
    if isinstance(value, (list, tuple)):
        return [unwrapped(v) for v in value]
    return value


def get_default_graph() -> Graph:
    """The graph of the innermost ``with graph.as_default()``, else the process-wide one."""
    return Graph.of(core.get_default_graph())


def reset_default_graph() -> None:
    """Replaces the process-wide graph by an empty one; AssertionError inside ``with graph.as_default()``."""
    try:
        core.reset_default_graph()
    except GraphError as error:
        raise AssertionError(f"Do not use tf.reset_default_graph() to clear nested graphs: {error}") from error


class name_scope:  # noqa: N801 - TensorFlow's name
    """``with tf.name_scope("layer1") as scope:`` on the default graph; ``default_name`` where ``name`` is None."""

    def __init__(self, name: str | None, default_name: str | None = None, values: Any = None) -> None:
        if not isinstance(name, (str, type(None))):
            raise TypeError(f"name for name_scope must be a string, got {type(name).__name__}")
        if name is None and default_name is None and values is not None:
            raise ValueError("at least one of name and default_name is required where values are given")
        self._name = default_name if name is None else name
        self._open: list[AbstractContextManager[str]] = []

    @property
    def name(self) -> str | None:
        return self._name

    def __enter__(self) -> str:
        scope = get_default_graph().name_scope(self._name)
        self._open.append(scope)
        return scope.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._open.pop().__exit__(*exc)


def control_dependencies(control_inputs: Any) -> AbstractContextManager[None]:
    """``with tf.control_dependencies([op]):`` on the default graph."""
    return get_default_graph().control_dependencies(control_inputs)
