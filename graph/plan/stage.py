"""A compiled stage: its steps, and contexts in which they are bound to memory and run."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple

import numpy as np

from ...kernels.devices import HOST, BoundSequence, Device, after_giving_back, may_give_back
from ...kernels.errors import DeviceError, KigraphError, OutOfMemoryError
from ...kernels.kernel import Query, Run
from ...kernels.records import dataclass
from ...kernels.registry import select
from ...kernels.room import CHECKED, require
from ...kernels.tensor import STRING, Array, TensorType
from ..errors import located, unexpected
from ..evaluate import shared_values
from ..ir import Graph, Port
from ..opdefs import STAGED, Known, resolve
from ..packed.store import ConstantStore
from .lowering import Lowering, Options, Step, lower_part
from .memory import Layout, Place, lay_out
from .partition import Part
from .staged import evaluator

__all__ = ["DynamicStage", "Stage", "Timed", "compile_stage"]

Value = np.ndarray[Any, Any]

#: Contexts that a stage keeps for later runs; more exist only while more threads run at once.
_KEEP = 4
#: Bytes of the largest context that is kept of a stage whose sizes may never come again (those of one photograph).
_KEEP_BYTES = 1 << 21


class Timed(NamedTuple):
    """A step that ran in a profiled run: when (time.perf_counter) and for how many seconds."""

    step: Step
    start: float
    seconds: float


class _Context:
    """Memory for one run at a time, and the steps bound to it; those of ``stage.bound`` to the arrays in ``inputs``."""

    def __init__(self, stage: Stage, inputs: Mapping[Port, Value] | None = None) -> None:
        self.stage = stage
        lowering, layout = stage.lowering, stage.layout
        devices = {step.device.name: step.device for step in lowering.steps}
        devices.update({d.name: d for d in lowering.home.values()})
        _require_room(stage)
        self.buffers = {name: _arena(devices[name], size, lowering) for name, size in layout.arenas.items()}
        self.arrays: dict[Port, Array] = {}
        for port, device in lowering.home.items():
            t = lowering.types[port]
            if t.dtype == STRING:
                self.arrays[port] = np.full(t.dims, b"", object)
            elif port in stage.bound:
                self.arrays[port] = (inputs or {})[port]
            elif port in layout.places:
                self.arrays[port] = self.view(device, layout.places[port], t)
        self.runs: list[Run] = []
        self.steps: list[Step] = []
        with shared_values():
            for i, step in enumerate(lowering.steps):
                try:
                    run = self._bind(i, step)
                except KigraphError as error:
                    raise located(error, step.op, step.node) from error.__cause__
                except Exception as error:
                    raise unexpected(error, step.op, step.node, f"cannot be bound to kernel {step.kernel}") from error
                if run is not None:
                    self.runs.append(run)
                    self.steps.append(step)
        self.devices = [d for d in devices.values() if d.name != HOST.name]
        self.stretches = self._stretches()

    def _stretches(self) -> list[tuple[int, BoundSequence]]:
        """The steps in order, those that follow each other on one device as one call: (number of the first, call)."""
        found: list[tuple[int, BoundSequence]] = []
        for (device, copies), group in itertools.groupby(
            range(len(self.runs)), lambda i: (self.steps[i].device.name, self.steps[i].query is None)
        ):
            numbers = list(group)
            runs = [self.runs[i] for i in numbers]
            owner = HOST if copies else next((d for d in self.devices if d.name == device), HOST)
            found.append((numbers[0], owner.sequence(runs)))
        return found

    def view(self, device: Device, place: Place, t: TensorType) -> Array:
        return device.view(
            self.buffers[place.storage.device], place.storage.offset + place.offset, t.dtype, t.dims, place.strides
        )

    def array(self, port: Port, t: TensorType, device: Device) -> Array:
        """A root as an array of the given type (the same elements, another shape for views)."""
        literal = self.stage.lowering.literals.get(port)
        array = self.stage.store.on_device(literal, device) if literal is not None else self.arrays[port]
        return array if array.shape == t.dims else array.reshape(t.dims)

    def _bind(self, index: int, step: Step) -> Run | None:
        if step.query is None:
            if not step.inputs:
                return None  # a concat that became free
            (source, t), (target, _) = step.inputs[0], step.outputs[0]
            home, device = self.stage.lowering.home[source], step.device
            a, b = self.array(source, t, home), self.array(target, t, device)
            if home.name == HOST.name:
                return lambda: device.upload(a, b)
            return lambda: HOST.upload(home.download(a), b)
        assert step.prepared is not None
        inputs = [None if p.node == "" else self.array(p, t, step.device) for p, t in step.inputs]
        outputs = [self.array(p, t, step.device) for p, t in step.outputs]
        workspace = None
        if index in self.stage.layout.workspaces:
            storage = self.stage.layout.workspaces[index]
            workspace = step.device.view(
                self.buffers[step.device.name], storage.offset, np.dtype(np.uint8), (storage.nbytes,)
            )
        return step.prepared.bind(inputs, outputs, workspace)

    def fits(self, inputs: Mapping[Port, Value]) -> bool:
        """Whether the steps are bound to these very arrays, as far as they are bound to any."""
        return all(self.arrays[port] is inputs[port] for port in self.stage.bound)

    def run(self, inputs: Mapping[Port, Value], profile: list[Timed] | None, lends: bool) -> dict[Port, Value]:
        at = -1
        try:
            for port, device in self.stage.fed:
                device.upload(inputs[port], self.arrays[port])
            if profile is None:
                for first, stretch in self.stretches:
                    try:
                        stretch()
                    except Exception:
                        at = first + stretch.at
                        raise
            else:
                for at, run in enumerate(self.runs):
                    start = time.perf_counter()
                    run()
                    for device in self.devices:
                        device.synchronize()
                    profile.append(Timed(self.steps[at], start, time.perf_counter() - start))
            at = len(self.runs)
            lent = self.stage.lent if lends else ()
            return {port: self._result(port, inputs, port in lent) for port in self.stage.part.outputs}
        except KigraphError as error:
            raise self._located(error, at, checked=profile is not None) from error.__cause__
        except Exception as error:
            if not 0 <= at < len(self.steps):
                raise
            step = self.steps[at]
            raise unexpected(error, step.op, step.node, f"failed in kernel {step.kernel}") from error

    def _located(self, error: KigraphError, at: int, checked: bool) -> KigraphError:
        """The error with the step that raised it, or, on an asynchronous device, with the steps that may have.

        at: index of the step, -1 for the upload of the feeds, the number of steps for the results. checked: the host
        waited for the device after each step.
        """
        inside = 0 <= at < len(self.steps)
        if isinstance(error, DeviceError) and error.deferred and not (checked and inside):
            if inside:
                place = (
                    f"step {at + 1} of {len(self.steps)}, {self.steps[at].op} '{self.steps[at].node}'; raised by it or"
                )
            else:
                place = f"{'the copy of the feeds' if at < 0 else 'the copy of the results'}; raised"
            error.args = (f"reported at {place} by one of the steps before it, of this run or of another: {error}",)
            return error
        return located(error, self.steps[at].op, self.steps[at].node) if inside else error

    def _result(self, port: Port, inputs: Mapping[Port, Value], lent: bool) -> Value:
        """An output as a fresh host array, or if it may be ``lent`` as it is in the context's memory."""
        lowering = self.stage.lowering
        root, t = lowering.root(port), lowering.types[port]
        if root in lowering.literals:
            return np.array(lowering.literals[root].array()).reshape(t.dims)
        if root in inputs and root not in lowering.home:
            return np.array(inputs[root]).reshape(t.dims)  # a result shares no memory
        if lent and root not in inputs and lowering.home[root].name == HOST.name:
            there: Value = self.arrays[root].reshape(t.dims)
            return there
        return lowering.home[root].download(self.arrays[root]).reshape(t.dims)


