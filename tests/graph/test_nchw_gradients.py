"""Gradients of ops with the channels first, next to those of the same op in NHWC, and of the second order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError
from kigraph.graph.gradients import gradients
from kigraph.graph.session import Session

Make = Callable[..., Session]
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]

CASES: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "conv2d": (lambda f, x, w: ops.conv2d(x, w, [1, 2], [[1, 0], [2, 1]], data_format=f), [(3, 2, 3, 4)]),
    "depthwise": (lambda f, x, w: ops.depthwise_conv2d(x, w, 1, "SAME", data_format=f), [(3, 3, 3, 2)]),
    "max_pool": (lambda f, x: ops.max_pool(x, [2, 3], [1, 2], "SAME", data_format=f), []),
    "avg_pool": (lambda f, x: ops.avg_pool(x, [3, 2], 2, "VALID", data_format=f), []),
    "bias_add": (lambda f, x, b: ops.bias_add(x, b, data_format=f), [(3,)]),
    "norm": (lambda f, x, a, b, m, v: norm(f, x, a, b, m, v), [(3,)] * 4),
}


def norm(data_format: str, x: Tensor, *given: Tensor) -> Tensor:
    attrs = {"is_training": False, "epsilon": 0.01, "data_format": data_format}
    made: Tensor = x.graph.create_op("FusedBatchNormV3", [x, *given], attrs).outputs[0]
    return made


@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_nhwc(
    graph: Graph, session: Make, rng: np.random.Generator, name: str, batch: int | None
) -> None:
    function, shapes = CASES[name]
    x = ops.placeholder("float32", (batch, 3, 5, 6))
    others = [ops.constant(rng.random(s).astype(np.float32) + 0.5) for s in shapes]
    y = function("NCHW", x, *others)
    z = ops.transpose(function("NHWC", ops.transpose(x, LAST), *others), FIRST)
    weights = ops.constant(rng.random((2, *(y.shape or ())[1:])).astype(np.float32))
    found = gradients(ops.square(y) * weights, [x, *others])
    wanted = gradients(ops.square(z) * weights, [x, *others])
    feeds = {x: rng.random((2, 3, 5, 6)).astype(np.float32)}
    one = session()
    for a, b in zip(one.run(found, feeds), one.run(wanted, feeds), strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    again = (
        gradients(gradients(ops.square(y) * weights, [x])[0], [x]) if batch and name in ("conv2d", "bias_add") else []
    )
    for a, b in zip(one.run(again, feeds), one.run(gradients(wanted[0], [x]) if again else [], feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_step_of_training_keeps_no_transposes_between_convolutions(graph: Graph, session: Make) -> None:
    x = ops.placeholder("float32", (2, 3, 8, 8))
    w, v = (ops.variable(np.full((3, 3, c, 4), 0.1, np.float32)) for c in (3, 4))
    y = ops.relu(ops.conv2d(x, w, 1, "SAME", data_format="NCHW"))
    y = ops.max_pool(y, 2, 2, data_format="NCHW")
    loss = ops.reduce_mean(ops.square(ops.conv2d(y, v, 1, "SAME", data_format="NCHW")))
    found = session().optimized(gradients(loss, [w, v]), [x])
    assert sum(node.op == "Transpose" for node in found) == 1, str(found)


def test_an_unknown_rank_is_refused_by_name(graph: Graph) -> None:
    x = ops.placeholder("float32")
    y = ops.bias_add(x, np.ones(3, np.float32), data_format="NCHW")
    with pytest.raises(GraphError, match=r"number of axes .* BiasAdd 'BiasAdd"):
        gradients(y, [x])
