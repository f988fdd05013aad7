"""What was found: a table, JSON, a picture."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .runs import Run

__all__ = ["Comparison", "Layer", "Report", "Worst", "allowed"]

Array = np.ndarray[Any, Any]

#: By precision: the relative L2 distance of outputs that counts as the same, and the share of images whose first label must be.
#: Inception v3 in bf16: the probabilities of 16 flowers are off by 5.2e-3, the worst layer by 3.7e-2, all first labels agree.
_ALLOWED = {"fp32": (1e-4, 1.0), "tf32": (1e-2, 0.99), "bf16": (3e-2, 0.98), "int8": (0.25, 0.95)}


def allowed(*precisions: str) -> tuple[float, float]:
    """Tolerance and agreement of runs in these precisions ('int8+bf16' is both): what the least exact of them needs."""
    parts = [_ALLOWED.get(part, _ALLOWED["fp32"]) for text in precisions for part in text.split("+")]
    return max(t for t, _ in parts), min(a for _, a in parts)


class Worst(NamedTuple):
    """The element that is farthest off: where it is in the reference, and both values."""

    at: tuple[int, ...]
    reference: float
    found: float

    def __str__(self) -> str:
        return f"{list(self.at)}: {self.found:.6g}, the reference has {self.reference:.6g}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the reference and its partner: how far apart they are.

    ``absolute``: the largest difference; ``relative``: the L2 norm of the difference over that of the reference; ``ulps``: the
    largest difference in units in the last place of float32. All infinite where NaN or infinities differ, or no layout fits.
    ``worst``: the element with the largest difference, if there is one.
    """

    name: str
    other: str
    op: str
    absolute: float
    relative: float
    ulps: float
    worst: Worst | None = None

    @property
    def sqnr(self) -> float:
        """The ratio of signal to error in dB: 20 more for each decimal digit; infinite where nothing differs."""
        return math.inf if self.relative == 0 else -20 * math.log10(self.relative)

    def to_json(self) -> dict[str, Any]:
        """Plain data; an infinite ratio is None."""
        worst = None if self.worst is None else self.worst._asdict()
        return asdict(self) | {"worst": worst, "sqnr_db": self.sqnr if math.isfinite(self.sqnr) else None}

    @classmethod
    def of(cls, name: str, other: str, op: str, a: Array, b: Array | None) -> Layer:
        if b is None:
            return cls(name, other, op, math.inf, math.inf, math.inf)
        x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
        finite = np.isfinite(x)
        if not (np.isfinite(y) == finite).all() or not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return cls(name, other, op, math.inf, math.inf, math.inf)
        worst = _worst(x, y, finite)
        x, y = x[finite], y[finite]
        if not x.size:
            return cls(name, other, op, 0.0, 0.0, 0.0)
        norm = float(np.linalg.norm(x))
        distance = float(np.linalg.norm(x - y))
        relative = distance / norm if norm else (0.0 if distance == 0 else math.inf)
        ulps = np.abs(_ordered(x) - _ordered(y)).max()
        return cls(name, other, op, float(np.abs(x - y).max()), relative, float(ulps), worst)


def _worst(x: Array, y: Array, finite: Array) -> Worst | None:
    """The finite element with the largest difference; None if there is none."""
    error = np.zeros(x.shape)
    np.subtract(x, y, out=error, where=finite)
    np.abs(error, out=error)
    if not error.size or not error.max():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    return Worst(index, float(x[index]), float(y[index]))


