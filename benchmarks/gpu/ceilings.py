"""Part 3: the device's ceilings, by PyTorch: copies, matrix products, launches, nodes of a CUDA graph, the bus.

    python -m benchmarks.gpu.ceilings [--dry]

Operands are random, never zeros.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import dry
from .record import Recorder
from .torch_common import NO_TF32, Clock, capture, find_torch, tf32

__all__ = ["main"]

#: Bytes of each operand of the copy on the device, and of the copies over the bus.
COPIED, CARRIED = 4 << 30, 256 << 20
#: Rows and columns of the matrices.
SIZE = 8192
#: Precision -> (least, most) of ||product - float64|| / ||float64||. Below its least, tf32 was not tf32.
MATMULS: dict[str, tuple[float, float]] = {"bf16": (5e-4, 1e-2), "tf32": (2e-5, 2e-3), "fp32": (0.0, 2e-5)}
#: Launches of one timed pass: fewer than the 1024 that the driver queues before it makes the host wait.
LAUNCHES = 500


def _copy(out: Recorder, clock: Clock, elements: int) -> None:
    torch, device = clock.torch, clock.device
    source = torch.empty(elements, device=device).uniform_(-1, 1)
    target = torch.empty_like(source)
    timing = clock.queued(lambda: target.copy_(source))
    moved = 2 * source.nbytes
    right = torch.equal(source[-1000:], target[-1000:])
    out.line("copy", moved / timing.ms / 1e6, "GB/s", ok=right, bytes=moved, ms=timing.ms, runs=timing.runs)


def _matmul(out: Recorder, clock: Clock, precision: str, size: int) -> None:
    """TFLOP/s, and the error of one row against float64, which tells TF32 from true float32."""
    torch, device = clock.torch, clock.device
    tf32(torch, precision == "tf32")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = torch.empty(size, size, device=device, dtype=dtype)
    timing = clock.queued(lambda: torch.matmul(a, b, out=product))
    want = a[0].double() @ b.double()
    error = float((product[0].double() - want).norm() / want.norm())
    least, most = MATMULS[precision]
    out.line(
        "matmul", 2 * size**3 / timing.ms / 1e9, "TFLOP/s", ok=least <= error <= most, precision=precision, size=size,
        ms=timing.ms, p95_ms=timing.p95_ms, runs=timing.runs, error=error, least=least, bound=most,
    )  # fmt: skip


def _empty(torch: Any) -> Callable[[], object]:
    """Launches a kernel that does nothing: PyTorch's own that waits for so many clocks, 0 here."""
    return lambda: torch.cuda._sleep(0)


def _launch(out: Recorder, clock: Clock) -> None:
    """Host time to enqueue an empty kernel, and the time from one to the next on the device."""
    empty, enqueued = _empty(clock.torch), []

    def launches() -> None:
        start = time.perf_counter()
        for _ in range(LAUNCHES):
            empty()
        enqueued.append((time.perf_counter() - start) * 1e6 / LAUNCHES)

    launches()
    clock.synchronize()
    enqueued.clear()
    for _ in range(20):
        launches()
        clock.synchronize()
    host = statistics.median(enqueued)
    timing = clock.queued(launches)
    out.line("launch", timing.ms * 1e3 / LAUNCHES, "us", host_us=host, kernel="torch.cuda._sleep(0)", runs=timing.runs)
    alone = clock.waited(empty)
    out.line("launch and wait", alone.ms * 1e3, "us", p95_us=alone.p95_ms * 1e3, runs=alone.runs)


def _graph_node(out: Recorder, clock: Clock) -> None:
    """Time of a dependent node with an empty kernel: the slope between a short and a long graph."""
    torch, times = clock.torch, {}
    for nodes in (1, LAUNCHES):
        graph, _ = capture(torch, lambda n=nodes: [_empty(torch)() for _ in range(n)])  # type: ignore[misc]
        times[nodes] = clock.queued(graph.replay)
        waited = clock.waited(graph.replay)
        out.line("graph replay", times[nodes].ms * 1e3, "us", nodes=nodes, host_us=waited.ms * 1e3, runs=waited.runs)
    slope = (times[LAUNCHES].ms - times[1].ms) / (LAUNCHES - 1)
    out.line("graph node", slope * 1e3, "us", kernel="torch.cuda._sleep(0)", nodes=LAUNCHES)


def _bus(out: Recorder, clock: Clock, name: str) -> None:
    torch = clock.torch
    device = torch.randint(0, 256, (CARRIED,), dtype=torch.uint8, device=clock.device)
    pinned = torch.empty(CARRIED, dtype=torch.uint8, pin_memory=True)
    source, target = device, pinned
    if name == "host to device":
        pinned.copy_(device)
        source, target = pinned, torch.empty_like(device)
    timing = clock.queued(lambda: target.copy_(source, non_blocking=True))
    right = torch.equal(target[-1000:].cpu(), source[-1000:].cpu())
    out.line(name, CARRIED / timing.ms / 1e6, "GB/s", ok=right, bytes=CARRIED, ms=timing.ms, runs=timing.runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes every ceiling; 1 if a result was wrong."""
    args = dry.parse(__doc__, arguments)
    only_gpu: dict[str, Callable[[Recorder, Clock], None]] = {
        "launch": _launch,
        "graph node": _graph_node,
        "host to device": lambda out, clock: _bus(out, clock, "host to device"),
        "device to host": lambda out, clock: _bus(out, clock, "device to host"),
    }
    with Recorder("ceilings", dry=args.dry) as out:
        torch, device = find_torch(dry=args.dry)
        if torch is None:
            for name in ("copy", *only_gpu):
                out.skip(name, device)
            for precision in MATMULS:
                out.line("matmul", None, precision=precision, skipped=device)
            return out.rate()
        clock = Clock(torch, device, 0.01 if args.dry else 0.4)
        with out.attempt("copy", wrong=False):
            _copy(out, clock, (1 << 20 if args.dry else COPIED) // 4)
        for precision in MATMULS:
            if device == "cpu" and precision == "tf32":
                out.line("matmul", None, precision=precision, skipped=NO_TF32)
                continue
            with out.attempt("matmul", wrong=False, precision=precision):
                _clear(torch, device)
                _matmul(out, clock, precision, 64 if args.dry else SIZE)
        for name, measure in only_gpu.items():
            if device == "cpu":
                out.skip(name, "needs a CUDA device")
                continue
            with out.attempt(name, wrong=False):
                _clear(torch, device)
                measure(out, clock)
    return out.rate()


def _clear(torch: Any, device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
