"""Shapes, slices, joins and selections under TensorFlow 1's names."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .building import (
    apply,
    constant,
    convert,
    graph_of,
    is_tensor,
    one,
)
from .dtypes import as_dtype, numpy_dtype
from .graph import Graph, Operation, Tensor, control_dependencies, get_default_graph
from .shapes import TensorShape, sizes_of

__all__ = [
    "broadcast_static_shape", "broadcast_to", "convert_to_tensor", "expand_dims", "eye", "fill",     "group", "identity", "identity_n", "matrix_transpose", "no_op", "one_hot", "ones",
    "ones_like", "placeholder", "placeholder_with_default", "rank", "reshape",     "shape", "size", "squeeze", "stop_gradient", "transpose", "tuple",
    "zeros", "zeros_like",
]  # fmt: skip

convert_to_tensor = convert


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor whose value must be fed."""
    attrs = {"dtype": numpy_dtype(dtype), "shape": sizes_of(shape)}
    return one(get_default_graph().create("Placeholder", (), attrs, name or "Placeholder"))


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that has the value of ``input`` unless it is fed."""
    return one(apply("PlaceholderWithDefault", name, {"input": input}, {"shape": sizes_of(shape)}))


def identity(input: Any, name: str | None = None) -> Tensor:
    """The same value under another name."""
    return one(apply("Identity", name, {"input": input}))


def identity_n(input: Any, name: str | None = None) -> list[Tensor]:
    return [identity(t) for t in input]


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """Identity through which no gradient flows."""
    return one(apply("StopGradient", name, {"input": input}))


def no_op(name: str | None = None) -> Operation:
    return get_default_graph().create("NoOp", (), None, name)


def _as_operation(item: Any) -> Operation:
    item = item._as_graph_element() if hasattr(item, "_as_graph_element") else item
    if not isinstance(item, (Tensor, Operation)):
        raise TypeError(f"Expected tf.group() expected Tensor or Operation objects, got {type(item).__name__}")
    operation: Operation = item.op if isinstance(item, Tensor) else item
    return operation


def group(*inputs: Any, name: str | None = None, **other: Any) -> Operation:
    """One operation that runs all the others; lists among them are taken apart."""
    items: list[Any] = []
    waiting = list(inputs)
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, (list, builtins.tuple)):
            waiting[:0] = item
        elif item is not None:
            items.append(_as_operation(item))
    if not items:
        return no_op(name)
    graph: Graph = items[0].graph
    return graph.create("NoOp", (), None, name or "group_deps", items)


def tuple(tensors: Any, name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """The tensors, each after all of them are computed."""
    with get_default_graph().name_scope(name or "tuple"):
        gate = [_as_operation(t) for t in tensors if t is not None] + [_as_operation(c) for c in control_inputs or ()]
        joined = get_default_graph().create("NoOp", (), None, "group_deps", gate)
        with control_dependencies([joined]):
            return [None if t is None else identity(t, "control_dependency") for t in tensors]


# --- shapes ------------------------------------------------------------------------------------------------------------


def shape(input: Any, name: str | None = None, out_type: Any = "int32") -> Tensor:
    """The sizes of a tensor; a constant where they are known."""
    graph = graph_of(input)
    with graph.as_default(), graph.name_scope(name or "Shape") as scope:
        tensor = convert(input)
        if tensor.shape.is_fully_defined():
            return constant(np.array(tensor.shape.as_list(), numpy_dtype(out_type)), name=scope)
        return one(graph.create("Shape", [tensor], {"out_type": numpy_dtype(out_type)}, scope))


def size(input: Any, name: str | None = None, out_type: Any = "int32") -> Tensor:
    """The number of elements; a constant where it is known."""
    graph = graph_of(input)
    with graph.as_default(), graph.name_scope(name or "Size") as scope:
        tensor = convert(input)
        if tensor.shape.is_fully_defined():
            return constant(np.array(tensor.shape.num_elements(), numpy_dtype(out_type)), name=scope)
        return one(graph.create("Size", [tensor], {"out_type": numpy_dtype(out_type)}, scope))


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of axes; a constant where it is known."""
    graph = graph_of(input)
    with graph.as_default(), graph.name_scope(name or "Rank") as scope:
        tensor = convert(input)
        if tensor.shape.ndims is not None:
            return constant(np.int32(tensor.shape.ndims), name=scope)
        return one(graph.create("Rank", [tensor], None, scope))


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same elements in another shape; one size may be -1."""
    return one(apply("Reshape", name, {"tensor": tensor, "shape": shape}, dtypes={"shape": "int32"}))


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """A new axis of size 1."""
    axis = dim if axis is None else axis
    if axis is None:
        raise ValueError("Must specify an axis argument to tf.expand_dims()")
    return one(apply("ExpandDims", name, {"input": input, "dim": axis}, dtypes={"dim": "int32"}))


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """Without the axes of size 1, or those of them that are given."""
    axis = squeeze_dims if axis is None else axis
    dims = [] if axis is None else [int(a) for a in np.reshape(axis, -1)]
    return one(apply("Squeeze", name, {"input": input}, {"squeeze_dims": builtins.tuple(dims)}))


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """Axes in another order; reversed where none is given."""
    graph = graph_of(a)
    with graph.as_default(), graph.name_scope(name) as scope:
        a = convert(a, name="a")
        if perm is None:
            if a.shape.ndims is None:
                raise ValueError("transpose: perm must be given where the rank is not known while the graph is built")
            perm = np.arange(a.shape.ndims, dtype=np.int32)[::-1].copy()
        order = convert(perm, None if is_tensor(perm) else "int32", name="perm")
        return one(graph.create("Transpose", [a, order], None, scope))


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """The last two axes exchanged."""
    a = convert(a)
    n = a.shape.ndims
    if n is None or n < 2:
        raise ValueError(f"matrix_transpose: a tensor of rank 2 or more of known rank, got {a.shape}")
    return transpose(a, [*builtins.range(n - 2), n - 1, n - 2], name)


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    return one(apply("BroadcastTo", name, {"input": input, "shape": shape}, dtypes={"shape": "int32"}))


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    return TensorShape(np.broadcast_shapes(TensorShape(shape_x).as_list(), TensorShape(shape_y).as_list()))  # type: ignore[arg-type]


# --- filled ------------------------------------------------------------------------------------------------------------


def _filled(what: str, value: int, shape: Any, dtype: Any, name: str | None) -> Tensor:
    wanted = numpy_dtype(dtype)
    filler: Any = (b"" if value == 0 else b"1") if as_dtype(dtype).name == "string" else np.array(value).astype(wanted)
    with get_default_graph().name_scope(name or what) as scope:
        if not is_tensor(shape) and not _has_tensors(shape):
            sizes = TensorShape(shape)
            count = sizes.num_elements()
            if count is None:
                raise ValueError(f"{what}: this shape must be fully known, got {shape}; tf.shape gives sizes in a run")
            if count == 0:
                filler = np.empty(sizes.as_list(), numpy_dtype(dtype))
            if count < 1000:
                return constant(filler, dtype, sizes, scope)
            shape = convert(np.array(sizes.as_list(), np.int32), name="shape_as_tensor")
        else:
            shape = convert(shape, None if is_tensor(shape) else "int32", name="packed")
        return one(get_default_graph().create("Fill", [shape, constant(filler, dtype)], None, scope))


def _has_tensors(value: Any) -> bool:
    return isinstance(value, (list, builtins.tuple)) and any(is_tensor(v) for v in value)


def zeros(shape: Any, dtype: Any = "float32", name: str | None = None) -> Tensor:
    return _filled("zeros", 0, shape, dtype, name)


def ones(shape: Any, dtype: Any = "float32", name: str | None = None) -> Tensor:
    return _filled("ones", 1, shape, dtype, name)


def _like(what: str, make: Any, type: str, tensor: Any, dtype: Any, name: str | None) -> Tensor:
    with get_default_graph().name_scope(name or what) as scope:
        tensor = convert(tensor, name="tensor")
        wanted = tensor.dtype if dtype is None else as_dtype(dtype)
        if tensor.shape.is_fully_defined():
            return make(tensor.shape, wanted, scope)  # type: ignore[no-any-return]
        if wanted != tensor.dtype:
            return make(globals()["shape"](tensor), wanted, scope)  # type: ignore[no-any-return]
        return one(get_default_graph().create(type, [tensor], None, scope))


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Zeros in the shape of a tensor."""
    return _like("zeros_like", zeros, "ZerosLike", tensor, dtype, name)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Ones in the shape of a tensor."""
    return _like("ones_like", ones, "OnesLike", tensor, dtype, name)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    return one(apply("Fill", name, {"dims": dims, "value": value}, dtypes={"dims": "int32"}))


def eye(
    num_rows: int,
    num_columns: int | None = None,
    batch_shape: Any = None,
    dtype: Any = "float32",
    name: str | None = None,
) -> Tensor:
    """The identity matrix."""
    matrix = np.broadcast_to(np.eye(num_rows, num_columns), (*(batch_shape or ()), num_rows, num_columns or num_rows))
    with get_default_graph().name_scope(name or "eye"):
        return constant(matrix, dtype, name="diag")


def one_hot(
    indices: Any, depth: Any, on_value: Any = None, off_value: Any = None, axis: int | None = None, dtype: Any = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """``on_value`` (1) at the indices along a new axis (the last), else ``off_value`` (0)."""
    wanted = dtype
    for given in (on_value, off_value):
        if wanted is None and given is not None:
            wanted = given.dtype if is_tensor(given) else convert(given).dtype
    wanted = as_dtype("float32" if wanted is None else wanted)
    values = {
        "indices": indices, "depth": depth, "on_value": 1 if on_value is None else on_value,
        "off_value": 0 if off_value is None else off_value,
    }  # fmt: skip
    dtypes = {"depth": "int32", "on_value": wanted, "off_value": wanted}
    return one(apply("OneHot", name, values, {"axis": -1 if axis is None else axis}, dtypes=dtypes, default="one_hot"))
