"""Results share no memory: not with each other, nor that of feeds, constants, variables, the arena or later runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.passes import PASSES
from kigraph.graph.session import Session

MakeSession = Callable[..., Session]
NDArray = np.ndarray[Any, Any]

FETCHES: dict[str, Callable[[Any, Any, Any, Any], list[Any]]] = {
    "one tensor twice": lambda x, y, c, v: [y, y],
    "identity of a placeholder": lambda x, y, c, v: [x, ops.identity(x), ops.identity(ops.identity(x))],
    "identity of a result": lambda x, y, c, v: [y, ops.identity(y), y],
    "reshaped views": lambda x, y, c, v: [y, ops.reshape(y, [-1]), ops.expand_dims(y, 0), ops.reshape(x, [12])],
    "slices": lambda x, y, c, v: [y, y[1:], y[:, :2], y[:], x[:], x[0]],
    "constants": lambda x, y, c, v: [c, c, ops.identity(c), ops.reshape(c, [-1]), ops.add(c, c)],
    "large folded constants": lambda x, y, c, v: [ops.tile(c, [100, 100]), ops.reshape(ops.tile(c, [100, 100]), [-1])],
    "variables": lambda x, y, c, v: [v, v, ops.identity(v), ops.reshape(v, [-1])],
    "assigned": lambda x, y, c, v: [ops.assign_add(v, c), v],
    "parts of a split": lambda x, y, c, v: [*ops.split(y, 2, 1), y, *ops.split(x, 2, 1)],
    "concat and what it is made of": lambda x, y, c, v: [ops.concat([y, ops.negative(x)], 1), y, ops.concat([y], 1)],
    "a placeholder alone": lambda x, y, c, v: [x],
    "casts to the same type": lambda x, y, c, v: [x, ops.cast(x, "float32"), ops.cast(c, "float32")],
    "no-op pads and tiles": lambda x, y, c, v: [x, ops.pad(x, [[0, 0], [0, 0]]), ops.tile(x, [1, 1]), ops.broadcast_to(x, [3, 4])],
    "transposes": lambda x, y, c, v: [x, ops.transpose(x, [0, 1]), ops.transpose(ops.transpose(x))],
    "shapes": lambda x, y, c, v: [ops.shape(x), ops.shape(x), ops.identity(ops.shape(x))],
    "a default": lambda x, y, c, v: [ops.placeholder_with_default(c, [3, 4]), c],
}  # fmt: skip


@pytest.mark.parametrize("passes", ["all passes", "no passes"])
@pytest.mark.parametrize("name", FETCHES)
def test_results_share_memory_with_nothing(graph: Graph, session: MakeSession, name: str, passes: str) -> None:
    value = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
    given = np.ones((3, 4), np.float32)
    x, c = ops.placeholder("float32", [3, 4]), ops.constant(given)
    v = ops.variable(np.full((3, 4), 7, np.float32))
    fetches = FETCHES[name](x, ops.relu(x), c, v)
    fed, seen = value.copy(), given.copy()
    # A variable starts anew in each session, so every run of an assignment has one of its own.
    one = session(skip_passes=[n for n, _ in PASSES] if passes == "no passes" else ())
    first = one.run(fetches, {x: value})
    kept = [np.array(r) for r in first]
    stored = one.variable_value(v)
    for a, b in itertools.combinations(first, 2):
        assert not np.shares_memory(a, b)
    for result in first:
        assert not np.shares_memory(result, value)
        assert not np.shares_memory(result, given)
        assert result.flags.writeable
    for at, result in enumerate(first):  # writing into one changes no other
        result[...] = 99
        for other in range(at + 1, len(first)):
            np.testing.assert_array_equal(first[other], kept[other])
    np.testing.assert_array_equal(value, fed)
    np.testing.assert_array_equal(given, seen)
    np.testing.assert_array_equal(one.variable_value(v), stored)
    again = one.run(fetches, {x: value})
    for a, b in itertools.product(first, again):
        assert not np.shares_memory(a, b)
    if name != "assigned":
        for a, b in zip(again, kept, strict=True):
            np.testing.assert_array_equal(a, b)
        value[...] = 5  # what was fed is the caller's: neither earlier nor later results see it
        for a, b in zip(again, kept, strict=True):
            np.testing.assert_array_equal(a, b)
    for result in again:
        result[...] = -1
    value[...] = fed
    other = session()
    if name != "assigned":
        for a, b in zip(other.run(fetches, {x: value}), kept, strict=True):
            np.testing.assert_array_equal(a, b)


def test_later_runs_do_not_write_into_earlier_results(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [None, 3])
    y = ops.reshape(ops.relu(x), [-1])
    one = session()
    results = [one.run([x, y], {x: np.full((2, 3), n, np.float32)}) for n in range(6)]
    for n, (a, b) in enumerate(results):
        assert (a == n).all()
        assert (b == n).all()


def test_a_variable_set_from_an_array_does_not_follow_it(graph: Graph, session: MakeSession) -> None:
    start = np.zeros(3, np.float32)
    v = ops.variable(start)
    one = session()
    start[...] = 1
    assert one.run(v).tolist() == [0, 0, 0]
    new = np.full(3, 2, np.float32)
    one.set_variables({v.name: new})
    new[...] = 3
    assert one.run(v).tolist() == [2, 2, 2]
    one.variable_value(v)[...] = 4
    assert one.run(v).tolist() == [2, 2, 2]
