"""The picture of a run: ms per image by setting, cold start, peak memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contenders import contender
from .report import headline, present

__all__ = ["draw", "pyplot"]

#: kigraph's modes in shades of blue, peers in warm colours.
COLOURS = {
    "kigraph": "#0b5cad", "direct": "#4f94d4", "avx2": "#94c1e8", "numba": "#c3cfe0", "onnxruntime": "#d9822b",
    "openvino": "#a94f9c",
}  # fmt: skip


def pyplot() -> Any:
    """matplotlib without a window; ends the program with the remedy where it is missing."""
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit(f"the picture needs matplotlib ({error}). Remedy: pip install 'kigraph[plot]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Writes a PNG."""
    plt = pyplot()
    names, settings = present(result), result["settings"]
    whole = result["whole"]
    figure, axes = plt.subplots(
        1, 3 if whole else 1, squeeze=False, figsize=(13 if whole else 8.5, 5.2), layout="constrained",
        width_ratios=[2.9, 1, 1] if whole else [1],
    )  # fmt: skip
    _times(axes[0][0], settings, names)
    if whole:
        _bars(
            axes[0][1], names, {n: w["cold_s"] for n, w in whole.items()}, "{:.2f} s", "Process start to first result"
        )
        _bars(axes[0][2], names, {n: w["peak_mb"] for n, w in whole.items()}, "{:.0f} MB", "Peak memory")
    figure.suptitle(headline(result).split("\n")[0].replace("; ", "\n"), fontsize=8, color="#444444")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _times(axes: Any, settings: Any, names: list[str]) -> None:
    width = 0.84 / max(len(names), 1)
    for i, name in enumerate(names):
        at = [k + (i - (len(names) - 1) / 2) * width for k, s in enumerate(settings) if name in s["ms"]]
        heights = [s["ms"][name] for s in settings if name in s["ms"]]
        lows = [min(s["ms_by_round"][name]) for s in settings if name in s["ms"]]
        highs = [max(s["ms_by_round"][name]) for s in settings if name in s["ms"]]
        spread = [
            [h - low for h, low in zip(heights, lows, strict=True)],
            [t - h for h, t in zip(heights, highs, strict=True)],
        ]
        axes.bar(at, heights, width * 0.94, color=COLOURS.get(name, "#777777"), label=contender(name).title)
        axes.errorbar(at, heights, spread, fmt="none", ecolor="#333333", elinewidth=0.8, capsize=1.5)
        for x, top, s in zip(at, highs, [s for s in settings if name in s["ms"]], strict=True):
            ratio = s["ratios"].get(name)
            if ratio is not None:
                axes.annotate(
                    f"{ratio['median']:.2f}", (x, top), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=6.5,
                    fontweight="bold" if name == "kigraph" else "normal",
                )  # fmt: skip
    labels = [f"{s['threads']} thread{'s' if s['threads'] > 1 else ''}\nbatch {s['batch']}" for s in settings]
    axes.set_xticks(range(len(settings)), labels)
    axes.set_title("Inception v3, float32: ms per image (numbers: ratio to the fastest peer)", fontsize=10)
    axes.set_ylabel("ms per image, less is better")
    axes.margins(y=0.12)
    axes.legend(fontsize=8, frameon=False)
    _bare(axes)


def _bars(axes: Any, names: list[str], values: Mapping[str, float], form: str, title: str) -> None:
    shown = [n for n in names if n in values]
    heights = [values[n] for n in shown]
    bars = axes.barh(
        [contender(n).title.replace("kigraph, ", "").replace(" convolution only", "") for n in shown], heights,
        color=[COLOURS.get(n, "#777777") for n in shown],
    )  # fmt: skip
    axes.bar_label(bars, [form.format(v) for v in heights], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xticks([])
    axes.set_title(title, fontsize=10)
    _bare(axes)


def _bare(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
