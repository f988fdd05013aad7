"""The attributes of nodes as Python values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....kernels.records import dataclass
from ...formats.limits import Budget
from ...formats.protobuf.reader import Reader
from ...formats.protobuf.wire import Span
from ...formats.source import Source
from ...formats.tensorflow import BFLOAT16, DTYPE_NAMES, DTYPES, AttrValue, NodeDef
from ...formats.tensorproto import literal, shape_dims
from ...ir import UNKNOWN
from ...opdefs import OPDEFS, OWN, Foreign

__all__ = ["Function", "attributes", "check_output_count"]

#: Op types that change no number, and Cast, of which DstT is looked at by itself.
_MOVES = frozenset(
    [
        "Const",
        "Identity",
        "IdentityN",
        "StopGradient",
        "Reshape",
        "ExpandDims",
        "Squeeze",
        "Transpose",
        "Concat",
        "ConcatV2",
        "Pack",
        "Unpack",
        "Split",
        "SplitV",
        "Slice",
        "StridedSlice",
        "Gather",
        "GatherV2",
        "Tile",
        "BroadcastTo",
        "Shape",
        "Size",
        "Rank",
        "Switch",
        "Merge",
        "Cast",
    ]
)
#: Until then a Placeholder of shape () meant "shape not known" (array_ops.cc, graph_def_version() <= 21).
_LAST_PRODUCER_WITH_SCALAR_AS_UNKNOWN = 21


@dataclass(frozen=True, slots=True)
class Function:
    """An attribute that names a function of the graph's library."""

    name: str


def attributes(
    node: NodeDef, op: str, producer: int, reader: Reader, source: Source, budget: Budget, place: str
) -> dict[str, Any]:
    """The attributes of a node as Python values."""
    attrs = {
        name: _attribute(value, op, reader, source, budget, f"{place}, attribute '{name}'")
        for name, value in node.attr.items()
    }
    if op == "Cast" and attrs.get("DstT") is UNKNOWN and node.attr["DstT"].type == BFLOAT16:
        attrs["DstT"] = Foreign("bfloat16")
    if op == node.op:
        for name, default in OWN.get(op, {}).items():
            # Files of earlier versions say what they need not: axis = -1 on a Softmax, say.
            if name in attrs and (value := attrs.pop(name)) != default:
                attrs[name] = Foreign(value)
    if node.op in ("Placeholder", "PlaceholderV2") and producer <= _LAST_PRODUCER_WITH_SCALAR_AS_UNKNOWN:
        attrs["shape"] = attrs.get("shape") or None
    return attrs


def _attribute(value: AttrValue, op: str, reader: Reader, source: Source, budget: Budget, place: str) -> Any:
    """The Python value of an attribute: see builder.Graph.create_op for the conventions."""
    if value.literal is not None:
        return value.literal
    if value.s is not None:
        return _text(reader.content(value.s))
    if value.type is not None:
        return _dtype(value.type, op)
    if value.shape is not None:
        return _shape(value.shape)
    if value.tensor is not None:
        return literal(value.tensor, reader, source, budget, place)
    if value.func is not None:
        return Function(value.func.name)
    if value.placeholder is not None:
        return Foreign(f"the placeholder '{value.placeholder[:80]}' of a function's body")
    if value.list is not None:
        return _list(value.list, op, reader, source, budget, place)
    for scalar in (value.i, value.f, value.b):
        if scalar is not None:
            return scalar
    return Foreign("a value of no known kind")


def _list(value: Any, op: str, reader: Reader, source: Source, budget: Budget, place: str) -> tuple[Any, ...]:
    for field, kind in (("i", "int64"), ("f", "float"), ("b", "bool"), ("type", "enum")):
        spans: list[Span] = getattr(value, field)
        if spans:
            budget.item(place, spans[0].start, sum(span.size for span in spans))
            numbers = reader.numbers(spans, kind).tolist()
            return tuple(_dtype(n, op) for n in numbers) if field == "type" else tuple(numbers)
    if value.s:
        return tuple(_text(reader.content(span)) for span in value.s)
    if value.shape:
        return tuple(_shape(shape) for shape in value.shape)
    if value.tensor:
        return tuple(literal(t, reader, source, budget, f"{place}[{i}]") for i, t in enumerate(value.tensor))
    return tuple(Function(f.name) for f in value.func)


def check_output_count(attrs: Mapping[str, Any], budget: Budget, place: str) -> None:
    """Split and similar ops state how many outputs they have; a few bytes must not become millions of tensors."""
    for name in ("num_split", "num"):
        count = attrs.get(name)
        if isinstance(count, int) and count > 0:
            budget.item(f"{place}, attribute '{name}'", 0, count)


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _dtype(number: int, op: str) -> Any:
    """A NumPy type; for types that NumPy lacks (resource, bfloat16) their name, or UNKNOWN where a type must be."""
    number = number - 100 if number > 100 else number  # reference types of variables
    found = DTYPES.get(number)
    if found is not None:
        return found
    name = DTYPE_NAMES.get(number, f"type {number}")
    if op not in OPDEFS:
        return name
    # Numbers of bfloat16 are held as float32: exact where they are only moved, and refused where they would be rounded.
    return Foreign(name) if name == "bfloat16" and op not in _MOVES else UNKNOWN


def _shape(shape: Any) -> Any:
    dims = shape_dims(shape)
    if dims is not None and any(d is not None and not 0 <= d < 1 << 62 for d in dims):
        return Foreign(dims)
    return dims
