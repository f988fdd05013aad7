"""Writing ONNX of a graph with the channels first: nothing is transposed, and the values are those of the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.session import Session
from kigraph.graph.writers.onnx import save_onnx

onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")
F = "NCHW"


def test_a_network_in_nchw_has_no_transposes(seed: int, tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(seed)

    def array(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    with Graph().as_default() as graph:
        x = ops.placeholder("float32", (None, 3, 9, 11), "x")
        y = ops.conv2d(x, array(3, 3, 3, 4), [2, 1], [[1, 0], [2, 1]], data_format=F)
        y = ops.relu(ops.bias_add(y, array(4), data_format=F))
        vectors = [ops.constant(abs(array(4)) + 1) for _ in range(4)]
        y = graph.create_op("FusedBatchNormV3", [y, *vectors], {"is_training": False, "data_format": F}).outputs[0]
        y = ops.depthwise_conv2d(y, array(3, 3, 4, 2), 1, "SAME", data_format=F)
        y = ops.conv2d(y, array(1, 2, 4, 8), data_format=F)  # two groups
        y = ops.max_pool(y, [2, 3], [1, 2], "SAME", data_format=F) + array(8, 1, 1)
        y = ops.avg_pool(y, [3, 2], 1, "VALID", data_format=F)
        y = ops.identity(ops.reduce_mean(y, [2, 3]), name="y")
    save_onnx(graph, tmp_path / "net.onnx")
    proto = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [n.op_type for n in proto.graph.node].count("Transpose") == 0
    value = array(2, 3, 9, 11)
    (got,) = ReferenceEvaluator(proto).run(None, {"x": value})
    np.testing.assert_allclose(got, Session(graph, backend="numpy").run(y, {x: value}), rtol=1e-4, atol=1e-4)


def test_a_bias_that_is_computed(seed: int, tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(seed)
    with Graph().as_default() as graph:
        x, b = ops.placeholder("float32", (2, 3, 4, 5), "x"), ops.placeholder("float32", (3,), "b")
        y = ops.identity(ops.bias_add(x, b, data_format=F), name="y")
    save_onnx(graph, tmp_path / "bias.onnx")
    feeds = {t.op.name: rng.standard_normal(t.shape).astype(np.float32) for t in (x, b)}
    (got,) = ReferenceEvaluator(onnx.load(tmp_path / "bias.onnx")).run(None, feeds)
    np.testing.assert_allclose(got, feeds["x"] + feeds["b"].reshape(3, 1, 1), rtol=1e-6)
    assert Session(graph, backend="numpy").run(y, {x: feeds["x"], b: feeds["b"]}).shape == (2, 3, 4, 5)
