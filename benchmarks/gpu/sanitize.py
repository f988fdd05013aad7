"""Part 8: compute-sanitizer over the tiles: memcheck, racecheck, synccheck, initcheck; its report goes to $OUT/sanitizer.txt.

    python -m benchmarks.gpu.sanitize [--dry]

Every array is an allocation of its own (no pool), so that an access beyond its end is one outside of any allocation. Without
compute-sanitizer the same work runs without it, and the figures say so.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from kigraph.kernels.cupy import binding

from . import dry
from .record import Recorder, output_folder
from .tiles import Check, checks

__all__ = ["TOOLS", "main", "selected", "work"]

#: Tool -> (seconds at most, whether it takes every build or the widest of each precision). racecheck slows down most.
TOOLS = {"memcheck": (30, True), "racecheck": (30, False), "synccheck": (18, False), "initcheck": (18, False)}


def selected(every: bool) -> list[Check]:
    """Split sums, so that the sum over the splits runs, too: of every build, or of the widest and of one with scalar gathers of
    each precision."""
    found = [c for c in checks() if c.splits == 3]
    return found if every else list({(c.tile.precision.name, c.memory): c for c in reversed(found)}.values())


def work(every: bool) -> int:
    """What runs under the sanitizer: 1 if a result is wrong."""
    binding.cupy().cuda.set_allocator(None)
    wrong = 0
    for check in selected(every):
        error, bound = check.error()
        print(f"{check.name}: {error / bound:.3f} of the bound", flush=True)
        wrong += not error <= bound
    return int(wrong > 0)


def _run(out: Recorder, tool: str, dry_run: bool) -> None:
    limit, every = TOOLS[tool]
    target = [sys.executable, "-m", "benchmarks.gpu.sanitize", "--work", "all" if every else "few"]
    found = shutil.which("compute-sanitizer")
    prefix = [found, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20"] if found and not dry_run else []
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [*prefix, *target, *(["--dry"] if dry_run else [])], capture_output=True, text=True, timeout=limit, check=False
        )  # fmt: skip
        code, text = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as stopped:
        code, text = 124, "".join(t if isinstance(t, str) else t.decode(errors="replace") for t in (stopped.stdout, stopped.stderr) if t)  # fmt: skip
    seconds = time.perf_counter() - start
    with open(output_folder() / "sanitizer.txt", "a", encoding="utf-8") as file:
        file.write(f"=== {tool}: {' '.join(prefix) or 'not under the sanitizer'}, exit status {code}\n{text}\n")
    summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", text)
    tags = {
        "seconds": round(seconds, 1),
        "tiles": len(re.findall("of the bound", text)),
        "wanted": len(selected(every)),
    }
    if code == 124:
        out.line(tool, None, failed=f"stopped after {limit} s", **tags)
    elif not prefix:
        why = "--dry" if dry_run else "compute-sanitizer is not installed"
        out.line(tool, "ran without the sanitizer", ok=code == 0, skipped=why, **tags)
    else:
        last = summary[-1] if summary else (text.strip().splitlines() or ["no output"])[-1][:200]
        seen = tags["tiles"] == tags["wanted"]  # else the tool itself did not get there
        out.line(
            tool,
            last,
            ok=code == 0 if seen else None,
            status=code,
            **tags,
            **({} if seen else {"failed": "ended early"}),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tools one after the other; 1 if one of them found something."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", choices=("all", "few"), help=argparse.SUPPRESS)
    args = dry.parse(__doc__, arguments, parser)
    if args.work:
        return work(args.work == "all")
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    with Recorder("sanitizer", dry=args.dry) as out:
        for tool in TOOLS:
            _run(out, tool, args.dry)
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
