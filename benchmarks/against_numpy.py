"""Every op of frozen graphs next to the plain NumPy program for it: ``python -m benchmarks.against_numpy``.

A row is an op at a size of 2 MB or more. The results of both are compared first. Then the program and the backends run in
turn, again and again (A B C D A B C D), on one thread, and the medians of the processor's time are compared. A ratio is
NumPy's time over the backend's: below 1 the backend is slower than NumPy. What is timed are the kernels as a plan has bound
them; where values decide what runs, or nothing runs (marked *), it is the plan with the copies of its results. Sums and
means of floats are float64 by their contract, so NumPy's are told to sum in float64, too: their rows say so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before NumPy is loaded
    for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np

import kigraph as ki
from kigraph.graph.fetches import Fetches
from kigraph.graph.plan.context import Context
from kigraph.graph.plan.plan import Plan
from kigraph.graph.plan.stage import DynamicStage, Stage
from kigraph.machine import describe

from .numpy_more_rows import MORE_ROWS
from .numpy_rows import ROWS, Row
from .numpy_windows import WINDOW_ROWS

__all__ = ["ALL_ROWS", "BACKENDS", "compare", "measure", "table"]

BACKENDS = ("numpy", "cython", "numba")
ALL_ROWS: tuple[Row, ...] = (*ROWS, *WINDOW_ROWS, *MORE_ROWS)
Made = tuple[Callable[[], None], Callable[[], Any]]
#: Seconds of a row's rounds, and how many rounds there are at least and at most.
_BUDGET, _LEAST, _MOST = 0.6, 5, 60
#: Medians of the same NumPy call differ by up to a tenth.
_SLOWER = 0.9


class _Calls:
    """The plain program and each backend's kernels for a row, as calls. ``results``: what a session gives, by backend."""

    def __init__(self, row: Row, values: Sequence[Any]) -> None:
        mine = [np.array(v) for v in values]
        self.runs: dict[str, Callable[[], Any]] = {"plain": lambda: row.plain(*mine)}
        #: What is done before each run, and is not timed: steps may write where their inputs are. The plain program's inputs
        #: are written again as well, so that both find theirs in the same state of the caches.
        self.feeds: dict[str, Callable[[], Any]] = {
            "plain": lambda: [np.copyto(m, v) for m, v in zip(mine, values, strict=True)]
        }
        self.results: dict[str, Any] = {}
        #: Whether only kernels are timed; else (values decide what runs) the plan, with the copies of results.
        self.only_kernels = True
        for backend in BACKENDS:
            if backend not in ki.available_backends():
                continue
            graph = ki.Graph()
            with graph.as_default():
                tensors = [ki.placeholder(v.dtype, np.shape(v)) for v in values]
                fetch = row.build(*tensors)
            session = ki.Session(graph, backend=backend, threads=1)
            feeds = dict(zip(tensors, values, strict=True))
            self.results[backend] = session.run(fetch, feeds)
            plan, arrays = session._prepared(Fetches(session.graph, fetch), session._feeds(feeds))
            kernels = _kernels(plan, arrays)
            self.only_kernels &= kernels is not None
            if kernels is None:
                self.runs[backend] = lambda p=plan, a=arrays: p.run(a)  # type: ignore[misc]
            else:
                self.feeds[backend], self.runs[backend] = kernels

    def timed(self, name: str) -> float:
        """CPU seconds of one run."""
        self.feeds.get(name, lambda: None)()
        begin = time.process_time()
        self.runs[name]()
        return time.process_time() - begin


