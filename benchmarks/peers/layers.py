"""The 94 convolutions of Inception v3 one by one (bias and ReLU behind each): kigraph in fp32, bf16 and int8, and ONNX Runtime
in turn.

Each layer is a graph of its own, and what counts is the time of the convolution's kernels alone, as both libraries' own
profiles tell it: without feeding, fetching and changes of layout. A layer is repeated, so its weights come from the caches as
far as they fit. Layers of equal shape are timed once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..conv_layers import Shape, inception_shapes
from .contenders import PRECISIONS, absent, contender
from .worker import Worker

__all__ = ["NAMES", "layer_graph", "no_quantised_ops", "quantised_layer_graph", "run", "serve_layers", "work"]

#: Who is asked; the others have no profile of single kernels, or say nothing new here.
NAMES = ("kigraph", "direct", "onnxruntime", "kigraph-bf16", "kigraph-int8")
_LEAST = 5


def layer_graph(shape: Shape, seed: int = 0) -> Any:
    """A graph from 'x' to 'y' with one convolution, its bias and a ReLU."""
    import kigraph as ki

    h, w, cin, kh, kw, cout, stride, padding = shape
    rng = np.random.default_rng(seed)
    kernel = (rng.standard_normal((kh, kw, cin, cout)) / np.sqrt(kh * kw * cin)).astype(np.float32)
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, shape=[None, h, w, cin], name="x")
        y = ki.conv2d(x, ki.constant(kernel), strides=[1, stride, stride, 1], padding=padding)
        y = ki.bias_add(y, ki.constant(rng.standard_normal(cout).astype(np.float32)))
        ki.relu(y, name="y")
    return graph


def quantised_layer_graph(shape: Shape, seed: int = 0) -> Any:
    """The same with uint8 values after a ReLU, int8 weights and a multiplier for each channel."""
    import kigraph as ki

    h, w, cin, kh, kw, cout, stride, padding = shape
    rng, u8 = np.random.default_rng(seed), np.dtype(np.uint8)
    kernel = rng.integers(-127, 128, (kh, kw, cin, cout)).astype(np.int8)
    bias = rng.integers(-5000, 5000, cout).astype(np.int32)
    multiplier = (rng.uniform(0.5, 1.5, cout) / (128 * np.sqrt(kh * kw * cin))).astype(np.float32)
    attributes = {
        "T": u8, "strides": (1, stride, stride, 1), "padding": padding, "low": 0, "high": 255, "out_type": u8,
    }  # fmt: skip
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("uint8", shape=[None, h, w, cin], name="x")
        given = [x, ki.constant(kernel), ki.constant(bias), ki.constant(multiplier)]
        graph.create_op("KiQuantizedConv2D", given, attributes, "y", exact_name=True)
    return graph


def no_quantised_ops() -> str:
    """Why int8 layers cannot be measured; '' if they can."""
    import importlib.util

    if importlib.util.find_spec("kigraph.graph.opdefs.quantized") is None:
        return "this version of kigraph has no quantised ops"
    return ""


def work(shape: Shape, batch: int) -> tuple[float, float]:
    """FLOPs of direct convolution, and bytes of input, weights and output."""
    h, w, cin, kh, kw, cout, stride, padding = shape
    oh, ow = ((h + stride - 1) // stride, (w + stride - 1) // stride)
    if padding == "VALID":
        oh, ow = (h - kh) // stride + 1, (w - kw) // stride + 1
    flops = 2.0 * batch * oh * ow * cout * kh * kw * cin
    return flops, 4.0 * (batch * (h * w * cin + oh * ow * cout) + kh * kw * cin * cout + cout)


# --- in the worker ----------------------------------------------------------------------------------------------------


def _kigraph(
    shape: Shape, batch: int, threads: int, folder: str, precision: str = "fp32"
) -> tuple[Callable[[int], list[float]], str]:
    import kigraph as ki

    # bf16 comes from the environment of the process, as with the whole network.
    graph = quantised_layer_graph(shape) if precision == "int8" else layer_graph(shape)
    session = ki.Session(graph, backend="cython", threads=threads)
    x = _input(shape, batch)
    feed = {"x:0": np.clip(np.rint(x * 60 + 60), 0, 255).astype(np.uint8) if precision == "int8" else x}
    plan = session.plan("y:0", feed)

    def times(count: int) -> list[float]:
        found = []
        for _ in range(count):
            session.run("y:0", feed, profile=True)
            assert plan.timeline is not None
            found.append(sum(timed.seconds for _, timed in plan.timeline.steps))
        return found

    times(2)
    return times, " + ".join(str(step.kernel).partition(".")[2] for step in plan.kernel_steps())


def _onnxruntime(shape: Shape, batch: int, threads: int, folder: str) -> tuple[Callable[[int], list[float]], str]:
    import onnxruntime as ort

    from kigraph.graph.writers.onnx import save_onnx

    path = Path(folder, "layer.onnx")
    save_onnx(layer_graph(shape), path, ["y:0"])
    x = _input(shape, batch)

    def times(count: int) -> list[float]:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level, options.enable_profiling = 3, True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(count + 2):
            session.run(None, {"x": x})
        written = Path(session.end_profiling())
        events = json.loads(written.read_text())
        written.unlink()
        spent = [
            event["dur"] * 1e-6
            for event in events
            if event.get("cat") == "Node" and event["args"].get("op_name") in ("Conv", "FusedConv")
        ]
        assert len(spent) == count + 2, "ONNX Runtime's profile has another number of convolutions than runs"
        return spent[2:]

    return times, ""


def _input(shape: Shape, batch: int) -> np.ndarray[Any, Any]:
    x: np.ndarray[Any, Any] = np.random.default_rng(1).standard_normal((batch, *shape[:3])).astype(np.float32)
    return x


def serve_layers(name: str, folder: str, threads: int, lines: Any, say: Callable[..., None]) -> None:
    """Answers orders {"shape", "batch", "count"} with the times of so many runs."""
    make = _onnxruntime if name == "onnxruntime" else partial(_kigraph, precision=contender(name).precision)
    last: tuple[Any, ...] = ()
    times: Callable[[int], list[float]] | None = None
    kernel = ""
    say(version="")
    for line in lines:
        order = json.loads(line)
        key = (*order["shape"], order["batch"])
        if times is None or key != last:
            times, kernel = make(tuple(order["shape"]), order["batch"], threads, folder)
            last = key
        say(seconds=times(order["count"]), kernel=kernel)


# --- outside ----------------------------------------------------------------------------------------------------------


def _who(args: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """Who is measured, and who is missing and why; SystemExit if nobody is left."""
    wanted = [
        n for n in NAMES if n in (args.only or NAMES) and contender(n).precision in (args.precision or PRECISIONS)
    ]
    # A layer is quantised here; no tool has to make a file.
    missing = absent(wanted, int8_given=True) if wanted else {}
    if "kigraph-int8" in wanted and no_quantised_ops():
        missing["kigraph-int8"] = no_quantised_ops()
    names = [n for n in wanted if n not in missing]
    if not names:
        raise SystemExit(f"nobody is left to be measured; known: {', '.join(NAMES)}; {missing}")
    return names, missing


def run(args: argparse.Namespace, about: Callable[[Sequence[int]], dict[str, Any]], progress: Any) -> dict[str, Any]:
    """Measures all layers for each number of threads."""
    names, missing = _who(args)
    layers = inception_shapes()
    counts = Counter(shape for _, shape in layers)
    first = {shape: name for name, shape in reversed(layers)}
    shapes = sorted(counts, key=lambda s: [n for n, _ in layers].index(first[s]))
    if args.quick:
        shapes = shapes[:: max(1, len(shapes) // 6)]
    threads, batch = args.threads or [1], (args.batch or [1])[0]
    rounds, seconds = args.rounds or 3, args.seconds or 0.04
    with progress(1 + len(threads) * len(shapes)) as tick:
        tick("the machine's peak")
        result = about(threads) | {"batch": batch, "absent": missing, "tables": []}
        for count in threads:
            rows = _table(names, count, batch, shapes, rounds, seconds, [first[s] for s in shapes], tick)
            for row, shape in zip(rows, shapes, strict=True):
                row |= {"layer": first[shape], "count": counts[shape], "shape": list(shape)}
                row["flops"], row["bytes"] = work(shape, batch)
            result["tables"].append({"threads": count, "layers": rows})
    return result


def _table(
    names: Sequence[str],
    threads: int,
    batch: int,
    shapes: Sequence[Shape],
    rounds: int,
    seconds: float,
    titles: Sequence[str],
    tick: Callable[[str], None],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="kigraph-layers-") as folder:
        workers = {name: Worker(name, folder, threads, 0, mode="layers") for name in names}
        try:
            for shape, about in zip(shapes, titles, strict=True):
                tick(f"{threads} thread{'s' if threads > 1 else ''}: {about}")
                row: dict[str, Any] = {"ms": {}, "kernel": {}}
                turns: dict[str, list[float]] = {name: [] for name in names}
                # A guess at half the peak of a fast core, so that turns of all layers take about as long.
                runs = max(_LEAST, min(300, int(seconds * threads * 1e11 / work(shape, batch)[0])))
                for _ in range(rounds):
                    for name, worker in workers.items():
                        answer = worker.ask(shape=list(shape), batch=batch, count=runs)
                        turns[name].append(statistics.median(answer["seconds"]) * 1e3)
                        row["kernel"][name] = answer["kernel"]
                row["ms"] = {name: statistics.median(t) for name, t in turns.items()}
                rows.append(row)
        finally:
            for worker in workers.values():
                worker.close()
    return rows


def title(name: str) -> str:
    """The contender's name in tables."""
    return contender(name).title.replace(" convolution only", "")
