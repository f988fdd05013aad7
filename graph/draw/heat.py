"""Colours by time: what each node cost, from white (nothing) to red (the most expensive box of the picture)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Cost", "Heat", "heat_of", "time_text"]

#: Dark text can be read on all of them.
_STOPS = ("#ffffff", "#fff3c9", "#ffdf8a", "#fdb863", "#f98f52", "#ee6a4d")
_STROKE = "#8a5a3c"
#: For boxes without a time of their own.
_NONE = ("#f6f7f9", "#b6bdc8")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that a node took, and a remark that its box shows (its kernel, say)."""

    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Heat:
    """The scale of one picture: ``most`` seconds are the hottest colour, ``total`` those of the whole graph."""

    most: float
    total: float

    def paint(self, seconds: float | None) -> tuple[str, str]:
        """Fill and stroke of a box."""
        if seconds is None:
            return _NONE
        return _mixed(seconds / self.most if self.most > 0 else 0.0), _STROKE

    def ramp(self, count: int) -> list[str]:
        """Colours from nothing to the most, for a legend."""
        return [_mixed(i / max(count - 1, 1)) for i in range(count)]

    def line(self, seconds: float) -> str:
        """A box's time and its share of the whole."""
        share = f" · {seconds / self.total:.1%}" if self.total > 0 else ""
        return time_text(seconds) + share


def heat_of(costs: Mapping[str, Cost], boxes: Iterable[float | None]) -> Heat:
    """The scale for boxes with these times."""
    return Heat(max((s for s in boxes if s is not None), default=0.0), sum(c.seconds for c in costs.values()))


def time_text(seconds: float) -> str:
    """1.23 ms, 45.6 µs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _mixed(share: float) -> str:
    """The colour at ``share`` of the way along the stops."""
    at = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(int(at), len(_STOPS) - 2)
    a, b = (tuple(int(stop[i : i + 2], 16) for i in (1, 3, 5)) for stop in _STOPS[low : low + 2])
    return "#" + "".join(f"{round(x + (y - x) * (at - low)):02x}" for x, y in zip(a, b, strict=True))
