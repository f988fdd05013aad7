"""ONNX's messages, as far as they are read or written. Field numbers are those of onnx/onnx.proto (IR version 14)."""

# ruff: noqa: RUF009  (the functions declare fields, as dataclasses.field does)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.tensor import DType
from .protobuf.wire import (
    Span,
    bytes_,
    bytes_list,
    enum,
    float32,
    int32,
    int64,
    message,
    messages,
    numbers,
    oneof,
    string,
    strings,
)

__all__ = [
    "DATA_TYPES",
    "Attribute",
    "Dimension",
    "Entry",
    "FunctionProto",
    "GraphProto",
    "ModelProto",
    "NodeProto",
    "OperatorSet",
    "SparseTensor",
    "TensorProto",
    "TensorShape",
    "TensorType",
    "TypeProto",
    "ValueInfo",
]

#: Element type -> TensorProto.DataType.
DATA_TYPES: dict[DType, int] = {
    np.dtype(name): number
    for name, number in (
        ("float32", 1), ("uint8", 2), ("int8", 3), ("uint16", 4), ("int16", 5), ("int32", 6), ("int64", 7), ("bool", 9),
        ("float16", 10), ("float64", 11), ("uint32", 12), ("uint64", 13),
    )
}  # fmt: skip


@dataclass(slots=True)
class Entry:
    """A pair of texts: metadata, and where external data is."""

    key: str = string(1)
    value: str = string(2)


@dataclass(slots=True)
class TensorProto:
    """A constant: its elements, little-endian, in ``raw_data``, in another file, or as numbers of the field of its type."""

    dims: list[Span] = numbers(1, "int64")
    data_type: int = int32(2)
    float_data: list[Span] = numbers(4, "float")
    int32_data: list[Span] = numbers(5, "int32")
    string_data: list[Span] = bytes_list(6)
    int64_data: list[Span] = numbers(7, "int64")
    name: str = string(8)
    raw_data: Span | None = bytes_(9)
    double_data: list[Span] = numbers(10, "double")
    uint64_data: list[Span] = numbers(11, "uint64")
    external_data: list[Entry] = messages(13, lambda: Entry)
    data_location: int = enum(14)


@dataclass(slots=True)
class SparseTensor:
    """``values`` at ``indices`` (linear, or one row of positions each) of an array of zeros."""

    values: TensorProto | None = message(1, lambda: TensorProto)
    indices: TensorProto | None = message(2, lambda: TensorProto)
    dims: list[Span] = numbers(3, "int64")


@dataclass(slots=True)
class Attribute:
    """``type``: 1 float, 2 int, 3 string, 4 tensor, 5 graph, 6 floats, 7 ints, 8 strings, 9 tensors, 10 graphs, 11 sparse.

    ``ref_attr_name``: in a function's body, the attribute of the call that stands here.
    """

    name: str = string(1)
    f: float = float32(2)
    i: int = int64(3)
    s: Span | None = bytes_(4)
    t: TensorProto | None = message(5, lambda: TensorProto)
    g: GraphProto | None = message(6, lambda: GraphProto)
    floats: list[Span] = numbers(7, "float")
    ints: list[Span] = numbers(8, "int64")
    strings: list[Span] = bytes_list(9)
    type: int = int32(20)
    ref_attr_name: str = string(21)
    sparse_tensor: SparseTensor | None = message(22, lambda: SparseTensor)


@dataclass(slots=True)
class NodeProto:
    """One operation: names of inputs ('' = left out) and outputs."""

    input: list[str] = strings(1)
    output: list[str] = strings(2)
    name: str = string(3)
    op_type: str = string(4)
    attribute: list[Attribute] = messages(5, lambda: Attribute)
    domain: str = string(7)
    overload: str = string(8)


@dataclass(slots=True)
class Dimension:
    """One axis: a size, or a name for an unknown one."""

    dim_value: int | None = oneof(1, "int64")
    dim_param: str | None = oneof(2, "string")


@dataclass(slots=True)
class TensorShape:
    """All axes."""

    dim: list[Dimension] = messages(1, lambda: Dimension)


@dataclass(slots=True)
class TensorType:
    """Element type and shape."""

    elem_type: int = int32(1)
    shape: TensorShape | None = message(2, lambda: TensorShape)


@dataclass(slots=True)
class TypeProto:
    """The type of a value; only tensors are read and written."""

    tensor_type: Any = message(1, lambda: TensorType)


@dataclass(slots=True)
class ValueInfo:
    """An input or output of the graph."""

    name: str = string(1)
    type: TypeProto | None = message(2, lambda: TypeProto)


@dataclass(slots=True)
class GraphProto:
    """Nodes in topological order, constants, inputs and outputs."""

    node: list[NodeProto] = messages(1, lambda: NodeProto, node=True)
    name: str = string(2)
    initializer: list[TensorProto] = messages(5, lambda: TensorProto)
    input: list[ValueInfo] = messages(11, lambda: ValueInfo)
    output: list[ValueInfo] = messages(12, lambda: ValueInfo)
    value_info: list[ValueInfo] = messages(13, lambda: ValueInfo)
    sparse_initializer: list[SparseTensor] = messages(15, lambda: SparseTensor)


@dataclass(slots=True)
class OperatorSet:
    """Which version of the operators a file speaks; '' is ONNX's own domain."""

    domain: str = string(1)
    version: int = int64(2)


@dataclass(slots=True)
class FunctionProto:
    """An op that the file itself defines. ``attribute``: names without a default; ``attribute_proto``: those with one."""

    name: str = string(1)
    input: list[str] = strings(4)
    output: list[str] = strings(5)
    attribute: list[str] = strings(6)
    node: list[NodeProto] = messages(7, lambda: NodeProto, node=True)
    opset_import: list[OperatorSet] = messages(9, lambda: OperatorSet)
    domain: str = string(10)
    attribute_proto: list[Attribute] = messages(11, lambda: Attribute)
    overload: str = string(13)


@dataclass(slots=True)
class ModelProto:
    """The whole file."""

    ir_version: int = int64(1)
    producer_name: str = string(2)
    producer_version: str = string(3)
    graph: GraphProto | None = message(7, lambda: GraphProto)
    opset_import: list[OperatorSet] = messages(8, lambda: OperatorSet)
    metadata_props: list[Entry] = messages(14, lambda: Entry)
    functions: list[FunctionProto] = messages(25, lambda: FunctionProto)
