"""One row on every contender: results are compared with the reference backend first, then all are timed in turn."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki

from .row import OpRow

__all__ = ["CONTENDERS", "Calls", "WrongAnswerError", "measure"]

Array = np.ndarray[Any, Any]
CONTENDERS = ("kigraph", "onnxruntime", "torch", "numpy")
#: Relative L2 distance from the reference that a contender may have, by type; others have to be equal.
_FAR = {"float16": 4e-3, "float32": 1e-4, "float64": 1e-9}
#: A program that takes so many times the fastest contender's time is timed once.
_HOPELESS = 30


class WrongAnswerError(Exception):
    """A contender's result is not the reference's."""


class Calls:
    """What every contender runs, and why others do not: ``runs``, ``absent``; ``results`` of one run each, as lists of arrays."""

    def __init__(self, row: OpRow, threads: int = 1, contenders: Sequence[str] = CONTENDERS) -> None:
        self.row, self.threads = row, threads
        self.values = [np.asarray(v) for v in row.row.make(np.random.default_rng(1))]
        self.runs: dict[str, Callable[[], Any]] = {}
        self.absent: dict[str, str] = {}
        self.finish: dict[str, Callable[[Any], Any]] = {}
        graph, tensors, fetch = _graph(row, self.values, nchw=False)
        feeds = {t: v for t, v in zip(tensors, self.values, strict=True) if t.op.type == "Placeholder"}
        self.truth = _arrays(ki.Session(graph, backend="numpy").run(fetch, feeds))
        session = ki.Session(graph, backend="cython", threads=threads)
        self.runs["kigraph"] = lambda: session.run(fetch, feeds)
        self.profile = lambda runs: session.profile(fetch, feeds, runs=runs)
        makers = {"onnxruntime": self._onnxruntime, "torch": self._torch, "numpy": self._numpy}
        for name, make in makers.items():
            if name not in contenders:
                continue
            try:
                make()
            except Exception as error:  # of whatever library: it takes no part in this row
                self.absent[name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        self.results = {name: _arrays(self.finish.get(name, lambda y: y)(run())) for name, run in self._tried()}

    def _tried(self) -> list[tuple[str, Callable[[], Any]]]:
        kept = []
        for name, run in list(self.runs.items()):
            try:
                run()
                kept.append((name, run))
            except Exception as error:
                if name == "kigraph":
                    raise
                self.absent[name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
                del self.runs[name]
        return kept

    def _onnxruntime(self) -> None:
        import onnxruntime as ort

        from kigraph.graph.writers.onnx import save_onnx

        turned = self.row.nchw is not None
        graph, tensors, fetch = _graph(self.row, self.values, nchw=turned)
        fetches = fetch if isinstance(fetch, list) else [fetch]
        fed = [(t, v) for t, v in zip(tensors, self.values, strict=True) if t.op.type == "Placeholder"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "op.onnx")
            save_onnx(graph, path, [t.name for t in fetches], [t.name for t, _ in fed])
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = self.threads, 1, 4
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [i.name for i in session.get_inputs()]
        feeds = {n: _nchw(v) if turned and v.ndim == 4 else v for n, (_, v) in zip(names, fed, strict=True)}
        self.runs["onnxruntime"] = lambda: session.run(None, feeds)
        if turned:
            self.finish["onnxruntime"] = lambda made: [y.transpose(0, 2, 3, 1) if y.ndim == 4 else y for y in made]

    def _torch(self) -> None:
        if self.row.torch is None:
            raise NotImplementedError("no such op")
        import torch

        torch.set_num_threads(self.threads)
        call = self.row.torch(*self.values)

        def run() -> Any:
            with torch.inference_mode():
                return call()

        self.runs["torch"] = run

    def _numpy(self) -> None:
        if self.row.row.plain is None:
            raise NotImplementedError("no plain program")
        self.runs["numpy"] = lambda: self.row.row.plain(*self.values)

    def check(self) -> dict[str, str]:
        """Contenders that are wrong, and how; they are left out of the runs. WrongAnswerError if kigraph is."""
        wrong = {}
        for name, result in self.results.items():
            reason = self._reason(result, name) if self.row.row.alike else ""
            if reason and name == "kigraph":
                raise WrongAnswerError(f"{self.row.name}: {reason}")
            if reason:
                wrong[name] = reason
                del self.runs[name]
        return wrong

    def _reason(self, result: Sequence[Array], name: str) -> str:
        if len(result) != len(self.truth):
            return f"{len(result)} results, {len(self.truth)} expected"
        for got, want in zip(result, self.truth, strict=True):
            if got.shape != want.shape:
                return f"shape {got.shape}, {want.shape} expected"
            if want.dtype.kind not in "fc":
                if not np.array_equal(got, want):
                    return f"{np.mean(got != want):.1%} of the elements differ"
                continue
            limit = max(_FAR.get(str(want.dtype), 0.0), self.row.row.rtol if name == "numpy" else 0.0)
            gap = _distance(got, want)
            if not gap <= limit:
                return f"{gap:.1e} from the reference (relative L2), at most {limit:.0e} expected"
        return ""


def _distance(got: Array, want: Array) -> float:
    """Relative L2; infinite if NaN or infinities are elsewhere."""
    wide, exact = got.astype("f8"), want.astype("f8")
    whole = np.isfinite(exact)
    if not np.array_equal(np.where(whole, 0, wide), np.where(whole, 0, exact), equal_nan=True):
        return float("inf")
    length = float(np.linalg.norm(exact[whole]))
    gap = float(np.linalg.norm(wide[whole] - exact[whole]))
    return gap / length if length else gap


def _graph(row: OpRow, values: Sequence[Array], *, nchw: bool) -> tuple[Any, list[Any], Any]:
    """The graph of the op, its inputs and what it gives; nchw: with 4-D placeholders in that layout."""
    graph = ki.Graph()
    with graph.as_default():
        tensors = []
        for number, value in enumerate(values):
            shape = (*value.shape[:1], value.shape[3], *value.shape[1:3]) if nchw and value.ndim == 4 else value.shape
            tensors.append(ki.constant(value) if number in row.constants else ki.placeholder(value.dtype, shape))
        made = (row.nchw if nchw and row.nchw else row.row.build)(*tensors)
    return graph, tensors, list(made) if isinstance(made, list | tuple) else made


def _nchw(value: Array) -> Array:
    return np.ascontiguousarray(value.transpose(0, 3, 1, 2))


def _arrays(result: Any) -> list[Array]:
    """Copies: some libraries give views of memory that the next run writes to."""
    return [np.asarray(y).copy() for y in (result if isinstance(result, list | tuple) else [result])]


def _turn(run: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def _rounds(runs: Mapping[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of a call by contender and round."""
    once = {name: min(_turn(run, 1) for _ in range(3)) for name, run in runs.items()}
    fastest = min(once.values())
    hopeless = {name for name, t in once.items() if t > max(_HOPELESS * fastest, seconds)}
    counts = {name: 1 if name in hopeless else max(int(seconds / max(t, 1e-7)), 1) for name, t in once.items()}
    times: dict[str, list[float]] = {name: [once[name]] * rounds if name in hopeless else [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            if name not in hopeless:
                run()  # its data come back into the caches
                times[name].append(_turn(run, counts[name]))
    return times


def measure(
    row: OpRow, rounds: int = 5, seconds: float = 0.01, threads: int = 1, contenders: Sequence[str] = CONTENDERS
) -> dict[str, Any]:
    """Microseconds of a call by contender, the ratio to the fastest other of every round, the time of kigraph's kernels."""
    with np.errstate(all="ignore"):
        calls = Calls(row, threads, contenders)
        wrong = calls.check()
        times = _rounds(calls.runs, rounds, seconds)
        runs = int(2 * seconds / statistics.median(times["kigraph"]))
        steps = calls.profile(min(max(runs, 5), 50))
    found: dict[str, Any] = {
        "op": row.kind, "size": row.size, "networks": list(row.networks), "threads": threads,
        "us": {name: statistics.median(t) * 1e6 for name, t in times.items()},
        "kernel_us": steps.steps_seconds * 1e6, "kernels": [s.kernel for s in steps.steps], "absent": calls.absent, "wrong": wrong,
    }  # fmt: skip
    others = [t for name, t in times.items() if name != "kigraph"]
    if others:
        best = [min(each) for each in zip(*others, strict=True)]
        ratios = [a / b for a, b in zip(times["kigraph"], best, strict=True)]
        found["ratio"] = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
        found["kernel_ratio"] = found["kernel_us"] / (statistics.median(best) * 1e6)
    return found
