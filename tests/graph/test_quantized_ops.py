"""Graphs of quantised layers: sessions on every backend, next to the layers that they stand for, and through files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError, UnsupportedOpError
from kigraph.graph.opdefs.quantized import QUANTIZED
from kigraph.graph.session import Session
from kigraph.graph.writers.graphdef import save_graphdef
from kigraph.kernels.backends import available_backends
from kigraph.kernels.conformance import process_seed

NDArray = np.ndarray[Any, Any]
BACKENDS = tuple(b for b in ("numpy", "cython", "numba") if b in available_backends())
WINDOW = {"strides": (1, 1, 1, 1), "padding": "SAME"}
X_SCALE, W_SCALE, Y_SCALE = 0.02, 0.004, 0.05


def placeholder(graph: Graph, dtype: Any, *shape: int | None) -> Tensor:
    return graph.create_op("Placeholder", [], {"dtype": np.dtype(dtype), "shape": shape}, "x").outputs[0]


def add(graph: Graph, op: str, inputs: Sequence[Any], **attrs: Any) -> Tensor:
    tensors = [t if isinstance(t, Tensor) else ops.constant(t, t.dtype) for t in inputs]
    return graph.create_op(op, tensors, attrs).outputs[0]


class Network:
    """Two convolutions, concat, max pool, depthwise convolution, sum, mean, product; ``w``: its weights."""

    def __init__(self) -> None:
        rng = np.random.default_rng(process_seed())
        self.graph = Graph()
        self.w = [
            rng.integers(-127, 128, s).astype(np.int8) for s in ((3, 3, 3, 16), (1, 1, 3, 8), (3, 3, 24, 1), (24, 10))
        ]
        self.b = [rng.integers(-99, 99, w.shape[-1] if w.shape[-1] > 1 else 24).astype(np.int32) for w in self.w]
        with self.graph.as_default():
            g = self.graph
            self.x = placeholder(g, np.float32, None, 12, 13, 3)
            self.q = add(g, "KiQuantize", [self.x], scale=X_SCALE, zero=3)
            m = np.float32(X_SCALE * W_SCALE / Y_SCALE)
            relu = {"x_zero": 3, "y_zero": -128, **WINDOW}
            self.convs = [
                add(g, "KiQuantizedConv2D", [self.q, self.w[i], self.b[i], np.full(len(self.b[i]), m)], **relu) for i in (0, 1)
            ]  # fmt: skip
            both = add(g, "ConcatV2", [*self.convs, np.int32(3)])
            pool = add(g, "MaxPool", [both], ksize=(1, 2, 2, 1), strides=(1, 2, 2, 1), padding="VALID")
            deep = add(
                g, "KiQuantizedDepthwiseConv2D", [pool, self.w[2], self.b[2], np.full(24, m)], x_zero=-128, **WINDOW
            )
            total = add(g, "KiQuantizedAdd", [deep, pool], b_zero=-128, a_multiplier=0.5, b_multiplier=0.7, y_zero=2)
            mean = add(
                g, "KiQuantizedAvgPool", [total], ksize=(1, 6, 6, 1), strides=(1, 1, 1, 1), padding="VALID", x_zero=2, y_zero=2,
                halves="away",
            )  # fmt: skip
            flat = add(g, "Reshape", [mean, np.array([-1, 24], np.int32)])
            self.logits = add(
                g, "KiQuantizedMatMul", [flat, self.w[3], self.b[3], np.full(10, np.float32(2e-3))], x_zero=2,
                out_type=np.dtype(np.float32),
            )  # fmt: skip
            self.reals = add(g, "KiDequantize", [self.convs[0]], scale=Y_SCALE, zero=-128)
        self.values = rng.standard_normal((5, 12, 13, 3)).astype(np.float32)
        self.fetches = [self.logits, total, self.reals]


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


def same(found: Sequence[NDArray], wanted: Sequence[NDArray]) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, f"KIGRAPH_TEST_SEED={process_seed()}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_on_every_backend_batch_and_number_of_threads(network: Network, backend: str) -> None:
    n = network
    wanted = Session(n.graph, backend="numpy", threads=1).run(n.fetches, {n.x: n.values})
    for threads in (1, 2):
        session = Session(n.graph, backend=backend, threads=threads)
        same(session.run(n.fetches, {n.x: n.values}), wanted)
        parts = [session.run(n.fetches, {n.x: n.values[i : i + 1]}) for i in range(5)]
        same([np.concatenate(p) for p in zip(*parts, strict=True)], wanted)


def test_next_to_the_convolution_that_it_stands_for(network: Network) -> None:
    """Within half a step of the input's rounding through the weights, and half a step of the result."""
    n = network
    (got,) = Session(n.graph, backend="numpy").run([n.reals], {n.x: n.values})
    clipped = np.clip(n.values, -131 * X_SCALE, 124 * X_SCALE).astype(np.float64)
    padded = np.pad(clipped, ((0, 0), (1, 1), (1, 1), (0, 0)))
    weights = n.w[0] * W_SCALE
    wanted = n.b[0] * X_SCALE * W_SCALE + sum(
        padded[:, u : u + 12, v : v + 13] @ weights[u, v] for u in range(3) for v in range(3)
    )
    wanted = np.clip(wanted, 0, 255 * Y_SCALE)
    bound = 0.5 * X_SCALE * np.abs(weights).sum((0, 1, 2)) + 0.5001 * Y_SCALE
    assert (np.abs(got - wanted) <= bound).all()
    assert np.abs(got - wanted).mean() < 0.4 * Y_SCALE


