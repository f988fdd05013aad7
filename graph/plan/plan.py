"""A plan: the stages of one set of fetches and feeds, one after the other."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import field
from typing import Any

import numpy as np

from ...kernels.backends import Choice
from ...kernels.records import dataclass
from ...kernels.tensor import STRING, TensorType
from ..evaluate import shared_values
from ..ir import Graph, Port
from ..opdefs import STAGED
from ..quantized import precision_text
from .context import Timed
from .cut import Cut
from .explain import Explanation, explain_plan, plan_html
from .images import Images, compile_part
from .lowering import Options, Step
from .lru import LRU
from .partition import Part
from .stage import DynamicStage, Stage

__all__ = ["Plan", "Timeline"]

_NUMBERS = itertools.count()

Value = np.ndarray[Any, Any]


@dataclass(slots=True)
class Timeline:
    """What happened in one profiled run: when it began, how long it took, and each step with the index of its stage."""

    start: float = 0.0
    seconds: float = 0.0
    steps: list[tuple[int, Timed]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Plan:
    """Compiled for one set of fetches, feeds (with their types), backends and threads; kept by a session.

    Stages with known shapes are compiled when the plan is made, the others when their shapes are first seen.
    """

    cut: Cut
    graph: Graph
    parts: tuple[Part, ...]
    feed_types: Mapping[Port, TensorType]
    choice: Choice
    options: Options
    #: Compiled stages of which there may be many (one per image size); shared by all plans of a session.
    stages: LRU
    #: Compiled stages of which there is one: what is known from the feeds alone. By index of the part.
    static: dict[int, Stage | DynamicStage | Images] = field(default_factory=dict)
    #: Tells plans apart in the keys of ``stages`` (an id() is used again when a plan is gone).
    number: int = field(default_factory=lambda: next(_NUMBERS))
    #: Whether it was run since it was last asked whether it may go.
    used: bool = False
    #: The last profiled run.
    timeline: Timeline | None = None
    #: By index of the part: values that no later part reads.
    _done: list[tuple[Port, ...]] = field(init=False)
    #: Whether an output is a constant, which may have to be computed.
    _gives_constants: bool = field(init=False)

    #: Variables that a run of this plan assigns and reads are read where they are, and their new values lent, not copied.
    _bound: frozenset[Port] = field(init=False)
    _lent: frozenset[Port] = field(init=False)

    def __post_init__(self) -> None:
        fetched = len(self.graph.outputs) - len(self.cut.assigned)
        self._bound = frozenset(self.cut.variables.values() if self.cut.assigned else ())
        self._lent = frozenset(self.graph.outputs[fetched:]) - frozenset(self.graph.outputs[:fetched])
        last = {p: i for i, part in enumerate(self.parts) for p in (*part.outputs, *part.inputs, *part.values)}
        for port in self.graph.outputs:
            last.pop(port, None)
        done: list[list[Port]] = [[] for _ in self.parts]
        for port, at in last.items():
            done[at].append(port)
        self._done = [tuple(ports) for ports in done]
        self._gives_constants = any(self.graph.literal(port) is not None for port in self.graph.outputs)

    def compile_known(self) -> None:
        """Compiles every stage whose input types are known from the feeds alone."""
        types: dict[Port, TensorType] = dict(self.feed_types)
        for index, part in enumerate(self.parts):
            if part.dynamic or not part.static:
                continue
            known = {p: types.get(p, self.graph.type_of(p)) for p in part.inputs}
            if all(t.known for t in known.values()) and not part.values:
                self.stage(index, known, {})

    def stage(
        self, index: int, types: Mapping[Port, TensorType], values: Mapping[Port, Value]
    ) -> Stage | DynamicStage | Images:
        """The compiled stage for given input types, from the cache or made now."""
        if index in self.static:
            return self.static[index]
        part = self.parts[index]
        if part.static and not part.values:
            return self.static.setdefault(index, self._compile(part, types, values))
        key = (
            self.number, index, tuple((t.dtype, t.shape) for t in types.values()),
            tuple((v.dtype.str, v.shape, v.tobytes()) for v in values.values()),
        )  # fmt: skip
        return self.stages.get(key, lambda: self._compile(part, types, values))

    def _compile(
        self, part: Part, types: Mapping[Port, TensorType], values: Mapping[Port, Value]
    ) -> Stage | DynamicStage | Images:
        with shared_values():
            made = self.options.store.compile_checked(
                lambda: compile_part(self.graph, part, types, values, self.options, self._bound, self._lent)
            )
        self.options.tuner.save()
        return made

    def run(
        self, feeds: Mapping[Port, Value], record: Timeline | None = None, loans: list[Callable[[], None]] | None = None
    ) -> list[Value]:
        """The values of the cut graph's outputs. ``feeds``: for every placeholder and variable port an array.

        record: makes it a profiled run, and gets the times of its steps. loans: gets functions to be called when the new values of
        variables, which are not copied then, have been stored.
        """
        env: dict[Port, Value] = dict(feeds)
        begin = time.perf_counter()
        for index, part in enumerate(self.parts):
            inputs = {p: env[p] for p in part.inputs}
            stage = self.static.get(index)
            if stage is None:
                types = {p: TensorType(STRING if a.dtype == object else a.dtype, a.shape) for p, a in inputs.items()}
                stage = self.stage(index, types, {p: env[p] for p in part.values})
            timed: list[Timed] | None = None if record is None else []
            env.update(stage.run(inputs, timed, loans))
            if record is not None and timed is not None:
                record.steps += [(index, t) for t in timed]
            del inputs
            for port in self._done[index]:
                env.pop(port, None)
        given: set[Port] = set()
        results: list[Value] = []
        with shared_values() if self._gives_constants else nullcontext():
            for port in self.graph.outputs:
                result = self._output(port, env, feeds)
                results.append(np.array(result) if port in given else result)  # x and identity(x) are one port here
                given.add(port)
        if record is not None:
            record.start, record.seconds = begin, time.perf_counter() - begin
            self.timeline = record
        return results

    def _output(self, port: Port, env: Mapping[Port, Value], feeds: Mapping[Port, Value]) -> Value:
        literal = self.graph.literal(port)
        if literal is not None:
            return np.array(literal.array())
        shared = port in feeds or self.graph.nodes[port.node].op in STAGED  # a loop may give back what it got
        return np.array(env[port]) if shared else env[port]

    def compiled(self) -> list[tuple[int, Stage | DynamicStage | Images]]:
        """The compiled stages that are in the cache, in order."""
        found = list(self.static.items())
        for entry in self.stages.items():
            (owner, index, *_), stage = entry
            if owner == self.number:
                found.append((index, stage))
        return sorted(found, key=lambda pair: pair[0])

    @property
    def threads(self) -> int:
        """How many threads a run may use."""
        return self.options.threads

    @property
    def precision(self) -> str:
        """In what its kernels multiply, as ``Session.precision`` says it of the whole graph."""
        return precision_text(self.options.numerics, (n.op for n in self.graph.nodes.values()))

    def kernel_steps(self) -> list[Step]:
        """The steps of all compiled stages that run a kernel."""
        stages = [stage for _, stage in self.compiled()]
        steps = [
            s for stage in stages for s in ([stage.step] if isinstance(stage, DynamicStage) else stage.lowering.steps)
        ]
        return [s for s in steps if s.kernel is not None and s.query is not None]

    @property
    def arena_bytes(self) -> int:
        """Memory for activations of one run, over all compiled stages and devices."""
        return sum(s.arena_bytes for _, s in self.compiled() if not isinstance(s, DynamicStage))

    def __repr__(self) -> str:
        stages, steps = len(self.parts), len(self.kernel_steps())
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"<Plan: {steps} kernel{'' if steps == 1 else 's'} in {stages} stage{'' if stages == 1 else 's'} on {self.choice}, {threads}, {self.precision}>"

    def _repr_html_(self) -> str:
        return plan_html(repr(self)[1:-1], self.compiled(), self._times())

    def _times(self) -> dict[int, float]:
        timeline = self.timeline
        return {} if timeline is None else {id(t.step): t.seconds for _, t in timeline.steps}

    def explain(self, *, rejected: bool = False) -> Explanation:
        """Which kernel every node got, with types, FLOPs, bytes and, after a profiled run, times.

        rejected: also says why the kernels that would have been preferred were not taken.
        """
        return explain_plan(
            self.choice, self.threads, self.precision, self.parts, self.compiled(), self._times(), rejected=rejected
        )
