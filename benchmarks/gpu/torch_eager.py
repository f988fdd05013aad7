"""Part 6: Inception v3 in PyTorch without a compiler, same weights and images; channels last, cuDNN's algorithms timed.

    python -m benchmarks.gpu.torch_eager [--batches 128,1,8,32] [--precisions bf16,tf32,fp32] [--dry]

Precisions: bf16; tf32, which is float32 with TF32 allowed; fp32, true float32. Modes: 'plain', kernel by kernel;
'graph', a replayed CUDA graph. 'network' is the network alone on the device; 'host to host' begins with uint8 pixels in
pinned memory and ends with logits there; only bf16 is measured so. The order is that of ``cases``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from . import dry
from .inputs import images
from .record import Recorder, Scalar
from .torch_common import NO_TF32, Clock, capture, find_torch, tf32

__all__ = ["PRECISIONS", "cases", "fp32_logits", "main", "placed", "speed"]

PRECISIONS = ("bf16", "tf32", "fp32")
MODES = ("plain", "graph")
#: The one precision that is also measured from host to host.
HOST_PRECISION = "bf16"
#: Why a CPU has no line of the mode 'graph'.
NO_GRAPHS = "a CPU has no CUDA graphs"


def placed(torch: Any, network: Any, device: str, precision: str) -> Any:
    """The network, channels last, on the device in its precision."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return network.to(device=device, dtype=dtype, memory_format=torch.channels_last)


def fp32_logits(torch: Any, network: Any, x: Any) -> Any:
    """Logits in true float32, 32 images at a time, by the algorithms that cuDNN takes without timing them."""
    benchmark = torch.backends.cudnn.benchmark
    tf32(torch, False)
    torch.backends.cudnn.benchmark = False
    try:
        with torch.inference_mode():
            return torch.cat([network(part) for part in x.split(32)])
    finally:
        torch.backends.cudnn.benchmark = benchmark


def speed(out: Recorder, clock: Clock, run: Callable[[], object], batch: int, **more: Scalar) -> None:
    """The line 'network': ms on the device, images/s, and ms of one call that is waited for."""
    timing = clock.queued(run)
    waited = Clock(clock.torch, clock.device, clock.seconds / 4).waited(run)
    out.line(
        "network", timing.ms, "ms", batch=batch, **more, images_per_s=batch / timing.ms * 1e3, p95_ms=timing.p95_ms,
        runs=timing.runs, host_ms=waited.ms,
    )  # fmt: skip


def _network(out: Recorder, clock: Clock, network: Any, truth: Any, x: Any, mode: str, precision: str) -> None:
    """Speed and errors of one mode."""
    torch, tags = clock.torch, {"precision": precision, "mode": mode}
    if mode == "plain":
        start = time.perf_counter()
        logits = network(x)
        clock.synchronize()
        first = time.perf_counter() - start
        truth.check(out, logits, batch=len(x), **tags)
        speed(out, clock, lambda: network(x), len(x), **tags, first_s=first)
        return
    graph, logits = capture(torch, lambda: network(x))
    logits.zero_()
    graph.replay()
    clock.synchronize()
    truth.check(out, logits, batch=len(x), **tags)
    speed(out, clock, graph.replay, len(x), **tags)


def _host_to_host(out: Recorder, clock: Clock, network: Any, exact: Any, batch: int, mode: str, precision: str) -> None:
    """Pixels to the device, scaled there, the network, logits back; each run is waited for."""
    from .torch_model import BOUNDS, error

    torch = clock.torch
    dtype = next(network.parameters()).dtype
    values = np.random.default_rng(1).integers(0, 256, (batch, 299, 299, 3), np.uint8)
    pixels = torch.empty(values.shape, dtype=torch.uint8, pin_memory=clock.cuda)
    pixels.copy_(torch.from_numpy(values))
    there = pixels.to(clock.device, copy=True)

    def compute() -> Any:
        return network(there.permute(0, 3, 1, 2).to(dtype).sub_(127.5).div_(127.5)).float()

    if mode == "graph":
        graph, logits = capture(torch, compute)

        def on_device() -> Any:
            graph.replay()
            return logits
    else:
        logits, on_device = compute(), compute
    answer = torch.empty(logits.shape, dtype=torch.float32, pin_memory=clock.cuda)
    there.zero_()

    def run() -> None:
        there.copy_(pixels, non_blocking=True)
        answer.copy_(on_device(), non_blocking=True)

    timing = clock.waited(run)
    few = there[:3].permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)
    off = error(answer.numpy(), fp32_logits(torch, exact, few).cpu().numpy())
    out.line(
        "host to host", timing.ms, "ms", ok=off <= BOUNDS[precision], batch=batch, precision=precision, mode=mode,
        images_per_s=batch / timing.ms * 1e3, p95_ms=timing.p95_ms, runs=timing.runs,
        error=off, bound=BOUNDS[precision],
    )  # fmt: skip


