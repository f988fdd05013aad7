"""Optimizers against their formulas, step by step, in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.train import Adam, GradientDescent, Momentum, Optimizer, RMSProp

Array = np.ndarray[Any, Any]
START = np.array([1.0, -2.0, 3.0], np.float32)
CURVATURE = np.array([1.0, 10.0, 0.1], np.float32)


def gradient_descent() -> Callable[[Array, Array], Array]:
    return lambda v, g: v - 0.05 * g


def momentum(nesterov: bool) -> Callable[[Array, Array], Array]:
    m = np.zeros(3)

    def step(v: Array, g: Array) -> Array:
        nonlocal m
        m = 0.9 * m + g
        return v - 0.05 * (g + 0.9 * m if nesterov else m)

    return step


def rmsprop() -> Callable[[Array, Array], Array]:
    s = np.zeros(3)

    def step(v: Array, g: Array) -> Array:
        nonlocal s
        s = 0.9 * s + 0.1 * g * g
        return v - 0.05 * g / np.sqrt(s + 1e-7)

    return step


def adam() -> Callable[[Array, Array], Array]:
    m, s, t = np.zeros(3), np.zeros(3), 0

    def step(v: Array, g: Array) -> Array:
        nonlocal m, s, t
        t += 1
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        rate = 0.05 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return v - rate * m / (np.sqrt(s) + 1e-7)

    return step


@pytest.mark.parametrize(
    ("optimizer", "formula"),
    [
        (GradientDescent(0.05), gradient_descent),
        (Momentum(0.05), lambda: momentum(False)),
        (Momentum(0.05, nesterov=True), lambda: momentum(True)),
        (RMSProp(0.05), rmsprop),
        (Adam(0.05), adam),
    ],
    ids=["gradient_descent", "momentum", "nesterov", "rmsprop", "adam"],
)
def test_steps_follow_the_formula(optimizer: Optimizer, formula: Callable[[], Callable[[Array, Array], Array]]) -> None:
    with ki.Graph().as_default() as graph:
        v = ki.variable(START, name="v")
        loss = ki.reduce_sum(0.5 * CURVATURE * ki.square(v))
        step = optimizer.minimize(loss)
    session = ki.Session(graph, backend="numpy")
    want, update = START.astype(np.float64), formula()
    for _ in range(25):
        session.run(step)
        want = update(want, CURVATURE * want)
        np.testing.assert_allclose(session.run(v), want, rtol=2e-5, atol=1e-6)


def test_minimize_needs_a_variable_and_a_positive_rate() -> None:
    with ki.Graph().as_default():
        x = ki.placeholder("float32", [2])
        with pytest.raises(ki.GraphError, match="none of the 0 variables"):
            Adam().minimize(ki.reduce_sum(x))
    with pytest.raises(ki.GraphError, match="positive"):
        GradientDescent(0.0)


def test_one_step_reads_everything_from_its_start() -> None:
    """Two variables that depend on each other are updated from the old values of both."""
    with ki.Graph().as_default() as graph:
        a, b = ki.variable(2.0, name="a"), ki.variable(3.0, name="b")
        step = GradientDescent(0.1).minimize(a * b)
    session = ki.Session(graph, backend="numpy")
    session.run(step)
    np.testing.assert_allclose(session.run([a, b]), [2 - 0.3, 3 - 0.2], rtol=1e-6)
