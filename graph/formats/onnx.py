"""ONNX's messages, as far as they are written. Field numbers are those of onnx/onnx.proto (IR version 8)."""

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
    "GraphProto",
    "ModelProto",
    "NodeProto",
    "OperatorSet",
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
class TensorProto:
    """A constant: its elements, little-endian, in ``raw_data``."""

    dims: list[Span] = numbers(1, "int64")
    data_type: int = int32(2)
    name: str = string(8)
    raw_data: Span | None = bytes_(9)


@dataclass(slots=True)
class Attribute:
    """``type``: 1 float, 2 int, 3 string, 4 tensor, 7 ints."""

    name: str = string(1)
    f: float = float32(2)
    i: int = int64(3)
    s: Span | None = bytes_(4)
    t: TensorProto | None = message(5, lambda: TensorProto)
    ints: list[Span] = numbers(8, "int64")
    strings: list[Span] = bytes_list(9)
    type: int = int32(20)


@dataclass(slots=True)
class NodeProto:
    """One operation: names of inputs ('' = left out) and outputs."""

    input: list[str] = strings(1)
    output: list[str] = strings(2)
    name: str = string(3)
    op_type: str = string(4)
    attribute: list[Attribute] = messages(5, lambda: Attribute)


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
    """The type of a value; only tensors are written."""

    tensor_type: Any = message(1, lambda: TensorType)


@dataclass(slots=True)
class ValueInfo:
    """An input or output of the graph."""

    name: str = string(1)
    type: TypeProto | None = message(2, lambda: TypeProto)


@dataclass(slots=True)
class GraphProto:
    """Nodes in topological order, constants, inputs and outputs."""

    node: list[NodeProto] = messages(1, lambda: NodeProto)
    name: str = string(2)
    initializer: list[TensorProto] = messages(5, lambda: TensorProto)
    input: list[ValueInfo] = messages(11, lambda: ValueInfo)
    output: list[ValueInfo] = messages(12, lambda: ValueInfo)


@dataclass(slots=True)
class OperatorSet:
    """Which version of the operators a file speaks; '' is ONNX's own domain."""

    domain: str = string(1)
    version: int = int64(2)


@dataclass(slots=True)
class Entry:
    """One pair of the file's metadata."""

    key: str = string(1)
    value: str = string(2)


@dataclass(slots=True)
class ModelProto:
    """The whole file."""

    ir_version: int = int64(1)
    producer_name: str = string(2)
    graph: GraphProto | None = message(7, lambda: GraphProto)
    opset_import: list[OperatorSet] = messages(8, lambda: OperatorSet)
    metadata_props: list[Entry] = messages(14, lambda: Entry)
