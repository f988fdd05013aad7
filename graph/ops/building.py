"""What the op functions are built with: values become tensors, lists of sizes become attributes, ops are added."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ...kernels.contracts.base import MOST_AXES, require_size, shape_text
from ...kernels.room import require
from ...kernels.tensor import TensorType, dtype_name, is_int
from ..builder import Graph, Tensor, get_default_graph
from ..errors import GraphError
from ..ir import Literal
from ..values import as_array, as_dtype, as_shape

__all__ = ["TensorLike", "add_op", "constant", "convert", "convert_all", "integers", "require_room", "whole_numbers"]

#: A tensor, or a Python or NumPy value that becomes a constant.
TensorLike: TypeAlias = Any


def convert(value: TensorLike, dtype: Any = None, name: str | None = None, beside: Tensor | None = None) -> Tensor:
    """The tensor itself, or a new constant; a tensor of another dtype is an error (casts are never silent).

    beside: the constant goes into the graph of this tensor (default: the default graph).
    """
    if isinstance(value, Tensor):
        if dtype is not None and value.dtype != dtype:
            raise GraphError(f"{value!r} must be {dtype_name(dtype)}; use ki.cast")
        return value
    if beside is None:
        return constant(value, dtype, name=name)
    with beside.graph.as_default():
        return constant(value, dtype, name=name)


def convert_all(values: Sequence[TensorLike], dtype: Any = None) -> list[Tensor]:
    """Converts several values to one dtype, and into one graph: those of the first tensor among them.

    Without a tensor Python numbers take the widest kind among them (int, float, complex).
    """
    if not isinstance(values, (list, tuple)):
        try:
            values = list(values)
        except Exception as error:  # an iterator of the caller's may raise anything
            raise GraphError(f"expected a list of tensors or values, got {type(values).__name__}: {error}") from error
    first = next((v for v in values if isinstance(v, Tensor)), None)
    common = dtype if dtype is not None else None if first is None else first.dtype
    if common is None and values and all(type(v) in (int, float, complex) for v in values):
        common = as_array(list(values)).dtype
    return [v if isinstance(v, Tensor) else convert(v, common, beside=first) for v in values]


def integers(value: TensorLike, name: str, beside: Tensor | None = None) -> Tensor:
    """A tensor as it is; lists with scalar tensors in them packed; anything else as an int32 constant, int64 if need be."""
    if isinstance(value, Tensor):
        return value
    if not _holds_tensors(value):
        whole = as_array(value, None, name)
        wide = is_int(whole.dtype) and whole.size and (whole.min() < -(2**31) or whole.max() >= 2**31)
        return convert(value, "int64" if wide else "int32", name, beside)
    parts = [integers(v, name, beside) if _holds_tensors(v) or isinstance(v, (list, tuple)) else v for v in value]
    tensors = [p for p in parts if isinstance(p, Tensor)]
    if any(t.dtype != tensors[0].dtype for t in tensors):
        wide = np.dtype(np.int64)
        parts = [add_op("Cast", [p], None, SrcT=p.dtype, DstT=wide) if isinstance(p, Tensor) else p for p in parts]
    return add_op("Pack", convert_all(parts), name, axis=0)


def whole_numbers(what: str, value: Any, count: int | None = None) -> tuple[int, ...]:
    """A whole number, or several, for an attribute; GraphError for anything else. ``what`` names the argument."""
    found: tuple[int, ...] | None = None
    try:
        found = (operator.index(value),)
    except TypeError:
        if not isinstance(value, (str, bytes, dict)):
            with contextlib.suppress(TypeError):
                found = tuple(operator.index(v) for v in value)
    if found is None or (count is not None and len(found) != count):
        raise GraphError(f"{what} must be a whole number{' or a list of such' if count is None else ''}, got {value!r}")
    return found


def _holds_tensors(value: Any, depth: int = MOST_AXES) -> bool:
    """Whether a tensor is among nested lists, which are no deeper than an array can have axes."""
    if isinstance(value, (list, tuple)):
        if depth == 0:
            raise GraphError(f"lists are nested more than {MOST_AXES} deep, which no array can be")
        return any(_holds_tensors(v, depth - 1) for v in value)
    return isinstance(value, Tensor)


def _graph_of(inputs: Sequence[Tensor]) -> Graph:
    return inputs[0].graph if inputs else get_default_graph()


def add_op(type: str, inputs: Sequence[Tensor], name: str | None, **attrs: Any) -> Tensor:
    """Adds an op to the graph of its inputs (the default graph if it has none); its first output."""
    operation = _graph_of(inputs).create_op(type, inputs, attrs, name)
    return operation.outputs[0]


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor with a fixed value.

    value: number, str, bytes, (nested) list, or NumPy array. Python ints become int32, floats float32, bools bool,
    complex complex64, str and bytes string; NumPy arrays keep their dtype; ``dtype`` overrides.
    shape: the value is reshaped to it; a single element is repeated.
    Raises GraphError if the value does not fit.
    """
    array = as_array(value, None if dtype is None else as_dtype(dtype), "the constant")
    if shape is not None:
        sizes = as_shape(shape)
        if sizes is None or None in sizes:
            raise GraphError(f"the shape of a constant must be fully known, got {shape!r}")
        dims = tuple(int(d) for d in sizes if d is not None)
        require_room("the constant", TensorType(array.dtype, dims))
        if array.size == 1:
            array = np.full(dims, array.reshape(()), array.dtype)
        elif array.size != math.prod(dims):
            raise GraphError(f"a constant of {array.size} elements does not fit into shape {shape_text(dims)}")
        array = array.reshape(dims)
    if not isinstance(value, (bool, int, float, complex, str, bytes, list, tuple)):
        array = array.copy()  # it may share memory with the value, also through the buffer protocol
    literal = Literal.of(array)
    return add_op("Const", (), name, value=literal, dtype=literal.dtype)


def require_room(op: str, type: TensorType) -> None:
    """Raises ShapeError for what no array can hold, OutOfMemoryError for what this machine cannot."""
    require_size(op, [type])
    require(type.nbytes, f"{op}: {type} needs", "compute it in the graph (fill, tile), in smaller pieces")
