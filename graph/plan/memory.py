"""Where every tensor of a stage lies: concat by slices, lifetimes, one arena per device.

Concat by slices: a kernel that can write with a pitch writes straight into its part of the concat's buffer, so the
concat itself costs nothing. Arena: storages sorted by size, each at the lowest offset that is free during its life
(greedy by size, Pisarchyk and Lee 2020, arXiv:2001.03288).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ...kernels.contracts.concat import CONCAT, ConcatParams
from ...kernels.devices import ALIGNMENT
from ...kernels.types import STRING, NoConstants, Query, TensorType
from ..ir import Port
from .lowering import Lowering, Step

__all__ = ["Layout", "Place", "Storage", "lay_out"]

#: Steps; what lives longer is not listed step by step while the arena is packed.
_LONG = 64


@dataclass(slots=True)
class Storage:
    """A piece of an arena, in use from step ``first`` to step ``last``."""

    device: str
    nbytes: int
    first: int
    last: int
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a root lies: storage, byte offset in it, strides in bytes (None = dense)."""

    storage: Storage
    offset: int = 0
    strides: tuple[int, ...] | None = None


@dataclass(slots=True)
class Layout:
    """Where everything of a stage lies: tensors, workspaces per step, bytes per device."""

    places: dict[Port, Place]
    workspaces: dict[int, Storage]
    arenas: dict[str, int]
    #: Sum of all storages: what a plan without reuse would take.
    unshared: int


def lay_out(lowering: Lowering, inputs: Sequence[Port], outputs: Sequence[Port]) -> Layout:
    """Decides all addresses; removes concat steps that became free, and marks what it did in ``Step.note``."""
    kept = {lowering.root(p) for p in outputs}
    slices = _concat_slices(lowering, set(inputs))
    steps = lowering.steps
    first: dict[Port, int] = dict.fromkeys((p for p in inputs if p in lowering.home), -1)
    last: dict[Port, int] = dict.fromkeys(first, -1)
    for i, step in enumerate(steps):
        for port, _ in step.outputs:
            first[port] = i
            last[port] = i
        for port, _ in step.inputs:
            if port in lowering.home:
                last[port] = i
    for port in kept & set(first):
        last[port] = len(steps)
    storages: dict[Port, Storage] = {}
    for port in first:
        owner = port
        while owner in slices:
            owner = slices[owner][0]
        t = lowering.types[owner]
        if t.dtype == STRING:
            continue
        storage = storages.get(owner)
        if storage is None:
            storage = storages[owner] = Storage(lowering.home[owner].name, t.nbytes, first[port], last[port])
        storage.first = min(storage.first, first[port])
        storage.last = max(storage.last, last[port])
    places = {port: _place(lowering, port, slices, storages) for port in first if lowering.types[port].dtype != STRING}
    workspaces: dict[int, Storage] = {}
    for i, step in enumerate(steps):
        if step.prepared is not None and step.prepared.workspace_bytes:
            workspaces[i] = Storage(step.device.name, step.prepared.workspace_bytes, i, i)
    every = [*storages.values(), *workspaces.values()]
    return Layout(places, workspaces, _pack(every), sum(s.nbytes for s in every))


def _place(
    lowering: Lowering, port: Port, slices: dict[Port, tuple[Port, int]], storages: dict[Port, Storage]
) -> Place:
    if port not in slices:
        return Place(storages[port])
    offset, owner = 0, port
    while owner in slices:
        owner, add = slices[owner]
        offset += add
    t = lowering.types[port]
    pitch = lowering.types[owner].dims[-1] * t.dtype.itemsize
    if prod(t.dims[:-1]) == 1:
        return Place(storages[owner], offset)
    strides = [t.dtype.itemsize]
    for size in (1, *reversed(t.dims[1:-1])):
        pitch *= size
        strides.append(pitch)
    return Place(storages[owner], offset, tuple(reversed(strides)))


def _concat_slices(lowering: Lowering, inputs: set[Port]) -> dict[Port, tuple[Port, int]]:
    """Root -> (concat result in whose buffer it lies, byte offset); later concats first, so that they nest."""
    producer = {port: step for step in lowering.steps for port, _ in step.outputs}
    readers: dict[Port, list[Step]] = {}
    for step in lowering.steps:
        for port, _ in step.inputs:
            readers.setdefault(port, []).append(step)
    viewed = set(lowering.views.values())
    slices: dict[Port, tuple[Port, int]] = {}
    removed: set[int] = set()
    inserted: dict[int, list[Step]] = {}
    for at in range(len(lowering.steps) - 1, -1, -1):
        step = lowering.steps[at]
        if step.query is None or step.query.contract is not CONCAT:
            continue
        assert isinstance(step.query.params, ConcatParams)
        target, out = step.outputs[0]
        axis = step.query.params.axis % len(out.dims) if out.dims else 0
        if axis != len(out.dims) - 1 or out.dtype == STRING:
            continue
        ports = [p for p, _ in step.inputs]
        fits = [
            ports.count(p) == 1 and _can_slice(lowering, p, step, producer, readers, viewed, inputs, slices)
            for p in ports
        ]
        copier = step.kernel is not None and step.kernel.strided_outputs
        if not any(fits) or not (all(fits) or copier):
            continue
        offset = 0
        copies: list[Step] = []
        for number, ((port, t), fit) in enumerate(zip(step.inputs, fits, strict=True)):
            if fit:
                slices[port] = (target, offset)
            else:
                copies.append(_copy_into(step, port, t, number))
                slices[copies[-1].outputs[0][0]] = (target, offset)
                lowering.types[copies[-1].outputs[0][0]] = t
                lowering.home[copies[-1].outputs[0][0]] = step.device
            offset += t.dims[-1] * t.dtype.itemsize
        removed.add(at)
        inserted[at] = copies
    _replace_steps(lowering, removed, inserted)
    return slices


