"""variable_scope and get_variable: variables by name, made once and shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .building import convert, is_tensor
from .dtypes import as_dtype
from .graph import Graph, GraphKeys, get_default_graph
from .initializers import Zeros, glorot_uniform_initializer
from .shapes import TensorShape
from .variables import Variable

__all__ = [
    "AUTO_REUSE",
    "VariableScope",
    "get_local_variable",
    "get_variable",
    "get_variable_scope",
    "slot_name",
    "variable_scope",
]


class _AutoReuse:
    """Made where it is missing, else shared."""

    def __repr__(self) -> str:
        return "<_ReuseMode.AUTO_REUSE: 1>"


AUTO_REUSE = _AutoReuse()


class VariableScope:
    """A prefix of variables' names with what get_variable takes where it is not given."""

    def __init__(
        self, reuse: Any, name: str = "", initializer: Any = None, regularizer: Any = None, dtype: Any = "float32",
        original_name_scope: str = "",
    ) -> None:  # fmt: skip
        self.reuse, self.name, self.initializer, self.regularizer = reuse, name, initializer, regularizer
        self.dtype, self.original_name_scope = as_dtype(dtype), original_name_scope

    def reuse_variables(self) -> None:
        """From now on variables are shared, not made."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        self.regularizer = regularizer

    def global_variables(self) -> list[Any]:
        return self._collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[Any]:
        return self._collection(GraphKeys.TRAINABLE_VARIABLES)

    def _collection(self, key: str) -> list[Any]:
        return get_default_graph().get_collection(key, f"{self.name}/" if self.name else None)


class _Store:
    """The scopes and variables of one graph."""

    def __init__(self) -> None:
        self.scope = VariableScope(False)
        self.variables: dict[str, Variable] = {}
        self.counts: dict[str, int] = {}

    @classmethod
    def of(cls, graph: Graph) -> _Store:
        found: _Store = graph.stores.setdefault("variable_scopes", None) or cls()
        graph.stores["variable_scopes"] = found
        return found

    def unique(self, prefix: str) -> str:
        """A name of a scope that is not in use in the present one."""
        base = f"{self.scope.name}/{prefix}" if self.scope.name else prefix
        if not self.counts.get(base):
            return prefix
        number = 1
        while self.counts.get(f"{base}_{number}"):
            number += 1
        return f"{prefix}_{number}"

    def close(self, name: str) -> None:
        """Numbers of names inside of a scope begin anew when it is entered again."""
        for key in self.counts:
            if not name or key.startswith(f"{name}/"):
                self.counts[key] = 0


def get_variable_scope() -> VariableScope:
    """The innermost variable scope."""
    return _Store.of(get_default_graph()).scope


def slot_name(variable: Variable, kind: str) -> str:
    """The name of a variable that is kept for another one: as in TensorFlow it is below the present variable scope."""
    outer = get_variable_scope().name
    return f"{outer}/{variable.op.name}/{kind}" if outer else f"{variable.op.name}/{kind}"


@contextmanager
def variable_scope(
    name_or_scope: Any, default_name: str | None = None, values: Any = None, initializer: Any = None, regularizer: Any = None,
    caching_device: Any = None, partitioner: Any = None, custom_getter: Any = None, reuse: Any = None, dtype: Any = None,
    use_resource: Any = None, constraint: Any = None, auxiliary_name_scope: bool = True,
) -> Iterator[VariableScope]:  # fmt: skip
    """Variables made by get_variable inside have the scope's name as a prefix, and so have operations.

    reuse: True: they must exist; AUTO_REUSE: those that do are shared; None: as outside.
    """
    _check_scope(
        name_or_scope, default_name, reuse, custom_getter=custom_getter, partitioner=partitioner, constraint=constraint
    )
    graph = get_default_graph()
    store = _Store.of(graph)
    outer, counts = store.scope, dict(store.counts)
    given = name_or_scope if isinstance(name_or_scope, VariableScope) else None
    if given is not None:
        base, full, part = given, given.name, given.name.split("/")[-1]
    else:
        part = name_or_scope if name_or_scope is not None else store.unique(str(default_name))
        base, full = outer, f"{outer.name}/{part}" if outer.name else part
    label = part if name_or_scope is not None else default_name
    with graph.name_scope(label if label and auxiliary_name_scope else _here(graph)) as scope:
        store.scope = VariableScope(
            reuse or base.reuse or outer.reuse,
            full,
            base.initializer if initializer is None else initializer,
            base.regularizer if regularizer is None else regularizer,
            base.dtype if dtype is None else dtype,
            given.original_name_scope if given is not None else scope,
        )
        if given is None:
            store.counts[full] = store.counts.get(full, 0) + 1
        try:
            yield store.scope
        finally:
            store.close(full)
            if given is not None:
                store.counts = counts
            store.scope = outer


def _check_scope(name_or_scope: Any, default_name: str | None, reuse: Any, **refused: Any) -> None:
    for what, value in refused.items():
        if value is not None:
            raise ValueError(f"variable_scope: {what} is not supported by kigraph.compat.v1")
    if name_or_scope is None and default_name is None:
        raise TypeError("If default_name is None then name_or_scope is required")
    if reuse not in (None, True, False) and reuse is not AUTO_REUSE:
        raise ValueError("The reuse parameter must be True or False or None.")
    if name_or_scope is None and reuse:
        raise ValueError("reuse=True cannot be used without a name_or_scope")


def _here(graph: Graph) -> str | None:
    """The present name scope, to be entered again."""
    name = graph.core._scope
    return f"{name}/" if name else None


def get_variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None, trainable: bool | None = None,
    collections: Any = None, caching_device: Any = None, partitioner: Any = None, validate_shape: bool = True,
    use_resource: Any = None, custom_getter: Any = None, constraint: Any = None, synchronization: Any = None,
    aggregation: Any = None,
) -> Variable:  # fmt: skip
    """The variable of that name in the present variable scope: made, or shared, as the scope's ``reuse`` says."""
    if partitioner is not None or custom_getter is not None:
        raise ValueError("get_variable: partitioner and custom_getter are not supported by kigraph.compat.v1")
    graph = get_default_graph()
    store = _Store.of(graph)
    scope = store.scope
    full = f"{scope.name}/{name}" if scope.name else name
    known = store.variables.get(full)
    if known is not None:
        return _shared(known, full, scope, shape, dtype)
    if scope.reuse is True:
        raise ValueError(
            f"Variable {full} does not exist, or was not created with tf.get_variable(). Did you mean to set "
            "reuse=tf.AUTO_REUSE in VarScope?"
        )
    initializer = scope.initializer if initializer is None else initializer
    regularizer = scope.regularizer if regularizer is None else regularizer
    wanted = as_dtype(dtype if dtype is not None else scope.dtype)
    made = _make(graph, full, shape, wanted, initializer, trainable, collections, validate_shape, constraint)
    store.variables[full] = made
    if regularizer is not None:
        with graph.name_scope(f"{full}/Regularizer/"):
            loss = regularizer(made)
        if loss is not None:
            graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return made


