"""Quantised numbers. The quantised types are the plain integers that hold them: quint8 is uint8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...kernels.contracts.quantization import (
    DEQUANTIZE,
    FAKE_QUANT,
    QUANTIZE,
    QUANTIZE_DEQUANTIZE,
    DequantizeParams,
    FakeQuantParams,
    QuantizeDequantizeParams,
    QuantizeParams,
)
from ..errors import GraphError
from .attributes import FALSE, TRUE, Attr, Row, T, types
from .base import Lowered, OpDef, Site, attr_dtype, one_int

__all__ = ["DEFS"]

F32 = np.dtype(np.float32)
_MODES = ("MIN_COMBINED", "MIN_FIRST", "SCALED")


def _axis(site: Site) -> int | None:
    axis = int(site.attr("axis", -1))
    if axis > -1 and _text(site, "mode", "") == "MIN_FIRST":
        raise site.unsupported("mode MIN_FIRST with an axis", "split the input along it")
    if axis < -1:
        raise GraphError(
            f"{site.op} '{site.name}': attribute axis must be -1 (one range) or an axis from 0, got {axis}"
        )
    return None if axis == -1 else axis


def _text(site: Site, name: str, default: str) -> str:
    value = site.attr(name, default)
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _dequantize(site: Site) -> Lowered:
    if attr_dtype(site, "dtype", F32) != F32:
        raise site.unsupported("another dtype than float32", "dequantise to float32 and cast")
    mode = _text(site, "mode", _MODES[0])
    params = DequantizeParams(mode, bool(site.attr("narrow_range", False)), _axis(site))  # type: ignore[arg-type]
    return Lowered(DEQUANTIZE, params)


def _quantize(site: Site) -> Lowered:
    params = QuantizeParams(
        attr_dtype(site, "T"),
        _text(site, "mode", _MODES[0]),  # type: ignore[arg-type]
        _text(site, "round_mode", "HALF_AWAY_FROM_ZERO") == "HALF_TO_EVEN",
        bool(site.attr("narrow_range", False)),
        _axis(site),
        float(site.attr("ensure_minimum_range", 0.01)),
    )
    if params.half_to_even and params.mode != "SCALED":
        raise GraphError(f"QuantizeV2 '{site.name}': round_mode HALF_TO_EVEN is for mode SCALED, got {params.mode}")
    return Lowered(QUANTIZE, params)


def _fake_quant(channels: bool) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        bits, narrow = int(site.attr("num_bits", 8)), bool(site.attr("narrow_range", False))
        given = (float(site.attr("min", -6.0)), float(site.attr("max", 6.0))) if len(site.inputs) == 1 else None
        return Lowered(FAKE_QUANT, FakeQuantParams(bits, narrow, channels, given))

    return lower


def _round_trip(site: Site) -> Lowered:
    third = site.op == "QuantizeAndDequantizeV3"
    given = bool(site.attr("range_given", third))
    params = QuantizeDequantizeParams(
        bool(site.attr("signed_input", True)),
        one_int(site, 3, "num_bits") if third else int(site.attr("num_bits", 8)),
        given,
        _text(site, "round_mode", "HALF_TO_EVEN") == "HALF_TO_EVEN",
        bool(site.attr("narrow_range", False)),
        _axis(site),
    )
    return Lowered(QUANTIZE_DEQUANTIZE, params, (0, 1, 2) if given else (0,))


_FAKE: Row = {"num_bits": Attr("int", 8), "narrow_range": FALSE}
_RANGE: Row = {"narrow_range": FALSE, "axis": Attr("int", -1)}
_THIRD: Row = {**T, **_RANGE, "signed_input": TRUE, "range_given": TRUE}
_SECOND: Row = {
    **_THIRD, "range_given": FALSE, "num_bits": Attr("int", 8),
    "round_mode": Attr("string", "HALF_TO_EVEN", allowed=("HALF_TO_EVEN", "HALF_UP")),
}  # fmt: skip
_MODE = Attr("string", "MIN_COMBINED", allowed=_MODES)

DEFS: tuple[OpDef, ...] = (
    OpDef(
        "Dequantize",
        _dequantize,
        arity=(3, 3),
        attributes={**T, **_RANGE, "mode": _MODE, "dtype": Attr("type", F32, allowed=types("float32"))},
    ),
    OpDef(
        "QuantizeV2",
        _quantize,
        arity=(3, 3),
        attributes={
            **_RANGE,
            "T": Attr("type"),
            "mode": _MODE,
            "ensure_minimum_range": Attr("float", 0.01),
            "round_mode": Attr("string", "HALF_AWAY_FROM_ZERO", allowed=("HALF_AWAY_FROM_ZERO", "HALF_TO_EVEN")),
        },
    ),
    OpDef(
        "FakeQuantWithMinMaxArgs",
        _fake_quant(False),
        attributes={**_FAKE, "min": Attr("float", -6.0), "max": Attr("float", 6.0)},
    ),
    OpDef("FakeQuantWithMinMaxVars", _fake_quant(False), arity=(3, 3), attributes=_FAKE),
    OpDef("FakeQuantWithMinMaxVarsPerChannel", _fake_quant(True), arity=(3, 3), attributes=_FAKE),
    OpDef("QuantizeAndDequantizeV2", _round_trip, arity=(3, 3), attributes=_SECOND),
    OpDef("QuantizeAndDequantizeV3", _round_trip, arity=(4, 4), values=(3,), attributes=_THIRD),
    OpDef("QuantizeAndDequantizeV4", _round_trip, arity=(3, 3), attributes=_SECOND),
)
