"""A Graph to ONNX (opset 17), runnable by ONNX Runtime and others.

ONNX convolves NCHW where kigraph has NHWC. Convolutions, pools and the ops between them stay in NCHW; transposes are added
only where another op needs the original order, so a network has one at its input and none inside.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.tensor import STRING, DType
from ..builder import Graph, Operation, Tensor
from ..errors import GraphError
from ..formats.onnx import (
    DATA_TYPES,
    Attribute,
    Dimension,
    Entry,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSet,
    TensorProto,
    TensorShape,
    TensorType,
    TypeProto,
    ValueInfo,
)
from ..formats.protobuf.write import encode, pack_numbers
from ..ir import Literal

__all__ = ["Writer", "save_onnx"]

_OPSET = 17
_IR_VERSION = 8
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)

Value = np.ndarray[Any, Any]


class Writer:
    """Collects ONNX nodes. A value has a name per layout; the other layout is made when it is first requested."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._plain: dict[Tensor, str] = {}
        self._nchw: dict[Tensor, str] = {}
        self._literals: dict[Tensor, Literal] = {}
        self._names: set[str] = set()

    def fresh(self, name: str) -> str:
        """A name that is not taken."""
        candidate, count = name, 0
        while candidate in self._names:
            count += 1
            candidate = f"{name}.{count}"
        self._names.add(candidate)
        return candidate

    def emit(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds a node with one output; its name."""
        output = self.fresh(name)
        fields = [_attribute(k, v) for k, v in attributes.items() if v is not None]
        self.nodes.append(NodeProto(input=list(inputs), output=[output], name=output, op_type=op, attribute=fields))
        return output

    def constant(self, array: Value, name: str) -> str:
        """Adds an initializer; its name."""
        unique = self.fresh(name)
        self.initializers.append(_tensor(unique, array))
        return unique

    # --- values -------------------------------------------------------------------------------------------------------

    def set(self, tensor: Tensor, name: str, *, nchw: bool = False) -> None:
        (self._nchw if nchw else self._plain)[tensor] = name

    def set_literal(self, tensor: Tensor, literal: Literal) -> None:
        self._literals[tensor] = literal

    def hand_on(self, source: Tensor, target: Tensor) -> bool:
        """Makes ``target`` the same constant as ``source``; False if that is none."""
        if source in self._literals:
            self._literals[target] = self._literals[source]
        return source in self._literals

    def literal(self, tensor: Tensor) -> Value | None:
        """The value of a constant."""
        found = self._literals.get(tensor)
        return None if found is None else found.array()

    def required(self, op: Operation, index: int) -> Value:
        """The value of an input that must be a constant."""
        value = self.literal(op.inputs[index])
        if value is None:
            raise GraphError(
                f"ONNX: {op.type} '{op.name}': input {index} ('{op.inputs[index].name}') must be a constant"
            )
        return value

    def in_nchw(self, tensor: Tensor) -> bool:
        """True if the value is available in NCHW, so that an op that can work on either does so there."""
        return tensor in self._nchw

    def get(self, tensor: Tensor) -> str:
        """The value in its own layout."""
        if tensor not in self._plain:
            if tensor in self._literals:
                self._plain[tensor] = self.constant(self._literals[tensor].array(), tensor.op.name)
            elif tensor in self._nchw:
                self._plain[tensor] = self.emit("Transpose", [self._nchw[tensor]], f"{tensor.name}.nhwc", perm=TO_NHWC)
            else:
                raise GraphError(f"ONNX: '{tensor.name}' is used before it is made")
        return self._plain[tensor]

    def get_nchw(self, tensor: Tensor) -> str:
        """The value of a 4-D tensor in NCHW."""
        if tensor not in self._nchw:
            self._nchw[tensor] = self.emit("Transpose", [self.get(tensor)], f"{tensor.name}.nchw", perm=TO_NCHW)
        return self._nchw[tensor]


def _attribute(name: str, value: Any) -> Attribute:
    if isinstance(value, bool | int | np.integer):
        return Attribute(name=name, i=int(value), type=2)
    if isinstance(value, float):
        return Attribute(name=name, f=value, type=1)
    if isinstance(value, str):
        return Attribute(name=name, s=value.encode(), type=3)  # type: ignore[arg-type]
    return Attribute(name=name, ints=[pack_numbers(value, "int64")], type=7)  # type: ignore[list-item]


def data_type(dtype: DType, what: str) -> int:
    """ONNX's number of an element type."""
    if dtype not in DATA_TYPES:
        raise GraphError(f"ONNX: {what} has element type {dtype}, which the writer does not support")
    return DATA_TYPES[dtype]


def _tensor(name: str, array: Value) -> TensorProto:
    dense = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    raw = dense.reshape(-1).view(np.uint8).data
    return TensorProto(
        dims=[pack_numbers(array.shape, "int64")],  # type: ignore[list-item]
        data_type=data_type(array.dtype, f"constant '{name}'"),
        name=name,
        raw_data=raw,  # type: ignore[arg-type]
    )


def _value_info(name: str, tensor: Tensor) -> ValueInfo:
    dims = [
        Dimension(dim_param=f"d{i}") if d is None else Dimension(dim_value=d) for i, d in enumerate(tensor.shape or ())
    ]
    shape = None if tensor.shape is None else TensorShape(dim=dims)
    return ValueInfo(
        name=name, type=TypeProto(tensor_type=TensorType(elem_type=data_type(tensor.dtype, f"'{name}'"), shape=shape))
    )


def _needed(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> set[Operation]:
    seen: set[Operation] = set()
    stack = [t.op for t in outputs]
    while stack:
        op = stack.pop()
        if op not in seen:
            seen.add(op)
            stack += [t.op for t in op.inputs if t not in inputs]
    return seen


def save_onnx(
    graph: Graph, path: str | os.PathLike[str], outputs: Sequence[str] = (), inputs: Sequence[str] = ()
) -> None:
    """Writes what ``outputs`` need of a graph; the file appears only when it is complete.

    outputs: tensors; default: those that nothing reads. inputs: tensors at which the file's graph begins (so that an
    image decoder before them can be left out); default: the placeholders. Names lose their ':0'.
    Raises GraphError for an op that cannot be written, or a variable (freeze the graph first).
    """
    from .onnx_ops import write_operation

    ends = [graph.tensor(n) for n in outputs] or _unread(graph)
    starts = [graph.tensor(n) for n in inputs]
    writer = Writer()
    needed = _needed(ends, starts)
    begin: list[ValueInfo] = []
    for op in graph.operations:
        for tensor in op.outputs:
            if tensor in starts or (op in needed and op.type == "Placeholder"):
                name = writer.fresh(_public(tensor))
                begin.append(_value_info(name, tensor))
                writer.set(tensor, name)
        if op not in needed or op.type == "Placeholder" or (op.outputs and all(t in starts for t in op.outputs)):
            continue
        if op.type == "Const":
            writer.set_literal(op.outputs[0], op.attrs["value"])
        else:
            write_operation(writer, op)
    finish: list[ValueInfo] = []
    for tensor in ends:
        name = writer.emit("Identity", [writer.get(tensor)], _public(tensor))
        finish.append(_value_info(name, tensor))
    proto = GraphProto(node=writer.nodes, name="kigraph", initializer=writer.initializers, input=begin, output=finish)
    model = ModelProto(
        ir_version=_IR_VERSION, producer_name="kigraph", graph=proto, opset_import=[OperatorSet(version=_OPSET)],
        metadata_props=_metadata(graph),
    )  # fmt: skip
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            for piece in encode(model):
                file.write(piece)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _unread(graph: Graph) -> list[Tensor]:
    read = {t for op in graph.operations for t in op.inputs}
    found = [t for op in graph.operations if op.type != "Const" for t in op.outputs[:1] if t not in read]
    if not found:
        raise GraphError("ONNX: the graph has no output; name the outputs")
    return found


def _public(tensor: Tensor) -> str:
    return tensor.op.name if tensor.index == 0 else f"{tensor.op.name}.{tensor.index}"


def _metadata(graph: Graph) -> list[Entry]:
    """String constants that describe the model (its card) as metadata."""
    found = []
    for op in graph.operations:
        value = op.attrs.get("value")
        if (
            op.type == "Const"
            and op.name.startswith("kigraph/")
            and isinstance(value, Literal)
            and value.dtype == STRING
        ):
            found.append(Entry(key=op.name, value=value.array().item().decode("utf-8", "replace")))
    return found
