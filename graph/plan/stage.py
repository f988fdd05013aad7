"""A compiled stage: its steps, and contexts in which they are bound to memory and run."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple

import numpy as np

from ...kernels.devices import HOST, BoundSequence, Device, after_giving_back, may_give_back
from ...kernels.errors import DeviceError, KigraphError, OutOfMemoryError
from ...kernels.kernel import Run
from ...kernels.records import dataclass
from ...kernels.room import CHECKED, require
from ...kernels.tensor import STRING, Array, TensorType
from ..errors import located, unexpected
from ..evaluate import shared_values
from ..ir import Port
from ..packed.store import ConstantStore
from .lowering import Lowering, Step
from .memory import Layout, Place
from .partition import Part

__all__ = ["DynamicStage", "Stage", "Timed"]

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
    """Memory for one run at a time, and the steps bound to it; those of ``stage.bound`` to the arrays in ``inputs``, all in order."""

    def __init__(self, stage: Stage, inputs: Sequence[Value] = ()) -> None:
        self.stage = stage
        given = dict(zip(stage.part.inputs, inputs, strict=False))
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
                self.arrays[port] = given[port]
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
        at = {port: number for number, port in enumerate(stage.part.inputs)}
        #: Number of the input, what copies it, and where to.
        self.uploads = [(at[port], device.upload, self.arrays[port]) for port, device in stage.fed]
        self.outlets = [self._outlet(port, at) for port in stage.part.outputs]
        self.lenders = [self._outlet(port, at, port in stage.lent) for port in stage.part.outputs]

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

    def fits(self, values: Sequence[Value]) -> bool:
        """Whether the steps are bound to these very arrays, as far as they are bound to any."""
        stage = self.stage
        return all(
            self.arrays[port] is value
            for port, value in zip(stage.part.inputs, values, strict=True)
            if port in stage.bound
        )

    def run(self, values: Sequence[Value], profile: list[Timed] | None = None, lends: bool = False) -> list[Value]:
        """The outputs of the part for the values of its inputs, both in the part's order."""
        at = -1
        try:
            for number, upload, target in self.uploads:
                upload(values[number], target)
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
            if lends:
                return [lend(values) for lend in self.lenders]
            return [outlet(values) for outlet in self.outlets]
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

    def _outlet(self, port: Port, inputs: Mapping[Port, int], lent: bool = False) -> Callable[[Sequence[Value]], Value]:
        """What makes an output from the values of the inputs and the context's memory: a fresh host array, or, if it may be
        ``lent``, the memory itself."""
        lowering = self.stage.lowering
        root, t = lowering.root(port), lowering.types[port]
        if root in lowering.literals:
            literal = lowering.literals[root]
            return lambda values: np.array(literal.array()).reshape(t.dims)
        if root in inputs and root not in lowering.home:
            number = inputs[root]
            return lambda values: np.array(values[number]).reshape(t.dims)  # a result shares no memory
        device, array = lowering.home[root], self.arrays[root]
        if lent and root not in inputs and device.name == HOST.name:
            return lambda values: array.reshape(t.dims)
        if device.name == HOST.name and array.flags.c_contiguous:
            dense = array.reshape(t.dims)
            return lambda values: dense.copy()
        return lambda values: device.download(array).reshape(t.dims)


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
        ports = self.part
        values = [inputs[port] for port in ports.inputs]
        return dict(zip(ports.outputs, self.call(values, profile, loans), strict=True))

    def call(
        self,
        values: Sequence[Value],
        profile: list[Timed] | None = None,
        loans: list[Callable[[], None]] | None = None,
    ) -> list[Value]:
        """As ``run``, with the values of inputs and outputs in the order of the part."""
        try:
            context: _Context | None = self._idle.pop()
        except IndexError:  # asking before would need the lock, 0.1 us
            context = None
        if context is None or (self.bound and not context.fits(values)):
            context = _Context(self, values)
        results = context.run(values, profile, loans is not None)
        if loans is None:
            self._keep(context)
        else:
            loans.append(lambda: self._keep(context))
        return results

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
