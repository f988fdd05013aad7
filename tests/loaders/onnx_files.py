"""Small ONNX files, written with kigraph's own records: node, function, tensor, model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki
from kigraph.graph.formats.onnx import (
    DATA_TYPES,
    Attribute,
    Dimension,
    Entry,
    FunctionProto,
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
from kigraph.graph.formats.protobuf.write import encode, pack_numbers

__all__ = ["attribute", "function", "graph", "model", "node", "run", "tensor"]

Shape = Sequence[int | str]


def attribute(name: str, value: Any) -> Attribute:
    """int, float, str, lists of these, an array (a tensor), a GraphProto; '@name': the attribute of a function's call."""
    if isinstance(value, str) and value.startswith("@"):
        return Attribute(name=name, ref_attr_name=value[1:], type=2)
    if isinstance(value, bool | int):
        return Attribute(name=name, i=int(value), type=2)
    if isinstance(value, float):
        return Attribute(name=name, f=value, type=1)
    if isinstance(value, str):
        return Attribute(name=name, s=value.encode(), type=3)
    if isinstance(value, GraphProto):
        return Attribute(name=name, g=value, type=5)
    if isinstance(value, np.ndarray | np.generic):
        return Attribute(name=name, t=tensor("", value), type=4)
    if value and isinstance(value[0], float):
        return Attribute(name=name, floats=[pack_numbers(value, "float")], type=6)
    if value and isinstance(value[0], str):
        return Attribute(name=name, strings=[v.encode() for v in value], type=8)
    return Attribute(name=name, ints=[pack_numbers(value, "int64")], type=7)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attrs: Any) -> NodeProto:
    fields = [attribute(k, v) for k, v in attrs.items() if v is not None]
    return NodeProto(list(inputs), list(outputs), f"n_{outputs[0]}", op, fields, domain)


def tensor(name: str, array: Any, **fields: Any) -> TensorProto:
    """A constant in raw_data; ``fields`` replace what they name."""
    array = np.asarray(array)
    given: dict[str, Any] = {"data_type": DATA_TYPES.get(array.dtype), "raw_data": array.tobytes(), **fields}
    return TensorProto(dims=[pack_numbers(array.shape, "int64")], name=name, **given)


def external(name: str, array: Any, **entries: str) -> TensorProto:
    """A constant in another file."""
    found = [Entry(k, v) for k, v in entries.items()]
    return tensor(name, array, raw_data=None, external_data=found, data_location=1)


def info(name: str, dtype: str | int | None, shape: Shape | None = None) -> ValueInfo:
    if dtype is None:
        return ValueInfo(name)
    dims = [Dimension(dim_param=d) if isinstance(d, str) else Dimension(dim_value=d) for d in shape or ()]
    number = dtype if isinstance(dtype, int) else DATA_TYPES[np.dtype(dtype)]
    return ValueInfo(name, TypeProto(TensorType(number, None if shape is None else TensorShape(dims))))


def graph(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[Any, Shape | None]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
) -> GraphProto:
    tensors = [c if isinstance(c, TensorProto) else tensor(k, c) for k, c in (constants or {}).items()]
    return GraphProto(
        list(nodes), "g", tensors, [info(k, *v) for k, v in inputs.items()], [info(o, None) for o in outputs]
    )


def function(
    domain: str, name: str, inputs: Sequence[str], outputs: Sequence[str], nodes: Sequence[NodeProto], **more: Any
) -> FunctionProto:
    return FunctionProto(
        name, list(inputs), list(outputs), more.get("attribute", []), list(nodes), [OperatorSet("", 17), OperatorSet("local", 1)],
        domain, more.get("defaults", []),
    )  # fmt: skip


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[Any, Shape | None]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    functions: Sequence[FunctionProto] = (),
    ir: int = 8,
) -> bytes:
    """The bytes of a file."""
    imports = [OperatorSet("", opset), OperatorSet("com.microsoft", 1), OperatorSet("local", 1)]
    proto = ModelProto(ir, "test", "1", graph(nodes, inputs, outputs, constants), imports, [], list(functions))
    return b"".join(map(bytes, encode(proto)))


def run(path: Path, content: bytes, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """The outputs of a file."""
    from kigraph.graph.loaders import load

    path.write_bytes(content)
    loaded = load(path)
    found: list[Any] = ki.Session(loaded.graph, backend="numpy").run(list(outputs), dict(feeds))
    return found
