"""What the PyTorch parts share: the search for PyTorch, its clock, CUDA graphs, TF32 on or off.

Imports no PyTorch itself, so that each part can say why there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from .clock import Times

__all__ = ["NO_TF32", "PREPARED", "Clock", "capture", "find_torch", "tf32"]

#: What was prepared beforehand: the float64 reference, the cache of torch.compile.
PREPARED = Path(__file__).resolve().parents[2] / ".gpu"
#: Why a CPU has no line of that precision.
NO_TF32 = "a CPU has no TF32"


class Clock:
    """Times calls for about ``seconds`` each: on a GPU between CUDA events, else by the host's clock.

    torch: the module. device: 'cuda' or 'cpu'. Calls put their work on the current stream.
    """

    def __init__(self, torch: Any, device: str, seconds: float = 0.4) -> None:
        self.torch, self.device, self.seconds = torch, device, seconds
        self.cuda = device == "cuda"

    def synchronize(self) -> None:
        """Waits for the device; an error of earlier work is raised here."""
        if self.cuda:
            self.torch.cuda.synchronize()

    def queued(self, run: Callable[[], object]) -> Times:
        """Calls without a wait between them: the device's time, or the host's where launching takes longer."""
        if not self.cuda:
            return self.waited(run)
        run()
        (first,) = self._between_events(run, 1)
        return Times.of(self._between_events(run, self._count(first)))

    def waited(self, run: Callable[[], object]) -> Times:
        """From the call until the device has finished, by the host's clock, one call at a time."""

        def once() -> float:
            start = time.perf_counter()
            run()
            self.synchronize()
            return (time.perf_counter() - start) * 1e3

        once()
        first = once()
        return Times.of([once() for _ in range(self._count(first))])

    def _count(self, ms: float) -> int:
        return max(3, min(200, int(self.seconds * 1e3 / max(ms, 1e-3))))

    def _between_events(self, run: Callable[[], object], count: int) -> list[float]:
        events = [self.torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        self.synchronize()
        events[0].record()
        for event in events[1:]:
            run()
            event.record()
        self.synchronize()
        return [float(before.elapsed_time(after)) for before, after in pairwise(events)]


def find_torch(*, dry: bool) -> tuple[Any, str]:
    """(torch, 'cuda'), with ``dry`` (torch, 'cpu'); (None, the reason) where there is no PyTorch or no GPU."""
    try:
        import torch
    except Exception as error:  # an incomplete installation raises OSError and others
        return None, f"PyTorch cannot be imported: {type(error).__name__}: {error}"
    if dry:
        return torch, "cpu"
    if not torch.cuda.is_available():
        return None, f"PyTorch {torch.__version__} finds no CUDA device"
    return torch, "cuda"


def tf32(torch: Any, on: bool) -> None:
    """Whether float32 convolutions and matrix products may run in TF32; PyTorch lets convolutions by default."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def capture(torch: Any, run: Callable[[], Any]) -> tuple[Any, Any]:
    """A CUDA graph of ``run`` and what it returned: after ``replay()`` that holds the results.

    ``run`` is called before on a side stream: at the first call libraries set themselves up and choose kernels, which
    must not happen during capture.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph, result
