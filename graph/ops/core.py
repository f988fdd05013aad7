"""Structural ops: constants, placeholders, variables, identity, grouping."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.contracts.base import merge_shapes
from ...kernels.tensor import DType, TensorType
from ..builder import Operation, Tensor, get_default_graph
from ..errors import GraphError
from ..ir import Literal
from ..values import as_array, as_dtype, as_shape
from .building import TensorLike, add_op, constant, convert, require_room

__all__ = [
    "assign", "assign_add", "assign_sub", "constant", "group", "identity", "no_op", "ones", "placeholder",
    "placeholder_with_default", "stop_gradient", "variable", "zeros",
]  # fmt: skip


def zeros(shape: Any, dtype: Any = "float32", name: str | None = None) -> Tensor:
    """A constant of zeros."""
    return constant(np.zeros(*_dims("zeros", shape, dtype)), name=name or "zeros")


def ones(shape: Any, dtype: Any = "float32", name: str | None = None) -> Tensor:
    """A constant of ones."""
    return constant(np.ones(*_dims("ones", shape, dtype)), name=name or "ones")


def _dims(op: str, shape: Any, dtype: Any) -> tuple[tuple[int, ...], DType]:
    sizes, element = as_shape(shape), as_dtype(dtype)
    if sizes is None or None in sizes:
        raise GraphError(f"{op}: this shape must be fully known, got {shape!r}")
    dims = tuple(d for d in sizes if d is not None)
    require_room(op, TensorType(element, dims))
    return dims, element


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor whose value must be fed. shape: None (anything), or a list in which None marks unknown sizes."""
    return add_op("Placeholder", (), name, dtype=as_dtype(dtype), shape=as_shape(shape))


def placeholder_with_default(input: TensorLike, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that has the value of ``input`` unless it is fed. shape: as in placeholder; ``input`` must fit it."""
    return add_op("PlaceholderWithDefault", [convert(input)], name, shape=as_shape(shape))


def variable(initial_value: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """A tensor whose value a session keeps between runs; a new session starts with ``initial_value``, nothing to run.

    A read sees the assignments that must run before it (by control dependencies, or because it reads their result), else
    the value from the run's start; what assign ops of the run computed is stored when the run has succeeded.
    """
    literal = Literal.of(
        np.array(as_array(initial_value, None if dtype is None else as_dtype(dtype), "the initial value"))
    )
    return add_op("VariableV2", (), name or "Variable", dtype=literal.dtype, shape=literal.shape, initial_value=literal)


def _assign(type: str, variable: Tensor, value: TensorLike, name: str | None) -> Tensor:
    if not isinstance(variable, Tensor) or variable.op.type != "VariableV2":
        raise GraphError(f"{type}: the target must be a variable, got {variable!r}")
    new = convert(value, variable.dtype)
    merge_shapes(f"{type} to {variable.name}", variable.shape, new.shape)
    return add_op(type, [variable, new], name)


def assign(ref: Tensor, value: TensorLike, name: str | None = None) -> Tensor:
    """Stores ``value`` (same dtype and shape) in a variable when the run has succeeded; the result is the new value."""
    return _assign("Assign", ref, value, name)


def assign_add(ref: Tensor, value: TensorLike, name: str | None = None) -> Tensor:
    """Adds to a variable: stores its value, as a read in its place sees it, plus ``value``."""
    return _assign("AssignAdd", ref, value, name)


def assign_sub(ref: Tensor, value: TensorLike, name: str | None = None) -> Tensor:
    """Subtracts from a variable."""
    return _assign("AssignSub", ref, value, name)


def identity(input: TensorLike, name: str | None = None) -> Tensor:
    """The same value under another name; no kernel runs."""
    return add_op("Identity", [convert(input)], name)


def stop_gradient(input: TensorLike, name: str | None = None) -> Tensor:
    """Identity through which no gradient flows."""
    return add_op("StopGradient", [convert(input)], name)


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing (useful with control dependencies)."""
    return get_default_graph().create_op("NoOp", (), None, name)


def group(*inputs: Operation | Tensor, name: str | None = None) -> Operation:
    """One operation that runs all the others."""
    if not inputs:
        return no_op(name)
    graph = inputs[0].graph
    return graph.create_op("NoOp", (), None, name or "group_deps", control_inputs=inputs)
