"""Memory of a plan: nothing that is still needed is overwritten; concats are written in place; arenas are small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.ir import Port
from kigraph.graph.plan.memory import Storage, _pack
from kigraph.graph.plan.plan import Plan
from kigraph.graph.plan.stage import Stage
from kigraph.graph.session import Session
from kigraph.kernels.devices import ALIGNMENT, HostDevice
from kigraph.kernels.tensor import STRING

NDArray = np.ndarray[Any, Any]
MakeSession = Callable[..., Session]


def stages(plan: Plan) -> list[Stage]:
    return [s for _, s in plan.compiled() if isinstance(s, Stage)]


class Shadow:
    """Who wrote each byte of a stage's arena last; the steps are replayed with names in place of numbers."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.layout = stage.layout
        self.owner = np.full(sum(self.layout.arenas.values()) + ALIGNMENT, -1, np.int64)
        self.number = {port: i for i, port in enumerate(stage.lowering.home)}
        self.written_in_parts: set[Port] = set()

    def bytes_of(self, port: Port) -> NDArray:
        place, t = self.layout.places[port], self.stage.lowering.types[port]
        starts = place.storage.offset + place.offset + np.zeros(t.dims, np.int64)
        strides = place.strides or tuple(np.ndarray(t.dims, t.dtype).strides)
        for axis, (size, stride) in enumerate(zip(t.dims, strides, strict=True)):
            starts = starts + (np.arange(size) * stride).reshape([-1 if a == axis else 1 for a in range(len(t.dims))])
        found: NDArray = (starts[..., None] + np.arange(t.dtype.itemsize)).reshape(-1)
        assert found.size == 0 or (found.min() >= 0 and found.max() < self.owner.size)
        return found

    def tracked(self, port: Port) -> bool:
        return port in self.layout.places

    def write(self, port: Port) -> None:
        self.owner[self.bytes_of(port)] = self.number[port]

    def intact(self, port: Port) -> bool:
        found = self.owner[self.bytes_of(port)]
        if port not in self.written_in_parts:
            return bool(np.all(found == self.number[port]))
        ports = list(self.number)
        storage = self.layout.places[port].storage
        return all(o >= 0 and self.layout.places[ports[o]].storage is storage for o in np.unique(found))

    def replay(self) -> None:
        lowering = self.stage.lowering
        for port, _ in self.stage.fed:
            if self.tracked(port):
                self.write(port)
        for i, step in enumerate(lowering.steps):
            inputs = [p for p, _ in step.inputs if self.tracked(p)]
            outputs = [p for p, _ in step.outputs if self.tracked(p)]
            if step.kernel is None and not step.inputs:
                self.written_in_parts.update(outputs)
                continue
            assert all(map(self.intact, inputs)), f"step {i} ({step.node}) reads what was overwritten"
            if i in self.layout.workspaces:
                storage = self.layout.workspaces[i]
                assert storage.offset % ALIGNMENT == 0
                self.owner[storage.offset : storage.offset + storage.nbytes] = -2 - i
            for port in outputs:
                self.write(port)
            assert all(map(self.intact, [*inputs, *outputs])), f"step {i} ({step.node}) overwrites itself"
        for port in self.stage.part.outputs:
            root = lowering.root(port)
            assert not self.tracked(root) or self.intact(root), f"result {port} was overwritten"


def joined(rng: np.random.Generator, pool: list[Tensor], t: Tensor) -> Tensor | None:
    """``t`` and up to three tensors of the pool, concatenated; None if it would be wide."""
    like = [o for o in pool if o.shape and t.shape and o.shape[:3] == t.shape[:3] and o.dtype == t.dtype]
    some = [like[rng.integers(len(like))] for _ in range(int(rng.integers(1, 4)))]
    if sum(o.shape[3] or 0 for o in [t, *some] if o.shape) >= 40:
        return None
    return ops.concat([t, *some], int(rng.choice([3, -1])))