def _arena(device: Device, nbytes: int, lowering: Lowering) -> Array:
    """Memory for the activations of one run."""
    try:
        return device.allocate(max(nbytes, 64))
    except OutOfMemoryError as error:
        error.args = (
            f"the activations of {len(lowering.steps)} steps do not fit into the memory of {device.name}"
            f"{_largest(lowering, device)}: {error}",
        )
        raise


def _largest(lowering: Lowering, device: Device) -> str:
    """ " (the largest is ...)" with node, type and bytes, if there is anything."""
    found = [
        (t.nbytes, f"{t} of {step.op} '{step.node}'")
        for step in lowering.steps
        for port, t in step.outputs
        if device.name == lowering.home[port].name
    ]
    found += [
        (step.prepared.workspace_bytes, f"the workspace of {step.op} '{step.node}'")
        for step in lowering.steps
        if step.prepared is not None and step.device.name == device.name
    ]
    nbytes, what = max(found, default=(0, ""))
    return f" (the largest is {what}, {nbytes:,} bytes)" if what else ""


def _require_room(stage: Stage) -> None:
    """Refuses a run before anything is allocated, if its activations and results do not fit into main memory together."""
    lowering = stage.lowering
    results = sum(lowering.types[p].nbytes for p in stage.part.outputs)
    texts = sum(lowering.types[p].nbytes for p in lowering.home if lowering.types[p].dtype == STRING)
    arena = stage.layout.arenas.get(HOST.name, 0)
    wanted = arena + results + texts
    if wanted >= CHECKED:
        what = f"{len(lowering.steps)} steps{_largest(lowering, HOST)} need, for activations and results,"
        after_giving_back(lambda: require(wanted, what))


