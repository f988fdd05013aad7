"""Ops that grappler's remapper has fused, next to their parts; and batch norm with the statistics of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError, UnsupportedOpError
from kigraph.graph.loaders import load
from kigraph.graph.ops.building import add_op
from kigraph.graph.session import Session
from kigraph.graph.writers.graphdef import save_graphdef

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Any]
F32 = np.dtype(np.float32)
CONV: dict[str, Any] = {"strides": (1, 1, 1, 1), "padding": "SAME"}
ACTIVATIONS: dict[str, Callable[[NDArray], NDArray]] = {
    "Relu": lambda v: np.maximum(v, 0), "Relu6": lambda v: np.clip(v, 0, 6), "Tanh": np.tanh,
    "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
}  # fmt: skip


def _fused(graph: Graph, op: str, inputs: Sequence[Any], steps: Sequence[str], **attrs: Any) -> Tensor:
    tensors = [i if isinstance(i, Tensor) else ops.constant(i) for i in inputs]
    return add_op(op, tensors, None, fused_ops=tuple(steps), num_args=len(inputs) - 2, **attrs)


def _normal(rng: np.random.Generator, *shape: int) -> NDArray:
    return rng.normal(size=shape).astype(F32)


@pytest.mark.parametrize("op", ["_FusedConv2D", "_FusedDepthwiseConv2dNative", "_FusedMatMul"])
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_a_bias_and_an_activation(
    graph: Graph, session: Make, rng: np.random.Generator, op: str, activation: str | None
) -> None:
    product = op == "_FusedMatMul"
    x, b = _normal(rng, *((3, 4) if product else (2, 5, 6, 4))), _normal(rng, 4)
    w = _normal(rng, *((4, 4) if product else (1, 1, 4, 1) if "Depthwise" in op else (1, 1, 4, 4)))
    plain = x @ w if product else x * w[0, 0, :, 0] if "Depthwise" in op else x @ w[0, 0]
    want = (plain + b).astype(np.float64)
    image = ops.placeholder("float32", x.shape)
    y = _fused(graph, op, [image, w, b], ["BiasAdd", *filter(None, [activation])], **({} if product else CONV))
    assert y.shape == x.shape
    found = session().run(y, {image: x})
    np.testing.assert_allclose(found, ACTIVATIONS[activation](want) if activation else want, rtol=1e-5, atol=1e-5)


def test_a_batch_norm_after_a_convolution(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x, w = _normal(rng, 2, 5, 6, 3), _normal(rng, 1, 1, 3, 4)
    scale, offset, mean = (_normal(rng, 4) for _ in range(3))
    variance = rng.uniform(0.5, 2, 4).astype(F32)
    y = _fused(
        graph, "_FusedConv2D", [x, w, scale, offset, mean, variance], ["FusedBatchNorm", "Relu"], epsilon=0.5, **CONV
    )
    want = (x @ w[0, 0] - mean) / np.sqrt(variance + 0.5) * scale + offset
    np.testing.assert_allclose(session().run(y), np.maximum(want, 0), rtol=1e-4, atol=1e-5)


def test_a_sum_and_gelu(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    from math import erf

    x, w, b, side = _normal(rng, 3, 4), _normal(rng, 4, 5), _normal(rng, 5), _normal(rng, 3, 5)
    v = (x @ w + b).astype(np.float64)
    both = _fused(graph, "_FusedMatMul", [x, w, b, side], ["BiasAdd", "Add", "Relu"])
    exact = _fused(graph, "_FusedMatMul", [x, w, b], ["BiasAdd", "GeluExact"])
    near = _fused(graph, "_FusedMatMul", [x, w, b], ["BiasAdd", "GeluApproximate"])
    found = session().run([both, exact, near])
    np.testing.assert_allclose(found[0], np.maximum(v + side, 0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[1], v / 2 * (1 + np.vectorize(erf)(v / np.sqrt(2))), rtol=1e-5, atol=1e-5)
    tanh = v / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))
    np.testing.assert_allclose(found[2], tanh, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("side", [False, True])
def test_a_batch_norm_with_a_sum(
    graph: Graph, session: Make, rng: np.random.Generator, dtype: str, training: bool, side: bool
) -> None:
    x, other = (_normal(rng, 2, 3, 4, 5).astype(dtype) for _ in range(2))
    scale, offset, mean = (_normal(rng, 5) for _ in range(3))
    variance = rng.uniform(0.5, 2, 5).astype(F32)
    norm = graph.create_op(
        "_FusedBatchNormEx",
        [ops.constant(v) for v in (x, scale, offset, mean, variance, *([other] if side else []))],
        {"epsilon": 0.25, "activation_mode": "Relu", "is_training": training, "num_side_inputs": int(side)},
        num_outputs=6,
    )
    wide = x.astype(np.float64)
    m, v = (wide.mean((0, 1, 2)), wide.var((0, 1, 2))) if training else (mean, variance)
    want = (wide - m) / np.sqrt(v + 0.25) * scale + offset + (other.astype(np.float64) if side else 0)
    found = session().run([norm.outputs[0], norm.outputs[1]])
    assert found[0].dtype == dtype
    loose = 1e-2 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(found[0], np.maximum(want, 0), rtol=loose, atol=loose)
    np.testing.assert_allclose(found[1], m, rtol=1e-5, atol=1e-5)


def test_a_batch_norm_of_float16_with_float32_statistics(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = _normal(rng, 2, 3, 4, 5).astype(np.float16)
    scale, offset, mean = (_normal(rng, 5) for _ in range(3))
    inputs = [ops.constant(v) for v in (x, scale, offset, mean, np.ones(5, F32))]
    norm = graph.create_op("FusedBatchNormV3", inputs, {"is_training": False, "epsilon": 0.25}, num_outputs=6)
    found = session().run([ops.relu(norm.outputs[0]), norm.outputs[1]])
    want = (x.astype(np.float64) - mean) / np.sqrt(1.25) * scale + offset
    assert found[0].dtype == np.float16
    np.testing.assert_allclose(found[0], np.maximum(want, 0), rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(found[1], mean)


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_the_statistics_of_the_batch(graph: Graph, session: Make, rng: np.random.Generator, factor: float) -> None:
    x = ops.placeholder("float32", (None, 3, 4, 5))
    value = _normal(rng, 2, 3, 4, 5)
    scale, offset, mean, variance = (_normal(rng, 5) for _ in range(4))
    norm = graph.create_op(
        "FusedBatchNormV3",
        [x, *(ops.constant(v) for v in (scale, offset, mean, variance))],
        {"is_training": True, "epsilon": 0.25, "exponential_avg_factor": factor},
        num_outputs=6,
    )
    assert norm.outputs[0].shape == (None, 3, 4, 5)
    found = session().run(list(norm.outputs[:5]), {x: value})
    wide = value.astype(np.float64)
    m, v = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
    wanted = [
        (wide - m) / np.sqrt(v + 0.25) * scale + offset, (1 - factor) * mean + factor * m,
        (1 - factor) * variance + factor * v * 24 / 23, m, v,
    ]  # fmt: skip
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_file_with_a_fused_op_is_written_and_read(graph: Graph, tmp_path: Path, rng: np.random.Generator) -> None:
    x, w, b = _normal(rng, 1, 4, 4, 3), _normal(rng, 3, 3, 3, 2), _normal(rng, 2)
    y = _fused(graph, "_FusedConv2D", [x, w, b], ["BiasAdd", "Relu"], TArgs=(F32,), **CONV)
    save_graphdef(graph, tmp_path / "fused.pb")
    read = load(tmp_path / "fused.pb").graph
    assert read is not None
    want = Session(graph, "numpy").run(y)
    np.testing.assert_array_equal(Session(read, "numpy").run(y.name), want)


def test_what_cannot_be_taken_apart_is_refused_by_name(graph: Graph, session: Make) -> None:
    x, w, b = (np.ones(s, F32) for s in ((1, 4, 4, 2), (1, 1, 2, 2), (2,)))
    with pytest.raises(GraphError, match="a fused Mystery is not supported; known: BiasAdd"):
        _fused(graph, "_FusedConv2D", [x, w, b], ["BiasAdd", "Mystery"], **CONV)
    with pytest.raises(GraphError, match="BiasAdd, Add takes 4 inputs, the node has 3"):
        _fused(graph, "_FusedConv2D", [x, w, b], ["BiasAdd", "Add"], **CONV)
    with pytest.raises(UnsupportedOpError, match="filter_format = 'OIHW' is not supported"):
        _fused(graph, "_FusedConv2D", [x, w, b], ["BiasAdd"], filter_format="OIHW", **CONV)
