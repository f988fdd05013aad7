"""Constants of a TensorFlow Lite model as literals that stay in the file: unpacked, densified, dequantised when they are read."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ....kernels.tensor import DType
from ...formats.flatbuffers.reader import Span
from ...formats.flatbuffers.tflite import Quantization, Sparsity, TensorDef
from ...formats.limits import Budget
from ...formats.source import Source
from ...ir import Key, Literal
from .sparse import densify

__all__ = ["BFLOAT16", "FLOAT16", "FLOAT32", "KINDS", "STRING", "Constant", "constant_of", "kind_name"]

FLOAT32, FLOAT16, BFLOAT16, STRING = 0, 1, 18, 5
#: Number of the element type -> what kigraph has it as.
KINDS: dict[int, DType] = {
    number: np.dtype(name)
    for number, name in (
        (0, "float32"), (1, "float16"), (2, "int32"), (3, "uint8"), (4, "int64"), (6, "bool"), (7, "int16"), (8, "complex64"),
        (9, "int8"), (10, "float64"), (11, "complex128"), (12, "uint64"), (15, "uint32"), (16, "uint16"), (17, "int8"),
        (18, "float32"), (19, "int8"), (20, "uint8"),
    )
}  # fmt: skip
_BY_NUMBER = """
    FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64 RESOURCE VARIANT UINT32 UINT16
    INT4 BFLOAT16 INT2 UINT4
"""
_NAMES = tuple(_BY_NUMBER.split())
#: Types of less than a byte: bits, and whether they have a sign. The first element is in the lowest bits.
_PACKED = {17: (4, True), 19: (2, True), 20: (4, False)}
#: Constants up to this size are read immediately: the shapes, axes and scalars that shape inference needs.
_SMALL = 4096


def kind_name(kind: int) -> str:
    return _NAMES[kind] if 0 <= kind < len(_NAMES) else f"type {kind}"


@dataclass(frozen=True, slots=True)
class Constant:
    """``shape`` and ``kind`` (number of the element type) of the values at ``data`` in the file."""

    source: Source
    data: Span
    kind: int
    shape: tuple[int, ...]
    quantization: Quantization | None
    sparsity: Sparsity | None

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def dtype(self) -> DType:
        """As it is given to the graph: float32 for what is quantised."""
        return np.dtype(np.float32) if self.quantization is not None else KINDS[self.kind]

    def stored(self) -> np.ndarray[Any, Any]:
        """The elements as they are in the file."""
        dtype = KINDS[self.kind]
        if self.sparsity is not None:
            values = self.source.array(self.data.start, dtype, (self.data.length // dtype.itemsize,))
            return densify(values, self.shape, self.sparsity, self.source.name)
        if self.kind in _PACKED:
            bits, signed = _PACKED[self.kind]
            packed = self.source.array(self.data.start, np.dtype(np.uint8), (self.data.length,))
            return _unpacked(packed, bits, signed, self.count).reshape(self.shape)
        if self.kind == BFLOAT16:
            wide = self.source.array(self.data.start, np.dtype(np.uint16), self.shape).astype(np.uint32)
            shifted: np.ndarray[Any, Any] = np.left_shift(wide, 16).view(np.float32)
            return shifted
        if dtype.kind == "b":  # bytes other than 0 and 1 are not valid elements for NumPy
            return self.source.array(self.data.start, np.dtype(np.uint8), self.shape).astype(np.bool_)
        return self.source.array(self.data.start, dtype, self.shape)

    def value(self, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
        """The elements, dequantised in ``dtype`` if they are quantised."""
        stored = self.stored()
        q = self.quantization
        if q is None:
            return stored
        line = [1] * len(self.shape)
        if q.scale.size > 1:
            line[q.axis] = -1
        scale, zero = (a.reshape(line if a.size > 1 else ()) for a in (q.scale, q.zero_point))
        # float32 holds differences of up to 17 bits exactly, so the product is rounded once; biases have 32.
        exact = np.dtype(dtype if stored.dtype.itemsize < 4 else np.float64)
        value: np.ndarray[Any, Any] = stored.astype(exact)
        value -= zero.astype(exact)
        value *= scale.astype(exact)
        return value.astype(dtype, copy=False)

    def literal(self, change: Change | None = None, dtype: DType | None = None) -> Literal:
        """The value as a literal; ``change`` gives it another layout, ``dtype`` another element type."""
        wanted = self.dtype if dtype is None else dtype
        shape = self.shape if change is None else change.shape(self.shape)

        def load() -> np.ndarray[Any, Any]:
            value = self.value().astype(wanted, copy=False)
            return value if change is None else np.ascontiguousarray(change.apply(value))

        def wide() -> np.ndarray[Any, Any]:
            value = self.value(np.float64).astype(np.float64, copy=False)
            return value if change is None else np.ascontiguousarray(change.apply(value))

        if prod(shape) * wanted.itemsize <= _SMALL:
            return Literal.of(load())
        return Literal.lazy(wanted, shape, load, self.key(change, wanted), wide=wide if wanted.kind == "f" else None)

    def key(self, change: Change | None, dtype: DType) -> Key:
        q, s = self.quantization, self.sparsity
        scales = None if q is None else (q.scale.tobytes(), q.zero_point.tobytes(), q.axis)
        # The levels of a sparse tensor are in the same file; the elements' place tells them from others.
        packed = None if s is None else (s.order, s.blocks, tuple(a.size for a in s.axes))
        layout = None if change is None else (change.perm, change.sizes)
        return Key("tflite", self.source, *self.data, self.kind, self.shape, scales, packed, layout, dtype.str)


@dataclass(frozen=True, slots=True)
class Change:
    """Another layout of a constant: transposed by ``perm`` if given, then reshaped to ``sizes`` if given."""

    perm: tuple[int, ...] | None = None
    sizes: tuple[int, ...] | None = None

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.perm is not None:
            shape = tuple(shape[p] for p in self.perm)
        return shape if self.sizes is None else self.sizes

    def apply(self, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if self.perm is not None:
            value = value.transpose(self.perm)
        return value if self.sizes is None else value.reshape(self.sizes)


def _unpacked(packed: np.ndarray[Any, Any], bits: int, signed: bool, count: int) -> np.ndarray[Any, Any]:
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values = ((packed[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count].astype(np.int8)
    if signed:
        values -= (values >= 1 << (bits - 1)).astype(np.int8) << bits
    return values if signed else values.astype(np.uint8)


def constant_of(tensor: TensorDef, source: Source, budget: Budget, place: str) -> Constant | None:
    """The constant of a tensor that has data; None for element types that no array has."""
    dtype = KINDS.get(tensor.kind)
    if dtype is None:
        return None
    count = budget.tensor(tensor.shape, dtype.itemsize, place)
    data = Span(0, 0) if tensor.data is None else tensor.data
    if tensor.sparsity is not None:
        if tensor.kind in _PACKED or tensor.kind == BFLOAT16:
            raise budget.error(place, f"a sparse tensor of {kind_name(tensor.kind)}", "one of whole bytes")
    else:
        bits = (
            _PACKED[tensor.kind][0] if tensor.kind in _PACKED else 16 if tensor.kind == BFLOAT16 else 8 * dtype.itemsize
        )
        if data.length != -(-count * bits // 8):
            raise budget.error(
                place,
                f"{data.length:,} bytes",
                f"{-(-count * bits // 8):,} bytes for {kind_name(tensor.kind)} of shape {tensor.shape}",
            )
    return Constant(source, data, tensor.kind, tensor.shape, tensor.quantization, tensor.sparsity)
