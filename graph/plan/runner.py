"""Makes plans of one graph for fetches and feeds, keeps those used last, and runs them.

Branches whose predicates are fed or computed are decided here: a predicate that is computed is fetched first, with all
that the rest of the run reads of what leads to it, and its value is part of the key of the plan for the rest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...kernels.backends import Choice
from ...kernels.records import dataclass
from ...kernels.tensor import STRING, TensorType
from ..collecting import uncollected
from ..errors import GraphError, UnsupportedOpError
from ..evaluate import shared_values
from ..hints import shown
from ..ir import Graph, Port
from ..passes import fuse, has_chains, optimize, store_narrow
from .branches import Decision, branches, decide, with_effects
from .calls import Calls
from .cut import Cut, cut, retyped, specialize
from .effects import variable_of
from .late import divide
from .lowering import Options
from .lru import LRU
from .partition import Part, partition
from .plan import Plan

__all__ = ["Runner", "Wanted", "type_of_value"]

Value = np.ndarray[Any, Any]

_LOG = logging.getLogger("kigraph")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of which state of a graph."""

    graph: Graph
    fetches: tuple[Port, ...]
    targets: tuple[str, ...] = ()


def type_of_value(array: Value) -> TensorType:
    return TensorType(STRING if array.dtype == object else array.dtype, array.shape)


Read = Callable[[Collection[str]], Mapping[str, Value]]
#: Predicates with their values.
Predicates = tuple[tuple[Port, bool], ...]


def _no_variables(names: Collection[str]) -> Mapping[str, Value]:
    if names:
        raise UnsupportedOpError(
            f"variable {shown(min(names))} belongs to a graph inside of a node (of a loop, branch or function), where a session "
            "keeps none; make it an input of the node, or freeze the graph"
        )
    return {}


def _was_used(plan: Plan) -> bool:
    """Whether a call that found the plan by itself used it since this was last asked."""
    used, plan.used = plan.used, False
    return used


