"""Part 10: hardware counters of the three hottest convolutions of batch 128, by ncu; its report goes to $OUT/ncu.txt.

    python -m benchmarks.gpu.counters [--precision bf16] [--dry]

The hottest are those of part 5 in this run, else the three that a model of the backend expects, all of the
stem: 3 x 3 filters of 80 -> 192, 32 -> 32 and 32 -> 64 channels.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from kigraph.kernels import cupy as backend
from kigraph.kernels.conformance import bind_case
from kigraph.kernels.conformance.cases.conv2d import inception_case
from kigraph.kernels.inception_v3 import CONVOLUTIONS, ConvLayer

from . import dry
from .record import Recorder, output_folder, read
from .tiles import conv_kernel

__all__ = ["hottest", "main", "parse_report"]

_EXPECTED = ("stem5", "stem2", "stem3")
_LIMIT = 30
#: What ncu says in a container that keeps the counters to administrators.
_FORBIDDEN = "ERR_NVGPUCTRPERM"
#: What is asked of ncu beside its basic set, and what the figures call it.
METRICS = {
    "gpu__time_duration.sum": "duration",
    "sm__inst_executed_pipe_tensor.sum": "tensor instructions",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "multiprocessor of peak",
    "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed": "memory of peak",
    "l1tex__data_bank_conflicts_pipe_lsu.sum": "shared memory bank conflicts",
    "lts__t_bytes.sum": "L2 bytes",
    "dram__bytes.sum": "memory bytes",
    "smsp__warps_active.avg.pct_of_peak_sustained_active": "warps active of peak",
    "launch__registers_per_thread": "registers",
}


def hottest(precision: str) -> list[ConvLayer]:
    """The layers of the slowest convolutions of part 5 at batch 128, the slowest first; three of different sizes."""
    path = output_folder() / "results.jsonl"
    steps = [
        r
        for r in (read(path) if path.is_file() else [])
        if r["figure"] == "step" and r.get("layer") and (r["batch"], r["precision"]) == (128, precision)
    ]
    steps.sort(key=lambda r: -float(r["value"] or 0))
    layers = {layer.name: layer for layer in CONVOLUTIONS}
    names = dict.fromkeys([*(str(r["layer"]) for r in steps), *_EXPECTED])
    return [layers[name] for name in names][:3]


def work(precision: str, batch: int) -> int:
    """What runs under ncu: each layer once, with random operands."""
    for layer in hottest(precision):
        case = inception_case(layer, batch=batch)
        bound = bind_case(conv_kernel(precision), case, case.generate(0), backend.DEVICE)
        bound.run()
        backend.DEVICE.synchronize()
        print(f"ran {layer.name}", flush=True)
    return 0


def parse_report(text: str) -> list[dict[str, str]]:
    """Rows of ncu's CSV (--csv --page raw or details): kernel, metric, unit, value."""
    start = re.search(r'^"ID",', text, re.MULTILINE)
    rows = csv.DictReader(text[start.start() :].splitlines()) if start else []
    return [
        {"kernel": r["Kernel Name"], "id": r["ID"], "metric": r["Metric Name"], "unit": r["Metric Unit"], "value": r["Metric Value"]}
        for r in rows
        if r.get("Metric Name")
    ]  # fmt: skip


def _output(command: Sequence[str]) -> tuple[int, str]:
    """Exit status, 124 at the limit, and what the command printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired as stopped:
        return 124, (stopped.stdout or b"").decode(errors="replace")
    return done.returncode, done.stdout + done.stderr


def _measure(out: Recorder, precision: str) -> None:
    found = shutil.which("ncu")
    if found is None:
        return out.skip("ncu", "ncu is not installed")
    target = [sys.executable, "-m", "benchmarks.gpu.counters", "--work", "128", "--precision", precision]
    common = [found, "--clock-control", "none", "--csv", "--kernel-name", f"regex:conv2d_{precision}", "--set", "basic"]
    # A version of ncu that does not know one of the metrics refuses them all.
    for more in (["--metrics", ",".join(METRICS)], []):
        code, text = _output([*common, *more, *target])
        with open(output_folder() / "ncu.txt", "a", encoding="utf-8") as file:
            file.write(text)
        rows = parse_report(text)
        if rows or code == 124 or _FORBIDDEN in text:
            break
    names = [layer.name for layer in hottest(precision)]
    ids = list(dict.fromkeys(row["id"] for row in rows))
    for row in rows:
        layer = names[ids.index(row["id"])] if ids.index(row["id"]) < len(names) else row["id"]
        out.line(
            METRICS.get(row["metric"], row["metric"]), row["value"], row["unit"], layer=layer, kernel=row["kernel"]
        )
    if code or not rows:
        tail = (text.strip().splitlines() or ["no output"])[-1][:300]
        why = "this user may not read hardware counters" if _FORBIDDEN in text else tail
        out.line("ncu", f"exit status {code}", failed=why)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes one line per counter and layer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--precision", default="bf16", choices=("fp32", "tf32", "bf16"))
    parser.add_argument("--work", type=int, metavar="BATCH", help=argparse.SUPPRESS)
    args = dry.parse(__doc__, arguments, parser)
    if args.work:
        return work(args.precision, args.work)
    with Recorder("counters", dry=args.dry) as out:
        out.line("layers", ", ".join(layer.name for layer in hottest(args.precision)), precision=args.precision)
        if args.dry:
            out.skip("ncu", "--dry: hardware counters need a GPU")
        else:
            _measure(out, args.precision)
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