def cases(batches: Sequence[int], precisions: Sequence[str]) -> list[tuple[str, int]]:
    """Pairs (precision, batch) by what is wanted most, since the time limit may cut off the last of them.

    Two batches at a time: the first precision with both, then the others with one batch after the other.
    """
    found: list[tuple[str, int]] = []
    for start in range(0, len(batches), 2):
        two = batches[start : start + 2]
        found += product(precisions[:1], two)
        found += ((precision, batch) for batch in two for precision in precisions[1:])
    return found


def _measure(out: Recorder, clock: Clock, batches: Sequence[int], precisions: Sequence[str]) -> None:
    from .torch_model import Truth, from_images, seeded

    torch, device = clock.torch, clock.device
    torch.backends.cudnn.benchmark = True
    exact = placed(torch, seeded(), device, "fp32")
    networks = {"bf16": placed(torch, seeded(), device, "bf16"), "tf32": exact, "fp32": exact}
    given = from_images(images(max(batches))).to(device)
    truth = Truth(fp32_logits(torch, exact, given).cpu().numpy())
    modes = MODES if device == "cuda" else MODES[:1]
    for precision, batch in cases(batches, precisions):
        tags: dict[str, Any] = {"batch": batch, "precision": precision}
        network = networks[precision]
        with out.attempt("network", wrong=False, **tags), torch.inference_mode():
            if device == "cuda":
                torch.cuda.empty_cache()
            x = given[:batch].to(next(network.parameters()).dtype, copy=True)
            for mode in modes:
                with out.attempt("network", wrong=False, **tags, mode=mode):
                    tf32(torch, precision == "tf32")
                    _network(out, clock, network, truth, x, mode, precision)
            for mode in modes if precision == HOST_PRECISION else ():
                with out.attempt("host to host", wrong=False, **tags, mode=mode):
                    _host_to_host(out, clock, network, exact, batch, mode, precision)


def _skip(out: Recorder, why: str, batches: Sequence[int], precisions: Sequence[str], modes: Sequence[str]) -> None:
    """A line for each figure of these cases."""
    for batch, precision, mode in product(batches, precisions, modes):
        names = ["network", "error against fp32", "error against reference"]
        for name in [*names, "host to host"] if precision == HOST_PRECISION else names:
            out.line(name, None, batch=batch, precision=precision, mode=mode, skipped=why)


def _batches(text: str) -> list[int]:
    found = [int(batch) for batch in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"batches must be 1 or more, got {text}")
    return found


def _precisions(text: str) -> list[str]:
    found = text.split(",")
    if unknown := [precision for precision in found if precision not in PRECISIONS]:
        raise argparse.ArgumentTypeError(f"unknown precision {unknown[0]!r}; known: {', '.join(PRECISIONS)}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes every figure; 1 if a result was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--batches", type=_batches, default="128,1,8,32", help="comma-separated, two at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--precisions", type=_precisions, default=",".join(PRECISIONS),
        help="comma-separated, the first one first with both batches (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=0.3, help="of each figure (default: %(default)s)")
    args = dry.parse(__doc__, arguments, parser)
    batches = [1] if args.dry else args.batches
    with Recorder("torch-eager", dry=args.dry) as out:
        torch, device = find_torch(dry=args.dry)
        if torch is None:
            _skip(out, device, batches, args.precisions, MODES)
            return out.rate()
        precisions = [precision for precision in args.precisions if device == "cuda" or precision != "tf32"]
        with out.attempt("setup", wrong=False):
            _measure(out, Clock(torch, device, 0.01 if args.dry else args.seconds), batches, precisions)
        if device == "cpu":
            _skip(out, NO_TF32, batches, [precision for precision in args.precisions if precision == "tf32"], ["plain"])
            _skip(out, NO_GRAPHS, batches, args.precisions, ["graph"])
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
