"""What a precision costs and saves before the first answer: packed weights, memory, seconds. Part of benchmarks/load_time.py.

Every figure is of whole processes of kigraph on one thread, with a cache folder of their own. ``first``: from the start of
Python to the first answer with that folder empty, so that weights are read and packed; ``again``: the same with the packed
weights in it, the median. CPU time is user and system time of the process. ``peak``: the most memory that a process had, the
larger of both; ``packed``: the files of packed weights that the first process left.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["costs", "main", "refusal", "table"]

ROOT = Path(__file__).resolve().parents[1]
#: Settings that would make other processes of these.
_CLEARED = ("KIGRAPH_BACKEND", "KIGRAPH_ISA", "KIGRAPH_NUM_THREADS", "KIGRAPH_PACKED_CACHE", "KIGRAPH_PRECISION")


def refusal(precision: str, backend: str) -> str:
    """Why the backend has no such precision; '' if it has. Quantised files run in their integers in any session."""
    from kigraph.kernels.backends import get_backend

    offered = get_backend(backend).precisions()
    return "" if precision in ("int8", *offered) else f"{backend} multiplies in {', '.join(offered)} only"


def costs(path: Path, precision: str, backend: str, runs: int) -> dict[str, Any]:
    """The figures of one model in one precision: bytes and seconds. RuntimeError if a process fails."""
    with tempfile.TemporaryDirectory(prefix="kigraph-costs-") as cache:
        first = _process(path, precision, backend, cache)
        packed = [p.stat().st_size for p in Path(cache, "packed").rglob("*") if p.is_file()]
        again = [_process(path, precision, backend, cache) for _ in range(runs)]
    return {
        "model": str(path),
        "precision": precision,
        "bytes": path.stat().st_size,
        "packed_bytes": sum(packed),
        "peak_bytes": max(p["peak_bytes"] for p in (first, *again)),
        "first_s": first["wall_s"],
        "first_cpu_s": first["cpu_s"],
        "again_s": statistics.median(p["wall_s"] for p in again),
        "again_cpu_s": statistics.median(p["cpu_s"] for p in again),
    }


def _process(path: Path, precision: str, backend: str, cache: str) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if k not in _CLEARED}
    environment |= {"KIGRAPH_CACHE_DIR": cache, "KIGRAPH_BACKEND": backend, "KIGRAPH_TUNE": "off"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "benchmarks.load_precisions", precision, str(path)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    wall = time.perf_counter() - begin
    process.stdout.close()
    if process.wait() or not line:
        raise RuntimeError(
            f"{path} in {precision}: the process ended with {process.returncode} before or after its answer"
        )
    found: dict[str, Any] = json.loads(line)
    return found | {"wall_s": wall}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lines for a terminal, MB and seconds."""
    lines = [
        f"{'':9} {'file MB':>8} {'packed MB':>10} {'peak MB':>8} {'first answer s (CPU)':>22} {'again s (CPU)':>16}   model"
    ]
    for row in rows:
        sizes = f"{row['bytes'] / 1e6:>8.1f} {row['packed_bytes'] / 1e6:>10.1f} {row['peak_bytes'] / 1e6:>8.0f}"
        first, again = (f"{row[f'{k}_s']:.2f} ({row[f'{k}_cpu_s']:.2f})" for k in ("first", "again"))
        lines.append(f"{row['precision']:9} {sizes} {first:>22} {again:>16}   {Path(row['model']).name}")
    return "\n".join(lines)


def main(
    models: Sequence[Path], int8: Path | None, precisions: Sequence[str], backend: str, runs: int, as_json: bool
) -> int:
    """What ``python -m benchmarks.load_time --precisions`` does; the exit code."""
    rows = []
    for path in models:
        for precision in precisions:
            file = int8 if precision == "int8" else path
            why = (
                refusal(precision, backend) if file else "no quantised file; remedy: kigraph quantize, and --int8 FILE"
            )
            if why or file is None:
                print(f"left out: {precision} of {path.name}: {why}", file=sys.stderr)
                continue
            print(f"{precision} of {file.name}", file=sys.stderr)
            try:
                rows.append(costs(file, precision, backend, runs))
            except RuntimeError as error:
                print(error, file=sys.stderr)
                return 1
    if not rows:
        print("nothing is left to be measured", file=sys.stderr)
        return 2
    print(json.dumps(rows, indent=2) if as_json else table(rows))
    return 0


def _first_answer(precision: str, path: Path) -> None:
    import kigraph as ki

    own = {} if precision == "int8" else {"precision": precision}
    model = ki.load(path, threads=1, **own)
    if model.card is not None:
        input_, output = model.card.input, model.card.output
    else:
        called = model.graph.signatures["serving_default"]
        input_, output = next(iter(called.inputs.values())), list(called.outputs.values())[-1]
    given = model.graph.tensor(input_)
    if given.shape is None or None in given.shape[1:]:
        raise SystemExit(f"{path}: the input {input_} has no fixed size: {given.shape}")
    model.session.run(output, {input_: np.zeros((given.shape[0] or 1, *given.shape[1:]), given.dtype)})
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"peak_bytes": peak, "cpu_s": time.process_time()}), flush=True)


if __name__ == "__main__":
    _first_answer(sys.argv[1], Path(sys.argv[2]))
