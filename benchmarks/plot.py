"""Draws the results of a benchmark run: ``python -m benchmarks.plot RESULT.json PICTURE.png``.

Left: the whole network, ms per image. Right: GFLOP/s of the convolutions, layer by layer, against the measured peak.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .table import collect

__all__ = ["draw"]

_COLOURS = {"cupy": "#76b900", "cython": "#1f77b4", "numba": "#ff7f0e", "numpy": "#7f7f7f"}


def _network(axes: Any, table: dict[str, Any]) -> None:
    rows = [
        (info["case"], name, info)
        for row in table.values()
        for name, info in row.items()
        if info["op"] == "inception_v3"
    ]
    labels = [f"{name}\n{case}" for case, name, _ in rows]
    times = [info["ms_per_image"] for *_, info in rows]
    bars = axes.barh(labels, times, color=[_COLOURS.get(name, "#9467bd") for _, name, _ in rows])
    axes.bar_label(bars, [f"{t:.1f} ms" for t in times], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set(xlabel="ms per image (shorter is better)", title="Inception v3")


def _convolutions(axes: Any, table: dict[str, Any]) -> None:
    rows = [row for row in table.values() if any(i["op"] == "conv2d" for i in row.values())]
    names = [next(iter(row.values()))["case"].removeprefix("inception-") for row in rows]
    backends = list(dict.fromkeys(name for row in rows for name in row))
    peaks = [i["gflops"] / i["share_of_peak"] for row in rows for i in row.values() if i.get("share_of_peak")]
    for backend in backends:
        heights = [row[backend]["gflops"] if backend in row else float("nan") for row in rows]
        axes.plot(range(len(rows)), heights, "o-", ms=3, lw=1, label=backend, color=_COLOURS.get(backend, "#9467bd"))
    if peaks:
        axes.axhline(max(peaks), color="black", lw=0.8, ls="--")
        axes.annotate("measured peak", (0, max(peaks)), xytext=(2, -10), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(rows)), names, rotation=90, fontsize=7)
    axes.set(ylabel="GFLOP/s", title="Convolutions with bias and ReLU, batch 1")
    axes.set_ylim(bottom=0)
    axes.legend()


def draw(results: dict[str, Any], picture: Path) -> bool:
    """Draws what pytest-benchmark wrote as JSON into a PNG; False if that has neither the network nor a convolution."""
    table = collect(results["benchmarks"])
    parts = [
        (draw_part, share)
        for op, draw_part, share in (("inception_v3", _network, 1), ("conv2d", _convolutions, 2))
        if any(info["op"] == op for row in table.values() for info in row.values())
    ]
    if not parts:
        return False
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit(f"the plot needs matplotlib ({error}). Remedy: pip install 'kigraph[plot]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(parts), squeeze=False, figsize=(5.5 * sum(s for _, s in parts), 6), width_ratios=[s for _, s in parts],
        layout="constrained",
    )  # fmt: skip
    for (draw_part, _), one in zip(parts, axes[0], strict=True):
        draw_part(one, table)
    threads = sorted({info["threads"] for row in table.values() for info in row.values()})
    cpu = results["machine_info"].get("cpu", {}).get("brand_raw", "unknown processor")
    figure.suptitle(f"kigraph, float32, {' and '.join(map(str, threads))} thread(s) on {cpu}", fontsize=10)
    figure.savefig(picture, dpi=130)
    plt.close(figure)
    return True


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    drawn = draw(json.loads(Path(arguments[0]).read_text(encoding="utf-8")), Path(arguments[1]))
    print(f"wrote {arguments[1]}" if drawn else "no picture: neither the network nor a convolution was timed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
