"""Part 5: seeded Inception v3 on the cupy backend: as one captured graph, launched step by step, through Session.run, and every step.

    python -m benchmarks.gpu.speed [--batches 128,1,8,32] [--precisions bf16,fp32,tf32] [--dry]

Device times are CUDA events'; ``session`` is from host memory to host memory. Before anything is timed, the logits of the
first images are held against the float64 reference. A step is timed as a captured graph of itself ten times: what fits into
the L2 cache is found there, as it is in a run of batch 1, where the step before has just written it. Its floor is what its
bytes take at the copy's bandwidth, or its operations at the matrix product's speed, both of part 3.

--dry: a small network of the same kinds of layers, emulated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import kigraph as ki
from kigraph.graph.builder import Graph
from kigraph.graph.models.inception_v3.build import build
from kigraph.graph.models.inception_v3.weights import seeded_weights
from kigraph.graph.plan.context import Context
from kigraph.graph.plan.lowering import Step
from kigraph.graph.plan.stage import Stage
from kigraph.graph.session import Session
from kigraph.kernels import cupy as backend
from kigraph.kernels.contracts.conv2d import CONV2D
from kigraph.kernels.inception_v3 import CONVOLUTIONS

from . import dry
from .clock import Clock
from .golden import BOUNDS, PREPARED
from .inputs import images
from .record import Recorder, output_folder, read
from .reference import FEED, LOGITS, Reference

__all__ = ["Network", "ceilings", "inception", "layer_name", "main", "measure", "measure_steps", "small"]

NDArray = np.ndarray[Any, Any]
#: Batches at which every step is timed.
STEP_BATCHES = (128, 1)
_REPEATED = 10
#: GB/s and TFLOP/s of an H100, where part 3 has no figures.
_ASSUMED = {"copy": 3000.0, "bf16": 790.0, "tf32": 400.0, "fp32": 60.0}


@dataclass(frozen=True, slots=True)
class Network:
    """What is measured: a graph, the tensors fed and fetched, images of ``size`` pixels a side.

    error: how far off results are, as a share, judged by the first images; None if there is no reference.
    """

    graph: Graph
    feed: str
    fetch: str
    size: int
    error: Callable[[NDArray], float] | None

    def feeds(self, batch: int) -> dict[str, NDArray]:
        return {self.feed: np.ascontiguousarray(images(batch)[:, : self.size, : self.size])}


def inception() -> Network:
    reference = Reference.load(PREPARED / "reference.npz")
    return Network(build(seeded_weights()), FEED, LOGITS, 299, None if reference is None else _judge(reference))


def _judge(reference: Reference) -> Callable[[NDArray], float]:
    return lambda found: reference.layers[LOGITS].error(found[: reference.batch])


def small() -> Network:
    """For --dry: layers of every kind that Inception v3 has, judged by the numpy backend."""
    rng = np.random.default_rng(1)

    def weights(*shape: int) -> NDArray:
        values: NDArray = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
        return values.astype(np.float32)

    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(np.float32, (None, 21, 21, 3), name="input")
        x = ki.relu(ki.bias_add(ki.conv2d(x, weights(3, 3, 3, 32), (1, 2, 2, 1), "VALID"), weights(32)))
        left = ki.relu(ki.bias_add(ki.conv2d(x, weights(1, 1, 32, 48), (1, 1, 1, 1), "SAME"), weights(48)))
        right = ki.conv2d(
            ki.avg_pool(x, (1, 3, 3, 1), (1, 1, 1, 1), "SAME"), weights(3, 1, 32, 20), (1, 1, 1, 1), "SAME"
        )
        x = ki.concat([left, ki.max_pool(x, (1, 3, 3, 1), (1, 1, 1, 1), "SAME"), right], 3)
        ki.matmul(ki.reduce_mean(x, (1, 2)), weights(100, 10), name="logits")
    network = Network(graph, "input:0", "logits:0", 21, None)
    with Session(graph, backend="numpy") as session:
        wanted = session.run(network.fetch, network.feeds(1))
    return replace(network, error=lambda found: float(np.abs(found[:1] - wanted).max() / np.abs(wanted).max()))


def ceilings() -> dict[str, float]:
    """GB/s of the copy and TFLOP/s by precision, of part 3 in this run where it has them."""
    found = dict(_ASSUMED)
    path = output_folder() / "results.jsonl"
    for record in read(path) if path.is_file() else ():
        name = record["figure"] if record["figure"] == "copy" else record.get("precision")
        if record["part"] == "ceilings" and record["figure"] in ("copy", "matmul") and record.get("value") and not record.get("dry"):  # fmt: skip
            found[str(name)] = float(record["value"])  # type: ignore[arg-type]
    return found


def _stage(session: Session, network: Network, feeds: Mapping[str, NDArray]) -> Stage:
    """The plan's only stage with kernels of the device."""
    stages = [s for _, s in session.plan(network.fetch, feeds).compiled() if isinstance(s, Stage) and s.lowering.steps]
    return max(stages, key=lambda stage: len(stage.lowering.steps))


