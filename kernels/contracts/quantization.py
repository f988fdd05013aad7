"""Quantised numbers: integers to floats and back, and floats rounded to what integers could hold.

Quantised types are the plain integers that hold them: uint8 for quint8, int32 for qint32. Ranges are float32 inputs, one for
all or, with ``axis``, one for every index along it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import DType, Params, Shape, TensorType
from .base import FLOATS, Contract, Tolerance, merge_shapes, normalize_axis, require_dtype, shape_text

__all__ = [
    "DEQUANTIZE", "FAKE_QUANT", "QUANTIZE", "QUANTIZE_DEQUANTIZE", "DequantizeParams", "FakeQuantParams", "QuantizeDequantizeParams",
    "QuantizeParams",
]  # fmt: skip

F32: DType = np.dtype(np.float32)
QUANTISED = frozenset(map(np.dtype, ("int8", "uint8", "int16", "uint16", "int32")))
Mode = Literal["MIN_COMBINED", "MIN_FIRST", "SCALED"]
#: Rounding steps are float32's; where a quotient is near a half, one step of the result is within the bound of none.
EXACT = Tolerance(0, 0)


def _ranges(op: str, x: TensorType, ranges: Sequence[TensorType], axis: int | None, dtype: DType) -> None:
    """Scalars, or vectors as long as ``axis``."""
    wanted: Shape = ()
    if axis is not None:
        wanted = (None,) if x.shape is None else (x.shape[normalize_axis(op, axis, len(x.shape))],)
    for what, t in zip(("least", "greatest"), ranges, strict=True):
        require_dtype(op, f"the {what} value", t.dtype, frozenset([dtype]))
        # One value for all may also be a vector of one.
        if axis is None and (t.shape is None or all(d in (1, None) for d in t.shape)):
            continue
        merge_shapes(f"{op}, the {what} values", t.shape, wanted)


@dataclass(frozen=True, slots=True)
class DequantizeParams(Params):
    """``mode``, ``narrow_range``: TensorFlow's. ``axis``: ranges along it; None: one range for all."""

    mode: Mode = "MIN_COMBINED"
    narrow_range: bool = False
    axis: int | None = None


def _infer_dequantize(inputs: Sequence[TensorType], params: DequantizeParams) -> tuple[TensorType, ...]:
    x, *ranges = inputs
    require_dtype("dequantize", "the input", x.dtype, QUANTISED)
    _ranges("dequantize", x, ranges, params.axis, F32)
    return (TensorType(F32, x.shape),)


DEQUANTIZE: Contract[DequantizeParams] = Contract(
    "dequantize",
    """Integers to float32, for a range from low to high. L and H: least and greatest number of the integers' type.

    MIN_COMBINED: (x - L) * (high - low) / (H - L) + low. MIN_FIRST: the same with low rounded to a multiple of the step.
    SCALED: x * max(low / L, high / H), for unsigned x * high / H.""",
    _infer_dequantize,
    DequantizeParams,
    arity=(3, 3),
    flops=lambda inputs, outputs, params: 2 * outputs[0].size,
    tolerance=Tolerance(1e-5, 1e-5),
    hot=False,
)


@dataclass(frozen=True, slots=True)
class QuantizeParams(Params):
    """``dtype`` of the integers; ``half_to_even``: else halves go away from 0. ``minimum``: the least relative width of a range."""

    dtype: DType
    mode: Mode = "MIN_COMBINED"
    half_to_even: bool = False
    narrow_range: bool = False
    axis: int | None = None
    minimum: float = 0.01


def _infer_quantize(inputs: Sequence[TensorType], params: QuantizeParams) -> tuple[TensorType, ...]:
    x, *ranges = inputs
    require_dtype("quantize", "the input", x.dtype, frozenset([F32]))
    require_dtype("quantize", "the result", params.dtype, QUANTISED)
    _ranges("quantize", x, ranges, params.axis, F32)
    shape = () if params.axis is None else ranges[0].shape
    shape = () if shape == (1,) else shape
    return TensorType(params.dtype, x.shape), TensorType(F32, shape), TensorType(F32, shape)


