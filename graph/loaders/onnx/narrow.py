"""Casts to element types that NumPy lacks: the values are rounded as these types have them, and stay in the next wider one.

bfloat16, the floats of 8 and 4 bits, float8e8m0 (powers of two), integers of 4 and 2 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....kernels.tensor import STRING
from ...builder import Tensor
from ...formats.onnx_tensors import STORED, Stored
from .node import Node

__all__ = ["BFLOAT16", "cast", "is_narrow", "number_of", "round_to"]

#: Their numbers as element types.
BFLOAT16, _POWERS = 16, 24
_NUMBERS = {row.name: number for number, row in STORED.items()}


@dataclass(frozen=True, slots=True)
class _Float:
    """A small float: bits of the fraction, the exponent of the least normal number, the largest number.

    beyond: what larger numbers become; None: the largest one. signed: whether there is a -0.
    """

    fraction: int
    least: int
    largest: float
    beyond: float | None = np.nan
    signed: bool = True


#: TensorProto.DataType -> the format.
_FLOATS: Mapping[int, _Float] = {
    BFLOAT16: _Float(7, -126, 2.0**127 * (2 - 2.0**-7), np.inf),
    17: _Float(3, -6, 448.0),
    18: _Float(3, -7, 240.0, signed=False),
    19: _Float(2, -14, 57344.0, np.inf),
    20: _Float(2, -15, 57344.0, signed=False),
    23: _Float(1, 0, 6.0, None),
}


def is_narrow(number: int) -> bool:
    """Whether that TensorProto.DataType is wider here than in the file."""
    row = STORED.get(number)
    return row is not None and (row.table is not None or row.name == "bfloat16")


def number_of(row: Stored) -> int:
    """The TensorProto.DataType of an element type."""
    return _NUMBERS[row.name]


def cast(n: Node, x: Tensor, number: int, *, saturate: bool = True, mode: str = "up") -> Tensor:
    """To the element type of that number, one that NumPy has or lacks."""
    if is_narrow(number):
        return round_to(n, x, number, saturate=saturate and number != BFLOAT16, mode=mode)
    target = n.element_type(number)
    if STRING in (target, n.dtype(x)) and target != n.dtype(x):
        raise n.unsupported("a cast from or to text")
    return n.op("Cast", x, DstT=target)


def round_to(n: Node, x: Tensor, number: int, *, saturate: bool = True, mode: str = "up") -> Tensor:
    """x as the nearest values that the narrow type has."""
    dtype = n.dtype(x)
    if dtype.kind not in "fiub":
        raise n.unsupported(f"a cast of {dtype} to {STORED[number].name}")
    if STORED[number].dtype.kind in "iu":
        y = _integers(n, x, STORED[number])
    elif number == _POWERS:
        y = _powers(n, n.cast(x, "float32"), saturate, mode)
    else:
        wide = (
            dtype
            if dtype == np.float64
            else np.dtype(np.float64 if dtype.itemsize > 2 and dtype.kind in "iu" else "f4")
        )
        y = n.cast(_rounded(n, n.cast(x, wide), _FLOATS[number], saturate), "float32")
    n.importer.note_type(y, number)
    return y


def _integers(n: Node, x: Tensor, row: Stored) -> Tensor:
    """The lowest bits, as of integers that NumPy has."""
    whole, spare = n.cast(x, "int64"), n.const(64 - row.bits)
    if row.dtype.kind == "i":  # the sign is copied from the highest bit that is left
        return n.cast(n.op("RightShift", n.op("LeftShift", whole, spare), spare), row.dtype)
    return n.cast(n.op("BitwiseAnd", whole, n.const((1 << row.bits) - 1)), row.dtype)


def _rounded(n: Node, x: Tensor, to: _Float, saturate: bool) -> Tensor:
    """The nearest numbers, ties to even: bits are added and cut off, below the normal numbers multiples of one step."""
    dtype = n.dtype(x)
    bits = np.dtype(f"uint{8 * dtype.itemsize}")
    cut = (52 if dtype == np.float64 else 23) - to.fraction
    pattern = n.op("Bitcast", x, type=bits)
    odd = n.op("BitwiseAnd", n.op("RightShift", pattern, n.const(cut, bits)), n.const(1, bits))
    up = n.op("AddV2", n.op("AddV2", pattern, n.const((1 << (cut - 1)) - 1, bits)), odd)
    keep = np.invert(bits.type((1 << cut) - 1))
    y = n.op("Bitcast", n.op("BitwiseAnd", up, n.const(keep, bits)), type=dtype)
    if to.least > np.finfo(dtype).minexp:
        step = 2.0 ** (to.least - to.fraction)
        steps = n.op("Mul", n.op("Rint", n.op("Mul", x, n.like(x, 1 / step))), n.like(x, step))
        y = n.op("SelectV2", n.op("Less", n.op("Abs", x), n.like(x, 2.0**to.least)), steps, y)
    above, below = (to.largest, -to.largest) if saturate or to.beyond is None else (to.beyond, -to.beyond)
    y = n.op("SelectV2", n.op("Greater", y, n.like(x, to.largest)), n.like(x, above), y)
    y = n.op("SelectV2", n.op("Less", y, n.like(x, -to.largest)), n.like(x, below), y)
    if not to.signed:
        y = n.op("SelectV2", n.op("Equal", y, n.like(x, 0)), n.like(x, 0), y)
    nan = n.like(x, np.nan if to.beyond is not None else -0.0)  # where there is no NaN it becomes -0, as in ml_dtypes
    return n.op("SelectV2", n.op("NotEqual", x, x), nan, y)


def _powers(n: Node, x: Tensor, saturate: bool, mode: str) -> Tensor:
    """Powers of two from -127 to 127, by the exponent of float32; the sign is dropped, infinity and NaN become NaN."""
    if mode not in ("up", "down", "nearest"):
        raise n.wrong(f"round_mode {mode[:40]!r}", "up, down or nearest")
    bits, u32 = n.op("Bitcast", x, type=np.dtype(np.uint32)), "uint32"
    bits = n.op("BitwiseAnd", bits, n.const(0x7FFFFFFF, u32))
    exponent = n.cast(n.op("RightShift", bits, n.const(23, u32)), "int32")
    rest = n.cast(n.op("BitwiseAnd", bits, n.const(0x7FFFFF, u32)), "int32")
    if mode != "down":
        half = n.const(0x400000, "int32")
        up = n.op("Greater", rest, n.const(0, "int32") if mode == "up" else half)
        if mode == "nearest":  # a half of the least power is rounded down
            tie = n.op("LogicalAnd", n.op("Equal", rest, half), n.op("Greater", exponent, n.const(0, "int32")))
            up = n.op("Select", n.op("Equal", rest, half), tie, up)
        if saturate:
            up = n.op("LogicalAnd", up, n.op("Less", exponent, n.const(254, "int32")))
        up = n.op("LogicalAnd", up, n.op("Less", exponent, n.const(255, "int32")))
        exponent = n.op("AddV2", exponent, n.cast(up, "int32"))
    table = np.ldexp(1.0, np.arange(256) - 127)
    table[255] = np.nan
    return n.op("GatherV2", n.const(table, "float32"), exponent, n.const(0))
