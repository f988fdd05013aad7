"""A Graph to TensorFlow's frozen GraphDef, readable by TensorFlow.

Type and count attributes that follow from a node's inputs (T, N, Tidx, ...) are added where they are missing, because
TensorFlow requires them and kigraph does not. An op type of TensorFlow with one of kigraph's own attributes (a softmax
along another axis, say) gets "Ki" before its type, so that TensorFlow refuses it instead of computing something else.
Constants are streamed: one is in memory at a time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from ...kernels.atomic_files import replacing
from ...kernels.tensor import STRING, DType
from ..builder import Graph, Operation
from ..errors import GraphError
from ..formats.protobuf.write import encode, pack_numbers
from ..formats.tensorflow import (
    DTYPE_NUMBERS,
    AttrList,
    AttrValue,
    Dim,
    FunctionLibrary,
    FunctionRef,
    GraphDef,
    NodeDef,
    TensorShape,
    VersionDef,
)
from ..formats.tensorproto import tensor_proto
from ..ir import LIST, UNKNOWN, Literal
from ..loaders.graphdef import Function
from ..opdefs import OPDEFS, OWN, Foreign
from ..opdefs.control import LOOPS
from ..signatures import SIGNATURES, write_signatures
from .graphdef_functions import VARIANT, Functions

__all__ = ["save_graphdef"]

#: Attributes that follow from the inputs: 'in0' the type of input 0, 'out0' of output 0, 'N' inputs less one, 'all' all.
_IMPLIED: dict[str, dict[str, str]] = {
    "Const": {"dtype": "out0"}, "Placeholder": {"dtype": "out0"}, "PlaceholderWithDefault": {"dtype": "in0"},
    "VariableV2": {"dtype": "out0"}, "Cast": {"SrcT": "in0", "DstT": "out0"}, "Concat": {"T": "in1", "N": "N"},
    "ConcatV2": {"T": "in0", "N": "N", "Tidx": "last"}, "Pack": {"T": "in0", "N": "all"},
    "StringJoin": {"N": "all"}, "Split": {"T": "in1"}, "SplitV": {"T": "in0", "Tlen": "in1"},
    "Select": {"T": "in1"}, "SelectV2": {"T": "in1"}, "Range": {"Tidx": "in0"},
    "GatherV2": {"Tparams": "in0", "Tindices": "in1", "Taxis": "in2"}, "Gather": {"Tparams": "in0", "Tindices": "in1"},
    "Fill": {"T": "in1", "index_type": "in0"}, "Tile": {"T": "in0", "Tmultiples": "in1"},
    "Reshape": {"T": "in0", "Tshape": "in1"}, "ExpandDims": {"T": "in0", "Tdim": "in1"},
    "Transpose": {"T": "in0", "Tperm": "in1"}, "Slice": {"T": "in0", "Index": "in1"},
    "StridedSlice": {"T": "in0", "Index": "in1"}, "FusedBatchNormV2": {"T": "in0", "U": "in1"},
    "FusedBatchNormV3": {"T": "in0", "U": "in1"}, "All": {"Tidx": "in1"}, "Any": {"Tidx": "in1"},
    **{op: {"T": "in0", "Tpaddings": "in1"} for op in ("Pad", "PadV2", "MirrorPad")},
    **{op: {"T": "in0", "Tidx": "in1"} for op in ("Sum", "Mean", "Max", "Min", "Prod", "ArgMax", "ArgMin")},
    **{
        op: {}
        for op in ("NoOp", "LogicalAnd", "LogicalOr", "LogicalNot", "DecodeJpeg", "DecodePng", "DecodeBmp", "DecodeImage",
                   "DecodeGif", "DecodeWebP", "EncodeJpeg")
    },
}  # fmt: skip
#: Attributes of these names are shapes, where a tuple of numbers could also be a list.
_SHAPES = ("shape", "element_shape")


def save_graphdef(graph: Graph, path: str | os.PathLike[str], producer: int | None = None) -> None:
    """Writes the graph with its constants; the file appears only when it is complete.

    The names of the graph's signatures are kept in a constant, which TensorFlow ignores.

    producer: TensorFlow's version number of the graph's conventions; default: the one it was loaded with, else 27 (the
    1.x of frozen graphs). Raises GraphError for what the format cannot hold.
    """
    if producer is None:
        found = graph.metadata.get("producer")  # of another format: the name of a program
        producer = found if isinstance(found, int) else 27
    with replacing(path, shared=True) as file:
        functions = Functions(_node)
        for operation in graph.operations:
            node = functions.write(operation) if operation.type in LOOPS else _node(operation)
            _write(file, GraphDef(node=[node]))
        for function in functions.made:
            _write(file, GraphDef(library=FunctionLibrary(function=[function])))
        if graph.signatures and SIGNATURES not in graph:
            text = Literal.of(np.array(write_signatures(graph.signatures), object))
            attrs = {"dtype": AttrValue(type=DTYPE_NUMBERS[STRING]), "value": AttrValue(tensor=tensor_proto(text))}
            _write(file, GraphDef(node=[NodeDef(name=SIGNATURES, op="Const", attr=attrs)]))
        _write(file, GraphDef(versions=VersionDef(producer=producer)))


_LARGEST = float(np.finfo(np.float32).max)


def _write(file: IO[bytes], record: GraphDef) -> None:
    """Messages written one after the other merge, so a graph can be written node by node."""
    for piece in encode(record):
        file.write(piece)


def _node(operation: Operation) -> NodeDef:
    inputs = [t.name if t.index else t.op.name for t in operation.inputs]
    inputs += [f"^{c.name}" for c in operation.control_inputs]
    values = _complete(operation)
    own = {name for name in OWN.get(operation.type, ()) if name in values and type(values[name]) is not Foreign}
    plain = {name for name in own if values[name] == OPDEFS[operation.type].attributes[name].default}
    attrs = {name: _attr(operation, name, value) for name, value in values.items() if name not in plain}
    op = f"Ki{operation.type}" if own - plain else operation.type
    return NodeDef(name=operation.name, op=op, input=inputs, attr=dict(sorted(attrs.items())))


def _complete(operation: Operation) -> Mapping[str, Any]:
    inputs, attrs = operation.inputs, dict(operation.attrs)
    rules = OPDEFS[operation.type].attributes if operation.type in OPDEFS else {}
    for name, rule in _IMPLIED.get(operation.type, {}).items():
        if name in attrs or not (inputs or rule == "out0"):
            continue
        if rule in ("N", "all"):
            attrs[name] = len(inputs) - (rule == "N")
        elif rule == "out0":
            attrs[name] = operation.outputs[0].dtype
        elif rule == "last" or int(rule[2:]) < len(inputs):
            attrs[name] = inputs[-1 if rule == "last" else int(rule[2:])].dtype
    for name, attr in rules.items():  # what the op's definition says of the others
        if name in attrs and not (attrs[name] is UNKNOWN and _of_list(operation, attr.of)):
            continue
        if attr.of is not None and attr.of < len(inputs):
            attrs[name] = inputs[attr.of].dtype
        elif attr.count is not None:
            attrs[name] = len(inputs) - attr.count
    return {name: value for name, value in attrs.items() if value is not UNKNOWN}


def _of_list(operation: Operation, of: int | None) -> bool:
    """Whether that input is a list of tensors, whose element type in a file (variant) NumPy lacks."""
    return of is not None and of < len(operation.inputs) and operation.inputs[of].dtype == LIST


def _attr(operation: Operation, name: str, value: Any) -> AttrValue:
    def fail() -> GraphError:
        return GraphError(f"{operation.type} '{operation.name}': attribute {name} = {value!r} cannot be saved")

    if isinstance(value, Foreign):
        return _attr(operation, name, value.value)
    rule = OPDEFS[operation.type].attributes.get(name) if operation.type in OPDEFS else None
    if rule is not None and rule.kind == "float":
        return AttrValue(f=_float32(value, fail))
    if rule is not None and rule.kind == "bool":
        return AttrValue(b=bool(value))
    if name in _SHAPES and (value is None or isinstance(value, tuple)):
        return AttrValue(shape=_shape(value))
    if isinstance(value, tuple):
        return AttrValue(list=_list(value, fail))
    return _single(value, fail)


def _single(value: Any, fail: Any) -> AttrValue:
    """A value whose kind follows from its Python type."""
    single = _list((value,), fail)
    if single.i or single.b or single.f:
        return AttrValue(b=value) if single.b else AttrValue(i=int(value)) if single.i else AttrValue(f=float(value))
    if single.type:
        return AttrValue(type=_dtype_number(value, fail))
    return AttrValue(
        s=single.s[0] if single.s else None,
        shape=single.shape[0] if single.shape else None,
        tensor=single.tensor[0] if single.tensor else None,
        func=single.func[0] if single.func else None,
    )


def _float32(value: Any, fail: Any) -> float:
    """Attributes of GraphDef are float32: a number beyond its range is refused."""
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        raise fail() from None
    if math.isfinite(number) and abs(number) > _LARGEST:
        raise fail()
    return number


def _dtype_number(dtype: DType, fail: Any) -> int:
    number = VARIANT if dtype == LIST else DTYPE_NUMBERS.get(dtype)
    if number is None:
        raise fail()
    return number


def _list(values: tuple[Any, ...], fail: Any) -> AttrList:
    """All values of a list attribute have one type; an empty list needs none."""
    result: Any = AttrList()
    if not values:
        return result  # type: ignore[no-any-return]
    first = values[0]
    if isinstance(first, (bool, np.bool_)):
        result.b = [pack_numbers(values, "bool")]
    elif isinstance(first, (int, np.integer)):
        if not all(-(1 << 63) <= v < 1 << 63 for v in values):
            raise fail()
        result.i = [pack_numbers(values, "int64")]
    elif isinstance(first, (float, np.floating)):
        result.f = [pack_numbers([_float32(v, fail) for v in values], "float")]
    elif isinstance(first, (str, bytes)):
        result.s = [v.encode() if isinstance(v, str) else v for v in values]
    elif isinstance(first, np.dtype):
        result.type = [pack_numbers([_dtype_number(v, fail) for v in values], "enum")]
    elif isinstance(first, Literal):
        result.tensor = [tensor_proto(v) for v in values]
    elif isinstance(first, Function):
        result.func = [FunctionRef(name=v.name) for v in values]
    elif first is None or isinstance(first, tuple):
        result.shape = [_shape(v) for v in values]
    else:
        raise fail()
    return result  # type: ignore[no-any-return]


def _shape(dims: tuple[int | None, ...] | None) -> TensorShape:
    if dims is None:
        return TensorShape(unknown_rank=True)
    return TensorShape(dim=[Dim(size=-1 if d is None else int(d)) for d in dims])
