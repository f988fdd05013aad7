"""Benchmark results as a table: a line for each case, a column for each backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["collect", "lines"]

Record = dict[str, Any]


def collect(benchmarks: Sequence[Record]) -> dict[str, dict[str, Record]]:
    """case -> backend -> extra_info with 'ms', the least time."""
    table: dict[str, dict[str, Record]] = {}
    for item in benchmarks:
        info = dict(item["extra_info"])
        info["ms"] = item["stats"]["min"] * 1e3
        table.setdefault(item["group"], {})[info["backend"]] = info
    return table


def _cell(info: Record | None) -> str:
    if info is None:
        return "-"
    text = f"{info['ms']:.3f}" if info["ms"] < 100 else f"{info['ms']:.0f}"
    if "images_per_s" in info:
        return f"{text} {info['images_per_s']:6.1f}/s"
    if not info["gflops"] and not info["gbytes_per_s"]:  # strings
        return f"{text}{'':15}"
    if not info["gflops"]:
        return f"{text} {info['gbytes_per_s']:7.1f} GB/s"
    share = f" {info['share_of_peak']:4.0%}" if info.get("share_of_peak", 0) >= 0.005 else "     "
    return f"{text} {info['gflops']:6.1f}{share}"


def lines(benchmarks: Sequence[Record]) -> Iterator[str]:
    """The table, and the sum over the convolutions of the network where all of them were timed."""
    table = collect(benchmarks)
    backends = list(dict.fromkeys(name for row in table.values() for name in row))
    width = max(map(len, table), default=0)
    yield f"{'':{width}}" + "".join(f"{name:>24}" for name in backends)
    for case, row in table.items():
        yield f"{case:{width}}" + "".join(f"{_cell(row.get(name)):>24}" for name in backends)
    for precision in dict.fromkeys(info.get("precision", "fp32") for row in table.values() for info in row.values()):
        totals = [_total(table, name, precision) for name in backends]
        if any(total != "-" for total in totals):
            title = f"all 94 convolutions of Inception v3{'' if precision == 'fp32' else ', ' + precision}"
            yield f"{title:{width}}" + "".join(f"{total:>24}" for total in totals)


def _total(table: dict[str, dict[str, Record]], backend: str, precision: str) -> str:
    """ms of all convolutions of the network, '-' if some were not timed."""
    infos = [row[backend] for row in table.values() if backend in row]
    layers = [
        i for i in infos if i.get("weight", 0) and i["op"] == "conv2d" and i.get("precision", "fp32") == precision
    ]
    complete = sum(layer["weight"] for layer in layers) == 94
    return f"{sum(layer['ms'] * layer['weight'] for layer in layers):.1f} ms" if complete else "-"
