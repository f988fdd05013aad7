"""TensorArrays and TensorLists in a run. A list is an array of objects: what it is made for (Meta), then its elements.

An element that was never written is None. Writing makes a new list that shares the other elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...kernels.contracts.base import merge_shapes
from ...kernels.records import dataclass
from ...kernels.room import require
from ...kernels.tensor import DType, Shape
from ..errors import GraphError
from ..ir import LIST, Node

__all__ = ["lists"]

Value = np.ndarray[Any, Any]
Op = Callable[[Node, Sequence[Value]], tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Meta:
    """Element type, as much of the elements' shape as was stated, and whether writing behind the end makes it longer."""

    dtype: DType
    shape: Shape
    grows: bool = False


def _made(meta: Meta, elements: Sequence[Value | None]) -> Value:
    result = np.empty(len(elements) + 1, LIST)
    items = result["item"]
    items[0] = meta
    for i, element in enumerate(elements):
        items[i + 1] = element
    return result


def _empty(meta: Meta, count: int) -> Value:
    """A list without a written element, made without a loop over ``count``, which a file states."""
    result = np.empty(count + 1, LIST)  # NumPy fills objects with None
    result["item"][0] = meta
    return result


def _longer(node: Node, value: Value, count: int) -> Value:
    require(8 * count, f"{node}: a list of {count} elements needs")
    result = _empty(_meta(value), count)
    result[: len(value)] = value
    return result


def _meta(value: Value) -> Meta:
    meta: Meta = value["item"][0]
    return meta


def _sized(node: Node, meta: Meta, size: Value) -> Value:
    count = int(size.reshape(()))
    if count < 0:
        raise GraphError(f"{node}: a list of {count} elements, expected 0 or more")
    require(8 * count, f"{node} of {count} elements needs")
    return _empty(meta, count)


def _stated(node: Node, value: Value) -> Shape:
    """A shape as an input says it: a scalar -1 is unknown, -1 inside an unknown size."""
    sizes = [int(v) for v in value.reshape(-1)]
    if value.ndim == 0:
        if sizes != [-1]:
            raise GraphError(f"{node}: an element shape of {sizes[0]}, expected a vector, or -1 for unknown")
        return None
    if any(d < -1 for d in sizes):
        raise GraphError(f"{node}: an element shape of {sizes}, expected sizes, or -1 for unknown ones")
    return tuple(None if d == -1 else d for d in sizes)


def _at(node: Node, value: Value, index: int) -> int:
    if not 0 <= index < len(value) - 1:
        raise GraphError(f"{node}: index {index} of a list of {len(value) - 1} elements")
    return index + 1


def _written(node: Node, value: Value, index: int, element: Value, grows: bool) -> Value:
    value = _longer(node, value, index + 1) if grows and index >= len(value) - 1 else value.copy()
    _fits(node, _meta(value), element)
    value["item"][_at(node, value, index)] = element
    return value


def _fits(node: Node, meta: Meta, element: Value) -> None:
    if element.dtype != meta.dtype:
        raise GraphError(f"{node}: an element of {element.dtype} in a list of {meta.dtype}")
    merge_shapes(f"{node}: an element", meta.shape, element.shape)


def _read(node: Node, value: Value, index: int, shape: Shape) -> Value:
    """An element; one that was not written is zeros, if its shape is known."""
    meta, found = _meta(value), value["item"][_at(node, value, index)]
    if found is not None:
        merge_shapes(f"{node}: element {index}", shape, found.shape)
        element: Value = found
        return element
    known = merge_shapes(f"{node}: element {index}", meta.shape, shape)
    if known is None or None in known:
        raise GraphError(f"{node}: element {index} was not written, and its shape is not known")
    dims = tuple(d for d in known if d is not None)
    require(int(np.prod([1, *dims], dtype=object)) * meta.dtype.itemsize, f"{node}: an element of shape {dims} needs")
    return np.full(dims, b"", object) if meta.dtype == object else np.zeros(dims, meta.dtype)


