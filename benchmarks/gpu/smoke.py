"""Part 1: first contact: a copy, an elementwise kernel, every tile and precision with K split and not, one captured graph.

    CUDA_LAUNCH_BLOCKING=1 python -m benchmarks.gpu.smoke [--dry]

Every array is an allocation of its own, so that an access beyond its end is likely to be seen. The graph is captured in a
process without CUDA_LAUNCH_BLOCKING, which need not go together with a capture.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

import numpy as np

from kigraph.kernels import cupy as backend
from kigraph.kernels.conformance import bind_case, supported_cases
from kigraph.kernels.cupy import binding

from . import dry
from .record import Recorder
from .tiles import Check, checks

__all__ = ["main"]


def _copy(out: Recorder) -> None:
    device, values = backend.DEVICE, np.arange(1 << 16, dtype=np.float32)
    array = device.view(device.allocate(values.nbytes), 0, values.dtype, values.shape)
    device.upload(values, array)
    out.line("copy", ok=np.array_equal(device.download(array), values))


def _relu(out: Recorder) -> None:
    kernel = next(k for k in backend.KERNELS if k.name == "relu")
    case = next(c for c in supported_cases(kernel) if c.inputs[0].type.dtype == np.float32)
    (x,) = case.generate(0)
    (found,) = bind_case(kernel, case, [x], backend.DEVICE).results()
    out.line("relu", ok=np.array_equal(found, np.maximum(x, 0)))


def _tile(out: Recorder, name: str, group: Sequence[Check]) -> None:
    worst = 0.0
    for check in group:
        error, bound = check.error()
        worst = max(worst, error / bound)
        if error > bound:
            out.line("tile", error, "share", tile=name, splits=check.splits, memory=check.memory, bound=bound, ok=False)
    out.line("tile", worst, "of the bound", tile=name, variants=len(group), ok=worst <= 1)


def _graph(out: Recorder) -> None:
    """Captured on a stream of its own, and replayed: the same bits as launched."""
    check = next(c for c in checks() if c.splits == 3 and c.tile.precision.name == "bf16")
    bound = check.bind(check.case().generate(0))
    (wanted,) = bound.results()
    (y,) = bound.outputs
    stream = binding.cupy().cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        bound.run()
        graph = stream.end_capture()
        backend.DEVICE.upload(np.zeros(y.shape, np.float32), y)
        graph.launch(stream)
        found = backend.DEVICE.download(y)
    out.line("captured graph", ok=np.array_equal(found, wanted))


def _apart(out: Recorder, dry_run: bool) -> None:
    """The captured graph in a process of its own, which writes its line itself."""
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_LAUNCH_BLOCKING"}
    command = [sys.executable, "-m", "benchmarks.gpu.smoke", "--graph", *(["--dry"] if dry_run else [])]
    out.failed += subprocess.run(command, env=environment, timeout=30, check=False).returncode != 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs everything, whatever fails before; 1 if something was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", action="store_true", help="only the captured graph")
    args = dry.parse(__doc__, arguments, parser)
    with Recorder("smoke", dry=args.dry) as out:
        binding.cupy().cuda.set_allocator(None)
        figures: list[tuple[str, Callable[[], None]]] = [("captured graph", lambda: _graph(out))]
        if not args.graph:
            figures = [("copy", lambda: _copy(out)), ("relu", lambda: _relu(out))]
            for name, group in [(name, list(group)) for name, group in groupby(checks(), key=lambda check: check.name)]:
                figures.append((f"tile {name}", partial(_tile, out, name, group)))
            figures.append(("captured graph", lambda: _apart(out, args.dry)))
        for name, figure in figures:
            with out.attempt(name):
                figure()
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
