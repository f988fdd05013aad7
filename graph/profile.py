"""Where the time of a run goes: per step the time, the work, the bytes and the share of what the machine could do.

``session.profile(fetches, feeds)`` measures several runs; ``session.run(..., profile=True)`` keeps those of one run in
``session.last_profile``. A Profile prints a table, writes a trace for Perfetto (https://ui.perfetto.dev) or
chrome://tracing, and draws the graph coloured by time.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kernels.backends import roof_of
from ..kernels.kernel import Roof
from ..kernels.tensor import STRING, is_float
from .errors import GraphError
from .plan.lowering import Step
from .plan.plan import Plan, Timeline

if TYPE_CHECKING:
    from .draw import Cost

__all__ = ["KernelTime", "Profile", "StepTime"]


@dataclass(frozen=True, slots=True)
class StepTime:
    """One step of a plan. ``seconds``: the median over the runs; ``start`` and ``span``: in the run that is drawn."""

    node: str
    op: str
    kernel: str
    device: str
    #: Index of the stage that the step belongs to.
    stage: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: float
    best: float
    worst: float
    start: float
    span: float
    #: Float operations as the contract counts them (direct convolution, whatever the kernel does), and bytes read and written.
    flops: int
    bytes: int
    itemsize: int
    note: str = ""
    #: The elementwise ops that the step runs on its result, one after the other.
    chain: tuple[str, ...] = ()

    @property
    def gflops(self) -> float:
        """GFLOP/s; 0 for steps that compute nothing worth counting."""
        return self.flops / self.seconds / 1e9 if self.seconds > 0 else 0.0

    @property
    def gbytes(self) -> float:
        """GB/s."""
        return self.bytes / self.seconds / 1e9 if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class KernelTime:
    """All steps of one kernel together."""

    kernel: str
    steps: int
    seconds: float
    flops: int
    bytes: int


@dataclass(frozen=True, repr=False)
class Profile:
    """The steps of one plan in the order in which they ran, over ``runs`` runs.

    seconds: median of a whole run. The host waits for each step of a GPU, so a profiled run on a GPU takes longer.
    """

    steps: tuple[StepTime, ...]
    seconds: float
    runs: int
    threads: int
    backends: str
    #: What a run takes besides its steps: feeding, fetching, the executor.
    outside: float
    plan: Plan = field(repr=False, compare=False)

    @classmethod
    def of(cls, plan: Plan, timelines: Sequence[Timeline]) -> Profile:
        """From runs of one plan with feeds of the same types."""
        ordered = sorted(timelines, key=lambda t: t.seconds)
        shown = ordered[len(ordered) // 2]
        steps = []
        for at, (stage, timed) in enumerate(shown.steps):
            times = [t.steps[at][1].seconds for t in timelines]
            steps.append(_step_time(timed.step, stage, times, timed.start - shown.start, timed.seconds))
        total = statistics.median(t.seconds for t in timelines)
        outside = statistics.median(t.seconds - sum(s.seconds for _, s in t.steps) for t in timelines)
        return cls(tuple(steps), total, len(timelines), plan.threads, str(plan.choice), outside, plan)

    @functools.cached_property
    def roofs(self) -> Mapping[str, Roof | None]:
        """The measured limits of every device that was used; measured when first needed, once per process."""
        return {device: roof_of(device, self.threads) for device in sorted({s.device for s in self.steps})}

    @property
    def steps_seconds(self) -> float:
        """The sum of the steps' times."""
        return sum(s.seconds for s in self.steps)

    def share_of_roof(self, step: StepTime) -> float | None:
        """The least time that the machine needs for the step's work, over the time it took.

        Above 1 where a kernel needs fewer multiplications than the contract counts, or its data came from the caches. None
        where the device's limits are not known, or nothing was counted.
        """
        roof = self.roofs.get(step.device)
        if roof is None or step.seconds <= 0 or not (step.flops or step.bytes):
            return None
        return roof.seconds(step.flops, step.bytes, step.itemsize) / step.seconds

    def by_kernel(self) -> tuple[KernelTime, ...]:
        """The steps added up by kernel, the most time first."""
        groups: dict[str, list[StepTime]] = {}
        for step in self.steps:
            groups.setdefault(step.kernel, []).append(step)
        found = [
            KernelTime(k, len(g), sum(s.seconds for s in g), sum(s.flops for s in g), sum(s.bytes for s in g))
            for k, g in groups.items()
        ]
        return tuple(sorted(found, key=lambda k: -k.seconds))

    def slowest(self, count: int | None = None) -> tuple[StepTime, ...]:
        """The steps that took the most time."""
        return tuple(sorted(self.steps, key=lambda s: -s.seconds)[:count])

    #: Headings of ``cells``; all but the first three are numbers.
    COLUMNS = ("step", "op", "kernel", "ms", "share", "GFLOP/s", "GB/s", "of roof")

    def cells(self, step: StepTime) -> tuple[str, ...]:
        """One line of a table."""
        roof = self.share_of_roof(step)
        share = step.seconds / self.seconds if self.seconds > 0 else 0.0
        return (
            step.node, "+".join((step.op, *step.chain)), step.kernel, f"{step.seconds * 1e3:.3f}", f"{share:.1%}",
            f"{step.gflops:.1f}" if step.flops else "", f"{step.gbytes:.1f}" if step.bytes else "",
            "" if roof is None else f"{roof:.0%}",
        )  # fmt: skip

    def kernel_cells(self) -> list[tuple[str, str, str, str]]:
        """Lines of a table by kernel: kernel, steps, ms, share of a run; the last one is what is outside of steps."""
        whole = max(self.seconds, 1e-12)
        sums = [(k.kernel, str(k.steps), k.seconds) for k in self.by_kernel()]
        sums.append(("outside of steps", "", self.outside))
        return [(kernel, steps, f"{s * 1e3:.3f}", f"{s / whole:.1%}") for kernel, steps, s in sums]

    def table(self, top: int | None = None, *, order: str = "time") -> str:
        """Text: the ``top`` steps (default: all) by 'time', or in the 'run' order; then the sums by kernel."""
        if order not in ("time", "run"):
            raise GraphError(f"order={order!r} is not valid; expected 'time' or 'run'")
        steps = self.slowest(top) if order == "time" else self.steps[:top]
        lines = _aligned([self.COLUMNS, *(self.cells(s) for s in steps)], left=3)
        if len(steps) < len(self.steps):
            rest = self.steps_seconds - sum(s.seconds for s in steps)
            lines.append(f"... {len(self.steps) - len(steps)} steps more: {rest * 1e3:.3f} ms")
        lines.append("")
        lines += _aligned([("kernel", "steps", "ms", "share"), *self.kernel_cells()], left=1)
        lines += ["", self.summary()]
        return "\n".join(lines)

    def summary(self) -> str:
        """One line: the whole run, and the limits that shares refer to."""
        flops = sum(s.flops for s in self.steps)
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        runs = f"median of {self.runs} run{'s' if self.runs > 1 else ''}"
        text = f"{self.seconds * 1e3:.3f} ms ({runs}), {threads}, {self.plan.precision}"
        if flops > 1e6 and self.seconds > 0:
            text += f", {flops / self.seconds / 1e9:.1f} GFLOP/s"
        for device, roof in self.roofs.items():
            if roof is not None:
                text += (
                    f"; roof of {device}: {roof.flops / 1e9:.0f} GFLOP/s, {roof.bytes / 1e9:.1f} GB/s ({roof.source})"
                )
        return text

    def __str__(self) -> str:
        return self.table(20)

    def __repr__(self) -> str:
        return f"<Profile: {self.seconds * 1e3:.3f} ms in {len(self.steps)} steps, {self.runs} runs, {self.backends}>"

    def _repr_html_(self) -> str:
        """The slowest steps and the sums by kernel, as tables."""
        from .draw.tables import bar, block, table

        most = max((s.seconds for s in self.steps), default=0.0) or 1.0
        slowest = self.slowest(20)
        rows = [(*self.cells(s), bar(s.seconds / most)) for s in slowest]
        left = len(self.steps) - len(slowest)
        more = f"and {left} steps more: print(profile.table())" if left else ""
        sums = table(("kernel", "steps", "ms", "share"), self.kernel_cells(), right=(1, 2, 3))
        return block(self.summary(), table((*self.COLUMNS, ""), rows, right=range(3, 8)), more, sums)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``: times in seconds."""
        steps = []
        for s in self.steps:
            steps.append(
                {
                    "node": s.node,
                    "op": s.op,
                    "kernel": s.kernel,
                    "device": s.device,
                    "stage": s.stage,
                    "inputs": list(s.inputs),
                    "outputs": list(s.outputs),
                    "seconds": s.seconds,
                    "best": s.best,
                    "worst": s.worst,
                    "flops": s.flops,
                    "bytes": s.bytes,
                    "gflops_per_s": s.gflops,
                    "share": s.seconds / self.seconds if self.seconds > 0 else 0.0,
                    "share_of_roof": self.share_of_roof(s),
                    "note": s.note,
                }
            )
        roofs = {
            name: None if r is None else {"flops_per_s": r.flops, "bytes_per_s": r.bytes, "source": r.source}
            for name, r in self.roofs.items()
        }
        return {
            "seconds": self.seconds, "outside": self.outside, "runs": self.runs, "threads": self.threads,
            "backends": self.backends, "precision": self.plan.precision, "roofs": roofs, "steps": steps,
        }  # fmt: skip

    # --- pictures -----------------------------------------------------------------------------------------------------

    def chrome_trace(self) -> dict[str, Any]:
        """One run as Chrome's trace events: what Perfetto loads. Times in microseconds; a track per stage and device."""
        tracks = sorted({(s.stage, s.device) for s in self.steps})
        events: list[dict[str, Any]] = [
            {
                "name": "process_name",
                "ph": "M",
                "pid": 1,
                "args": {"name": f"kigraph, {self.backends}, {self.plan.precision}"},
            }
        ]
        for number, (stage, device) in enumerate(tracks, 1):
            track = {"name": f"stage {stage + 1} on {device}"}
            events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": track})
            events.append(
                {"name": "thread_sort_index", "ph": "M", "pid": 1, "tid": number, "args": {"sort_index": number}}
            )
        for s in self.steps:
            roof = self.share_of_roof(s)
            args: dict[str, Any] = {
                "op": s.op, "kernel": s.kernel, "inputs": ", ".join(s.inputs), "outputs": ", ".join(s.outputs),
                "GFLOP/s": round(s.flops / s.span / 1e9, 1) if s.span > 0 else 0.0, "FLOPs": s.flops, "bytes": s.bytes,
                "median ms": round(s.seconds * 1e3, 4),
            }  # fmt: skip
            if roof is not None:
                args["share of roofline"] = f"{roof:.0%}"
            events.append(
                {
                    "name": s.node,
                    "cat": s.op,
                    "ph": "X",
                    "pid": 1,
                    "tid": 1 + tracks.index((s.stage, s.device)),
                    "ts": round(s.start * 1e6, 3),
                    "dur": round(s.span * 1e6, 3),
                    "args": args,
                }
            )
        return {"traceEvents": events, "displayTimeUnit": "ms"}

    def write_trace(self, path: str | os.PathLike[str]) -> Path:
        """Writes ``chrome_trace`` as JSON."""
        target = Path(path)
        target.write_text(json.dumps(self.chrome_trace()) + "\n", encoding="utf-8")
        return target

    def costs(self) -> dict[str, Cost]:
        """What each node of the optimized graph cost, with kernel and rate, as drawings take it."""
        from .draw import Cost

        groups: dict[str, list[StepTime]] = {}
        for step in self.steps:
            # A copy between devices belongs to what it copies.
            groups.setdefault(step.node if step.op != "Copy" else step.node.rpartition(":")[0] or step.node, []).append(
                step
            )
        found = {}
        for node, steps in groups.items():
            note = ", ".join(dict.fromkeys(s.kernel for s in steps))
            if len(steps) == 1 and steps[0].flops > 5 * steps[0].bytes:
                note += f"  {steps[0].gflops:.0f} GFLOP/s"
            found[node] = Cost(sum(s.seconds for s in steps), note)
        return found

    def draw(self, path: str | os.PathLike[str], *, title: str | None = None, max_boxes: int | None = None) -> Path:
        """Writes the graph as it ran (after the passes), coloured by time: '.html', '.svg' or '.dot' by the suffix."""
        from .draw import to_dot, to_html, to_svg

        target = Path(path)
        writers: dict[str, Callable[..., str]] = {".html": to_html, ".svg": to_svg, ".dot": to_dot}
        writer = writers.get(target.suffix.lower())
        if writer is None:
            raise GraphError(f"{target}: the name must end in one of {', '.join(writers)}")
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        heading = f"{title or 'profile'}: {self.seconds * 1e3:.2f} ms, {threads}, {self.plan.precision}"
        options: dict[str, Any] = {} if max_boxes is None else {"max_boxes": max_boxes}
        text = writer(self.plan.graph, title=heading, costs=self.costs(), **options)
        target.write_text(text, encoding="utf-8")
        return target


def _step_time(step: Step, stage: int, times: Sequence[float], start: float, span: float) -> StepTime:
    query = step.query
    types = (*query.inputs, *query.outputs) if query is not None else ()
    countable = query is None or all(t.dtype != STRING and t.known for t in types)
    return StepTime(
        step.node, step.op, "copy" if step.kernel is None else str(step.kernel), step.device.name, stage,
        tuple(str(t) for _, t in step.inputs), tuple(str(t) for _, t in step.outputs),
        statistics.median(times), min(times), max(times), start, span,
        step.flops if countable else 0, step.bytes_moved if countable and step.inputs else 0,
        max((t.dtype.itemsize for t in types if is_float(t.dtype)), default=4), step.note, step.chain,
    )  # fmt: skip


def _aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of a table; the first ``left`` columns are aligned to the left and cut to 44 characters."""
    cut = [[c if len(c) <= 44 or i >= left else "..." + c[-41:] for i, c in enumerate(row)] for row in rows]
    widths = [max(len(row[i]) for row in cut) for i in range(len(cut[0]))]
    return [
        "  ".join(
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cut
    ]
