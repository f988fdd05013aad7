"""Initial values have the distributions that their names say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.train.initializers import INITIALIZERS, constant, initial_values, normal, orthogonal, truncated_normal
from kigraph.train.layers import Conv2D, Dense, DepthwiseConv2D

SHAPE, FANS = (200, 300), (200, 300)
RNG = np.random.default_rng(11)


def ks_distance(values: Any, cumulative: Any) -> float:
    """Kolmogorov-Smirnov: the greatest distance from a cumulative distribution, times the root of the count."""
    ordered = np.sort(values.ravel())
    want = np.vectorize(cumulative)(ordered)
    steps = np.arange(len(ordered) + 1) / len(ordered)
    return float(max(np.abs(want - steps[1:]).max(), np.abs(want - steps[:-1]).max()) * math.sqrt(len(ordered)))


def phi(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def truncated(deviation: float) -> Any:
    low, high = phi(-2), phi(2)
    return lambda x: (phi(min(max(x / deviation, -2), 2)) - low) / (high - low)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 500), ("he_uniform", 2 / 200), ("lecun_uniform", 1 / 200),
        ("glorot_normal", 2 / 500), ("he_normal", 2 / 200), ("lecun_normal", 1 / 200),
    ],
)  # fmt: skip
def test_scaled_by_the_fans(name: str, variance: float) -> None:
    values = initial_values(name, RNG, SHAPE, FANS)
    assert values.dtype == np.float32
    assert values.var() == pytest.approx(variance, rel=0.03)
    if name.endswith("uniform"):
        limit = math.sqrt(3 * variance)
        distance = ks_distance(values, lambda x: (x / limit + 1) / 2)
    else:
        distance = ks_distance(values, truncated(math.sqrt(variance) / 0.8796256610342398))
    assert distance < 2.2  # 1 in 8,000 by chance


def test_normal_and_truncated() -> None:
    assert ks_distance(initial_values(normal(0.5), RNG, SHAPE, FANS), lambda x: phi(x / 0.5)) < 2.2
    values = initial_values(truncated_normal(0.5), RNG, SHAPE, FANS)
    assert np.abs(values).max() <= 1
    assert ks_distance(values, truncated(0.5)) < 2.2


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 3, 2, 7), (2, 2, 1, 9)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = initial_values(orthogonal(2.0), RNG, shape, (1, 1)).reshape(-1, shape[-1]).astype(np.float64)
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, 4 * np.eye(min(matrix.shape)), atol=1e-5)


def test_orthogonal_is_not_biased_in_its_signs() -> None:
    signs = [np.sign(initial_values(orthogonal(), RNG, (3, 3), (3, 3))[0, 0]) for _ in range(400)]
    assert abs(sum(signs)) < 90  # 4.5 deviations


def test_layers_take_names_functions_and_refuse_the_rest() -> None:
    layers = [Dense(4, initial="ones", initial_bias=constant(0.25)), Conv2D(2, initial="zeros"), DepthwiseConv2D()]
    with ki.Graph().as_default() as graph:
        for layer, shape in zip(layers, [(3,), (5, 5, 3), (5, 5, 3)], strict=True):
            layer.build(shape, np.random.default_rng(0))
        session = ki.Session(graph, backend="numpy")
        values = [session.variable_value(op.outputs[0]) for op in graph.operations if op.type == "VariableV2"]
    assert (values[0] == 1).all()
    assert (values[1] == 0.25).all()
    assert (values[2] == 0).all()
    assert values[4].std() > 0.1
    assert set(INITIALIZERS) >= {"glorot_uniform", "he_normal", "lecun_normal", "orthogonal", "zeros", "ones"}
    for wrong in ("he", lambda rng, shape, fans: np.zeros(3), lambda rng, shape, fans: np.full(shape, np.nan)):
        with pytest.raises(ki.GraphError, match="initializer"):
            initial_values(wrong, RNG, (2, 2), (2, 2))  # type: ignore[arg-type]
    with pytest.raises(ki.GraphError, match="2 axes"):
        initial_values("orthogonal", RNG, (4,), (4, 4))