def branch(rng: np.random.Generator, kind: int, t: Tensor) -> Tensor:
    """Something that is made of ``t`` alone."""
    shape, floating = t.shape or (), t.dtype == np.float32
    match kind:
        case 3:
            return ops.concat([t, t], int(rng.integers(1, 3))) if shape[1] == 3 else ops.relu(t)
        case 4 if shape and floating:
            return ops.conv2d(t, rng.random((1, 2, shape[3] or 0, 3), np.float32) - 0.5, padding="SAME")
        case 4:
            return ops.negative(t)
        case 5:
            return ops.max_pool(t, 2, 1, "SAME") if floating else t + t
        case 6:
            return ops.reshape(ops.reshape(t, [-1]), [-1, *shape[1:]])
        case 7:
            return ops.cast(t, ["float64", "int32", "int8", "float32"][rng.integers(4)])
        case _:
            return t[:, :, :, : shape[3]] * t


def random_branches(seed: int, feeds: dict[Tensor, NDArray]) -> list[Tensor]:
    """Branches, nested concats along any axis, reads of what is concatenated, views, in four dtypes."""
    rng = np.random.default_rng(seed)
    x = ops.placeholder("float32", [None, 3, 2, 4])
    feeds[x] = rng.random((2, 3, 2, 4), np.float32) - 0.5
    pool = [x, ops.constant(rng.random((2, 3, 2, 2), np.float32))]
    for _ in range(int(rng.integers(3, 25))):
        t, kind = pool[rng.integers(len(pool))], int(rng.integers(9))
        made = joined(rng, pool, t) if kind < 3 else branch(rng, kind, t)
        if made is not None:
            pool.append(made)
    return pool


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), fetched=st.integers(0, 2**16 - 1))
def test_nothing_alive_is_overwritten(session: MakeSession, seed: int, fetched: int) -> None:
    with Graph().as_default() as graph:
        feeds: dict[Tensor, NDArray] = {}
        pool = random_branches(seed, feeds)
        wanted = [pool[-1], *(t for i, t in enumerate(pool) if fetched >> i % 16 & 1)]
        one = session(graph)
        found = one.run(wanted, feeds)
        plan = one.plan(wanted, feeds)
        for stage in stages(plan):
            Shadow(stage).replay()
        for f, w in zip(found, session(graph, backend="numpy", skip_passes=()).run(wanted, feeds), strict=True):
            np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-4)
        truth = [Session(graph, backend="numpy").run(t, feeds) for t in wanted]  # one at a time
        for f, w in zip(found, truth, strict=True):
            np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-4)
        for _ in range(2):
            poison(plan)
            for f, again in zip(found, one.run(wanted, feeds), strict=True):
                np.testing.assert_array_equal(f, again)


def poison(plan: Plan) -> None:
    """Fills all memory of a plan between runs with NaN (-1 for integers)."""
    for stage in stages(plan):
        for context in stage._idle:
            for buffer in context.buffers.values():
                buffer[...] = 0xFF


def test_the_shadow_notices_a_bad_layout(graph: Graph) -> None:
    x = ops.placeholder("float32", [4])
    y = ops.exp(ops.negative(x)) + x
    session = Session(graph, backend="numpy")
    (stage,) = stages(session.plan(y, {x: np.ones(4)}))
    Shadow(stage).replay()
    for place in stage.layout.places.values():
        place.storage.offset = 0
    with pytest.raises(AssertionError, match="overwrit"):
        Shadow(stage).replay()