def _stack(node: Node, value: Value, indices: Sequence[int], shape: Shape) -> Value:
    meta = _meta(value)
    known = merge_shapes(f"{node}: the elements", meta.shape, shape)
    for i in indices:  # one that was written says what those are that were not
        found = value["item"][_at(node, value, i)]
        if found is not None:
            known = merge_shapes(f"{node}: element {i}", known, found.shape)
            break
    if not indices:
        if known is None or None in known:
            raise GraphError(f"{node}: no elements to stack, and their shape is not known")
        return np.empty((0, *(d for d in known if d is not None)), meta.dtype)
    elements = [_read(node, value, i, known) for i in indices]
    require(sum(e.nbytes for e in elements), f"{node} of {len(elements)} elements needs")
    return np.stack(elements)


def _numbers(value: Value) -> list[int]:
    return [int(v) for v in value.reshape(-1)]


def _scatter(node: Node, value: Value, indices: Value, tensor: Value, grows: bool) -> Value:
    numbers = _numbers(indices)
    if tensor.ndim < 1 or len(tensor) != len(numbers):
        raise GraphError(f"{node}: {len(numbers)} indices for a tensor of shape {tensor.shape}")
    result = value
    most = max(numbers, default=-1) + 1
    result = _longer(node, value, most) if grows and most > len(value) - 1 else value.copy()
    for i, element in zip(numbers, tensor, strict=True):
        element = np.asarray(element, tensor.dtype)
        _fits(node, _meta(value), element)
        result["item"][_at(node, result, i)] = element
    return result


def _concat(node: Node, value: Value) -> tuple[Value, ...]:
    elements = [_read(node, value, i, None) for i in range(len(value) - 1)]
    if any(e.ndim < 1 for e in elements) or not elements:
        raise GraphError(f"{node}: {len(elements)} elements to join, expected at least one, with at least one axis")
    if len({e.shape[1:] for e in elements}) > 1:
        raise GraphError(f"{node}: elements of different shapes behind axis 0")
    return np.concatenate(elements), np.array([len(e) for e in elements], np.int64)


def _split(node: Node, tensor: Value, lengths: Value) -> list[Value]:
    sizes = _numbers(lengths)
    if tensor.ndim < 1 or any(n < 0 for n in sizes) or sum(sizes) != len(tensor):
        raise GraphError(f"{node}: lengths {sizes[:8]} for a tensor of shape {tensor.shape}")
    ends = np.cumsum(sizes)
    return [tensor[end - n : end] for n, end in zip(sizes, ends, strict=True)]


def _array_meta(node: Node) -> Meta:
    shape = node.attrs.get("element_shape")
    return Meta(node.attrs["dtype"], None if shape is None else tuple(shape), bool(node.attrs.get("dynamic_size")))


def _list_meta(node: Node, shape: Value) -> Meta:
    return Meta(node.attrs["element_dtype"], _stated(node, shape))


