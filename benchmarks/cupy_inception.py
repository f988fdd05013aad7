"""Inception v3 on a GPU through the cupy backend, in all precisions: one command, results with their circumstances.

    python -m benchmarks.cupy_inception                      # writes benchmarks/results/cupy_inception-<device>.json
    python -m benchmarks.cupy_inception --batches 1,8 --precisions fp32

For every precision and batch size: the steps of the plan launched one by one and as one captured CUDA graph (device time,
CUDA events), the whole Session.run from host memory to host memory, and per convolution time and TFLOP/s. Inputs are
random, never zeros: clocks and power depend on the data. Before timing, probabilities are compared with fp32's.

--dry-run: one batch of 1 over the stand-in without a GPU, to see that the command works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.graph.models.inception_v3 import build
from kigraph.graph.models.inception_weights import seeded_weights
from kigraph.graph.plan.stage import Stage, _Context
from kigraph.graph.session import Session
from kigraph.kernels import cupy as backend
from kigraph.kernels.cupy import runtime

__all__ = ["main"]

NDArray = np.ndarray[Any, Any]
RESULTS = Path(__file__).parent / "results"
FETCH, FEED = "predictions:0", "input:0"
#: Largest difference of a probability from fp32's, as a share of the largest probability.
ALLOWED = {"fp32": 1e-5, "tf32": 2e-2, "bf16": 1e-1}


def circumstances() -> dict[str, str]:
    """Commit, device, driver, libraries."""

    def output(*command: str) -> str:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent, check=False
            )
        except OSError:
            return "unknown"
        return done.stdout.strip() or "unknown"

    return {
        "commit": output("git", "describe", "--always", "--dirty", "--abbrev=12"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": backend.probe().detail,
        "nvidia-smi": output(
            "nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"
        ),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }


class GpuClock:
    """Device time by CUDA events."""

    def __init__(self) -> None:
        self._cupy = runtime._cupy()

    def eager(self, runs: Sequence[Callable[[], None]], repeat: int) -> float:
        """Median ms of all runs launched one after the other."""

        def once() -> None:
            for run in runs:
                run()

        return self._median(once, repeat)

    def captured(self, runs: Sequence[Callable[[], None]], repeat: int) -> float:
        """Median ms of one CUDA graph of all runs."""
        stream = self._cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            for run in runs:
                run()
            graph = stream.end_capture()
            return self._median(lambda: graph.launch(stream), repeat)

    def _median(self, once: Callable[[], None], repeat: int) -> float:
        event, elapsed = self._cupy.cuda.Event, self._cupy.cuda.get_elapsed_time
        for _ in range(3):
            once()
        times: list[float] = []
        for _ in range(repeat):
            start, end = event(), event()
            start.record()
            once()
            end.record()
            end.synchronize()
            times.append(float(elapsed(start, end)))
        return statistics.median(times)


class DryClock:
    """Wall time of one pass; for --dry-run."""

    def eager(self, runs: Sequence[Callable[[], None]], repeat: int) -> float:
        start = time.perf_counter()
        for run in runs:
            run()
        return (time.perf_counter() - start) * 1e3

    captured = eager


def measure(session: Session, images: NDArray, clock: GpuClock | DryClock, repeat: int) -> dict[str, Any]:
    """All figures of one precision and batch size."""
    feeds = {FEED: images}
    session.run(FETCH, feeds)
    walls = []
    for _ in range(max(repeat // 5, 3) if isinstance(clock, GpuClock) else 1):
        start = time.perf_counter()
        session.run(FETCH, feeds)
        walls.append((time.perf_counter() - start) * 1e3)
    (stage,) = (
        s for _, s in session.plan(FETCH, feeds).compiled() if isinstance(s, Stage) and len(s.lowering.steps) > 50
    )
    context = _Context(stage)
    for port, device in stage.fed:
        device.upload(images, context.arrays[port])
    backend.DEVICE.synchronize()
    eager, captured = clock.eager(context.runs, repeat), clock.captured(context.runs, repeat)
    layers = []
    for step, run in zip(context.steps, context.runs, strict=True):
        if step.flops > 1e6 and "conv2d" in str(step.kernel):
            ms = clock.captured([run] * 10, max(repeat // 5, 3)) / 10
            layers.append({"layer": step.node, "kernel": str(step.kernel), "ms": ms, "tflops": step.flops / ms / 1e9})
    return {
        "batch": len(images),
        "launched_ms": eager,
        "captured_ms": captured,
        "session_ms": statistics.median(walls),
        "images_per_s": len(images) / captured * 1e3,
        "tflops": sum(step.flops for step in context.steps) / captured / 1e9,
        "convolutions": layers,
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="1,8,32,128", help="comma-separated batch sizes (default: %(default)s)")
    parser.add_argument("--precisions", default="fp32,tf32,bf16", help="comma-separated (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=50, help="timed passes per figure (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, help="JSON file; default: benchmarks/results/cupy_inception-<device>.json"
    )
    parser.add_argument("--dry-run", action="store_true", help="without a GPU, over the stand-in; writes nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 if there is no GPU or a result is wrong."""
    args = parse(arguments)
    if args.dry_run:
        from kigraph.kernels.cupy.emulation.standin import StandIn

        StandIn(multiprocessors=132).install(lambda name, value: setattr(runtime, name, value))
        args.batches = "1"
    status = backend.probe()
    if not status.available:
        print(f"backend cupy cannot be used here: {status.detail}. Remedy: {status.remedy}", file=sys.stderr)
        return 1
    clock = DryClock() if args.dry_run else GpuClock()
    print(status.detail)
    rng = np.random.default_rng(0)
    graph = build(seeded_weights())
    records: list[dict[str, Any]] = []
    wrong = 0
    for batch in map(int, args.batches.split(",")):
        images = rng.uniform(-1, 1, (batch, 299, 299, 3)).astype(np.float32)
        wanted: NDArray | None = None
        for precision in args.precisions.split(","):
            # A new session for each: the precision is read when a plan is made.
            os.environ["KIGRAPH_CUPY_PRECISION"] = precision
            with Session(graph, backend="cupy") as session:
                found = session.run(FETCH, {FEED: images})
                wanted = found if wanted is None else wanted
                error = float(np.abs(found - wanted).max() / wanted.max())
                wrong += not error <= ALLOWED[precision]
                record = {"precision": precision, "error": error, **measure(session, images, clock, args.repeat)}
            records.append(record)
            print(
                f"{precision} batch {batch:4d}: {record['captured_ms']:9.3f} ms captured, {record['launched_ms']:9.3f} ms launched, "
                f"{record['session_ms']:9.3f} ms session, {record['images_per_s']:8.0f} images/s, {record['tflops']:6.1f} TFLOP/s, "
                f"error {error:.1e}{'' if error <= ALLOWED[precision] else ' WRONG'}",
                flush=True,
            )
    if not args.dry_run:
        name = status.detail.split(",")[0].replace(" ", "-").lower()
        path = args.output or RESULTS / f"cupy_inception-{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**circumstances(), "results": records}, indent=1) + "\n")
        print(f"written to {path}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