def test_results_do_not_depend_on_what_memory_held(
    graph: Graph, session: MakeSession, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    allocate = HostDevice.allocate

    def poisoned(self: HostDevice, nbytes: int) -> NDArray:
        buffer = allocate(self, nbytes)
        buffer[...] = 0xFF
        return buffer

    monkeypatch.setattr(HostDevice, "allocate", poisoned)
    x = ops.placeholder("float32", [None, 8, 8, 3])
    y = x
    for width in (5, 16, 7):
        a = ops.relu(ops.conv2d(y, rng.random((3, 3, y.shape[3], width), np.float32) - 0.5, padding="SAME"))  # type: ignore[index]
        b = ops.avg_pool(y, 3, 1, "SAME")
        y = ops.concat([a, b, ops.max_pool(a, 3, 1, "SAME")], 3)
    y = ops.softmax(ops.matmul(ops.reduce_mean(y, [1, 2]), rng.random((y.shape[3], 11), np.float32)))  # type: ignore[index]
    one = session()
    for n in (1, 3, 1, 2, 3):
        value = rng.random((n, 8, 8, 3), np.float32)
        found = one.run(y, {x: value})
        assert np.isfinite(found).all()
        np.testing.assert_allclose(
            found, np.concatenate([one.run(y, {x: v[None]}) for v in value]), rtol=1e-4, atol=1e-6
        )
        poison(one.plan(y, {x: value}))


def steps_of(session: Session, fetch: Any, feeds: dict[Tensor, Any]) -> tuple[int, int, int]:
    """(concat steps that still copy all, copies into a slice, concats that cost nothing) after a checked run."""
    plan = session.plan(fetch, feeds)
    session.run(fetch, feeds)
    steps = [s for stage in stages(plan) for s in stage.lowering.steps if s.op == "ConcatV2"]
    for stage in stages(plan):
        Shadow(stage).replay()
    free = sum(s.kernel is None for s in steps)
    into = sum("copied into" in s.note for s in steps)
    return len(steps) - free - into, into, free


def test_concats_are_written_in_place(graph: Graph) -> None:
    x = ops.placeholder("float32", [2, 3, 3, 4])
    c = ops.constant(np.full((2, 3, 3, 2), 7, np.float32))
    a, b = ops.relu(x), ops.negative(x)
    value = np.linspace(-1, 1, 72, dtype=np.float32).reshape(2, 3, 3, 4)
    A, B, C, X = np.maximum(value, 0), -value, np.full((2, 3, 3, 2), 7, np.float32), value
    inner = ops.concat([a, b], 3)
    cases: list[tuple[Any, Any, tuple[int, int, int]]] = [
        (inner, np.concatenate([A, B], 3), (0, 0, 1)),
        (ops.concat([inner, ops.exp(x)], -1), np.concatenate([A, B, np.exp(X)], 3), (0, 0, 2)),
        (ops.concat([a, a, b], 3), np.concatenate([A, A, B], 3), (0, 2, 1)),
        (ops.concat([x, a], 3), np.concatenate([X, A], 3), (0, 1, 1)),
        (ops.concat([c, a, c], 3), np.concatenate([C, A, C], 3), (0, 2, 1)),
        (ops.concat([x, c], 3), np.concatenate([X, C], 3), (1, 0, 0)),
        (ops.concat([a, b], 1), np.concatenate([A, B], 1), (1, 0, 0)),
        (ops.concat([a], 3), A, (0, 0, 1)),
        ([inner, a, b], [np.concatenate([A, B], 3), A, B], (0, 0, 1)),
        ([inner, ops.exp(a)], [np.concatenate([A, B], 3), np.exp(A)], (0, 0, 1)),
        ([inner, ops.concat([b, a], 3)], [np.concatenate([A, B], 3), np.concatenate([B, A], 3)], (1, 0, 1)),
        (ops.concat([ops.reshape(a, [2, 3, 3, 4]), b], 3), np.concatenate([A, B], 3), (0, 1, 1)),
        (ops.reshape(inner, [-1]), np.concatenate([A, B], 3).reshape(-1), (0, 0, 1)),
        (ops.concat([ops.slice(a, [0, 0, 0, 1], [-1, -1, -1, 2]), b], 3), np.concatenate([A[..., 1:3], B], 3), (0, 0, 1)),
        (ops.concat([a[:, :, :1], b[:, :, 2:]], 3), np.concatenate([A[:, :, :1], B[:, :, 2:]], 3), (0, 0, 1)),
        (ops.concat([a[..., 0], b[..., 1]], 2), np.concatenate([A[..., 0], B[..., 1]], 2), (1, 0, 0)),
        (ops.concat([a[:, 0], b[:, 1]], 2), np.concatenate([A[:, 0], B[:, 1]], 2), (0, 0, 1)),
        (ops.concat(ops.split(a, 2, 3)[::-1], 3), np.concatenate([A[..., 2:], A[..., :2]], 3), (0, 0, 1)),
    ]  # fmt: skip
    for i, (fetch, wanted, counts) in enumerate(cases):
        session = Session(graph, backend="numpy")
        fetches, values = (fetch, wanted) if isinstance(fetch, list) else ([fetch], [wanted])
        for found, value_wanted in zip(session.run(fetches, {x: value}), values, strict=True):
            np.testing.assert_allclose(found, value_wanted, rtol=1e-6, err_msg=f"case {i}")
        assert steps_of(session, fetches, {x: value}) == counts, f"case {i}"


def test_nested_concats_are_written_in_place(graph: Graph, session: MakeSession) -> None:
    """Also where the inner one, or a part of the outer one, has to be copied: straight into its slice."""
    x = ops.placeholder("float32", [2, 3, 3, 4])
    value = np.linspace(-1, 1, 72, dtype=np.float32).reshape(2, 3, 3, 4)
    a, b, c = ops.relu(x), ops.negative(x), ops.exp(x)
    inner, copied = ops.concat([a, b], 3), ops.concat([x, x], 3)
    cases: list[tuple[Tensor, tuple[int, int, int]]] = [
        (ops.concat([c, inner], 3), (0, 0, 2)),
        (ops.concat([ops.concat([inner, c], 3), ops.square(x)], 3), (0, 0, 3)),
        (ops.concat([c, copied], 3), (1, 0, 1)),
        (ops.concat([c, x], 3), (0, 1, 1)),
    ]
    for i, (fetch, counts) in enumerate(cases):
        one = session()
        wanted = session(backend="numpy", skip_passes=[]).run(fetch, {x: value})
        np.testing.assert_allclose(one.run(fetch, {x: value}), wanted, rtol=1e-6, err_msg=f"case {i}")
        assert steps_of(one, fetch, {x: value}) == counts, f"case {i}"


def test_concats_of_other_kinds(graph: Graph, session: MakeSession) -> None:
    one = session()
    s = ops.placeholder("string", [None, 1])
    assert one.run(ops.concat([ops.string_join([s, "!"]), s], 1), {s: [["a"], ["b"]]}).tolist() == [
        [b"a!", b"a"],
        [b"b!", b"b"],
    ]
    i = ops.placeholder("int8", [None, 2])
    found = one.run(ops.concat([ops.negative(i), i * 2, i], 1), {i: [[1, 2], [3, 4]]})
    assert found.tolist() == [[-1, -2, 2, 4, 1, 2], [-3, -4, 6, 8, 3, 4]]
    d = ops.placeholder("float64", [None, 3])
    row = ops.concat([ops.sqrt(d), ops.relu(d)], 1)  # one row: every slice is dense
    assert one.run([row, ops.sqrt(d)], {d: [[1, 4, 9]]})[0].tolist() == [[1, 2, 3, 1, 4, 9]]
    e = ops.concat([ops.relu(d), ops.zeros([0, 3], "float64")], 0)
    assert one.run(e, {d: np.zeros((0, 3))}).shape == (0, 3)
    assert one.run(ops.concat([ops.relu(d[:, :0]), ops.relu(d)], 1), {d: [[1, 2, 3]]}).tolist() == [[1, 2, 3]]
    v = ops.placeholder("float32", [None])
    assert one.run(ops.concat([ops.relu(v), ops.negative(v)], 0), {v: [1, -2]}).tolist() == [1, 0, -1, 2]


def test_a_long_chain_needs_few_buffers(graph: Graph) -> None:
    x = ops.placeholder("float32", [1000])
    y = x
    for _ in range(100):
        y = ops.negative(ops.exp(y))
    session = Session(graph, backend="numpy")
    (stage,) = stages(session.plan(y, {x: np.zeros(1000)}))
    assert stage.layout.unshared >= 200 * 4000
    assert sum(stage.layout.arenas.values()) <= 3 * 4096


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(0, 1000)), max_size=60),
    st.sampled_from(["cpu", "both"]),
)
def test_packing(pieces: list[tuple[int, int, int]], where: str) -> None:
    storages = [
        Storage("gpu" if where == "both" and i % 3 == 0 else "cpu", n, first, first + life)
        for i, (first, life, n) in enumerate(pieces)
    ]
    arenas = _pack(storages)
    for i, a in enumerate(storages):
        assert a.offset % ALIGNMENT == 0
        assert a.offset + a.nbytes <= arenas[a.device]
        for b in storages[:i]:
            together = a.device == b.device and a.first <= b.last and b.first <= a.last
            apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
            assert apart or not together or not a.nbytes or not b.nbytes


def test_strings_have_no_place_in_the_arena(graph: Graph) -> None:
    s = ops.placeholder("string", [None])
    session = Session(graph, backend="numpy")
    y = ops.string_join([ops.string_join([s, "a"]), "b"])
    assert session.run(y, {s: ["x"]}).tolist() == [b"xab"]
    (stage,) = stages(session.plan(y, {s: ["x"]}))
    assert stage.layout.places == {}
    assert all(stage.lowering.types[p].dtype == STRING for p in stage.lowering.home)