QUANTIZE: Contract[QuantizeParams] = Contract(
    "quantize",
    """Float32 to integers, and the range that they stand for: the inverse of dequantize. What is outside of the range is cut;
    the range has 0 in it and is not narrower than ``minimum`` of its greatest end.""",
    _infer_quantize,
    QuantizeParams,
    arity=(3, 3),
    flops=lambda inputs, outputs, params: 3 * outputs[0].size,
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class FakeQuantParams(Params):
    """``bits`` of the integers, from 2 to 16. ``narrow_range``: they begin at 1. ``channels``: a range for every channel.

    ``given``: the range, where it is not an input.
    """

    bits: int = 8
    narrow_range: bool = False
    channels: bool = False
    given: tuple[float, float] | None = None


def _infer_fake_quant(inputs: Sequence[TensorType], params: FakeQuantParams) -> tuple[TensorType, ...]:
    x, *ranges = inputs
    require_dtype("fake_quant", "the input", x.dtype, frozenset([F32]))
    if not 2 <= params.bits <= 16:
        raise ShapeError(f"fake_quant: num_bits is {params.bits}; expected 2 to 16")
    if params.channels and x.shape == ():
        raise ShapeError(f"fake_quant: ranges for every channel of {x}, which has no channels")
    if len(ranges) != (0 if params.given else 2):
        raise ShapeError(f"fake_quant: {len(ranges)} inputs with a range; expected {0 if params.given else 2}")
    if not params.given:
        _ranges("fake_quant", x, ranges, -1 if params.channels else None, F32)
    elif not params.given[0] < params.given[1]:
        raise ShapeError(f"fake_quant: the range from {params.given[0]} to {params.given[1]} is empty")
    return (x,)


FAKE_QUANT: Contract[FakeQuantParams] = Contract(
    "fake_quant",
    """y = the nearest number of a grid of 2 ** bits steps from low to high, which is moved so that 0 is on it
    (Jacob et al. 2018). A range from 0 to 0 gives 0.""",
    _infer_fake_quant,
    FakeQuantParams,
    arity=(1, 3),
    flops=lambda inputs, outputs, params: 5 * outputs[0].size,
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class QuantizeDequantizeParams(Params):
    """``signed``: the integers are. ``bits`` of them. ``given``: the ranges are inputs, else those of the values."""

    signed: bool = True
    bits: int = 8
    given: bool = False
    half_to_even: bool = True
    narrow_range: bool = False
    axis: int | None = None


def _infer_round_trip(inputs: Sequence[TensorType], params: QuantizeDequantizeParams) -> tuple[TensorType, ...]:
    op = "quantize_dequantize"
    x, *ranges = inputs
    require_dtype(op, "the input", x.dtype, FLOATS)
    if not (1 + params.signed) <= params.bits <= 62:
        raise ShapeError(f"{op}: num_bits is {params.bits}; expected {1 + params.signed} to 62")
    if params.axis is not None and x.shape is not None:
        normalize_axis(op, params.axis, len(x.shape))
    if len(ranges) != 2 * params.given:
        raise DTypeError(f"{op}: {len(ranges)} ranges given; expected {2 * params.given}")
    if params.given:
        _ranges(op, x, ranges, params.axis, x.dtype)
    elif x.known and x.size == 0:
        raise ShapeError(f"{op}: {shape_text(x.shape)} has no values to take a range of")
    return (x,)


QUANTIZE_DEQUANTIZE: Contract[QuantizeDequantizeParams] = Contract(
    "quantize_dequantize",
    "y = x rounded to a multiple of the step with which the integers just hold the range from low to high; 0 stays 0.",
    _infer_round_trip,
    QuantizeDequantizeParams,
    arity=(1, 3),
    flops=lambda inputs, outputs, params: 4 * outputs[0].size,
    tolerance=EXACT,
    hot=False,
)
