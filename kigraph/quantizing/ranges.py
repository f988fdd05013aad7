"""What the 256 integers of a value stand for: ranges measured on photographs, several ways to choose one, and their errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .net import Array

__all__ = ["METHODS", "Histogram", "Scale", "candidates", "merged", "scale_of"]

#: Ways to choose a range.
METHODS = ("minmax", "percentile", "mse")
_BITS = 12
_BINS = 2 << _BITS
#: Share of the values that 'percentile' leaves outside of the range, at each end where values lie.
_OUTSIDE = 1e-4
_STEPS = 255
#: Shares of the whole range among which 'mse' looks for the least error: Banner et al., 2019, find it between 0.3 and 1.
_SHARES = np.linspace(0.3, 1.0, 71)


@dataclass(frozen=True, slots=True)
class Scale:
    """Integers from 0 to 255: q stands for (q - zero) * step, ``step`` a float32."""

    step: float
    zero: int

    def rounded(self, x: Array) -> Array:
        """The values that the integers for ``x`` stand for, float32, as QuantizeLinear and DequantizeLinear compute them."""
        step = np.float32(self.step)
        q = np.clip(np.rint(x / step) + np.float32(self.zero), 0, _STEPS)
        result: Array = ((q - np.float32(self.zero)) * step).astype(np.float32)
        return result

    @property
    def ends(self) -> tuple[float, float]:
        return -self.zero * self.step, (_STEPS - self.zero) * self.step


def scale_of(low: float, high: float) -> Scale:
    """The scale for values from ``low`` to ``high``; 0 is always a value of its own, and the first one where none is below."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = np.float32((high - low) / _STEPS)
    if not step > np.finfo(np.float32).tiny:  # nothing but zeros
        return Scale(float(np.float32(1 / _STEPS)), 0)
    return Scale(float(step), int(np.clip(np.rint(-low / float(step)), 0, _STEPS)))


class Histogram:
    """How often values lie where, between -2^k and 2^k: what was counted is the same in whatever order it came."""

    __slots__ = ("counts", "high", "low", "power")

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.power = -60
        self.low, self.high = np.inf, -np.inf

    def add(self, x: Array) -> None:
        """Counts the finite values of an array."""
        flat = np.asarray(x, np.float32).ravel()
        low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 0.0)
        if not (np.isfinite(low) and np.isfinite(high)):
            flat = flat[np.isfinite(flat)]
            low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 0.0)
        if not flat.size:
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(_power(max(-low, high)))
        # Powers of 2 scale exactly, so a value lies in the same bin whatever the power was when it was counted.
        places = np.floor(flat * np.float32(2.0 ** (_BITS - self.power))).astype(np.int32)
        whole = np.minimum(places + _BINS // 2, _BINS - 1)
        self.counts += np.bincount(whole, minlength=_BINS)

    def _widen(self, power: int) -> None:
        """Counts in bins of the size for a larger power: pairs of bins are joined."""
        if power <= self.power or not self.counts.any():
            self.power = max(power, self.power)
            return
        shift = min(power - self.power, 14)
        half, size = _BINS // 2, 1 << shift
        wide = np.zeros(_BINS, np.int64)
        np.add.at(wide, (np.arange(_BINS) - half) // size + half, self.counts)
        self.counts, self.power = wide, power

    @property
    def centres(self) -> Array:
        """The middle of every bin."""
        result: Array = (np.arange(_BINS) + 0.5 - _BINS / 2) * (2.0**self.power / (_BINS / 2))
        return result


def _power(size: float) -> int:
    """The least k with size < 2^k, from -60."""
    return max(-60, int(np.frexp(size)[1])) if size > 0 else -60


def merged(several: Iterable[Histogram]) -> Histogram:
    """All that several histograms counted."""
    whole = Histogram()
    for one in several:
        if not one.counts.any():
            continue
        other = Histogram()
        other.counts, other.power, other.low, other.high = one.counts.copy(), one.power, one.low, one.high
        if not whole.counts.any():
            whole = other
            continue
        power = max(whole.power, other.power)
        whole._widen(power)
        other._widen(power)
        whole.counts = whole.counts + other.counts
        whole.low, whole.high = min(whole.low, other.low), max(whole.high, other.high)
    return whole


def candidates(found: Histogram) -> dict[str, Scale]:
    """A scale for each of METHODS."""
    low, high = (found.low, found.high) if found.counts.any() else (0.0, 0.0)
    return {
        "minmax": scale_of(low, high),
        "percentile": scale_of(*_percentile(found, low, high)),
        "mse": _least_error(found, low, high),
    }


def _percentile(found: Histogram, low: float, high: float) -> tuple[float, float]:
    counts = np.cumsum(found.counts)
    if not counts[-1]:
        return low, high
    outside = _OUTSIDE * counts[-1]
    edges = (np.arange(_BINS + 1) - _BINS / 2) * (2.0**found.power / (_BINS / 2))
    first = int(np.searchsorted(counts, outside, side="right"))
    last = int(np.searchsorted(counts, counts[-1] - outside, side="left"))
    # A side without values, or with its many zeros at the end, is not cut.
    return (max(low, edges[first]) if low < 0 else low), (min(high, edges[last + 1]) if high > 0 else high)


def _least_error(found: Histogram, low: float, high: float) -> Scale:
    filled = np.flatnonzero(found.counts)
    values, counts = found.centres[filled], found.counts[filled]
    best = scale_of(low, high)
    if not filled.size:
        return best

    def error(ends: tuple[float, float]) -> float:
        return float((scale_of(*ends).rounded(values.astype(np.float32)) - values) ** 2 @ counts)

    # One end after the other; of equal errors the wider range.
    high = min((high * share for share in _SHARES[::-1]), key=lambda end: error((low, end)))
    low = min((low * share for share in _SHARES[::-1]), key=lambda end: error((end, high)))
    return scale_of(low, high)