def _ordered(x: Array) -> Array:
    """float32 numbers as integers in the same order, so that neighbours differ by 1."""
    bits = x.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One subject next to the reference. ``same_first``, ``same_top``: share of images with the same first label, and of top labels."""

    title: str
    layers: tuple[Layer, ...]
    outputs: tuple[Layer, ...]
    layers_here: int
    layers_there: int
    same_first: float | None = None
    same_top: float | None = None
    #: What this comparison allows, where it is not what the report does, and the share of first labels that must be the same.
    tolerance: float | None = None
    agreement: float = 1.0

    @classmethod
    def of(
        cls,
        title: str,
        layers: tuple[Layer, ...],
        outputs: tuple[Layer, ...],
        a: Run,
        b: Run,
        images: Sequence[str],
        top: int,
        limits: tuple[float, float] = (1e-4, 1.0),
    ) -> Comparison:
        first = many = None
        if images and a.scores is not None and b.scores is not None and a.scores.shape == b.scores.shape:
            k = min(top, a.scores.shape[1])
            ranks = [np.argsort(-s, axis=1, kind="stable")[:, :k] for s in (a.scores, b.scores)]
            first = float((ranks[0][:, 0] == ranks[1][:, 0]).mean())
            many = float(np.mean([len(set(x) & set(y)) / k for x, y in zip(*(r.tolist() for r in ranks), strict=True)]))
        return cls(title, layers, outputs, len(a.layers), len(b.layers), first, many, *limits)

    def diverging(self, tolerance: float) -> Layer | None:
        """The layer from which on they differ: most before it are within the tolerance, most from it on are beyond.

        A layer that one file computes otherwise (without the batch norm that another has folded into it) differs alone, and
        what follows agrees; so if the outputs do.
        """
        beyond = [not layer.relative <= tolerance for layer in self.layers]
        if not any(beyond) or (self.outputs and all(o.relative <= tolerance for o in self.outputs)):
            return None
        # Beyond the tolerance counts for a break before it, within it against; the first best place.
        place, best, score = None, 0, 0
        for i in reversed(range(len(beyond))):
            score += 1 if beyond[i] else -1
            if beyond[i] and score >= best:
                place, best = i, score
        found = place if place is not None else beyond.index(True)
        return self.layers[found]

    def same(self, tolerance: float) -> bool:
        """Whether every output is within the tolerance, and enough of the images have the same first label."""
        agrees = self.same_first is None or self.same_first >= self.agreement
        return agrees and all(o.relative <= tolerance for o in self.outputs)


@dataclass(frozen=True, slots=True)
class Report:
    """All comparisons with the ``reference``; ``tolerance``: the largest that one of them has; ``ok``: each is within its own."""

    reference: str
    comparisons: tuple[Comparison, ...]
    tolerance: float
    images: int = 0

    @property
    def ok(self) -> bool:
        return all(c.same(self.limit(c)) for c in self.comparisons)

    def limit(self, comparison: Comparison) -> float:
        """The relative distance of outputs that a comparison allows."""
        return self.tolerance if comparison.tolerance is None else comparison.tolerance

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "reference": self.reference, "tolerance": self.tolerance, "images": self.images, "ok": self.ok,
            "comparisons": [
                {
                    "subject": c.title, "same": c.same(self.limit(c)), "tolerance": self.limit(c), "agreement": c.agreement,
                    "first_diverging": d.to_json() if (d := c.diverging(self.limit(c))) else None,
                    "same_first_label": c.same_first, "same_top_labels": c.same_top,
                    "outputs": [o.to_json() for o in c.outputs], "layers": [layer.to_json() for layer in c.layers],
                    "layers_of_reference": c.layers_here, "layers_of_subject": c.layers_there,
                }
                for c in self.comparisons
            ],
        }  # fmt: skip

    COLUMNS = ("layer", "op", "max abs", "relative", "SQNR dB", "ULP", "partner")

    def rows(self, comparison: Comparison, most: int | None = None) -> list[tuple[str, ...]]:
        """The table of one comparison: its layers in order (the worst ``most`` of them), then the outputs."""
        layers = list(comparison.layers)
        if most is not None and len(layers) > most:
            kept = {id(x) for x in sorted(layers, key=lambda x: -x.relative)[:most]}
            diverging = comparison.diverging(self.limit(comparison))
            layers = [x for x in layers if id(x) in kept or x is diverging]
        return [
            (
                x.name,
                x.op,
                f"{x.absolute:.2e}",
                f"{x.relative:.2e}",
                f"{x.sqnr:.1f}",
                f"{x.ulps:.3g}",
                "" if x.other == x.name else x.other,
            )
            for x in (*layers, *comparison.outputs)
        ]

    def draw(self, path: str | Path) -> Path:
        """Writes an SVG: the relative difference of each layer on a logarithmic scale, one line for each subject."""
        target = Path(path)
        target.write_text(_svg(self), encoding="utf-8")
        return target


_COLOURS = ("#1f6feb", "#d1495b", "#2a9d8f", "#e9a03b", "#7b5ea7", "#5c6b7a")
_WIDTH, _HEIGHT, _LEFT, _TOP, _LOW, _HIGH = 960, 360, 70, 46, -9, 1


def _svg(report: Report) -> str:
    rows = [_grid(report)]
    for number, comparison in enumerate(report.comparisons):
        colour = _COLOURS[number % len(_COLOURS)]
        layers = (*comparison.layers, *comparison.outputs)
        spots = [(_x(i, len(layers)), _y(layer.relative)) for i, layer in enumerate(layers)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        rows.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        for (x, y), layer in zip(spots, layers, strict=True):
            tip = html.escape(
                f"{layer.name} ({layer.op}): relative {layer.relative:.2e}, absolute {layer.absolute:.2e}"
            )
            rows.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"><title>{tip}</title></circle>')
        verdict = "same" if comparison.same(report.limit(comparison)) else "differs"
        text = html.escape(f"{comparison.title}: {verdict}"[:110])
        rows.append(f'<text x="{_LEFT}" y="{_HEIGHT + 62 + 18 * number}" fill="{colour}">{text}</text>')
    height = _HEIGHT + 74 + 18 * len(report.comparisons)
    head = html.escape(f"Relative difference by layer, next to {report.reference}"[:120])
    style = "text{font:12px Helvetica,Arial,sans-serif;fill:#39424f}.h{font-size:15px;font-weight:600}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/><text class="h" x="{_LEFT}" y="26">{head}</text>'
        + "".join(rows) + "</svg>\n"
    )  # fmt: skip


def _grid(report: Report) -> str:
    parts = []
    for power in range(_LOW, _HIGH + 1):
        y = _y(10.0**power)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e7ec"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>')
    y = _y(report.tolerance)
    parts.append(
        f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d1495b" stroke-dasharray="5 4"/>'
    )
    parts.append(f'<text x="{_WIDTH - 24}" y="{y - 5:.1f}" text-anchor="end">tolerance {report.tolerance:g}</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT + 40}">layers in the order of the graph; the outputs are last</text>')
    return "".join(parts)


def _x(i: int, count: int) -> float:
    return _LEFT + 8 + (_WIDTH - _LEFT - 36) * i / max(count - 1, 1)


def _y(relative: float) -> float:
    power = _LOW if relative <= 0 else min(_HIGH, max(_LOW, math.log10(relative))) if math.isfinite(relative) else _HIGH
    return _TOP + (_HEIGHT - _TOP) * (_HIGH - power) / (_HIGH - _LOW)
