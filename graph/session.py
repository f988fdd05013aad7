"""Session: runs parts of a graph. Feeds and fetches of any tensor, variables, several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels import settings
from ..kernels.backends import Choice, get_backend, resolve_choice
from ..kernels.errors import KigraphError, SettingsError
from ..kernels.logs import follow_setting
from ..kernels.numerics import resolve_numerics
from ..kernels.tuning import Tuner
from . import ir
from .builder import Graph, Tensor, get_default_graph
from .errors import FeedError, FetchError, GraphError, within_memory
from .feeds import feed_value, port_of
from .fetches import Fetches
from .hints import shown
from .ir import Port
from .packed.cache import PackedCache
from .packed.store import ConstantStore
from .passes import optimize, store_narrow
from .plan.calls import MISSED
from .plan.cut import cut
from .plan.lowering import Options
from .plan.plan import Plan, Timeline
from .plan.runner import Runner, Wanted
from .quantized import has_quantized, precision_text

if TYPE_CHECKING:
    from .profile import Profile

__all__ = ["Session"]

Value = np.ndarray[Any, Any]


class Session:
    """Runs a graph on the chosen backend.

    graph: default: the default graph. backend: a name (strict), a comma-separated list (order of preference) or
    'auto'; default: using_backend(), set_backend(), KIGRAPH_BACKEND, auto. threads: of one run; default:
    KIGRAPH_NUM_THREADS, else the CPUs this process may use. skip_passes: names of graph passes to leave out. tune: 'off',
    'cached' or 'full', how a layer's kernel is chosen where several could run; default: KIGRAPH_TUNE. winograd: whether
    convolutions may use algorithms that multiply less and round more; default: KIGRAPH_WINOGRAD (yes). precision: 'fp32',
    'tf32' or 'bf16', how float32 is multiplied, or 'int8', for a graph that is quantised; SettingsError if the first backend
    lacks it, or the graph is not; default: KIGRAPH_PRECISION (fp32). Both are fixed when the session is made. A quantised graph
    computes in its own integers in every precision (docs/precision.md).

    ``run`` may be called from several threads at once. Variables belong to the session and start with their initial
    values. Raises BackendError if the backend cannot be used.
    """

    def __init__(
        self,
        graph: Graph | None = None,
        backend: str | None = None,
        threads: int | None = None,
        *,
        skip_passes: Collection[str] = (),
        tune: str | None = None,
        winograd: bool | None = None,
        precision: str | None = None,
    ) -> None:
        self.graph = get_default_graph() if graph is None else graph
        if not isinstance(self.graph, Graph):
            raise GraphError(f"Session needs a Graph, got {type(graph).__name__}; a loaded model has it as .graph")
        follow_setting()
        settings.warn_of_unknown_names()
        self.choice: Choice = resolve_choice(backend)
        self.threads = settings.resolve_threads(threads)
        self._skip = tuple(skip_passes)
        store = self.graph.stores.get("constants")
        if store is None:
            store = self.graph.stores.setdefault("constants", ConstantStore(PackedCache.from_settings()))
        first = get_backend(self.choice.order[0])
        exact = bool(self.graph.metadata.get("exact_products"))
        self.numerics = resolve_numerics(
            winograd, precision, backend=first.name, offered=first.precisions(), lacks=first.lacks, exact=exact
        )
        if (
            self.numerics.precision == "int8"
            and not exact
            and not has_quantized(op.type for op in self.graph.operations)
        ):
            raise SettingsError(
                f"precision 'int8': the graph of {len(self.graph)} operations has no op on quantised tensors; expected a "
                "quantised model. Remedy: kigraph quantize MODEL --images FOLDER -o FILE, and run that file; or precision fp32 "
                "or bf16"
            )
        narrow = self.numerics.precision == "bf16" and getattr(first.load(), "STORES_BFLOAT16", False)
        self._options = Options(self.choice.order, self.threads, store, Tuner(tune), self.numerics, narrow=narrow)
        self._runner = self._new_runner()
        self._variables: dict[str, Value] = {}
        #: Variables whose arrays runs that assign are bound to, and copies of them for the other runs.
        self._bound: set[str] = set()
        self._copies: dict[str, Value] = {}
        #: Counts what was stored in variables; and fetches of runs with branches that assign.
        self._version = 0
        self._assigning: set[object] = set()
        self._state = threading.Lock()
        self._updating = threading.Lock()
        self._profiled: tuple[Plan, Timeline] | None = None
        self._closed = False
        self._scopes: list[AbstractContextManager[Graph]] = []
        self._narrower: Session | None = None

    @property
    def precision(self) -> str:
        """In what it multiplies: 'fp32', 'tf32', 'bf16', 'int8' for a quantised graph, or 'int8+bf16' with a rest in bf16."""
        return precision_text(self.numerics, (op.type for op in self.graph.operations))

    def with_threads(self, threads: int) -> Session:
        """A session for the same graph with the same choices, whose runs take ``threads`` threads; packed weights are shared.

        It has the variables as they are now, and without variables it is made once.
        """
        made = self._narrower
        if made is not None and made.threads == threads:
            return made
        other = copy(self)
        other.threads = settings.resolve_threads(threads)
        other._options = replace(self._options, threads=other.threads)
        other._runner = other._new_runner()
        other._state, other._updating = threading.Lock(), threading.Lock()
        other._bound, other._copies, other._assigning = set(), {}, set()
        with self._state:
            other._variables = {name: np.array(value) for name, value in self._variables.items()}
        other._profiled, other._scopes, other._narrower = None, [], None
        if not other._variables:
            self._narrower = other
        return other

    def _new_runner(self) -> Runner:
        return Runner(self.choice, self._options, self._skip, settings.PLAN_CACHE.get())

    def __enter__(self) -> Session:
        scope = self.graph.as_default()
        scope.__enter__()
        self._scopes.append(scope)
        return self

    def __exit__(self, *exc: object) -> None:
        self._scopes.pop().__exit__(None, None, None)
        self.close()

    def close(self) -> None:
        """Drops compiled plans and variables; a closed session refuses to run."""
        self._closed = True
        self._runner = self._new_runner()
        self._variables.clear()
        self._bound.clear()
        self._copies.clear()
        self._profiled = self._narrower = None

    def __repr__(self) -> str:
        return f"<Session of {len(self.graph)} operations on {self.choice}, {self.threads} threads>"

    # --- running ------------------------------------------------------------------------------------------------------

    def run(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, *, profile: bool = False) -> Any:
        """The values of ``fetches`` in the same nesting.

        fetches: a tensor, an operation, a name ('op:0'; 'op' means its first output), or any nesting of lists, tuples
        and dicts of these. Operations give None. feed_dict: tensor or name -> value; any tensor can be fed, and the
        operations that lead to it are then not run. profile: measures every step; see ``last_profile`` and ``plan().explain()``.

        Results are fresh NumPy arrays (scalars for rank 0: NumPy scalars, or bytes). Large ones are views of memory that is
        used again once nobody holds them: ``resize`` in place refuses them.
        Raises FetchError, FeedError, UnsupportedOpError, KernelError, RunError or ImageError.
        """
        if not (profile or self._closed):
            result = self._runner.calls.run(fetches, feed_dict, self._read_now)
            if result is not MISSED:
                return result
        return self._run(fetches, feed_dict, profile)

    @within_memory
    def _run(self, fetches: Any, feed_dict: Mapping[Any, Any] | None, profile: bool) -> Any:
        """A run that was not made before, or is wrong."""
        wanted = Fetches(self.graph, fetches)
        feeds = self._feeds(feed_dict)
        timeline = Timeline() if profile else None
        plan, results = self._execute(wanted, feeds, timeline)
        if timeline is not None:
            self._profiled = (plan, timeline)
        elif len(wanted.ports) and not (wanted.targets or self._runner.decides):
            self._runner.calls.remember(fetches, feed_dict, plan, feeds)
        return wanted.rebuild(results)

    @property
    def last_profile(self) -> Profile | None:
        """What the last ``run(..., profile=True)`` of this session measured, in whichever thread; None without one."""
        from .profile import Profile

        found = self._profiled
        return None if found is None else Profile.of(found[0], [found[1]])

    @within_memory
    def profile(
        self,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        *,
        runs: int = 20,
        warm_up: int = 2,
        progress: Callable[[int], None] | None = None,
    ) -> Profile:
        """Runs ``runs`` times, after ``warm_up`` runs that do not count, and reports where the time goes.

        fetches, feed_dict: as for ``run``; ops that assign variables assign every time. progress: called after each run
        with the number of those done.
        """
        from .profile import Profile

        if runs < 1 or warm_up < 0:
            raise FetchError(f"profile needs runs >= 1 and warm_up >= 0, got {runs} and {warm_up}")
        wanted, feeds = Fetches(self.graph, fetches), self._feeds(feed_dict)
        timelines = []
        for number in range(warm_up + runs):
            timeline = Timeline()
            plan, _ = self._execute(wanted, feeds, timeline)
            timelines.append(timeline)
            if progress is not None:
                progress(number + 1)
        return Profile.of(plan, timelines[warm_up:])

    def _execute(
        self, wanted: Fetches, feeds: Mapping[Port, Value], timeline: Timeline | None
    ) -> tuple[Plan, list[Value]]:
        key, count, version = (wanted.ports, wanted.targets), len(wanted.ports), self._version
        prepared: tuple[Plan, dict[Port, Value]] | None = None
        if key not in self._assigning:
            plan, arrays = prepared = self._prepared(wanted, feeds)
            if not plan.cut.assigned:
                values = self._read_now(plan.cut.variables)
                arrays.update((port, values[name]) for name, port in plan.cut.variables.items())
                if version == self._version or not self._runner.decides:
                    return plan, plan.run(arrays, record=timeline)[:count]
        # Runs that assign variables go one after the other, so that no update is lost; others run side by side.
        with self._updating:
            # What a predicate was computed from may be of before the last update.
            if prepared is None or (self._runner.decides and version != self._version):
                prepared = self._prepared(wanted, feeds)
            plan, arrays = prepared
            if plan.cut.assigned and self._runner.decides:  # what leads to its predicates runs once, under the lock
                self._assigning.add(key)
            return plan, self._shown(wanted, feeds, plan, self._computed(plan, arrays, count, timeline))

    def _shown(self, wanted: Fetches, feeds: Mapping[Port, Value], plan: Plan, results: list[Value]) -> list[Value]:
        """What a run that assigned gives for its fetches, before another one may assign."""
        return results

    def _computed(self, plan: Plan, arrays: dict[Port, Value], count: int, timeline: Timeline | None) -> list[Value]:
        """The first ``count`` outputs; the others are the new values of variables."""
        if not plan.cut.assigned:
            values = self._read_now(plan.cut.variables)
            arrays.update((port, values[name]) for name, port in plan.cut.variables.items())
            return plan.run(arrays, record=timeline)[:count]
        # Plans that assign are bound to the session's own arrays, which are written in between: here, and one run at a time.
        with self._state:
            arrays.update((port, self._own(name)) for name, port in plan.cut.variables.items())
        loans: list[Callable[[], None]] = []
        results = plan.run(arrays, record=timeline, loans=loans)
        with self._state:
            # Behind them come the outputs of ops that are run for their effect.
            for name, value in zip(plan.cut.assigned, results[count:], strict=False):
                self._store(name, value)
        for give_back in loans:
            give_back()
        return results[:count]

    @within_memory
    def plan(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Plan:
        """The compiled plan for such a run, without running it; see ``Plan.explain``."""
        feeds = self._feeds(feed_dict)
        return self._prepared(Fetches(self.graph, fetches), feeds)[0]

    @within_memory
    def optimized(self, fetches: Any, feeds: Sequence[Any] = (), trace: Any = None) -> ir.Graph:
        """The graph after the passes for these fetches and fed tensors; ``trace(name, graph)`` sees it after each.

        Chains of elementwise ops are put together later, for the shapes that are fed: ``plan().explain()`` shows them.
        """
        wanted = Fetches(self.graph, fetches)
        frozen = self.graph.freeze()
        ports = [port_of(self.graph, f) for f in feeds]
        whole = cut(frozen, wanted.ports, wanted.targets, {p: frozen.type_of(p) for p in ports})
        graph = optimize(whole.graph, self._skip, trace)
        return store_narrow(graph, self._skip, trace) if self._options.narrow else graph

    @within_memory
    def variable_value(self, variable: Tensor | str) -> Value:
        """The session's present value of a variable (a copy)."""
        port = self._variable(variable, "variable_value", FetchError)
        with self._state:
            return np.array(self._read(port.node))

    @within_memory
    def set_variables(self, values: Mapping[str, Any]) -> None:
        """Sets variables by name; all of them or, if one does not fit, none."""
        if not isinstance(values, Mapping):
            raise FeedError(f"set_variables needs a dict of names to values, got {type(values).__name__}")
        new: dict[str, Value] = {}
        for name, value in values.items():
            port = self._variable(name, "set_variables", FeedError)
            new[port.node] = np.array(feed_value(self.graph, port, value))
        with self._updating, self._state:
            for name, value in new.items():
                self._store(name, value)

    def _read(self, name: str) -> Value:
        """The present value of a variable, for holders of ``_state``."""
        if name not in self._variables:
            initial = self.graph.operation(name).attrs.get("initial_value")
            if not isinstance(initial, ir.Literal):
                raise FetchError(f"variable '{name}' has no initial value; freeze the graph, or feed '{name}:0'")
            self._variables[name] = np.array(initial.array(), order="C")
        return self._variables[name]

    def _own(self, name: str) -> Value:
        """The array of a variable for a run that assigns: from now on always this one, and nobody else holds it."""
        value = self._read(name)
        if name not in self._bound:
            self._bound.add(name)
            value = self._variables[name] = np.array(value, order="C")
        return value

    def _store(self, name: str, value: Value) -> None:
        """The new value of a variable, for holders of ``_updating`` and ``_state``."""
        self._version += 1
        self._copies.pop(name, None)
        if name in self._bound:
            np.copyto(self._variables[name], value, casting="no")
        else:
            self._variables[name] = np.array(value, order="C")

    # --- feeds --------------------------------------------------------------------------------------------------------

    def _variable(self, key: Any, where: str, error: type[KigraphError]) -> Port:
        """The port of a variable, by tensor or name."""
        port = port_of(self.graph, key, where, error)
        if self.graph.operation(port.node).type != "VariableV2":
            names = [op.name for op in self.graph.operations if op.type == "VariableV2"]
            listed = f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}" or "none"
            raise error(f"{where}: {shown(port.node)} is not a variable; variables of this graph: {listed}")
        return port

    def _feeds(self, feed_dict: Mapping[Any, Any] | None) -> dict[Port, Value]:
        if feed_dict is None:
            return {}
        if not isinstance(feed_dict, Mapping):
            raise FeedError(f"feed_dict must be a dict of tensors or names to values, got {type(feed_dict).__name__}")
        feeds: dict[Port, Value] = {}
        for key, value in feed_dict.items():
            port = port_of(self.graph, key)
            if port in feeds:
                raise FeedError(f"feed_dict feeds '{port}' twice")
            feeds[port] = feed_value(self.graph, port, value)
        return feeds

    # --- compiling ----------------------------------------------------------------------------------------------------

    def _prepared(self, wanted: Fetches, feeds: Mapping[Port, Value]) -> tuple[Plan, dict[Port, Value]]:
        """The plan, and its feeds. Variables that a predicate depends on are read as they are now."""
        if self._closed:
            raise FetchError("this session is closed; make a new one")
        return self._runner.prepare(Wanted(self.graph.freeze(), wanted.ports, wanted.targets), feeds, self._read_now)

    def _read_now(self, names: Collection[str]) -> dict[str, Value]:
        """Values of variables, which no later run changes."""
        with self._state:
            return {n: self._copy(n) if n in self._bound else self._read(n) for n in names}

    def _copy(self, name: str) -> Value:
        """A copy of a variable, made once for each value."""
        if name not in self._copies:
            self._copies[name] = np.array(self._read(name))
        return self._copies[name]
