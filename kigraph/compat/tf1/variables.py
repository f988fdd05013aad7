"""Variables: what a session keeps between runs, without a value until an initializer or a restore has run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .array import identity
from .building import apply, convert, one
from .dtypes import DType
from .graph import (
    Graph,
    GraphKeys,
    Operation,
    Tensor,
    TensorBase,
    control_dependencies,
    default_session,
    get_default_graph,
)
from .shapes import TensorShape, sizes_of

__all__ = [
    "PROBES", "Variable", "all_variables", "assign", "assign_add", "assign_sub", "global_variables", "global_variables_initializer",
    "initialize_all_variables", "initialize_variables", "is_variable_initialized", "lifted", "local_variables",
    "local_variables_initializer", "model_variables", "report_uninitialized_variables", "scatter_add", "scatter_sub",
    "scatter_update", "trainable_variables", "variables_initializer",
]  # fmt: skip

#: Where a graph keeps the placeholders that a session feeds with whether a variable has a value.
PROBES = "initialized"


@contextmanager
def lifted() -> Iterator[Graph]:
    """What is made inside depends on no branch and no control input: a variable and its first value."""
    graph = get_default_graph()
    if graph.captures:
        raise ValueError("a variable cannot be made inside of a loop's condition or body; make it before the loop")
    context = graph.context
    graph.enter(None)
    try:
        with graph.control_dependencies(None):
            yield graph
    finally:
        graph.enter(context)


class Variable(TensorBase):
    """A tensor whose value a session keeps between runs.

    initial_value: a value, a tensor, or a function that makes one. trainable: whether optimizers change it by default.
    validate_shape: whether only values of this shape may be assigned. ``name``: 'W:0'. Reading it before a run of its
    ``initializer`` (or a restore) is a FailedPreconditionError.
    """

    def __init__(
        self, initial_value: Any = None, trainable: bool | None = None, collections: Any = None, validate_shape: bool = True,
        caching_device: Any = None, name: str | None = None, variable_def: Any = None, dtype: Any = None,
        expected_shape: Any = None, import_scope: Any = None, constraint: Callable[[Any], Any] | None = None,
        use_resource: Any = None, synchronization: Any = None, aggregation: Any = None, shape: Any = None,
    ) -> None:  # fmt: skip
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        if variable_def is not None:
            raise ValueError("Variable: variable_def is not supported; give the initial value")
        self.trainable = True if trainable is None else trainable
        self.constraint = constraint
        with lifted() as graph, graph.name_scope(name or "Variable") as scope:
            self.graph = graph
            if callable(initial_value):
                with graph.name_scope("Initializer"):
                    self._initial = convert(initial_value(), dtype, "initial_value")
            else:
                self._initial = convert(initial_value, dtype, "initial_value")
            sizes = sizes_of(self._initial.shape) if validate_shape else sizes_of(shape)
            if validate_shape and not TensorShape(sizes).is_fully_defined():
                raise ValueError(f"initial_value must have a shape specified: {self._initial}")
            attrs = {"dtype": self._initial.core.dtype, "shape": sizes}
            self._ref = one(graph.create("VariableV2", (), attrs, scope))
            self.initializer = one(_assign("Assign", self._ref, self._initial, f"{scope}Assign", validate_shape)).op
            self._snapshot = one(graph.create("Identity", [self._ref], None, f"{scope}read/"))
        keys = list(collections or [GraphKeys.GLOBAL_VARIABLES])
        if self.trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
            keys.append(GraphKeys.TRAINABLE_VARIABLES)
        for key in keys:
            graph.add_to_collection(key, self)

    # --- as a tensor ----------------------------------------------------------------------------------------------------

    def _as_tensor(self) -> Tensor:
        return self._snapshot

    def _as_graph_element(self) -> Tensor:
        return self._ref

    def value(self) -> Tensor:
        """The tensor that reads it."""
        return self._snapshot

    def read_value(self) -> Tensor:
        """A new tensor that reads it, after the control inputs of where it is made."""
        return identity(self._ref, "read")

    def eval(self, session: Any = None) -> Any:
        return self._snapshot.eval(session=session)

    @property
    def ref(self) -> Tensor:
        """The variable itself, as assignments take it."""
        return self._ref

    @property
    def op(self) -> Operation:
        return self._ref.op

    @property
    def name(self) -> str:
        return self._ref.name

    @property
    def dtype(self) -> DType:
        return self._ref.dtype

    @property
    def shape(self) -> TensorShape:
        return self._ref.shape

    @property
    def device(self) -> str:
        return ""

    def get_shape(self) -> TensorShape:
        return self._ref.shape

    def set_shape(self, shape: Any) -> None:
        self._snapshot.set_shape(shape)

    @property
    def initial_value(self) -> Tensor:
        return self._initial

    def initialized_value(self) -> Tensor:
        """The value, or the initial value while there is none."""
        from .control import cond

        with lifted():
            return cond(is_variable_initialized(self), self.read_value, lambda: self._initial)  # type: ignore[no-any-return]

    # --- changing -------------------------------------------------------------------------------------------------------

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        made = assign(self, value, name=name)
        return made if read_value else made.op

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        made = assign_add(self, delta, name=name)
        return made if read_value else made.op

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        made = assign_sub(self, delta, name=name)
        return made if read_value else made.op

    def load(self, value: Any, session: Any = None) -> None:
        """Sets the value in the given session, or in the default one."""
        found = session or default_session()
        if found is None:
            raise ValueError("Either session argument should be provided or default session should be established")
        found.load_variables({self.op.name: value})

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<tf.Variable {self.name!r} shape={self.shape} dtype={self.dtype.name}>"


def _assign(type: str, ref: Tensor, value: Any, name: str | None, validate_shape: bool = True) -> Operation:
    attrs = {} if type != "Assign" else {"validate_shape": True}
    full = f"{name}/" if name is not None and "/" in name and not name.endswith("/") else name
    value = convert(value, ref.dtype, "value") if isinstance(value, Tensor) or hasattr(value, "_as_tensor") else value
    del validate_shape  # a variable that may change its shape states none
    return apply(type, full, {"ref": ref, "value": value}, attrs, alike=("ref", "value"))


def _target(ref: Any) -> Tensor:
    found = ref._as_graph_element() if hasattr(ref, "_as_graph_element") else ref
    if not isinstance(found, Tensor):
        raise TypeError(f"assignment needs a Variable, got {type(ref).__name__}")
    at = found.core
    while at.op.type in ("Assign", "AssignAdd", "AssignSub"):
        at = at.op.inputs[0]
    if at.op.type != "VariableV2":
        raise ValueError(f"assignment needs a Variable, got {found!r}")
    return found


def assign(
    ref: Any, value: Any, validate_shape: bool | None = None, use_locking: bool | None = None, name: str | None = None
) -> Tensor:
    """Stores a value in a variable; the result is the variable after it."""
    return one(_assign("Assign", _target(ref), value, name))


def assign_add(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Adds to a variable."""
    return one(_assign("AssignAdd", _target(ref), value, name))


