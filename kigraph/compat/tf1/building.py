"""What the functions of ops are built with: values become tensors under TensorFlow's names, operations are added.

An operation opens a name scope of its own name, in which constants are made of its arguments ('Mul/y'), and then takes
the scope's name, as TensorFlow does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...graph.errors import GraphError
from ...graph.ir import Literal
from ...graph.values import as_array
from ...kernels.tensor import STRING
from .dtypes import as_dtype, numpy_dtype
from .graph import Graph, Operation, Tensor, get_default_graph
from .shapes import Dimension, TensorShape, sizes_of

__all__ = [
    "apply",
    "as_int_list",
    "constant",
    "convert",
    "convert_all",
    "graph_of",
    "is_tensor",
    "one",
    "several",
    "static_value",
    "via",
]


def is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def _array(value: Any, dtype: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
    if isinstance(value, TensorShape):
        value = np.array(value.as_list(), np.int32)
        if None in value.tolist():
            raise ValueError("Cannot convert a partially known TensorShape to a Tensor")
    if isinstance(value, Dimension):
        value = np.int32(int(value))
    value = _plain(value)
    if isinstance(value, np.ndarray) and dtype is not None and dtype != STRING and value.dtype.kind in "biufc":
        value = value.astype(dtype)  # TensorFlow casts arrays, but not Python's numbers
    try:
        return as_array(value, dtype, "the value")
    except GraphError as error:
        kind = TypeError if "must be" in str(error) or "objects" in str(error) else ValueError
        raise kind(str(error)) from error


def _plain(value: Any) -> Any:
    """Sizes of axes in lists as numbers."""
    if isinstance(value, (list, tuple)):
        return [int(v) if isinstance(v, Dimension) else _plain(v) for v in value]
    return value


def constant(
    value: Any, dtype: Any = None, shape: Any = None, name: str = "Const", verify_shape: bool = False
) -> Tensor:
    """A tensor with a fixed value. A value of fewer elements than ``shape`` has is continued with its last element."""
    array = _array(value, None if dtype is None else numpy_dtype(dtype))
    sizes = sizes_of(shape)
    if sizes is not None:
        if None in sizes:
            raise ValueError(f"the shape of a constant must be fully known, got {shape}")
        dims = tuple(int(d) for d in sizes if d is not None)
        count = int(np.prod(dims, dtype=np.int64))
        if verify_shape and array.shape != dims:
            raise TypeError(f"Expected Tensor's shape: {dims}, got {array.shape}.")
        if array.size > count:
            raise ValueError(f"Too many elements provided. Needed at most {count}, but received {array.size}")
        flat = array.reshape(-1)
        if array.size < count:
            if not array.size:
                raise ValueError(f"a constant of shape {dims} cannot be made of no elements")
            flat = np.concatenate([flat, np.repeat(flat[-1:], count - array.size)])
        array = flat.reshape(dims)
    literal = Literal.of(np.array(array))
    graph = get_default_graph()
    return graph.create("Const", (), {"value": literal, "dtype": literal.dtype}, name or "Const").outputs[0]


def convert(
    value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None, dtype_hint: Any = None
) -> Tensor:
    """The tensor of a value: a Tensor as it is, a Variable's value, a list with tensors packed, else a constant.

    A tensor of another dtype is a ValueError: casts are never silent.
    """
    if hasattr(value, "_as_tensor"):
        value = value._as_tensor()
    if isinstance(value, Tensor):
        if dtype is not None and value.dtype != as_dtype(dtype):
            raise ValueError(
                f"Tensor conversion requested dtype {as_dtype(dtype).name} for Tensor with dtype {value.dtype.name}: {value!r}"
            )
        return value
    if isinstance(value, Operation):
        raise TypeError(f"Can't convert Operation '{value.name}' to Tensor")
    if _holds_tensors(value):
        return _packed(value, dtype, name)
    if value is None:
        raise ValueError("None values not supported.")
    return constant(value, dtype, name=name or "Const")


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(is_tensor(v) or _holds_tensors(v) for v in value)


def _first_dtype(value: Any) -> Any:
    for item in value:
        if is_tensor(item):
            return item.dtype
        if isinstance(item, (list, tuple)) and (found := _first_dtype(item)) is not None:
            return found
    return None


def _packed(value: Any, dtype: Any, name: str | None) -> Tensor:
    """A list with tensors in it as one tensor."""
    common = dtype if dtype is not None else _first_dtype(value)
    graph = get_default_graph()
    with graph.name_scope(name or "packed") as scope:
        parts = [
            _packed(v, common, str(i)) if _holds_tensors(v) else convert(v, common, str(i)) for i, v in enumerate(value)
        ]
        return graph.create("Pack", parts, {"axis": 0}, scope).outputs[0]


def convert_all(values: Sequence[Any], names: Sequence[str], dtype: Any = None) -> list[Tensor]:
    """Values of one dtype: the given one, else that of the first tensor, else of the first value."""
    common = dtype
    if common is None:
        common = next((v.dtype for v in values if is_tensor(v)), None)
    made: list[Tensor] = []
    for value, name in zip(values, names, strict=True):
        if common is not None and is_tensor(value) and value.dtype != as_dtype(common):
            raise TypeError(
                f"Input '{name}' has type {value.dtype.name} that does not match type {as_dtype(common).name} of the other "
                "inputs; use tf.cast"
            )
        made.append(convert(value, common, name))
        common = common or made[0].dtype
    return made


def apply(
    type: str,
    name: str | None,
    values: Mapping[str, Any],
    attrs: Mapping[str, Any] | None = None,
    alike: Sequence[str] = (),
    dtypes: Mapping[str, Any] | None = None,
    default: str | None = None,
) -> Operation:
    """Adds an operation of arguments by name.

    alike: arguments of one element type. dtypes: element types that constants of arguments get. A list is several inputs.
    default: the name if none is given, else that of the op.
    """
    graph = graph_of(*values.values())
    wanted = dict(dtypes or {})
    with graph.as_default(), graph.name_scope(name or default or type) as scope:
        same = dict(zip(alike, convert_all([values[a] for a in alike], alike), strict=True)) if alike else {}
        inputs: list[Tensor] = []
        for key, value in values.items():
            if key in same:
                inputs.append(same[key])
            elif isinstance(value, _Several):
                inputs.extend(value.tensors(key))
            else:
                inputs.append(_argument(value, wanted.get(key), key))
        return graph.create(type, inputs, attrs, scope)


def _argument(value: Any, dtype: Any, name: str) -> Tensor:
    """Sizes and axes: what is no tensor becomes a constant of the given type."""
    return convert(value, None if is_tensor(value) else dtype, name)


class _Several:
    """A list of tensors that are inputs one by one."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = list(values)

    def tensors(self, name: str) -> list[Tensor]:
        return convert_all(self.values, [f"{name}_{i}" for i in range(len(self.values))])


