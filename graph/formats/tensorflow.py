"""TensorFlow's messages, as far as they are read: GraphDef, NodeDef, AttrValue, TensorProto and their parts.

Field numbers are those of tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape,types,versions,
function}.proto. Also the mapping between DataType numbers and NumPy's element types.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.records import dataclass
from ...kernels.tensor import STRING, DType
from .protobuf.wire import (
    Span,
    boolean,
    bytes_,
    bytes_list,
    enum,
    enums,
    int32,
    int64,
    map_of,
    message,
    messages,
    numbers,
    oneof,
    string,
    strings,
)

__all__ = [
    "BFLOAT16",
    "DTYPES",
    "DTYPE_NAMES",
    "DTYPE_NUMBERS",
    "ArgDef",
    "AttrDef",
    "AttrList",
    "AttrValue",
    "Dim",
    "Entry",
    "FunctionDef",
    "FunctionLibrary",
    "FunctionName",
    "FunctionRef",
    "GraphDef",
    "NodeDef",
    "Signature",
    "SignatureName",
    "TensorProto",
    "TensorShape",
    "VersionDef",
]

#: DataType number -> element type. Quantised types are stored as the plain integers that they are made of.
DTYPES: dict[int, DType] = {
    number: np.dtype(name)
    for number, name in (
        (1, "float32"), (2, "float64"), (3, "int32"), (4, "uint8"), (5, "int16"), (6, "int8"), (8, "complex64"),
        (9, "int64"), (10, "bool"), (11, "int8"), (12, "uint8"), (13, "int32"), (15, "int16"), (16, "uint16"),
        (17, "uint16"), (18, "complex128"), (19, "float16"), (22, "uint32"), (23, "uint64"),
    )
} | {7: STRING}  # fmt: skip
#: Numbers of 16 bits, which NumPy lacks; they are held as float32.
BFLOAT16 = 14
_QUANTISED = (11, 12, 13, 15, 16)
#: Element type -> DataType number, for writing.
DTYPE_NUMBERS: dict[DType, int] = {dtype: n for n, dtype in DTYPES.items() if n not in _QUANTISED}
#: Names of the numbers that have no NumPy type.
DTYPE_NAMES: dict[int, str] = {
    0: "invalid", 14: "bfloat16", 20: "resource", 21: "variant", 24: "float8_e5m2", 25: "float8_e4m3fn",
    29: "int4", 30: "uint4",
}  # fmt: skip


@dataclass(slots=True)
class Dim:
    """One axis of a shape; -1 is unknown."""

    size: int = int64(1)


@dataclass(slots=True)
class TensorShape:
    """A shape; ``unknown_rank`` makes ``dim`` meaningless."""

    dim: list[Dim] = messages(2, lambda: Dim)
    unknown_rank: bool = boolean(3)


@dataclass(slots=True)
class TensorProto:
    """A constant. Either ``tensor_content`` has all elements, or the field of the element type has some of them."""

    dtype: int = enum(1)
    tensor_shape: TensorShape | None = message(2, lambda: TensorShape)
    version_number: int = int32(3)
    tensor_content: Span | None = bytes_(4)
    half_val: list[Span] = numbers(13, "int32")
    float_val: list[Span] = numbers(5, "float")
    double_val: list[Span] = numbers(6, "double")
    int_val: list[Span] = numbers(7, "int32")
    string_val: list[Span] = bytes_list(8)
    scomplex_val: list[Span] = numbers(9, "float")
    int64_val: list[Span] = numbers(10, "int64")
    bool_val: list[Span] = numbers(11, "bool")
    dcomplex_val: list[Span] = numbers(12, "double")
    uint32_val: list[Span] = numbers(16, "uint32")
    uint64_val: list[Span] = numbers(17, "uint64")


@dataclass(slots=True)
class FunctionRef:
    """A function of the library by name."""

    name: str = string(1)
    attr: dict[str, AttrValue] = map_of(2, lambda: AttrValue)


@dataclass(slots=True)
class AttrList:
    """A list attribute: one member is used."""

    s: list[Span] = bytes_list(2)
    i: list[Span] = numbers(3, "int64")
    f: list[Span] = numbers(4, "float")
    b: list[Span] = numbers(5, "bool")
    type: list[Span] = enums(6)
    shape: list[TensorShape] = messages(7, lambda: TensorShape)
    tensor: list[TensorProto] = messages(8, lambda: TensorProto)
    func: list[FunctionRef] = messages(9, lambda: FunctionRef)


@dataclass(slots=True)
class AttrValue:
    """An attribute: exactly one member is set. ``literal`` is no part of the file: a constant that a loader has put in."""

    list: AttrList | None = oneof(1, "message", lambda: AttrList)
    s: Any = oneof(2, "bytes")
    i: int | None = oneof(3, "int64")
    f: float | None = oneof(4, "float")
    b: bool | None = oneof(5, "bool")
    type: int | None = oneof(6, "enum")
    shape: TensorShape | None = oneof(7, "message", lambda: TensorShape)
    tensor: TensorProto | None = oneof(8, "message", lambda: TensorProto)
    placeholder: str | None = oneof(9, "string")
    func: FunctionRef | None = oneof(10, "message", lambda: FunctionRef)
    literal: Any = None


@dataclass(slots=True)
class NodeDef:
    """One node: 'name', 'name:1' and '^name' in ``input`` are a first output, a second one, a control input.

    Attributes whose names begin with ``_`` are hints, and are not read. ``why`` and ``scope`` are no part of the file: why the node cannot be run, as far as a loader knows, and the calls that it
    was put in place of.
    """

    name: str = string(1)
    op: str = string(2)
    input: list[str] = strings(3)
    device: str = string(4)
    attr: dict[str, AttrValue] = map_of(5, lambda: AttrValue, hints=False)
    why: str = ""
    scope: str = ""


@dataclass(slots=True)
class VersionDef:
    """Which version of GraphDef wrote the file, and the oldest that may read it."""

    producer: int = int32(1)
    min_consumer: int = int32(2)


@dataclass(slots=True)
class ArgDef:
    """An argument of a function: one tensor, or a list of as many as an attribute of the call says."""

    name: str = string(1)
    type: int = enum(3)
    type_attr: str = string(4)
    number_attr: str = string(5)
    type_list_attr: str = string(6)


@dataclass(slots=True)
class AttrDef:
    """An attribute that calls of a function may bind."""

    name: str = string(1)
    default_value: AttrValue | None = message(3, lambda: AttrValue)


@dataclass(slots=True)
class Signature:
    """Name, arguments and results of a function."""

    name: str = string(1)
    input_arg: list[ArgDef] = messages(2, lambda: ArgDef)
    output_arg: list[ArgDef] = messages(3, lambda: ArgDef)
    attr: list[AttrDef] = messages(4, lambda: AttrDef)


@dataclass(slots=True)
class Entry:
    """An entry of a map of texts."""

    key: str = string(1)
    value: str = string(2)


@dataclass(slots=True)
class FunctionDef:
    """A function of the library. ``ret``: output argument -> the tensor of the body; ``control_ret``: name -> node."""

    signature: Signature | None = message(1, lambda: Signature)
    node_def: list[NodeDef] = messages(3, lambda: NodeDef, node=True)
    ret: list[Entry] = messages(4, lambda: Entry)
    control_ret: list[Entry] = messages(6, lambda: Entry)


@dataclass(slots=True)
class SignatureName:
    """The name alone of a signature."""

    name: str = string(1)


@dataclass(slots=True)
class FunctionName:
    """The name alone of a function."""

    signature: SignatureName | None = message(1, lambda: SignatureName)


@dataclass(slots=True)
class FunctionLibrary:
    """The functions that a graph may call: where they are when it is read, as most are never called; themselves to write it."""

    function: list[Any] = messages(1, lambda: FunctionDef, late=True)


@dataclass(slots=True)
class GraphDef:
    """A graph and the functions that its nodes call."""

    node: list[NodeDef] = messages(1, lambda: NodeDef, node=True)
    library: FunctionLibrary | None = message(2, lambda: FunctionLibrary)
    version: int = int32(3)
    versions: VersionDef | None = message(4, lambda: VersionDef)