def _context(stage: Stage, feeds: Mapping[str, NDArray]) -> Context:
    """Memory of its own with the images in it."""
    context = Context(stage)
    context.load(list(feeds.values()))  # on a GPU all of it is in the context's memory
    return context


def measure(
    out: Recorder, clock: Clock, network: Network, session: Session, precision: str, batch: int
) -> tuple[Stage, dict[str, NDArray]]:
    """Checks the result, then the three speeds; one line each."""
    tags: dict[str, Any] = {"precision": precision, "batch": batch}
    feeds = network.feeds(batch)
    found = session.run(network.fetch, feeds)
    if network.error is None:
        out.line("error", None, skipped="no float64 reference: run benchmarks/gpu_prepare.py", **tags)
    else:
        error = network.error(found)
        out.line("error", error, "share", bound=BOUNDS[precision], ok=error <= BOUNDS[precision], **tags)
    stage = _stage(session, network, feeds)
    context = _context(stage, feeds)
    flops = sum(step.flops for step in context.steps)
    for name, times in (
        ("captured", clock.captured(context.runs)),
        ("launched", clock.launched(context.runs)),
        ("session", clock.called(lambda: session.run(network.fetch, feeds))),
    ):
        out.line(
            name, times.ms, "ms", **tags, p95_ms=times.p95_ms, runs=times.runs, images_per_s=batch / times.ms * 1e3,
            tflops=flops / times.ms / 1e9,
        )  # fmt: skip
    out.line("plan", len(context.steps), "steps", **tags, arena_bytes=stage.arena_bytes, flops=flops)
    return stage, feeds


def measure_steps(
    out: Recorder, clock: Clock, stage: Stage, feeds: Mapping[str, NDArray], precision: str, batch: int
) -> None:
    """One line per step: us, bytes, FLOPs, its floor and how much of the time that is."""
    limits = ceilings()
    context = _context(stage, feeds)
    for number, (step, run) in enumerate(zip(context.steps, context.runs, strict=True)):
        us = clock.captured([run] * _REPEATED).ms * 1e3 / _REPEATED
        floor = _floor(step, precision, limits)
        out.line(
            "step", us, "us", precision=precision, batch=batch, number=number, node=step.node, op=step.op,
            kernel=str(step.kernel), layer=layer_name(step), bytes=step.bytes_moved, flops=step.flops, floor_us=floor, of_floor=floor / us if us else 0.0,
        )  # fmt: skip


def layer_name(step: Step) -> str | None:
    """The first of the conformance suite's layers of Inception v3 with the sizes of a convolution; None for other steps."""
    if step.query is None or step.query.contract is not CONV2D:
        return None
    (_, h, w, cin), (kh, kw, _, cout) = (t.dims for t in step.query.inputs[:2])
    sizes = (h, w, cin, (kh, kw), cout, step.query.params.strides[0])
    matching = (y.name for y in CONVOLUTIONS if (y.size, y.size, y.cin, y.kernel, y.cout, y.stride) == sizes)
    return next(matching, None)


def _floor(step: Step, precision: str, limits: Mapping[str, float]) -> float:
    """The longer of what its bytes and what its operations take, in us."""
    products = "Conv2D" in step.op or "MatMul" in step.op
    by_flops = step.flops / (limits[precision] if products else limits["fp32"]) / 1e6
    return max(step.bytes_moved / limits["copy"] / 1e3, by_flops)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes every figure; 1 if there is no GPU or a result was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", default="128,1,8,32", help="comma-separated, in this order (default: %(default)s)")
    parser.add_argument("--precisions", default="bf16,fp32,tf32", help="comma-separated (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.4, help="of each figure (default: %(default)s)")
    args = dry.parse(__doc__, arguments, parser)
    batches = [1, 2] if args.dry else [int(batch) for batch in args.batches.split(",")]
    step_batches = (1,) if args.dry else STEP_BATCHES
    with Recorder("speed", dry=args.dry) as out:
        status = backend.probe()
        if not status.available:
            out.line("backend", status.detail, ok=False)
            return out.rate()
        network = small() if args.dry else inception()
        clock = Clock(0.01 if args.dry else args.seconds)
        short = Clock(0.001 if args.dry else 0.02)
        pairs = [(batch, precision) for batch in batches for precision in args.precisions.split(",")]
        # What is wanted most comes first, should the limit cut it.
        for batch, precision in sorted(pairs, key=lambda pair: pair[1] != "bf16" or pair[0] not in STEP_BATCHES):
            with (
                out.attempt("run", precision=precision, batch=batch),
                Session(network.graph, backend="cupy", precision=precision) as session,
            ):
                stage, feeds = measure(out, clock, network, session, precision, batch)
                if batch in step_batches and (precision == "bf16" or batch > 1):
                    measure_steps(out, short, stage, feeds, precision, batch)
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