def _new_array(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    made = _sized(node, _array_meta(node), x[0])
    return made, made


def _from_tensor(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    meta = _list_meta(node, x[1])
    if x[0].ndim < 1:
        raise GraphError(f"{node}: a list of the elements of a scalar")
    elements = [np.asarray(e, x[0].dtype) for e in x[0]]
    if elements:
        _fits(node, meta, elements[0])
    return (_made(Meta(meta.dtype, merge_shapes(f"{node}", meta.shape, x[0].shape[1:])), elements),)


def _list_scatter(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    meta, numbers = _list_meta(node, x[2]), _numbers(x[1])
    count = int(x[3].reshape(())) if len(x) > 3 else -1
    count = max(numbers, default=-1) + 1 if count < 0 else count
    return (_scatter(node, _sized(node, meta, np.array(count)), x[1], x[0], False),)


def _stack_all(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    wanted, count = int(node.attrs.get("num_elements", -1)), len(x[0]) - 1
    if wanted not in (-1, count):
        raise GraphError(f"{node}: a list of {count} elements, expected {wanted}")
    return (_stack(node, x[0], range(count), _stated(node, x[1])),)


def _pop(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    last = len(x[0]) - 2
    return x[0][: last + 1].copy() if last >= 0 else x[0], _read(node, x[0], last, _stated(node, x[1]))


def _resize(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    made = _sized(node, _meta(x[0]), x[1])
    keep = min(len(made), len(x[0]))
    made["item"][1:keep] = x[0]["item"][1:keep]
    return (made,)


def _set_item(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    grows = bool(node.attrs.get("resize_if_index_out_of_bounds"))
    return (_written(node, x[0], int(x[1].reshape(())), x[2], grows),)


def _attr_shape(node: Node) -> Shape:
    shape = node.attrs.get("element_shape")
    return None if shape is None else tuple(shape)


def _sub_lists(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    return (_made(_list_meta(node, x[1]), _split(node, x[0], x[2])),)


def _array_split(node: Node, x: Sequence[Value]) -> tuple[Value, ...]:
    return (_made(_meta(x[3]), _split(node, x[1], x[2])),)


_ARRAYS: Mapping[str, Op] = {
    "": _new_array,
    "Write": lambda n, x: (_written(n, x[3], int(x[1].reshape(())), x[2], _meta(x[3]).grows),),
    "Read": lambda n, x: (_read(n, x[2], int(x[1].reshape(())), None),),
    "Gather": lambda n, x: (_stack(n, x[2], _numbers(x[1]), _attr_shape(n)),),
    "Scatter": lambda n, x: (_scatter(n, x[3], x[1], x[2], _meta(x[3]).grows),),
    "Size": lambda n, x: (np.array(len(x[1]) - 1, np.int32),),
    "Concat": lambda n, x: _concat(n, x[1]),
    "Split": _array_split,
}
_LISTS: Mapping[str, Op] = {
    "EmptyTensorList": lambda n, x: (_made(_list_meta(n, x[0]), ()),),
    "TensorListReserve": lambda n, x: (_sized(n, _list_meta(n, x[0]), x[1]),),
    "TensorListFromTensor": _from_tensor,
    "TensorListSetItem": _set_item,
    "TensorListGetItem": lambda n, x: (_read(n, x[0], int(x[1].reshape(())), _stated(n, x[2])),),
    "TensorListStack": _stack_all,
    "TensorListLength": lambda n, x: (np.array(len(x[0]) - 1, np.int32),),
    "TensorListPushBack": lambda n, x: (_written(n, x[0], len(x[0]) - 1, x[1], True),),
    "TensorListPopBack": _pop,
    "TensorListResize": _resize,
    "TensorListConcatLists": lambda n, x: (_made(_meta(x[0]), [*x[0]["item"][1:], *x[1]["item"][1:]]),),
    "TensorListGather": lambda n, x: (_stack(n, x[0], _numbers(x[1]), _stated(n, x[2])),),
    "TensorListScatter": _list_scatter,
    "TensorListScatterV2": _list_scatter,
    "TensorListScatterIntoExistingList": lambda n, x: (_scatter(n, x[0], x[2], x[1], False),),
    "TensorListConcat": lambda n, x: _concat(n, x[0]),
    "TensorListConcatV2": lambda n, x: _concat(n, x[0]),
    "TensorListSplit": _sub_lists,
}


def lists(node: Node) -> Callable[[Sequence[Value]], tuple[Value, ...]]:
    """What computes a node that reads or writes a list."""
    if node.op in _LISTS:
        op = _LISTS[node.op]
    else:
        op = _ARRAYS[node.op.removeprefix("TensorArray").removesuffix("V2").removesuffix("V3")]
    return lambda arrays: op(node, arrays)
