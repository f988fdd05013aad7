"""Writing ONNX: ops whose attributes mean something else there, run by onnx's ReferenceEvaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError
from kigraph.graph.session import Session
from kigraph.graph.writers.onnx import save_onnx

onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 1.7])
@pytest.mark.parametrize("radius", [0, 1, 2, 6, 100])
def test_local_response_normalisation(radius: int, beta: float, known: bool, seed: int, tmp_path: Path) -> None:
    """Once by itself, once after a convolution, whose result stays in NCHW; the defaults at the end."""
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(seed)
    # 7 images, too: onnx 1.23 sums as many channels as there are images.
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((7, 3, 4, 7), (1, 1, 7, 7)))
    with Graph().as_default() as graph:
        given: Any = ops.placeholder("float32", x.shape if known else (None, None, None, 7), "x")
        y = ops.lrn(given, radius, 1.5, 0.3, beta)
        y = graph.create_op("LRN", [ops.lrn(ops.conv2d(y, w), radius, 1.0, 2.0, beta)], {}, "y").outputs[0]
    save_onnx(graph, tmp_path / "lrn.onnx")
    proto = onnx.load(tmp_path / "lrn.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [n.op_type for n in proto.graph.node].count("LRN") == 3
    (got,) = ReferenceEvaluator(proto).run(None, {"x": x})
    np.testing.assert_allclose(got, Session(graph, backend="numpy").run(y, {given: x}), rtol=2e-5, atol=1e-5)


def test_a_radius_beyond_the_channels(tmp_path: Path) -> None:
    """ONNX's size is an int of 32 bits for runtimes; without known channels it is refused."""
    with Graph().as_default() as graph:
        x = ops.placeholder("float32", (1, 2, 2, 7), name="x")
        ops.lrn(x, 2**30, 1, 1, name="y")
    save_onnx(graph, tmp_path / "lrn.onnx")
    (node,) = [n for n in onnx.load(tmp_path / "lrn.onnx").graph.node if n.op_type == "LRN"]
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}["size"] == 13
    with Graph().as_default() as graph:
        ops.lrn(ops.placeholder("float32", (1, 2, 2, None)), 2**30, name="y")
    with pytest.raises(GraphError, match="LRN 'y': depth_radius 1073741824 needs a known number of channels"):
        save_onnx(graph, tmp_path / "other.onnx")
