"""Part 1: first contact: a copy, an elementwise kernel, every tile and precision with K split and not, one captured graph.

    CUDA_LAUNCH_BLOCKING=1 python -m benchmarks.gpu.smoke [--dry]

Every array is an allocation of its own, so that an access beyond its end is likely to be seen.
"""

from __future__ import annotations

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs everything, whatever fails before; 1 if something was wrong."""
    args = dry.parse(__doc__, arguments)
    with Recorder("smoke", dry=args.dry) as out:
        binding.cupy().cuda.set_allocator(None)
        figures: list[tuple[str, Callable[[], None]]] = [("copy", lambda: _copy(out)), ("relu", lambda: _relu(out))]
        for name, group in [(name, list(group)) for name, group in groupby(checks(), key=lambda check: check.name)]:
            figures.append((f"tile {name}", partial(_tile, out, name, group)))
        figures.append(("captured graph", lambda: _graph(out)))
        for name, figure in figures:
            with out.attempt(name):
                figure()
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
