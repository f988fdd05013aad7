"""Composed activations: one spelling for all who build graphs, next to float64 and to the formulas written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.models.keras.activations import NAMED
from kigraph.graph.models.torch.net import ACTIVATIONS
from kigraph.graph.opdefs import composed as spelled
from kigraph.graph.ops import composed
from kigraph.kernels.conformance import process_seed

Array = np.ndarray[Any, Any]
BACKENDS = [b for b in ("numpy", "cython", "numba") if b in ki.available_backends()]


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


#: The functions in float64, from their definitions.
TRUTH: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "silu": lambda x: x * _sigmoid(x),
}
ON_TENSORS: dict[str, Callable[[Any], Any]] = {
    "gelu": composed.gelu,
    "gelu_tanh": lambda x: composed.gelu(x, approximate=True),
    "hard_sigmoid": composed.hard_sigmoid,
    "hard_swish": composed.hard_swish,
    "mish": composed.mish,
    "silu": composed.silu,
}


def _run(function: Callable[[Any], Any], x: Array, backend: str) -> Array:
    graph = ki.Graph()
    with graph.as_default():
        tensor = ki.placeholder(x.dtype, x.shape)
        y = function(tensor)
    with ki.Session(graph, backend=backend) as session:
        found: Array = session.run(y, {tensor: x})
    return found


def _values(dtype: Any) -> Array:
    rng = np.random.default_rng(process_seed())
    odd = [0.0, -0.0, -3.0, 3.0, 1e-30, -1e-30, 20.0, -20.0]
    return np.concatenate([rng.standard_normal(61) * 3, odd]).astype(dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TRUTH)
def test_each_is_its_formula(name: str, backend: str) -> None:
    for dtype, bound in ((np.float32, 1e-6), (np.float64, 1e-13)):
        x = _values(dtype)
        y = _run(ON_TENSORS[name], x, backend)
        assert y.dtype == dtype
        want = TRUTH[name](x.astype(np.float64))
        np.testing.assert_allclose(y, want, rtol=bound, atol=5 * bound)
    assert np.isnan(_run(ON_TENSORS[name], np.array([np.nan], np.float32), backend)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_builders_of_networks_give_the_same_bits(backend: str) -> None:
    x = _values(np.float32)
    for mine, theirs in (
        ("gelu", "gelu"),
        ("silu", "silu"),
        ("hardsigmoid", "hard_sigmoid"),
        ("hardswish", "hard_swish"),
    ):
        a, b = (_run(f, x, backend) for f in (ACTIVATIONS[mine], ON_TENSORS[theirs]))
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))
    for mine in ("gelu", "silu", "mish", "hard_silu"):
        a = _run(lambda t, f=NAMED[mine]: f(None, t), x, backend)  # type: ignore[arg-type, misc]
        b = _run(ON_TENSORS["hard_swish" if mine == "hard_silu" else mine], x, backend)
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


class _Words:
    """A writer whose tensors are the formulas as text."""

    def op(self, type: str, /, *inputs: str) -> str:
        return f"{type}({', '.join(inputs)})"

    def like(self, x: str, value: float) -> str:
        return f"{value:.6g}"


def test_the_order_of_operations() -> None:
    """Another order is another rounding: this is what files have been computed with."""
    words = _Words()
    gate = "Relu6(AddV2(x, 3))"
    assert spelled.hard_swish(words, "x") == f"Mul(x, Mul({gate}, 0.166667))"
    assert spelled.hard_swish(words, "x", last=True) == f"Mul(Mul(x, {gate}), 0.166667)"
    assert spelled.gelu(words, "x") == "Mul(Mul(x, 0.5), AddV2(Erf(Mul(x, 0.707107)), 1))"
    inner = "Mul(AddV2(x, Mul(Mul(x, Square(x)), 0.044715)), 0.797885)"
    assert spelled.gelu(words, "x", approximate=True) == f"Mul(Mul(x, 0.5), AddV2(Tanh({inner}), 1))"
    assert spelled.mish(words, "x") == "Mul(x, Tanh(Softplus(x)))"
    assert spelled.silu(words, "x") == "Mul(x, Sigmoid(x))"
