"""Quantised numbers in ONNX: TensorFlow's ranges as arithmetic in float32, in the order of TensorFlow's own operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Operation, Tensor
from .onnx_parts import Parts
from .onnx_writer import Writer

__all__ = ["RULES"]

Rule = Callable[[Writer, Operation], None]
Array = np.ndarray[Any, Any]
_F = np.float32


def _range(p: Parts, x: Tensor, first: int, axis: int | None) -> tuple[Array, Array]:
    """The least and greatest value, which must be constants, as they broadcast."""
    found = []
    for i in (first, first + 1):
        value = p.writer.required(p.op, i).astype(_F)
        shape = (
            () if axis is None else tuple(-1 if i == axis % (x.type.rank or 1) else 1 for i in range(x.type.rank or 1))
        )
        found.append(value.reshape(shape))
    return found[0], found[1]


def _axis(op: Operation) -> int | None:
    axis = int(op.attrs.get("axis", -1))
    return None if axis == -1 else axis


def _text(op: Operation, name: str, default: str) -> str:
    value = op.attrs.get(name, default)
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _away(x: Array) -> Array:
    whole = np.trunc(x)
    rounded: Array = whole + np.where(np.abs(x - whole) >= 0.5, np.copysign(_F(1), x), _F(0))
    return rounded


def _nearest(p: Parts, x: Tensor, even: bool) -> Tensor:
    """The nearest integer; halves to even, or away from 0."""
    if even:
        return p("Rint", x)
    size = p("Floor", p("Abs", x))
    up = p("GreaterEqual", p("Sub", p("Abs", x), size), 0.5)
    return p("Mul", p("AddV2", size, p("Cast", up, DstT=np.dtype(_F))), p("Sign", x))


def _dequantize(writer: Writer, op: Operation) -> None:
    p, x = Parts(writer, op), op.inputs[0]
    low, high = _range(p, x, 1, _axis(op))
    info, mode, real = np.iinfo(x.dtype), _text(op, "mode", "MIN_COMBINED"), p.cast(x, _F)
    least, most = _F(info.min), _F(info.max)
    with np.errstate(divide="ignore", invalid="ignore"):
        if mode == "MIN_COMBINED":
            half = _F(0) if info.min == 0 else (most - least + _F(1)) / _F(2)
            moved = real if half == 0 else p("AddV2", real, half)
            made = p("AddV2", p("Mul", moved, (high - low) / (most - least)), low)
        elif mode == "SCALED":
            first = least + _F(bool(op.attrs.get("narrow_range", False)))
            made = p("Mul", real, high / most if least == 0 else np.maximum(low / first, high / most))
        else:
            scale = ((high - low) / _F(2.0 ** (8 * x.dtype.itemsize) - 1.0)).astype(_F)
            start = np.where(high == low, low, _away(low / scale) * scale).astype(_F)
            if x.dtype.itemsize > 2:
                raise p.wrong(f"mode MIN_FIRST of {x.dtype} has integers beyond float32")
            made = p("AddV2", p("Mul", p("Sub", real, least), scale), start)
    p.done(made)


def _quantize(writer: Writer, op: Operation) -> None:
    p, x = Parts(writer, op), op.inputs[0]
    axis, dtype = _axis(op), op.outputs[0].dtype
    given_low, high = _range(p, x, 1, axis)
    mode, even = _text(op, "mode", "MIN_COMBINED"), _text(op, "round_mode", "HALF_AWAY_FROM_ZERO") == "HALF_TO_EVEN"
    if (given_low > high).any():
        raise p.wrong("the least value of its range is above the greatest one")
    if dtype.itemsize > 2:
        raise p.wrong(f"integers of {dtype} are beyond float32, in which ONNX rounds")
    low = np.minimum(_F(0), given_low)
    width = np.maximum(_F(1), np.maximum(np.abs(given_low), np.abs(high))) * _F(
        op.attrs.get("ensure_minimum_range", 0.01)
    )
    high = np.maximum(_F(0), np.maximum(high, low + width))
    least, most = _F(np.iinfo(dtype).min), _F(np.iinfo(dtype).max)
    if mode == "SCALED":
        made, low, high = _scaled(p, x, low, high, (least + _F(bool(op.attrs.get("narrow_range", False))), most), even)
    elif mode == "MIN_COMBINED":
        scale = ((most - least) / (high - low)).astype(_F)
        made = p("Mul", p("Sub", _cut(p, x, low, high), low), scale)
        if dtype.kind == "i":
            made = _nearest(p, p("Sub", made, (most - least + _F(1)) / _F(2)), even)
        else:
            made = p("Rint", made) if even else p("Floor", p("AddV2", made, 0.5))
    else:
        steps = _F(2.0 ** (8 * dtype.itemsize) - 1.0)
        scale = np.where(high == low, _F(0), steps / (high - low)).astype(_F)
        made = p("AddV2", p("Sub", _nearest(p, p("Mul", x, scale), False), _away(low * scale).astype(_F)), least)
    whole = p("SelectV2", p("IsNan", made), p.constant(np.iinfo(dtype).min, _F), made)
    made = p.cast(_cut(p, whole, _F(np.iinfo(dtype).min), most), dtype)
    ends = [p.constant(v.reshape(t.type.dims), _F) for v, t in zip((low, high), op.outputs[1:], strict=True)]
    p.done(made, *ends)


def _cut(p: Parts, x: Tensor, low: Any, high: Any) -> Tensor:
    return p("Minimum", p("Maximum", x, np.asarray(low, _F)), np.asarray(high, _F))


def _scaled(
    p: Parts, x: Tensor, low: Array, high: Array, ends: tuple[Any, Any], even: bool
) -> tuple[Tensor, Array, Array]:
    (least, most), largest = ends, np.finfo(_F).max
    with np.errstate(divide="ignore", invalid="ignore"):
        by_low = np.where(least * low > 0, least / low, largest)
        scale = np.minimum(by_low, np.where(most * high > 0, most / high, largest)).astype(_F)
        low, high = (least / scale).astype(_F), (most / scale).astype(_F)
    made = _nearest(p, p("Mul", _cut(p, x, low, high), scale), even)
    return p("Maximum", made, np.asarray(least, _F)), low, high


def _fake_quant(writer: Writer, op: Operation) -> None:
    """A grid from low to high, moved so that 0 is on it."""
    p, x = Parts(writer, op), op.inputs[0]
    if len(op.inputs) == 1:
        low, high = (np.asarray(op.attrs.get(k, d), _F) for k, d in (("min", -6.0), ("max", 6.0)))
    else:
        low, high = (writer.required(op, i).astype(_F) for i in (1, 2))
    if not op.type.endswith("PerChannel"):
        low, high = low.reshape(()), high.reshape(())
    least = _F(bool(op.attrs.get("narrow_range", False)))
    most = _F((1 << int(op.attrs.get("num_bits", 8))) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (high - low) / (most - least)
        zero = least - low / scale
        zero = np.where(zero < least, least, np.where(zero > most, most, _away(np.asarray(zero)))).astype(_F)
    start, end = (least - zero) * scale, (most - zero) * scale
    nothing = (low == 0) & (high == 0)
    step = np.where(nothing, _F(1), scale).astype(_F)
    start, end = (np.where(nothing, _F(0), v).astype(_F) for v in (start, end))
    steps = p("Floor", p("AddV2", p("RealDiv", p("Sub", _cut(p, x, start, end), start), step), 0.5))
    p.done(p("AddV2", p("Mul", steps, step), start))


def _round_trip(writer: Writer, op: Operation) -> None:
    """Rounded to what integers of some bits could hold: of a constant range, or of the values' own."""
    p, x = Parts(writer, op), op.inputs[0]
    third, axis = op.type == "QuantizeAndDequantizeV3", _axis(op)
    if x.dtype == np.float16:
        raise p.wrong("its steps would be rounded to float16 in another order; cast to float32 first")
    signed = bool(op.attrs.get("signed_input", True))
    bits = int(writer.required(op, 3)) if third else int(op.attrs.get("num_bits", 8))
    given = bool(op.attrs.get("range_given", third))
    if given:
        ends = [p.constant(v, x.dtype) for v in _range(p, x, 1, axis)]
    else:
        over = np.array(
            [i for i in range(x.type.rank or 0) if axis is None or i != axis % (x.type.rank or 1)], np.int32
        )
        ends = [p(kind, x, over, keep_dims=True) for kind in ("Min", "Max")]
    low, high = ends
    top = 1 << (bits - signed)
    least, most = float(bool(op.attrs.get("narrow_range", False)) - top if signed else 0), float(top - 1)
    largest = p.constant(np.finfo(x.dtype).max, x.dtype)

    def steps(end: Tensor, number: float) -> Tensor:
        """How many steps there are to 1, if the number is to stand for the end."""
        if not number:
            return p("Mul", p("OnesLike", end), largest)
        return p(
            "SelectV2", p("Greater", p("Mul", end, number), 0), p("RealDiv", p.constant(number, x.dtype), end), largest
        )

    from_low, from_high = steps(low, least), steps(high, most)
    by_low = p("Less", from_low, from_high)
    scale = p("SelectV2", by_low, from_low, from_high)
    step = p("SelectV2", by_low, p("RealDiv", low, least) if least else p("ZerosLike", low), p("RealDiv", high, most))
    if given:
        x = p("Maximum", x, p("SelectV2", by_low, low, p("Mul", step, least)))
        x = p("Minimum", x, p("SelectV2", by_low, p("Mul", step, most), high))
    scaled = p("Mul", x, scale)
    even = _text(op, "round_mode", "HALF_TO_EVEN") == "HALF_TO_EVEN"
    p.done(p("Mul", p("Rint", scaled) if even else p("Floor", p("AddV2", scaled, 0.5)), step))


RULES: dict[str, Rule] = {
    "Dequantize": _dequantize, "QuantizeV2": _quantize, "FakeQuantWithMinMaxArgs": _fake_quant,
    "FakeQuantWithMinMaxVars": _fake_quant, "FakeQuantWithMinMaxVarsPerChannel": _fake_quant,
    **dict.fromkeys(["QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4"], _round_trip),
}  # fmt: skip
