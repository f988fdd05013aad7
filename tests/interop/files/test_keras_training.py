"""Training beside Keras, on fresh random numbers: optimizers, schedules, losses with weights and smoothing, batch norm."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
keras = pytest.importorskip("keras", reason="the library to compare with")
import kigraph as ki  # noqa: E402
from kigraph.train import GradientDescent, Model  # noqa: E402
from kigraph.train.layers import BatchNorm, Dense, Flatten  # noqa: E402

from ...train.oracles import KERAS, SCHEDULES, START, by_keras, by_kigraph  # noqa: E402

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("name", KERAS)
def test_optimizer(name: str) -> None:
    rng = np.random.default_rng()
    start = [rng.standard_normal(v.shape).astype(np.float32) for v in START]
    steps = [[(rng.standard_normal(v.shape) * 2).astype(np.float32) for v in start] for _ in range(20)]
    wanted = by_keras(keras, KERAS[name], start, steps)
    for got, want in zip(by_kigraph(KERAS[name].ours(), start, steps, "cython"), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name: str) -> None:
    ours, theirs = SCHEDULES[name]
    schedule = theirs(keras)
    for step in range(25):
        assert ours(step) == pytest.approx(float(schedule(step)), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss(smoothing: float, weighted: bool) -> None:
    rng = np.random.default_rng()
    x, y = rng.standard_normal((17, 4)).astype(np.float32), rng.integers(0, 5, 17)
    weights = rng.uniform(0, 3, 17).astype(np.float32) if weighted else None
    model = Model(
        [Dense(5)], (4,), optimizer=GradientDescent(0.1), label_smoothing=smoothing, seed=int(rng.integers(99))
    )
    kernel, bias = model.weights().values()
    layer = keras.layers.Dense(5)
    layer.build((None, 4))
    layer.set_weights([kernel, bias])
    theirs = keras.Sequential([keras.Input((4,)), layer])
    theirs.compile(
        keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    )
    hot = np.eye(5, dtype=np.float32)[y]
    want = theirs.evaluate(x, hot, sample_weight=weights, batch_size=17, verbose=0)
    if (
        not weighted
    ):  # with weights Keras shows the loss divided by their sum, and trains on the one divided by the examples
        assert model.evaluate(x, y)["loss"] == pytest.approx(want, rel=1e-5)
    theirs.fit(x, hot, sample_weight=weights, batch_size=17, epochs=3, shuffle=False, verbose=0)
    model.fit(x, y, epochs=3, batch_size=17, sample_weight=weights, shuffle=False, progress=False)
    for got, wanted in zip(model.weights().values(), layer.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_class_weights() -> None:
    rng = np.random.default_rng()
    x, y = rng.standard_normal((17, 4)).astype(np.float32), rng.integers(0, 3, 17)
    given = {0: 0.5, 2: 3.0}
    model = Model([Dense(3)], (4,), optimizer=GradientDescent(0.1))
    layer = keras.layers.Dense(3)
    layer.build((None, 4))
    layer.set_weights(list(model.weights().values()))
    theirs = keras.Sequential([keras.Input((4,)), layer])
    theirs.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    theirs.fit(x, y, class_weight={**given, 1: 1.0}, batch_size=6, epochs=2, shuffle=False, verbose=0)
    model.fit(x, y, 2, 6, class_weight=given, shuffle=False, progress=False)
    for got, wanted in zip(model.weights().values(), layer.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", [b for b in ki.available_backends() if b != "cupy"])
def test_batch_norm_trains_alike(backend: str) -> None:
    rng = np.random.default_rng()
    x, y = rng.standard_normal((24, 3, 2, 5)).astype(np.float32) * 3 + 1, rng.integers(0, 4, 24)
    model = Model([BatchNorm(), Flatten(), Dense(4)], (3, 2, 5), optimizer=GradientDescent(0.05), backend=backend)
    scale, offset, mean, variance, kernel, bias = model.weights().values()
    theirs = keras.Sequential(
        [
            keras.Input((3, 2, 5)),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )
    theirs.set_weights([scale, offset, mean, variance, kernel, bias])
    theirs.compile(keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    theirs.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0)
    model.fit(x, y, 4, 8, shuffle=False, progress=False)
    for got, wanted in zip(model.weights().values(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-4)
