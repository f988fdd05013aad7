"""Folding of constants: right values, and time and memory that the graph's own constants account for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.graph import evaluate, ops
from kigraph.graph.builder import Graph
from kigraph.graph.ir import Key, Literal
from kigraph.graph.packed.cache import stable_key
from kigraph.graph.passes.fold_constants import fold_constants
from kigraph.graph.session import Session

NDArray = np.ndarray[Any, Any]
SIZE = 30_000  # float32: more than what is computed at once


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ops that are evaluated, as they are."""
    seen: list[str] = []
    inner = evaluate._evaluate

    def count(resolved: Any, inputs: Any) -> Any:
        seen.append(resolved.site.op)
        return inner(resolved, inputs)

    monkeypatch.setattr(evaluate, "_evaluate", count)
    return seen


def small(seed: int) -> NDArray:
    return np.random.default_rng(seed).integers(-8, 8, SIZE).astype(np.float32)


@pytest.mark.parametrize("count", [20, 60, 1000])
@pytest.mark.parametrize("fed", [False, True])
def test_a_sum_with_itself_many_times_over_is_computed_once_each(
    graph: Graph, seed: int, evaluations: list[str], count: int, fed: bool
) -> None:
    value = small(seed)
    x = ops.constant(value)
    for n in range(count):
        x = (
            ops.add(x, x)
            if n < 20
            else ops.maximum(x, x)
            if n % 2
            else ops.reshape(ops.concat([x[:5], x[5:]], 0), [-1])
        )
    p = ops.placeholder("float32", [SIZE])
    session = Session(graph, backend="numpy")
    found = session.run(ops.multiply(p, x) if fed else x, {p: np.ones(SIZE)} if fed else None)
    np.testing.assert_array_equal(found, value * np.float32(2.0**20))
    assert len(evaluations) < 12 * count


def test_values_with_many_readers(graph: Graph, seed: int) -> None:
    """A lattice: every value is read twice, and several of them are wanted."""
    a = small(seed)
    left, right = ops.constant(a), ops.constant(a[::-1].copy())
    l64, r64 = a.astype(np.float64), a[::-1].astype(np.float64)
    wanted, expected = [], []
    for n in range(40):
        left, right = ops.maximum(left, right), ops.minimum(ops.negative(left), right)
        l64, r64 = np.maximum(l64, r64), np.minimum(-l64, r64)
        if n % 7 == 0:
            wanted += [left, ops.transpose(ops.reshape(right, [100, 300])), ops.reduce_max(left)]
            expected += [l64, r64.reshape(100, 300).T, l64.max()]
    for found, value in zip(Session(graph, backend="numpy").run(wanted), expected, strict=True):
        np.testing.assert_array_equal(found, value)


def test_a_concat_of_itself_grows_no_further_than_a_bound(graph: Graph) -> None:
    x = ops.constant(np.ones(1000, np.float32))
    for _ in range(30):  # 4 TB
        x = ops.concat([x, ops.add(x, 0.0)], 0)
    kept = sum(n.attrs["value"].nbytes for n in Session(graph, backend="numpy").optimized(x) if n.op == "Const")
    assert kept <= 1 << 28


def test_a_large_value_from_a_small_graph_runs_as_steps(graph: Graph) -> None:
    x = ops.fill([1 << 22], 1.0)  # 16 MiB
    for _ in range(100):
        x = ops.add(x, x)
    whole = ops.reduce_max(x)
    optimized = Session(graph, backend="numpy").optimized(whole)
    assert sum(n.op == "AddV2" for n in optimized) == 100, "1.6 GB on the way to 4 bytes"
    assert Session(graph, backend="numpy").run(ops.reduce_max(ops.add(ops.fill([1 << 22], 1.0), 1.0))) == 2


def test_a_long_chain_needs_no_recursion(graph: Graph) -> None:
    x = ops.constant(np.ones(20_000, np.float32))
    for _ in range(3000):
        x = ops.negative(x)
    assert (Session(graph, backend="numpy").run(x) == 1).all()
    keys: list[Key] = [Key("first")]
    for _ in range(20_000):
        keys.append(Key("next", keys[-1], keys[-1]))
    assert len({hash(k) for k in keys}) == len(keys)
    assert stable_key(keys[-1]) is None, "it depends on no file"


def test_keys_are_equal_if_values_are(graph: Graph, seed: int) -> None:
    a, b = ops.constant(small(seed)), ops.constant(small(seed + 1))
    made = [
        ops.add(a, b), ops.add(b, a), ops.subtract(a, b), ops.add(a, a), ops.reshape(a, [1, -1]), ops.reshape(a, [-1, 1]),
        ops.transpose(ops.reshape(a, [100, 300])), ops.transpose(ops.reshape(a, [300, 100])), ops.tile(a, [1]), ops.tile(a, [2]),
        ops.reduce_sum(a, keepdims=True), ops.reduce_sum(a), *ops.split(a, 2),
    ]  # fmt: skip

    def keys() -> list[Any]:
        folded = fold_constants(graph.freeze().__class__(graph.freeze().nodes, tuple(t.port for t in made)))
        literals = [folded.literal(p) for p in folded.outputs]
        return [x.key for x in literals if x is not None]

    first, again = keys(), keys()
    assert first == again, "another fold of the same graph finds what was packed"
    assert len(set(first)) == len(first) == len(made)


def test_keys_tell_what_looks_alike_apart() -> None:
    assert (
        len({Key(1), Key(True), Key(1.0), Key("1"), Key((1,)), Key(0.0), Key(-0.0), Key(False), Key(), Key(())}) == 10
    )
    assert evaluate.shape_key(np.array([5], np.int32)) != evaluate.shape_key(np.array(5, np.int32))
    loose = [Literal.lazy(np.dtype(np.float32), (1,), lambda: np.ones(1, np.float32)) for _ in range(2)]
    assert loose[0].key != loose[1].key


def test_what_is_computed_is_dropped_after_it(graph: Graph, seed: int, evaluations: list[str]) -> None:
    """Inside shared_values() once, outside of it each time."""
    x = ops.negative(ops.constant(small(seed)))
    folded = Session(graph, backend="numpy").optimized(x)
    literal = folded.literal(folded.outputs[0])
    assert literal is not None
    evaluations.clear()
    with evaluate.shared_values():
        assert literal.array() is literal.array()
        assert not literal.array().flags.writeable
    assert len(evaluations) == 1
    assert literal.array() is not literal.array()
    assert len(evaluations) == 3
