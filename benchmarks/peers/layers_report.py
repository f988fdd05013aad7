"""The convolutions one by one, as a table and as a picture."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contenders import contender
from .layers import title
from .picture import colour_of, pyplot

__all__ = ["draw", "floor_ms", "print_table"]

Result = Mapping[str, Any]


def floor_ms(result: Result, threads: int, row: Result) -> float | None:
    """The roofline: the time that direct convolution at the measured peak takes, or moving every byte once, if longer."""
    peak = result["machine"]["peak_gflops"].get(str(threads))
    stream = result["machine"]["read_gbytes_per_s"].get(str(threads))
    if not peak or not stream:
        return None
    return max(row["flops"] / peak, row["bytes"] / stream) * 1e-6


#: The precisions of one library have a colour each here.
_LAYER_COLOURS = {"kigraph-bf16": "#3f8f4f", "kigraph-int8": "#c4423a"}


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _shape_text(row: Result) -> str:
    h, w, cin, kh, kw, cout, stride, padding = row["shape"]
    return (
        f"{h}x{w}x{cin} {kh}x{kw} to {cout}"
        + (f" /{stride}" if stride > 1 else "")
        + (" valid" if padding == "VALID" else "")
    )


def print_table(result: Result) -> None:
    """A table for each number of threads; the last line is the sum over all layers of the network."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 190, highlight=False)
    for part in result["tables"]:
        threads, rows = part["threads"], part["layers"]
        names = list(rows[0]["ms"])
        table = Table(
            title=f"{_threads(threads)}, batch {result['batch']}", title_style="bold", box=None, pad_edge=False
        )
        for head in ("layer", "", "shape"):
            table.add_column(head)
        for name in names:
            table.add_column(title(name) + "\nms", justify="right")
            table.add_column("\nof fp32" if _narrow(name) else "\nGFLOP/s", justify="right")
        table.add_column("ratio", justify="right")
        table.add_column("roofline\nms", justify="right")
        table.add_column("\nshare", justify="right")
        table.add_column("kernel")
        for row in rows:
            table.add_row(*_cells(result, threads, row, names, row["layer"], f"{row['count']} x", _shape_text(row)))
        table.add_section()
        table.add_row(*_cells(result, threads, _sum(result, threads, rows), names, "all", "", ""), style="bold")
        console.print(table)
    for name, reason in result["absent"].items():
        console.print(f"left out: {title(name)}: {reason}", markup=False)
    console.print(
        "of fp32: time in the precision over kigraph's in fp32. ratio: kigraph over ONNX Runtime. roofline: direct convolution in fp32 at the measured peak, or every byte moved once from memory,\n"
        "whichever is longer; share above 100 %: fewer multiplications than direct, or data that came from the caches.",
        markup=False,
    )
    machine = result["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cpus']} CPUs; commit {result['commit']}, {result['date']}", markup=False
    )


def _sum(result: Result, threads: int, rows: list[Any]) -> dict[str, Any]:
    floors = [(floor_ms(result, threads, r), r["count"]) for r in rows]
    return {
        "ms": {name: sum(r["ms"][name] * r["count"] for r in rows) for name in rows[0]["ms"]},
        "flops": sum(r["flops"] * r["count"] for r in rows),
        "floor": None if floors[0][0] is None else sum(f * n for f, n in floors if f is not None),
        "kernel": {},
    }


def _narrow(name: str) -> bool:
    return contender(name).precision != "fp32"


def _kernels(row: Result) -> str:
    """That of kigraph in fp32, and those of other precisions behind their names."""
    narrow = [f"{contender(n).precision}: {kernel}" for n, kernel in row["kernel"].items() if _narrow(n) and kernel]
    return "; ".join([*filter(None, [row["kernel"].get("kigraph", "")]), *narrow])


def _cells(result: Result, threads: int, row: Result, names: list[str], *head: str) -> list[str]:
    cells = list(head)
    for name in names:
        rate = f"{row['flops'] / row['ms'][name] / 1e6:.0f}"
        single = row["ms"].get("kigraph")
        of_single = f"{row['ms'][name] / single:.2f}" if single else "-"
        cells += [f"{row['ms'][name]:.3f}", of_single if _narrow(name) else rate]
    both = "kigraph" in row["ms"] and "onnxruntime" in row["ms"]
    cells.append(f"{row['ms']['kigraph'] / row['ms']['onnxruntime']:.2f}" if both else "-")
    floor = row["floor"] if "floor" in row else floor_ms(result, threads, row)
    mine = row["ms"].get("kigraph")
    cells += ["-", "-"] if floor is None or mine is None else [f"{floor:.3f}", f"{floor / mine:.0%}"]
    return [*cells, _kernels(row)]


def draw(result: Result, path: Path) -> None:
    """GFLOP/s by layer, counted as direct convolution, with the roofline over them. Writes a PNG."""
    plt = pyplot()
    tables = result["tables"]
    figure, axes = plt.subplots(len(tables), 1, squeeze=False, figsize=(14, 4.6 * len(tables)), layout="constrained")
    for axis, part in zip(axes[:, 0], tables, strict=True):
        rows = part["layers"]
        for name in rows[0]["ms"]:
            rates = [r["flops"] / r["ms"][name] / 1e6 for r in rows]
            axis.plot(
                range(len(rows)),
                rates,
                "o",
                ms=3.5,
                lw=1,
                ls="--" if _narrow(name) else "-",
                color=_LAYER_COLOURS.get(name) or colour_of(name),
                label=title(name),
            )
        floors = [floor_ms(result, part["threads"], r) for r in rows]
        if None not in floors:
            roof = [r["flops"] / f / 1e6 for r, f in zip(rows, floors, strict=True)]
            axis.step(
                range(len(rows)),
                roof,
                where="mid",
                lw=0.9,
                ls="--",
                color="black",
                label="roofline of direct convolution, fp32",
            )
        axis.set_xticks(range(len(rows)), [f"{r['layer']}  {r['count']}x" for r in rows], rotation=90, fontsize=7)
        axis.set_xlim(-0.7, len(rows) - 0.3)
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", lw=0.4, alpha=0.5)
        axis.set_ylabel("GFLOP/s, as direct convolution")
        axis.set_title(
            f"Convolutions of Inception v3, batch {result['batch']}, {_threads(part['threads'])}", fontsize=10
        )
        axis.legend(fontsize=8, frameon=False, ncols=4, loc="lower right")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.suptitle(f"{result['machine']['cpu']}, commit {result['commit']}", fontsize=8, color="#444444")
    figure.savefig(path, dpi=130)
    plt.close(figure)
