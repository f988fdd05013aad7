"""What a run says: a table on the terminal and a picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..peers.contenders import CONTENDERS, contender
from ..peers.picture import colour_of, pyplot
from ..peers.report import least_ratio
from .zoo import NETWORKS

__all__ = ["draw", "failures", "merged", "print_table"]

Result = Mapping[str, Any]


def merged(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Results of several runs as one: networks and settings put together, the head of the last."""
    whole = dict(results[-1])
    whole["networks"] = {}
    whole["versions"] = {}
    for result in results:
        whole["versions"] |= result["versions"]
        for name, network in result["networks"].items():
            found = whole["networks"].setdefault(name, {"title": network["title"], "settings": []})
            new = [(s["threads"], s["batch"]) for s in network["settings"]]
            kept = [s for s in found["settings"] if (s["threads"], s["batch"]) not in new]
            found["settings"] = sorted([*kept, *network["settings"]], key=lambda s: (s["threads"], s["batch"]))
    order = {name: number for number, name in enumerate(NETWORKS)}
    whole["networks"] = dict(sorted(whole["networks"].items(), key=lambda item: order.get(item[0], len(order))))
    return whole


def _rows(result: Result) -> Iterator[tuple[str, Result]]:
    for network in result["networks"].values():
        for setting in network["settings"]:
            yield network["title"], setting


def _names(result: Result) -> list[str]:
    found = {name for _, s in _rows(result) for name in (*s["ms"], *s["failed"])}
    return [c.name for c in CONTENDERS if c.name in found]


def failures(result: Result) -> list[str]:
    """Who gave no time where, and why."""
    return [
        f"{contender(name).title}: {title}, {s['threads']} thread{'s' * (s['threads'] > 1)}, batch {s['batch']}: {reason}"
        for title, s in _rows(result)
        for name, reason in s["failed"].items()
    ]


def _about(result: Result) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{contender(n).title} {v}" for n, v in result["versions"].items())
    peaks = ", ".join(f"{rate:.0f} GFLOP/s on {n}" for n, rate in machine["peak_gflops"].items() if rate)
    return f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['isa']}; {peaks}\n{versions}; commit {result['commit']}, {result['date']}"


def where(profile: Result, parts: int = 5) -> str:
    """The ops that take most of a run, in per cent."""
    whole = max(profile["ms"], 1e-9)
    found = [(op, ms) for op, ms in profile["ops"].items()] + [("outside", profile["outside"])]
    shown = sorted(found, key=lambda item: -item[1])[:parts]
    text = ", ".join(f"{op} {ms / whole:.0%}" for op, ms in shown)
    return f"{text}; {profile['stages']} stage{'s' * (profile['stages'] > 1)}, {profile['steps']} steps"


def print_table(result: Result) -> None:
    """Milliseconds per image of each contender, kigraph's ratio to the fastest peer, and where kigraph's time goes."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    names = _names(result)
    table = Table(
        title="float32, ms per image (median); ratio of kigraph to the fastest peer of the round (least-largest round), and of the least times",
        title_style="bold",
    )
    for heading in ("", "threads", "batch", *(contender(n).title for n in names), "ratio", "least", "off float64"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_column("where kigraph's time goes")
    last = ""
    for title, s in _rows(result):
        ratio, least, gap = s["ratios"].get("kigraph"), least_ratio(s, "kigraph"), s["difference"].get("kigraph")
        table.add_row(
            title if title != last else "", str(s["threads"]), str(s["batch"]),
            *(f"{s['ms'][n]:.2f}" if n in s["ms"] else "failed" if n in s["failed"] else "" for n in names),
            "" if ratio is None else f"[bold]{ratio['median']:.2f}[/] ({ratio['low']:.2f}-{ratio['high']:.2f})",
            "" if least is None else f"{least:.2f}", "" if gap is None else f"{gap['logits']:.0e}",
            where(s["profiles"]["kigraph"]) if "kigraph" in s.get("profiles", {}) else "",
        )  # fmt: skip
        last = title
    console.print(table)
    for name, reason in result["absent"].items():
        console.print(f"left out: {contender(name).title}: {reason}", markup=False)
    for text in failures(result):
        console.print(f"failed: {text}", markup=False)
    console.print(_about(result), markup=False)


def draw(result: Result, path: Path) -> None:
    """Writes a PNG: for each setting and network, the ratio of every kind of kigraph to the fastest peer of the round."""
    plt = pyplot()
    networks = list(result["networks"].values())
    settings = sorted({(s["threads"], s["batch"]) for _, s in _rows(result)})
    names = [n for n in _names(result) if not contender(n).peer]
    figure, grid = plt.subplots(
        1, len(settings), figsize=(2.2 + 3.0 * len(settings), 1.6 + 0.36 * len(networks)), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    height = 0.8 / max(len(names), 1)
    for axes, (threads, batch) in zip(grid[0], settings, strict=True):
        for number, name in enumerate(names):
            for at, network in enumerate(networks):
                for s in network["settings"]:
                    ratio = s["ratios"].get(name)
                    if (s["threads"], s["batch"]) != (threads, batch) or ratio is None:
                        continue
                    y, middle = at + (number - (len(names) - 1) / 2) * height, ratio["median"]
                    axes.barh(y, middle, height * 0.92, color=colour_of(name))
                    spread = [[middle - ratio["low"]], [ratio["high"] - middle]]
                    axes.errorbar(middle, y, xerr=spread, fmt="none", ecolor="#333333", elinewidth=0.8, capsize=1.5)
                    axes.annotate(
                        f"{middle:.2f}",
                        (0, y),
                        xytext=(3, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=7,
                        color="w",
                    )
        axes.axvline(1, color="#888888", linewidth=0.8)
        axes.set_title(f"{threads} thread{'s' * (threads > 1)}, batch {batch}", fontsize=9)
        axes.set_yticks(range(len(networks)), [n["title"] for n in networks], fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    grid[0][0].invert_yaxis()
    figure.suptitle(
        f"Time of kigraph over that of the fastest peer, less is better\n{_about(result)}", fontsize=7, color="#444444"
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)
