"""A context: memory for one run of a stage at a time, and the stage's steps bound to it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from ...kernels.devices import HOST, BoundSequence, Device, after_giving_back
from ...kernels.errors import DeviceError, KigraphError, OutOfMemoryError
from ...kernels.kernel import Run
from ...kernels.room import CHECKED, require
from ...kernels.tensor import STRING, Array, TensorType
from ..errors import located, unexpected
from ..evaluate import shared_values
from ..ir import Port
from ..packed.store import ConstantStore
from .direct import OpenStep, Results, address_of, array_at
from .lowering import Lowering, Step
from .memory import Layout, Place
from .partition import Part

__all__ = ["Context", "Timed"]

Value = np.ndarray[Any, Any]

#: From the values of the inputs, and the tensors outside of the arenas, to an output.
Outlet: TypeAlias = Callable[[Sequence[Value], Sequence[Value]], Value]


class Timed(NamedTuple):
    """A step that ran in a profiled run: when (time.perf_counter) and for how many seconds."""

    step: Step
    start: float
    seconds: float


class Compiled(Protocol):
    """What a context needs of a stage."""

    @property
    def part(self) -> Part: ...
    @property
    def lowering(self) -> Lowering: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def store(self) -> ConstantStore: ...
    @property
    def fed(self) -> tuple[tuple[Port, Device], ...]:
        """Inputs that are copied into the context's memory, and the devices of that."""
        ...

    @property
    def bound(self) -> frozenset[Port]:
        """Inputs that the steps read where they are; a context serves only the arrays that it is bound to."""
        ...

    @property
    def lent(self) -> frozenset[Port]:
        """Outputs that may be lent instead of copied."""
        ...


