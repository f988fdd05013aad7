"""A Graph to ONNX (opset 18), runnable by ONNX Runtime and others.

ONNX convolves NCHW where kigraph has NHWC. Convolutions, pools and the ops between them stay in NCHW; transposes are added
only where another op needs the original order, so a network has one at its input and none inside.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ...kernels.atomic_files import replacing
from ...kernels.tensor import STRING
from ..builder import Graph, Operation, Tensor
from ..errors import GraphError
from ..formats.onnx import (
    Dimension,
    Entry,
    GraphProto,
    ModelProto,
    OperatorSet,
    TensorShape,
    TensorType,
    TypeProto,
    ValueInfo,
)
from ..formats.protobuf.write import encode
from ..ir import Literal
from .onnx_ops import write_operation
from .onnx_prepare import needed_by, prepared
from .onnx_writer import Writer, data_type

__all__ = ["onnx_model", "save_onnx", "write_model"]

_OPSET = 18
_IR_VERSION = 8


def _value_info(name: str, tensor: Tensor) -> ValueInfo:
    dims = [
        Dimension(dim_param=f"d{i}") if d is None else Dimension(dim_value=d) for i, d in enumerate(tensor.shape or ())
    ]
    shape = None if tensor.shape is None else TensorShape(dim=dims)
    return ValueInfo(
        name=name, type=TypeProto(tensor_type=TensorType(elem_type=data_type(tensor.dtype, f"'{name}'"), shape=shape))
    )


def _inputs_of(graph: Graph) -> list[Tensor]:
    return [t for op in graph.operations if op.type == "Placeholder" for t in op.outputs]


def _fed(graph: Graph, starts: Sequence[Tensor], needed: set[Operation]) -> list[Tensor]:
    """What the file's graph begins with, in the order of the graph, without strings that no output needs."""
    found = [t for t in _inputs_of(graph) if t.op in needed]
    every = [*(t for t in starts if t.dtype != STRING or t.op in needed), *(t for t in found if t not in starts)]
    for text in (t for t in every if t.dtype == STRING):
        readers = ", ".join(f"{op.type} '{op.name}'" for op in text.consumers() if op in needed) or "the result"
        raise GraphError(
            f"ONNX: input '{text.name}' is a string, and ONNX has no op that reads it as {readers} does; begin the file behind it "
            "(inputs=)"
        )
    return every


def save_onnx(
    graph: Graph,
    path: str | os.PathLike[str],
    outputs: Sequence[str] = (),
    inputs: Sequence[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes what ``outputs`` need of a graph; the file appears only when it is complete. See ``onnx_model``."""
    write_model(onnx_model(graph, outputs, inputs, names), path)


def write_model(model: ModelProto, path: str | os.PathLike[str]) -> None:
    """Writes a file, which appears only when it is complete. OSError where nothing can be written."""
    with replacing(path, shared=True) as file:
        for piece in encode(model):
            file.write(piece)


def onnx_model(
    graph: Graph,
    outputs: Sequence[str] = (),
    inputs: Sequence[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
) -> ModelProto:
    """The content of an ONNX file with what ``outputs`` need of a graph.

    outputs: tensors; default: those that nothing reads. inputs: tensors at which the file's graph begins (so that an
    image decoder before them can be left out); default: the placeholders. names: what a tensor ('op:index') is called in the file;
    others lose their ':0'.
    Raises GraphError for an op that cannot be written, or a variable (freeze the graph first).
    """
    ends = [graph.tensor(n) for n in outputs] or _unread(graph)
    starts = [graph.tensor(n) for n in inputs]
    graph, moved, begun = prepared(graph, ends, starts)
    wished = {
        new: names.get(old.name) or _public(old) for old, new in (*((t, t) for t in _inputs_of(graph)), *begun.items())
    }
    writer = Writer(graph, write_operation)
    needed = needed_by(list(moved.values()), list(begun.values()))
    # Inputs and outputs take their names before the nodes do.
    given = {t: writer.fresh(wished[t]) for t in _fed(graph, list(begun.values()), needed)}
    called = [writer.fresh(names.get(t.name) or _public(t)) for t in ends]
    ends = [moved[t] for t in ends]
    begin = [_value_info(name, tensor) for tensor, name in given.items()]
    for tensor, name in given.items():
        writer.set(tensor, name)
    writer.write_all(graph, needed, given)
    finish = []
    for tensor, name in zip(ends, called, strict=True):
        writer.emit("Identity", [writer.get(tensor)], name, exact=True)
        finish.append(_value_info(name, tensor))
    nodes, constants = writer.needed()
    proto = GraphProto(node=nodes, name="kigraph", initializer=constants, input=begin, output=finish)
    return ModelProto(
        ir_version=_IR_VERSION, producer_name="kigraph", graph=proto, opset_import=[OperatorSet(version=_OPSET)],
        metadata_props=_metadata(graph),
    )  # fmt: skip


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
