"""A tensor is in a concat's buffer, strided, only if all its other readers accept strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.plan.stage import Stage
from kigraph.graph.session import Session

MakeSession = Callable[..., Session]
NDArray = np.ndarray[Any, Any]

WEIGHTS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
READERS: dict[str, tuple[Callable[[Any], Any], Callable[[NDArray], NDArray]]] = {
    "softmax": (ops.softmax, lambda a: np.exp(a) / np.exp(a).sum(-1, keepdims=True)),
    "log_softmax": (ops.log_softmax, lambda a: a - np.log(np.exp(a).sum(-1, keepdims=True))),
    "sum of rows": (lambda a: ops.reduce_sum(a, 1), lambda a: a.sum(1)),
    "sum of columns": (lambda a: ops.reduce_sum(a, 0), lambda a: a.sum(0)),
    "mean of all": (ops.reduce_mean, lambda a: a.mean()),
    "max": (lambda a: ops.reduce_max(a, 1), lambda a: a.max(1)),
    "min": (lambda a: ops.reduce_min(a, 0), lambda a: a.min(0)),
    "product": (lambda a: ops.matmul(a, WEIGHTS), lambda a: a @ WEIGHTS),
    "product of the transpose": (lambda a: ops.matmul(a, a, transpose_b=True), lambda a: a @ a.T),
    "relu": (ops.relu, lambda a: np.maximum(a, 0)),
    "argmax": (lambda a: ops.argmax(a, 1), lambda a: a.argmax(1)),
    "view": (lambda a: ops.reshape(a, [4, 5]), lambda a: a.reshape(4, 5)),
}


@pytest.mark.parametrize("name", READERS)
def test_readers_beside_a_concat(graph: Graph, session: MakeSession, seed: int, name: str) -> None:
    value = np.random.default_rng(seed).standard_normal((5, 4), np.float32)
    x = ops.placeholder("float32", [None, 4])
    a, b = ops.negative(x), ops.square(x)
    read, expected = READERS[name]
    one = session()
    joined, found = one.run([ops.concat([a, b], 1), read(a)], {x: value})
    np.testing.assert_array_equal(joined, np.concatenate([-value, value * value], 1))
    np.testing.assert_allclose(found, expected(-value.astype(np.float64)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", READERS)
def test_kernels_get_strides_only_if_they_say_they_can(graph: Graph, session: MakeSession, name: str) -> None:
    x = ops.placeholder("float32", [5, 4])
    a = ops.negative(x)
    fetches = [ops.concat([a, ops.square(x)], 1), READERS[name][0](a)]
    for _, stage in session().plan(fetches, {x: np.zeros((5, 4))}).compiled():
        assert isinstance(stage, Stage)
        for step in stage.lowering.steps:
            for ports, can in ((step.inputs, "strided_inputs"), (step.outputs, "strided_outputs")):
                strided = [p for p, _ in ports if p in stage.layout.places and stage.layout.places[p].strides]
                assert not strided or (step.kernel is None and not step.inputs) or getattr(step.kernel, can)