class Runner:
    """The plans of a graph that may grow, but not change otherwise. Thread-safe."""

    def __init__(self, choice: Choice, options: Options, skip: Collection[str], size: int) -> None:
        self.choice, self.skip, self._size = choice, tuple(skip), size
        self.options = replace(options, inner=self.inner)
        #: Calls of sessions; they hold plans, and go when one of these goes.
        self.calls = Calls(4 * size)
        self.cuts, self.plans, self.stages = LRU(size), LRU(size, _was_used, self.calls.clear), LRU(4 * size)
        self._decisions, self._inner = LRU(4 * size), LRU(4 * size)
        self._compiling = threading.Lock()
        self._branches: tuple[int, bool] = (0, False)

    @property
    def decides(self) -> bool:
        """Whether ``prepare`` may have to run what leads to predicates."""
        return self._branches[1]

    def inner(self, graph: Graph) -> Callable[[Sequence[Port], Mapping[Port, Value]], list[Value]]:
        """What runs a graph that is an attribute of a node, such as the body of a loop."""
        _, runner = self._inner.get(
            id(graph), lambda: (graph, Runner(self.choice, self.options, self.skip, self._size))
        )
        return lambda fetches, feeds: runner.run(Wanted(graph, tuple(fetches)), feeds)

    def run(self, wanted: Wanted, feeds: Mapping[Port, Value], read: Read = _no_variables) -> list[Value]:
        """The values of the fetches. ``read``: gives the values of variables; what is assigned to them is dropped."""
        plan, arrays = self.prepare(wanted, feeds, read)
        return self._run(plan, arrays, read)[: len(wanted.fetches)]

    def prepare(
        self, wanted: Wanted, feeds: Mapping[Port, Value], read: Read = _no_variables
    ) -> tuple[Plan, dict[Port, Value]]:
        """The plan, and what it is to be fed with. Runs what leads to predicates that are computed."""
        return self._prepare(wanted, feeds, read, len(feeds))

    def _prepare(
        self,
        wanted: Wanted,
        feeds: Mapping[Port, Value],
        read: Read,
        own: int,
        known: Predicates = (),
        done: frozenset[str] = frozenset(),
    ) -> tuple[Plan, dict[Port, Value]]:
        """own: how many of the feeds are the caller's. The others and ``known`` were computed, and the effects ``done``, before."""
        decision: Decision | None = None
        if self._has_branches(wanted.graph):
            feeds = dict(feeds)
            while True:
                key = (self._base(wanted, feeds, own), known)
                decision = self._decisions.get(
                    key,
                    lambda: decide(wanted.graph, wanted.fetches, wanted.targets, feeds, dict(known)),  # noqa: B023
                )
                if not decision.ask:
                    break
                found, done = self._predicates(wanted, decision, feeds, read, own, known, done)
                known += found
            if len(feeds) > own or known:
                whole = decide(wanted.graph, wanted.fetches, wanted.targets, tuple(feeds)[:own], dict(known))
                decision = with_effects(wanted.graph, decision, whole, feeds, done)
        plan = self._plan(wanted, feeds, decision, known, own)
        return plan, {plan.cut.feeds[p]: a for p, a in feeds.items()}

    def _has_branches(self, graph: Graph) -> bool:
        count, found = self._branches
        if count != len(graph):  # the graph only grows, so its length tells its version
            found = branches(graph)
            self._branches = (len(graph), found)
        return found

    def _predicates(
        self,
        wanted: Wanted,
        decision: Decision,
        feeds: dict[Port, Value],
        read: Read,
        own: int,
        known: Predicates,
        done: frozenset[str],
    ) -> tuple[Predicates, frozenset[str]]:
        """The values of the predicates that are asked for, and the nodes whose effects are done then.

        What was computed on the way is added to the feeds, but no variable: its readers see it as it is when they run.
        """
        values = {p: feeds[p] for p in decision.ask if p in feeds}
        ports = tuple(dict.fromkeys([*(p for p in decision.ask if p not in feeds), *decision.shared]))
        if len(values) < len(decision.ask):
            before = Wanted(wanted.graph, ports)
            plan, arrays = self._prepare(before, feeds, read, own, known, done)
            made = dict(zip(ports, self._run(plan, arrays, read), strict=False))
            done = plan.cut.effects
            values |= made
            feeds.update((p, v) for p, v in made.items() if variable_of(wanted.graph, p, feeds) is None)
        for port in decision.ask:
            value = values[port]
            if value.dtype != np.bool_ or value.shape:
                raise GraphError(f"predicate '{port}' is {type_of_value(value)}, expected a bool of shape ()")
        return tuple((port, bool(values[port])) for port in decision.ask), done

    @staticmethod
    def _run(plan: Plan, arrays: dict[Port, Value], read: Read) -> list[Value]:
        values = read(plan.cut.variables)
        arrays.update((port, values[name]) for name, port in plan.cut.variables.items())
        return plan.run(arrays)

    @staticmethod
    def _base(wanted: Wanted, feeds: Mapping[Port, Value], own: int) -> Hashable:
        # Element types matter where a fed op is unknown.
        given = tuple([(p, x.dtype) for p, x in feeds.items()])
        return (len(wanted.graph), wanted.fetches, wanted.targets, given, own)

    def _plan(
        self,
        wanted: Wanted,
        feeds: Mapping[Port, Value],
        decision: Decision | None,
        known: Predicates,
        own: int,
    ) -> Plan:
        base = (self._base(wanted, feeds, own), known)
        key = (base, tuple([a.shape for a in feeds.values()]))

        def make() -> Plan:
            types = {p: type_of_value(a) for p, a in feeds.items()}

            def prepare() -> tuple[Cut, Graph]:
                whole = cut(wanted.graph, wanted.fetches, wanted.targets, types, decision, tuple(types)[:own])
                return whole, optimize(whole.graph, self.skip)

            with self._compiling, shared_values(), uncollected():
                found: Plan | None = self.plans.find(key)  # another thread may just have made it
                if found is not None:
                    return found
                begin = time.perf_counter()
                prepared: tuple[Cut, Graph] = self.cuts.get(base, prepare)
                whole, graph = prepared
                given = {whole.feeds[p]: t for p, t in types.items()}
                graph = specialize(graph, given, self.skip)
                if self.options.fuses and has_chains(graph):
                    graph = fuse(retyped(graph, given), self.skip)
                if self.options.narrow:
                    graph = store_narrow(graph, self.skip)
                parts: tuple[Part, ...] = divide(graph, partition(graph, given), given, self.options)
                plan = Plan(whole, graph, parts, given, self.choice, self.options, self.stages)
                plan.compile_known()
                spent = (time.perf_counter() - begin) * 1e3
                _LOG.debug("compiled %r for %s in %.0f ms", plan, ", ".join(map(str, wanted.fetches[:5])), spent)
                return plan

        return self.plans.get(key, make)
