"""The address of every tensor of a stage: concat by slices, lifetimes, one arena per device.

Concat by slices: a kernel that can write with a pitch writes straight into its part of the concat's buffer, so the
concat itself costs nothing; the reverse for a split (split_slices.py). Arena: storages sorted by size, each at the lowest offset that is free during its life
(greedy by size, Pisarchyk and Lee 2020, arXiv:2001.03288); where very many are live at once, in the order of time instead.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Sequence
from heapq import heappop, heappush
from math import prod

from ...kernels.contracts.concat import CONCAT, ConcatParams
from ...kernels.devices import align
from ...kernels.kernel import NoConstants, Query
from ...kernels.records import dataclass
from ...kernels.tensor import STRING, TensorType
from ..ir import Port
from .lowering import Lowering, Step
from .readers import Readers, needs_dense
from .split_slices import split_slices

__all__ = ["Layout", "Place", "Storage", "lay_out"]

#: Steps; a storage that lives longer is not listed step by step while the arena is packed.
_LONG = 64
#: Pairs of tensors with overlapping lifetimes up to which the arena is packed by size: about a second.
_MOST_NEIGHBOURS = 4_000_000


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
    """The address of a root: storage, byte offset in it, strides in bytes (None = dense)."""

    storage: Storage
    offset: int = 0
    strides: tuple[int, ...] | None = None


@dataclass(slots=True)
class Layout:
    """The memory layout of a stage: tensors, workspaces per step, bytes per device."""

    places: dict[Port, Place]
    workspaces: dict[int, Storage]
    arenas: dict[str, int]
    #: Sum of all storages: what a plan without reuse would take.
    unshared: int
    #: Roots that get memory in each run, which is in no arena.
    direct: dict[Port, Storage]


def lay_out(
    lowering: Lowering,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    bound: Collection[Port] = (),
    direct: Collection[Port] = (),
) -> Layout:
    """Decides all addresses; removes steps of concat and split that became free, and marks what it did in ``Step.note``.

    bound: inputs that are used where they are and get no address, unless a split hands out slices of them. direct: inputs and
    roots of outputs that get memory in each run, where they are no slices themselves.
    """
    kept = {lowering.root(p) for p in outputs}
    slices = _concat_slices(lowering, set(inputs))
    slices |= split_slices(lowering, kept, slices)
    steps = lowering.steps
    bound = set(bound) - {owner for owner, _ in slices.values()}
    first, last = _lifetimes(lowering, [p for p in inputs if p in lowering.home and p not in bound], kept)
    storages: dict[Port, Storage] = {}
    for port in first:
        owner = slices[port][0] if port in slices else port
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
    outside = {port: storages[port] for port in direct if port in storages and port not in slices}
    return _packed(places, workspaces, list(storages.values()), outside)


def _packed(
    places: dict[Port, Place], workspaces: dict[int, Storage], storages: list[Storage], outside: dict[Port, Storage]
) -> Layout:
    """All storages in arenas, but those outside of them."""
    for storage in outside.values():
        storage.offset = 0
    apart = {id(storage) for storage in outside.values()}
    every = [s for s in (*storages, *workspaces.values()) if id(s) not in apart]
    return Layout(places, workspaces, _pack(every), sum(s.nbytes for s in every), outside)


def _lifetimes(
    lowering: Lowering, inputs: Collection[Port], kept: Collection[Port]
) -> tuple[dict[Port, int], dict[Port, int]]:
    """The first and the last step of every port that is an input or made by a step; of what is kept the end."""
    first: dict[Port, int] = dict.fromkeys(inputs, -1)
    last: dict[Port, int] = dict.fromkeys(first, -1)
    for i, step in enumerate(lowering.steps):
        for port, _ in step.outputs:
            first[port] = last[port] = i
        last.update((port, i) for port, _ in step.inputs if port in last)
    last.update((port, len(lowering.steps)) for port in kept if port in last)
    return first, last


def _place(
    lowering: Lowering, port: Port, slices: dict[Port, tuple[Port, int]], storages: dict[Port, Storage]
) -> Place:
    if port not in slices:
        return Place(storages[port])
    owner, offset = slices[port]
    t = lowering.types[port]
    pitch = lowering.types[owner].dims[-1] * t.dtype.itemsize
    if prod(t.dims) == 0:
        return Place(storages[owner])  # NumPy refuses strides that reach beyond a buffer, of empty arrays too
    if prod(t.dims[:-1]) == 1:
        return Place(storages[owner], offset)
    strides = [t.dtype.itemsize]
    for size in (1, *reversed(t.dims[1:-1])):
        pitch *= size
        strides.append(pitch)
    return Place(storages[owner], offset, tuple(reversed(strides)))


def _concat_slices(lowering: Lowering, inputs: set[Port]) -> dict[Port, tuple[Port, int]]:
    """Root -> (concat result in whose buffer it is, byte offset); later concats first, so that they nest."""
    producer = {port: step for step in lowering.steps for port, _ in step.outputs}
    readers = Readers()
    for step in lowering.steps:
        readers.add(step)
    viewed = set(lowering.views.values())
    slices: dict[Port, tuple[Port, int]] = {}
    removed: set[int] = set()
    inserted: dict[int, list[Step]] = {}
    for at in range(len(lowering.steps) - 1, -1, -1):
        step = lowering.steps[at]
        if not _joins_last_axis(step):
            continue
        target, _ = step.outputs[0]
        ports = [p for p, _ in step.inputs]
        uses = Counter(ports)
        fits = [
            uses[p] == 1 and _can_slice(lowering, p, step, producer, readers, viewed, inputs, slices) for p in ports
        ]
        copier = step.kernel is not None and step.kernel.strided_outputs
        if not any(fits) or not (all(fits) or copier):
            continue
        owner, offset = slices.get(target, (target, 0))  # the concat itself may be in another one's buffer
        copies: list[Step] = []
        for number, ((port, t), fit) in enumerate(zip(step.inputs, fits, strict=True)):
            if fit:
                slices[port] = (owner, offset)
            else:
                copies.append(_copy_into(step, port, t, number))
                slices[copies[-1].outputs[0][0]] = (owner, offset)
                lowering.types[copies[-1].outputs[0][0]] = t
                lowering.home[copies[-1].outputs[0][0]] = step.device
            offset += t.dims[-1] * t.dtype.itemsize
        removed.add(at)
        inserted[at] = copies
    _replace_steps(lowering, removed, inserted)
    return slices


def _joins_last_axis(step: Step) -> bool:
    """Whether a step is a concat along the last axis, whose operands can be slices of its output."""
    if step.query is None or step.query.contract is not CONCAT:
        return False
    assert isinstance(step.query.params, ConcatParams)
    _, out = step.outputs[0]
    axis = step.query.params.axis % len(out.dims) if out.dims else 0
    return axis == len(out.dims) - 1 and out.dtype != STRING


def _can_slice(
    lowering: Lowering,
    port: Port,
    concat: Step,
    producer: dict[Port, Step],
    readers: Readers,
    viewed: set[Port],
    inputs: set[Port],
    slices: dict[Port, tuple[Port, int]],
) -> bool:
    made = producer.get(port)
    if made is None or port in inputs or port in viewed or port in slices or made.device.name != concat.device.name:
        return False
    nested = made.query is not None and made.query.contract is CONCAT
    dense = prod(lowering.types[port].dims[:-1]) == 1
    if dense and readers.count[port] == 1:
        return made.kernel is not None or nested
    if made.kernel is None or not made.kernel.strided_outputs:
        return False
    kernel_type = next(t for p, t in made.outputs if p == port)
    if kernel_type.dims[-1:] != lowering.types[port].dims[-1:]:  # a[..., 0]: the kernel's own last axis is another one
        return False
    # Every other reader of the slice must accept its pitch.
    return readers.dense[port] == needs_dense(concat)


def _copy_into(concat: Step, port: Port, t: TensorType, number: int) -> Step:
    """A concat of one input: copies it into its slice."""
    assert concat.query is not None
    assert concat.kernel is not None
    assert concat.kernel.prepare is not None
    query = Query(CONCAT, (t,), (t,), ConcatParams(len(t.dims) - 1), threads=concat.query.threads)
    piece = Port(f"{concat.node}[{number}]")  # the offset is not unique: empty inputs share one
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
    """Storages that have an offset, found by time: the short-lived ones by step, so that long chains are packed in one pass."""

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
    groups: dict[str, list[Storage]] = {}
    for storage in storages:
        groups.setdefault(storage.device, []).append(storage)
    return {
        device: (_pack_by_size if _neighbours(group) <= _MOST_NEIGHBOURS else _pack_by_time)(group)
        for device, group in groups.items()
    }


def _size(storage: Storage) -> int:
    return align(storage.nbytes)


def _neighbours(storages: Sequence[Storage]) -> int:
    """About how many pairs of storages are compared to pack them by size."""
    long, at = 0, Counter[int]()
    for storage in storages:
        if storage.last - storage.first > _LONG:
            long += 1
        else:
            at.update(range(storage.first, storage.last + 1))
    return long * len(storages) + sum(n * n for n in at.values())


def _pack_by_size(storages: Sequence[Storage]) -> int:
    """The largest first, each at the lowest offset that is free during its life; the bytes of all."""
    total = 0
    placed = _Placed()
    for storage in sorted(storages, key=lambda s: (-s.nbytes, s.first)):
        size = _size(storage)
        offset = 0
        for other in sorted(placed.at_the_same_time(storage), key=lambda o: o.offset):
            if offset + size <= other.offset:
                break
            offset = max(offset, other.offset + _size(other))
        storage.offset = offset
        placed.add(storage)
        total = max(total, offset + size)
    return total


def _pack_by_time(storages: Sequence[Storage]) -> int:
    """In the order of time, each into the smallest gap that holds it; the bytes of all. For graphs of very many tensors."""
    gaps = _Gaps()
    alive: list[tuple[int, int, int]] = []
    for storage in sorted(storages, key=lambda s: (s.first, -s.nbytes)):
        while alive and alive[0][0] < storage.first:
            _, offset, size = heappop(alive)
            gaps.free(offset, size)
        size = _size(storage)
        storage.offset = gaps.take(size) if size else 0
        if size:
            heappush(alive, (storage.last, storage.offset, size))
    return gaps.total


class _Gaps:
    """The gaps of an arena that grows at its end."""

    def __init__(self) -> None:
        self.total = 0
        self._by_size: list[tuple[int, int]] = []
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}

    def take(self, size: int) -> int:
        at = bisect_left(self._by_size, (size, -1))
        if at < len(self._by_size):
            found, offset = self._by_size[at]
            self._remove(offset, found)
            if found > size:
                self._add(offset + size, found - size)
            return offset
        offset = self.total
        if self.total in self._ends:  # the gap at the end grows
            offset = self._ends[self.total]
            self._remove(offset, self.total - offset)
        self.total = offset + size
        return offset

    def free(self, offset: int, size: int) -> None:
        after = self._starts.get(offset + size)
        if after is not None:
            self._remove(offset + size, after)
            size += after
        before = self._ends.get(offset)
        if before is not None:
            self._remove(before, offset - before)
            offset, size = before, size + offset - before
        self._add(offset, size)

    def _add(self, offset: int, size: int) -> None:
        insort(self._by_size, (size, offset))
        self._starts[offset] = size
        self._ends[offset + size] = offset

    def _remove(self, offset: int, size: int) -> None:
        del self._by_size[bisect_left(self._by_size, (size, offset))]
        del self._starts[offset], self._ends[offset + size]
