"""What a run says: one table on the terminal, one in Markdown for the README."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .contenders import CONTENDERS, PRECISIONS, contender
from .rounds import is_rival

__all__ = ["accuracy", "headline", "markdown", "precisions", "present", "print_table", "worst_difference"]

Result = Mapping[str, Any]


def present(result: Result) -> list[str]:
    """Contenders that have figures, in the order of the list."""
    timed = {name for setting in result["settings"] for name in setting["ms"]} | set(result["whole"])
    return [c.name for c in CONTENDERS if c.name in timed]


def precisions(result: Result) -> list[str]:
    """Those that have figures."""
    found = {contender(name).precision for name in present(result)}
    return [precision for precision in PRECISIONS if precision in found]


def accuracy(result: Result, name: str) -> Result | None:
    """Errors of the logits over all images, as ``rounds.errors`` makes them; None in results of earlier versions."""
    found = [s["accuracy"][name] for s in result["settings"] if name in s.get("accuracy", {})]
    return found[0] if found else None


def _accuracy_cells(result: Result, name: str) -> tuple[str, str]:
    """Largest and RMS error of the logits; first classes that are the truth's."""
    exact = accuracy(result, name)
    if exact is None:
        return "-", "-"
    return f"{exact['largest']:.1e} / {exact['rms']:.1e}", f"{exact['same_top1']} of {exact['images']}"


def worst_difference(result: Result, name: str) -> tuple[float, float, bool] | None:
    """The largest relative L2 distance from float64 over all settings, of logits and of probabilities; top-1 the same?"""
    found = [s["difference"][name] for s in result["settings"] if name in s["difference"]]
    if not found:
        return None
    return max(d["logits"] for d in found), max(d["probabilities"] for d in found), all(d["same_top1"] for d in found)


def headline(result: Result) -> str:
    """The machine, the versions with the commit, and the network, in one line each."""
    machine, versions = result["machine"], result["versions"]
    peaks = ", ".join(f"{rate:.0f} GFLOP/s on {_threads(n)}" for n, rate in machine["peak_gflops"].items() if rate)
    streams = ", ".join(f"{rate:.0f} GB/s on {n}" for n, rate in machine["read_gbytes_per_s"].items() if rate)
    limits = f"measured peak: {peaks}; reading memory: {streams}" if peaks else "peak not measured (no compiler)"
    used = ", ".join(
        dict.fromkeys(f"{re.split(',| [(]', contender(n).title)[0]} {versions[n]}" for n in _libraries(result))
    )
    return (
        f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['isa']}, Python {machine['python']}; {limits}\n"
        f"{used}; commit {result['commit']}, {result['date']}\n{result['network']}, {', '.join(precisions(result))}{_images_text(result)}"
    )


def _images_text(result: Result) -> str:
    return f"; {result['images']}" if result.get("images") else ""


def _threads(count: str) -> str:
    return "1 thread" if count == "1" else f"{count} threads"


def _libraries(result: Result) -> list[str]:
    return [n for n in present(result) if n in result["versions"] and (n.startswith("kigraph") or contender(n).peer)]


def least_ratio(setting: Result, name: str) -> float | None:
    """The least time of all runs over that of the fastest peer of the precision: what others on the machine disturb least."""
    least = setting["best_ms"]
    peers = [ms for other, ms in least.items() if is_rival(other, contender(name).precision)]
    return least[name] / min(peers) if name in least and peers and not contender(name).peer else None


def _cells(result: Result, name: str) -> Iterator[tuple[str, str, str]]:
    """(ms, ratio with its spread, ratio of the least times) of every setting."""
    for setting in result["settings"]:
        ms = setting["ms"].get(name)
        ratio = setting["ratios"].get(name)
        first = "failed" if name in setting["failed"] else "" if ms is None else f"{ms:.1f}"
        least = least_ratio(setting, name)
        text = "" if ratio is None else f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"
        yield first, text, "" if least is None else f"{least:.2f}"


def _fastest(setting: Result, precision: str) -> str | None:
    peers = [name for name in setting["ms"] if is_rival(name, precision)]
    return min(peers, key=setting["ms"].__getitem__) if peers else None


def _setting_text(setting: Result) -> str:
    return f"{setting['threads']} thread{'s' if setting['threads'] > 1 else ''}, batch {setting['batch']}"


