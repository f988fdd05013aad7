"""Learning rates by step, and optimizers that have one."""

from __future__ import annotations

import math

import numpy as np
import pytest

import kigraph as ki
from kigraph.train import Adam, AdamW, GradientDescent
from kigraph.train.schedules import Constant, Cosine, Exponential, OneCycle, StepDecay


def test_values_at_the_corners() -> None:
    assert [StepDecay(1.0, 3, 0.5)(s) for s in (0, 2, 3, 6)] == [1, 1, 0.5, 0.25]
    assert Exponential(1.0, 10, 0.5)(20) == pytest.approx(0.25)
    cosine = Cosine(0.4, 30, warm_up=10, start=0.1, least=0.02)
    assert [cosine(s) for s in (0, 5, 10, 20, 30, 1000)] == pytest.approx([0.1, 0.25, 0.4, 0.21, 0.02, 0.02])
    cycle = OneCycle(1.0, 11, rise=0.5, start_divisor=20, end_divisor=100)
    assert cycle(0) == pytest.approx(0.05)
    assert max(range(11), key=cycle) in (4, 5)
    assert cycle(10) == cycle(99) == pytest.approx(0.0005)
    assert Constant(0.3)(7) == 0.3


@pytest.mark.parametrize(
    "make",
    [
        lambda: StepDecay(0.0, 3), lambda: StepDecay(0.1, 0), lambda: Exponential(0.1, -1), lambda: Cosine(0.1, 5, 5),
        lambda: Cosine(0.1, 5, least=-1), lambda: OneCycle(0.1, 1), lambda: OneCycle(0.1, 10, rise=1.0),
        lambda: Constant(math.inf), lambda: Constant(math.nan),
        lambda: GradientDescent(math.nan), lambda: GradientDescent(lambda step: -1.0),
        lambda: Adam(clip_norm=0.0), lambda: Adam(clip_norm=1.0, clip_value=1.0), lambda: AdamW(weight_decay=-0.1),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make: object) -> None:
    with pytest.raises(ki.GraphError):
        make()  # type: ignore[operator]


def test_a_step_without_its_rate_is_an_error_and_not_the_first_rate() -> None:
    with ki.Graph().as_default() as graph:
        v = ki.variable(np.ones(3, np.float32), name="v")
        optimizer = GradientDescent(lambda step: 0.1 / (step + 1))
        step = optimizer.minimize(ki.reduce_sum(v))
    session = ki.Session(graph, backend="numpy")
    with pytest.raises(ki.FetchError, match="must be fed"):
        session.run(step)
    for number in range(2):
        session.run(step, optimizer.feeds(number))
    np.testing.assert_allclose(session.variable_value(v), 1 - 0.1 - 0.05, rtol=1e-6)


def test_decay_leaves_out_what_it_is_told() -> None:
    with ki.Graph().as_default():
        kernel, bias = ki.variable(np.ones((2, 2), np.float32), name="a"), ki.variable(np.ones(2, np.float32), name="b")
        assert [AdamW().decays(v) for v in (kernel, bias)] == [True, False]
        assert [AdamW(exclude_from_decay=["a"]).decays(v) for v in (kernel, bias)] == [False, True]
        assert [AdamW(exclude_from_decay=lambda v: True).decays(v) for v in (kernel, bias)] == [False, False]
        assert not Adam().decays(kernel)