@pytest.mark.skipif("numba" not in BACKENDS, reason="needs numba")
def test_numba_runs_them_itself(network: Network) -> None:
    n = network
    session = Session(n.graph, backend="numba", threads=1)
    text = str(session.plan(n.fetches, {n.x: n.values}).explain())
    assert "numba.quantized_conv2d_gemm" in text
    assert "host.quant" not in text


def test_a_file_keeps_them(network: Network, tmp_path: Path) -> None:
    n = network
    file = tmp_path / "quantised.pb"
    save_graphdef(n.graph, file)
    loaded = ki.load(file)
    names = [t.name for t in n.fetches]
    wanted = Session(n.graph, backend="numpy").run(n.fetches, {n.x: n.values})
    same(Session(loaded.graph, backend="numpy").run(names, {"x:0": n.values}), wanted)


def test_transposes_move_past_the_elementwise_ones() -> None:
    with Graph().as_default() as g:
        x = placeholder(g, np.int8, 2, 3, 4, 5)
        first = add(g, "Transpose", [x, np.array([0, 3, 1, 2], np.int32)])
        y = add(g, "KiRequantize", [first], multiplier=0.7)
        y = add(g, "KiQuantizedAdd", [y, first], a_multiplier=0.5)
        y = add(g, "KiQuantizedMul", [y, first], multiplier=0.01)
        y = add(g, "KiQuantize", [add(g, "KiDequantize", [y], scale=0.1)], scale=0.3)
        y = add(g, "Transpose", [y, np.array([0, 2, 3, 1], np.int32)])
    values = np.random.default_rng(process_seed()).integers(-128, 128, (2, 3, 4, 5)).astype(np.int8)
    session = Session(g, backend="numpy")
    left = [node.op for node in session.optimized([y], [x])]
    assert "Transpose" not in left
    assert {op for op in left if op in QUANTIZED} == {
        "KiRequantize", "KiQuantizedAdd", "KiQuantizedMul", "KiDequantize", "KiQuantize",
    }  # fmt: skip
    plain = Session(g, backend="numpy", skip_passes=["move_transposes"])
    same(session.run([y], {x: values}), plain.run([y], {x: values}))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("backend", BACKENDS)
def test_ops_that_move_bytes(backend: str, dtype: Any) -> None:
    """What lies between quantised layers."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(process_seed())
    values = rng.integers(info.min, info.max, (2, 7, 9, 21), dtype=dtype, endpoint=True)
    with Graph().as_default() as g:
        x = placeholder(g, dtype, 2, 7, 9, 21)
        made = [
            add(g, "MaxPool", [x], ksize=(1, 3, 3, 1), strides=(1, 2, 2, 1), padding="SAME"),
            add(g, "ConcatV2", [x, x, np.int32(3)]),
            add(g, "Reshape", [x, np.array([14, -1], np.int32)]),
            add(g, "PadV2", [x, np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32), np.array(info.min, dtype)]),
            add(g, "Transpose", [x, np.array([0, 3, 1, 2], np.int32)]),
            add(g, "Slice", [x, np.array([0, 1, 2, 3], np.int32), np.array([2, 3, 4, 5], np.int32)]),
        ]
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=info.min)
    pooled = np.max([padded[:, u : u + 7 : 2, v : v + 9 : 2] for u in range(3) for v in range(3)], 0)
    wanted = [
        pooled,
        np.concatenate([values, values], 3),
        values.reshape(14, -1),
        np.pad(values, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=info.min),
        values.transpose(0, 3, 1, 2),
        values[:, 1:4, 2:6, 3:8],
    ]
    same(Session(g, backend=backend).run(made, {x: values}), wanted)


def test_refused() -> None:
    byte, w = np.zeros((1, 4, 4, 3), np.int8), np.zeros((3, 3, 3, 2), np.int8)
    rest = [np.zeros(2, np.int32), np.ones(2, np.float32)]
    cases: tuple[tuple[str, list[Any], dict[str, Any], type[Exception], str], ...] = (
        ("KiDequantize", [byte], {}, GraphError, "'.*': the attribute scale is missing"),
        ("KiDequantize", [byte], {"scale": -1.0}, Exception, "the scale is -1.0; expected a positive number"),
        ("KiRequantize", [byte], {"out_type": np.dtype(np.int32)}, UnsupportedOpError, "out_type = int32.*possible"),
        ("KiQuantizedConv2D", [byte, w, *rest], {**WINDOW, "data_format": "NCHW"}, UnsupportedOpError, "attribute data_format"),
        ("KiQuantizedConv2D", [byte, w, *rest], {**WINDOW, "y_zero": 300}, Exception, "y_zero\\) is 300"),
        ("KiQuantizedConv2D", [byte, w, *rest], {"strides": (1, 1, 1, 1)}, GraphError, "padding must be"),
        ("KiQuantizedAvgPool", [byte], {"ksize": (1, 2, 2, 1), **WINDOW, "halves": "down"}, UnsupportedOpError, "halves"),
        ("KiQuantizedAdd", [byte, byte], {"alpha": 1.0}, UnsupportedOpError, "attribute alpha"),
    )  # fmt: skip
    for op, inputs, attrs, error, message in cases:
        with Graph().as_default() as g, pytest.raises(error, match=message):
            add(g, op, inputs, **attrs)
