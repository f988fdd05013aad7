"""Part 12: $OUT/results.jsonl as a table for people: $OUT/table.md, and the same on the screen, last.

    python -m benchmarks.gpu.table [--dry]

What was wrong comes first, then speed next to PyTorch's, then what the device can do, then the steps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from .record import output_folder, read

__all__ = ["main", "report"]

Records = Sequence[dict[str, Any]]
#: Steps that are listed of each precision and batch.
_STEPS = 12
#: Columns of the speeds: heading, part, figure and mode.
_PEERS = (
    ("eager", "torch-eager", "network", "plain"),
    ("eager graph", "torch-eager", "network", "graph"),
    ("compile", "torch-compile", "network", "reduce-overhead"),
    ("max-autotune", "autotune", "network", "max-autotune"),
)


def _rows(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table; nothing for no rows."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return ["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading), *lines, ""] if lines else []


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _find(records: Records, part: str, figure: str, **tags: object) -> dict[str, Any] | None:
    """The last such record."""
    matching = (r for r in reversed(records) if r["part"] == part and r["figure"] == figure)
    return next((r for r in matching if all(r.get(k) == v for k, v in tags.items())), None)


_ENDS = {0: "well", 1: "with something wrong", 124: "at its limit", 137: "killed at its limit"}


def _parts(records: Records) -> list[str]:
    """How each part ended, and its figures: wrong ones, ones that could not be measured, ones that cannot be had here."""
    rows: list[tuple[object, ...]] = []
    for r in (r for r in records if r["figure"] == "part"):
        lines = [x for x in records if x["part"] == r["part"] and x["figure"] != "part"]
        wrong, failed = sum(x.get("ok") is False for x in lines), sum("failed" in x for x in lines)
        skipped = sum("skipped" in x for x in lines)
        how = f"not run: {r['skipped']}" if "skipped" in r else _ENDS.get(r["status"], f"with {r['status']}")
        rows.append((r["part"], how, r["seconds"], r["limit"], len(lines), wrong or "", failed or "", skipped or ""))
    return _rows(("part", "ended", "s", "limit s", "figures", "wrong", "not measured", "skipped"), rows)


def _listed(records: Records) -> list[str]:
    """part, figure, value and the rest of each record, as a table; the first 30."""
    hidden = ("part", "figure", "value", "unit", "ok", "time", "dry")
    rows = [
        (
            r["part"], r["figure"], _text(r["value"])[:160],
            " ".join(f"{k}={_text(v)}" for k, v in r.items() if k not in hidden)[:200],
        )
        for r in records[:30]
    ]  # fmt: skip
    more = [f"... and {len(records) - 30} more", ""] if len(records) > 30 else []
    return [*_rows(("part", "figure", "value", "of"), rows), *more]


def _wrong(records: Records) -> list[str]:
    """Missed bounds and failed checks; then what could not be measured, which says nothing about results."""
    wrong = [r for r in records if r.get("ok") is False]
    failed = [r for r in records if "failed" in r and r.get("ok") is not False]
    lines = [f"**{len(wrong)} figures were wrong.**", "", *_listed(wrong)] if wrong else ["Nothing was wrong.", ""]
    if failed:
        lines += [f"{len(failed)} figures could not be measured.", "", *_listed(failed)]
    return lines


def _speeds(records: Records) -> list[str]:
    """Inception v3: ms by precision and batch, kigraph's three ways, PyTorch's, and kigraph's best over PyTorch's best."""
    shown = [r for r in records if r["part"] == "speed" or r["figure"] == "network"]
    keys = dict.fromkeys((r["precision"], r["batch"]) for r in shown if "precision" in r and "batch" in r)
    rows = []
    for precision, batch in keys:
        tags = {"precision": precision, "batch": batch}
        ours = _find(records, "speed", "captured", **tags) or {}
        best, launched, session, error = (
            (_find(records, "speed", name, **tags) or {}).get("value")
            for name in ("captured", "launched", "session", "error")
        )
        peers = [
            (_find(records, part, figure, mode=mode, **tags) or {}).get("value") for _, part, figure, mode in _PEERS
        ]
        times = [p for p in peers if p is not None]
        rows.append(
            (
                precision, batch, _text(best), _text(launched), _text(session), *map(_text, peers),
                f"{best / min(times):.2f}" if times and best and not ours.get("dry") else "", f"{ours['images_per_s']:,.0f}" if best else "",
                _text(ours.get("tflops")), _text(error),
            )
        )  # fmt: skip
    heading = (
        "precision", "batch", "captured ms", "launched ms", "session ms", *(f"PyTorch {name} ms" for name, *_ in _PEERS),
        "captured / fastest PyTorch measured", "images/s", "TFLOP/s", "error",
    )  # fmt: skip
    return _rows(heading, rows)


def _ceilings(records: Records) -> list[str]:
    return _rows(
        ("what the device can do", "value", "unit", "of"),
        (
            (r["figure"], _text(r["value"]), r["unit"], r.get("precision") or _text(r.get("nodes")))
            for r in records
            if r["part"] == "ceilings" and r["figure"] != "part" and r["value"] is not None
        ),
    )


def _golden(records: Records) -> list[str]:
    """The worst layer of each precision, and the other figures as they are."""
    layers: dict[str, dict[str, Any]] = {}
    for r in records:
        if r["part"] == "golden" and r["figure"] == "layer" and isinstance(r["value"], float):
            worst = layers.get(r["precision"])
            layers[r["precision"]] = r if worst is None or r["value"] > worst["value"] else worst
    rows = [("worst layer", p, _text(r["value"]), _text(r.get("bound")), r["layer"]) for p, r in layers.items()]
    rows += [
        (r["figure"], r.get("precision", ""), _text(r["value"])[:80], _text(r.get("bound")), _text(r.get("batch")))
        for r in records
        if r["part"] == "golden" and r["figure"] not in ("layer", "inside", "part")
    ]
    return _rows(("right answers", "precision", "found", "bound", "where"), rows)


def _steps(records: Records) -> list[str]:
    steps = [r for r in records if r["part"] == "speed" and r["figure"] == "step"]
    lines = []
    for key in dict.fromkeys((r["precision"], r["batch"]) for r in steps):
        group = [r for r in steps if (r["precision"], r["batch"]) == key]
        total, floors = sum(r["value"] for r in group), sum(r["floor_us"] for r in group)
        lines += [
            f"{key[0]}, batch {key[1]}: {len(group)} steps take {total:,.0f} us, their floors {floors:,.0f} us.",
            "",
        ]
        lines += _rows(
            ("step", "kernel", "us", "share", "floor us", "of floor"),
            (
                (r["node"], r["kernel"], f"{r['value']:.1f}", f"{r['value'] / total:.1%}", f"{r['floor_us']:.1f}", f"{r['of_floor']:.1%}")
                for r in sorted(group, key=lambda r: -r["value"])[:_STEPS]
            ),
        )  # fmt: skip
    return lines


def report(records: Records) -> str:
    """The whole table as Markdown."""
    facts = {r["figure"]: _text(r["value"]) for r in records if r["part"] == "environment" and r["value"] is not None}
    head = [f"# GPU check: {facts.get('nvidia-smi', 'unknown device')}", ""]
    if any(r.get("dry") for r in records):
        head += ["**A rehearsal without a GPU: results are emulated, times mean nothing.**", ""]
    named = ("commit", "backend", "python", "numpy", "torch", "nvidia-cuda-nvrtc", "system")
    head += [", ".join(f"{name} {facts[name]}" for name in named if name in facts), ""]
    counters = _rows(
        ("counter", "layer", "value", "unit"),
        (
            (r["figure"], r["layer"], r["value"], r["unit"])
            for r in records
            if r["part"] == "counters" and r.get("layer")
        ),
    )
    blocks = (_parts, _wrong, _speeds, _golden, _ceilings, _steps)
    return "\n".join([*head, *(line for block in blocks for line in block(records)), *counters]).rstrip() + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes table.md and prints it; 1 if there are no results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="the same: for the calls of gpu_check.sh")
    parser.parse_args(arguments)
    folder = output_folder()
    if not (folder / "results.jsonl").is_file():
        print(f"{folder / 'results.jsonl'} is missing: no part has written a line", file=sys.stderr)
        return 1
    text = report(read(folder / "results.jsonl"))
    (folder / "table.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