def assign_sub(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Subtracts from a variable."""
    return one(_assign("AssignSub", _target(ref), value, name))


def _scatter(type: str, name: str) -> Callable[..., Tensor]:
    def function(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = name) -> Tensor:
        from .array import expand_dims

        target = _target(ref)
        with get_default_graph().name_scope(name) as scope:
            index = expand_dims(convert(indices), -1)
            values = {"tensor": target, "indices": index, "updates": updates}
            return assign(ref, one(apply(type, None, values, alike=("tensor", "updates"))), name=scope)

    function.__doc__ = f"{type} of rows of a variable, which is assigned the result."
    return function


scatter_update = _scatter("TensorScatterUpdate", "ScatterUpdate")
scatter_add = _scatter("TensorScatterAdd", "ScatterAdd")
scatter_sub = _scatter("TensorScatterSub", "ScatterSub")


# --- lists of variables ---------------------------------------------------------------------------------------------------


def _collection(key: str) -> Callable[..., list[Any]]:
    def function(scope: str | None = None) -> list[Any]:
        return get_default_graph().get_collection(key, scope)

    function.__doc__ = f"The default graph's collection '{key}'."
    return function


global_variables = all_variables = _collection(GraphKeys.GLOBAL_VARIABLES)
local_variables = _collection(GraphKeys.LOCAL_VARIABLES)
model_variables = _collection(GraphKeys.MODEL_VARIABLES)
trainable_variables = _collection(GraphKeys.TRAINABLE_VARIABLES)


def variables_initializer(var_list: Any, name: str = "init") -> Operation:
    """One operation that gives all these variables their first values."""
    from .array import group, no_op

    if not var_list:
        return no_op(name)
    return group(*(v.initializer for v in var_list), name=name)


initialize_variables = variables_initializer


def global_variables_initializer() -> Operation:
    return variables_initializer(global_variables())


initialize_all_variables = global_variables_initializer


def local_variables_initializer() -> Operation:
    return variables_initializer(local_variables(), "init_1") if local_variables() else variables_initializer([])


def is_variable_initialized(ref: Any) -> Tensor:
    """Whether a variable has a value when a run starts."""
    graph = get_default_graph()
    probes: dict[str, Tensor] = graph.stores.setdefault(PROBES, {})
    variable = _target(ref).op.name
    if variable not in probes:
        with lifted():
            attrs = {"dtype": np.dtype(np.bool_), "shape": ()}
            probes[variable] = one(graph.create("Placeholder", (), attrs, "IsVariableInitialized"))
    return identity(probes[variable], "IsVariableInitialized")


def report_uninitialized_variables(var_list: Any = None, name: str = "report_uninitialized_variables") -> Tensor:
    """The names of the variables that have no value, as a vector of strings."""
    from .math import FUNCTIONS
    from .parts import boolean_mask, stack

    found = [*global_variables(), *local_variables()] if var_list is None else list(var_list)
    if not found:
        return convert(np.zeros(0, object), "string", name=name)
    with get_default_graph().name_scope(name), control_dependencies(None):
        missing = FUNCTIONS["logical_not"](stack([is_variable_initialized(v) for v in found]))
        return boolean_mask(convert([v.op.name for v in found]), missing)
