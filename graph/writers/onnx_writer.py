"""What the functions of onnx_ops.py write into: nodes, constants, and values in either layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.tensor import DType
from ..builder import Graph, Operation, Tensor
from ..errors import GraphError
from ..formats.onnx import (
    DATA_TYPES,
    Attribute,
    NodeProto,
    TensorProto,
)
from ..formats.protobuf.write import pack_numbers
from ..inference import constant_value
from ..ir import Literal

__all__ = ["TO_NCHW", "Writer", "data_type"]

_LARGEST = float(np.finfo(np.float32).max)
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)

Value = np.ndarray[Any, Any]


class Writer:
    """Collects ONNX nodes. A value has a name per layout; the other layout is made when it is first requested."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.freeze().nodes
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

    def emit(self, op: str, inputs: Sequence[str], name: str, *, exact: bool = False, **attributes: Any) -> str:
        """Adds a node with one output; its name, which is ``name`` itself if that was taken for it (``exact``)."""
        output = name if exact else self.fresh(name)
        for key, value in attributes.items():
            if isinstance(value, float) and math.isfinite(value) and abs(value) > _LARGEST:
                raise GraphError(f"ONNX: {op} '{name}': attribute {key} = {value} is beyond float32, which ONNX has")
        fields = [_attribute(k, v) for k, v in attributes.items() if v is not None]
        self.nodes.append(NodeProto(input=list(inputs), output=[output], name=output, op_type=op, attribute=fields))
        return output

    def emit_many(self, op: str, inputs: Sequence[str], name: str, count: int, **attributes: Any) -> list[str]:
        """Adds a node with several outputs; their names."""
        outputs = [self.fresh(f"{name}.{i}" if i else name) for i in range(count)]
        fields = [_attribute(k, v) for k, v in attributes.items() if v is not None]
        self.nodes.append(NodeProto(input=list(inputs), output=outputs, name=outputs[0], op_type=op, attribute=fields))
        return outputs

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

    def value(self, tensor: Tensor) -> Value | None:
        """The value of a constant, or of what follows from small constants and known shapes."""
        found = self.literal(tensor)
        return constant_value(self._nodes, tensor.port) if found is None else found

    def required(self, op: Operation, index: int) -> Value:
        """The value of an input that must be a constant."""
        value = self.value(op.inputs[index])
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