def _kernels(plan: Plan, arrays: dict[Any, Any]) -> Made | None:
    """What puts the feeds in place, and the bound kernels of a run as one call, if the run is one stage.

    A session copies what is fed and fetched where that is small, whatever the graph does between, and the plain program does not.
    """
    stages = [stage for _, stage in plan.compiled()]
    if len(plan.parts) != 1 or len(stages) != 1:
        return None
    (stage,) = stages
    if isinstance(stage, DynamicStage):
        return (lambda: None), lambda: stage.run(arrays)
    if not isinstance(stage, Stage):
        return None
    context, values = Context(stage), [arrays[port] for port in stage.part.inputs]
    used: list[list[np.ndarray[Any, Any]]] = []

    def feed() -> None:
        used[:] = [context.load(values)]  # until the run has ended

    def run() -> None:
        for _, stretch in context.stretches:
            stretch()

    return feed, run


def compare(row: Row, got: Any, expected: Any) -> None:
    """AssertionError if the results differ by more than the row allows."""
    many = isinstance(expected, list)
    for one, other in zip(got if many else [got], expected if many else [expected], strict=True):
        if row.alike:
            np.testing.assert_allclose(one, other, rtol=row.rtol, atol=row.atol, err_msg=row.name)
        assert np.shape(one) == np.shape(other), row.name
        assert np.asarray(one).dtype == np.asarray(other).dtype, f"{row.name}: {one.dtype}, {other.dtype}"


def measure(row: Row, budget: float = _BUDGET) -> dict[str, Any]:
    """The medians of one row: CPU seconds by name, and the ratios of the backends."""
    values = row.make(np.random.default_rng(1))
    with np.errstate(all="ignore"):
        calls = _Calls(row, values)
        expected = calls.runs["plain"]()
        for result in calls.results.values():
            compare(row, result, expected)
        once = sum(calls.timed(name) for name in calls.runs)
        rounds = int(min(max(budget / max(once, 1e-6), _LEAST), _MOST))
        times: dict[str, list[float]] = {name: [] for name in calls.runs}
        for _ in range(rounds):
            for name, taken in times.items():
                taken.append(calls.timed(name))
    medians = {name: statistics.median(t) for name, t in times.items()}
    ratios = {n: medians["plain"] / max(t, 1e-9) for n, t in medians.items() if n != "plain"}
    size = sum(np.asarray(v).nbytes for v in values)
    return {
        "op": row.name, "bytes": size, "rounds": rounds, "only_kernels": calls.only_kernels, "seconds": medians, "ratios": ratios,
    }  # fmt: skip


def table(results: Sequence[dict[str, Any]]) -> str:
    """Text, the row with the least ratio first."""
    names = [n for n in BACKENDS if any(n in r["ratios"] for r in results)]
    width = max((len(r["op"]) for r in results), default=0)
    lines = [f"{'':{width}} {'input':>8} {'NumPy ms':>9}" + "".join(f"{n + ' ms':>11} ratio" for n in names)]
    for r in sorted(results, key=lambda r: min(r["ratios"].values(), default=0.0)):
        cells = "".join(f"{r['seconds'][n] * 1e3:11.2f} {r['ratios'][n]:5.2f}" for n in names)
        mark = " " if r["only_kernels"] else "*"
        lines.append(f"{r['op']:{width}}{mark}{r['bytes'] / 1e6:5.1f} MB {r['seconds']['plain'] * 1e3:9.2f}{cells}")
    slower = sum(min(r["ratios"].values(), default=1.0) < _SLOWER for r in results)
    lines += [
        f"{len(results)} rows; {slower} with a backend below {_SLOWER} of NumPy's speed",
        "float64: the contract sums floats in float64, and NumPy's sum or mean is told to",
        "*: the plan is timed with the copies of its results, for values decide what runs or nothing runs",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against_numpy", description=__doc__)
    parser.add_argument("-k", default="", metavar="TEXT", help="only rows with this in their name")
    parser.add_argument("--seconds", type=float, default=_BUDGET, help="CPU time of a row (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args(argv)
    results = []
    for row in ALL_ROWS:
        if args.k in row.name:
            print(f"{row.name} ...", file=sys.stderr, flush=True)
            results.append(measure(row, args.seconds))
    print(f"{describe()}, 1 thread, CPU time\n{table(results)}")
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": describe().to_json(), "rows": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