def _can_slice(
    lowering: Lowering,
    port: Port,
    concat: Step,
    producer: dict[Port, Step],
    readers: dict[Port, list[Step]],
    viewed: set[Port],
    inputs: set[Port],
    slices: dict[Port, tuple[Port, int]],
) -> bool:
    made = producer.get(port)
    if made is None or port in inputs or port in viewed or port in slices or made.device.name != concat.device.name:
        return False
    nested = made.query is not None and made.query.contract is CONCAT
    dense = prod(lowering.types[port].dims[:-1]) == 1
    others = [r for r in readers[port] if r is not concat]
    if dense and not others:
        return made.kernel is not None or nested
    if made.kernel is None or not made.kernel.strided_outputs:
        return False
    kernel_type = next(t for p, t in made.outputs if p == port)
    if kernel_type.dims[-1:] != lowering.types[port].dims[-1:]:  # a[..., 0]: the kernel's own last axis is another one
        return False
    return all(r.kernel is not None and r.kernel.strided_inputs for r in others)


def _copy_into(concat: Step, port: Port, t: TensorType, number: int) -> Step:
    """A concat of one input: copies it into its slice."""
    assert concat.query is not None
    assert concat.kernel is not None
    assert concat.kernel.prepare is not None
    query = Query(CONCAT, (t,), (t,), ConcatParams(len(t.dims) - 1), threads=concat.query.threads)
    piece = Port(f"{concat.node}[{number}]")  # the offset would not do: empty inputs share one
    return Step(
        concat.node, concat.op, [(port, t)], [(piece, t)], concat.device, query, concat.kernel,
        concat.kernel.prepare(query, NoConstants()), concat.rejected, note="copied into its slice",
    )  # fmt: skip


def _replace_steps(lowering: Lowering, removed: set[int], inserted: dict[int, list[Step]]) -> None:
    """Drops concat steps that became free; their results stay alive through their slices."""
    steps: list[Step] = []
    for i, step in enumerate(lowering.steps):
        if i in removed:
            marker = Step(
                step.node, step.op, [], step.outputs, step.device, note="free: its inputs are written in place"
            )
            steps += inserted[i]
            steps.append(marker)
        else:
            steps.append(step)
    lowering.steps[:] = steps


class _Placed:
    """Storages that have an offset, found by time: the short-lived ones by step, so that long chains pack in one go."""

    def __init__(self) -> None:
        self._at: dict[int, list[Storage]] = {}
        self._long: list[Storage] = []
        self._all: list[Storage] = []

    def add(self, storage: Storage) -> None:
        self._all.append(storage)
        if storage.last - storage.first > _LONG:
            self._long.append(storage)
            return
        for step in range(storage.first, storage.last + 1):
            self._at.setdefault(step, []).append(storage)

    def at_the_same_time(self, storage: Storage) -> list[Storage]:
        if storage.last - storage.first > _LONG:
            return [o for o in self._all if o.first <= storage.last and storage.first <= o.last]
        found = {id(o): o for o in self._long if o.first <= storage.last and storage.first <= o.last}
        for step in range(storage.first, storage.last + 1):
            found.update((id(o), o) for o in self._at.get(step, ()))
        return list(found.values())


def _pack(storages: Sequence[Storage]) -> dict[str, int]:
    """Offsets for all storages; the size of each device's arena."""
    arenas: dict[str, int] = {}
    placed: dict[str, _Placed] = {}
    for storage in sorted(storages, key=lambda s: (-s.nbytes, s.first)):
        size = -(-storage.nbytes // ALIGNMENT) * ALIGNMENT
        others = placed.setdefault(storage.device, _Placed())
        neighbours = sorted(others.at_the_same_time(storage), key=lambda o: o.offset)
        offset = 0
        for other in neighbours:
            if offset + size <= other.offset:
                break
            offset = max(offset, other.offset + -(-other.nbytes // ALIGNMENT) * ALIGNMENT)
        storage.offset = offset
        others.add(storage)
        arenas[storage.device] = max(arenas.get(storage.device, 0), offset + size)
    return arenas
