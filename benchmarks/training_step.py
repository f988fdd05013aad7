"""One training step of small CNNs, next to PyTorch's on the same machine in the same run.

    python -m benchmarks.training_step                    # table: ms per step, kigraph and, if it is installed, torch
    python -m benchmarks.training_step --clock cpu        # the same in processor time, for a machine that others use, too
    python -m benchmarks.training_step --profile          # where kigraph's time goes, by kernel

A step is what Model.fit does per batch: random numbers for dropout, forward, backward, Adam, the loss. Each library has a
process of its own; they take turns in blocks of steps (A B A B ...), and one is at rest while another works. Figures are
medians over all blocks; the first step of a block is left out, because it finds the caches and sleeping threads as the other
left them. torch runs eagerly, in both of its layouts; the ratio is to the faster.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from kigraph.train import Adam, Model
from kigraph.train.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
)

__all__ = ["NETWORKS", "main"]

Step = Callable[[], float]

#: Networks as layers: ("conv", filters, bias), "norm", "relu", "pool", "mean", ("drop", rate), "flat", ("dense", units).
NETWORKS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "apples_or_oranges": (
        48,
        (
            ("conv", 16, False), "norm", "relu", "pool", ("conv", 32, False), "norm", "relu", "pool",
            ("conv", 48, False), "norm", "relu", ("conv", 48, False), "norm", "relu", "pool",
            ("conv", 64, False), "norm", "relu", "mean", ("drop", 0.3), ("dense", 2),
        ),
    ),
    "conv_pool_dense": (
        32,
        (
            ("conv", 32, True), "relu", "pool", ("conv", 64, True), "relu", "pool", ("conv", 128, True), "relu", "pool",
            "flat", ("dense", 128), "relu", ("dense", 10),
        ),
    ),
}  # fmt: skip

_RATE, _CHANNELS = 0.002, 3


def _classes(network: str) -> int:
    return int(NETWORKS[network][1][-1][1])


def _batch(network: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    size, rng = NETWORKS[network][0], np.random.default_rng(0)
    x = rng.random((batch, size, size, _CHANNELS), dtype=np.float32)
    return x, rng.integers(0, _classes(network), batch)


def _kigraph_layer(spec: Any) -> Layer:
    name, *args = (spec,) if isinstance(spec, str) else spec
    if name == "conv":
        return Conv2D(args[0], 3, use_bias=args[1])
    simple: dict[str, Callable[..., Layer]] = {
        "norm": BatchNorm, "relu": lambda: Activation("relu"), "pool": lambda: MaxPool2D(2), "mean": GlobalAvgPool2D,
        "drop": Dropout, "flat": Flatten, "dense": Dense,
    }  # fmt: skip
    return simple[name](*args)


class Kigraph:
    """A model and the feeds of a step."""

    def __init__(self, network: str, batch: int, backend: str, threads: int) -> None:
        size, specs = NETWORKS[network]
        layers = [_kigraph_layer(s) for s in specs]
        self.noises = [layer for layer in layers if isinstance(layer, Dropout)]
        self.model = Model(layers, (size, size, _CHANNELS), optimizer=Adam(_RATE), backend=backend, threads=threads)
        self.x, self.y = _batch(network, batch)
        self.rng = np.random.default_rng(1)
        self.fetches = [self.model.step, self.model.training_loss]

    def feeds(self) -> dict[Any, Any]:
        feeds: dict[Any, Any] = {self.model.input: self.x, self.model.labels: self.y}
        for layer in self.noises:
            assert layer.noise is not None
            feeds[layer.noise] = self.rng.random((len(self.x), *layer.noise.type.shape[1:]), dtype=np.float32)  # type: ignore[index]
        return feeds

    def step(self) -> float:
        return float(self.model.session.run(self.fetches, self.feeds())[1])

    def profile(self, runs: int = 20) -> str:
        """Time by kernel, and outside of kernels, averaged over some runs."""
        session, feeds = self.model.session, self.feeds()
        session.run(self.fetches, feeds)
        spent: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = defaultdict(int)
        start = time.perf_counter()
        for _ in range(runs):
            session.run(self.fetches, feeds, profile=True)
            timeline = session.plan(self.fetches, feeds).timeline
            assert timeline is not None
            for _, timed in timeline.steps:
                spent[str(timed.step.kernel or "copy")] += timed.seconds / runs
                counts[str(timed.step.kernel or "copy")] += 1
        whole = (time.perf_counter() - start) / runs
        lines = [
            f"{1e3 * whole:9.3f} ms whole step, {1e3 * (whole - sum(spent.values())):.3f} ms of it outside of kernels"
        ]
        for name in sorted(spent, key=lambda n: -spent[n]):
            lines.append(f"{1e3 * spent[name]:9.3f} ms {counts[name] // runs:4d} x {name}")
        return "\n".join(lines)


def _torch_step(network: str, batch: int, threads: int, channels_last: bool) -> Step:
    torch: Any = importlib.import_module("torch")
    nn = torch.nn
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    size, specs = NETWORKS[network]
    layers: list[Any] = []
    channels = _CHANNELS
    for spec in specs:
        name, *args = (spec,) if isinstance(spec, str) else spec
        if name == "conv":
            layers.append(nn.Conv2d(channels, args[0], 3, padding=1, bias=args[1]))
            channels = args[0]
        elif name == "norm":
            layers.append(nn.BatchNorm2d(channels))
        elif name == "relu":
            layers.append(nn.ReLU(inplace=True))
        elif name == "pool":
            layers.append(nn.MaxPool2d(2))
            size //= 2
        elif name == "mean":
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        elif name == "drop":
            layers.append(nn.Dropout(args[0]))
        elif name == "flat":
            layers.append(nn.Flatten())
            channels *= size * size
        else:
            layers.append(nn.Linear(channels, args[0]))
            channels = args[0]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = nn.Sequential(*layers).to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    loss_of = nn.CrossEntropyLoss()
    images, labels = _batch(network, batch)
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).contiguous(memory_format=layout)
    y = torch.from_numpy(labels)

    def step() -> float:
        torch.set_num_threads(threads)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _serve(pipe: Connection, kind: str, network: str, batch: int, backend: str, threads: int, clock: str) -> None:
    """A process with one of the libraries: for every number that it is sent it answers with the times of so many steps."""
    if kind == "kigraph":
        step = Kigraph(network, batch, backend, threads).step
    else:
        step = _torch_step(network, batch, threads, kind.endswith("channels_last"))
    now = time.process_time if clock == "cpu" else time.perf_counter
    for _ in range(3):
        step()
    pipe.send([])
    while count := pipe.recv():
        step()
        times = []
        for _ in range(count):
            start = now()
            step()
            times.append(now() - start)
        pipe.send(times)


def _take_turns(kinds: Sequence[str], seconds: float, *of: Any, block: int = 8) -> dict[str, float]:
    """Median seconds per step of each, in turns of blocks."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    workers = []
    for kind in kinds:
        pipes[kind], theirs = context.Pipe()
        workers.append(context.Process(target=_serve, args=(theirs, kind, *of), daemon=True))
        workers[-1].start()
        theirs.close()
        pipes[kind].recv()
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for kind, pipe in pipes.items():
            pipe.send(block)
            times[kind] += pipe.recv()
    for pipe, worker in zip(pipes.values(), workers, strict=True):
        pipe.send(0)
        worker.join()
    return {kind: statistics.median(t) for kind, t in times.items()}


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=sorted(NETWORKS), help="default: all")
    parser.add_argument("--backend", default="cython")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and 2")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each line of the table")
    parser.add_argument(
        "--layout", choices=["channels_last", "contiguous"], help="torch's; default: both, the faster counts"
    )
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--explain", action="store_true", help="with --profile: every step of the plan, too")
    args = parser.parse_args(argv)
    for network in args.network or NETWORKS:
        for threads in args.threads or (1, 2):
            if args.profile:
                mine = Kigraph(network, args.batch, args.backend, threads)
                print(f"{network}, batch {args.batch}, {threads} threads\n{mine.profile()}")
                if args.explain:
                    print(mine.model.session.plan(mine.fetches, mine.feeds()).explain())
                continue
            layouts = [args.layout] if args.layout else ["channels_last", "contiguous"]
            kinds = ["kigraph", *(f"torch {layout}" for layout in layouts if _has_torch())]
            medians = _take_turns(kinds, args.seconds, network, args.batch, args.backend, threads, args.clock)
            others = [t for name, t in medians.items() if name != "kigraph"]
            ratio = f"  ratio {medians['kigraph'] / min(others):.2f}" if others else ""
            figures = "  ".join(f"{name} {1e3 * t:7.2f} ms" for name, t in medians.items())
            print(f"{network:<18} batch {args.batch}  {threads} threads  {figures}{ratio}", flush=True)


if __name__ == "__main__":
    main()