@dataclass(slots=True, eq=False, weakref_slot=True)
class Stage:
    """One part of a plan for given input types: chosen kernels and a memory layout. Runs from several threads."""

    part: Part
    lowering: Lowering
    layout: Layout
    store: ConstantStore
    fed: tuple[tuple[Port, Device], ...]
    #: Inputs that the steps read where they are; a context serves only the arrays that it is bound to.
    bound: frozenset[Port] = frozenset()
    #: Outputs that may be lent instead of copied.
    lent: frozenset[Port] = frozenset()
    #: Contexts that are kept for later runs.
    keeps: int = _KEEP
    _idle: list[_Context] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        may_give_back(self)

    def give_back(self) -> None:
        """Drops the contexts that no run uses."""
        with self._lock:
            self._idle.clear()

    @property
    def arena_bytes(self) -> int:
        """Memory for activations of one run, over all devices."""
        return sum(self.layout.arenas.values())

    def run(
        self,
        inputs: Mapping[Port, Value],
        profile: list[Timed] | None = None,
        loans: list[Callable[[], None]] | None = None,
    ) -> dict[Port, Value]:
        """The part's outputs as fresh host arrays.

        loans: gets a function that is to be called when the outputs in ``lent``, which are not copied then, are no longer needed.
        """
        with self._lock:
            context = self._idle.pop() if self._idle else None
        if context is None or not context.fits(inputs):
            context = _Context(self, inputs)
        result = context.run(inputs, profile, loans is not None)
        if loans is None:
            self._keep(context)
        else:
            loans.append(lambda: self._keep(context))
        return result

    def _keep(self, context: _Context) -> None:
        """Keeps a context for the next run."""
        with self._lock:
            if len(self._idle) < self.keeps and (self.part.static or self.arena_bytes <= _KEEP_BYTES):
                self._idle.append(context)


@dataclass(slots=True)
class DynamicStage:
    """One op whose output shapes are known only after it ran; it allocates its own outputs."""

    part: Part
    evaluate: Callable[[Sequence[Value]], tuple[Value, ...]]
    step: Step
    ports: tuple[Port, ...]
    literals: Mapping[Port, Value]

    def run(
        self,
        inputs: Mapping[Port, Value],
        profile: list[Timed] | None = None,
        loans: list[Callable[[], None]] | None = None,
    ) -> dict[Port, Value]:
        (node,) = self.part.nodes
        start = time.perf_counter()
        arrays = [self.literals[p] if p in self.literals else inputs[p] for p in self.ports]
        try:
            outputs = self.evaluate(arrays)
        except KigraphError as error:
            raise located(error, node.op, node.name) from error.__cause__
        except Exception as error:
            raise unexpected(error, node.op, node.name, f"failed in kernel {self.step.kernel}") from error
        if profile is not None:
            profile.append(Timed(self.step, start, time.perf_counter() - start))
        return dict(zip(node.ports, outputs, strict=False))


def compile_stage(
    graph: Graph,
    part: Part,
    types: Mapping[Port, TensorType],
    values: Mapping[Port, Value],
    options: Options,
    bound: Collection[Port] = (),
    lent: Collection[Port] = (),
) -> Stage | DynamicStage:
    """Chooses kernels and lays out memory for given input types (all shapes known).

    bound: inputs that are the same dense arrays in every run; lent: outputs that need not be copied. Both where they can.
    """
    if part.dynamic:
        return _compile_dynamic(graph, part, types, values, options)
    lowering = lower_part(graph, part, types, values, options)
    home = lowering.home
    there = {p for p in bound if p in part.inputs and p in home and home[p].name == HOST.name}
    there = {p for p in there if lowering.types[p].dtype != STRING}
    layout = lay_out(lowering, part.inputs, part.outputs, there)
    there -= set(layout.places)
    fed = tuple((p, home[p]) for p in part.inputs if p in home and p not in there)
    return Stage(part, lowering, layout, options.store, fed, frozenset(there), frozenset(lent) & set(part.outputs))


def _compile_dynamic(
    graph: Graph, part: Part, types: Mapping[Port, TensorType], values: Mapping[Port, Value], options: Options
) -> DynamicStage:
    (node,) = part.nodes
    literals = {p: x.array() for p in node.inputs if (x := graph.literal(p)) is not None}
    if node.op in STAGED:
        step = Step(
            node.name, node.op, [], list(zip(node.ports, node.outputs, strict=True)), HOST, note="a stage of its own"
        )
        return DynamicStage(part, evaluator(node, options), step, node.inputs, literals)
    known = Known({**types, **{p: TensorType(a.dtype, a.shape) for p, a in literals.items()}}, {**values, **literals})
    resolved = resolve(known.site(node))
    params, ports = resolved.params, resolved.pick(node.inputs)
    query = Query(
        resolved.contract,
        resolved.inputs,
        resolved.written(),
        params,
        threads=options.threads,
        numerics=options.numerics,
    )
    selection = select(query, options.order)
    kernel = selection.kernel
    evaluate = kernel.evaluate
    assert evaluate is not None
    step = Step(
        node.name, node.op, list(zip(ports, query.inputs, strict=True)),
        list(zip(node.ports, query.outputs, strict=False)), HOST, query, kernel, None, selection.rejected,
    )  # fmt: skip
    return DynamicStage(part, lambda arrays: evaluate(arrays, params), step, ports, literals)
