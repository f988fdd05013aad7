"""The picture of a run: ms per image by setting, cold start, peak memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contenders import contender
from .report import headline, precisions, present

__all__ = ["COLOURS", "colour_of", "draw", "pyplot"]

#: kigraph's modes in shades of blue, peers in other colours; a library has the same one in every precision.
COLOURS = {
    "kigraph": "#0b5cad", "direct": "#4f94d4", "avx2": "#94c1e8", "numba": "#c3cfe0", "onnxruntime": "#d9822b",
    "openvino": "#a94f9c", "tflite": "#3f8f4f", "torch": "#c4423a",
}  # fmt: skip


def colour_of(name: str) -> str:
    """Of a contender: that of its library."""
    return COLOURS.get(name) or COLOURS.get(name.partition("-")[0], "#777777")


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
    names, settings, kinds = present(result), result["settings"], precisions(result)
    whole = result["whole"]
    counts = [sum(contender(n).precision == kind for n in names) for kind in kinds]
    widths = [max(3.2, 0.8 + 0.3 * len(settings) * n) for n in counts]
    # One precision: all in a row. Several: whole processes below the times.
    below = bool(whole) and len(kinds) > 1
    beside = [3.6, 3.6] if whole and not below else []
    figure = plt.figure(
        figsize=(max(8.5, 1.8 + sum(widths) + sum(beside)), 5.6 + 0.34 * len(names) * below), layout="constrained"
    )
    parts = figure.subfigures(2, 1, height_ratios=[5.6, 0.6 + 0.34 * len(names)]) if below else [figure]
    rows = [list(parts[0].subplots(1, len(kinds) + len(beside), squeeze=False, width_ratios=[*widths, *beside])[0])]
    rows += [list(parts[1].subplots(1, 2, squeeze=False)[0])] if below else []
    axes = dict(
        zip([*kinds, *(("cold", "peak") if whole else ())], [axis for row in rows for axis in row], strict=True)
    )
    for kind in kinds:
        _times(axes[kind], settings, [n for n in names if contender(n).precision == kind], kind)
    if whole:
        _bars(
            axes["cold"], names, {n: w["cold_s"] for n, w in whole.items()}, "{:.2f} s", "Process start to first result"
        )
        _bars(axes["peak"], names, {n: w["peak_mb"] for n, w in whole.items()}, "{:.0f} MB", "Peak memory")
    figure.suptitle(headline(result).split("\n")[0].replace("; ", "\n"), fontsize=8, color="#444444")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _times(axes: Any, settings: Any, names: list[str], precision: str) -> None:
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
        axes.bar(at, heights, width * 0.94, color=colour_of(name), label=contender(name).title)
        axes.errorbar(at, heights, spread, fmt="none", ecolor="#333333", elinewidth=0.8, capsize=1.5)
        for x, top, s in zip(at, highs, [s for s in settings if name in s["ms"]], strict=True):
            ratio = s["ratios"].get(name)
            if ratio is not None:
                axes.annotate(
                    f"{ratio['median']:.2f}", (x, top), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=6.5,
                    fontweight="bold" if name.startswith("kigraph") else "normal",
                )  # fmt: skip
    labels = [f"{s['threads']} thread{'s' if s['threads'] > 1 else ''}\nbatch {s['batch']}" for s in settings]
    axes.set_xticks(range(len(settings)), labels)
    axes.set_title(f"Inception v3, {precision}", fontsize=10)
    axes.set_ylabel("ms per image, less is better; numbers: ratio to the fastest peer", fontsize=8)
    axes.margins(y=0.12)
    axes.legend(
        fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=1 if len(names) < 4 else 2
    )
    _bare(axes)


def _bars(axes: Any, names: list[str], values: Mapping[str, float], form: str, title: str) -> None:
    shown = [n for n in names if n in values]
    heights = [values[n] for n in shown]
    bars = axes.barh(
        [contender(n).title.replace(" convolution only", "").replace(", channels last", "") for n in shown], heights,
        color=[colour_of(n) for n in shown],
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
