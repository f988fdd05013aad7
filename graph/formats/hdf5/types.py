"""Dataspaces and datatypes: shapes, the numbers that NumPy has, and text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....kernels.tensor import DType
from .blocks import Block

__all__ = ["Datatype", "read_datatype", "read_shape"]

_FIXED, _FLOAT, _STRING, _ENUM, _VLEN = 0, 1, 3, 8, 9
_CLASSES = {
    2: "time", 4: "bit field", 5: "opaque", 6: "compound", 7: "object reference", 8: "enumeration", 9: "sequence",
    10: "array",
}  # fmt: skip
#: IEEE numbers by size: position and size of the exponent, size of the mantissa, in bits; the bias.
_IEEE = {2: (10, 5, 10, 15), 4: (23, 8, 23, 127), 8: (52, 11, 52, 1023)}
_MAX_RANK = 32


@dataclass(frozen=True, slots=True)
class Datatype:
    """An element: ``size`` bytes in the file; a number (``dtype``, as stored), or text, or what it is called."""

    size: int
    name: str
    dtype: DType | None = None
    text: bool = False
    #: Text of varying length: an element is a reference into a global heap.
    heap: bool = False
    #: Byte that ends or pads text of fixed length.
    spaces: bool = False


def read_shape(block: Block) -> tuple[int, ...] | None:
    """A dataspace message: () for a scalar, None for one that holds nothing at all."""
    version = block.version(1, 2)
    rank, flags = block.uint(1), block.uint(1)
    kind = block.uint(1) if version == 2 else 1
    if version == 1:
        block.skip(5)
    if rank > _MAX_RANK:
        raise block.fail(f"{rank} axes", f"at most {_MAX_RANK}")
    if kind == 2:
        return None
    if kind > 2 or (kind == 0 and rank):
        raise block.fail(f"a dataspace of kind {kind} and rank {rank}", "a scalar, an array or nothing")
    shape = tuple(block.length() for _ in range(rank))
    if flags & 1:
        for size in shape:
            if block.length() < size:
                raise block.fail("a size above its maximum", "sizes within their maximum")
    return shape


def read_datatype(block: Block) -> Datatype:
    """A datatype message."""
    first = block.uint(1)
    kind, version = first & 15, first >> 4
    if not 1 <= version <= 5:
        raise block.fail(f"datatype version {version}", "version 1 to 5")
    bits, size = block.uint(3), block.uint(4)
    if size == 0:
        raise block.fail("elements of 0 bytes", "at least 1")
    if kind == _FIXED:
        return _number(block, size, f"{'>' if bits & 1 else '<'}{'i' if bits & 8 else 'u'}{size}", bits & ~9)
    if kind == _FLOAT:
        return _float(block, size, bits)
    if kind == _STRING:
        return Datatype(size, f"text of {size} bytes", text=True, spaces=bits & 15 == 2)
    if kind == _VLEN and bits & 15 == 1:
        if size != 8 + block.blocks.wide:
            raise block.fail(f"references of {size} bytes", f"{8 + block.blocks.wide} bytes")
        return Datatype(size, "text of varying length", text=True, heap=True)
    return Datatype(size, _CLASSES.get(kind, f"class {kind}"))


def _number(block: Block, size: int, code: str, unknown: int) -> Datatype:
    offset, precision = block.uint(2), block.uint(2)
    if size not in (1, 2, 4, 8) or offset or precision != 8 * size or unknown & ~6:
        return Datatype(size, f"integer of {precision} bits in {size} bytes")
    return Datatype(size, code, np.dtype(code))


def _float(block: Block, size: int, bits: int) -> Datatype:
    offset, precision = block.uint(2), block.uint(2)
    exponent_at, exponent, mantissa_at, mantissa = (block.uint(1) for _ in range(4))
    bias = block.uint(4)
    # Bits: byte order (0, 6), padding (1-3), an implied first bit of the mantissa (4-5), where the sign is (8-15).
    plain = bits & 0x40 == 0 and bits >> 4 & 3 == 2 and bits >> 8 & 0xFF == 8 * size - 1 and bits >> 16 == 0
    layout = (exponent_at, exponent, mantissa, bias)
    if not plain or offset or precision != 8 * size or mantissa_at or _IEEE.get(size) != layout:
        return Datatype(size, f"floating point of {precision} bits in {size} bytes")
    code = f"{'>' if bits & 1 else '<'}f{size}"
    return Datatype(size, code, np.dtype(code))
