"""TensorProto to Literal and back, with every rule of the format checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...kernels.tensor import STRING, DType, is_int
from ..ir import Literal
from .limits import Budget
from .protobuf.numbers import unpack_numbers
from .protobuf.reader import Reader
from .protobuf.wire import Span
from .protobuf.write import pack_numbers
from .source import Source
from .tensorflow import BFLOAT16, DTYPE_NAMES, DTYPE_NUMBERS, DTYPES, Dim, TensorProto, TensorShape

__all__ = ["literal", "shape_dims", "tensor_proto", "value_field"]

#: Element type -> (field with the values, wire kind, how the field's numbers become elements).
_FIELDS: dict[DType, tuple[str, str]] = {
    np.dtype(dtype): (field, kind)
    for dtype, field, kind in (
        ("float32", "float_val", "float"), ("float64", "double_val", "double"), ("float16", "half_val", "int32"),
        ("int8", "int_val", "int32"), ("int16", "int_val", "int32"), ("int32", "int_val", "int32"),
        ("uint8", "int_val", "int32"), ("uint16", "int_val", "int32"), ("int64", "int64_val", "int64"),
        ("uint32", "uint32_val", "uint32"), ("uint64", "uint64_val", "uint64"), ("bool", "bool_val", "bool"),
        ("complex64", "scomplex_val", "float"), ("complex128", "dcomplex_val", "double"),
    )
}  # fmt: skip
_VALUE_FIELDS = ("string_val", *dict.fromkeys(field for field, _ in _FIELDS.values()))
#: Constants up to this size are read immediately: the shapes, axes and scalars that shape inference needs.
_SMALL = 4096
_UINT16 = 17


def shape_dims(shape: TensorShape | None) -> tuple[int | None, ...] | None:
    """A TensorShape as kigraph writes it; None for an unknown rank, None inside for an unknown size (-1)."""
    if shape is None:
        return ()
    return None if shape.unknown_rank else tuple(None if d.size == -1 else d.size for d in shape.dim)


def value_field(dtype: DType) -> str:
    """The field of a TensorProto that has the values of this element type."""
    return "string_val" if dtype == STRING else _FIELDS[dtype][0]


def literal(proto: TensorProto, reader: Reader, source: Source, budget: Budget, place: str) -> Literal:
    """The constant of a TensorProto; values above 4 KiB stay in the file until they are used.

    Fewer values than elements: the last one fills the rest, none at all means zeros (the rule of TensorFlow's
    Tensor::FromProto, on which its writers rely). Everything else that does not fit is a LoadError.
    """
    dtype = DTYPES.get(proto.dtype)
    if proto.dtype == BFLOAT16:
        return _bfloat16(proto, reader, source, budget, place)
    if dtype is None:
        name = DTYPE_NAMES.get(proto.dtype, f"type number {proto.dtype}")
        raise budget.error(
            place, f"a constant of element type {name}", "one that NumPy has", "Export the graph in float32."
        )
    dims = shape_dims(proto.tensor_shape)
    if dims is None or None in dims:
        raise budget.error(place, "a constant of unknown shape", "all sizes known")
    shape = tuple(d for d in dims if d is not None)
    count = budget.tensor(shape, dtype.itemsize, place)
    filled = [name for name in _VALUE_FIELDS if getattr(proto, name)]
    if dtype == STRING:
        return _strings(proto, shape, count, filled, reader, budget, place)
    field, kind = _FIELDS[dtype]
    content = proto.tensor_content
    if content is not None and content.size:
        if filled:
            raise budget.error(place, f"tensor_content and {filled[0]}", "one of the two")
        if content.size != count * dtype.itemsize:
            raise budget.error(
                place, f"{content.size} bytes", f"{count * dtype.itemsize} bytes for {dtype.name}{list(shape)}"
            )
        load = _content_loader(source, content, dtype, shape)
        key = ("file", source, content.start, dtype.str, shape)
        return _resident(load) if content.size <= _SMALL else Literal.lazy(dtype, shape, load, key)
    if any(name != field for name in filled):
        raise budget.error(place, f"values in {', '.join(filled)}", f"values in {field} for {dtype.name}")
    return _values(getattr(proto, field), kind, dtype, shape, count, source, budget, place)


def _bfloat16(proto: TensorProto, reader: Reader, source: Source, budget: Budget, place: str) -> Literal:
    """The same numbers in float32: a bfloat16 is its upper half."""
    halves = literal(replace(proto, dtype=_UINT16, int_val=proto.half_val, half_val=[]), reader, source, budget, place)
    budget.bytes(2 * halves.type.size, place)

    def load() -> np.ndarray[Any, Any]:
        return (halves.array().astype(np.uint32) << 16).view(np.float32)

    if halves.nbytes <= _SMALL:
        return _resident(load)
    return Literal.lazy(np.dtype(np.float32), halves.shape, load, ("bfloat16", halves.key))


def _resident(load: Callable[[], np.ndarray[Any, Any]]) -> Literal:
    return Literal.of(load())


def _content_loader(
    source: Source, content: Span, dtype: DType, shape: tuple[int, ...]
) -> Callable[[], np.ndarray[Any, Any]]:
    if dtype.kind == "b":  # bytes other than 0 and 1 are not valid elements for NumPy
        return lambda: source.array(content.start, np.dtype(np.uint8), shape) != 0
    return lambda: source.array(content.start, dtype, shape)


def _values(
    spans: list[Span],
    kind: str,
    dtype: DType,
    shape: tuple[int, ...],
    count: int,
    source: Source,
    budget: Budget,
    place: str,
) -> Literal:
    size = sum(span.size for span in spans)
    # A varint of ten bytes is the least dense, so this is a lower bound only; the exact check follows on reading.
    budget.bytes(8 * size if kind not in ("float", "double") else size, place)

    def load() -> np.ndarray[Any, Any]:
        try:
            values = unpack_numbers(b"".join(source.read(*span) for span in spans), kind)
        except ValueError as e:
            raise budget.error(place, str(e), f"packed {kind} values") from None
        if dtype == np.float16:
            values = _narrow(values, np.dtype(np.uint16), budget, place).view(np.float16)
        elif dtype.kind == "c":
            if values.size % 2:
                raise budget.error(place, f"{values.size} parts of complex numbers", "an even number")
            values = values.view(dtype)
        elif is_int(dtype):
            values = _narrow(values, dtype, budget, place)
        if values.size > count:
            raise budget.error(place, f"{values.size} values", f"at most {count} for shape {shape}")
        if values.size == count:
            return np.ascontiguousarray(values, dtype).reshape(shape)
        result = np.full(shape, values[-1] if values.size else 0, dtype)
        result.reshape(-1)[: values.size] = values
        return result

    if max(count * dtype.itemsize, size) <= _SMALL:
        return _resident(load)
    return Literal.lazy(dtype, shape, load, ("file", source, kind, tuple(map(tuple, spans)), dtype.str, shape))


def _narrow(values: np.ndarray[Any, Any], dtype: DType, budget: Budget, place: str) -> np.ndarray[Any, Any]:
    narrow = values.astype(dtype)
    if not np.array_equal(narrow, values):
        raise budget.error(place, f"values from {values.min()} to {values.max()}", f"values of {dtype.name}")
    return narrow


def _strings(
    proto: TensorProto,
    shape: tuple[int, ...],
    count: int,
    filled: list[str],
    reader: Reader,
    budget: Budget,
    place: str,
) -> Literal:
    content = proto.tensor_content
    if (content is not None and content.size) or any(name != "string_val" for name in filled):
        raise budget.error(place, "a string constant without string_val", "its strings in string_val")
    values = [reader.content(span) for span in proto.string_val]
    if len(values) > count:
        raise budget.error(place, f"{len(values)} strings", f"at most {count} for shape {shape}")
    budget.bytes(sum(map(len, values)), place)
    result = np.empty(count, STRING)
    result[: len(values)] = values
    result[len(values) :] = values[-1] if values else b""
    return Literal.of(result.reshape(shape))


def tensor_proto(value: Literal) -> TensorProto:
    """A TensorProto for writing. The array is read here, and tensor_content refers to it without a copy."""
    array = value.array()
    proto = TensorProto(
        dtype=DTYPE_NUMBERS[value.dtype], tensor_shape=TensorShape(dim=[Dim(size=d) for d in value.shape])
    )
    if value.dtype == STRING:
        proto.string_val = list(array.ravel())
    elif array.ndim == 0 and value.dtype.kind in "fiub" and value.dtype != np.float16:
        field, kind = _FIELDS[value.dtype]
        setattr(proto, field, pack_numbers([array.item()], kind))
    else:
        content = np.ascontiguousarray(array).astype(value.dtype.newbyteorder("<"), copy=False)
        proto.tensor_content = content.reshape(-1).view(np.uint8).data  # type: ignore[assignment]
    return proto
