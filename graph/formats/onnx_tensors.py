"""ONNX's constants (TensorProto, SparseTensorProto) to literals; every rule is checked before anything is allocated.

Element types that NumPy lacks become the next wider one that it has: bfloat16 and the 8-bit floats float32, integers
of 4 and 2 bits int8 or uint8. No value changes by that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ...kernels.tensor import STRING, DType
from ..ir import Literal
from .limits import Budget
from .onnx import SparseTensor, TensorProto
from .protobuf.numbers import unpack_numbers
from .protobuf.reader import Reader
from .protobuf.wire import Span
from .source import Source

__all__ = ["STORED", "Constants", "Stored"]

Value = np.ndarray[Any, Any]
#: Constants up to this size are read immediately: the shapes, axes and scalars that shape inference needs.
_SMALL = 4096
_EXTERNAL = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """An element type of ONNX: its name; the type it has here; how it is stored; in which field its numbers are.

    bits: below 8, several share a byte, the first one in the lowest bits. table: the values of all bit patterns, where
    they are not the numbers themselves.
    """

    name: str
    dtype: DType
    stored: DType
    field: str
    kind: str
    bits: int = 0
    table: Callable[[], Value] | None = None

    def count(self, elements: int) -> int:
        """How many stored numbers hold that many elements."""
        return -(-elements * self.bits // 8) if 0 < self.bits < 8 else elements * (2 if self.dtype.kind == "c" else 1)


def _minifloat(exponent: int, mantissa: int, bias: int, *, nan: Sequence[int] = (), ieee: bool = False) -> Value:
    """The values of all patterns of a small float, the sign in the highest bit. ieee: the last exponent is inf and NaN."""
    patterns = np.arange(1 << (1 + exponent + mantissa))
    e, m = patterns >> mantissa & ((1 << exponent) - 1), patterns & ((1 << mantissa) - 1)
    fraction = m / (1 << mantissa)
    value = np.where(e == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (e - bias))
    if ieee:
        value = np.where(e == (1 << exponent) - 1, np.where(m == 0, np.inf, np.nan), value)
    value = np.where(patterns >> (exponent + mantissa) & 1, -value, value)
    value[list(nan)] = np.nan
    return value.astype(np.float32)


def _powers() -> Value:
    """float8e8m0: powers of two, the last pattern NaN. The first is subnormal in float32."""
    value = np.ldexp(1.0, np.arange(256) - 127)
    value[255] = np.nan
    return value.astype(np.float32)


def _signed(bits: int) -> Value:
    patterns = np.arange(1 << bits)
    return np.where(patterns >> (bits - 1), patterns - (1 << bits), patterns).astype(np.int8)


def _row(name: str, dtype: str, field: str, kind: str, stored: str = "", **more: Any) -> Stored:
    return Stored(name, np.dtype(dtype), np.dtype(stored or dtype), field, kind, **more)


_I32 = ("int32_data", "int32")
#: TensorProto.DataType -> the element type.
STORED: Mapping[int, Stored] = {
    1: _row("float", "float32", "float_data", "float"),
    2: _row("uint8", "uint8", *_I32),
    3: _row("int8", "int8", *_I32),
    4: _row("uint16", "uint16", *_I32),
    5: _row("int16", "int16", *_I32),
    6: _row("int32", "int32", *_I32),
    7: _row("int64", "int64", "int64_data", "int64"),
    8: Stored("string", STRING, STRING, "string_data", "bytes"),
    9: _row("bool", "bool", *_I32, "uint8"),
    10: _row("float16", "float16", *_I32, "uint16"),
    11: _row("double", "float64", "double_data", "double"),
    12: _row("uint32", "uint32", "uint64_data", "uint64"),
    13: _row("uint64", "uint64", "uint64_data", "uint64"),
    14: _row("complex64", "complex64", "float_data", "float", "float32"),
    15: _row("complex128", "complex128", "double_data", "double", "float64"),
    16: _row("bfloat16", "float32", *_I32, "uint16"),
    17: _row("float8e4m3fn", "float32", *_I32, "uint8", table=lambda: _minifloat(4, 3, 7, nan=(0x7F, 0xFF))),
    18: _row("float8e4m3fnuz", "float32", *_I32, "uint8", table=lambda: _minifloat(4, 3, 8, nan=(0x80,))),
    19: _row("float8e5m2", "float32", *_I32, "uint8", table=lambda: _minifloat(5, 2, 15, ieee=True)),
    20: _row("float8e5m2fnuz", "float32", *_I32, "uint8", table=lambda: _minifloat(5, 2, 16, nan=(0x80,))),
    21: _row("uint4", "uint8", *_I32, bits=4, table=lambda: np.arange(16, dtype=np.uint8)),
    22: _row("int4", "int8", *_I32, "uint8", bits=4, table=lambda: _signed(4)),
    23: _row("float4e2m1", "float32", *_I32, "uint8", bits=4, table=lambda: _minifloat(2, 1, 1)),
    24: _row("float8e8m0", "float32", *_I32, "uint8", table=_powers),
    25: _row("uint2", "uint8", *_I32, bits=2, table=lambda: np.arange(4, dtype=np.uint8)),
    26: _row("int2", "int8", *_I32, "uint8", bits=2, table=lambda: _signed(2)),
}
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def _decoded(row: Stored, values: Value, shape: tuple[int, ...]) -> Value:
    """Elements from what is stored."""
    if row.dtype.kind == "c":
        return values.view(row.dtype).reshape(shape)
    if row.name == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if row.name == "float16":
        return values.view(np.float16).reshape(shape)
    if row.dtype.kind == "b":
        truth: Value = values != 0
        return truth.reshape(shape)
    if row.table is None:
        return values.reshape(shape)
    if row.bits:
        shifts = np.arange(0, 8, row.bits, dtype=np.uint8)
        values = (values[:, None] >> shifts & ((1 << row.bits) - 1)).reshape(-1)[: prod(shape)]
    elements: Value = row.table()[values]
    return elements.reshape(shape)


class Constants:
    """Makes literals of the constants of one file. ``beside(location, place)`` opens a file of external data."""

    def __init__(
        self, reader: Reader, source: Source, budget: Budget, beside: Callable[[str, str], Source] | None
    ) -> None:
        self._reader, self._source, self._budget, self._beside = reader, source, budget, beside
        self._opened: dict[str, Source] = {}

    def dims(self, spans: list[Span], place: str) -> tuple[int, ...]:
        """The sizes of an array, none negative."""
        dims = tuple(int(d) for d in self._reader.numbers(spans, "int64"))
        if any(d < 0 for d in dims):
            raise self._budget.error(place, f"shape {dims}", "sizes of at least 0")
        return dims

    def literal(self, proto: TensorProto, place: str) -> Literal:
        """The constant; values above 4 KiB stay in the file until they are used."""
        row = STORED.get(proto.data_type)
        if row is None:
            raise self._budget.error(place, f"element type number {proto.data_type}", "a type of ONNX, 1 to 26")
        shape = self.dims(proto.dims, place)
        count = self._budget.tensor(shape, row.dtype.itemsize, place)
        filled = [name for name in _FIELDS if getattr(proto, name)]
        if proto.data_location == _EXTERNAL:
            if filled or proto.raw_data is not None:
                raise self._budget.error(place, "external data and values in the file", "one of the two")
            return self._external(proto, row, shape, count, place)
        if row.dtype == STRING:
            return self._strings(proto, shape, count, filled, place)
        if proto.raw_data is not None:
            if filled:
                raise self._budget.error(place, f"raw_data and {filled[0]}", "one of the two")
            return self._raw(self._source, proto.raw_data, row, shape, place)
        if any(name != row.field for name in filled):
            raise self._budget.error(place, f"values in {', '.join(filled)}", f"values in {row.field} for {row.name}")
        return self._numbers(getattr(proto, row.field), row, shape, place)

    def _raw(self, source: Source, span: Span, row: Stored, shape: tuple[int, ...], place: str) -> Literal:
        stored = row.count(prod(shape))
        if span.size != stored * row.stored.itemsize:
            raise self._budget.error(
                place, f"{span.size} bytes", f"{stored * row.stored.itemsize} bytes for {row.name}{list(shape)}"
            )
        plain = row.dtype == row.stored and row.table is None

        def load() -> Value:
            if plain:
                return source.array(span.start, row.stored, shape)
            return _decoded(row, source.array(span.start, row.stored, (stored,)), shape)

        return _made(row, shape, load, ("file", source, span.start, row.name, shape), span.size)

    def _numbers(self, spans: list[Span], row: Stored, shape: tuple[int, ...], place: str) -> Literal:
        size, wanted = sum(span.size for span in spans), row.count(prod(shape))
        width = row.stored.itemsize if row.kind in ("float", "double") else 1
        if not wanted * width <= size <= wanted * max(width, 10):  # a varint takes 1 to 10 bytes
            raise self._budget.error(place, f"{size} bytes in {row.field}", f"{wanted} numbers for {row.name}")
        self._budget.bytes(8 * size if width == 1 else size, place)
        source, budget = self._source, self._budget

        def load() -> Value:
            try:
                values = unpack_numbers(b"".join(source.read(*span) for span in spans if span.size), row.kind)
            except ValueError as e:
                raise budget.error(place, str(e), f"packed {row.kind} values") from None
            if values.size != wanted:
                raise budget.error(place, f"{values.size} values", f"{wanted} for {row.name}{list(shape)}")
            narrow = values.astype(row.stored)
            if row.kind not in ("float", "double") and not np.array_equal(narrow, values):
                raise budget.error(place, f"values from {values.min()} to {values.max()}", f"values of {row.name}")
            return np.asarray(
                _decoded(row, narrow, shape), row.dtype, order="C"
            )  # ascontiguousarray adds an axis to a scalar

        return _made(row, shape, load, ("file", source, row.kind, tuple(map(tuple, spans)), row.name, shape), size)

    def _strings(
        self, proto: TensorProto, shape: tuple[int, ...], count: int, filled: list[str], place: str
    ) -> Literal:
        if proto.raw_data is not None or any(name != "string_data" for name in filled):
            raise self._budget.error(place, "a string constant without string_data", "its strings in string_data")
        if len(proto.string_data) != count:
            raise self._budget.error(place, f"{len(proto.string_data)} strings", f"{count} for shape {shape}")
        values = [self._reader.content(span) for span in proto.string_data]
        self._budget.bytes(sum(map(len, values)), place)
        result = np.empty(count, STRING)
        result[:] = values
        return Literal.of(result.reshape(shape))

    def _external(self, proto: TensorProto, row: Stored, shape: tuple[int, ...], count: int, place: str) -> Literal:
        """Data of another file: ``location`` beside the model, ``offset`` and ``length`` in bytes."""
        entries = {entry.key: entry.value for entry in proto.external_data}
        location = entries.get("location", "")
        if self._beside is None or row.dtype == STRING:
            what = f"{row.name} elements in another file ('{location[:80]}')"
            raise self._budget.error(place, what, "the values in the file itself")
        if location not in self._opened:
            self._opened[location] = self._beside(location, place)
        source = self._opened[location]
        size = row.count(count) * row.stored.itemsize
        offset = self._number(entries.get("offset", "0"), "offset", place)
        length = self._number(entries.get("length", str(size)), "length", place)
        if length != size:
            raise self._budget.error(place, f"length {length}", f"{size} bytes for {row.name}{list(shape)}")
        if offset + length > source.size:
            raise self._budget.error(
                place, f"{length} bytes at {offset} of '{location[:80]}', which has {source.size}", "bytes of that file"
            )
        return self._raw(source, Span(offset, length), row, shape, place)

    def _number(self, text: str, what: str, place: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= 19):
            raise self._budget.error(place, f"{what} {text[:80]!r}", "a number of bytes")
        return int(text)

    def sparse(self, proto: SparseTensor, place: str) -> Literal:
        """A sparse constant as a dense one."""
        if proto.values is None or proto.indices is None:
            raise self._budget.error(place, "a sparse constant without values or indices", "both")
        values, indices = self.literal(proto.values, place), self.literal(proto.indices, place)
        shape = self.dims(proto.dims, place)
        count = self._budget.tensor(shape, values.dtype.itemsize, place)
        stored = values.type.size
        rows = (stored,) if len(indices.shape) == 1 else (stored, len(shape))
        if len(values.shape) != 1 or indices.shape != rows or indices.dtype != np.int64:
            raise self._budget.error(place, f"indices {indices.type} for values {values.type}", f"int64 {rows}")
        budget = self._budget

        def load() -> Value:
            at = indices.array()
            if at.ndim == 2:
                if at.size and ((at < 0) | (at >= np.array(shape))).any():
                    raise budget.error(place, "an index outside of the shape", f"positions in {shape}")
                at = np.ravel_multi_index(tuple(at.T), shape) if at.size else np.empty(0, np.int64)
            elif at.size and not (at.min() >= 0 and at.max() < count):
                raise budget.error(place, f"indices from {at.min()} to {at.max()}", f"positions in {shape}")
            dense = np.zeros(count, values.dtype)
            dense[at] = values.array()
            return dense.reshape(shape)

        if count * values.dtype.itemsize <= _SMALL:
            return Literal.of(load())
        return Literal.lazy(values.dtype, shape, load, ("sparse", values.key, indices.key, shape))


def _made(row: Stored, shape: tuple[int, ...], load: Callable[[], Value], key: Any, stored: int) -> Literal:
    if max(prod(shape) * row.dtype.itemsize, stored) <= _SMALL:
        return Literal.of(load())
    return Literal.lazy(row.dtype, shape, load, key)