def several(values: Sequence[Any]) -> Any:
    """A list of tensors that are inputs one by one, for ``apply``."""
    return _Several(values)


def one(operation: Operation) -> Tensor:
    """The first output."""
    return operation.outputs[0]


def static_value(value: Any) -> np.ndarray[Any, Any] | None:
    """The value of a tensor if it is known while the graph is built, or of anything that is no tensor."""
    if value is None:
        return None
    if not is_tensor(value):
        return np.asarray(value)
    from ...graph.builder import value_of

    tensor = convert(value)
    return None if tensor.graph.core is not get_default_graph().core else value_of(tensor.core)


def as_int_list(value: Any, what: str) -> list[int]:
    """Whole numbers that must be known while the graph is built."""
    found = static_value(value)
    if found is None:
        raise ValueError(f"{what} must be known while the graph is built, got {value}")
    return [int(v) for v in np.asarray(found).reshape(-1)]


def graph_of(*values: Any) -> Graph:
    """The graph of the first tensor among the values, else the default graph."""
    default = get_default_graph()
    if default.captures:
        return default
    return next((v.graph for v in values if isinstance(v, Tensor)), default)


def via(
    function: Callable[..., Any], *values: Any, name: str | None = None, default: str | None = None, **more: Any
) -> Any:
    """What one of kigraph's op functions makes of tensors and values, under a name."""
    graph = graph_of(*values)
    with graph.as_default(), graph.name_scope(name or default or function.__name__) as scope:
        given = [_reached(graph, v) for v in values]
        try:
            made = function(*given, name=scope, **{k: _reached(graph, v) for k, v in more.items()})
        except (ValueError, TypeError):
            raise
        except GraphError as error:
            raise ValueError(str(error)) from error
    return _wrapped(graph, made)


def _reached(graph: Graph, value: Any) -> Any:
    if is_tensor(value):
        return graph.reach(convert(value))
    if isinstance(value, (list, tuple)):
        return [_reached(graph, v) for v in value]
    return list(sizes_of(value) or ()) if isinstance(value, TensorShape) else value


def _wrapped(graph: Graph, made: Any) -> Any:
    if isinstance(made, (list, tuple)):
        parts = [_wrapped(graph, m) for m in made]
        return type(made)(*parts) if hasattr(made, "_fields") else type(made)(parts)
    return graph.wrap(made)
