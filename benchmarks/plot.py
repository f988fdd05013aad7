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


#: How the convolutions of a precision are drawn; the colour is the backend's.
_LINES = {"fp32": "-", "tf32": "-.", "bf16": "--", "int8": ":"}


def _precision(info: dict[str, Any]) -> str:
    """Results of earlier versions do not say it."""
    return str(info.get("precision", "fp32"))


def _network(axes: Any, table: dict[str, Any]) -> None:
    rows = [
        (info["case"], name, info)
        for row in table.values()
        for name, info in row.items()
        if info["op"] == "inception_v3"
    ]
    labels = [f"{name} {_precision(info)}\n{case}" for case, name, info in rows]
    times = [info["ms_per_image"] for *_, info in rows]
    bars = axes.barh(labels, times, color=[_COLOURS.get(name, "#9467bd") for _, name, _ in rows])
    axes.bar_label(bars, [f"{t:.1f} ms" for t in times], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set(xlabel="ms per image (shorter is better)", title="Inception v3")


def _convolutions(axes: Any, table: dict[str, Any]) -> None:
    infos = [i for row in table.values() for i in row.values() if i["op"] == "conv2d"]
    names = list(dict.fromkeys(i["case"].removeprefix("inception-") for i in infos))
    peaks = [i["gflops"] / i["share_of_peak"] for i in infos if i.get("share_of_peak")]
    rates = {(i["backend"], _precision(i), i["case"].removeprefix("inception-")): i["gflops"] for i in infos}
    for backend, precision in dict.fromkeys((b, p) for b, p, _ in rates):
        heights = [rates.get((backend, precision, name), float("nan")) for name in names]
        axes.plot(
            range(len(names)), heights, f"o{_LINES.get(precision, '-')}", ms=3, lw=1,
            label=backend if precision == "fp32" else f"{backend} {precision}", color=_COLOURS.get(backend, "#9467bd"),
        )  # fmt: skip
    if peaks:
        axes.axhline(max(peaks), color="black", lw=0.8, ls="--")
        axes.annotate("measured peak, fp32", (0, max(peaks)), xytext=(2, -10), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
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
    kinds = dict.fromkeys(_precision(info) for row in table.values() for info in row.values())
    cpu = results["machine_info"].get("cpu", {}).get("brand_raw", "unknown processor")
    figure.suptitle(f"kigraph, {', '.join(kinds)}, {' and '.join(map(str, threads))} thread(s) on {cpu}", fontsize=10)
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