def print_table(result: Result) -> None:
    """Milliseconds per image and ratios, differences, cold start and memory."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 190, highlight=False)
    table = Table(
        title="ms per image (median); below it the ratio to the fastest peer of the same precision (least-largest round) and that of least times",
        title_style="bold",
    )
    table.add_column("")
    for setting in result["settings"]:
        table.add_column(_setting_text(setting), justify="right")
    table.add_column("off float64\n(relative L2)", justify="right")
    table.add_column("logits' error\nlargest / RMS", justify="right")
    table.add_column("same\ntop-1", justify="right")
    table.add_column("cold start", justify="right")
    table.add_column("peak memory", justify="right")
    for name in present(result):
        cells = []
        fastest = [_fastest(s, contender(name).precision) for s in result["settings"]]
        for (ms, ratio, least), best in zip(_cells(result, name), fastest, strict=True):
            cells.append(
                f"{ms} ms\n{ratio}\nleast {least}"
                if ratio
                else f"[bold]{ms} ms[/]"
                if best == name
                else f"{ms} ms"
                if ms
                else "-"
            )
        gap, whole = worst_difference(result, name), result["whole"].get(name)
        cells.append("-" if gap is None else f"{gap[0]:.1e}" + ("" if gap[2] else "\nother top-1"))
        cells += _accuracy_cells(result, name)
        cells += ["-", "-"] if whole is None else [f"{whole['cold_s']:.2f} s", f"{whole['peak_mb']:.0f} MB"]
        table.add_row(contender(name).title, *cells, end_section=not ratio_follows(name, result))
    console.print(table)
    for name, reason in result["absent"].items():
        console.print(f"left out: {contender(name).title}: {reason}", markup=False)
    for setting in result["settings"]:
        for name, reason in setting["failed"].items():
            console.print(f"failed: {contender(name).title} ({_setting_text(setting)}): {reason}", markup=False)
    for name, text in _notes(result).items():
        console.print(f"{contender(name).title}: {text}", markup=False)
    console.print(headline(result), markup=False)


def _notes(result: Result) -> dict[str, str]:
    return {name: text for setting in result["settings"] for name, text in setting.get("notes", {}).items()}


def ratio_follows(name: str, result: Result) -> bool:
    """False for the last row of kigraph and of the peers in each precision: a line is drawn under it."""
    rows = [(n, contender(n).precision, contender(n).peer) for n in present(result)]
    at = next(i for i, row in enumerate(rows) if row[0] == name)
    return at + 1 < len(rows) and rows[at][1:] == rows[at + 1][1:]


def _notes_text(result: Result) -> str:
    return "".join(f". {contender(name).title}: {text}" for name, text in _notes(result).items())


def markdown(result: Result, picture: str) -> str:
    """The same for the README."""
    settings: Sequence[Result] = result["settings"]
    rows = [
        ["", *map(_setting_text, settings), "off float64", "largest / RMS", "same top-1", "cold start", "peak memory"]
    ]
    rows.append(["---", *["---:"] * (len(settings) + 5)])
    for name in present(result):
        cells = [f"{ms} **{r.split()[0]}** ({least})" if r else ms for ms, r, least in _cells(result, name)]
        gap, whole = worst_difference(result, name), result["whole"].get(name)
        cells.append("" if gap is None else f"{gap[0]:.1e}")
        cells += _accuracy_cells(result, name)
        cells += ["", ""] if whole is None else [f"{whole['cold_s']:.2f} s", f"{whole['peak_mb']:.0f} MB"]
        rows.append([contender(name).title, *cells])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    spread = max((r["high"] - r["low"] for s in settings for r in s["ratios"].values()), default=0.0)
    rounds = settings[0]["rounds"] if settings else 0
    about = (
        f"Median ms per image; bold: the ratio to the fastest peer of the same precision and round ({rounds} alternating rounds; a "
        f"ratio varied by at most {spread:.2f} between rounds); in brackets: that of the least times, which others on the machine disturb least; off float64: relative L2 distance of the logits of the worst image; largest / RMS: their errors over all images ({result.get('images', 'noise')}); same top-1: as float64; cold start: from the start of the process to the "
        f"first result, caches warm. {'. Versions: '.join(headline(result).split(chr(10))[:2])}{_notes_text(result)}"
    )
    return "\n".join([*lines, "", about, "", f"![Inception v3 next to other runtimes]({picture})"])