def _shared(known: Variable, full: str, scope: VariableScope, shape: Any, dtype: Any) -> Variable:
    if scope.reuse is False or scope.reuse is None:
        raise ValueError(
            f"Variable {full} already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope?"
        )
    if shape is not None and not known.shape.is_compatible_with(shape):
        raise ValueError(
            f"Trying to share variable {full}, but specified shape {TensorShape(shape)} and found shape {known.shape}."
        )
    if dtype is not None and known.dtype != as_dtype(dtype):
        raise ValueError(
            f"Trying to share variable {full}, but specified dtype {as_dtype(dtype).name} and found dtype {known.dtype.name}."
        )
    return known


def _make(
    graph: Graph, full: str, shape: Any, dtype: Any, initializer: Any, trainable: Any, collections: Any, validate: bool,
    constraint: Any,
) -> Variable:  # fmt: skip
    sizes = TensorShape(shape)
    if initializer is None:
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
            raise ValueError(f"An initializer for variable {full} of {dtype} is required")
        initializer = glorot_uniform_initializer() if dtype.is_floating else Zeros()
    if isinstance(initializer, type):
        initializer = initializer()
    if callable(initializer) and not is_tensor(initializer):
        if not sizes.is_fully_defined():
            raise ValueError(f"Shape of a new variable ({full}) must be fully defined, but instead was {sizes}.")
        function = initializer

        def first() -> Any:
            return function(sizes.as_list(), dtype=dtype)
    else:
        value = initializer if is_tensor(initializer) else convert_value(initializer, dtype)
        if shape is not None:
            raise ValueError("If initializer is a constant, do not specify shape.")

        def first() -> Any:
            return convert(value, None if is_tensor(value) else dtype, name="Const")

    with graph.name_scope(None):
        return Variable(
            first, trainable, collections, validate, name=full, dtype=dtype if not is_tensor(initializer) else None,
            constraint=constraint,
        )  # fmt: skip


def convert_value(value: Any, dtype: Any) -> Any:
    """A constant initializer keeps the element type of an array."""
    return value if not hasattr(value, "dtype") else value.astype(dtype.as_numpy_dtype)


def get_local_variable(name: str, *args: Any, **kwargs: Any) -> Variable:
    """get_variable, in the collection of local variables and not trained."""
    kwargs.update(trainable=False, collections=[GraphKeys.LOCAL_VARIABLES, *(kwargs.get("collections") or ())])
    return get_variable(name, *args, **kwargs)
