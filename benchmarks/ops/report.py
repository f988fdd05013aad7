"""What a run says: a table, the worst row first, and a picture."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..peers.picture import COLOURS, pyplot

__all__ = ["TITLES", "draw", "merged", "print_table"]

Result = Mapping[str, Any]
TITLES = {"kigraph": "kigraph", "onnxruntime": "ONNX Runtime", "torch": "PyTorch", "numpy": "NumPy"}


def merged(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Results of several runs as one; of a row that is in two of them the later."""
    whole = dict(results[-1])
    rows = {(r["op"], r["size"], r["threads"]): r for result in results for r in result["rows"]}
    return whole | {
        "rows": list(rows.values()),
        "failed": {k: v for result in results for k, v in result["failed"].items()},
    }


def _sorted(result: Result) -> list[Result]:
    return sorted(result["rows"], key=lambda r: -r["ratio"]["median"] if "ratio" in r else 0.0)


def _time(microseconds: float | None) -> str:
    if microseconds is None:
        return ""
    return f"{microseconds:.1f}" if microseconds < 100 else f"{microseconds:,.0f}"


def _about(result: Result) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{TITLES[n]} {v}" for n, v in result["versions"].items())
    return f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['isa']}; {versions}; commit {result['commit']}, {result['date']}"


def print_table(result: Result) -> None:
    """Microseconds of a call of each contender, kigraph's ratio to the fastest other, and the time of its kernels."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 190, highlight=False)
    table = Table(
        title="us of a call (median); ratio of kigraph to the fastest other (least-largest round)", title_style="bold"
    )
    for heading in ("op", "size"):
        table.add_column(heading)
    for heading in ("ratio", "kigraph", "its kernels", "ONNX Runtime", "PyTorch", "NumPy"):
        table.add_column(heading, justify="right")
    table.add_column("networks")
    for r in _sorted(result):
        ratio = r.get("ratio")
        table.add_row(
            r["op"], r["size"] + (f", {r['threads']} threads" if r["threads"] > 1 else ""),
            "" if ratio is None else f"[bold]{ratio['median']:.2f}[/] ({ratio['low']:.2f}-{ratio['high']:.2f})",
            _time(r["us"]["kigraph"]), _time(r["kernel_us"]),
            *("wrong" if n in r["wrong"] else _time(r["us"].get(n)) for n in ("onnxruntime", "torch", "numpy")),
            ", ".join(r["networks"]),
        )  # fmt: skip
    console.print(table)
    compared = [r["ratio"]["median"] for r in result["rows"] if "ratio" in r]
    console.print(
        f"{len(result['rows'])} rows, {len(compared)} with another contender; {sum(r > 1 for r in compared)} above 1.0",
        markup=False,
    )
    for name, reason in result["failed"].items():
        console.print(f"failed: {name}: {reason}", markup=False)
    for r in result["rows"]:
        for name, reason in r["wrong"].items():
            console.print(f"wrong: {TITLES[name]}: {r['op']} {r['size']}: {reason}", markup=False)
    console.print(_about(result), markup=False)


def draw(result: Result, path: Path) -> None:
    """Writes a PNG: a line for each op, a point for each size, the ratio of the whole call and that of the kernels alone."""
    plt = pyplot()
    kinds: dict[str, list[Result]] = {}
    for r in result["rows"]:
        if "ratio" in r:
            kinds.setdefault(r["op"], []).append(r)
    order = sorted(kinds, key=lambda kind: -max(r["ratio"]["median"] for r in kinds[kind]))
    figure, axes = plt.subplots(figsize=(8.5, 1.6 + 0.155 * len(order)), layout="constrained")
    for at, kind in enumerate(order):
        rows = kinds[kind]
        axes.plot([r["kernel_ratio"] for r in rows], [at] * len(rows), "|", color="#777777", markersize=7)
        axes.plot(
            [r["ratio"]["median"] for r in rows],
            [at] * len(rows),
            "o",
            color=COLOURS["kigraph"],
            markersize=3.5,
            alpha=0.8,
        )
    axes.plot([], [], "o", color=COLOURS["kigraph"], markersize=3.5, label="whole call")
    axes.plot([], [], "|", color="#777777", markersize=7, label="kernels alone")
    axes.axvline(1, color="#888888", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(order)), order, fontsize=6)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel(
        "time of kigraph over that of the fastest of ONNX Runtime, PyTorch and NumPy, less is better", fontsize=7
    )
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.suptitle(_about(result).replace("; ", "\n", 1), fontsize=7, color="#444444")
    figure.savefig(path, dpi=130)
    plt.close(figure)
