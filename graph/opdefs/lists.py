"""TensorArrays and TensorLists: lists of tensors that loops read and write. plan/lists.py computes them.

A list is a value, the flow of a TensorArray: an op that writes gives a new one. So no order of execution has to be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

import numpy as np

from ...kernels.errors import DTypeError
from ...kernels.tensor import DType, Shape, TensorType
from ..errors import GraphError
from ..ir import LIST, UNKNOWN
from .attributes import FALSE, TRUE, Attr, Row, of
from .base import OpDef, Site, attr_dtype

__all__ = ["DEFS", "LISTS"]

Infer = Callable[[Site], tuple[TensorType, ...]]

_LIST = TensorType(LIST, None)
_COUNT = TensorType(np.dtype(np.int32), ())
_LENGTHS = TensorType(np.dtype(np.int64), (None,))
I32 = np.dtype(np.int32)


def _planned(site: Site) -> NoReturn:
    raise GraphError(f"{site.op} '{site.name}' has no kernel: the plan handles it")


def _needs_list(index: int, infer: Infer) -> Infer:
    """The rule, after a check that an input is a list."""

    def checked(site: Site) -> tuple[TensorType, ...]:
        given = site.inputs[index % len(site.inputs)]
        if given.dtype not in (LIST, UNKNOWN):
            raise DTypeError(f"{site.op} '{site.name}': input {index % len(site.inputs)} must be a list, got {given}")
        return infer(site)

    return checked


def _element(site: Site, name: str, index: int | None) -> tuple[DType, Shape]:
    """Type of the elements: an attribute, and a shape from an attribute or from input ``index``."""
    dtype = attr_dtype(site, name)
    if index is None:
        shape = site.attr("element_shape", site.attr("element_shape_except0"))
        return dtype, None if shape is None else tuple(shape)
    value = site.value_of(index)
    if value is None or value.ndim != 1:
        return dtype, None
    return dtype, tuple(None if v < 0 else int(v) for v in value)


def _one(name: str, index: int | None = None) -> Infer:
    return lambda site: (TensorType(*_element(site, name, index)),)


def _any(name: str) -> Infer:
    return lambda site: (TensorType(attr_dtype(site, name), None),)


def _many(name: str, index: int | None = None, count: int | None = None) -> Infer:
    """Elements along a new axis, as many as input ``count`` has entries."""

    def infer(site: Site) -> tuple[TensorType, ...]:
        dtype, shape = _element(site, name, index)
        indices = site.inputs[count].shape if count is not None else None
        first = indices[0] if indices else None
        return (TensorType(dtype, None if shape is None else (first, *shape)),)

    return infer


def _joined(name: str) -> Infer:
    return lambda site: (TensorType(attr_dtype(site, name), None), _LENGTHS)


def _popped(site: Site) -> tuple[TensorType, ...]:
    return (_LIST, TensorType(*_element(site, "element_dtype", 1)))


def _list(site: Site) -> tuple[TensorType, ...]:
    return (_LIST,)


def _count(site: Site) -> tuple[TensorType, ...]:
    return (_COUNT,)


def _def(name: str, inputs: int, infer: Infer, attributes: Row) -> OpDef:
    return OpDef(name, _planned, (inputs, inputs), infer=infer, attributes=attributes)


_DTYPE, _SHAPE = Attr("type"), Attr("shape", None)
_ARRAY: Row = {
    "dtype": _DTYPE, "element_shape": _SHAPE, "dynamic_size": FALSE, "clear_after_read": TRUE,
    "identical_element_shapes": FALSE, "tensor_array_name": Attr("string", ""),
}  # fmt: skip
_ELEMENT: Row = {"element_dtype": _DTYPE}
_SHAPED: Row = {"element_dtype": _DTYPE, "shape_type": Attr("type", I32)}


def _arrays(version: str) -> tuple[OpDef, ...]:
    """The ops of one version of TensorArrays."""
    flow = _needs_list
    return (
        _def(
            f"TensorArray{version}", 1, lambda site: (_LIST, _LIST),
            {k: v for k, v in _ARRAY.items() if version == "V3" or k != "identical_element_shapes"},
        ),
        _def(f"TensorArrayWrite{version}", 4, flow(3, _list), {"T": of(2)}),
        _def(f"TensorArrayRead{version}", 3, flow(2, _any("dtype")), {"dtype": _DTYPE}),
        _def(
            f"TensorArrayGather{version}", 3, flow(2, _many("dtype", None, 1)), {"dtype": _DTYPE, "element_shape": _SHAPE}
        ),
        _def(f"TensorArrayScatter{version}", 4, flow(3, _list), {"T": of(2)}),
        _def(f"TensorArraySize{version}", 2, flow(1, _count), {}),
        _def(
            f"TensorArrayConcat{version}", 2, flow(1, _joined("dtype")),
            {"dtype": _DTYPE, "element_shape_except0": _SHAPE},
        ),
        _def(f"TensorArraySplit{version}", 4, flow(3, _list), {"T": of(1)}),
    )  # fmt: skip


_RESIZE: Mapping[str, Attr] = {**_ELEMENT, "resize_if_index_out_of_bounds": FALSE}

DEFS: tuple[OpDef, ...] = (
    *_arrays("V2"),
    *_arrays("V3"),
    _def("EmptyTensorList", 2, _list, _SHAPED),
    _def("TensorListReserve", 2, _list, _SHAPED),
    _def("TensorListFromTensor", 2, _list, _SHAPED),
    _def("TensorListSetItem", 3, _needs_list(0, _list), _RESIZE),
    _def("TensorListGetItem", 3, _needs_list(0, _one("element_dtype", 2)), {**_ELEMENT, "Tshape": of(2, I32)}),
    _def(
        "TensorListStack", 2, _needs_list(0, _many("element_dtype", 1)), {**_ELEMENT, "num_elements": Attr("int", -1)}
    ),
    _def("TensorListLength", 1, _needs_list(0, _count), {}),
    _def("TensorListPushBack", 2, _needs_list(0, _list), _ELEMENT),
    _def("TensorListPopBack", 2, _needs_list(0, _popped), _ELEMENT),
    _def("TensorListResize", 2, _needs_list(0, _list), {}),
    _def("TensorListConcatLists", 2, _needs_list(0, _list), _ELEMENT),
    _def("TensorListGather", 3, _needs_list(0, _many("element_dtype", 2, 1)), _ELEMENT),
    _def("TensorListScatter", 3, _list, _SHAPED),
    _def("TensorListScatterV2", 4, _list, _SHAPED),
    _def("TensorListScatterIntoExistingList", 3, _needs_list(0, _list), _ELEMENT),
    _def(
        "TensorListConcat", 1, _needs_list(0, _joined("element_dtype")), {**_ELEMENT, "element_shape": _SHAPE}
    ),
    _def("TensorListConcatV2", 3, _needs_list(0, _joined("element_dtype")), _SHAPED),
    _def("TensorListSplit", 3, _list, _SHAPED),
)  # fmt: skip

#: Op types that read or write lists.
LISTS = frozenset(d.name for d in DEFS)
