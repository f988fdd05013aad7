"""The picture of the demonstration: the photograph, its labels, and a bar per backend."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .timing import Timing

if TYPE_CHECKING:
    import numpy as np

    from .classifier import Prediction

__all__ = ["BackendResult", "draw_picture"]

_INK, _GREY, _LINE, _ACCENT, _REST, _WARN = "#1d2530", "#5b6675", "#d5dae1", "#1f6feb", "#9fb8d8", "#b3261e"


@dataclass(frozen=True, slots=True)
class BackendResult:
    """One backend's answer, and how long it takes from the bytes of the JPEG file to the labels."""

    backend: str
    network: str
    prediction: Prediction
    probabilities: np.ndarray[Any, Any]
    timing: Timing

    @property
    def images_per_second(self) -> float:
        return 1 / self.timing.median


def draw_picture(
    path: Path, results: Sequence[BackendResult], image: Path, title: str, machine: str, note: str
) -> bool:
    """Writes a PNG; False if matplotlib is not installed. ``note`` is printed across it in red if it is not empty."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    from .vision.decode import to_pixels

    with_note = 0.05 if note else 0.0
    figure = Figure(figsize=(12, 6), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2, 2, width_ratios=(1.0, 1.75), height_ratios=(1.55, 1.0),
        left=0.035, right=0.955, top=0.845 - with_note, bottom=0.10, wspace=0.32, hspace=0.10,
    )  # fmt: skip
    heading = textwrap.shorten(f"{title} on every backend of this machine", 80, placeholder=" ...")
    figure.text(0.035, 0.935, heading, fontsize=17, weight="bold", color=_INK)
    figure.text(0.035, 0.888, f"one image at a time, from JPEG bytes to labels  |  {machine}", fontsize=10, color=_GREY)
    if note:
        figure.text(0.035, 0.840, note, fontsize=11, weight="bold", color=_WARN)
    photo = figure.add_subplot(grid[0, 0])
    photo.imshow(to_pixels(image))
    photo.set_axis_off()
    photo.set_anchor("W")
    _draw_labels(figure.add_subplot(grid[1, 0]), results[0], muted=bool(note))
    _draw_bars(figure.add_subplot(grid[:, 1]), results)
    figure.savefig(path, format="png")
    return True


def _draw_labels(axes: Any, result: BackendResult, muted: bool) -> None:
    """The five labels as text with thin bars of probability."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(5, 0)
    for row, label in enumerate(result.prediction):
        name = textwrap.shorten(label.label.split(",")[0], 34, placeholder=" ...")
        axes.text(0, row + 0.45, name, fontsize=10, color=_GREY if muted else _INK, va="center")
        axes.text(1, row + 0.45, f"{label.probability:.1%}", fontsize=10, color=_GREY, va="center", ha="right")
        axes.plot([0, 1], [row + 0.86] * 2, color=_LINE, linewidth=2.2, solid_capstyle="butt")
        axes.plot(
            [0, label.probability],
            [row + 0.86] * 2,
            color=_REST if muted else _ACCENT,
            linewidth=2.2,
            solid_capstyle="butt",
        )


def _draw_bars(axes: Any, results: Sequence[BackendResult]) -> None:
    """Images per second, fastest on top; the figures are next to the bars."""
    ranked = sorted(results, key=lambda r: -r.images_per_second)
    rates = [r.images_per_second for r in ranked]
    slowest = min(rates)
    axes.barh(range(len(ranked)), rates, height=0.56, color=[_ACCENT] + [_REST] * (len(ranked) - 1))
    for row, (result, rate) in enumerate(zip(ranked, rates, strict=True)):
        times = (
            f", {rate / slowest:.0f}x" if rate >= 10 * slowest else f", {rate / slowest:.1f}x" if rate > slowest else ""
        )
        inside = rate > 0.6 * max(rates)
        behind = None if inside else {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.annotate(
            f"{rate:.3g} images/s\n{result.timing.median * 1e3:,.0f} ms{times}",
            (rate, row), (-9 if inside else 9, 0), textcoords="offset points", fontsize=10.5, va="center", linespacing=1.35,
            ha="right" if inside else "left", color="white" if inside and row == 0 else _INK, bbox=behind,
        )  # fmt: skip
    axes.set_yticks(range(len(ranked)), [r.backend for r in ranked], fontsize=13, color=_INK)
    axes.set_ylim(max(len(ranked), 3) - 0.4, -0.6)
    axes.set_xlim(0, max(rates) * 1.04)
    axes.set_xlabel("images per second (more is better)", fontsize=10, color=_GREY)
    axes.tick_params(axis="both", length=0, colors=_GREY)
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
