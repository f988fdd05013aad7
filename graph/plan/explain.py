"""The text of ``plan.explain()``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...kernels.backends import Choice
from ...kernels.devices import HOST
from ...kernels.tensor import STRING
from .images import Images
from .lowering import Step
from .partition import Part
from .stage import DynamicStage, Stage

__all__ = ["Explanation", "explain_plan", "plan_html"]

#: Steps that a notebook shows of a plan.
_MOST_STEPS = 200


class Explanation(str):
    """The text of ``explain``; a notebook shows it line by line."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from ..draw.tables import block, code

        return block(code(self))


def _amount(value: float, units: tuple[str, ...] = ("", "k", "M", "G", "T"), base: float = 1000.0) -> str:
    for unit in units:
        if abs(value) < base or unit == units[-1]:
            return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"
        value /= base
    raise AssertionError


def _bytes(value: float) -> str:
    return _amount(value, ("B", "KiB", "MiB", "GiB"), 1024.0)


def _step_line(number: int, step: Step, seconds: float | None) -> str:
    outputs = ", ".join(str(t) for _, t in step.outputs)
    if step.query is None:
        what = "copy" if step.inputs else "-"
        return f"  {number:4d}  {step.node:<44.44} {step.op:<14.14} {what:<34.34} {outputs:<28.28} {step.note}"
    flops, moved = _work(step)
    text = (
        f"  {number:4d}  {step.node:<44.44} {step.op:<14.14} {step.kernel!s:<34.34} {outputs:<28.28} "
        f"{_amount(flops):>6}FLOP {_bytes(moved):>8}"
    )
    if seconds is not None:
        rate = f" {flops / seconds / 1e9:7.1f} GFLOP/s" if flops > 1e6 else ""
        text += f" {seconds * 1e3:9.3f} ms{rate}"
    return f"{text}  {step.note}".rstrip()


def explain_plan(
    choice: Choice,
    threads: int,
    precision: str,
    parts: Sequence[Part],
    compiled_stages: Iterable[tuple[int, Stage | DynamicStage | Images]],
    times: Mapping[int, float],
    *,
    rejected: bool,
) -> Explanation:
    """One block per stage: its kernels in order of execution, then its memory. times: seconds of steps, by their id."""
    lines = [f"backends {choice}, {threads} thread{'s' if threads != 1 else ''}, precision {precision}"]
    lines += [f"  not usable: {name}: {status.detail} (remedy: {status.remedy})" for name, status in choice.skipped]
    compiled: dict[int, list[Stage | DynamicStage | Images]] = {}
    for index, stage in compiled_stages:
        compiled.setdefault(index, []).append(stage)
    for index, part in enumerate(parts):
        kind = (
            "shapes known after running" if part.dynamic else "static shapes" if part.static else "shapes from values"
        )
        lines.append(f"stage {index + 1} of {len(parts)} ({kind}; {len(part.nodes)} nodes)")
        if index not in compiled:
            names = ", ".join(f"{n.op} '{n.name}'" for n in part.nodes[:8])
            lines.append(f"  compiled when its shapes are seen: {names}{', ...' if len(part.nodes) > 8 else ''}")
            continue
        stage = compiled[index][-1]
        if len(compiled[index]) > 1:
            lines.append(f"  ({len(compiled[index])} sizes compiled; the last one:)")
        if isinstance(stage, Images):
            lines.append(f"  {stage.count} images, one after the other; the types of one, the work and times of all:")
            stage = stage.one
        lines += _stage_lines(stage, times, rejected)
    total = sum(times.values())
    if times:
        lines.append(f"last profiled run: {total * 1e3:.3f} ms in {len(times)} steps")
    return Explanation("\n".join(lines))


def plan_html(
    heading: str, stages: Iterable[tuple[int, Stage | DynamicStage | Images]], times: Mapping[int, float]
) -> str:
    """The steps of the compiled stages as a table; times: as in ``explain_plan``."""
    from ..draw.tables import block, table

    steps: list[Step] = []
    for _, stage in stages:
        one = stage.one if isinstance(stage, Images) else stage
        steps += [one.step] if isinstance(one, DynamicStage) else one.lowering.steps
    rows = []
    for number, step in enumerate(steps[:_MOST_STEPS], 1):
        flops, moved = _work(step)
        seconds = times.get(id(step))
        rows.append(
            (
                number, step.node, step.op, "copy" if step.kernel is None else step.kernel,
                ", ".join(str(t) for _, t in step.outputs), _amount(flops) if flops else "", _bytes(moved) if moved else "",
                "" if seconds is None else f"{seconds * 1e3:.3f}", step.note,
            )
        )  # fmt: skip
    columns = ("", "step", "op", "kernel", "outputs", "FLOP", "moved", "ms", "")
    more = len(steps) - len(rows)
    rest = f"and {more:,} steps more: print(plan.explain())" if more else ""
    return block(heading, table(columns, rows, right=(0, 5, 6, 7)), rest)


def _work(step: Step) -> tuple[int, int]:
    """Float operations and bytes of a step, 0 where these cannot be counted: strings, unknown sizes, copies."""
    if step.query is None:
        return 0, 0
    countable = all(t.dtype != STRING and t.known for t in (*step.query.inputs, *step.query.outputs))
    return (step.flops, step.bytes_moved) if countable else (0, 0)


def _stage_lines(stage: Stage | DynamicStage, times: Mapping[int, float], rejected: bool) -> list[str]:
    steps = [stage.step] if isinstance(stage, DynamicStage) else stage.lowering.steps
    lines: list[str] = []
    for number, step in enumerate(steps, 1):
        lines.append(_step_line(number, step, times.get(id(step))))
        if rejected:
            lines += [f"          not {r}" for r in step.rejected]
    if isinstance(stage, Stage):
        views = len(stage.lowering.view_nodes)
        direct = sum(storage.nbytes for storage in stage.layout.direct.values())
        for name, size in (stage.layout.arenas or ({HOST.name: 0} if direct else {})).items():
            lines.append(
                f"  memory on {name}: arena {_bytes(size)} ({_bytes(stage.layout.unshared)} without sharing); "
                f"{views} views cost nothing"
            )
        if direct:
            lines.append(f"  feeds and results that are not copied: {_bytes(direct)}")
        flops = sum(s.flops for s in steps if s.query is not None and all(t.dtype != STRING for t in s.query.inputs))
        lines.append(f"  work: {_amount(flops)}FLOP in {sum(s.kernel is not None for s in steps)} kernels")
    return lines
