"""Runs that assign read variables where the session keeps them, and other runs and callers never see that."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import kigraph as ki

BACKENDS = [b for b in ki.available_backends() if b != "cupy"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_variables_exchange_their_values(backend: str) -> None:
    with ki.Graph().as_default() as graph:
        a, b = ki.variable(np.arange(5.0), name="a"), ki.variable(-np.arange(5.0), name="b")
        swap = ki.group(ki.assign(a, b), ki.assign(b, a))
        rotate = ki.group(ki.assign(a, a * 2.0 + b), ki.assign(b, a))
    session = ki.Session(graph, backend=backend)
    x, y = np.arange(5.0), -np.arange(5.0)
    for number in range(5):
        session.run(swap if number % 2 else rotate)
        x, y = (y, x) if number % 2 else (x * 2 + y, x)
        np.testing.assert_array_equal(session.variable_value(a), x)
        np.testing.assert_array_equal(session.run(b), y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_keep_their_values_when_later_runs_assign(backend: str) -> None:
    with ki.Graph().as_default() as graph:
        v = ki.variable(np.zeros(100, np.float32), name="v")
        new = ki.assign_add(v, np.ones(100, np.float32))
    session = ki.Session(graph, backend=backend)
    kept: list[Any] = []
    for _ in range(4):
        kept.append((session.run([v, new]), session.run(v), session.variable_value(v)))
    for number, ((before, assigned), after, value) in enumerate(kept):
        assert (before == number).all()
        for found in (assigned, after, value):
            assert (found == number + 1).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_slices_of_a_variable_and_reshaped_ones(backend: str) -> None:
    start = np.random.default_rng().standard_normal((3, 8)).astype(np.float32)
    with ki.Graph().as_default() as graph:
        v = ki.variable(start, name="v")
        left, right = ki.split(v, 2, 1)
        joined = ki.concat([ki.relu(right), left], 1)
        step = ki.assign(v, ki.reshape(ki.reshape(joined, [24]), [3, 8]))
    session = ki.Session(graph, backend=backend)
    want = start
    for _ in range(3):
        session.run(step)
        want = np.concatenate([np.maximum(want[:, 4:], 0), want[:, :4]], 1)
        np.testing.assert_array_equal(session.run(v), want)


def test_a_run_that_fails_changes_nothing() -> None:
    with ki.Graph().as_default() as graph:
        v, w = ki.variable(np.zeros(3, np.float32), name="v"), ki.variable(np.zeros(3, np.float32), name="w")
        logits, labels = ki.constant(np.zeros((1, 2), np.float32)), ki.placeholder("int64", [1])
        loss = ki.sparse_softmax_cross_entropy_with_logits(labels, logits)
        step = ki.group(ki.assign_add(v, [1.0] * 3), ki.assign(w, w + loss))
    session = ki.Session(graph, backend="cython")
    session.run(step, {labels: [1]})
    before = [session.variable_value(x) for x in (v, w)]
    with pytest.raises(ki.KigraphError):
        session.run(step, {labels: [7]})
    for x, value in zip((v, w), before, strict=True):
        np.testing.assert_array_equal(session.variable_value(x), value)
    session.run(step, {labels: [0]})
    np.testing.assert_array_equal(session.variable_value(v), [2.0] * 3)


def test_set_variables_reaches_the_next_step() -> None:
    with ki.Graph().as_default() as graph:
        v = ki.variable(np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), name="v")
        step = ki.assign(v, v * 2.0)
    session = ki.Session(graph, backend="cython")
    given = np.ones((2, 3), np.float32)
    for _ in range(3):
        session.run(step)
        session.set_variables({"v": given})
        session.run(step)
        np.testing.assert_array_equal(session.run(v), given * 2)
    assert (given == 1).all()


def test_readers_beside_steps_never_see_half_of_one() -> None:
    count = 200_000
    with ki.Graph().as_default() as graph:
        v = ki.variable(np.zeros(count, np.float32), name="v")
        step, double = ki.assign_add(v, np.ones(count, np.float32)), v * 2.0
    session = ki.Session(graph, backend="cython", threads=1)
    ends, wrong = threading.Event(), []

    def read(of: Any) -> None:
        while not ends.is_set():
            found = of()
            if found[0] != found[-1] or (found != found[0]).any():
                wrong.append(found)

    readers = [
        threading.Thread(target=read, args=(of,))
        for of in (lambda: session.run(v), lambda: session.run(double), lambda: session.variable_value(v))
    ]
    setter = threading.Thread(
        target=lambda: [session.set_variables({"v": np.full(count, -7.0, np.float32)}) for _ in range(60)]
    )
    for thread in (*readers, setter):
        thread.start()
    for _ in range(150):
        session.run(step.op)
    setter.join()
    ends.set()
    for thread in readers:
        thread.join()
    assert not wrong