class Context:
    """Memory for one run at a time, and the steps bound to it; those of ``stage.bound`` to the arrays in ``inputs``, all in order."""

    def __init__(self, stage: Compiled, inputs: Sequence[Value] = ()) -> None:
        self.stage = stage
        given = dict(zip(stage.part.inputs, inputs, strict=False))
        lowering, layout = stage.lowering, stage.layout
        devices = {step.device.name: step.device for step in lowering.steps}
        devices.update({d.name: d for d in lowering.home.values()})
        _require_room(stage)
        self.buffers = {name: _arena(devices[name], size, lowering) for name, size in layout.arenas.items()}
        self.arrays: dict[Port, Array] = {}
        #: Numbers of the tensors that are outside of the arenas, by their storage, and by port for what lies in them.
        outside = {id(storage): number for number, storage in enumerate(layout.direct.values())}
        self.outside = {p: outside[id(x.storage)] for p, x in layout.places.items() if id(x.storage) in outside}
        for port, device in lowering.home.items():
            t = lowering.types[port]
            if t.dtype == STRING:
                self.arrays[port] = np.full(t.dims, b"", object)
            elif port in stage.bound:
                self.arrays[port] = given[port]
            elif port in layout.places and id(layout.places[port].storage) not in outside:
                self.arrays[port] = self.view(device, layout.places[port], t)
        self.opened: list[OpenStep] = []
        self.runs: list[Run] = []
        self.steps: list[Step] = []
        with shared_values():
            for i, step in enumerate(lowering.steps):
                run = self._run_of(i, step)
                if run is not None:
                    self.runs.append(run)
                    self.steps.append(step)
        self.devices = [d for d in devices.values() if d.name != HOST.name]
        self.stretches = self._stretches()
        at = {port: number for number, port in enumerate(stage.part.inputs)}
        #: Number of the input, what copies it, and where to.
        self.uploads = [(at[port], device.upload, self.arrays[port]) for port, device in stage.fed]
        #: What is outside of the arenas: numbers of inputs, and memory of results.
        self.direct = [at[port] if port in at else Results(lowering.types[port]) for port in layout.direct]
        self.outlets, self.lenders = self._outlets(lends=False), self._outlets(lends=True)

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

    def _run_of(self, index: int, step: Step) -> Run | None:
        """What runs a step: bound, or to be bound when it is known where the tensors outside of the arenas are."""
        ports = list(dict.fromkeys(p for p, _ in (*step.inputs, *step.outputs) if p in self.outside))
        if not ports or (step.query is None and not step.inputs):
            return self._bound(index, step)
        self.opened.append(OpenStep(index, step, ports, tuple(dict.fromkeys(self.outside[port] for port in ports))))
        return self.opened[-1]

    def _bound(self, index: int, step: Step) -> Run | None:
        try:
            return self._bind(index, step)
        except KigraphError as error:
            raise located(error, step.op, step.node) from error.__cause__
        except Exception as error:
            raise unexpected(error, step.op, step.node, f"cannot be bound to kernel {step.kernel}") from error

    def _bound_at(self, opened: OpenStep, addresses: Sequence[int]) -> Run:
        """A step bound to where the tensors outside of the arenas are."""
        places, types = self.stage.layout.places, self.stage.lowering.types
        for port in opened.ports:
            place, t = places[port], types[port]
            address = addresses[self.outside[port]] + place.offset
            self.arrays[port] = array_at(address, t.dtype, t.dims, place.strides)
        with shared_values():
            run = self._bound(opened.index, opened.step)
        for port in opened.ports:
            del self.arrays[port]
        assert run is not None
        return run

    def load(self, values: Sequence[Value]) -> list[Value]:
        """Puts the inputs into place; the arrays that must live until the run has ended: tensors outside of the arenas."""
        for number, upload, target in self.uploads:
            upload(values[number], target)
        used: list[Value] = []
        if self.direct:
            addresses: list[int] = []
            for source in self.direct:
                if isinstance(source, Results):
                    array, address = source.take()
                else:
                    array, flags = values[source], values[source].flags
                    if not (flags.c_contiguous and flags.aligned):
                        array = np.array(array, order="C")
                    address = address_of(array)
                used.append(array)
                addresses.append(address)
            for step in self.opened:
                step.point(addresses, self._bound_at)
        return used

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
            used = self.load(values)
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
                return [lend(values, used) for lend in self.lenders]
            return [outlet(values, used) for outlet in self.outlets]
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

    def _outlets(self, lends: bool) -> list[Outlet]:
        """What makes the outputs from the values of the inputs, the tensors outside of the arenas and the context's memory: fresh
        host arrays, or, of those that are lent, the memory itself."""
        inputs = {port: number for number, port in enumerate(self.stage.part.inputs)}
        given = {root for root in self.outside if root in inputs}
        outlets: list[Outlet] = []
        for port in self.stage.part.outputs:
            root = self.stage.lowering.root(port)
            outlets.append(self._outlet(port, root, inputs, lends and port in self.stage.lent, root in given))
            given.add(root)
        return outlets

    def _outlet(self, port: Port, root: Port, inputs: Mapping[Port, int], lent: bool, given: bool) -> Outlet:
        """given: whether the memory of an output that is outside of the arenas belongs to somebody else already."""
        lowering = self.stage.lowering
        dims = lowering.types[port].dims
        if root in lowering.literals:
            literal = lowering.literals[root]
            return lambda values, used: np.array(literal.array()).reshape(dims)
        if root in inputs and root not in lowering.home:
            number = inputs[root]
            return lambda values, used: np.array(values[number]).reshape(dims)  # a result shares no memory
        if root in self.outside:
            number, t, place = self.outside[root], lowering.types[root], self.stage.layout.places[root]
            if given or root not in self.stage.layout.direct:
                return lambda values, used: (
                    HOST.view(used[number], place.offset, t.dtype, t.dims, place.strides).copy().reshape(dims)
                )
            return (
                (lambda values, used: used[number])
                if dims == t.dims
                else lambda values, used: used[number].reshape(dims)
            )
        device, array = lowering.home[root], self.arrays[root]
        if lent and root not in inputs and device.name == HOST.name:
            return lambda values, used: array.reshape(dims)
        if device.name == HOST.name and array.flags.c_contiguous:
            dense = array.reshape(dims)
            return lambda values, used: dense.copy()
        return lambda values, used: device.download(array).reshape(dims)


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


def _require_room(stage: Compiled) -> None:
    """Refuses a run before anything is allocated, if its activations and results do not fit into main memory together."""
    lowering = stage.lowering
    results = sum(lowering.types[p].nbytes for p in stage.part.outputs)
    texts = sum(lowering.types[p].nbytes for p in lowering.home if lowering.types[p].dtype == STRING)
    arena = stage.layout.arenas.get(HOST.name, 0)
    wanted = arena + results + texts
    if wanted >= CHECKED:
        what = f"{len(lowering.steps)} steps{_largest(lowering, HOST)} need, for activations and results,"
        after_giving_back(lambda: require(wanted, what))
